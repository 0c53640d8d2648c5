"""The sentences of an audit's report: what was compared, what came out, what it does not say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cxrlabel.audit.deciding import FALSE_POSITIVE, MISSED, UNDECIDED, UNKNOWN
from cxrlabel.audit.intervals import MEASURES
from cxrlabel.audit.lessons import GOOD, POOR, USABLE, by_verdict
from cxrlabel.audit.lessons import UNKNOWN as NOT_KNOWN
from cxrlabel.audit.reviews import ADJUDICATED
from cxrlabel.findings import NO_FINDING

if TYPE_CHECKING:
    import pandas as pd

    from cxrlabel.audit.analysis import Audit
    from cxrlabel.audit.error_sources import SourceRow
    from cxrlabel.audit.estimates import Estimate

SIGNIFICANT: Final = 0.05
_TOP: Final = 3
_BLANKS: Final = {
    "absent": "A finding that a reviewer left blank counts as absent",
    "open": "A finding that a reviewer left blank is left out",
}
_UNCERTAIN: Final = {
    "open": "one called uncertain is left out",
    "positive": "one called uncertain counts as present",
    "negative": "one called uncertain counts as absent",
}
_RULES: Final = {
    "majority": "what more than half of them say; ties are left out",
    "any": "present if any of them says so",
    "all": "present if all of them say so",
    "first": "what the first row of the file says",
}


def percent(share: float) -> str:
    """A share in [0, 1] as "87%"; with a digit where it is near 0 or 1."""
    if math.isnan(share):
        return "–"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    near = 0 < share < 0.0995 or 0.9005 < share < 1
    return f"{share:.1%}" if near else f"{share:.0%}"


def interval(value: float, low: float, high: float) -> str:
    """`0.874 [0.810, 0.921]`; a dash where it is not defined."""
    return "–" if math.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def p_value(p: float) -> str:
    """`p = 0.03`, `p < 0.01`; "" where nothing was tested."""
    if math.isnan(p):
        return ""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """`1 study`, `2 studies`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def studies(n: int) -> str:
    """`1 study`, `2,000 studies`."""
    return counted(n, "study", "studies")


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def left_out(audit: Audit) -> list[str]:
    """What of the files is not in the numbers, a line each."""
    compared, reviews = audit.comparison, audit.material.reviews
    lines = [
        f"{studies(n)} {what}"
        for n, what in (
            (compared.labeled_only, "labeled but not reviewed"),
            (compared.reviewed_only, "reviewed but not labeled"),
            (compared.outside_sample, "reviewed but not in the sample"),
            (compared.not_reviewed, "of the sample not compared: the others stand for them"),
        )
        if n
    ]
    lines += [
        f"{counted(n, 'row')} of the review {what}"
        for n, what in (
            (reviews.not_evaluable, "not evaluable"),
            (reviews.other_reference, "of the other reference"),
        )
        if n
    ]
    if compared.review.ties:
        lines.append(f"{counted(compared.review.ties, 'truth')} left open by a tie of reviewers")
    for names, what in (
        (compared.label_findings, "labeled"),
        (compared.review_findings, "reviewed"),
    ):
        if names:
            lines.append(f"only {what}, not compared: {', '.join(names)}")
    return lines + _missing(audit)


def _missing(audit: Audit) -> list[str]:
    """What mentions and reports lack."""
    lines = []
    lost = sum(label.deciding.reason == UNKNOWN for label in audit.labels)
    if lost:
        lines.append(
            f"{counted(lost, 'label')} without a mention that says so (filled from a child, or "
            "mentions of another run)"
        )
    reports = audit.material.reports
    if reports is not None:
        missing = len(audit.comparison.labels) - len(reports.texts)
        if missing > 0:
            lines.append(f"{studies(missing)} without a report")
    return lines


def how_compared(audit: Audit) -> list[tuple[str, str]]:
    """(what, how), the rows of the table at the top."""
    compared, review, choices = audit.comparison, audit.comparison.review, audit.choices
    looked = "the report" if compared.reference == "report" else "the image"
    named = [name for name in review.reviewers if name]
    who = f"{len(named)} reviewers ({', '.join(named)})" if len(named) > 1 else "one reviewer"
    truth = f"{who}, who looked at {looked}"
    if review.several:
        truth += f"; {studies(review.several)} read by several: {_RULES[review.rule]}"
    decided = audit.material.reviews.states.index.get_level_values(1) == ADJUDICATED
    if decided.any():
        truth += f"; {studies(int(decided.sum()))} decided by adjudication"
    rows = [
        ("Studies", f"{studies(len(compared.labels))} that were labeled and reviewed"),
        ("Drawn as", compared.design),
        ("Truth", truth),
        ("Read as", f"{_BLANKS[choices.blank]}, {_UNCERTAIN[choices.uncertain]}."),
        ("Patients", _patients(audit)),
    ]
    if choices.drop_ambiguous:
        rows.append(("Ambiguous", "Cells that the review marks as ambiguous are left out."))
    return [*rows, ("Left out", "; ".join(left_out(audit)) or "nothing")]


def _patients(audit: Audit) -> str:
    patients = audit.comparison.patients
    if patients is None:
        return "not given: studies count as unrelated"
    return f"{len(set(patients.tolist())):,}; intervals allow for studies of one patient"


def summary(audit: Audit) -> list[str]:
    """The report in some sentences."""
    lines = [_overall(audit.overall["negative"]), *_extremes(audit.metrics), _uncertain(audit)]
    lines += [_gathering(audit.sources), *_groups(audit.sources), _training(audit)]
    return [line for line in lines if line]


def _overall(found: Estimate) -> str:
    ppv, sensitivity = (_range(found, name) for name in ("ppv", "sensitivity"))
    tp, fp, fn, _ = (int(count) for count in found.counts)
    return (
        f"Over all findings, {ppv} of the positive labels are right ({tp:,} of {tp + fp:,} "
        f"reviewed), and {sensitivity} of what is there is labeled ({tp:,} of {tp + fn:,}). "
        "An uncertain label counts as not labeled here."
    )


def _range(found: Estimate, measure: str) -> str:
    place = MEASURES.index(measure)
    if math.isnan(found.values[place]):
        return "an unknown share"
    low, high = percent(found.low[place]), percent(found.high[place])
    return f"{percent(found.values[place])} ({low} to {high})"


def _extremes(metrics: pd.DataFrame) -> list[str]:
    """Which findings have the most errors."""
    rows = metrics[(metrics["uncertain_as"] == "negative") & (metrics["finding"] != NO_FINDING)]
    lines = []
    for cells, what in (("fp", "False positives"), ("fn", "Missed findings")):
        total = int(rows[cells].sum())
        top = rows[rows[cells] > 0].nlargest(_TOP, cells)
        if total:
            names = [f"{row['finding']} ({row[cells]:,})" for _, row in top.iterrows()]
            share = f" of {total:,}" if total > int(top[cells].sum()) else ""
            lines.append(f"{what} are mostly of {listed(names)}{share}.")
    return lines


def _uncertain(audit: Audit) -> str:
    """What uncertain labels turn out to be."""
    labels = [x for x in audit.labels if x.kind == UNDECIDED]
    if not labels:
        return ""
    weight = sum(label.weight for label in labels)
    share = sum(label.weight for label in labels if label.present) / weight
    return (
        f"Of {counted(len(labels), 'uncertain label')} {percent(share)} are present in truth; the "
        "share differs by finding."
    )


def _gathering(rows: Sequence[SourceRow]) -> str:
    """Which sections, cues and rules stand out."""
    tested = [row for row in rows if not row.grouped and not math.isnan(row.p)]
    if not tested:
        return ""
    clear = sorted((row for row in tested if row.p < SIGNIFICANT), key=lambda row: row.p)
    if not clear:
        return (
            f"Errors gather in none of the {len(tested)} sections, cues, rules and reasons that "
            "were tested, beyond what chance would do."
        )
    names = [
        f"the {row.source} “{row.value}” ({row.cases} of {row.n} "
        f"{'wrong' if row.kind == FALSE_POSITIVE else 'hide a finding'})"
        for row in clear[:_TOP]
    ]
    more = f" and {len(clear) - _TOP} more" if len(clear) > _TOP else ""
    return f"Errors gather, beyond chance and the mix of findings, in {listed(names)}{more}."


def _groups(rows: Sequence[SourceRow]) -> list[str]:
    """Whether groups of studies differ."""
    tests = {(row.source, row.kind): row.p for row in rows if row.grouped}
    lines = []
    for name in dict.fromkeys(name for name, _ in tests):
        parts = [
            f"{what} ({p_value(tests[name, kind])})"
            for kind, what in ((FALSE_POSITIVE, "false positives"), (MISSED, "misses"))
            if tests[name, kind] < SIGNIFICANT
        ]
        lines.append(
            f"By {name}, {listed(parts)} differ."
            if parts
            else f"By {name}, no difference in errors is shown."
        )
    return lines


def _training(audit: Audit) -> str:
    found = by_verdict(audit.lessons)
    parts = [
        f"{what}: {', '.join(found[verdict])}"
        for verdict, what in (
            (GOOD, "good enough to train on as they are"),
            (USABLE, "usable with a correction for label noise"),
            (POOR, "not good enough"),
            (NOT_KNOWN, "too poorly known to say"),
        )
        if found[verdict]
    ]
    return f"For training, {'; '.join(parts)}." if parts else ""


def limits(audit: Audit) -> list[str]:
    """What the numbers do not say."""
    compared = audit.comparison
    lines = [
        "The truth is what reviewers wrote. Their errors count as the labeler's; agreement among "
        "reviewers, where several read, shows how large these are.",
        "The reference is the report: nothing here says whether it is right about the image."
        if compared.reference == "report"
        else "The reference is the image: what the report does not say counts as missed.",
    ]
    if compared.strata is None:
        lines.append(
            "Studies count as a random sample of those that the labels are for. Where they were "
            "chosen otherwise, give the sample's file (--sample)."
        )
    else:
        lines.append(
            "The measures are for the studies that the sample was drawn from, and their intervals "
            "are narrow where nearly all of a stratum were reviewed. P(truth | label) and J are "
            "for other studies like them."
        )
    if compared.not_reviewed:
        lines.append(
            "The reviewed part of the sample stands for all of it, which is right where it is a "
            "random part, and wrong where difficult studies were left out."
        )
    if compared.patients is None:
        lines.append(
            "Studies of one patient err alike; without --patient intervals are too narrow where "
            "patients have several studies."
        )
    return [
        *lines,
        "Intervals are 95 % ones, each for itself: of twenty findings one may lie outside its own. "
        "Below five effective events an estimate means little; these are marked.",
        "P(truth | label) moves with prevalence. For another hospital take P(label | truth) of "
        "noise.json with its own prevalence.",
        "Tests of sections, cues and rules take the labels of one study as unrelated. All p-values "
        "are adjusted for the number of tests (Holm), those of decisions and of groups apart.",
        "That AUC_noisy − ½ = J (AUC − ½) holds where label errors do not depend on the image "
        "given the truth: faint findings that are both missed and hard to see break it.",
    ]
