"""ROC and precision-recall curves, and average precision with its interval.

Average precision is the mean, over the studies with the finding, of the precision at their score:
no interpolation between points (which is too kind, Davis and Goadrich 2006). Its influence values
are the derivative by each study's weight, so that its interval is made as that of the AUC is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    from cxrvision.evaluate.estimates import Bools, Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What each threshold gives: a study is flagged where its score is at least as high.

    The first point flags nothing, then one point for each distinct score, from the highest.
    """

    thresholds: Floats  # [T + 1], the first is infinite
    sensitivity: Floats  # [T + 1], recall
    false_positive_rate: Floats  # [T + 1], 1 - specificity
    precision: Floats  # [T + 1], 1 where nothing is flagged


def trace_curve(scores: Floats, positive: Bools) -> Curve:
    """The points of the ROC and of the precision-recall curve; both kinds of study are there."""
    distinct, tie = np.unique(-scores, return_inverse=True)
    hits = np.cumsum(np.bincount(tie, positive))
    alarms = np.cumsum(np.bincount(tie, ~positive))

    def from_first(first: float, values: Floats) -> Floats:
        return np.concatenate([[first], values])

    return Curve(
        from_first(np.inf, -distinct),
        from_first(0.0, hits / hits[-1]),
        from_first(0.0, alarms / alarms[-1]),
        from_first(1.0, hits / (hits + alarms)),
    )


def estimate_average_precision(
    scores: Floats,
    positive: Bools,
    *,
    weights: Floats | None = None,
    patients: Integers | None = None,
) -> Estimate:
    """The average precision with its influence values.

    Args:
        scores: [n] finite, higher for the finding.
        positive: [n] whether each study has it.
        weights: [n] not negative; None: 1 each.
        patients: [n] code of each study's patient; None: all studies are unrelated.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    whole = float(weight[positive].sum())
    if not whole:
        return Estimate(NAN, np.full(len(scores), np.nan))
    tie = np.unique(-scores, return_inverse=True)[1]  # 0 is the highest score
    hits = np.bincount(tie, np.where(positive, weight, 0.0))
    flagged = np.cumsum(np.bincount(tie, weight))
    precision = np.divide(np.cumsum(hits), flagged, out=np.ones_like(flagged), where=flagged > 0)
    value = float((hits * precision).sum() / whole)
    # One more study at a score moves the precision at this score and at all lower ones:
    # up by (1 - precision) / flagged where it is a positive, down by precision / flagged else.
    per_flagged = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    gain = np.cumsum(per_flagged[::-1])[::-1]
    loss = np.cumsum((per_flagged * precision)[::-1])[::-1]
    own = np.where(positive, precision[tie] - value + gain[tie], 0.0)
    influence = weight * (own - loss[tie]) / whole
    few = number_of_patients(positive, patients)
    if few < 2:
        return Estimate(value, np.full(len(scores), np.nan))
    influence *= math.sqrt(few / (few - 1))
    number = effective_number(positive, weight, patients)
    # one more positive with the largest variance, as for the AUC
    seen = Estimate(value, influence).variance(patients)
    return Estimate(value, influence, max(value * (1 - value) / number - seen, 0.0) / number)


def measure_average_precision(
    scores: Floats,
    positive: Bools,
    *,
    weights: Floats | None = None,
    patients: Integers | None = None,
    strata: Integers | None = None,
) -> Measure:
    """The average precision with its 95 % interval, arguments as in `estimate_average_precision`.

    The interval is NaN where fewer than two patients have the finding.
    """
    if not positive.any():
        return UNDEFINED
    weight = np.ones(len(scores)) if weights is None else weights
    estimate = estimate_average_precision(scores, positive, weights=weight, patients=patients)
    events = effective_number(positive, weight, patients)
    return share_interval(estimate, patients=patients, strata=strata, events=events)


def thin(x: Floats, y: Floats, points: int = 200) -> tuple[Floats, Floats]:
    """A curve with fewer points, evenly spaced along it, its ends among them, for drawing."""
    if len(x) <= points:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    places = np.searchsorted(length, np.linspace(0, length[-1], points))
    chosen = np.unique(np.clip(places, 0, len(x) - 1))
    return x[chosen], y[chosen]
