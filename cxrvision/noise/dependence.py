"""Error that depends on how a label came about: its cue, section, number of mentions, the site.

A table says that all positive labels of a finding are equally reliable. Where the audit allows it,
a logistic regression says of which labels that is not so:

    logit P(y = 1 | z, f) = logit P(y = 1 | z) + f b

with the table's own P(y = 1 | z) as an offset, the features f of the label, and coefficients b that
a ridge draws to 0, so to the table. Turned round by Bayes' theorem the same f b is what the
features add to log P(z, f | 1) - log P(z, f | 0), so that one number serves targets and likelihood.
(P(z | y, f) itself says little here: that a label has a cue tells its state almost alone.)

The ridge is chosen by cross-validation over patients, and the model is used only where its
held-out likelihood is better than the table's by more than a standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrvision.evaluate.estimates import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RIDGES: Final = (1.0, 3.0, 10.0, 30.0, 100.0)  # studies that speak for "no effect"
FOLDS: Final = 5
LEAST_EVENTS: Final = 20  # reviewed studies with, and without, a finding below which none is fitted

_STEPS: Final = 30
_TOLERANCE: Final = 1e-8
_LONGEST: Final = 3.0  # step, in logits


@dataclass(frozen=True, slots=True, eq=False)
class Dependence:
    """How the reliability of a finding's labels depends on their features."""

    coefficients: Floats  # [P] in logits; 0 where the table is better
    ridge: float  # inf where the table is better
    gain: float  # held-out log likelihood over that of the table, a study's mean
    gain_error: float  # its standard error

    @property
    def used(self) -> bool:
        """Whether the features tell more than the table."""
        return bool(np.isfinite(self.ridge))

    def evidence(self, features: Floats) -> Floats:
        """[n] what [n, P] features add to the log odds of the truth."""
        return features @ self.coefficients


def fit_dependence(
    truth: Bools,
    offset: Floats,
    features: Floats,
    *,
    weights: Floats | None = None,
    patients: Integers | None = None,
) -> Dependence:
    """Fit the model to the reviewed studies of one finding.

    Args:
        truth: [m].
        offset: [m] logit P(truth | state) by the table.
        features: [m, P], with mean 0 over the labels of each state.
        weights: [m] studies that each stands for; None: 1.
        patients: [m] code of each study's patient, 0 and up; None: unrelated.
    """
    m, width = features.shape
    none = Dependence(np.zeros(width), np.inf, 0.0, 0.0)
    if min(truth.sum(), m - truth.sum()) < LEAST_EVENTS or not features.any():
        return none
    weight = np.ones(m) if weights is None else weights / weights.mean()
    codes = np.arange(m) if patients is None else patients
    fold = _folds(truth, codes)
    table = _log_likelihood(truth, offset)
    best = none
    for ridge in RIDGES:
        held_out = np.empty(m)
        for number in range(FOLDS):
            inside = fold == number
            b = fit_offset_logit(
                truth[~inside], offset[~inside], features[~inside], weight[~inside], ridge
            )
            held_out[inside] = _log_likelihood(truth[inside], offset[inside] + features[inside] @ b)
        by_patient = np.bincount(codes, weight * (held_out - table))
        gain = float(by_patient.sum()) / m
        error = float(np.sqrt((by_patient**2).sum())) / m
        if gain > error and gain > best.gain:
            best = Dependence(np.zeros(width), ridge, gain, error)
    if not best.used:
        return none
    b = fit_offset_logit(truth, offset, features, weight, best.ridge)
    return Dependence(b, best.ridge, best.gain, best.gain_error)


def fit_offset_logit(
    truth: Bools, offset: Floats, features: Floats, weights: Floats, ridge: float
) -> Floats:
    """Coefficients of a logistic regression with an offset, without intercept (Newton's method).

    Args:
        ridge: penalty on half the sum of the squared coefficients.
    """
    b = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        p = expit(offset + features @ b)
        gradient = features.T @ (weights * (truth - p)) - ridge * b
        mass = weights * p * (1 - p)
        hessian = (features * mass[:, None]).T @ features + ridge * np.eye(len(b))
        step = np.linalg.solve(hessian, gradient)
        longest = float(np.abs(step).max())
        b = b + step * min(1.0, _LONGEST / longest if longest else 1.0)
        if longest < _TOLERANCE:
            break
    return b


def _folds(truth: Bools, codes: Integers) -> Integers:
    """[m] folds by patient, patients with the finding spread evenly."""
    sick = np.bincount(codes, truth) > 0
    order = np.lexsort((np.arange(len(sick)), sick))
    fold = np.empty(len(sick), dtype=np.int64)
    fold[order] = np.arange(len(sick)) % FOLDS
    found: Integers = fold[codes]
    return found


def _log_likelihood(truth: Bools, logits: Floats) -> Floats:
    likelihood: Floats = np.where(truth, logits, 0) - np.logaddexp(0, logits)
    return likelihood
