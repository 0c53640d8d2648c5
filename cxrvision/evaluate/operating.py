"""A threshold for a wanted sensitivity, and what it gives.

The threshold is the highest one at which the lower end of the 95 % interval of the sensitivity, in
the studies it is chosen on, reaches the wanted value. Chosen by the sensitivity itself it would
fall short of it in half of all new samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import wilson
from cxrlabel.audit.patients import design_effect
from cxrvision.evaluate.estimates import UNDEFINED, Measure

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Bools, Floats, Integers

LOWER_BOUND: Final = "lower bound"
ESTIMATE: Final = "estimate"
GIVEN: Final = "given"
LABELS: Final = "labels"
AUDITED: Final = "audited studies"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A study is flagged where its probability is at least `value`."""

    value: float
    # "lower bound"; "estimate" where there are too few positives for it, and the sensitivity itself
    # reaches what is wanted; "given" where it was read from a file
    rule: str
    positives: int  # studies with the finding that it was chosen on
    on: str = LABELS  # what says which these are: "labels" or "audited studies"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold gives; NaN where there is no study of the kind."""

    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    npv: Measure
    flag_rate: Measure  # share of the studies that are flagged
    alerts_per_100: float  # flagged studies
    false_alerts_per_100: float  # flagged studies without the finding


def choose_threshold(
    probs: Floats,
    positive: Bools,
    sensitivity: float,
    *,
    patients: Integers | None = None,
    weights: Floats | None = None,
    on: str = LABELS,
) -> Threshold | None:
    """The highest threshold that has the wanted sensitivity; None without a positive.

    Args:
        probs: [n] in [0, 1].
        positive: [n] whether each study has the finding.
        sensitivity: wanted, in (0, 1).
        patients: [n] code of each study's patient; None: all studies are unrelated.
        weights: [n] studies that each stands for; None: 1 each.
        on: what `positive` comes from.
    """
    order = np.flatnonzero(positive)[np.argsort(-probs[positive], kind="stable")]
    if not len(order):
        return None
    scores = probs[order]
    weight = np.ones(len(order)) if weights is None else weights[order]
    number = float(weight.sum()) ** 2 / float((weight**2).sum())  # Kish 1965
    # where equal scores are flagged, all of them are
    last = np.searchsorted(-scores, -scores, side="right") - 1
    reached = np.minimum(np.cumsum(weight)[last] / weight.sum(), 1.0)
    by_estimate = scores[np.argmax(reached >= sensitivity - 1e-12)]
    effect = design_effect(probs >= by_estimate, positive, patients)
    lower, _ = wilson(reached, number / effect)
    if lower[-1] < sensitivity:
        return Threshold(float(by_estimate), ESTIMATE, len(order), on)
    return Threshold(float(scores[np.argmax(lower >= sensitivity)]), LOWER_BOUND, len(order), on)


def measure_operating_point(
    probs: Floats, positive: Bools, threshold: float, *, patients: Integers | None = None
) -> OperatingPoint:
    """Measure what the threshold gives; arguments as in `choose_threshold`."""
    flagged = probs >= threshold
    everybody = np.ones_like(positive)

    def share(part: Bools, whole: Bools) -> Measure:
        return measure_share(part, whole, patients)

    rate = share(flagged, everybody)
    return OperatingPoint(
        sensitivity=share(flagged, positive),
        specificity=share(~flagged, ~positive),
        ppv=share(positive, flagged),
        npv=share(~positive, ~flagged),
        flag_rate=rate,
        alerts_per_100=100 * rate.value,
        false_alerts_per_100=100 * float((flagged & ~positive).mean()),
    )


def measure_share(part: Bools, whole: Bools, patients: Integers | None) -> Measure:
    """The share of `part` among `whole`, with Wilson's interval for so many unrelated studies."""
    number = int(whole.sum())
    if not number:
        return UNDEFINED
    value = float(part[whole].mean())
    low, high = wilson(value, number / design_effect(part, whole, patients))
    return Measure(value, float(low), float(high))
