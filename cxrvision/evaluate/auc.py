"""The area under the ROC curve, with ties, weights, patients and strata.

AUC is the chance that a study with the finding has a higher score than one without; equal scores
count half. Its variance is that of DeLong, DeLong and Clarke-Pearson (1988) by the placement values
of Sun and Xu (2014), in O(n log n). Where patients have several studies their placement values are
summed first (Obuchowski 1997). Weights are inverse inclusion probabilities: the AUC is then that of
the studies that the sample stands for.

The interval is made on the logit scale. With few positives the placement values of those that were
seen spread too little and the usual interval fails: 1,000 simulations with 20 positives and 1,000
negatives, AUC .90, covered in 90 % (plain), 91 % (logit). One more study that is added with the
largest variance that a placement value can have, A (1 - A), gives 94 %, and is not to be noticed
from 100 positives on. docs/evaluation.md has the table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    effective_number,
    number_of_patients,
    share_interval,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cxrvision.evaluate.estimates import Bools, Floats, Integers


def auc(scores: ArrayLike, truth: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The area under the ROC curve; NaN where all studies are of one kind.

    Args:
        scores: [n] finite, higher for the finding.
        truth: [n] 1 with the finding, 0 without.
        weights: [n] not negative; None: 1 each.
    """
    values, positive, weight = _arrays(scores, truth, weights)
    placed = _placements(values, positive, weight)
    whole = float(weight[positive].sum())
    return float((weight * placed)[positive].sum() / whole) if whole else NAN


def estimate_auc(
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    patients: Integers | None = None,
) -> Estimate:
    """The AUC with its influence values.

    Args:
        scores, truth, weights: as in `auc`.
        patients: [n] code of each study's patient; None: all studies are unrelated.
    """
    values, positive, weight = _arrays(scores, truth, weights)
    placed = _placements(values, positive, weight)
    whole = float(weight[positive].sum())
    value = float((weight * placed)[positive].sum() / whole) if whole else NAN
    influence = np.zeros_like(values)
    extra = 0.0
    for side in (positive, ~positive):
        few = number_of_patients(side, patients)
        if few < 2:  # how much they differ is not known
            influence[:] = np.nan
            break
        # the factor makes the variance that of DeLong, with m - 1 in the place of m
        part = math.sqrt(few / (few - 1)) * weight * (placed - value) / weight[side].sum()
        influence[side] = part[side]
        number = effective_number(side, weight, patients)
        seen = Estimate(0.0, np.where(side, part, 0.0)).variance(patients)
        extra += max(value * (1 - value) / number - seen, 0.0) / number
    return Estimate(value, influence, extra)


def measure_auc(
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    patients: Integers | None = None,
    strata: Integers | None = None,
) -> Measure:
    """The AUC with its 95 % interval; arguments as in `estimate_auc` and `covariance`.

    The interval is NaN where fewer than two patients have the finding, or have it not.
    """
    values, positive, weight = _arrays(scores, truth, weights)
    if not positive.any() or positive.all():
        return UNDEFINED
    estimate = estimate_auc(values, positive, weights=weight, patients=patients)
    return auc_interval(estimate, positive, weights=weight, patients=patients, strata=strata)


def auc_interval(
    estimate: Estimate,
    positive: Bools,
    *,
    weights: Floats | None = None,
    patients: Integers | None = None,
    strata: Integers | None = None,
) -> Measure:
    """The interval of an AUC; where it is exactly 0 or 1, that of as many cases as the rarer kind.

    Args:
        positive: [n] whether each study has the finding.
    """
    weight = np.ones(len(positive)) if weights is None else weights
    numbers = [effective_number(side, weight, patients) for side in (positive, ~positive)]
    return share_interval(estimate, patients=patients, strata=strata, events=min(numbers))


def estimate_auc_within(
    scores: ArrayLike, truth: ArrayLike, groups: Integers, *, patients: Integers | None = None
) -> Estimate:
    """The AUC over pairs of studies of the same group, as of one site or one view position.

    Each group counts by its number of pairs. A group without both kinds of study has none.

    Args:
        groups: [n] code of each study's group, 0 and up.
    """
    values, positive, weight = _arrays(scores, truth, None)
    placed = np.zeros_like(values)
    partners = np.zeros_like(values)  # of each study: those of the other kind in its group
    for group in np.unique(groups):
        inside = groups == group
        mine = positive[inside]
        placed[inside] = np.nan_to_num(_placements(values[inside], mine, weight[inside]))
        partners[inside] = np.where(mine, (~mine).sum(), mine.sum())
    pairs = float(partners[positive].sum())
    if not pairs:
        return Estimate(NAN, np.full_like(values, np.nan))
    value = float((partners * placed)[positive].sum() / pairs)
    influence = partners * (placed - value) / pairs
    for side in (positive, ~positive):
        few = number_of_patients(side & (partners > 0), patients)
        influence[side] *= math.sqrt(few / (few - 1)) if few > 1 else np.nan
    return Estimate(value, influence)


def _arrays(
    scores: ArrayLike, truth: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Bools, Floats]:
    """Scores, whether each study has the finding, and weights, all checked."""
    values = np.asarray(scores, dtype=np.float64)
    positive = np.asarray(truth)
    if positive.dtype != np.bool_:
        if not np.isin(positive, (0, 1)).all():
            raise ValueError("truth: expected 0 and 1 alone")
        positive = positive == 1
    weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if not values.shape == positive.shape == weight.shape or values.ndim != 1:
        shapes = f"{values.shape}, {positive.shape} and {weight.shape}"
        raise ValueError(f"expected scores, truth and weights of one length, found {shapes}")
    if not np.isfinite(values).all():
        raise ValueError("scores: expected finite numbers")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("weights: expected finite numbers, none below 0")
    return values, positive, weight


def _placements(values: Floats, positive: Bools, weight: Floats) -> Floats:
    """Of each study, the weighted share of the other kind that it is on the right side of.

    A positive is on the right side of the negatives with lower scores, a negative of the positives
    with higher ones; equal scores count half. NaN where there is no study of the other kind.
    """
    order = np.argsort(values, kind="stable")
    ordered, mine, mass = values[order], positive[order], weight[order]
    starts = np.ones(len(values), dtype=bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    tie = np.cumsum(starts) - 1  # number of the group of equal scores
    negatives = np.bincount(tie, np.where(mine, 0.0, mass))
    positives = np.bincount(tie, np.where(mine, mass, 0.0))
    below = np.cumsum(negatives) - negatives / 2
    above = positives.sum() - np.cumsum(positives) + positives / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(mine, (below / negatives.sum())[tie], (above / positives.sum())[tie])
    placed = np.empty_like(values)
    placed[order] = shares
    return placed
