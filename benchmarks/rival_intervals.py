"""Intervals that others use for the shares of a stratified sample, to be compared with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import MEASURES, measures, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RESAMPLES: Final = 200
LIMITS: Final = (0.025, 0.975)

# share -> cells of the part and of the whole, for what has a simple rival
SHARES: Final = {
    "sensitivity": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "specificity": ((0, 0, 0, 1), (0, 1, 0, 1)),
    "ppv": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "npv": ((0, 0, 0, 1), (0, 0, 1, 1)),
    "prevalence": ((1, 0, 1, 0), (1, 1, 1, 1)),
}


def unweighted(counts: Floats, sizes: Integers) -> tuple[Floats, Floats]:
    """Args: counts: [H, 4]; sizes: [H], not used. Returns: [7] limits, NaN where it has none."""
    low, high = np.full((2, len(MEASURES)), np.nan)
    sums = counts.sum(axis=0)
    for name, (part, whole) in SHARES.items():
        n = sums @ whole
        place = MEASURES.index(name)
        low[place], high[place] = wilson(sums @ part / n if n else np.nan, n)
    return low, high


def linearised(counts: Floats, sizes: Integers) -> tuple[Floats, Floats]:
    """Woodruff's variance of a ratio by stratum, on the logit scale."""
    low, high = np.full((2, len(MEASURES)), np.nan)
    n = counts.sum(axis=1)
    weight = sizes / n
    for name, (part, whole) in SHARES.items():
        total, base = weight @ counts @ np.array([part, whole]).T
        if not base:
            continue
        share = total / base
        residual = (np.array(part) - share * np.array(whole)) / base  # [4]
        means = counts @ residual / n
        squares = counts @ residual**2 - n * means**2
        scale = weight**2 * (1 - 1 / weight) * n / np.maximum(n - 1, 1)
        error = np.sqrt(max(float(scale @ squares), 0.0))
        place = MEASURES.index(name)
        if share in (0, 1):
            low[place] = high[place] = share
            continue
        logit, half = np.log(share / (1 - share)), 1.96 * error / (share * (1 - share))
        low[place], high[place] = 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-logit - half))
    return low, high


def bootstrap(
    counts: Floats, sizes: Integers, *, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Percentiles of the rescaling bootstrap of Rao and Wu (1988)."""
    n = counts.sum(axis=1)
    again = rng.multinomial(
        np.maximum(n - 1, 1).astype(int), counts / n[:, None], size=(RESAMPLES, len(n))
    )
    scale = n / np.maximum(n - 1, 1)
    whole = n == sizes
    again = np.where(whole[:, None], counts, again * scale[:, None])
    drawn_measures = measures((again * (sizes / n)[:, None]).sum(axis=1))
    low, high = np.nanquantile(drawn_measures, LIMITS, axis=0)
    return low, high
