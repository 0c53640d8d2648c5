"""Intervals of the measures of a label, from counts of label against truth by sampling stratum.

Two kinds. `wilson` is for shares of a simple random sample; `weighted_limits` is for a stratified
sample with unequal weights, where the usual intervals fail for rare findings: a missed case in a
lightly sampled stratum has a weight of 50 and more, and mostly none is seen.

It melds confidence distributions (Fay, Proschan and Brittain 2015). Among the studies with a
positive label, and likewise among the others, the weighted totals of truth-positive and
truth-negative get the mid-p gamma distributions of Fay and Feuer (1997) and Fay and Kim (2017):

    lower: mean T, variance V        upper: mean T + u, variance V + u**2

where u, the weight of a case that was not seen, is the mean weight of the group's studies by their
share of its variance. With equal weights a ratio of the two is the mid-p Clopper–Pearson interval.
PPV, 1 - NPV and the share of positive labels are drawn from them and all measures made of the
draws. V is made smaller where strata explain the truth, and greater where patients cluster, by the
ratio of the linearised to the independent variance. A total is never below what was seen, and a
stratum that was taken whole adds no variance.

The linearised interval and the bootstrap of Rao and Wu (1988) know no case that was not seen: they
covered the sensitivity of rare findings in about 60 % of simulated audits, and this one in 95 to
99 % (docs/audit_statistics.md; benchmarks/audit_coverage.py makes the table).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

CELLS: Final = ("tp", "fp", "fn", "tn")
MEASURES: Final = ("sensitivity", "specificity", "ppv", "npv", "f1", "prevalence", "kappa")
Z: Final = 1.959964  # 97.5th percentile of the normal distribution
DRAWS: Final = 10_000  # moves the limits by some 1 % of the interval's width

_TAILS: Final = (0.025, 0.975)
_ROUNDING: Final = 1e-6
_LEAST: Final = (0.0, 0.051293, 0.355362, 0.817691)  # 5 % quantiles of gamma(0 ... 3)
_FEW: Final = 5.0  # events with which the gain by strata counts half
_LABELED: Final = ((0, 1), (2, 3))  # cells with a positive label, and without


def measures(cells: ArrayLike) -> Floats:
    """The measures of weighted or plain totals.

    Args:
        cells: [..., 4] tp, fp, fn, tn, not negative.

    Returns:
        [..., 7] in the order of `MEASURES`; NaN where one is not defined.
    """
    table = np.asarray(cells, dtype=np.float64)
    tp, fp, fn, tn = np.moveaxis(table, -1, 0)
    n = tp + fp + fn + tn
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed = (tp + tn) / n
        by_chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
        values = (
            tp / (tp + fn),
            tn / (tn + fp),
            tp / (tp + fp),
            tn / (tn + fn),
            2 * tp / (2 * tp + fp + fn),
            (tp + fn) / n,
            (agreed - by_chance) / (1 - by_chance),  # Cohen 1960
        )
    found = np.stack(values, axis=-1)
    found[~np.isfinite(found)] = np.nan
    return found


def wilson(share: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """The 95 % score interval of a share (Wilson 1927), wider where three or fewer speak for it.

    There the limit on the side of 0 is lambda / n, with lambda the 5 % quantile of the gamma
    distribution of that number, where it is lower, and likewise on the side of 1 (Brown, Cai and
    DasGupta 2001, sec. 4.1.1). Wilson's own covers as little as 84 % next to 0 and 1.

    Args:
        share: in [0, 1].
        n: the number, or effective number, that it is a share of; NaN comes out where it is 0.
    """
    p, size = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = p + Z**2 / (2 * size)
        half = Z * np.sqrt(p * (1 - p) / size + Z**2 / (4 * size**2))
        scale = 1 + Z**2 / size
        low, high = (centre - half) / scale, (centre + half) / scale
        low = np.minimum(low, _least_share(p * size, size))
        high = np.maximum(high, 1 - _least_share((1 - p) * size, size))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _least_share(events: Floats, size: Floats) -> Floats:
    """The lower limit of a share for so few events; 1 where they are more."""
    few = events < len(_LEAST) - 1 + _ROUNDING
    return np.where(few, np.interp(events, range(len(_LEAST)), _LEAST) / size, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """What the intervals of a weighted sample are made of; `...` are any leading axes."""

    least: Floats  # [..., 4] what the totals cannot be below: the studies that were seen
    total: Floats  # [..., 4] their weight
    variance: Floats  # [..., 4] of the totals, as of independent events
    unseen: Floats  # [..., 2] weight of a case not seen: among positive labels, among the others
    spread: Floats  # [..., 2] linearised variance of the share of truth over the independent one
    share_variance: Floats  # [...] of the weighted share of positive labels


def add_up(counts: ArrayLike, sizes: ArrayLike | None = None) -> Totals:
    """Weigh the counts of a stratified sample without replacement.

    Args:
        counts: [..., H, 4] reviewed studies by stratum and cell, at least one in each stratum.
        sizes: [H] or [..., H] studies N_h that each stratum was drawn from; None: each study has
            weight 1 and the population is large.
    """
    counts = np.asarray(counts, dtype=np.float64)
    n = counts.sum(axis=-1)  # [..., H]
    weight = np.ones_like(n) if sizes is None else np.asarray(sizes, dtype=np.float64) / n
    sampled = np.zeros_like(n) if sizes is None else 1 / weight
    rest = np.clip(1 - sampled, 0, 1)  # finite population correction
    total = (weight[..., None] * counts).sum(axis=-2)
    labeled = np.stack([counts[..., a] + counts[..., b] for a, b in _LABELED], axis=-1)
    share = labeled[..., 0] / n
    whole = (weight * n).sum(axis=-1, keepdims=True)
    mean = (weight * labeled[..., 0]).sum(axis=-1, keepdims=True) / whole
    # of one study there is no mean to subtract
    square = np.where(n > 1, share * (1 - share) / np.maximum(n - 1, 1), (share - mean) ** 2)
    share_variance = ((weight * n / whole) ** 2 * rest * square).sum(axis=-1)
    return Totals(
        least=np.zeros_like(total) if sizes is None else counts.sum(axis=-2),
        total=total,
        variance=((weight**2 * rest)[..., None] * counts).sum(axis=-2),
        unseen=_unseen_weight(weight, sampled, labeled),
        spread=_spread(counts, weight, rest, total),
        share_variance=share_variance,
    )


def _unseen_weight(weight: Floats, sampled: Floats, labeled: Floats) -> Floats:
    """The weight of a case not seen: the mean over the studies by their squared weights.

    In one stratum it is -1 / log(1 - f) for the sampling fraction f, with which the limit for no
    case seen is the exact one, and which is 1 / f where f is small.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(sampled > 0, -1 / np.log1p(-sampled), weight)
    scale = np.where(sampled < 1, scale, 0.0)
    squares = weight[..., None] ** 2 * labeled
    return _divide((scale[..., None] * squares).sum(axis=-2), squares.sum(axis=-2))


def _spread(counts: Floats, weight: Floats, rest: Floats, total: Floats) -> Floats:
    """Variance of each share of truth with strata over the one without, in (0, 1] or a bit more.

    With few events it is not known well and counts as 1.
    """
    n = counts.sum(axis=-1)
    alone = n < 2  # no mean to subtract
    ratios = []
    for a, b in _LABELED:
        share = _divide(total[..., a], total[..., a] + total[..., b])[..., None]
        yes, no = counts[..., a], counts[..., b]
        squares = yes * (1 - share) ** 2 + no * share**2
        between = np.where(alone, 0.0, (yes * (1 - share) - no * share) ** 2 / n)
        factor = np.where(alone, 1.0, n / np.maximum(n - 1, 1))
        with_strata = (weight**2 * rest * factor * (squares - between)).sum(axis=-1)
        without = (weight**2 * rest * squares).sum(axis=-1)
        ratio = np.where(without > 0, _divide(with_strata, without), 1.0)
        events = np.minimum(yes.sum(axis=-1), no.sum(axis=-1))
        ratios.append(1 - (1 - ratio) * events / (events + _FEW))
    return np.stack(ratios, axis=-1)


def weighted_limits(totals: Totals, *, draws: int = DRAWS, seed: int = 0) -> tuple[Floats, Floats]:
    """The 95 % limits of all measures.

    Args:
        draws: for each leading index; memory is some 200 bytes a draw.
        seed: of the draws; the same gives the same limits.

    Returns:
        Lower and upper limit, each [..., 7] in the order of `MEASURES`; NaN where the measure is.
    """
    rng = np.random.default_rng(seed)
    positive, negative = (_draw_group(totals, group, draws, rng) for group in (0, 1))
    share = _draw_share(totals, draws, rng)
    hits, missed = share * positive, (1 - share) * negative
    cells = np.stack([hits, share - hits, missed, 1 - share - missed], axis=-1)
    drawn = measures(np.maximum(cells, 0))
    open_ends = rng.random(drawn.shape) < 0.5  # no study of the kind in a draw: all is possible
    drawn = np.where(np.isnan(drawn), open_ends, drawn)
    low, high = np.quantile(drawn, _TAILS, axis=-2)
    values = measures(totals.total)  # NaN where undefined, which the limits are made too
    return np.minimum(low, values), np.maximum(high, values)


def _draw_group(totals: Totals, group: int, draws: int, rng: np.random.Generator) -> Floats:
    """Shares of truth-positive among the studies of one label, [..., draws]."""
    shape = (*totals.total.shape[:-1], draws)
    # mid-p: the upper distribution of the one kind goes with the lower of the other
    upper = rng.random(shape) < 0.5
    yes, no = _LABELED[group]
    truth = _draw_total(totals, group, yes, upper, rng)
    rest = _draw_total(totals, group, no, ~upper, rng)
    whole = truth + rest
    return np.where(whole > 0, _divide(truth, whole), upper)  # without a study, 0 or 1


def _draw_total(
    totals: Totals, group: int, cell: int, upper: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Weighted totals of a cell from its lower or upper distribution, [..., draws]."""
    spread = totals.spread[..., group, None]
    more = np.where(upper, totals.unseen[..., group, None], 0.0)
    mean = totals.total[..., cell, None] + more
    variance = spread * totals.variance[..., cell, None] + np.maximum(spread, 1) * more**2
    drawn = _gamma(mean, variance, rng)
    return np.maximum(drawn, totals.least[..., cell, None])


def _draw_share(totals: Totals, draws: int, rng: np.random.Generator) -> Floats:
    """Weighted shares of positive labels, [..., draws]."""
    positive = totals.total[..., 0] + totals.total[..., 1]
    whole = totals.total.sum(axis=-1)
    share = _divide(positive, whole)[..., None]
    shape = (*whole.shape, draws)
    n = _divide(share * (1 - share), totals.share_variance[..., None])
    alpha, beta = np.maximum(n * share, 1e-9), np.maximum(n * (1 - share), 1e-9)
    drawn = np.where(n > 0, rng.beta(alpha, beta, shape), share)
    # labels that none of the studies has may still be among those not drawn
    some = rng.random(shape) < 0.5
    extra = np.where(some, rng.standard_exponential(shape), 0.0) * totals.unseen.max(-1)[..., None]
    part = extra / (extra + whole[..., None])
    return np.where(share == 0, part, np.where(share == 1, 1 - part, drawn))


def _gamma(mean: Floats, variance: Floats, rng: np.random.Generator) -> Floats:
    """Draws of gamma distributions; the mean itself where there is no variance."""
    random = (mean > 0) & (variance > 0)
    shape = np.where(random, _divide(mean**2, variance), 1.0)
    return np.where(random, rng.standard_gamma(shape) * _divide(variance, mean), mean)


def _divide(part: ArrayLike, whole: ArrayLike) -> Floats:
    """The quotient; 0 where the divisor is 0."""
    above, below = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below != 0, above / np.where(below != 0, below, 1.0), 0.0)
