"""Estimates, how they hang on each study, and the 95 % intervals that follow from that.

A statistic of the studies is described by its value and its influence values: what each study adds
to the error of the value, so that their sum of squares is the variance. Studies of one patient are
summed before they are squared (Obuchowski 1997 does this for the AUC); where studies were drawn in
strata, the mean of the stratum is taken off first (Särndal, Swensson and Wretman 1992, sec. 5.5).
Averages over findings, differences of models and any other smooth combination have the same
combination of the influence values: one way for all, with nothing drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

Z: Final = 1.959964  # 97.5th percentile of the normal distribution
NAN: Final = math.nan

_CLOSEST: Final = 1e-6  # to 0 and to 1: the logit of these has no bounds


class Measure(NamedTuple):
    """A number with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


UNDEFINED: Final = Measure(NAN, NAN, NAN)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A statistic of n studies."""

    value: float  # NaN where it is not defined
    influence: Floats  # [n], 0 for studies without a part in it; NaN where nothing is known of it
    extra: float = 0.0  # variance that the interval has more, or less, than the influence says

    def variance(self, patients: Integers | None = None, strata: Integers | None = None) -> float:
        """The squared standard error; `patients` and `strata` as in `covariance`."""
        return float(covariance(self.influence[:, None], patients, strata)[0, 0])


def covariance(
    influence: Floats, patients: Integers | None = None, strata: Integers | None = None
) -> Floats:
    """The covariance of K statistics of the same studies.

    Args:
        influence: [n, K].
        patients: [n] code of each study's patient, 0 and up; None: all studies are unrelated.
        strata: [n] code of the stratum that each study was drawn from, 0 and up; None: one
            population. There is no correction for a finite population.

    Returns:
        [K, K].
    """
    values = np.asarray(influence, dtype=np.float64)
    if strata is not None:
        sizes = np.bincount(strata)
        means = _sums(values, strata) / np.maximum(sizes, 1)[:, None]
        # a stratum of one study has no mean to take off
        inside = (sizes > 1)[strata][:, None]
        factor = np.sqrt(sizes / np.maximum(sizes - 1, 1))[strata][:, None]
        values = np.where(inside, factor * (values - means[strata]), values)
    if patients is not None:
        values = _sums(values, patients)
    return values.T @ values


def _sums(values: Floats, groups: Integers) -> Floats:
    """Sums by group, [groups, K]."""
    return np.stack([np.bincount(groups, column) for column in values.T], axis=1)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The plain average of estimates from the same studies, as over findings."""
    if not estimates:
        raise ValueError("expected at least one estimate")
    k = len(estimates)
    return Estimate(
        sum(e.value for e in estimates) / k,
        np.mean([e.influence for e in estimates], axis=0),
        sum(e.extra for e in estimates) / k**2,
    )


def share_interval(
    estimate: Estimate,
    *,
    patients: Integers | None = None,
    strata: Integers | None = None,
    events: float = NAN,
) -> Measure:
    """The interval of a value in [0, 1], made on the logit scale so that it stays there.

    Args:
        events: effective number of cases that a value of exactly 0 or 1 rests on: its variance is
            seen as 0, and the interval is that of as many successes (Wilson 1927) instead.
    """
    value = estimate.value
    variance = estimate.variance(patients, strata) + estimate.extra
    if not (math.isfinite(value) and math.isfinite(variance)):
        return Measure(value, NAN, NAN)
    if value <= 0 or value >= 1:
        reach = Z**2 / (events + Z**2)
        return Measure(value, 0.0, reach) if value <= 0 else Measure(value, 1 - reach, 1.0)
    centre = math.log(value / (1 - value))
    half = Z * math.sqrt(variance) / (value * (1 - value))
    return Measure(value, _expit(centre - half), _expit(centre + half))


def plain_interval(
    estimate: Estimate,
    *,
    patients: Integers | None = None,
    strata: Integers | None = None,
    freedom: float = math.inf,
) -> Measure:
    """The value with 1.96 standard errors to both sides, for values without bounds.

    Args:
        freedom: degrees of freedom of the standard error: with few there are more of them.
    """
    variance = estimate.variance(patients, strata) + estimate.extra
    known = math.isfinite(variance) and not math.isnan(freedom)
    half = student_quantile(freedom) * math.sqrt(variance) if known else NAN
    return Measure(estimate.value, estimate.value - half, estimate.value + half)


def effective_number(chosen: Bools, weights: Floats, patients: Integers | None) -> float:
    """Of the chosen studies, how many unrelated ones of equal weight they are worth (Kish 1965).

    Studies of one patient count as one.
    """
    parts = weights[chosen] if patients is None else np.bincount(patients[chosen], weights[chosen])
    squares = float((parts**2).sum())
    return float(parts.sum()) ** 2 / squares if squares else 0.0


def number_of_patients(chosen: Bools, patients: Integers | None) -> int:
    """How many patients the chosen studies are of."""
    return int(chosen.sum()) if patients is None else len(np.unique(patients[chosen]))


def two_sided(value: float, variance: float, freedom: float = math.inf) -> float:
    """The p value of a difference that is 0 under the null hypothesis; 1 where both are 0.

    Args:
        freedom: degrees of freedom of Student's distribution, above 0.
    """
    if not (math.isfinite(value) and math.isfinite(variance)):
        return NAN
    if variance <= 0:
        return 1.0 if value == 0 else NAN
    return 2 * NormalDist().cdf(-_as_normal(abs(value) / math.sqrt(variance), freedom))


def student_quantile(freedom: float) -> float:
    """The 97.5th percentile of Student's distribution."""
    low, high = Z, 1e6
    while math.isfinite(freedom) and high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _as_normal(middle, freedom) < Z else (low, middle)
    return low


def _as_normal(t: float, freedom: float) -> float:
    """The normal deviate that is as far out as t is, to five digits (Hill 1970, Algorithm 395)."""
    if not math.isfinite(freedom):
        return t
    a = freedom - 0.5
    b = 48 * a * a
    y = a * math.log1p(t * t / freedom)
    series = ((((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b) + y + 3) / b + 1
    return series * math.sqrt(y)


def degrees_of_freedom(
    influence: Floats, positive: Bools, patients: Integers | None = None
) -> float:
    """How well the variance of a difference of AUCs is known (Welch 1947, Satterthwaite 1946).

    Args:
        influence: [n].
        positive: [n] whether each study has the finding: the two kinds vary on their own.
        patients: as in `covariance`.
    """
    below = above = 0.0
    for side in (positive, ~positive):
        number = number_of_patients(side, patients)
        if number < 2:
            return NAN
        part = Estimate(0.0, np.where(side, influence, 0.0)).variance(patients)
        above += part
        below += part**2 / (number - 1)
    return above**2 / below if below else math.inf


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for their number (Holm 1979); NaN stays and does not count.

    Args:
        p_values: [F] in [0, 1] or NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def logit(probs: Floats) -> Floats:
    """The log odds of an array of probabilities; 0 and 1 are taken as a millionth from there."""
    p = np.clip(probs, _CLOSEST, 1 - _CLOSEST)
    return np.log(p) - np.log1p(-p)


def expit(logits: Floats) -> Floats:
    """The logistic function of an array, without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


def _expit(x: float) -> float:
    """The logistic function, without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
