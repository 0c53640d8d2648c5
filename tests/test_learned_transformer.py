"""Windows, heads, checkpoints and training of the transformer, with encoders made here."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from reviewed_reports import FINDINGS, make_material, write_reviewed
from transformers import BertConfig, BertModel
from typer.testing import Result

from cxrlabel.chunks import LabelingOptions
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.labeler import Labeler
from cxrlabel.learned.kinds import read_model
from cxrlabel.learned.transformer.checkpoint import CHEXBERT_FINDINGS, read_chexbert
from cxrlabel.learned.transformer.encoders import open_encoder, open_tokenizer
from cxrlabel.learned.transformer.fitting import (
    TransformerSettings,
    fit_transformer,
    read_silver,
)
from cxrlabel.learned.transformer.importing import import_chexbert
from cxrlabel.learned.transformer.labeler import TransformerLabeler, length_batches
from cxrlabel.learned.transformer.network import StateNetwork, combine_windows
from cxrlabel.learned.transformer.silver import recombine
from cxrlabel.learned.transformer.training import (
    TrainingSettings,
    bucketed,
    class_loss,
    four_classes,
)
from cxrlabel.learned.transformer.windows import Windows

Cxr = Callable[..., Result]

P, U, N, B = range(4)


def words_as_ids(text: str) -> list[int]:
    return [100 + len(word) for word in text.split()]


def windows_of(
    labeler: Labeler, report: str, longest: int, *, named: bool = False
) -> list[list[int]]:
    cut = Windows(words_as_ids, start=1, end=2, longest=longest, named=named)
    return cut(labeler.read(report))


REPORT = "FINDINGS: Heart size is normal. No focal consolidation. IMPRESSION: No acute disease."


def test_a_short_report_is_one_window(labeler: Labeler) -> None:
    (window,) = windows_of(labeler, REPORT, 64)

    assert (window[0], window[-1]) == (1, 2)
    assert len(window) == 2 + 4 + 3 + 3


def test_a_long_report_is_cut_between_sections(labeler: Labeler) -> None:
    first, second = windows_of(labeler, REPORT, 10)

    assert (len(first), len(second)) == (2 + 7, 2 + 3)


def test_nothing_of_a_long_sentence_is_lost(labeler: Labeler) -> None:
    found = windows_of(labeler, "There is " + "very " * 40 + "large effusion.", 16)

    assert sum(len(window) - 2 for window in found) == 44
    assert all(len(window) <= 16 for window in found)


def test_sections_may_be_named(labeler: Labeler) -> None:
    (window,) = windows_of(labeler, REPORT, 64, named=True)

    assert window[1] == 100 + len("findings:")


def test_a_report_that_makes_no_label_is_an_empty_window(labeler: Labeler) -> None:
    assert windows_of(labeler, "INDICATION: cough.", 64) == [[1, 2]]


def logits_of(*states: int) -> torch.Tensor:
    """[W, 1, 4] each sure of a state."""
    return 20.0 * torch.eye(4)[list(states)][:, None]


@pytest.mark.parametrize(
    ("windows", "report"),
    [([N, P], P), ([B, U, N], U), ([B, N], N), ([B, B], B), ([P, P], P)],
)
def test_windows_are_put_together_as_mentions_are(windows: list[int], report: int) -> None:
    logs = combine_windows(
        logits_of(*windows), torch.zeros(len(windows), dtype=torch.long), 1, ("Edema",)
    )

    assert int(logs.argmax(dim=-1)) == report
    assert float(logs.exp().sum()) == pytest.approx(1, abs=1e-3)


def test_no_finding_needs_all_windows() -> None:
    owner = torch.tensor([0, 0, 1, 1])

    logs = combine_windows(logits_of(P, P, P, B), owner, 2, ("No Finding",))

    assert logs.argmax(dim=-1).flatten().tolist() == [P, B]


def test_one_window_is_taken_as_it_is_beside_longer_reports() -> None:
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))

    logs = combine_windows(logits, torch.tensor([0, 0, 1]), 2, ("Edema", "Mass"))

    assert torch.allclose(logs[1], logits[2].log_softmax(dim=-1), atol=1e-6)


def test_passes_hold_windows_of_alike_lengths() -> None:
    lengths = sorted([3] * 300 + [4_000] * 9)

    batches = length_batches(lengths)

    assert [i for batch in batches for i in range(batch.start, batch.stop)] == list(range(309))
    assert all(
        (b.stop - b.start) * max(lengths[b]) <= 16_384 and b.stop - b.start <= 256 for b in batches
    )
    assert length_batches([]) == []


def test_batches_have_each_report_once() -> None:
    windows = [[[1] * (1 + place % 7)] for place in range(103)]

    found = np.concatenate(list(bucketed(windows, 8, np.random.default_rng(0))))

    assert sorted(found.tolist()) == list(range(103))


def test_a_review_that_tells_less_apart_teaches_a_sum() -> None:
    logs = torch.tensor([0.2, 0.1, 0.3, 0.4]).log()[None, None]
    shares = torch.tensor([[[0.0, 0.0, 1.0, 0.0]]])

    four = class_loss(logs, shares, torch.tensor(four_classes(1)))
    two = class_loss(logs, shares, torch.tensor([[0, 1, 1, 1]]))
    nothing = class_loss(logs, 0 * shares, torch.tensor(four_classes(1)))

    assert float(four) == pytest.approx(-np.log(0.3))
    assert float(two) == pytest.approx(-np.log(0.8))
    assert float(nothing) == 0


def test_new_reports_are_made_of_sentences_and_labeled_by_the_rules(labeler: Labeler) -> None:
    readings = [
        labeler.read("FINDINGS: Mild edema. Heart size is normal. IMPRESSION: No effusion."),
        labeler.read("FINDINGS: Lungs are clear. A mass."),
    ]
    known = {said.text for reading in readings for said, _, _ in reading.sentences}

    made = recombine(labeler, readings, 50, np.random.default_rng(0))

    assert len(made) == 50
    for reading in made:
        texts = [said.text for said, _, _ in reading.sentences]
        assert set(texts) <= known
        if "Mild edema." in texts:
            assert labeler.conclude(reading).labels["Edema"] == "positive"


def chexbert_state(*, prefix: str = "") -> dict[str, torch.Tensor]:
    """What CheXbert's training saves, of a tiny encoder; head f is sure of its class f % 4."""
    config = BertConfig(
        vocab_size=60, hidden_size=64, num_hidden_layers=2, num_attention_heads=1,
        intermediate_size=32, max_position_embeddings=40,
    )  # fmt: skip
    torch.manual_seed(0)
    state = {f"bert.{name}": value for name, value in BertModel(config).state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(40)[None]  # older transformers saved it
    for number in range(14):
        classes = 2 if number == 13 else 4
        state[f"linear_heads.{number}.weight"] = torch.zeros(classes, 64)
        bias = torch.zeros(classes)
        bias[1 if number == 13 else number % 4] = 9.0
        state[f"linear_heads.{number}.bias"] = bias
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_chexbert_checkpoint_is_read(tmp_path: Path, prefix: str, wrapped: bool) -> None:
    state = chexbert_state(prefix=prefix)
    torch.save({"epoch": 3, "model_state_dict": state} if wrapped else state, tmp_path / "c.pth")

    network = read_chexbert(tmp_path / "c.pth").eval()

    expected = BertModel(network.config).eval()
    expected.load_state_dict(
        {
            name.removeprefix(f"{prefix}bert."): value
            for name, value in state.items()
            if "bert." in name and "position_ids" not in name
        }
    )
    tokens, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    found = network.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
    assert torch.allclose(
        found, expected(input_ids=tokens, attention_mask=mask).last_hidden_state, atol=1e-6
    )
    states = network(tokens, mask)[0].argmax(dim=-1).tolist()
    # blank, positive, negative, uncertain there; positive, uncertain, negative, blank here
    assert states == [[B, P, N, U][number % 4] for number in range(13)] + [P]
    assert network.findings == CHEXBERT_FINDINGS


def test_no_finding_of_chexbert_is_never_negative_or_uncertain(tmp_path: Path) -> None:
    torch.save(chexbert_state(), tmp_path / "c.pth")
    network = read_chexbert(tmp_path / "c.pth").eval()

    probs = network(torch.tensor([[2, 3]]), torch.ones(1, 2, dtype=torch.long)).softmax(dim=-1)

    assert probs[0, 13, [U, N]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"weights": torch.zeros(1)}, "expected a CheXbert checkpoint with 14 heads"),
        (torch.zeros(3), "holds Tensor; expected a state_dict"),
        (b"text", "cannot be read as weights"),
    ],
)
def test_another_file_is_no_checkpoint(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "c.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)

    with pytest.raises(InputError, match=says):
        read_chexbert(path)


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(marker)!r}, 'w').close()",))

    torch.save({"model_state_dict": Runs()}, tmp_path / "c.pth")

    with pytest.raises(InputError, match="cannot be read as weights"):
        read_chexbert(tmp_path / "c.pth")
    assert not marker.exists()


def test_an_imported_checkpoint_labels(tmp_path: Path, labeler: Labeler) -> None:
    _, tokenizer = open_encoder("small", ["No edema."] * 3, download=False)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    torch.save(chexbert_state(), tmp_path / "c.pth")

    import_chexbert(tmp_path / "c.pth", str(tmp_path / "tokenizer"), tmp_path / "model")
    model, facts = read_model(tmp_path / "model", labeler)

    reading = labeler.read("No edema.")
    probs = model.probs([reading], np.zeros((1, 21), np.uint8))
    assert model.findings == CHEXBERT_FINDINGS
    assert probs[0, 0].argmax() == B
    assert facts["named"] is False
    assert facts["longest"] == 40


@pytest.mark.parametrize("opened", [open_encoder, open_tokenizer])
def test_nothing_is_downloaded_unless_asked(
    opened: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["bert-base-uncased", []] if opened is open_encoder else ["bert-base-uncased"]

    with pytest.raises(InputError, match="--download"):
        opened(*arguments, download=False)  # type: ignore[operator]


@pytest.fixture(scope="module")
def fitted(labeler: Labeler, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small transformer of 300 invented reports, taught by rules and reviews."""
    folder = tmp_path_factory.mktemp("transformer")
    material = make_material(labeler, folder, 300, seed=5)
    silver = read_silver(material.reviewed.rows, labeler, place="reports.csv")
    settings = TransformerSettings(
        longest=64,
        recombined=200,
        silver=TrainingSettings(epochs=12, batch_size=16, lr=2e-3),
        reviewed=TrainingSettings(epochs=6, batch_size=16, lr=1e-3),
        device="cpu",
    )
    done = fit_transformer(silver, material, LabelingOptions(), settings, seed=1)
    done.save(folder / "model")
    return folder / "model"


def test_the_command_fits_without_reviews_and_the_model_labels(cxr: Cxr, tmp_path: Path) -> None:
    reports, _ = write_reviewed(tmp_path, 80, seed=6)
    model, labels, mentions = (tmp_path / n for n in ("model", "labels.csv", "mentions.csv"))

    done = cxr(
        "labeler", "fit", reports, "--kind", "transformer", "--epochs", 1, "--recombined", 20,
        "--device", "cpu", "-o", model,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "fitted on labels of the rules, not judged by reviews" in done.output
    done = cxr("label", reports, "-o", labels, "--backend", model, "--mentions", mentions)
    assert done.exit_code == 0, done.output
    assert len(labels.read_text().splitlines()) == 81


def test_the_command_imports_a_checkpoint(cxr: Cxr, tmp_path: Path) -> None:
    _, tokenizer = open_encoder("small", ["No edema."] * 3, download=False)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    torch.save(chexbert_state(), tmp_path / "c.pth")

    done = cxr(
        "labeler", "import", tmp_path / "c.pth", "--tokenizer", tmp_path / "tokenizer",
        "-o", tmp_path / "model",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "imported a labeler of 14 findings" in done.output
    done = cxr("label", "--text", "No edema.", "--backend", tmp_path / "model", "--json")
    assert json.loads(done.output)["labels"]["Cardiomegaly"] == "positive"


def test_a_small_transformer_learns_rules_and_reviews(fitted: Path, labeler: Labeler) -> None:
    model, facts = read_model(fitted, labeler)

    assert isinstance(model, TransformerLabeler)
    assert facts["silver"]["agreement"] > 0.97
    micro = {row["labeler"]: row["f1"] for row in facts["scores"] if row["finding"] == "micro"}
    assert micro["transformer"] > micro["rules"]
    reading = labeler.read("There is a calcified nodule in the right lung.")
    probs = model.probs([reading], np.zeros((1, 21), np.uint8))[0]
    assert STATES[probs[model.findings.index("Nodule")].argmax()] == "negative"
    assert probs.sum(axis=-1) == pytest.approx(1, abs=1e-3)
    assert set(FINDINGS) < set(model.findings)


def test_a_transformer_s_folder_holds_no_code(fitted: Path) -> None:
    names = {path.name for path in fitted.iterdir()}

    assert {"labeler.json", "README.md", "config.json", "model.safetensors"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    assert StateNetwork.from_pretrained(fitted).findings


def test_the_order_of_reports_does_not_matter(fitted: Path, labeler: Labeler) -> None:
    model, _ = read_model(fitted, labeler)
    readings = [labeler.read(text) for text in ("No edema.", REPORT, "A large effusion is seen.")]
    rules = np.zeros((3, 21), np.uint8)

    assert model.probs(readings[::-1], rules) == pytest.approx(
        model.probs(readings, rules)[::-1], abs=1e-5
    )
