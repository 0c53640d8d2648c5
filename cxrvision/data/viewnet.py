"""The view of an image from its pixels, for images whose header and data set do not tell.

A softmax over gradient orientations in 8 × 8 cells (Dalal and Triggs 2005) of an image of 32 × 32
pixels. Orientations without sign do not change when the image is inverted. On 126 real films (24
lateral, 5 folds by patient) it made no error, also none on inverted ones, where the pixels
themselves made five and a small convolutional net three.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.data.smallimages import SIDE
from cxrvision.data.views import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bytes = NDArray[np.uint8]
    Names = NDArray[np.str_]

LEAST: Final = 10  # images of a view to learn it from
FOLDS: Final = 5

_LEAST_FOLD: Final = 4
_CELLS: Final = 8
_ANGLES: Final = 6
_FEATURES: Final = _CELLS**2 * _ANGLES
_BATCH: Final = 4_096  # images whose gradients are in memory at the same time
_MOST: Final = 5_000  # images of a view that are learned from
_PENALTY: Final = 6.0  # on squared weights, against the sum over images
_STEPS: Final = 30
_SETTLED: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ViewModel:
    """Weights of the views."""

    views: tuple[str, ...]
    mean: Floats  # [D] of the features
    scale: Floats  # [D]
    weights: Floats  # [V, D + 1], the last one without a feature

    def predict(self, features: Floats) -> Floats:
        """[n, V] probabilities of the views that sum to 1, from [n, D] features."""
        scaled = np.column_stack([(features - self.mean) / self.scale, np.ones(len(features))])
        odds = 1 / (1 + np.exp(-np.clip(scaled @ self.weights.T, -30, 30)))
        shares: Floats = odds / odds.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, slots=True)
class ViewCheck:
    """How a model does on patients that it was not fitted to."""

    images: int
    accuracy: float
    sure: int  # images whose most probable view reaches the threshold
    accuracy_sure: float | None
    confusion: dict[str, dict[str, int]]  # known view -> predicted view -> images
    doubted: tuple[int, ...]  # rows whose known view is contradicted above the threshold


def orientation_features(squares: Bytes) -> Floats:
    """[n, 384]: how much of the gradient points each way in each cell, from [n, 32, 32]."""
    features = np.zeros((len(squares), _FEATURES))
    for start in range(0, len(squares), _BATCH):
        features[start : start + _BATCH] = _features(squares[start : start + _BATCH])
    return features


def _features(squares: Bytes) -> Floats:
    down, right = np.gradient(squares.astype(np.float32), axis=(1, 2))
    strength = np.hypot(down, right)
    turn = (np.arctan2(down, right) % np.pi) / np.pi * _ANGLES
    lower = np.floor(turn).astype(np.int64)
    above = turn - lower  # shared between the two next angles
    side = SIDE // _CELLS
    cells = (len(squares), _CELLS, side, _CELLS, side)
    parts = []
    for angle in range(_ANGLES):
        share = np.where(lower % _ANGLES == angle, 1 - above, 0)
        share = share + np.where((lower + 1) % _ANGLES == angle, above, 0)
        parts.append((strength * share).reshape(cells).sum(axis=(2, 4)))
    sums = np.stack(parts, axis=-1).reshape(-1, _FEATURES).astype(np.float64)
    total = sums.sum(axis=1, keepdims=True)
    # square roots of shares: Hellinger distance, in which a few strong edges do not rule
    return np.sqrt(sums / np.where(total > 0, total, 1))


def fit_views(
    squares: Bytes, views: Sequence[str], *, seed: int = 0, least: int = LEAST
) -> ViewModel:
    """Fit a model to images, each also mirrored: which way a patient faces is not its view.

    Args:
        squares: [n, 32, 32].
        views: of each; any names, "other" among them where there are such images.
        seed: draws the images of views that have very many.
        least: images that a view needs.

    Raises:
        InputError: fewer than two views, or too few images of one.
    """
    known = np.asarray(views)
    names, counts = np.unique(known, return_counts=True)
    if len(names) < 2 or counts.min() < least:
        found = ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True)) or "none"
        raise InputError(
            f"images of known view: {found}; expected at least {least} of each of two views"
        )
    rng = np.random.default_rng(seed)
    rows = np.concatenate([
        rng.permutation(np.flatnonzero(known == name))[:_MOST] for name in names
    ])  # fmt: skip
    used = squares[rows]
    features = orientation_features(np.concatenate([used, used[:, :, ::-1]]))
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    both = np.tile(known[rows], 2)
    weights = np.stack([_fit_one(scaled, both == name) for name in names])
    return ViewModel(tuple(map(str, names)), mean, scale, weights)


def check_views(
    squares: Bytes,
    views: Sequence[str],
    patients: Sequence[str],
    *,
    threshold: float,
    seed: int = 0,
) -> ViewCheck:
    """Cross-validate `fit_views` with 5 folds of patients."""
    known = np.asarray(views)
    names = np.unique(known)
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    folds = np.random.default_rng(seed).permutation(patient.max() + 1) % FOLDS
    fold = folds[patient]
    probs = np.zeros((len(known), len(names)))
    tested = np.zeros(len(known), bool)
    for number in range(FOLDS):
        held = fold == number
        model = None if not held.any() else _fit_or_none(squares[~held], known[~held], seed)
        if model is not None:
            places = [int(np.flatnonzero(names == view)[0]) for view in model.views]
            probs[np.ix_(held, places)] = model.predict(orientation_features(squares[held]))
            tested |= held
    if not tested.any():
        raise InputError(f"too few patients of known view to check a model in {FOLDS} folds")
    top, predicted = probs.max(axis=1), names[probs.argmax(axis=1)]
    right = predicted == known
    sure = tested & (top >= threshold)
    return ViewCheck(
        images=int(tested.sum()),
        accuracy=float(right[tested].mean()),
        sure=int(sure.sum()),
        accuracy_sure=float(right[sure].mean()) if sure.any() else None,
        confusion={
            str(true): {
                str(name): int((tested & (known == true) & (predicted == name)).sum())
                for name in names
            }
            for true in names
        },
        doubted=tuple(np.flatnonzero(sure & ~right).tolist()),
    )


def fill_unknown(
    views: Sequence[str], probs: Floats, rows: NDArray[np.int64], model: ViewModel, threshold: float
) -> tuple[list[str], list[str], Floats]:
    """Give unknown views their most probable one where it reaches the threshold.

    Args:
        views: of all images.
        probs: [n, V] of the images `rows`.
        rows: which images the probabilities are of; only unknown ones are filled.
        model: names the views.
        threshold: least probability.

    Returns:
        Of all images: the view, its source ("pixels" where it was filled, else ""), and the
        probability of the most probable view (NaN where it was not predicted).
    """
    filled, sources = list(views), [""] * len(views)
    probability = np.full(len(filled), np.nan)
    for row, shares in zip(rows.tolist(), probs, strict=True):
        best = int(shares.argmax())
        probability[row] = shares[best]
        if filled[row] == UNKNOWN and shares[best] >= threshold:
            filled[row], sources[row] = model.views[best], "pixels"
    return filled, sources, probability


def save_model(model: ViewModel, path: Path | str, *, force: bool = False) -> None:
    """Write a model as .npz: arrays alone, nothing that runs when it is read."""
    with atomic_path(path, force=force) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            views=np.array(model.views),
            mean=model.mean,
            scale=model.scale,
            weights=model.weights,
        )


def load_model(path: Path | str) -> ViewModel:
    """Read what `save_model` wrote.

    Raises:
        InputError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            views = tuple(map(str, file["views"]))
            mean, scale, weights = (
                file[name].astype(np.float64) for name in ("mean", "scale", "weights")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a view model of `cxr data views --save`") from error
    if weights.shape != (len(views), _FEATURES + 1) or {mean.shape, scale.shape} != {(_FEATURES,)}:
        raise InputError(f"{path}: a view model of another version; fit it anew")
    return ViewModel(views, mean, scale, weights)


def _fit_one(features: Floats, target: NDArray[np.bool_]) -> Floats:
    """Weights of one view against the others by Newton's method; both sides weigh the same."""
    share = target.mean()
    weight = np.where(target, 0.5 / share, 0.5 / (1 - share)) / len(target)
    penalty = np.full(features.shape[1], _PENALTY / len(target))
    penalty[-1] = 1e-9
    weights = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        probs = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (weight * (probs - target)) + penalty * weights
        bend = (features.T * (weight * probs * (1 - probs))) @ features + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < _SETTLED:
            break
    return weights


def _fit_or_none(squares: Bytes, views: Names, seed: int) -> ViewModel | None:
    """A model of a fold; None where the fold took too many images of a view."""
    try:
        return fit_views(squares, views.tolist(), seed=seed, least=_LEAST_FOLD)
    except InputError:
        return None
