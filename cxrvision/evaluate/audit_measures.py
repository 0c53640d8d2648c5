"""What the audited studies say of a model: all estimates of one finding that know label error.

In this order: design-based on the audited studies alone; doubly robust, with the labels and scores
of all; and the class-conditional correction of the AUC against labels, where it is not withheld.
docs/noise.md explains them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.audit.estimates import estimate
from cxrlabel.audit.intervals import DRAWS, MEASURES
from cxrvision.evaluate.calibration import measure_fit
from cxrvision.evaluate.correction import audited_rates, correct_auc, rogan_gladen, table_rates
from cxrvision.evaluate.doubly_robust import (
    auc_measure,
    audited_auc,
    audited_masses,
    design_based,
    doubly_robust,
    robust_auc,
    share_measure,
)
from cxrvision.evaluate.estimates import NAN, UNDEFINED, Estimate, Measure, effective_number
from cxrvision.evaluate.masses import (
    auc_of,
    share_of_negatives,
    share_of_positives,
    share_with_finding,
)
from cxrvision.evaluate.working import Working, fit_working

if TYPE_CHECKING:
    from cxrlabel.audit.observation import FindingTable
    from cxrvision.evaluate.estimates import Bools, Floats, Integers
    from cxrvision.evaluate.sampled import Sampled

FEW: Final = 5  # audited studies of each kind, below which nothing is said
_MOST: Final = 0.1  # relative: how far what they stand for may be from the evaluated studies
_SCALE: Final = 1000  # of weights, so that no stratum is a large part of what it is drawn from
# cases not seen, for the upper end of a share whose cases lie where few are audited
_UNSEEN: Final = 0.5
_MORE: Final = 1.0  # of labels that missed, of which half counts
_NO_DESIGN: Final = "how the audited studies were drawn is not known (--sample)"
_SHARES: Final = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True, slots=True)
class AuditMeasures:
    """The measures of one finding; NaN and None where there is none."""

    audited_reference: str  # what the reviewers looked at: "report" or "image"
    auc_audited: Measure
    auc_audited_n: int
    auc_audited_positives: int
    # studies of equal weight that those of the rarer kind are worth
    auc_audited_events: float
    auc_audited_refused: str | None  # why there is no such AUC
    auc_doubly_robust: Measure
    doubly_robust_refused: str | None
    auc_corrected: Measure
    correction_withheld: str | None
    sensitivity_audited: Measure
    sensitivity_doubly_robust: Measure
    specificity_audited: Measure
    specificity_doubly_robust: Measure
    ppv_audited: Measure
    ppv_doubly_robust: Measure
    npv_audited: Measure
    npv_doubly_robust: Measure
    prevalence_audited: Measure
    prevalence_doubly_robust: Measure
    prevalence_rogan_gladen: Measure
    brier_audited: Measure
    calibration_intercept_audited: Measure
    calibration_slope_audited: Measure


@dataclass(frozen=True, slots=True, eq=False)
class AuditEstimates:
    """The measures of one finding, and the AUCs that averages are made of."""

    measures: AuditMeasures
    audited: Estimate | None  # None where it is refused
    robust: Estimate | None


def measure_audit(
    probs: Floats,
    states: Floats,
    label: Floats,
    sampled: Sampled,
    *,
    reference: str,
    threshold: float = NAN,
    patients: Integers | None = None,
    table: FindingTable | None = None,
    draws: int = DRAWS,
) -> AuditEstimates:
    """Measure one finding on n evaluated studies, m of them audited.

    Args:
        probs: [n] in [0, 1].
        states: [n] label before the policy: 1, 0, -1, NaN for blank.
        label: [n] after it: 1, 0, NaN where it does not count.
        sampled: the audited ones.
        reference: "report" or "image".
        threshold: a study is flagged where its probability is at least that; NaN: none.
        patients: [n] code of each study's patient; None: all studies are unrelated.
        table: what an audit says of the labels; None: what these audited studies say.
        draws: that design-based intervals of shares are made of.
    """
    positives = sampled.kinds()[0]
    shares = _design_based_shares(probs >= threshold, sampled, patients, draws)
    if np.isnan(threshold):
        shares |= dict.fromkeys(_SHARES, UNDEFINED)
    refused = _refusal(sampled, patients)
    if refused:
        nothing = _nothing(reference, sampled, refused)
        prevalence = shares["prevalence"]
        return AuditEstimates(replace(nothing, prevalence_audited=prevalence), None, None)
    working = fit_working(probs, states, sampled, patients=patients)
    by_weight = auc_of(probs, *audited_masses(working))
    by_outcome = auc_of(probs, working.outcome, 1 - working.outcome)
    audited = audited_auc(by_weight, working)
    no_robust = _no_robust(sampled, len(probs))
    robust = None if no_robust else robust_auc(by_outcome, working)
    judge = design_based(by_weight, working) if no_robust else doubly_robust(by_outcome, working)
    corrected, withheld, prevalence = _by_labels(probs, states, label, working, judge, table)
    fit = measure_fit(
        probs[sampled.rows],
        sampled.truth,
        weights=sampled.weights,
        patients=None if patients is None else patients[sampled.rows],
        strata=sampled.strata,
    )
    found: dict[str, Any] = {f"{name}_audited": share for name, share in shares.items()}
    if not np.isnan(threshold):
        found["specificity_audited"] = _specificity(probs < threshold, working)
    if not no_robust:
        found |= _robust_shares(probs, threshold, working)
    measures = replace(
        _nothing(reference, sampled, ""),
        auc_audited=auc_measure(audited, working),
        auc_audited_positives=positives,
        auc_audited_events=min(working.events()),
        auc_audited_refused=None,
        auc_doubly_robust=UNDEFINED if robust is None else auc_measure(robust, working),
        doubly_robust_refused=no_robust or None,
        auc_corrected=corrected,
        correction_withheld=withheld or None,
        prevalence_rogan_gladen=prevalence,
        brier_audited=fit.brier,
        calibration_intercept_audited=fit.intercept,
        calibration_slope_audited=fit.slope,
        **found,
    )
    return AuditEstimates(measures, audited, robust)


def not_reviewed(reference: str) -> AuditEstimates:
    """What is said of a finding that the review does not have."""
    words = "the finding was not reviewed"
    return AuditEstimates(_nothing(reference, None, words), None, None)


def _refusal(sampled: Sampled, patients: Integers | None) -> str:
    """Why the audited studies are too few, or ""."""
    for number, worth, words in zip(
        sampled.kinds(), sampled.effective(patients), ("with", "without"), strict=True
    ):
        if number < FEW:
            return f"{number} audited studies {words} the finding; expected at least {FEW}"
        if worth < FEW:
            return (
                f"the {number} audited studies {words} the finding are worth {worth:.1f} of equal "
                f"weight and unrelated patients; expected at least {FEW}"
            )
    return ""


def _no_robust(sampled: Sampled, studies: int) -> str:
    """Why there is no doubly robust estimate, or ""."""
    if not sampled.designed:
        return _NO_DESIGN
    stand_for = sampled.stand_for
    error = 4 * float(np.sqrt((sampled.weights**2).sum())) / float(sampled.weights.sum())
    if abs(stand_for / studies - 1) > max(_MOST, error):
        return (
            f"the audited studies stand for some {stand_for:,.0f} studies, not for the {studies:,} "
            "evaluated ones"
        )
    return ""


def _by_labels(
    probs: Floats,
    states: Floats,
    label: Floats,
    working: Working,
    reference: Estimate,
    table: FindingTable | None,
) -> tuple[Measure, str, Measure]:
    """The corrected AUC, why it is withheld, and the prevalence."""
    if table is not None and not table.enough:
        return UNDEFINED, "the observation table has too few events", UNDEFINED
    rates = audited_rates(label, working) if table is None else table_rates(table, states, label)
    found = correct_auc(probs, label, working, reference, rates)
    more = audited_rates(label, working, unseen=_MORE) if table is None else None
    return found.auc, found.withheld, rogan_gladen(label, working, rates, more)


def _design_based_shares(
    flagged: Bools, sampled: Sampled, patients: Integers | None, draws: int
) -> dict[str, Measure]:
    """Shares and prevalence with the intervals of the label audit; undefined with few events."""
    strata = sampled.strata
    sizes = None
    if strata is not None:
        sizes = np.rint(_SCALE * np.bincount(strata, sampled.weights)).astype(np.int64)
    found = estimate(
        flagged[sampled.rows],
        sampled.truth,
        strata=strata,
        sizes=sizes,
        clusters=None if patients is None else patients[sampled.rows],
        draws=draws,
    )
    shares = {}
    for name in (*_SHARES, "prevalence"):
        place = MEASURES.index(name)
        # a prevalence next to 0 is known well: its interval holds with any number of events
        enough = name == "prevalence" or found.events[place] >= FEW
        ends = (found.values[place], found.low[place], found.high[place])
        shares[name] = Measure(*map(float, ends)) if enough and len(sampled.rows) else UNDEFINED
    return shares


def _specificity(spared: Bools, working: Working) -> Measure:
    """The specificity; the interval by melding covers in 86 to 93 % where strata are of labels."""
    no = audited_masses(working)[1]
    found = design_based(share_of_negatives(spared, no), working)
    return share_measure(found, working, working.sampled.effective(working.patients)[1])


def _robust_shares(probs: Floats, threshold: float, working: Working) -> dict[str, Measure]:
    yes = working.outcome
    no = 1 - yes
    sampled = working.sampled
    patients = None if working.patients is None else working.patients[sampled.rows]
    positives, negatives = working.events()

    def rare(among: Bools) -> Measure:
        """The share with the finding, whose cases are mostly not seen."""
        statistic = share_with_finding(among, yes, no)
        more = doubly_robust(statistic, working, unseen=_UNSEEN)
        least = doubly_robust(statistic, working)
        number = effective_number(among[sampled.rows], sampled.weights, patients)
        return share_measure(least, working, number, more=more)

    found = {"prevalence_doubly_robust": rare(np.ones(len(probs), dtype=bool))}
    if np.isnan(threshold):
        return found
    flagged = probs >= threshold
    missed = rare(~flagged)
    of_positives = doubly_robust(share_of_positives(flagged, yes), working)
    of_negatives = doubly_robust(share_of_negatives(~flagged, no), working)
    return found | {
        "sensitivity_doubly_robust": share_measure(of_positives, working, positives),
        "specificity_doubly_robust": share_measure(of_negatives, working, negatives),
        "ppv_doubly_robust": rare(flagged),
        "npv_doubly_robust": Measure(1 - missed.value, 1 - missed.high, 1 - missed.low),
    }


def _nothing(reference: str, sampled: Sampled | None, refused: str) -> AuditMeasures:
    """No estimate, and why."""
    empty: dict[str, Any] = {f.name: UNDEFINED for f in fields(AuditMeasures)}
    counts = (0, 0) if sampled is None else sampled.kinds()
    return AuditMeasures(
        **empty
        | {
            "audited_reference": reference,
            "auc_audited_n": sum(counts),
            "auc_audited_positives": counts[0],
            "auc_audited_events": NAN,
            "auc_audited_refused": refused or None,
            "doubly_robust_refused": refused or None,
            "correction_withheld": refused or None,
        }
    )
