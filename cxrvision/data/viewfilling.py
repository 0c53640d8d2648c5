"""Unknown views of a manifest filled in from pixels, and the manifest written with their source."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlabel.writers import open_rows
from cxrvision.data.manifest import AGE, COLUMNS
from cxrvision.data.smallimages import read_small
from cxrvision.data.viewnet import (
    ViewCheck,
    check_views,
    fill_unknown,
    fit_views,
    load_model,
    orientation_features,
    save_model,
)
from cxrvision.data.views import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

    from cxrvision.data.cache import Cache
    from cxrvision.data.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class ViewFilling:
    """What became of the unknown views."""

    table: pd.DataFrame  # the manifest's rows with view_source and view_probability
    unknown: int  # before
    filled: Mapping[str, int]  # view -> images
    unreadable: int  # images, known or unknown, that could not be read
    check: ViewCheck | None  # None where a model was given
    doubted: tuple[str, ...]  # ids of images whose known view held-out pixels contradict

    def to_dict(self) -> dict[str, Any]:
        """Counts and names, ready for JSON."""
        return {
            "unknown": self.unknown,
            "filled": dict(self.filled),
            "unreadable": self.unreadable,
            "check": None if self.check is None else asdict(self.check),
            "doubted": list(self.doubted),
        }


def fill_views(
    manifest: Manifest,
    *,
    model: Path | None = None,
    save: Path | None = None,
    threshold: float = 0.95,
    cache: Cache | None = None,
    workers: int = 1,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ViewFilling:
    """Fill in unknown views from the pixels.

    Args:
        manifest: the images.
        model: a model file; without it one is fitted to the images of known view, and checked.
        save: where to write the fitted model.
        threshold: least probability of a view that is filled in.
        cache, workers, progress: as in `cxrvision.data.smallimages.read_small`.
        seed: of folds and draws.
        force: replace `save`.

    Raises:
        InputError: too few images of known view to fit a model, or the model file is none.
    """
    table = manifest.table
    views = table["view"].to_numpy(dtype=str)
    is_unknown = views == UNKNOWN
    fitted = load_model(model) if model is not None else None
    rows = np.arange(len(table)) if fitted is None else np.flatnonzero(is_unknown)
    squares, usable = read_small(manifest, rows, cache=cache, workers=workers, progress=progress)
    check, doubted = None, ()
    if fitted is None:
        known = np.flatnonzero(usable & ~is_unknown)
        patients = table["patient_id"].to_numpy(dtype=str)[known].tolist()
        names = views[known].tolist()
        fitted = fit_views(squares[known], names, seed=seed)
        check = check_views(squares[known], names, patients, threshold=threshold, seed=seed)
        doubted = tuple(table["image_id"].iloc[known[list(check.doubted)]])
        if save is not None:
            save_model(fitted, save, force=force)
    wanted = usable & is_unknown[rows]
    probs = fitted.predict(orientation_features(squares[wanted]))
    filled, sources, probability = fill_unknown(
        views.tolist(), probs, rows[wanted], fitted, threshold
    )
    new = [view for view, source in zip(filled, sources, strict=True) if source]
    return ViewFilling(
        table=table.assign(view=filled, view_source=sources, view_probability=probability),
        unknown=int(is_unknown.sum()),
        filled=dict(sorted(Counter(new).items())),
        unreadable=int((~usable).sum()),
        check=check,
        doubted=doubted,
    )


def write_filled(
    filling: ViewFilling, manifest: Manifest, path: Path, *, force: bool = False
) -> None:
    """Write the manifest with `view_source` and `view_probability` behind its columns.

    Paths become relative to the new file where the images lie below its folder, else absolute.
    """
    table = filling.table
    folder = Path(os.path.abspath(path)).parent
    kinds = {name: float if name == AGE else str for name in COLUMNS}
    kinds |= {"view_source": str, "view_probability": float}
    paths = [_from_folder(file, folder) for file in manifest.files()]
    columns = table.assign(path=paths)
    rows = zip(*(columns[name].tolist() for name in kinds), strict=True)
    numbers = [kind is float for kind in kinds.values()]
    with open_rows(path, kinds, force=force) as writer:
        writer.write([
            tuple(
                None if is_number and cell != cell else cell
                for cell, is_number in zip(row, numbers, strict=True)
            )
            for row in rows
        ])  # fmt: skip


def _from_folder(file: Path, folder: Path) -> str:
    # not resolved: a data folder that is a link keeps the place that the user gave it
    whole = Path(os.path.abspath(file))
    inside = whole.is_relative_to(folder)
    return whole.relative_to(folder).as_posix() if inside else whole.as_posix()
