"""Design-based and doubly robust estimates from audited studies, with their variances.

Design-based: each audited study counts with its weight, the others not at all (Hajek's ratio).

Doubly robust: every evaluated study counts with a pseudo-outcome

    yhat = m + R / pi (y - m)

of a working model m (`cxrvision.evaluate.working`), where R says whether it was audited and 1 / pi
is its weight (Robins, Rotnitzky and Zhao 1994; with predictions Angelopoulos et al. 2023). Its
expectation is that of y whatever m is, because pi is known; the better m, the smaller the variance.

A variance that is made of the residuals seen is too small where heavy cases are rare: mostly none
is seen. So the model gives another one, with m (1 - m) for the squared residual of each audited
study. The audited AUC has the mean of the two; the doubly robust one has the model's, or, the more
events there are, the seen one where that is larger, since the model may be wrong. A share has the
larger of the two, or (design-based) half of what the model's has more.
docs/noise.md has the coverage.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cxrlabel.audit.intervals import wilson
from cxrvision.evaluate.estimates import (
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

# Chosen by simulation (docs/noise.md), on cells of which some were held out. Cases added to those
# seen in each label state, in the variance that the model expects of an AUC:
_UNSEEN_AUDITED: Final = 0.03
_UNSEEN_ROBUST: Final = 0.01
_EVENTS: Final = 10.0  # at which a larger seen variance of a doubly robust AUC has half the weight
_NEXT: Final = 1e-4  # to 1: kinds that do not overlap, but for what the model leaves open


def audited_masses(working: Working) -> tuple[Floats, Floats]:
    """[n] weights of the audited studies with the finding, and of those without."""
    sampled, studies = working.sampled, len(working.modelled)
    yes = sampled.spread(sampled.weights * sampled.truth, studies)
    no = sampled.spread(sampled.weights * ~sampled.truth, studies)
    return yes, no


def design_based(statistic: Statistic, working: Working, *, unseen: float = 0.0) -> Estimate:
    """The estimate of a statistic of `audited_masses`.

    Args:
        unseen: cases added to those seen in each label state, in the variance.
    """
    found, more = _design_based(statistic, working, unseen)
    return Estimate(found.value, found.influence, max(more / 2, 0.0))


def audited_auc(statistic: Statistic, working: Working) -> Estimate:
    """The AUC of the audited studies: its variance is the mean of the seen and the expected one."""
    found, more = _design_based(statistic, working, _UNSEEN_AUDITED)
    return Estimate(found.value, found.influence, more / 2)


def doubly_robust(statistic: Statistic, working: Working, *, unseen: float = UNSEEN) -> Estimate:
    """The estimate of a statistic of the pseudo-outcomes yhat and 1 - yhat.

    Args:
        unseen: cases added to those seen in each label state, in the variance.
    """
    found, more = _doubly_robust(statistic, working, unseen)
    return Estimate(found.value, found.influence, max(more, 0.0))


def robust_auc(statistic: Statistic, working: Working) -> Estimate:
    """The doubly robust AUC: its variance is the expected one, or, with many events, the larger."""
    found, more = _doubly_robust(statistic, working, _UNSEEN_ROBUST)
    if more < 0:  # more is seen than expected: the model may be wrong, or this is chance
        more *= _EVENTS / (_EVENTS + min(working.events()))
    return Estimate(found.value, found.influence, more)


def _design_based(statistic: Statistic, working: Working, unseen: float) -> tuple[Estimate, float]:
    """The estimate, and how much more variance the model expects than is seen."""
    sampled = working.sampled
    slope, level = statistic.slope[sampled.rows], statistic.level[sampled.rows]
    influence = sampled.adjust(sampled.weights * (sampled.truth * slope + level))
    found = Estimate(statistic.value, sampled.spread(influence, len(working.modelled)))
    chance = working.chance(unseen)
    known = sampled.adjust(sampled.weights * (chance * slope + level))
    known = sampled.spread(known, len(working.modelled))
    expected = _sum(known, working.patients) + _residuals(chance, slope, working)
    return found, expected - found.variance(working.patients)


def _doubly_robust(statistic: Statistic, working: Working, unseen: float) -> tuple[Estimate, float]:
    """As `_design_based`, of pseudo-outcomes."""
    sampled = working.sampled
    known = working.modelled * statistic.slope + statistic.level
    slope = statistic.slope[sampled.rows]
    influence = known + sampled.spread(sampled.adjust(working.residual * slope), len(known))
    found = Estimate(statistic.value, influence)
    expected = _sum(known, working.patients) + _residuals(working.chance(unseen), slope, working)
    return found, expected - found.variance(working.patients)


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
