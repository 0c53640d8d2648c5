"""The working model: how likely a finding is, from a study's label state and score.

A logistic regression with a ridge, on the audited studies with their design weights, cross-fitted:
what it says of a study was learned from other patients (Chernozhukov et al. 2018). It need not be
right. Doubly robust estimates have the right expectation whatever it says, and variances use it for
what the audit happened not to see: a study of a lightly sampled stratum that could have had the
finding, and would have counted for fifty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrvision.evaluate.estimates import expit, logit

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Bools, Floats, Integers
    from cxrvision.evaluate.sampled import Sampled

FOLDS: Final = 5
# Cases that are added to those seen in each label state, in variances of shares and in the number
# of effective events; AUCs have their own (`cxrvision.evaluate.doubly_robust`).
UNSEEN: Final = 0.05

_RIDGE: Final = 0.2  # audited studies that speak for "no effect" of each column
_STEPS: Final = 25
_TOLERANCE: Final = 1e-8
_LONGEST: Final = 3.0  # step, in logits
_STATES: Final = (1.0, -1.0, 0.0)  # blank is the rest
_BLANK: Final = -2.0


@dataclass(frozen=True, slots=True, eq=False)
class Working:
    """What the working model says of n evaluated studies, m of them audited."""

    modelled: Floats  # [n] chance of the finding, in (0, 1)
    sampled: Sampled
    states: Floats  # [m] label of each audited study; blank is -2
    patients: Integers | None  # [n] code of each study's patient

    @property
    def residual(self) -> Floats:
        """[m] weighted truth minus what was modelled."""
        sampled = self.sampled
        found: Floats = sampled.weights * (sampled.truth - self.modelled[sampled.rows])
        return found

    @property
    def outcome(self) -> Floats:
        """[n] pseudo-outcome yhat = m + R / pi (y - m); it may leave [0, 1]."""
        found = self.modelled.copy()
        found[self.sampled.rows] += self.residual
        return found

    def chance(self, unseen: float) -> Floats:
        """[m] modelled chance, scaled in each label state to the cases seen there and some more."""
        chance = self.modelled[self.sampled.rows]
        for state in np.unique(self.states):
            inside = self.states == state
            seen = self.sampled.truth[inside].sum() + unseen
            scaled = chance[inside] * seen / chance[inside].sum()
            chance[inside] = np.minimum(scaled, np.maximum(chance[inside], 0.5))
        return chance

    def events(self) -> tuple[float, float]:
        """Studies of equal weight that those with, and without, the finding are worth.

        Kish's number with the expected sums of weights and of their squares, so that it does not
        hang on whether a heavy case was drawn.
        """
        weights, chance = self.sampled.weights, self.chance(UNSEEN)
        positive, negative = (
            float((weights * c).sum()) ** 2 / float((weights**2 * c).sum())
            for c in (chance, 1 - chance)
        )
        return positive, negative


def fit_working(
    probs: Floats, states: Floats, sampled: Sampled, *, patients: Integers | None = None
) -> Working:
    """Cross-fit the working model.

    Args:
        probs: [n] in [0, 1].
        states: [n] label: 1, 0, -1, NaN for blank.
        sampled: audited studies of both kinds.
        patients: [n] code of each study's patient; None: all studies are unrelated.
    """
    columns = _columns(probs, states)
    state = np.nan_to_num(states, nan=_BLANK)
    fold = _folds(probs, state, sampled, patients)
    modelled = np.empty(len(probs))
    audited = sampled.rows
    for number in range(FOLDS):
        inside, other = fold == number, fold[audited] != number
        beta = _fit(columns[audited[other]], sampled.truth[other], sampled.weights[other])
        modelled[inside] = expit(columns[inside] @ beta)
    return Working(modelled, sampled, state[audited], patients)


def _columns(probs: Floats, states: Floats) -> Floats:
    """[n, 5] intercept, label states, and the logit of the score with mean 0 and spread 1."""
    odds = logit(probs)
    spread = float(odds.std())
    score = (odds - odds.mean()) / spread if spread > 0 else np.zeros_like(odds)
    kinds = [(states == state).astype(np.float64) for state in _STATES]
    return np.stack([np.ones_like(score), *kinds, score], axis=1)


def _folds(probs: Floats, state: Floats, sampled: Sampled, patients: Integers | None) -> Integers:
    """[n] the fold of each study; those of a patient share one.

    Patients are dealt out in the order of truth, label and score, so that the folds are alike and
    nothing is drawn at random.
    """
    truth = np.zeros(len(probs))
    truth[sampled.rows] = 1 + sampled.truth  # 0 where it is not known
    order = np.lexsort((probs, state, truth))[::-1]
    if patients is None:
        fold = np.empty(len(probs), dtype=np.int64)
        fold[order] = np.arange(len(probs)) % FOLDS
        return fold
    codes, first = np.unique(patients[order], return_index=True)
    dealt = np.empty(len(codes), dtype=np.int64)
    dealt[np.argsort(first, kind="stable")] = np.arange(len(codes)) % FOLDS
    found: Integers = dealt[np.searchsorted(codes, patients)]
    return found


def _fit(columns: Floats, truth: Bools, weights: Floats) -> Floats:
    """Coefficients by Newton's method; the ridge is on all but the intercept.

    The weights are scaled so that the rarer kind counts as many studies as it is worth.
    """
    rarer = truth if truth.sum() <= (~truth).sum() else ~truth
    weight = weights / weights.mean()
    if rarer.any():
        weight = weights * weights[rarer].sum() / (weights[rarer] ** 2).sum()
    ridge = np.full(columns.shape[1], _RIDGE)
    ridge[0] = 1e-3
    share = np.clip(np.average(truth, weights=weight), 1e-3, 1 - 1e-3)
    start = np.zeros(columns.shape[1])
    start[0] = np.log(share / (1 - share))
    beta = start
    for _ in range(_STEPS):
        p = expit(columns @ beta)
        gradient = columns.T @ (weight * (truth - p)) - ridge * (beta - start)
        mass = weight * p * (1 - p)
        step = np.linalg.solve((columns * mass[:, None]).T @ columns + np.diag(ridge), gradient)
        longest = float(np.abs(step).max())
        beta = beta + step * min(1.0, _LONGEST / longest if longest else 1.0)
        if longest < _TOLERANCE:
            break
    return beta
