"""Making what all cells share: studies with known truth, divided by patient, and their features.

Three parts that share no patient: on one the encoder is trained once, with its true labels, and
then not used again; the labels of the second get errors, are audited and learned from; on the third
everything is evaluated against the truth. The encoder stands for one that was trained elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import torch

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.manifest import Manifest, read_manifest, write_manifest
from cxrvision.data.splits import TEST, TRAIN, carve_validation, split_patients
from cxrvision.data.views import VIEWS
from cxrvision.noise.simulation import read_truth
from cxrvision.noise.sweep.material import FEATURES
from cxrvision.phantom import write_phantoms
from cxrvision.train.batches import plan_all
from cxrvision.train.config import TrainConfig
from cxrvision.train.pixels import BatchData, cached_pixels, load_batches
from cxrvision.train.predicting import load_model
from cxrvision.train.runs import open_run
from cxrvision.train.steps import as_float
from cxrvision.train.studies import Studies, make_studies
from cxrvision.train.training import run_training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.data.cache import Cache
    from cxrvision.noise.sweep.settings import Report, SweepSettings
    from cxrvision.train.loop import Progress

    Floats = NDArray[np.float64]
    Say = Callable[[str], None]

PHANTOM_FINDINGS: Final = ("Atelectasis", "Consolidation", "Pleural Effusion", "Pneumothorax")
TEST_SHARE: Final = 0.25  # of patients, where the manifest has no test split
_MISSING_LATERAL: Final = 0.3  # of phantoms
_FEWEST: Final = 2  # studies with and without each finding, in the two parts that cells use


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where images and truth come from."""

    manifest: Manifest  # of the studies that have a truth
    truth: pd.DataFrame
    labels: Path
    cache: Path
    part: pd.Series[str]  # "encoder", "pool" or "test", by image


def prepare_material(
    settings: SweepSettings, out: Path, *, workers: int, device: str, say: Say, progress: Report
) -> None:
    """Write features.npz, where it is not there yet; every step goes on from where it stopped.

    Args:
        device: that the encoder is trained on.
        say: called with a line when a step is done.
        progress: called with what is being done, how many are done, and of how many.

    Raises:
        InputError: an input is wrong, or a part has too few studies.
    """
    if (out / FEATURES).is_file():
        return
    source = open_source(settings, out, workers=workers, say=say, progress=progress)
    _check_parts(source, settings)
    run = _train_encoder(source, settings, out / "encoder", device, progress)
    best = open_run(run).record.get("best", {}).get("auc", float("nan"))
    say(f"trained the encoder on patients of its own (AUC {best:.3f} on its validation part)")
    arrays = _features(source, run, settings)
    with (
        atomic_path(out / FEATURES, force=True, again="new") as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, **arrays)


def open_source(
    settings: SweepSettings, out: Path, *, workers: int, say: Say, progress: Report
) -> Source:
    """Phantoms, drawn where they are not there yet, or the user's studies; and a cache."""
    studies, labels = Path(settings.studies), Path(settings.labels)
    if settings.phantoms is not None:
        studies = _draw_phantoms(settings, out / "phantoms", workers, say, progress)
        labels = studies.with_name("labels.csv")
    manifest = read_manifest(studies)
    truth = read_truth(labels, findings=settings.findings).table
    cache = Path(settings.cache) if settings.cache else out / "cache"
    if not settings.cache:
        build_cache(manifest, cache, size=settings.size, workers=workers)
    opened = open_cache(cache)
    if opened.size != settings.size:
        raise InputError(
            f"{cache}: images of {opened.size} pixels; expected --size {settings.size}"
        )
    usable = opened.find(manifest.table["image_id"].to_numpy()) >= 0
    known = manifest.table["study_id"].isin(truth.index).to_numpy()
    of_views = manifest.table["view"].isin(list(VIEWS)).to_numpy()
    table = manifest.table[usable & known & of_views]
    if table.empty:
        raise InputError(f"{studies}: no study with a usable image and a truth in {labels}")
    kept = dataclasses.replace(manifest, table=table)
    return Source(kept, truth, labels, cache, divide(table, settings))


def divide(table: pd.DataFrame, settings: SweepSettings) -> pd.Series[str]:
    """The part of each image's patient: test (as the manifest has it, if at all), encoder, pool."""
    patients = table["patient_id"]
    # seeds of their own: the split of phantoms has that of the sweep
    tested = table["split"] == TEST
    if not tested.any():
        shares = (1 - TEST_SHARE, 0.0, TEST_SHARE)
        tested = split_patients(patients, seed=settings.seed + 1, shares=shares) == TEST
    first, rest = settings.encoder_share, 1 - settings.encoder_share
    halves = split_patients(patients, seed=settings.seed + 2, shares=(first, 0.0, rest))
    names = np.where(tested, TEST, np.where(halves == TRAIN, "encoder", "pool"))
    return pd.Series(names.tolist(), index=table.index, dtype="str")


def pool_and_test(source: Source, settings: SweepSettings) -> Studies:
    """The studies that cells use, with their images and truths."""
    own = dataclasses.replace(
        source.manifest, table=source.manifest.table[source.part != "encoder"]
    )
    return make_studies(own, source.truth, findings=tuple(source.truth.columns), views=VIEWS)


def _draw_phantoms(
    settings: SweepSettings, folder: Path, workers: int, say: Say, progress: Report
) -> Path:
    """Phantoms with labels that are true; a folder that has a manifest is whole."""
    manifest = folder / "studies.csv"
    if not manifest.is_file():
        drawn = 0

        def count(more: int) -> None:
            nonlocal drawn
            drawn += more
            progress("phantoms", drawn, settings.phantoms or 0)

        made = write_phantoms(
            folder,
            studies=settings.phantoms or 0,
            size=settings.size,
            seed=settings.seed,
            findings=settings.findings or PHANTOM_FINDINGS,
            prevalence=settings.prevalence,
            missing_lateral=_MISSING_LATERAL,
            workers=workers,
            force=True,  # what a killed run left
            progress=count,
        )
        say(f"drew {made.images:,} images of {made.studies:,} phantoms")
    return manifest


def _check_parts(source: Source, settings: SweepSettings) -> None:
    studies = source.manifest.table["study_id"]
    for part in ("encoder", "pool", "test"):
        ids = studies[source.part == part].unique()
        truth = source.truth.loc[ids]
        for name in truth.columns:
            present = int((truth[name] == 1).sum())
            if min(present, len(truth) - present) < _FEWEST:
                raise InputError(
                    f"sweep: {present} of the {len(truth)} studies of the part {part!r} have "
                    f"{name!r}; expected {_FEWEST} or more with and without: use more studies, or "
                    "leave it out by --findings"
                )
    pool = studies[source.part == "pool"].nunique()
    if max(settings.audits) > pool:
        raise InputError(
            f"--audit: {max(settings.audits)}; there are {pool:,} studies to learn from"
        )


def _train_encoder(
    source: Source, settings: SweepSettings, folder: Path, device: str, progress: Report
) -> Path:
    """A run on the encoder's patients, by the project's own training."""
    table = source.manifest.table[source.part == "encoder"].copy()
    table["split"] = carve_validation(table["patient_id"], seed=settings.seed + 3)
    manifest = folder / "studies.csv"
    write_manifest(manifest, table, root=source.manifest.root, force=True)
    config = encoder_config(source, settings, manifest, device)

    def show(at: Progress) -> None:
        progress("encoder", (at.epoch - 1) * at.steps + at.step, config.epochs * at.steps)

    run_training(config, folder / "run", resume=True, progress=show)
    return folder / "run"


def encoder_config(
    source: Source, settings: SweepSettings, manifest: Path, device: str
) -> TrainConfig:
    """How the encoder is trained, and every network of a sweep with `train_encoder`."""
    seen = set(source.manifest.table["view"])
    return TrainConfig(
        studies=str(manifest),
        labels=str(source.labels),
        cache=str(source.cache),
        findings=tuple(map(str, source.truth.columns)),
        views=tuple(view for view in VIEWS if view in seen),
        backbone=settings.backbone,
        view_dropout=0.0,  # its features are read from the images as they are
        size=settings.size,
        fit=open_cache(source.cache, verify=False).fit,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=settings.seed,
        device=device,
    )


@torch.inference_mode()
def _features(source: Source, run: Path, settings: SweepSettings) -> dict[str, Any]:
    """What features.npz holds: fused features and logits of the studies of pool and test."""
    opened = open_run(run)
    model: Any = load_model(opened).eval()
    studies = pool_and_test(source, settings)
    cache: Cache = open_cache(source.cache, verify=False)
    pixels = cached_pixels(studies, cache, place=str(source.cache))
    empty = np.zeros_like(studies.states)
    data = BatchData(studies, pixels, empty, empty)
    plans = plan_all(studies, batch_size=64)
    fused = torch.cat(
        [
            batch.fused(model, as_float(batch.images), opened.config.views)
            for batch in load_batches(data, plans, device=torch.device("cpu"))
        ]
    )
    part = source.part.groupby(source.manifest.table["study_id"]).first()
    tested = (part.reindex(studies.ids) == TEST).to_numpy()
    return {
        "ids": studies.ids.astype(str),
        "patients": studies.patients.astype(str),
        "tested": tested,
        "findings": np.array(studies.findings),
        "truth": studies.states.astype(np.float64),
        "features": principal_axes(fused.double().numpy(), ~tested),
        "scores": model.head(fused).double().numpy(),
    }


def principal_axes(features: Floats, pool: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Features standardised and turned to their principal axes, both by the studies of the pool.

    Turning changes no ridge regression; it makes the last layer quick to fit. Features that do not
    vary are left out.

    Args:
        features: [N, D].
        pool: [N] the studies whose means, spreads and axes are taken.
    """
    center, spread = features[pool].mean(axis=0), features[pool].std(axis=0)
    varies = spread > 1e-6 * max(float(spread.max()), 1e-12)
    scaled = (features[:, varies] - center[varies]) / spread[varies]
    axes = np.linalg.eigh(scaled[pool].T @ scaled[pool])[1]
    turned: NDArray[np.float32] = (scaled @ axes[:, ::-1]).astype(np.float32)
    return turned
