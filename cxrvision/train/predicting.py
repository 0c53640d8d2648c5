"""From weights and images to a table of probabilities."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import torch

from cxrlabel.errors import InputError
from cxrlabel.writers import open_rows
from cxrvision.data.cache import Cache, build_cache, open_cache
from cxrvision.data.views import VIEWS
from cxrvision.train import runs
from cxrvision.train.augmentation import augment
from cxrvision.train.batches import plan_all
from cxrvision.train.building import choose_device, make_model
from cxrvision.train.heads import read_heads
from cxrvision.train.pixels import BatchData, PixelSource, cached_pixels, load_batches
from cxrvision.train.schedule import step_seed
from cxrvision.train.steps import as_float
from cxrvision.train.studies import Studies, make_studies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.data.manifest import Manifest
    from cxrvision.train.runs import Run

KEYS: Final = ("study_id", "patient_id", "split", "views", "view_position")
STANDARD_ERROR: Final = "_se"  # after a finding's name: the column of its standard error


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Probabilities by study."""

    # `KEYS`, then one column per finding in [0, 1], and its standard error where tables were drawn
    table: pd.DataFrame
    without_image: tuple[str, ...]  # studies that have no usable image of the wanted views
    broken: tuple[str, ...]  # images that cannot be read
    # with several runs that have draws: the share of the runs' seeds in the variance of one run's
    # probabilities; the rest is the audit's
    seed_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How to predict."""

    split: str = ""  # the studies of this split; "" takes all
    per_view: bool = False  # also each view alone, for studies that have several
    tta: int = 0  # augmented copies that are averaged with the images as they are
    batch_size: int = 16
    workers: int = 1
    device: str = "auto"


def predict(
    opened: Sequence[Run], manifest: Manifest, *, cache: Path | None, options: PredictOptions
) -> Predicted:
    """The mean probabilities of one or more runs.

    Args:
        cache: made from the manifest at the size of the runs; None reads the files.

    Raises:
        InputError: the runs predict different findings, the cache has another size, or no study
            has a usable image.
    """
    _check_alike(opened)
    config = opened[0].config
    views = tuple(view for view in VIEWS if any(view in run.config.views for run in opened))
    chosen = _of_split(manifest, options.split)
    wanted = chosen.table["view"].isin(views)
    with _pixels_of(chosen, cache, config.size, config.fit, views, options.workers) as pixels:
        usable = pixels.find(chosen.table["image_id"].to_numpy()) >= 0
        tables: list[pd.DataFrame] = []
        seed_share = None
        for subset in _subsets(views, per_view=options.per_view):
            studies = make_studies(
                chosen, findings=opened[0].findings, views=subset, usable=usable,
                features=config.features,
            )  # fmt: skip
            if tables:
                studies = _paired(studies, tables[0])
            found = _average([_run_probs(run, studies, pixels, options) for run in opened])
            tables.append(_table(studies, found))
            seed_share = found.seed_share if len(tables) == 1 else seed_share
            if not tables[0]["views"].str.contains("+", regex=False).any():
                break  # no study has several views, of which one could be taken
    table = pd.concat(tables, ignore_index=True)
    broken = chosen.table.loc[wanted & ~usable, "image_id"]
    missing = sorted(set(chosen.table["study_id"]) - set(table["study_id"]))
    return Predicted(table, tuple(missing), tuple(map(str, broken)), seed_share)


def write_predictions(path: Path, predicted: Predicted, *, force: bool = False) -> None:
    """Write a table of probabilities.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    table = predicted.table
    kinds: dict[str, type] = {name: str if name in KEYS else float for name in table.columns}
    with open_rows(path, kinds, force=force) as writer:
        writer.write(list(table.itertuples(index=False, name=None)))


def _check_alike(opened: Sequence[Run]) -> None:
    first = opened[0]
    for run in opened[1:]:
        for what, own, other in (
            ("findings", first.findings, run.findings),
            ("views", first.config.views, run.config.views),
            ("size", first.config.size, run.config.size),
            ("fit", first.config.fit, run.config.fit),
            ("features", first.config.features, run.config.features),
        ):
            if own != other:
                raise InputError(
                    f"{run.folder}: its {what} differ from those of {first.folder}; "
                    "expected runs that predict the same"
                )


def _of_split(manifest: Manifest, split: str) -> Manifest:
    if not split:
        return manifest
    chosen = manifest.table[manifest.table["split"] == split]
    if chosen.empty:
        raise InputError(f"{manifest.place}: no study of the split {split!r}")
    return dataclasses.replace(manifest, table=chosen)


@contextmanager
def _pixels_of(
    manifest: Manifest, cache: Path | None, size: int, fit: str, views: Sequence[str], workers: int
) -> Iterator[Cache]:
    """The cache of these images: the given one, or one for the time being."""
    if cache is not None:
        opened = open_cache(cache)
        if (opened.size, opened.fit) != (size, fit):
            raise InputError(
                f"{cache}: images of {opened.size} pixels, {opened.fit}; the run has {size}, {fit}"
            )
        yield opened
        return
    wanted = manifest.table["view"].isin(list(views))
    needed = dataclasses.replace(manifest, table=manifest.table[wanted])
    with tempfile.TemporaryDirectory() as folder:
        build_cache(needed, Path(folder) / "cache", size=size, fit=fit, workers=workers)
        yield open_cache(Path(folder) / "cache")


def _subsets(views: Sequence[str], *, per_view: bool) -> list[tuple[str, ...]]:
    single = [(view,) for view in views] if per_view and len(views) > 1 else []
    return [tuple(views), *single]


def _paired(studies: Studies, whole: pd.DataFrame) -> Studies:
    """The studies for which several views were used."""
    several = whole.loc[whole["views"].str.contains("+", regex=False), "study_id"]
    return studies.take(np.flatnonzero(np.isin(studies.ids, several.to_numpy())))


@dataclass(frozen=True, slots=True, eq=False)
class RunProbs:
    """What one run says of N studies."""

    probs: NDArray[np.float64]  # [N, F]
    variance: NDArray[np.float64] | None  # [N, F] over draws of the error tables, with such heads
    seed_share: float | None = None  # of several runs' seeds in the variance of one, on average


def _average(found: Sequence[RunProbs]) -> RunProbs:
    """The mean of several runs, and its variance where each knows that of its draws.

    The audit's error is the same for all runs, and stays; that of the runs' seeds is divided by
    their number.
    """
    probs = np.stack([one.probs for one in found])
    drawn = [one.variance for one in found if one.variance is not None]
    if len(drawn) < len(found):
        return RunProbs(probs.mean(axis=0), None)
    audit = np.mean(drawn, axis=0)
    if len(found) == 1:
        return RunProbs(probs[0], audit)
    seeds = probs.var(axis=0, ddof=1)
    whole = float((audit + seeds).mean())
    share = float(seeds.mean()) / whole if whole else None
    return RunProbs(probs.mean(axis=0), audit + seeds / len(found), share)


@torch.inference_mode()
def _run_probs(run: Run, studies: Studies, cache: Cache, options: PredictOptions) -> RunProbs:
    """The probabilities of one run; with heads for draws of the error tables, their mean."""
    device = choose_device(options.device)
    model = load_model(run).to(device).eval()
    heads = read_heads(run.folder, findings=len(run.findings))
    heads = None if heads is None else heads.to(device)
    empty = np.zeros_like(studies.states)
    pixels: PixelSource = cached_pixels(studies, cache, place="cache")
    data = BatchData(studies, pixels, empty, empty)
    probs = np.zeros((len(studies), len(studies.findings)))
    variance = None if heads is None else np.zeros_like(probs)
    plans = plan_all(studies, batch_size=options.batch_size)
    for number, batch in enumerate(load_batches(data, plans, device=device)):
        images, found = as_float(batch.images), []
        for copy in range(options.tta + 1):
            generator = torch.Generator(device).manual_seed(
                step_seed(run.config.seed, number, copy)
            )
            seen = augment(images, generator) if copy else images
            if heads is None:
                logits = batch.logits(model, seen, run.config.views).joint[None]
            else:
                logits = heads.logits(batch.fused(model, seen, run.config.views))
            found.append(torch.sigmoid(logits.double()))
        by_head = torch.stack(found).mean(0).cpu().numpy()  # [K, n, F]
        rows = batch.index.cpu().numpy()
        probs[rows] = by_head.mean(axis=0)
        if variance is not None:
            variance[rows] = by_head.var(axis=0, ddof=1) if len(by_head) > 1 else 0.0
    return RunProbs(probs, variance)


def load_model(run: Run) -> Any:
    """The model of a run with its best weights, on the CPU.

    Raises:
        InputError: the weights are of another model.
    """
    config = dataclasses.replace(run.config, weights="none")  # those of the run replace them
    model = make_model(config, run.findings)
    path = run.folder / runs.BEST
    try:
        model.load_state_dict(runs.read_weights(path))
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the model of {runs.CONFIG}") from error
    return model


def _table(studies: Studies, found: RunProbs) -> pd.DataFrame:
    used = [
        "+".join(view for view, count in zip(VIEWS, counts, strict=True) if count)
        for counts in studies.counts
    ]
    keys = (studies.ids, studies.patients, studies.splits, used, studies.positions)
    table = pd.DataFrame(dict(zip(KEYS, keys, strict=True)))
    parts = [table, pd.DataFrame(found.probs, columns=list(studies.findings))]
    if found.variance is not None:
        names = [f"{name}{STANDARD_ERROR}" for name in studies.findings]
        parts.append(pd.DataFrame(np.sqrt(found.variance), columns=names))
    return pd.concat(parts, axis=1)
