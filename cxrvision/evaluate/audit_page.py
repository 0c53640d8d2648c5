"""The part of an evaluation's page that knows label error: a forest plot and what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cxrvision.evaluate.auditing import REFERENCES
from cxrvision.evaluate.figures import AMBER, BLUE, MUTED, PALE, ForestRow, forest
from cxrvision.evaluate.operating import AUDITED

if TYPE_CHECKING:
    from cxrvision.evaluate.auditing import Audit
    from cxrvision.evaluate.estimates import Measure
    from cxrvision.evaluate.evaluation import Evaluation

KINDS: Final[Mapping[str, str]] = {
    "audited": (
        "The AUC on the studies that somebody reviewed, each counted as many times as the studies "
        "it stands for. It assumes nothing about the labels, and its interval is as wide as the "
        "audit is small."
    ),
    "doubly robust": (
        "Every evaluated study counts, by what its label and score say of the truth, and the "
        "reviewed ones put right what that gets wrong. It is valid where the audited AUC is, and "
        "mostly has the narrower interval."
    ),
    "labels": (
        "The AUC against the labels as they are. Its interval knows nothing of their errors, which "
        "can make it too low or too high."
    ),
    "corrected": (
        "What the AUC against the labels would be without their errors, if these did not depend on "
        "the image. It is shown only where the reviewed studies do not contradict that, else the "
        "table says why not."
    ),
}
_COLORS: Final = {"audited": BLUE, "doubly robust": PALE, "labels": AMBER, "corrected": MUTED}


def audit_part(evaluation: Evaluation, audit: Audit) -> dict[str, Any]:
    """What the template of the page needs."""
    chosen = [name for name, row in evaluation.thresholds.items() if row.on == AUDITED]
    return {
        "audit": audit,
        "reference_note": REFERENCES[audit.reference],
        "kinds": KINDS,
        "plot": _plot(evaluation, audit),
        "chosen": chosen,
        "withheld": {
            name: row.auc_audited_refused or row.correction_withheld
            for name, row in audit.findings.items()
            if row.auc_audited_refused or row.correction_withheld
        },
        "no_robust": _no_robust(audit),
    }


def _no_robust(audit: Audit) -> str:
    """The first reason that is not that of a refused audited AUC too."""
    for row in audit.findings.values():
        if row.doubly_robust_refused and not row.auc_audited_refused:
            return row.doubly_robust_refused
    return ""


def _plot(evaluation: Evaluation, audit: Audit) -> str:
    lines = []
    for finding, row in audit.findings.items():
        labels = evaluation.measured.findings[finding].auc_labels
        measures = {
            "audited": row.auc_audited,
            "doubly robust": row.auc_doubly_robust,
            "labels": labels,
            "corrected": row.auc_corrected,
        }
        if not any(math.isfinite(m.value) for m in measures.values()):
            continue
        for place, (kind, measure) in enumerate(measures.items()):
            name = f"{finding} · {kind}" if not place else kind
            lines.append(ForestRow(name, measure, _note(kind, measure), color=_COLORS[kind]))
    if not lines:
        return ""
    unit = f"AUC, 95 % interval; reference: {audit.reference}"
    return forest("audit", lines, mark=0.5, unit=unit)


def _note(kind: str, measure: Measure) -> str:
    if not math.isfinite(measure.value):
        return "withheld" if kind == "corrected" else "–"
    ends = f" [{measure.low:.3f}, {measure.high:.3f}]" if math.isfinite(measure.low) else ""
    return f"{measure.value:.3f}{ends}"
