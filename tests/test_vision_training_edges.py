"""Training where something is missing, broken or changed."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from drawn_studies import BACKBONE, draw_studies
from safetensors.torch import load_file

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.train.config import TrainConfig
from cxrvision.train.training import run_training


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Of drawn studies without a cache."""
    studies, labels = draw_studies(tmp_path, studies=20)
    return TrainConfig(
        studies=str(studies), labels=str(labels), backbone=BACKBONE, size=32, epochs=1,
        batch_size=4, lr=1e-3, warmup=0.0, device="cpu", augment=False,
    )  # fmt: skip


def keep_images(config: TrainConfig, query: str) -> None:
    """Leave other images out of the manifest."""
    pd.read_csv(config.studies).query(query).to_csv(config.studies, index=False)


def test_files_train_without_workers(config: TrainConfig, tmp_path: Path) -> None:
    run_training(replace(config, workers=0), tmp_path / "run")

    assert (tmp_path / "run/predictions.csv").exists()


def test_without_val_the_last_epoch_is_kept(config: TrainConfig, tmp_path: Path) -> None:
    keep_images(config, "split != 'val'")

    done = run_training(replace(config, epochs=3, patience=1), tmp_path / "run")

    assert (done.course.epoch, done.course.best_epoch) == (3, 2)
    assert json.loads((tmp_path / "run/run.json").read_text())["best"] == {}
    assert "there is no split `val`" in (tmp_path / "run/model_card.md").read_text()


def test_train_alone_has_no_predictions(config: TrainConfig, tmp_path: Path) -> None:
    keep_images(config, "split == 'train'")

    run_training(config, tmp_path / "run")

    assert not (tmp_path / "run/predictions.csv").exists()
    assert (tmp_path / "run/model_card.md").exists()


def test_val_of_one_class_and_view_chooses_by_loss(config: TrainConfig, tmp_path: Path) -> None:
    keep_images(config, "split == 'train' or (view == 'frontal' and split == 'val')")
    labels = pd.read_csv(config.labels)
    val = pd.read_csv(config.studies).query("split == 'val'")["study_id"]
    labels.loc[labels["study_id"].isin(val), ["Edema", "Nodule"]] = 0.0
    labels.to_csv(config.labels, index=False)

    run_training(config, tmp_path / "run")

    course = pd.read_csv(tmp_path / "run/metrics.csv")
    best = json.loads((tmp_path / "run/run.json").read_text())["best"]
    assert best == {"loss": pytest.approx(course["val_loss"].iloc[0])}
    assert set(pd.read_csv(tmp_path / "run/predictions.csv")["views"]) == {"frontal"}


def test_patience_ends_a_run_that_does_not_get_better(config: TrainConfig, tmp_path: Path) -> None:
    # an average that stays where it began never gets better than at first
    settled = replace(config, epochs=6, patience=2, ema=0.9999999, lr=1e-30, weight_decay=0.0)
    done = run_training(replace(settled, freeze=True), tmp_path / "run")

    assert done.course.epoch == done.course.best_epoch + 3 == 3


def test_lateral_models_need_a_lateral(config: TrainConfig, tmp_path: Path) -> None:
    keep_images(config, "view == 'frontal'")

    with pytest.raises(InputError, match="no study with a usable image of lateral and a label"):
        run_training(replace(config, views=("lateral",)), tmp_path / "run")

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named_in_one_line(
    config: TrainConfig, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "images/s000_frontal.png").write_bytes(b"no image")

    with pytest.raises(InputError) as caught:
        run_training(replace(config, workers=workers), tmp_path / "run")

    assert "s000_frontal.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_of_another_fit_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    build_cache(read_manifest(Path(config.studies)), tmp_path / "cache", size=32, fit="crop")

    with pytest.raises(InputError, match="made with --fit crop, and the run has --fit pad"):
        run_training(replace(config, cache=str(tmp_path / "cache")), tmp_path / "run")


def test_other_labels_are_no_resumed_run(config: TrainConfig, tmp_path: Path) -> None:
    run_training(config, tmp_path / "run")
    labels = pd.read_csv(config.labels)
    labels.assign(Edema=1 - labels["Edema"]).to_csv(config.labels, index=False)

    with pytest.raises(InputError, match="the labels changed since the run began"):
        run_training(config, tmp_path / "run", resume=True)


def test_a_finished_run_is_resumed_to_the_same(config: TrainConfig, tmp_path: Path) -> None:
    run_training(config, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}

    run_training(config, tmp_path / "run", resume=True)

    after = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert {name: before[name] == content for name, content in after.items()} == dict.fromkeys(
        before, True
    )


def test_force_leaves_nothing_of_the_old_run(config: TrainConfig, tmp_path: Path) -> None:
    run_training(replace(config, epochs=2), tmp_path / "run")

    run_training(config, tmp_path / "run", force=True)

    assert pd.read_csv(tmp_path / "run/metrics.csv")["epoch"].tolist() == [1]
    assert len(list((tmp_path / "run/tensorboard").iterdir())) == 1


def test_steps_that_are_left_at_the_end_make_a_whole_update(
    config: TrainConfig, tmp_path: Path
) -> None:
    """Three steps in one update are the same whether three or nine were asked for."""
    plain = replace(config, optimizer="sgd", clip_norm=0.0)

    for accumulate in (3, 9):
        run_training(replace(plain, accumulate=accumulate), tmp_path / str(accumulate))

    heads = [load_file(tmp_path / name / "best.safetensors")["head.weight"] for name in "39"]
    assert torch.equal(*heads)
