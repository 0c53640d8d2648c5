"""Runs that know the error of their labels, end to end on drawn studies."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_studies import BACKBONE, draw_studies
from noise_tables import make_finding_table, make_observation

from cxrlabel.audit.observation import write_observation
from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.evaluate.predictions import read_predictions
from cxrvision.train.config import TrainConfig
from cxrvision.train.predicting import PredictOptions, predict
from cxrvision.train.prepare import read_inputs
from cxrvision.train.runs import open_run
from cxrvision.train.training import run_training

Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies with a table of Edema's error, a review of half of them, and mentions."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_studies(folder, studies=60)
    build_cache(read_manifest(folder / "studies.csv"), folder / "cache", size=32)
    table = make_finding_table(prevalence=0.5)
    write_observation(folder / "noise.json", make_observation({"Edema": table}))
    for reference in ("report", "image"):
        both = make_observation({"Edema": table, "Nodule": table}, reference=reference)
        write_observation(folder / f"{reference}.json", both)
    truth = pd.read_csv(folder / "labels.csv")
    truth["reference"] = "image"
    truth[::2].to_csv(folder / "manual.csv", index=False)
    mention = {
        "finding": "Edema", "assertion": "positive", "reason": "asserted", "section": "findings",
        "cue": "", "severity": "", "temporality": "",
    }  # fmt: skip
    rows = [{"study_id": study, **mention} for study in truth["study_id"]]
    pd.DataFrame(rows).to_csv(folder / "mentions.csv", index=False)
    certain = {1.0: "positive", 0.0: "negative"}
    states = ("positive", "uncertain", "negative", "blank")
    probs = {"study_id": truth["study_id"]}
    for finding in ("Edema", "Nodule"):
        for state in states:
            said = truth[finding].map(certain).fillna("blank") == state
            probs[f"{finding} {state}"] = 0.2 / 3 + (0.8 - 0.2 / 3) * said
    pd.DataFrame(probs).to_csv(folder / "probs.csv", index=False)
    return folder


@pytest.fixture
def make(drawn: Path) -> Make:
    """A config for the drawn studies; files are named without their folder."""
    base = TrainConfig(
        studies=str(drawn / "studies.csv"), labels=str(drawn / "labels.csv"),
        cache=str(drawn / "cache"), backbone=BACKBONE, size=32, epochs=1, batch_size=8, lr=3e-3,
        device="cpu",
    )  # fmt: skip
    files = ("noise", "noise_report", "noise_image", "noise_mentions", "manual", "label_probs")

    def config(**changes: object) -> TrainConfig:
        named = {k: str(drawn / str(v)) if k in files else v for k, v in changes.items()}
        return replace(base, **named)  # type: ignore[arg-type]

    return config


def test_a_table_is_used_by_forward_and_the_rest_is_named(make: Make, tmp_path: Path) -> None:
    done = run_training(make(noise="noise.json"), tmp_path / "run")

    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["noise"]["method"] == "forward"
    assert record["noise"]["without"] == {"Nodule": "not in the table"}
    assert any("for want of a table: Nodule (not in the table)" in note for note in done.notes)
    assert "forward" in (tmp_path / "run/model_card.md").read_text()


@pytest.mark.parametrize("method", ["soft", "backward", "gce", "co-teaching"])
def test_methods_train_and_predict(make: Make, tmp_path: Path, method: str) -> None:
    run_training(make(noise="noise.json", noise_method=method), tmp_path / "run")

    assert pd.read_csv(tmp_path / "run/metrics.csv")["train_loss"].notna().all()
    found = read_predictions(tmp_path / "run")
    assert found.findings == ("Edema", "Nodule")


def test_probabilities_of_labels_are_soft_targets(make: Make, tmp_path: Path) -> None:
    run_training(make(label_probs="probs.csv"), tmp_path / "run")

    train = read_inputs(make(label_probs="probs.csv")).parts["train"]
    positive = train.studies.states == 1
    # the uncertain share is ignored: .8 of what is left
    assert train.targets.values[positive] == pytest.approx(0.8 / (1 - 0.2 / 3), abs=1e-4)
    assert train.targets.mask == pytest.approx(1 - 0.2 / 3, abs=1e-4)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert len(record["label_probs"]) == 16


@pytest.mark.parametrize("method", ["forward", "soft", "backward"])
def test_uncertain_labels_are_corrected_less(make: Make, method: str) -> None:
    hard, soft = (
        read_inputs(make(noise="noise.json", noise_method=method, **more)).parts["train"]
        for more in ({}, {"label_probs": "probs.csv"})
    )

    positive = hard.studies.states[:, 0] == 1
    says, says_softly = (part.targets.values[positive, 0].mean() for part in (hard, soft))
    denies = hard.targets.values[hard.studies.states[:, 0] == 0, 0].mean()
    assert denies < says_softly < says
    assert (soft.targets.mask[:, 0] == 1).all()


def test_none_ignores_the_table(make: Make, tmp_path: Path) -> None:
    with_table = read_inputs(make(noise="noise.json", noise_method="none"))
    without = read_inputs(make())

    one, other = (inputs.parts["train"].targets.values for inputs in (with_table, without))
    assert np.array_equal(one, other)
    assert not with_table.notes


def test_an_audit_of_the_reports_says_what_it_leaves_out(make: Make) -> None:
    alone = read_inputs(make(noise="report.json"))
    composed = read_inputs(make(noise_report="report.json", noise_image="image.json"))

    assert any("what reports leave out of the image" in note for note in alone.notes)
    assert not any("what reports leave out" in note for note in composed.notes)
    assert composed.record["noise"]["reference"] == "image"


def test_draws_give_predictions_a_standard_error(make: Make, tmp_path: Path, drawn: Path) -> None:
    config = make(noise="noise.json", noise_draws=4)
    run_training(config, tmp_path / "run")

    table = pd.read_csv(tmp_path / "run/predictions.csv")
    draws = json.loads((tmp_path / "run/run.json").read_text())["draws"]
    assert (table["Edema_se"] > 0).all()
    # no table: the audit leaves nothing open, and the heads differ by where the fit stopped
    assert table["Nodule_se"].max() < 0.1 * table["Edema_se"].mean()
    assert draws["logit_variance"]["Edema"]["audit"] > 0
    assert draws["logit_variance"]["Nodule"]["sampling"] > 0
    found = read_predictions(tmp_path / "run")
    assert found.findings == ("Edema", "Nodule")

    run_training(replace(config, seed=2), tmp_path / "other")
    both = predict(
        [open_run(tmp_path / "run"), open_run(tmp_path / "other")],
        read_manifest(drawn / "studies.csv"),
        cache=drawn / "cache",
        options=PredictOptions(device="cpu"),
    )
    assert (both.table["Nodule_se"] > 0).all()  # two seeds differ
    assert both.seed_share is not None
    assert 0 < both.seed_share < 1


def test_reviewed_studies_are_learned_by_their_truth(make: Make) -> None:
    inputs = read_inputs(make(noise="noise.json", manual="manual.csv"))

    part = inputs.parts["train"]
    reviewed = np.array([int(study[1:]) % 2 == 0 for study in part.studies.ids])
    assert (np.abs(part.targets.values[reviewed, 0]) > 10).all()
    assert (np.abs(part.targets.values[~reviewed, 0]) < 5).all()
    assert any("the best epoch is chosen on labels: fewer than 20" in n for n in inputs.notes)


def test_features_that_say_nothing_are_not_used(make: Make) -> None:
    more = {"manual": "manual.csv", "noise_mentions": "mentions.csv"}
    inputs = read_inputs(make(noise="noise.json", **more))

    assert inputs.record["noise"]["features"] == {}
    assert any("tell no more than the table" in note for note in inputs.notes)


def test_a_run_with_draws_is_resumed_to_the_same(make: Make, tmp_path: Path) -> None:
    config = make(noise="noise.json", noise_draws=2)
    run_training(config, tmp_path / "run")
    before = pd.read_csv(tmp_path / "run/predictions.csv")

    run_training(config, tmp_path / "run", resume=True)

    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "run/predictions.csv"), before)


def test_another_table_is_no_resumed_run(make: Make, drawn: Path, tmp_path: Path) -> None:
    copy = tmp_path / "noise.json"
    copy.write_bytes((drawn / "noise.json").read_bytes())
    config = replace(make(), noise=str(copy))
    run_training(config, tmp_path / "run")
    other = make_observation({"Edema": make_finding_table(prevalence=0.4)})
    write_observation(copy, other, force=True)

    with pytest.raises(InputError, match="the noise changed since the run began"):
        run_training(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_method": "forward"}, "--noise-method forward: needs an observation table"),
        ({"noise": "noise.json", "noise_report": "report.json"}, "one alone"),
        ({"noise": "noise.json", "loss": "focal"}, "with --loss focal; expected bce"),
        ({"noise": "noise.json", "uncertain": "multiclass"}, "--uncertain multiclass"),
        ({"noise_draws": 3}, "no table to draw from"),
        ({"noise_mentions": "mentions.csv"}, "--noise-mentions: without a review"),
        ({"noise_method": "backwards"}, "--noise-method: 'backwards'; expected one of auto"),
        ({"noise_shift": "hospital"}, "--noise-shift: 'hospital'"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    make: Make, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        make(**changes)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "report.json", "manual": "manual.csv"}, "two different errors"),
        ({"noise": "noise.json", "findings": ("Nodule",)}, "no finding of the run has a table"),
        ({"noise": "nothing.json"}, "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_one_line(
    make: Make, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_inputs(make(**changes))

    assert message in str(caught.value)
