"""Training end to end on drawn studies: it learns, resumes to the bit, and says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_studies import BACKBONE, FINDINGS, draw_studies
from safetensors.torch import load_file

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.train.config import TrainConfig
from cxrvision.train.loop import Progress
from cxrvision.train.predicting import PredictOptions, predict
from cxrvision.train.prepare import read_inputs
from cxrvision.train.runs import open_run
from cxrvision.train.training import run_training

ROOT = Path(__file__).parent.parent
Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, manifest, labels and a cache."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_studies(folder)
    build_cache(read_manifest(folder / "studies.csv"), folder / "cache", size=32)
    return folder


@pytest.fixture
def make(drawn: Path) -> Make:
    """A config for the drawn studies."""
    base = TrainConfig(
        studies=str(drawn / "studies.csv"),
        labels=str(drawn / "labels.csv"),
        cache=str(drawn / "cache"),
        backbone=BACKBONE,
        size=32,
        epochs=2,
        batch_size=8,
        lr=3e-3,
        device="cpu",
        warmup=0.2,
    )
    return lambda **changes: replace(base, **changes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best.safetensors")


def assert_equal_runs(one: Path, other: Path) -> None:
    """The same weights to the bit, and the same course."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    columns = ["epoch", "step", "lr", "train_loss", "val_loss", "val_auc"]
    courses = [pd.read_csv(folder / "metrics.csv")[columns] for folder in (one, other)]
    pd.testing.assert_frame_equal(*courses, check_exact=True)


def test_it_learns_what_each_view_shows(make: Make, tmp_path: Path) -> None:
    config = make(epochs=12, augment=False, view_dropout=0.0)

    run_training(config, tmp_path / "run")

    table = pd.read_csv(tmp_path / "run/metrics.csv")
    assert table["train_loss"].iloc[-1] < 0.6 * table["train_loss"].iloc[0]
    assert table["val_auc"].max() > 0.8


def test_the_run_folder_is_whole(make: Make, drawn: Path, tmp_path: Path) -> None:
    run_training(make(), tmp_path / "run")

    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.toml", "run.json", "metrics.csv", "best.safetensors", "checkpoint.pt",
        "predictions.csv", "tensorboard", "model_card.md",
    }  # fmt: skip
    record = json.loads((tmp_path / "run/run.json").read_text())
    labels = pd.read_csv(drawn / "labels.csv", index_col=0)
    trained = read_manifest(drawn / "studies.csv").table.query("split == 'train'")["study_id"]
    assert record["findings"] == list(FINDINGS)
    assert record["studies"]["train"] == trained.nunique()
    assert record["positives"]["train"]["Edema"] == labels.loc[trained.unique(), "Edema"].sum()
    assert "Edema, positive" in (tmp_path / "run/model_card.md").read_text()


def test_empty_reports_are_no_negatives(make: Make, drawn: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(drawn / "labels.csv", dtype={"study_id": str})
    table = read_manifest(drawn / "studies.csv").table
    trained = sorted(table.loc[table["split"] == "train", "study_id"].unique())
    empty = labels["study_id"].isin(trained[:3])
    labels.loc[empty, list(FINDINGS)] = np.nan
    labels["status"] = np.where(empty, "empty", "labeled")
    labels.to_csv(tmp_path / "labels.csv", index=False)

    inputs = read_inputs(make(labels=str(tmp_path / "labels.csv"), blank="zeros"))

    assert not set(trained[:3]) & set(inputs.parts["train"].studies.ids)
    assert len(inputs.parts["train"].studies) == len(trained) - 3
    assert "3 studies whose report is 'empty'" in inputs.left_out


def test_predictions_of_a_run_have_a_row_for_each_study_and_view(
    make: Make, drawn: Path, tmp_path: Path
) -> None:
    run_training(make(epochs=1), tmp_path / "run")

    table = pd.read_csv(tmp_path / "run/predictions.csv")
    held = read_manifest(drawn / "studies.csv").table.query("split != 'train'")
    both = held.groupby("study_id")["view"].nunique().eq(2)
    whole = table.drop_duplicates("study_id")
    assert sorted(whole["study_id"]) == sorted(both.index)
    assert set(whole.loc[whole["study_id"].map(both), "views"]) == {"frontal+lateral"}
    assert (table["views"] == "lateral").sum() == both.sum()
    assert table[list(FINDINGS)].stack().between(0, 1).all()


class Stopped(Exception):
    """What stands for a power cut."""


@pytest.mark.parametrize("save_every", [0, 1])
def test_a_run_that_was_stopped_ends_as_an_unbroken_one(
    make: Make, tmp_path: Path, save_every: int
) -> None:
    config = make(epochs=3, dropout=0.2, view_dropout=0.3, ema=0.9, save_every=save_every)
    run_training(config, tmp_path / "whole")

    def stop(at: Progress) -> None:
        if at.epoch == 2 and at.step >= 2:
            raise Stopped

    with pytest.raises(Stopped):
        run_training(config, tmp_path / "broken", progress=stop)
    run_training(config, tmp_path / "broken", resume=True)

    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def command(config: TrainConfig, out: Path, *more: str) -> list[str]:
    """`cxr train` with the settings that the tests change."""
    options = {
        "--studies": config.studies, "--labels": config.labels, "--cache": config.cache,
        "--backbone": config.backbone, "--size": config.size, "--epochs": config.epochs,
        "--batch-size": config.batch_size, "--lr": config.lr, "--device": "cpu",
        "--warmup": config.warmup, "--save-every": config.save_every, "--out": out,
    }  # fmt: skip
    given = [str(part) for pair in options.items() for part in pair]
    return [sys.executable, str(ROOT / "cli.py"), "train", *given, *more]


def test_a_killed_process_is_resumed(make: Make, tmp_path: Path) -> None:
    config = make(epochs=4, save_every=1)
    run_training(config, tmp_path / "whole")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command(config, tmp_path / "broken"), env=environment) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "broken/metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "broken/checkpoint.pt").exists()

    run_training(config, tmp_path / "broken", resume=True)

    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_two_processes_learn_as_one(make: Make, tmp_path: Path) -> None:
    # no batch norm, whose statistics are those of a process, and no draws, which are its own too
    config = make(backbone="test_vit", augment=False, view_dropout=0.0)
    run_training(config, tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    more = ["--no-augment", "--config", str(tmp_path / "one/config.toml")]

    done = subprocess.run(
        [*torchrun, *command(config, tmp_path / "two", *more)[1:]],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    pd.testing.assert_series_equal(one["train_loss"], two["train_loss"], rtol=1e-4)
    pd.testing.assert_series_equal(one["val_loss"], two["val_loss"], rtol=1e-4)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2


@pytest.mark.parametrize("views", [("frontal",), ("lateral",)])
def test_single_views_train_alone(make: Make, tmp_path: Path, views: tuple[str, ...]) -> None:
    run_training(make(views=views, epochs=1), tmp_path / "run")

    assert set(pd.read_csv(tmp_path / "run/predictions.csv")["views"]) == set(views)


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "attention", "share_encoder": True},
        {"features": ("age", "sex", "view_position"), "loss": "weighted"},
        {"uncertain": "multiclass"},
        {"one_loss_per_step": True, "accumulate": 2},
        {"optimizer": "sgd", "freeze": True},
        {"cache": "", "workers": 1},
    ],
    ids=str,
)
def test_variants_train(make: Make, tmp_path: Path, changes: dict[str, object]) -> None:
    run_training(make(epochs=1, **changes), tmp_path / "run")

    assert pd.read_csv(tmp_path / "run/metrics.csv")["train_loss"].notna().all()


def test_the_config_of_a_run_repeats_it(make: Make, tmp_path: Path) -> None:
    run_training(make(), tmp_path / "one")

    run_training(open_run(tmp_path / "one").config, tmp_path / "two")

    assert_equal_runs(tmp_path / "one", tmp_path / "two")


def test_a_loss_that_is_not_finite_names_its_studies(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in the batch of the studies s0"):
        run_training(make(lr=1e30, clip_norm=0.0, optimizer="sgd"), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 64}, "images of 32 pixels; expected 64"),
        ({"findings": ("Edema", "Fracture")}, "no column 'Fracture'"),
        ({"findings": ("Oedemma",)}, "--findings: unknown finding 'Oedemma'"),
        ({"policies": ("Edema=maybe",)}, "'maybe'"),
        ({"backbone": "densenet12"}, "densenet12"),
        ({"device": "cuda"}, "torch sees no GPU"),
        ({"uncertain": "self-train"}, "self-train"),
    ],
)
def test_wrong_settings_are_one_line(
    make: Make, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    if "device" in changes and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError) as caught:
        run_training(make(**changes), tmp_path / "run")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_run_is_kept(make: Make, tmp_path: Path) -> None:
    run_training(make(epochs=1), tmp_path / "run")

    with pytest.raises(InputError, match="--resume to go on with it or --force"):
        run_training(make(epochs=1), tmp_path / "run")
    with pytest.raises(InputError, match=r"the run has lr = 0\.003, not 0\.1"):
        run_training(make(epochs=1, lr=0.1), tmp_path / "run", resume=True)


# prediction


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = TrainConfig(
        studies=str(drawn / "studies.csv"), labels=str(drawn / "labels.csv"),
        cache=str(drawn / "cache"), backbone=BACKBONE, size=32, epochs=1, device="cpu",
    )  # fmt: skip
    run_training(config, folder)
    return folder


def test_files_and_cache_predict_the_same(drawn: Path, trained: Path) -> None:
    manifest, run = read_manifest(drawn / "studies.csv"), [open_run(trained)]

    found = [
        predict(run, manifest, cache=cache, options=PredictOptions(batch_size=size))
        for cache, size in ((drawn / "cache", 16), (None, 5))
    ]

    pd.testing.assert_frame_equal(found[0].table, found[1].table, rtol=1e-4)


def test_several_runs_are_averaged(drawn: Path, trained: Path) -> None:
    manifest, options = read_manifest(drawn / "studies.csv"), PredictOptions()
    run = open_run(trained)

    one, both = (
        predict(runs, manifest, cache=drawn / "cache", options=options).table
        for runs in ([run], [run, run])
    )

    pd.testing.assert_frame_equal(one, both)


def test_studies_without_a_usable_image_are_listed(trained: Path, tmp_path: Path) -> None:
    manifest, _ = draw_studies(tmp_path / "new", studies=4, lateral=0.0)
    (tmp_path / "new/images/s001_frontal.png").write_bytes(b"no image")

    found = predict(
        [open_run(trained)], read_manifest(manifest), cache=None, options=PredictOptions(tta=1)
    )

    assert found.without_image == ("s001",)
    assert found.broken == ("s001_frontal",)
    assert list(found.table["study_id"]) == ["s000", "s002", "s003"]


def test_a_study_with_four_images_has_one_row(trained: Path, tmp_path: Path) -> None:
    manifest, _ = draw_studies(tmp_path / "new", studies=4, lateral=1.0)
    table = pd.read_csv(manifest).assign(study_id="s0", patient_id="p0", split="test")
    table.iloc[:4].to_csv(manifest, index=False)

    found = predict(
        [open_run(trained)], read_manifest(manifest), cache=None, options=PredictOptions()
    )

    assert found.table[["study_id", "views"]].values.tolist() == [["s0", "frontal+lateral"]]
