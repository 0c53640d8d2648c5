"""The run folder: what is read back, and what is no run."""

import json
import math
from pathlib import Path

import pytest
import torch
from drawn_studies import BACKBONE, FINDINGS

from cxrlabel.errors import InputError
from cxrvision.train import runs
from cxrvision.train.building import count_devices, make_model
from cxrvision.train.config import TrainConfig, write_config
from cxrvision.train.course import Course
from cxrvision.train.model_card import write_model_card
from cxrvision.train.predicting import load_model
from cxrvision.train.training import _best_values

CONFIG = TrainConfig(studies="s.csv", labels="l.csv", backbone=BACKBONE, size=32, patience=2)

RECORD = {
    "version": "0.1", "torch": "2.11", "findings": list(FINDINGS), "labels": "l4be1", "cache": "",
    "split": "5b117", "left_out": ["3 studies without a label"],
    "noise": {"method": "none"}, "notes": [], "epochs": 9, "best_epoch": 7,
    "best": {"auc": 0.8125, "loss": 0.5}, "device": "cpu", "processes": 1,
    "studies": {"train": 1234, "val": 56}, "images": {"train": 2000, "val": 60},
    "paired": {"train": 766, "val": 4},
    "positives": {"train": {"Edema": 321, "Nodule": 20}, "val": {"Edema": 7, "Nodule": 1}},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with weights that were never trained."""
    write_config(tmp_path / runs.CONFIG, CONFIG)
    runs.write_record(tmp_path, RECORD)
    runs.write_weights(tmp_path / runs.BEST, make_model(CONFIG, FINDINGS).state_dict())
    return tmp_path


def test_a_run_is_opened_as_it_was_written(run: Path) -> None:
    opened = runs.open_run(run)

    assert opened.config == CONFIG
    assert opened.findings == FINDINGS
    expected = make_model(CONFIG, FINDINGS).state_dict()
    for name, value in load_model(opened).state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_weights_that_share_memory_come_back(tmp_path: Path) -> None:
    value = torch.arange(6.0)
    runs.write_weights(tmp_path / "w", {"a": value, "b": value[2:], "c": value.view(2, 3).T})

    found = runs.read_weights(tmp_path / "w")

    assert torch.equal(found["b"], value[2:])
    assert torch.equal(found["c"], value.view(2, 3).T)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (runs.CONFIG, None, "no config.toml; expected a folder that `cxr train` wrote"),
        (runs.BEST, None, "no weights yet"),
        (runs.RECORD, None, "no weights yet"),
        (runs.RECORD, "{", "run.json: not JSON"),
        (runs.RECORD, "[]", "run.json: no list 'findings'"),
        (runs.CONFIG, "views = 3", "config.toml: views: 3; expected a list"),
    ],
)
def test_what_is_no_run_is_one_line(
    run: Path, name: str, content: str | None, message: str
) -> None:
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)

    with pytest.raises(InputError) as caught:
        runs.open_run(run)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torn_weights_are_one_line(run: Path) -> None:
    tear(run / runs.BEST)

    with pytest.raises(InputError, match=r"best\.safetensors: not a safetensors file: [^\n]+\Z"):
        load_model(runs.open_run(run))


def test_weights_of_another_model_are_one_line(run: Path) -> None:
    write_config(run / runs.CONFIG, TrainConfig(backbone="test_vit", size=32), force=True)

    with pytest.raises(InputError, match=r"the weights do not fit the model of config\.toml\Z"):
        load_model(runs.open_run(run))


def test_a_checkpoint_comes_back_and_a_torn_one_is_one_line(tmp_path: Path) -> None:
    assert runs.read_checkpoint(tmp_path) is None
    runs.write_checkpoint(tmp_path, {"model": {"w": torch.ones(1000)}, "course": {"best": 0.5}})

    content = runs.read_checkpoint(tmp_path)

    assert content is not None
    assert content["course"] == {"best": 0.5}
    tear(tmp_path / runs.CHECKPOINT)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read: [^\n]+\Z"):
        runs.read_checkpoint(tmp_path)


def test_the_card_says_what_the_model_is_made_of(tmp_path: Path) -> None:
    write_model_card(tmp_path, CONFIG, RECORD)

    card = (tmp_path / runs.CARD).read_text(encoding="utf-8")
    for line in (
        "# test_resnet on frontal + lateral views",
        "2 findings for a study: Edema, Nodule",
        "| | train | val |",
        "| studies | 1,234 | 56 |",
        "| Edema, positive | 321 | 7 |",
        "- left out: 3 studies without a label",
        "epoch 7, the best by auc on the split `val` (0.8125, against labels).",
        "not a medical device",
    ):
        assert line in card


@pytest.mark.parametrize(
    ("best", "said"),
    [({}, "the last: there is no split `val`"), ({"loss": 0.25}, "the best by loss on the")],
)
def test_the_card_without_an_auc_says_what_was_chosen_by(
    tmp_path: Path, best: dict[str, float], said: str
) -> None:
    write_model_card(tmp_path, CONFIG, RECORD | {"best": best})

    assert said in (tmp_path / runs.CARD).read_text(encoding="utf-8")


def test_the_best_values_are_as_in_the_table_of_metrics() -> None:
    rows = [{"val_auc": 0.7, "val_loss": 0.6}, {"val_auc": math.nan, "val_loss": 0.5}]

    assert _best_values(Course(best=-0.6, best_epoch=0, rows=rows)) == rows_of(0.7, 0.6)
    assert _best_values(Course(best=-0.5, best_epoch=1, rows=rows)) == {"loss": 0.5}
    json.dumps(_best_values(Course(best_epoch=1, rows=rows)), allow_nan=False)


def rows_of(auc: float, loss: float) -> dict[str, float]:
    return {"auc": auc, "loss": loss}


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "patience", "over"),
    [(3, 0, 2, True), (3, 1, 2, False), (3, 0, 0, False), (9, 8, 2, True), (0, -1, 1, False)],
)
def test_a_run_is_over_after_its_epochs_or_its_patience(
    epoch: int, best_epoch: int, patience: int, over: bool
) -> None:
    course = Course(epoch=epoch, best_epoch=best_epoch)

    assert course.is_over(epochs=9, patience=patience) is over


SLURM = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (3, 1)),
        ({"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}, (2, 3)),
        (SLURM, (4, 2)),
        (SLURM | {"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, (4, 2)),
        (SLURM | {"SLURM_JOB_NAME": "interactive"}, (3, 1)),
    ],
)
def test_processes_are_those_that_were_started(
    environment: dict[str, str], expected: tuple[int, int]
) -> None:
    assert count_devices(environment, 3) == expected
