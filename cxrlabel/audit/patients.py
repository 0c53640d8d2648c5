"""How much less the studies count where those of one patient are alike.

The linearised variance of a share, with its residuals summed by patient (Särndal, Swensson and
Wretman 1992, sec. 5.5), over the variance of as many unrelated studies. A patient's studies may lie
in several strata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.pooling import effective_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_FEW: Final = 2.0  # patients with the rarer outcome with which their own variance counts half


def design_effect(part: Bools, whole: Bools, clusters: Integers | None) -> float:
    """Variance of a share over patients by the one over studies, at least 1.

    Where few patients have the rarer outcome it leans on what it would be if those of a patient
    could not differ.
    """
    if clusters is None or not whole.any():
        return 1.0
    part, clusters = part[whole], clusters[whole]
    share = float(part.mean())
    unrelated = len(part) * share * (1 - share)
    residuals = part.astype(np.float64) - share
    ratio = _sum_of_squares(residuals, clusters) / unrelated if unrelated else 1.0
    return _lean(max(1.0, ratio), part, clusters)


def effective_patients(weights: Floats, clusters: Integers | None) -> float:
    """How many patients of equal weight these studies are worth; each is one if None are given."""
    if clusters is None or not len(weights):
        return effective_number(weights)
    sums = np.bincount(clusters, weights)
    return effective_number(sums[sums > 0])


def patient_variance(
    cell: Integers, codes: Integers, sizes: Integers | None, clusters: Integers
) -> tuple[Floats, Floats]:
    """What patients change in `Totals`: `spread` and `share_variance`.

    Args:
        cell: [n] 0 ... 3, in the order of `CELLS`.
        codes: [n] index of each study's stratum.
        sizes: [H] N_h; None: each study has weight 1.
    """
    n = np.bincount(codes).astype(np.float64)
    by_stratum = np.ones_like(n) if sizes is None else sizes / n
    weight = by_stratum[codes]
    rest = np.ones_like(weight) if sizes is None else 1 - 1 / weight
    factor = np.where(n > 1, n / np.maximum(n - 1, 1), 1.0)[codes]
    centred = (n > 1)[codes]

    def weighted(values: Floats) -> Floats:
        """Residuals whose squares, added up, are the stratified variance of their total."""
        means: Floats = (np.bincount(codes, values) / n)[codes]
        residuals: Floats = values - np.where(centred, means, 0.0)
        return weight * np.sqrt(rest * factor) * residuals

    truth, positive = cell % 2 == 0, cell < 2
    spread = []
    for inside in (positive, ~positive):
        share = float(np.average(truth[inside], weights=weight[inside])) if inside.any() else 0.0
        residual = inside * (truth - share)
        alone = float((weight**2 * rest * residual**2).sum())
        ratio = _sum_of_squares(weighted(residual), clusters) / alone if alone else 1.0
        spread.append(_lean(ratio, truth[inside], clusters[inside]))
    residuals = weighted(positive - np.average(positive, weights=weight))
    alone = float((residuals**2).sum())
    ratio = max(1.0, _sum_of_squares(residuals, clusters) / alone) if alone else 1.0
    variance = alone * _lean(ratio, positive, clusters) / weight.sum() ** 2
    return np.array(spread), np.array(variance)


def _lean(ratio: float, part: Bools, clusters: Integers) -> float:
    """A ratio of variances, as far as there are patients enough to know it from."""
    size = _mean_size(clusters)
    events = min(len(np.unique(clusters[part])), len(np.unique(clusters[~part])))
    return (events * ratio + _FEW * size) / (events + _FEW)


def _sum_of_squares(values: Floats, clusters: Integers) -> float:
    """Of the sums by patient, with C / (C - 1)."""
    sums = np.bincount(clusters, values)
    patients = len(np.unique(clusters))
    return float((sums**2).sum()) * patients / max(patients - 1, 1)


def _mean_size(clusters: Integers) -> float:
    """Studies per patient, as a study meets it: the variance ratio if they are all alike."""
    sizes = np.unique(clusters, return_counts=True)[1]
    return float((sizes**2).sum() / sizes.sum()) if len(sizes) else 1.0
