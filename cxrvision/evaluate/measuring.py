"""All measures of a finding on some studies, and their macro and micro averages.

Macro is the plain mean over the findings; micro takes every label of every finding as a study of
its own, so that common findings count more. The intervals of both know that the labels are of the
same patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrvision.evaluate.auc import auc_interval, estimate_auc, measure_auc
from cxrvision.evaluate.calibration import measure_calibration
from cxrvision.evaluate.curves import estimate_average_precision, measure_average_precision
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    mean_of,
    number_of_patients,
    share_interval,
)
from cxrvision.evaluate.operating import measure_operating_point, measure_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrvision.evaluate.cases import Cases
    from cxrvision.evaluate.estimates import Bools, Floats, Integers
    from cxrvision.evaluate.operating import Threshold

FEW: Final = 5  # positives or negatives below which an estimate means little


@dataclass(frozen=True, slots=True)
class FindingMeasures:
    """The measures of one finding; NaN where one is not defined."""

    n: int  # studies that have a label
    positives: int
    patients: int
    prevalence: float
    auc_labels: Measure
    auc_labels_se: float  # of DeLong, or of Obuchowski where patients have several studies
    auprc: Measure
    brier: Measure
    brier_skill: float
    calibration_intercept: Measure
    calibration_slope: Measure
    ece: float
    threshold: float
    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    npv: Measure
    flag_rate: Measure
    alerts_per_100: float
    false_alerts_per_100: float
    note: str  # what to be warned of, or ""


@dataclass(frozen=True, slots=True)
class Averages:
    """Over the findings that have both kinds of study."""

    findings: int
    macro_auc_labels: Measure
    macro_auprc: Measure
    macro_brier: float
    micro_n: int  # labels
    micro_positives: int
    micro_auc_labels: Measure
    micro_auprc: Measure
    micro_brier: float
    micro_sensitivity: Measure  # each finding at its own threshold
    micro_specificity: Measure
    micro_ppv: Measure
    micro_npv: Measure
    alerts_per_100: float  # flags of all findings in 100 studies
    flagged_studies: Measure  # share of the studies with any flag


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of some studies."""

    studies: int
    patients: int
    findings: Mapping[str, FindingMeasures]
    averages: Averages


def measure_cases(cases: Cases, thresholds: Mapping[str, Threshold]) -> Measured:
    """Measure every finding and the averages.

    Args:
        thresholds: finding -> threshold; without one the finding has no operating point.
    """
    rows = {}
    for column, finding in enumerate(cases.findings):
        inside = cases.labelled(column)
        chosen = thresholds.get(finding)
        rows[finding] = measure_finding(
            cases.probs[inside, column],
            cases.truth[inside, column] == 1,
            patients=None if cases.patients is None else cases.patients[inside],
            threshold=NAN if chosen is None else chosen.value,
        )
    averages = _averages(cases, thresholds)
    return Measured(len(cases.ids), cases.number_of_patients, rows, averages)


def measure_finding(
    probs: Floats, positive: Bools, *, patients: Integers | None = None, threshold: float = NAN
) -> FindingMeasures:
    """Measure one finding in the studies that have its label.

    Args:
        probs: [n] in [0, 1].
        positive: [n] whether each study has the finding.
        patients: [n] code of each study's patient; None: all studies are unrelated.
        threshold: a study is flagged where its probability is at least that; NaN: none.
    """
    n, positives = len(probs), int(positive.sum())
    return FindingMeasures(
        n=n,
        positives=positives,
        patients=number_of_patients(np.ones_like(positive), patients),
        prevalence=positives / n if n else NAN,
        note=_note(n, positives),
        **_ranking(probs, positive, patients),
        **_calibration(probs, positive, patients),
        **_operation(probs, positive, threshold, patients),
    )


def _note(n: int, positives: int) -> str:
    if not n:
        return "no label"
    if not positives:
        return "no positive label"
    if positives == n:
        return "no negative label; --blank zeros counts blank ones as negative"
    if min(positives, n - positives) < FEW:
        kind = "positive" if positives < FEW else "negative"
        return f"fewer than {FEW} {kind} labels"
    return ""


def _ranking(probs: Floats, positive: Bools, patients: Integers | None) -> dict[str, Any]:
    if not positive.any() or positive.all():
        return {"auc_labels": UNDEFINED, "auc_labels_se": NAN, "auprc": UNDEFINED}
    estimate = estimate_auc(probs, positive, patients=patients)
    return {
        "auc_labels": auc_interval(estimate, positive, patients=patients),
        "auc_labels_se": float(np.sqrt(estimate.variance(patients))),
        "auprc": measure_average_precision(probs, positive, patients=patients),
    }


def _calibration(probs: Floats, positive: Bools, patients: Integers | None) -> dict[str, Any]:
    if not positive.any() or positive.all():
        brier = float(((probs - positive) ** 2).mean()) if len(probs) else NAN
        return {
            "brier": Measure(brier, NAN, NAN),
            "brier_skill": NAN,
            "calibration_intercept": UNDEFINED,
            "calibration_slope": UNDEFINED,
            "ece": NAN,
        }
    measured = measure_calibration(probs, positive, patients=patients)
    return {
        "brier": measured.brier,
        "brier_skill": measured.brier_skill,
        "calibration_intercept": measured.intercept,
        "calibration_slope": measured.slope,
        "ece": measured.ece,
    }


def _operation(
    probs: Floats, positive: Bools, threshold: float, patients: Integers | None
) -> dict[str, Any]:
    shares = ("sensitivity", "specificity", "ppv", "npv", "flag_rate")
    rates = ("alerts_per_100", "false_alerts_per_100")
    if np.isnan(threshold) or not len(probs):
        return (
            {"threshold": threshold} | dict.fromkeys(shares, UNDEFINED) | dict.fromkeys(rates, NAN)
        )
    point = measure_operating_point(probs, positive, threshold, patients=patients)
    return {"threshold": threshold} | {name: getattr(point, name) for name in (*shares, *rates)}


def _averages(cases: Cases, thresholds: Mapping[str, Threshold]) -> Averages:
    clusters = cases.clusters
    aucs: list[Estimate] = []
    precisions: list[Estimate] = []
    briers: list[float] = []
    for column in range(len(cases.findings)):
        inside = cases.labelled(column)
        probs, positive = cases.probs[inside, column], cases.truth[inside, column] == 1
        if not positive.any() or positive.all():
            continue
        mine = clusters[inside]
        aucs.append(_spread_out(estimate_auc(probs, positive, patients=mine), inside))
        found = estimate_average_precision(probs, positive, patients=mine)
        precisions.append(_spread_out(found, inside))
        briers.append(float(((probs - positive) ** 2).mean()))
    micro = _micro(cases, thresholds)
    return Averages(
        findings=len(aucs),
        macro_auc_labels=_macro(aucs, clusters),
        macro_auprc=_macro(precisions, clusters),
        macro_brier=float(np.mean(briers)) if briers else NAN,
        **micro,
    )


def _spread_out(estimate: Estimate, inside: Bools) -> Estimate:
    """The estimate with influence values for all studies, 0 for those that have no label."""
    influence = np.zeros(len(inside))
    influence[inside] = estimate.influence
    return Estimate(estimate.value, influence, estimate.extra)


def _macro(estimates: list[Estimate], clusters: Integers) -> Measure:
    if not estimates:
        return UNDEFINED
    # an average of exactly 0 or 1 gets no interval of its own
    return share_interval(mean_of(estimates), patients=clusters)


def _micro(cases: Cases, thresholds: Mapping[str, Threshold]) -> dict[str, Any]:
    limits = np.array([t.value if (t := thresholds.get(f)) else np.nan for f in cases.findings])
    labelled = ~np.isnan(cases.truth)
    probs, positive = cases.probs[labelled], cases.truth[labelled] == 1
    every_cluster = np.broadcast_to(cases.clusters[:, None], labelled.shape)
    clusters = every_cluster[labelled]
    decided = labelled & ~np.isnan(limits)
    flags = decided & (cases.probs >= limits)
    flag, present, of = flags[decided], cases.truth[decided] == 1, every_cluster[decided]
    both = positive.any() and not positive.all()

    def share(part: Bools, whole: Bools) -> Measure:
        return measure_share(part, whole, of)

    everybody = decided.any(axis=1)
    return {
        "micro_n": len(probs),
        "micro_positives": int(positive.sum()),
        "micro_auc_labels": measure_auc(probs, positive, patients=clusters) if both else UNDEFINED,
        "micro_auprc": measure_average_precision(probs, positive, patients=clusters)
        if both
        else UNDEFINED,
        "micro_brier": float(((probs - positive) ** 2).mean()) if len(probs) else NAN,
        "micro_sensitivity": share(flag, present),
        "micro_specificity": share(~flag, ~present),
        "micro_ppv": share(present, flag),
        "micro_npv": share(~present, ~flag),
        "alerts_per_100": 100 * float(flags.sum()) / len(cases.ids) if everybody.any() else NAN,
        "flagged_studies": measure_share(flags.any(axis=1), everybody, cases.clusters),
    }
