"""Statistics of studies that have the finding with a mass: AUC and shares.

`yes` is how much a study counts among those with the finding and `no` among those without: weights
of audited studies, or pseudo-outcomes yhat and 1 - yhat, which may leave [0, 1]. Each statistic
comes with what a study adds to its error per unit of mass: `slope` * yes + `level` * (yes + no).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.evaluate.estimates import NAN

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A value of n studies and its derivatives."""

    value: float  # NaN where it is not defined
    slope: Floats  # [n] by the mass of yes, where that of no falls by as much
    level: Floats  # [n] by the mass of no


def auc_of(probs: Floats, yes: Floats, no: Floats) -> Statistic:
    """The AUC over pairs of different studies.

    AUC = sum of h(i, j) yes_i no_j / sum of yes_i no_j, i and j different; h is 1 where i has the
    higher score, one half where they are equal. Pairs of a study with itself are left out: for
    pseudo-outcomes their expectation is not 0, since yes * no is as large as a squared weight.
    """
    order = np.argsort(probs, kind="stable")
    distinct = np.ones(len(probs), dtype=bool)
    distinct[1:] = probs[order][1:] != probs[order][:-1]
    tie = np.empty(len(probs), dtype=np.int64)
    tie[order] = np.cumsum(distinct) - 1
    yes_at, no_at = np.bincount(tie, yes), np.bincount(tie, no)
    positives, negatives = float(yes_at.sum()), float(no_at.sum())
    below = (np.cumsum(no_at) - no_at / 2)[tie] - no / 2
    above = (positives - np.cumsum(yes_at) + yes_at / 2)[tie] - yes / 2
    pairs = positives * negatives - float((yes * no).sum())
    if positives <= 0 or negatives <= 0 or pairs <= 0:
        return _undefined(len(probs))
    value = float((yes * below).sum()) / pairs
    as_positive = (below - value * (negatives - no)) / pairs
    as_negative = (above - value * (positives - yes)) / pairs
    return Statistic(value, as_positive - as_negative, as_negative)


def share_of_positives(part: Bools, yes: Floats) -> Statistic:
    """The share of `part` among those with the finding, as a sensitivity."""
    whole = float(yes.sum())
    if whole <= 0:
        return _undefined(len(part))
    value = float(yes[part].sum()) / whole
    slope = (part.astype(np.float64) - value) / whole
    return Statistic(value, slope, np.zeros(len(part)))


def share_of_negatives(part: Bools, no: Floats) -> Statistic:
    """The share of `part` among those without the finding, as a specificity."""
    whole = float(no.sum())
    if whole <= 0:
        return _undefined(len(part))
    value = float(no[part].sum()) / whole
    slope = (part.astype(np.float64) - value) / whole
    return Statistic(value, -slope, slope)


def share_with_finding(among: Bools, yes: Floats, no: Floats) -> Statistic:
    """The share with the finding among some studies, as a PPV or a prevalence."""
    whole = float((yes + no)[among].sum())
    if whole <= 0:
        return _undefined(len(among))
    value = float(yes[among].sum()) / whole
    inside = among.astype(np.float64) / whole
    return Statistic(value, inside, -value * inside)


def _undefined(studies: int) -> Statistic:
    nothing = np.full(studies, np.nan)
    return Statistic(NAN, nothing, nothing)
