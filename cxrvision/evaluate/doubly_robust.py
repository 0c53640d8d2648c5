"""Design-based and doubly robust estimates from audited studies, with their variances.

Design-based: each audited study counts with its weight, the others not at all (Hajek's ratio).

Doubly robust: every evaluated study counts with a pseudo-outcome

    yhat = m + R / pi (y - m)

of a working model m (`cxrvision.evaluate.working`), where R says whether it was audited and 1 / pi
is its weight (Robins, Rotnitzky and Zhao 1994; with predictions Angelopoulos et al. 2023). Its
expectation is that of y whatever m is, because pi is known; the better m, the smaller the variance.

A variance that is made of the residuals seen is too small where heavy cases are rare: mostly none
is seen. So the model gives another one, with m (1 - m) for the squared residual of each audited
study, and the interval has at least that (doubly robust) or the mean of the two (design-based).
docs/noise.md has the coverage.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import wilson
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    covariance,
    share_interval,
)
from cxrvision.evaluate.working import UNSEEN

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Floats, Integers
    from cxrvision.evaluate.masses import Statistic
    from cxrvision.evaluate.working import Working

_NEXT: Final = 1e-4  # to 1: kinds that do not overlap, but for what the model leaves open


def audited_masses(working: Working) -> tuple[Floats, Floats]:
    """[n] weights of the audited studies with the finding, and of those without."""
    sampled, studies = working.sampled, len(working.modelled)
    yes = sampled.spread(sampled.weights * sampled.truth, studies)
    no = sampled.spread(sampled.weights * ~sampled.truth, studies)
    return yes, no


def design_based(
    statistic: Statistic, working: Working, *, extra: float = 0.0, unseen: float = 0.0
) -> Estimate:
    """The estimate of a statistic of `audited_masses`.

    Args:
        extra: variance for few events that the residuals do not show.
        unseen: cases added to those seen in each label state, in the variance.
    """
    sampled = working.sampled
    slope, level = statistic.slope[sampled.rows], statistic.level[sampled.rows]
    influence = sampled.adjust(sampled.weights * (sampled.truth * slope + level))
    found = Estimate(statistic.value, sampled.spread(influence, len(working.modelled)))
    seen = found.variance(working.patients)
    chance = working.chance(unseen)
    known = sampled.adjust(sampled.weights * (chance * slope + level))
    known = sampled.spread(known, len(working.modelled))
    expected = _sum(known, working.patients) + _residuals(chance, slope, working)
    return Estimate(found.value, found.influence, max((extra + expected - seen) / 2, 0.0))


def doubly_robust(statistic: Statistic, working: Working, *, unseen: float = UNSEEN) -> Estimate:
    """The estimate of a statistic of the pseudo-outcomes yhat and 1 - yhat.

    Args:
        unseen: cases added to those seen in each label state, in the variance.
    """
    sampled = working.sampled
    known = working.modelled * statistic.slope + statistic.level
    slope = statistic.slope[sampled.rows]
    influence = known + sampled.spread(sampled.adjust(working.residual * slope), len(known))
    seen = Estimate(statistic.value, influence).variance(working.patients)
    expected = _sum(known, working.patients) + _residuals(working.chance(unseen), slope, working)
    return Estimate(statistic.value, influence, max(expected - seen, 0.0))


def auc_measure(estimate: Estimate, working: Working) -> Measure:
    """The AUC with its interval, on the logit scale; a value beyond 1, or next to it, is 1."""
    value = 1.0 if estimate.value > 1 - _NEXT else max(estimate.value, 0.0)
    bounded = Estimate(value, estimate.influence, estimate.extra)
    return share_interval(bounded, patients=working.patients, events=min(working.events()))


def share_measure(
    estimate: Estimate, working: Working, events: float, *, more: Estimate | None = None
) -> Measure:
    """A share with Wilson's interval for as many studies as give its variance.

    Args:
        events: effective audited studies that it is a share of. Where these expect less than one
            of the rarer kind, the interval is that of their number: the variance is not known.
        more: the same with more unseen cases, for the upper end.
    """
    value = min(max(estimate.value, 0.0), 1.0)
    rarer = min(value, 1 - value)
    ends = []
    for which in (estimate, more or estimate):
        variance = which.variance(working.patients) + which.extra
        if not (math.isfinite(which.value) and math.isfinite(variance)):
            return UNDEFINED
        known = rarer * events >= 1 and variance > 0
        ends.append(wilson(value, value * (1 - value) / variance if known else max(events, 1.0)))
    return Measure(value, float(ends[0][0]), float(ends[1][1]))


def few_events(value: float, estimate: Estimate, working: Working) -> float:
    """One more study of each kind with the largest variance of a placement value, A (1 - A).

    As `cxrvision.evaluate.auc.estimate_auc` has it, for weighted studies.
    """
    sampled = working.sampled
    if not math.isfinite(value):
        return NAN
    total = 0.0
    for side, number in zip(
        (sampled.truth, ~sampled.truth), sampled.effective(working.patients), strict=True
    ):
        mine = np.where(side, estimate.influence[sampled.rows], 0.0)
        seen = _sum(sampled.spread(mine, len(working.modelled)), working.patients)
        total += max(value * (1 - value) / number - seen, 0.0) / number
    return total


def _residuals(chance: Floats, slope: Floats, working: Working) -> float:
    """The variance that the model expects of the residuals, by patient as far as that is seen."""
    expected = float((working.sampled.weights**2 * chance * (1 - chance) * slope**2).sum())
    if working.patients is None:
        return expected
    seen = working.residual * slope
    alone = float((seen**2).sum())
    together = working.sampled.spread(seen, len(working.modelled))
    return expected * max(_sum(together, working.patients) / alone, 1.0) if alone else expected


def _sum(influence: Floats, patients: Integers | None) -> float:
    """The sum of squares, by patient."""
    return float(covariance(influence[:, None], patients)[0, 0])
