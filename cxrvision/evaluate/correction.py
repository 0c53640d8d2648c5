"""What the AUC against labels says of the true one, where label error does not hang on the image.

Given the truth let the label be independent of the score (class-conditional error). Then

    AUC_labels - 1/2 = (PPV + NPV - 1) (AUC - 1/2)

(Menon et al. 2015; Zawistowski et al. 2017), with the PPV and NPV of the labels. Real label errors
mostly break it: subtle findings are missed by report and by model alike, and the corrected AUC is
then too high, even above 1. So it is withheld where the audited studies contradict it:

- they are held against three things: the corrected AUC minus that of the audited studies; and the
  AUC, against 1/2, by which the model's score tells wrongly from rightly labelled studies, among
  those that have the finding and among those that have it not. Errors that follow the image make
  all three lean to one side, so that their sum is tested first (`TOGETHER`), then each (`EACH`);
- the corrected AUC lies outside [0, 1], or PPV + NPV - 1 is not clearly above 0;
- the audited studies are too few to contradict a difference of `VISIBLE`.

Prevalence by Rogan and Gladen (1978) is here too: the share of positive labels, corrected by the
labels' sensitivity and specificity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import wilson
from cxrlabel.audit.observation import draw_table
from cxrvision.evaluate.auc import estimate_auc
from cxrvision.evaluate.doubly_robust import auc_measure, audited_masses, design_based
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    Z,
    covariance,
    effective_number,
    student_quantile,
    two_sided,
)
from cxrvision.evaluate.masses import share_of_negatives, share_of_positives, share_with_finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlabel.audit.observation import FindingTable
    from cxrvision.evaluate.estimates import Floats
    from cxrvision.evaluate.masses import Statistic
    from cxrvision.evaluate.working import Working

TOGETHER: Final = 0.1  # level of the sum, one-sided
EACH: Final = 0.0125  # level of each, two-sided
VISIBLE: Final = 0.15  # a difference that an audit has to be able to contradict
FEW: Final = 5.0  # effective studies of each kind, to tell wrongly from rightly labelled ones
_CLEAR: Final = 3.0  # standard errors that PPV + NPV - 1 has to be above 0
_DIGITS: Final = 12
_LEAST_FREEDOM: Final = 3.0
_DRAWS: Final = 4_000
_LEAST: Final = 0.3  # variance of the sum of scores
_DEPENDS: Final = "label error depends on the image"


@dataclass(frozen=True, slots=True, eq=False)
class LabelRates:
    """How good the labels of the evaluated studies are; influence values are of n studies."""

    ppv: Estimate
    npv: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, slots=True)
class Correction:
    """The corrected AUC, or why there is none."""

    auc: Measure
    withheld: str  # "" where there is one


def audited_rates(label: Floats, working: Working, *, unseen: float = 0.0) -> LabelRates:
    """The rates among the audited studies that have a label.

    Args:
        label: [n] 1, 0, NaN for none.
        unseen: as in `design_based`.
    """
    labelled = ~np.isnan(label)
    yes, no = (mass * labelled for mass in audited_masses(working))
    positive, negative = label == 1, label == 0

    def rate(statistic: Statistic) -> Estimate:
        return design_based(statistic, working, unseen=unseen)

    missed = rate(share_with_finding(negative, yes, no))
    return LabelRates(
        ppv=rate(share_with_finding(positive, yes, no)),
        npv=Estimate(1 - missed.value, -missed.influence, missed.extra),
        sensitivity=rate(share_of_positives(positive, yes)),
        specificity=rate(share_of_negatives(negative, no)),
    )


def table_rates(table: FindingTable, states: Floats, label: Floats) -> LabelRates:
    """The rates that an observation table gives, with the variance of its posterior.

    Args:
        states: [n] label before the policy: 1, 0, -1, NaN for blank.
        label: [n] 1, 0, NaN for none.
    """
    rng = np.random.default_rng(0)
    posterior = table.posterior
    drawn = draw_table(posterior.truth_given_state, posterior.state, rng, _DRAWS)
    codes = [states == 1, states == -1, states == 0, np.isnan(states)]  # as in STATES
    positive = np.array([((label == 1) & inside).sum() for inside in codes], dtype=np.float64)
    negative = np.array([((label == 0) & inside).sum() for inside in codes], dtype=np.float64)
    number = np.maximum([inside.sum() for inside in codes], 1)

    def given(truth: int, part: Floats, whole: Floats) -> Floats:
        """Among studies of a truth, labels of one kind over labels of either."""
        shares = drawn.state_given_truth[:, truth]
        found: Floats = (shares @ (part / number)) / (shares @ (whole / number))
        return found

    truth = drawn.truth_given_state
    both = positive + negative
    return LabelRates(
        *(
            Estimate(float(draws.mean()), np.zeros(len(label)), float(draws.var()))
            for draws in (
                truth @ positive / max(positive.sum(), 1),
                1 - truth @ negative / max(negative.sum(), 1),
                given(0, positive, both),
                given(1, negative, both),
            )
        )
    )


def correct_auc(
    probs: Floats, label: Floats, working: Working, reference: Estimate, rates: LabelRates
) -> Correction:
    """Correct the AUC against the labels, or say why not.

    Args:
        probs: [n] in [0, 1].
        label: [n] 1, 0, NaN for none.
        reference: an AUC that does not need the assumption.
    """
    if not (label == 1).any() or not (label == 0).any():
        return _none("the labels are all of one kind")
    noisy = _auc_of_labels(probs, label, working)
    gain = rates.ppv.value + rates.npv.value - 1
    # a slip in either rate moves the corrected AUC by (AUC_labels - 1/2) / gain**2
    gain_error = math.sqrt(
        Estimate(gain, rates.ppv.influence + rates.npv.influence).variance(working.patients)
        + rates.ppv.extra
        + rates.npv.extra
    )
    if not math.isfinite(gain_error):
        return _none("no audited study with a positive, or with a negative, label")
    if gain < _CLEAR * gain_error:
        return _none(
            f"PPV + NPV − 1 of the labels is {gain:.2f}, not clearly above 0 (standard error "
            f"{gain_error:.2f})"
        )
    by_rate = (noisy.value - 0.5) / gain**2
    corrected = Estimate(
        0.5 + (noisy.value - 0.5) / gain,
        noisy.influence / gain - by_rate * (rates.ppv.influence + rates.npv.influence),
        noisy.extra / gain**2 + by_rate**2 * (rates.ppv.extra + rates.npv.extra),
    )
    reason = _contradiction(probs, label, working, reference, corrected)
    if reason:
        return _none(reason)
    wider = _for_few(corrected, label, working)
    return Correction(auc_measure(wider, working), "")


def rogan_gladen(
    label: Floats, working: Working, rates: LabelRates, more: LabelRates | None = None
) -> Measure:
    """The prevalence from the share of positive labels (Rogan and Gladen 1978), kept in [0, 1].

    Args:
        more: the rates with more unseen cases, for the upper end.
    """
    ends = [_rogan_gladen(label, working, some) for some in (rates, more or rates)]
    return Measure(ends[0].value, ends[0].low, ends[1].high)


def _rogan_gladen(label: Floats, working: Working, rates: LabelRates) -> Measure:
    labelled = ~np.isnan(label)
    gain = rates.sensitivity.value + rates.specificity.value - 1
    if not labelled.any() or not gain > 0:
        return UNDEFINED
    share = float((label == 1).sum() / labelled.sum())
    value = (share + rates.specificity.value - 1) / gain
    of_labels = np.where(labelled, (label == 1) - share, 0.0) / labelled.sum()
    influence = (
        of_labels + (1 - value) * rates.specificity.influence - value * rates.sensitivity.influence
    ) / gain
    extra = (1 - value) ** 2 * rates.specificity.extra + value**2 * rates.sensitivity.extra
    value = min(max(value, 0.0), 1.0)
    variance = Estimate(value, influence).variance(working.patients) + extra / gain**2
    if not (math.isfinite(variance) and 0 < value < 1):
        return Measure(value, NAN, NAN)
    low, high = wilson(value, value * (1 - value) / variance)
    return Measure(value, float(low), float(high))


def _for_few(corrected: Estimate, label: Floats, working: Working) -> Estimate:
    """The estimate with the variance that makes its interval Student's.

    The degrees of freedom are those of the wrong labels that the audit saw.
    """
    sampled = working.sampled
    mine = label[sampled.rows]
    wrong = ~np.isnan(mine) & ((mine == 1) != sampled.truth)
    patients = None if working.patients is None else working.patients[sampled.rows]
    freedom = max(effective_number(wrong, sampled.weights, patients) - 1, _LEAST_FREEDOM)
    seen = corrected.variance(working.patients)
    factor = (student_quantile(freedom) / Z) ** 2
    extra = factor * (seen + corrected.extra) - seen
    return Estimate(corrected.value, corrected.influence, extra)


def _auc_of_labels(probs: Floats, label: Floats, working: Working) -> Estimate:
    labelled = ~np.isnan(label)
    mine = None if working.patients is None else working.patients[labelled]
    found = estimate_auc(probs[labelled], label[labelled] == 1, patients=mine)
    influence = np.zeros(len(probs))
    influence[labelled] = found.influence
    return Estimate(found.value, influence, found.extra)


@dataclass(frozen=True, slots=True, eq=False)
class _Lean:
    """Something that is 0 where label error does not hang on the score, above where it follows."""

    estimate: Estimate
    words: str

    def score(self, working: Working) -> float:
        """In standard errors."""
        return self.estimate.value / math.sqrt(self.variance(working))

    def variance(self, working: Working) -> float:
        return self.estimate.variance(working.patients) + self.estimate.extra


def _contradiction(
    probs: Floats, label: Floats, working: Working, reference: Estimate, corrected: Estimate
) -> str:
    """Why the audited studies speak against the correction, or ""."""
    if not 0 <= round(corrected.value, _DIGITS) <= 1:
        return (
            f"it would be {corrected.value:.3f}, outside [0, 1]: label error depends on the image, "
            "or this is chance"
        )
    difference = Estimate(
        corrected.value - reference.value,
        corrected.influence - reference.influence,
        corrected.extra + reference.extra,
    )
    said = f"it would be {corrected.value:.3f}, and the audited studies say {reference.value:.3f}"
    first = _Lean(difference, said)
    within = [lean for truth in (True, False) if (lean := _within(probs, label, working, truth))]
    leans = [first, *within]
    for lean in leans:
        p = two_sided(lean.estimate.value, lean.variance(working))
        if p < EACH:
            return f"{lean.words} (p {_p(p)}); {_DEPENDS}"
    p = _together(leans, working)
    if p < TOGETHER:
        return (
            f"it would be {corrected.value:.3f}, the audited studies say {reference.value:.3f}, "
            f"and wrong labels follow the model's score (together p {_p(p)}); {_DEPENDS}"
        )
    if not within and Z * math.sqrt(first.variance(working)) > VISIBLE:
        return "the audited studies are too few to tell whether label error depends on the image"
    return ""


def _together(leans: Sequence[_Lean], working: Working) -> float:
    """The one-sided p value of the sum of the scores."""
    influence = np.stack(
        [lean.estimate.influence / math.sqrt(lean.variance(working)) for lean in leans], axis=1
    )
    together = covariance(influence, working.patients)
    # what few events add is taken to be of each alone
    np.fill_diagonal(together, 1.0)
    total = sum(lean.score(working) for lean in leans)
    return NormalDist().cdf(-total / math.sqrt(max(float(together.sum()), _LEAST)))


def _within(probs: Floats, label: Floats, working: Working, truth: bool) -> _Lean | None:
    """How the score tells wrongly from rightly labelled studies of one truth; None: too few."""
    sampled = working.sampled
    mine = sampled.truth == truth
    rows, weights = sampled.rows[mine], sampled.weights[mine]
    wrong = label[rows] != float(truth)
    patients = None if working.patients is None else working.patients[rows]
    events = min(effective_number(side, weights, patients) for side in (wrong, ~wrong))
    if events < FEW:
        return None
    found = estimate_auc(probs[rows], wrong, weights=weights, patients=patients)
    extra = found.extra
    if found.value in (0.0, 1.0):  # no variance is seen: as wide as Wilson's interval then is
        extra += (Z / (2 * (events + Z**2))) ** 2
    side = -1 if truth else 1  # a missed finding has a low score, a false one a high score
    influence = np.zeros(len(probs))
    influence[rows] = side * found.influence
    words = (
        f"among audited studies {'with' if truth else 'without'} the finding, those wrongly "
        f"labelled have {'higher' if found.value > 0.5 else 'lower'} scores"
    )
    return _Lean(Estimate(side * (found.value - 0.5), influence, extra), words)


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _none(reason: str) -> Correction:
    return Correction(UNDEFINED, reason)
