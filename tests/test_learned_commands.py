"""`cxr labeler` and `cxr label --backend`: files in, files out."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from reviewed_reports import FINDINGS, write_reviewed
from typer.testing import Result

Cxr = Callable[..., Result]


@pytest.fixture(scope="module")
def fitted(cxr: Cxr, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reports.csv, manual.csv and the hybrid labeler `model`."""
    folder = tmp_path_factory.mktemp("fitted")
    reports, manual = write_reviewed(folder, 150, seed=1)
    done = cxr("labeler", "fit", reports, manual, "-o", folder / "model", "--folds", 3)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def unseen(tmp_path: Path) -> tuple[Path, Path]:
    return write_reviewed(tmp_path / "unseen", 80, seed=2)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_fit_says_how_it_does_on_reports_it_has_not_seen(cxr: Cxr, fitted: Path) -> None:
    facts = json.loads((fitted / "model" / "labeler.json").read_text())
    card = (fitted / "model" / "README.md").read_text()

    micro = {row["labeler"]: row for row in facts["scores"] if row["finding"] == "micro"}
    assert micro["hybrid"]["f1"] > micro["rules"]["f1"]
    assert micro["hybrid"]["f1_lo"] <= micro["hybrid"]["f1"] <= micro["hybrid"]["f1_hi"]
    assert "Edema" in facts["by_rules"]
    assert "| hybrid | micro |" in card


def test_nothing_of_a_report_but_common_words_is_kept(fitted: Path) -> None:
    for path in (fitted / "model").iterdir():
        assert b"Film 17" not in path.read_bytes()
        assert b"film 17" not in path.read_bytes()


def test_labels_of_a_model_come_with_probabilities_and_reasons(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    labels, mentions, probs = (tmp_path / f"{n}.csv" for n in ("labels", "mentions", "probs"))

    done = cxr(
        "label", unseen[0], "-o", labels, "--backend", fitted / "model",
        "--mentions", mentions, "--probabilities", probs,
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "labeled by the rules, not learned: " in done.output
    truth = {row["study_id"]: row for row in table(unseen[1])}
    found = {row["study_id"]: row for row in table(labels)}
    same = [
        (found[name][finding] or "").removesuffix(".0") == row[finding]
        for name, row in truth.items()
        for finding in FINDINGS
    ]
    assert sum(same) / len(same) > 0.97
    for row in table(probs):
        for finding in (*FINDINGS, "Edema"):
            cells = [float(row[f"{finding} {s}"])
                     for s in ("positive", "uncertain", "negative", "blank")]  # fmt: skip
            assert sum(cells) == pytest.approx(1, abs=1e-4)
            code = {"1.0": 0, "-1.0": 1, "0.0": 2, "": 3}[found[row["study_id"]][finding]]
            assert cells[code] == max(cells)
    texts = {row["study_id"]: row["report"] for row in table(unseen[0])}
    reasons = [row for row in table(mentions) if row["reason"] == "learned"]
    assert any(row["text"].startswith("There is a calcified nodule") for row in reasons)
    for row in reasons:
        assert texts[row["study_id"]][int(row["start"]) : int(row["end"])] == row["text"]
    record = json.loads((tmp_path / "labels.csv.run.json").read_text())
    assert record["backend"]["labelers"][0]["kind"] == "hybrid"
    assert record["changed"]["backend"] > 0


def test_workers_and_resumed_parts_give_the_same_files(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    files = {}
    for name, options in (("one", []), ("two", ["--workers", "2"]), ("parts", ["--resume"])):
        labels, mentions, probs = (tmp_path / f"{name}-{kind}.csv" for kind in "lmp")
        done = cxr(
            "label", unseen[0], "-o", labels, "--backend", fitted / "model",
            "--mentions", mentions, "--probabilities", probs, *options,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        files[name] = [path.read_bytes() for path in (labels, mentions, probs)]

    assert files["one"] == files["two"] == files["parts"]


def test_one_report_shows_the_sentence_that_a_model_went_by(cxr: Cxr, fitted: Path) -> None:
    text = "There is a calcified nodule in the right lung."

    done = cxr("label", "--text", text, "--backend", fitted / "model", "--json")

    found = json.loads(done.output)
    assert found["labels"]["Nodule"] == "negative"
    reasons = [m for m in found["mentions"] if m["reason"] == "learned"]
    assert [m["text"] for m in reasons if m["finding"] == "Nodule"] == [text]


def test_several_backends_are_combined(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    done = cxr(
        "label", unseen[0], "-o", tmp_path / "both.csv",
        "--backend", f"rules,{fitted / 'model'}", "--combine", "vote",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "both.csv.run.json").read_text())
    assert [one["kind"] for one in record["backend"]["labelers"]] == ["rules", "hybrid"]


def test_other_options_than_those_of_the_fit_are_said(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    done = cxr(
        "label", unseen[0], "-o", tmp_path / "labels.csv", "--backend", fitted / "model",
        "--option", "likely=uncertain",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "fitted with other options than those that label now" in done.output


def test_models_are_judged_on_other_reports_than_those_of_the_fit(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "judged"

    done = cxr("labeler", "evaluate", *unseen, "--backend", fitted / "model", "--out", out)

    assert done.exit_code == 0, done.output
    assert "micro-F1 of hybrid less rules: +" in done.output
    scores = {(row["labeler"], row["finding"]): row for row in table(out / "scores.csv")}
    assert float(scores["hybrid", "micro"]["f1"]) > 0.98
    page = (out / "index.html").read_text()
    assert "<svg" in page
    assert "src=" not in page  # it loads nothing


def test_reports_of_the_fit_are_not_judged_by(cxr: Cxr, fitted: Path, tmp_path: Path) -> None:
    done = cxr(
        "labeler", "evaluate", fitted / "reports.csv", fitted / "manual.csv",
        "--backend", fitted / "model", "--out", tmp_path / "judged",
    )  # fmt: skip

    assert done.exit_code == 1
    assert "fitted on all of these reports" in done.output


def test_kinds_are_cross_validated_with_a_learning_curve(
    cxr: Cxr, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "kinds"

    done = cxr(
        "labeler", "evaluate", *unseen, "--kind", "hybrid", "--folds", 2,
        "--curve", "20,all", "--findings", "Nodule,cardiomegaly", "--out", out,
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert [row["reports"] for row in table(out / "curve.csv")] == ["20", "40"]
    assert {row["finding"] for row in table(out / "scores.csv")} == {
        "Nodule", "Cardiomegaly", "micro", "macro",
    }  # fmt: skip
    assert "How many reviewed reports it takes" in (out / "index.html").read_text()


def test_labelers_are_compared(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    rules, model = tmp_path / "rules.csv", tmp_path / "model.csv"
    assert cxr("label", unseen[0], "-o", rules).exit_code == 0
    assert cxr("label", unseen[0], "-o", model, "--backend", fitted / "model").exit_code == 0

    done = cxr("labeler", "compare", rules, model, "--out", tmp_path / "compared")

    assert done.exit_code == 0, done.output
    agreement = {row["finding"]: row for row in table(tmp_path / "compared" / "agreement.csv")}
    assert float(agreement["Pneumothorax"]["agreement"]) == 1
    assert 0.3 < float(agreement["Nodule"]["kappa"]) < 0.95
    differences = table(tmp_path / "compared" / "differences.csv")
    assert {row["finding"] for row in differences} >= {"Nodule"}
    assert all(row["rules"] != row["model"] for row in differences)
    sample = tmp_path / "sample.csv"
    done = cxr(
        "audit", "sample", rules, "--design", "agreement", "--other", model, "--n", 30,
        "-o", sample, "--findings", "Nodule",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert len(table(sample)) == 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backend", "nowhere"], "nowhere: no labeler here"),
        (["--backend", "MODEL,MODEL"], "is named twice"),
        (["--backend", "MODEL", "--combine", "mean"], "--combine: 'mean'; expected one of"),
        (["--backend", "MODEL", "--lang", "es"], "fitted on reports with --lang en; found es"),
        (["--probabilities", "p.csv"], "--probabilities: the rules alone have none"),
    ],
)
def test_wrong_backends_are_one_line(
    cxr: Cxr,
    fitted: Path,
    unseen: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [argument.replace("MODEL", str(fitted / "model")) for argument in arguments]

    done = cxr("label", unseen[0], "-o", "labels.csv", *given)

    assert done.exit_code == 1
    assert says in done.output
    assert not (tmp_path / "labels.csv").exists()


def test_a_damaged_model_is_one_line(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "labeler.json").write_bytes((fitted / "model" / "labeler.json").read_bytes())
    (broken / "weights.safetensors").write_bytes(b"no weights")

    done = cxr("label", unseen[0], "-o", tmp_path / "labels.csv", "--backend", broken)

    assert done.exit_code == 1
    assert "weights.safetensors: missing or damaged" in done.output


def test_a_folder_that_is_no_labeler_is_not_replaced(
    cxr: Cxr, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")

    done = cxr("labeler", "fit", *unseen, "-o", tmp_path / "mine", "--force")

    assert done.exit_code == 1
    assert "is no labeler" in done.output
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


def test_kinds_that_learn_from_reviews_need_them(
    cxr: Cxr, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    done = cxr("labeler", "fit", unseen[0], "--kind", "bow", "-o", tmp_path / "model")

    assert done.exit_code == 1
    assert "--kind bow: expected MANUAL" in done.output


def test_the_audit_names_the_labeler_and_annotation_keeps_to_mentions(
    cxr: Cxr, fitted: Path, unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    reports, manual = unseen
    labels, mentions, tasks = (tmp_path / n for n in ("labels.csv", "mentions.csv", "tasks.jsonl"))
    done = cxr(
        "label", reports, "-o", labels, "--backend", fitted / "model", "--mentions", mentions
    )
    assert done.exit_code == 0, done.output

    done = cxr(
        "audit", "report", labels, manual, "--mentions", mentions, "--reports", reports,
        "--reference", "report", "--out", tmp_path / "audit",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rules = {
        row["value"]
        for row in table(tmp_path / "audit" / "error_sources.csv")
        if row["source"] == "rule"
    }
    assert not any(name.startswith("hybrid/") for name in rules)
    done = cxr(
        "annotate", "export", mentions, "--reports", reports, "--format", "doccano", "-o", tasks
    )
    assert done.exit_code == 0, done.output
    exported = tasks.read_text()
    spans = sum(row["reason"] != "learned" for row in table(mentions))
    assert sum(len(json.loads(line)["label"]) for line in exported.splitlines()) == spans
