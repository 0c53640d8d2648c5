"""Shares of several findings, partially pooled: each leans on the others as far as they are alike.

A finding's share of truths among the studies with one label state is taken to be Beta-distributed
over the findings. Either the shares are alike, with a mean m and a precision M, or their odds are
proportional to given odds, with a factor and a shape a (alpha of every finding, so that they
scatter by the same ratio). What is known of the two numbers is their marginal (beta-binomial)
posterior on a grid, with the diffuse prior (m (1 - m))**-0.5 M**-1.5, as Gelman et al. (2013, sec.
5.3) have it for M, and the same in factor and shape. A finding's posterior is the mixture over the
grid, as a Beta distribution of its mean and variance. Where findings are alike they help each
other; where they are not, the finding's own studies decide.

The other findings are never worth more than ten studies (M), or two truths (a). Without that bound
the central 95 % covered the shares in 95 % over all findings, but in 55 to 85 % for the finding
that differed most from the others, and in 82 % even where it had a hundred studies of its own:
intervals that are right on average are no use to who trains on that finding. With the bound it is
93 to 98 % for every finding of ten events or more, at widths a quarter to two fifths greater.

The counts are effective ones and no whole numbers: the weighted share times Kish's number of
studies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

JEFFREYS: Final = 0.5  # alpha and beta where no finding has a study

_MEANS: Final = 81  # points of the grid
_PRECISIONS: Final = 16
_LOGIT_RANGE: Final = 9.0  # means from 0.0001 to 0.9999
_PRECISION_RANGE: Final = (0.5, 10.0)  # studies that the other findings are worth
_SHAPE_RANGE: Final = (0.05, 2.0)  # truths that they are worth
_SHIFT: Final = 8


def effective_number(weights: ArrayLike) -> float:
    """How many studies of equal weight these are worth (Kish 1965, sec. 11.7)."""
    values = np.asarray(weights, dtype=np.float64)
    return float(values.sum() ** 2 / (values**2).sum()) if len(values) else 0.0


def pooled_posteriors(
    positive: ArrayLike, studies: ArrayLike, *, odds: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Alpha and beta of each finding's share; one without studies has what the others predict.

    Args:
        positive: [F] effective number of truths, from 0 to `studies`.
        studies: [F] effective number of studies.
        odds: [F] above 0, to which the odds of the shares are proportional before anything is
            reviewed; None: the shares are alike.
    """
    yes, n = np.asarray(positive, dtype=np.float64), np.asarray(studies, dtype=np.float64)
    if not (n > 0).any():
        return np.full_like(n, JEFFREYS), np.full_like(n, JEFFREYS)
    logits = np.linspace(-_LOGIT_RANGE, _LOGIT_RANGE, _MEANS)[:, None, None]
    # on a grid of logit m and the logarithm of M or a, densities carry m (1 - m) and M or a
    density = -0.5 * np.logaddexp(0, logits) - 0.5 * np.logaddexp(0, -logits)
    if odds is None:
        precision = np.geomspace(*_PRECISION_RANGE, _PRECISIONS)[None, :, None]
        means = 1 / (1 + np.exp(-logits))
        alpha, beta = means * precision, (1 - means) * precision
        density = density - 0.5 * np.log(precision)
    else:
        shape = np.geomspace(*_SHAPE_RANGE, _PRECISIONS)[None, :, None]
        alpha, beta = shape, shape / (np.exp(logits) * np.asarray(odds, dtype=np.float64))
        density = density - 0.5 * np.log(shape)
    likelihood = _log_beta(alpha + yes, beta + n - yes) - _log_beta(alpha, beta)
    logs = density[..., 0] + likelihood.sum(axis=-1)  # [means, precisions]
    weights = np.exp(logs - logs.max())[..., None]
    weights = weights / weights.sum()
    whole = alpha + beta + n
    first = (weights * (alpha + yes) / whole).sum(axis=(0, 1))
    second = (weights * (alpha + yes) * (alpha + yes + 1) / (whole * (whole + 1))).sum(axis=(0, 1))
    worth = first * (1 - first) / (second - first**2) - 1
    return first * worth, (1 - first) * worth


def _log_beta(alpha: Floats, beta: Floats) -> Floats:
    """The logarithm of the Beta function."""
    logs: Floats = _log_gamma(alpha) + _log_gamma(beta) - _log_gamma(alpha + beta)
    return logs


def _log_gamma(values: Floats) -> Floats:
    """The logarithm of the gamma function, within 1e-11 for values above 0 (Stirling's series)."""
    shifted = values + _SHIFT  # gamma(x + 8) = gamma(x) x (x + 1) ... (x + 7)
    product = values.copy()
    for step in range(1, _SHIFT):
        product *= values + step
    inverse = 1 / shifted
    square = inverse**2
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    stirling = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * math.log(2 * math.pi) + series
    logs: Floats = stirling - np.log(product)
    return logs
