"""Evaluations and comparisons as files: metrics.csv, metrics.json, comparison.csv, comparison.json.

docs/evaluation.md describes every column and key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_type_hints

from cxrlabel.writers import atomic_path, open_rows
from cxrvision.evaluate.audit_measures import AuditMeasures
from cxrvision.evaluate.auditing import REFERENCES, Audit
from cxrvision.evaluate.cases import ALL
from cxrvision.evaluate.comparing import Comparison, Comparisons, Difference
from cxrvision.evaluate.estimates import Measure
from cxrvision.evaluate.evaluation import Evaluation
from cxrvision.evaluate.measuring import Averages, FindingMeasures, Measured

PAIRED: Final = "paired views"
_KEYS: Final = {"finding": str, "by": str, "subset": str}


def metrics_record(evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json has; NaN is None."""
    thresholds = evaluation.thresholds
    whole = _measured(evaluation.measured)
    for name, row in whole["findings"].items():
        chosen = thresholds.get(name)
        row["threshold_rule"] = None if chosen is None else chosen.rule
        row["threshold_positives"] = None if chosen is None else chosen.positives
        if evaluation.audit is not None:
            row["threshold_on"] = None if chosen is None else chosen.on
            row |= flat(evaluation.audit.findings[name])
    subsets: dict[str, dict[str, Any]] = {}
    for part in evaluation.subsets:
        subsets.setdefault(part.by, {})[part.value] = _measured(part.measured)
    views = evaluation.views
    return {
        "version": version("cxr"),
        **evaluation.record(),
        **({} if evaluation.audit is None else {"audit": _audit(evaluation.audit)}),
        **whole,
        "subsets": subsets,
        "views": None
        if views is None
        else {
            "measured": {name: _measured(some) for name, some in views.measured.items()},
            "differences": [
                {
                    "views": row.views,
                    "reference": row.reference,
                    **_differences(row.findings, row.macro),
                }
                for row in views.differences
            ],
        },
        "confounding": {
            row.by: {
                "values": list(row.values),
                "findings": {name: flat(cell) for name, cell in row.findings.items()},
            }
            for row in evaluation.confounding
        },
    }


def comparison_record(found: Comparisons) -> dict[str, Any]:
    """What comparison.json has; NaN is None."""
    return {
        "version": version("cxr"),
        "models": [
            {"name": m.name, "kind": m.kind, "paths": [str(p) for p in m.paths]}
            for m in found.models
        ],
        "split": found.split or ALL,
        "studies": found.studies,
        "left_out": dict(found.left_out),
        "comparisons": [
            {
                "model": row.model,
                "reference": row.reference,
                "subset": row.subset,
                "studies": row.studies,
                "patients": row.patients,
                **_differences(row.findings, row.macro),
            }
            for row in found.comparisons
        ],
    }


def flat(record: Any) -> dict[str, Any]:
    """The fields of a dataclass; a measure becomes its value and `_ci`, NaN becomes None."""
    row: dict[str, Any] = {}
    for name in (f.name for f in fields(record)):
        value = getattr(record, name)
        if isinstance(value, Measure):
            row[name] = _number(value.value)
            interval = [_number(value.low), _number(value.high)]
            row[f"{name}_ci"] = None if None in interval else interval
        else:
            row[name] = _number(value)
    return row


def write_metrics(evaluation: Evaluation, path: Path, *, force: bool = False) -> None:
    """Write metrics.csv: one row for each finding and subset."""
    audit = evaluation.audit
    own = {} if audit is None else _columns(AuditMeasures)
    columns = _KEYS | _columns(FindingMeasures) | own

    def audited(name: str, measured: Measured) -> list[Any]:
        """The audit is of all studies."""
        if audit is None or measured is not evaluation.measured:
            return [None] * len(own)
        return _cells(audit.findings[name], AuditMeasures)

    with open_rows(path, columns, force=force) as table:
        for by, value, measured in _parts(evaluation):
            table.write(
                [
                    (name, by, value, *_cells(row, FindingMeasures), *audited(name, measured))
                    for name, row in measured.findings.items()
                ]
            )


def write_comparison(found: Comparisons, path: Path, *, force: bool = False) -> None:
    """Write comparison.csv: one row for each finding of each comparison, and the average."""
    columns = {"model": str, "reference": str, "subset": str, "finding": str}
    with open_rows(path, columns | _columns(Difference), force=force) as table:
        for row in found.comparisons:
            named = [*row.findings.items(), ("macro average", row.macro)]
            keys = _keys_of(row)
            table.write([(*keys, name, *_cells(cell, Difference)) for name, cell in named])


def write_json(record: Mapping[str, Any], path: Path, *, force: bool = False) -> None:
    """Write a record as JSON."""
    with atomic_path(path, force=force) as temporary:
        text = json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _keys_of(row: Comparison) -> tuple[str, str, str]:
    return row.model, row.reference, row.subset


def _parts(evaluation: Evaluation) -> list[tuple[str, str, Measured]]:
    parts = [("", ALL, evaluation.measured)]
    parts += [(part.by, part.value, part.measured) for part in evaluation.subsets]
    if evaluation.views is not None:
        parts += [(PAIRED, name, some) for name, some in evaluation.views.measured.items()]
    return parts


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "n": measured.studies,
        "patients": measured.patients,
        "findings": {name: flat(row) for name, row in measured.findings.items()},
        **_averages(measured.averages),
    }


def _audit(audit: Audit) -> dict[str, Any]:
    averages = {"auc_audited": audit.auc_audited, "auc_doubly_robust": audit.auc_doubly_robust}
    macro: dict[str, Any] = {"findings": audit.averaged}
    for name, measure in averages.items():
        value, *interval = map(_number, measure)
        macro |= {name: value, f"{name}_ci": None if None in interval else interval}
    return {
        "reference": audit.reference,
        "reference_note": REFERENCES[audit.reference],
        "design": audit.files.audited.design,
        "studies": audit.studies,
        "outside_sample": audit.files.audited.outside_sample,
        "rates_from": audit.rates_from,
        "macro": macro,
    }


def _averages(averages: Averages) -> dict[str, Any]:
    """Macro and micro, whose keys are those of a finding, and what is of all findings."""
    row = flat(averages)
    split: dict[str, dict[str, Any]] = {"macro": {}, "micro": {}, "all_findings": {}}
    for key, value in row.items():
        kind, _, rest = key.partition("_")
        if kind in ("macro", "micro"):
            split[kind][rest] = value
        else:
            split["macro" if key == "findings" else "all_findings"][key] = value
    return split


def _differences(rows: Mapping[str, Difference], macro: Difference) -> dict[str, Any]:
    return {"findings": {name: flat(row) for name, row in rows.items()}, "macro": flat(macro)}


def _columns(kind: type[Any]) -> dict[str, type]:
    """Columns of a csv file for the fields of a dataclass."""
    columns: dict[str, type] = {}
    for name, hint in get_type_hints(kind).items():
        if hint is Measure:
            columns |= dict.fromkeys((name, f"{name}_lo", f"{name}_hi"), float)
        else:
            columns[name] = str if hint == str | None else hint
    return columns


def _cells(record: Any, kind: type[Any]) -> list[Any]:
    cells: list[Any] = []
    for name in get_type_hints(kind):
        value = getattr(record, name)
        cells += [_number(v) for v in value] if isinstance(value, Measure) else [_number(value)]
    return cells


def _number(value: Any) -> Any:
    """A value that JSON and csv can hold: None for NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
