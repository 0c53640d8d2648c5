"""Calibration: does a probability of .3 mean three in ten?

Logistic recalibration of the labels on the logit of the probability (Cox 1958; Van Calster et al.
2019): the slope is 1 where the probabilities spread as they should, below 1 where they are too
extreme; the intercept, with the slope held at 1, is 0 where their mean is right. Standard errors
are of the sandwich form over patients. The curve has bins of equal size, because in bins of equal
width nearly all studies of a rare finding share the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import wilson
from cxrlabel.audit.patients import design_effect
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    expit,
    logit,
    number_of_patients,
    plain_interval,
)

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Bools, Floats, Integers

BINS: Final = 10
_STEPS: Final = 50
_TOLERANCE: Final = 1e-10
_STEEPEST: Final = 50.0  # a slope beyond it is that of kinds which do not overlap


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCurve:
    """Bins of about equal size, from the lowest probabilities on."""

    n: Integers  # [B]
    predicted: Floats  # [B] mean probability
    observed: Floats  # [B] share with the finding
    low: Floats  # [B] Wilson's interval, with the number of studies that patients leave
    high: Floats  # [B]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well probabilities and shares agree."""

    intercept: Measure  # logit units, with the slope at 1; 0 is right, above 0 is too low
    slope: Measure  # 1 is right
    brier: Measure  # mean squared error
    brier_skill: float  # 1 - brier / that of always saying the prevalence; 1 is best
    ece: float  # mean distance of predicted and observed in the bins, weighted by their size


@dataclass(frozen=True, slots=True)
class Fit:
    """Calibration without bins."""

    intercept: Measure
    slope: Measure
    brier: Measure


def measure_fit(
    probs: Floats,
    positive: Bools,
    *,
    weights: Floats | None = None,
    patients: Integers | None = None,
    strata: Integers | None = None,
) -> Fit:
    """Measure intercept, slope and Brier score of n studies of both kinds.

    Args:
        probs: [n] in [0, 1].
        positive: [n] whether each study has the finding.
        weights: [n] above 0; None: 1 each.
        patients, strata: as in `cxrvision.evaluate.estimates.covariance`.
    """
    weight = np.ones(len(probs)) if weights is None else weights / weights.mean()
    errors = (probs - positive) ** 2
    brier = float(np.average(errors, weights=weight))
    influence = _factor(positive, patients) * weight * (errors - brier) / weight.sum()
    score = plain_interval(Estimate(brier, influence), patients=patients, strata=strata)
    logits = logit(probs)
    columns = np.stack([np.ones_like(logits), logits - logits.mean()], axis=1)

    def fitted(columns: Floats, offset: Floats) -> Measure:
        found = _fit(columns, positive, offset, weight)
        if found is None:
            return UNDEFINED
        beta, rows = found
        rows = _factor(positive, patients) * rows
        return plain_interval(
            Estimate(float(beta[-1]), rows[:, -1]), patients=patients, strata=strata
        )

    return Fit(
        intercept=fitted(columns[:, :1], logits),
        slope=fitted(columns, np.zeros_like(logits)) if np.ptp(logits) else UNDEFINED,
        brier=Measure(brier, max(score.low, 0.0), min(score.high, 1.0)),
    )


def measure_calibration(
    probs: Floats, positive: Bools, *, patients: Integers | None = None
) -> Calibration:
    """Measure the calibration of n studies, among them some with and some without the finding.

    Args:
        probs: [n] in [0, 1].
        positive: [n] whether each study has the finding.
        patients: [n] code of each study's patient; None: all studies are unrelated.
    """
    prevalence = float(positive.mean())
    fit = measure_fit(probs, positive, patients=patients)
    brier = fit.brier.value
    curve = calibration_curve(probs, positive)
    distance = np.abs(curve.predicted - curve.observed)
    return Calibration(
        intercept=fit.intercept,
        slope=fit.slope,
        brier=fit.brier,
        brier_skill=1 - brier / (prevalence * (1 - prevalence)) if 0 < prevalence < 1 else NAN,
        ece=float((distance * curve.n).sum() / curve.n.sum()),
    )


def calibration_curve(
    probs: Floats, positive: Bools, *, patients: Integers | None = None, bins: int = BINS
) -> CalibrationCurve:
    """Bin the studies by their probability; equal probabilities are never split."""
    order = np.argsort(probs, kind="stable")
    counts = np.unique(probs, return_counts=True)[1]
    middles = np.cumsum(counts) - counts / 2  # rank of the middle of each distinct probability
    bin_of_distinct = np.minimum((middles * bins / len(probs)).astype(np.int64), bins - 1)
    bin_of_distinct = np.unique(bin_of_distinct, return_inverse=True)[1]  # none is empty
    member = np.empty(len(probs), dtype=np.int64)
    member[order] = np.repeat(bin_of_distinct, counts)
    n = np.bincount(member)
    observed = np.bincount(member, positive) / n
    effects = np.array([design_effect(positive, member == b, patients) for b in range(len(n))])
    low, high = wilson(observed, n / effects)
    return CalibrationCurve(n, np.bincount(member, probs) / n, observed, low, high)


def _fit(
    columns: Floats, positive: Bools, offset: Floats, weight: Floats
) -> tuple[Floats, Floats] | None:
    """Logistic regression by Newton's method, halving steps that make it worse.

    Args:
        columns: [n, K].
        offset: [n] added to the linear predictor.
        weight: [n]

    Returns:
        Coefficients [K] and their influence values [n, K]; None where they have no bound, as where
        the kinds of study do not overlap.
    """
    beta = np.zeros(columns.shape[1])
    loss = _loss(offset, positive, weight)
    for _ in range(_STEPS):
        p = expit(offset + columns @ beta)
        hessian = (columns * (weight * p * (1 - p))[:, None]).T @ columns
        try:
            step = np.linalg.solve(hessian, columns.T @ (weight * (positive - p)))
        except np.linalg.LinAlgError:
            return None
        new = _loss(offset + columns @ (beta + step), positive, weight)
        while not new <= loss + 1e-12 and np.abs(step).max() > _TOLERANCE:
            step = step / 2
            new = _loss(offset + columns @ (beta + step), positive, weight)
        beta, loss = beta + step, new
        if np.abs(beta).max() > _STEEPEST:
            return None
        if np.abs(step).max() < _TOLERANCE:
            break
    else:
        return None
    p = expit(offset + columns @ beta)
    inverse = np.linalg.inv((columns * (weight * p * (1 - p))[:, None]).T @ columns)
    return beta, (columns * (weight * (positive - p))[:, None]) @ inverse


def _factor(positive: Bools, patients: Integers | None) -> float:
    """The factor to influence values that makes up for the few patients that they are of."""
    number = number_of_patients(np.ones_like(positive), patients)
    return math.sqrt(number / (number - 1)) if number > 1 else NAN


def _loss(logits: Floats, positive: Bools, weight: Floats) -> float:
    """The summed log loss, without overflow."""
    return float((weight * np.logaddexp(0.0, np.where(positive, -logits, logits))).sum())
