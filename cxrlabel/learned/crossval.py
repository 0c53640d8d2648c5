"""Cross-validation of labelers: each report is labeled by a model that has not seen it.

Reports of one patient and reports of equal words are in one fold. The learning curve fits on some
groups of the reports outside a fold and judges on the fold, so that all sizes are judged on the
same reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlabel.findings import NO_FINDING, POSITIVE, STATES
from cxrlabel.learned.backend import Backend, Model, states_of
from cxrlabel.learned.judging import RESAMPLES, count_errors, f1_of, limits
from cxrlabel.learned.material import pooled_table
from cxrlabel.learned.reviewed import grouped_folds, some_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.learned.material import Material

    Floats = NDArray[np.float64]

Fit = Callable[["Material"], Model]
_POSITIVE = STATES.index(POSITIVE)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A labeler fitted on so many reviewed reports, judged on others."""

    labeler: str
    reports: int  # that it was fitted on, the mean over fits
    f1: float  # micro over all findings but No Finding, the mean over fits
    lo: float
    hi: float
    less_rules: float  # F1 less that of the rules on the same reports
    less_lo: float
    less_hi: float


def cross_validate(material: Material, fit: Fit, *, folds: int, seed: int) -> Floats:
    """[N, F, 4] probability of each of STATES for the reviewed findings, each by another's model.

    Raises:
        InputError: fewer groups of reports than folds.
    """
    fold = grouped_folds(material.reviewed.groups, folds, np.random.default_rng(seed))
    probs = np.zeros(material.reviewed.shares.shape)
    for number in range(folds):
        held = fold == number
        probs[held] = predict(fit, material.take(~held), material.take(held))
    return probs


def predict(fit: Fit, seen: Material, unseen: Material) -> Floats:
    """[N, F, 4] what a model that is fitted on some reports says of others."""
    backend = Backend(seen.labeler, (fit(seen),), False, "average", pooled_table(seen))
    return backend.probs(unseen.readings, unseen.rules)[:, reviewed_columns(unseen)]


def learning_curve(
    material: Material,
    fits: Mapping[str, Fit],
    sizes: Sequence[int],
    *,
    folds: int,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> list[CurvePoint]:
    """Micro-F1 against the number of reviewed reports, beside the rules.

    Args:
        fits: name -> what fits a labeler.
        sizes: reports to fit on; more than there are outside a fold means all of these.
        seed: of the folds and the draws, which all labelers share.
        progress: called with what is fitted next.
    """
    rng = np.random.default_rng(seed)
    reviewed = material.reviewed
    fold = grouped_folds(reviewed.groups, folds, rng)
    shape = len(reviewed), len(reviewed.findings)
    found = {(name, size): np.zeros(shape, bool) for size in sizes for name in fits}
    used: dict[int, list[int]] = {size: [] for size in sizes}
    for number in range(folds):
        held = material.take(fold == number)
        others = np.flatnonzero(fold != number)
        for size in sizes:
            drawn = others[some_groups(reviewed.groups[others], size, rng)]
            used[size].append(len(drawn))
            some = material.take(drawn)
            for name, fit in fits.items():
                progress(f"fold {number + 1} of {folds}: {name} on {len(drawn):,} reports")
                states = states_of(predict(fit, some, held))
                found[name, size][fold == number] = states == _POSITIVE
    return [
        _point(material, name, int(np.mean(used[size])), positive)
        for (name, size), positive in found.items()
    ]


def reviewed_columns(material: Material) -> list[int]:
    """The places of the reviewed findings among those of the labeler."""
    return [material.labeler.findings.index(name) for name in material.reviewed.findings]


def _point(material: Material, name: str, reports: int, positive: NDArray[np.bool_]) -> CurvePoint:
    reviewed = material.reviewed
    pooled = [finding != NO_FINDING for finding in reviewed.findings]
    truth = (reviewed.shares.argmax(axis=-1) == _POSITIVE)[:, pooled]
    rules = (material.rules[:, reviewed_columns(material)] == _POSITIVE)[:, pooled]
    names, members = np.unique(reviewed.groups, return_inverse=True)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    values, drawn = [], []
    for labels in (positive[:, pooled], rules):
        counts = np.stack([one.sum(axis=1) for one in count_errors(labels, truth)], axis=1)
        summed = np.zeros((len(names), 3))
        np.add.at(summed, members, counts)
        values.append(float(f1_of(summed.sum(axis=0))))
        drawn.append(f1_of((weights @ summed).astype(np.float64)))
    return CurvePoint(
        name, reports, values[0], *limits(drawn[0]),
        values[0] - values[1], *limits(drawn[0] - drawn[1]),
    )  # fmt: skip
