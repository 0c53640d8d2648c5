"""Which studies go into which batch, and which of their images.

An epoch takes each study once. Studies are ordered so that every stretch of them has the same mix
of views as the whole, so that the number of images differs by one or two between batches: shapes
stay the same for a compiled model, and no empty image is encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.data.views import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.train.studies import Studies

    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BatchPlan:
    """The studies of a batch and the images that stand for them."""

    index: Integers  # [n] studies
    rows: Integers  # [m] images, sorted by view
    study: Integers  # [m] 0 ... n - 1: which of the n studies an image is of
    counts: tuple[int, ...]  # images of each view, in the order of VIEWS


def plan_epoch(
    studies: Studies,
    *,
    batch_size: int,
    rng: np.random.Generator,
    rank: int = 0,
    world_size: int = 1,
) -> list[BatchPlan]:
    """The batches of one epoch of training, one image for each view of a study.

    Args:
        batch_size: studies of a batch over all processes; those of an incomplete last one wait for
            the next epoch, unless it is the only one.
        rank, world_size: of this process, which gets every `world_size`-th study of each batch.
    """
    order = _mixed_order(studies.counts, rng)
    rows, owner = _one_image_a_view(studies, rng)
    whole = max(len(order) // batch_size, 1)
    plans = []
    for number in range(whole):
        batch = order[number * batch_size : (number + 1) * batch_size][rank::world_size]
        plans.append(_plan(studies, batch, rows, owner))
    return plans


def plan_all(studies: Studies, *, batch_size: int, most: int = 0) -> list[BatchPlan]:
    """All studies with all their images, in order, for prediction.

    Args:
        most: images of one view of a study, at most; 0 takes all.
    """
    rows = np.arange(len(studies.images))
    owner = np.repeat(np.arange(len(studies)), np.diff(studies.offsets))
    if most:
        keep = _number_in_view(owner, studies.views) < most
        rows, owner = rows[keep], owner[keep]
    return [
        _plan(studies, np.arange(begin, min(begin + batch_size, len(studies))), rows, owner)
        for begin in range(0, len(studies), batch_size)
    ]


def _mixed_order(counts: Integers, rng: np.random.Generator) -> Integers:
    """Studies in random order, each kind (which views it has) spread evenly over the whole."""
    kinds = (counts > 0) @ (1 << np.arange(counts.shape[1]))
    position = np.empty(len(kinds))
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    order: Integers = np.argsort(position, kind="stable")
    return order


def _one_image_a_view(studies: Studies, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """A random image of each study and view: its row and its study, study by study."""
    owner = np.repeat(np.arange(len(studies)), np.diff(studies.offsets))
    shuffled = rng.permutation(len(owner))
    views = int(studies.views.max()) + 1
    _, first = np.unique(owner[shuffled] * views + studies.views[shuffled], return_index=True)
    rows = shuffled[first]
    return rows, owner[rows]


def _number_in_view(owner: Integers, views: Integers) -> Integers:
    """[M] how many images of the same study and view come before each."""
    key = owner * (views.max() + 1) + views
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    starts = np.flatnonzero(np.r_[True, sorted_key[1:] != sorted_key[:-1]])
    number = np.empty(len(key), dtype=np.int64)
    number[order] = np.arange(len(key)) - np.repeat(starts, np.diff(np.r_[starts, len(key)]))
    return number


def _plan(studies: Studies, index: Integers, rows: Integers, owner: Integers) -> BatchPlan:
    """The images of some studies.

    Args:
        rows, owner: all images to use and their studies, sorted by study.
    """
    bounds = np.searchsorted(owner, np.arange(len(studies) + 1))
    sizes = (bounds[1:] - bounds[:-1])[index]
    starts = np.repeat(bounds[index], sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen, study = rows[starts + within], np.repeat(np.arange(len(index)), sizes)
    views = studies.views[chosen]
    order = np.argsort(views, kind="stable")
    counts = tuple(np.bincount(views, minlength=len(VIEWS)).tolist())
    return BatchPlan(index, chosen[order], study[order], counts)
