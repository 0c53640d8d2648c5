"""The pages of an evaluation and of a comparison: one html file each, for screen and print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrvision.evaluate.audit_page import audit_part
from cxrvision.evaluate.comparing import ALL as ALL_STUDIES
from cxrvision.evaluate.figures import (
    AMBER,
    BLUE,
    ForestRow,
    calibration_panels,
    forest,
    forest_of,
    precision_panels,
    roc_panels,
)
from cxrvision.evaluate.operating import ESTIMATE

if TYPE_CHECKING:
    from cxrvision.evaluate.comparing import Comparison, Comparisons
    from cxrvision.evaluate.estimates import Measure
    from cxrvision.evaluate.evaluation import Evaluation

_DASH: Final = "–"
_WORDS: Final[Mapping[str, str]] = {"view_position": "view position", "views": "views used"}
_INPUTS: Final = "inputs"
_SHOWN_APART: Final = frozenset({_INPUTS, "notes", "studies"})


def evaluation_page(evaluation: Evaluation, *, title: str = "Evaluation") -> str:
    """A self-contained html page: no script, nothing is loaded from elsewhere.

    Of a path only the file's name is shown.
    """
    measured, cases, audit = evaluation.measured, evaluation.cases, evaluation.audit
    plots = {
        "roc": roc_panels(cases, measured),
        "precision": precision_panels(cases, measured),
        "calibration": calibration_panels(cases, measured),
    }
    lines = forest_of(measured)
    if lines:
        plots["auc"] = forest("auc", lines, mark=0.5, unit="AUC against the labels, 95 % interval")
    return _render(
        "evaluation.html.j2",
        title=title,
        evaluation=evaluation,
        headlines=_headlines(evaluation),
        plots={name: plot for name, plot in plots.items() if plot},
        parts=_parts(evaluation),
        notes=[""] if any(row.note for row in measured.findings.values()) else [],
        audit_part=None if audit is None else audit_part(evaluation, audit),
        few=[n for n, t in evaluation.thresholds.items() if t.rule == ESTIMATE],
        record=_record_rows(evaluation.record()),
    )


def comparison_page(found: Comparisons, *, title: str = "Comparison of models") -> str:
    """The page of a comparison, as `evaluation_page`."""
    parts = []
    for place, row in enumerate(found.comparisons):
        lines = [
            ForestRow(name, cell.difference, _difference_note(cell.difference, cell.p_holm))
            for name, cell in row.findings.items()
        ]
        lines.append(
            ForestRow(
                "macro average",
                row.macro.difference,
                _difference_note(row.macro.difference, row.macro.p),
                True,
            )
        )
        unit = f"AUC of {row.model} minus AUC of {row.reference}"
        parts.append(
            {
                "row": row,
                "heading": _heading(row),
                "name": f"difference-{place}",
                "plot": forest(f"difference-{place}", lines, mark=0.0, unit=unit),
                "verdict": _verdict(row),
            }
        )
    return _render(
        "comparison.html.j2",
        title=title,
        found=found,
        parts=parts,
        kinds={model.name: model.kind for model in found.models},
    )


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=_number, measure=measure_text, share=_share, decimals=decimals, p=p_text, word=_word
    )
    colors = {"blue": BLUE, "amber": AMBER}
    return templates.get_template(template).render(colors=colors, **values)


def _headlines(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(value, what it is), the numbers at the top of the page."""
    measured = evaluation.measured
    averages = measured.averages
    numbers = [(f"{measured.studies:,}", "studies")]
    if evaluation.cases.patients is not None:
        numbers.append((f"{measured.patients:,}", "patients"))
    audit = evaluation.audit
    if audit is not None:
        name = f"mean AUC, audited ({audit.reference})"
        numbers.append((decimals(audit.auc_audited.value), _over(name, audit.auc_audited)))
    of_labels = "mean AUC" if audit is None else "mean AUC against labels"
    numbers += [
        (decimals(averages.macro_auc_labels.value), _over(of_labels, averages.macro_auc_labels)),
        (decimals(averages.macro_auprc.value), _over("mean AUPRC", averages.macro_auprc)),
        (decimals(averages.alerts_per_100, 0), "flags in 100 studies, all findings"),
    ]
    return numbers


def _over(name: str, measure: Measure) -> str:
    if not math.isfinite(measure.low):
        return name
    return f"{name} [{measure.low:.3f}, {measure.high:.3f}]"


def _parts(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The tables of AUC by the values of a column."""
    by: dict[str, list[Any]] = {}
    for subset in evaluation.subsets:
        by.setdefault(subset.by, []).append(subset)
    return [{"by": name, "subsets": subsets} for name, subsets in by.items()]


def _heading(row: Comparison) -> str:
    only = "" if row.subset == ALL_STUDIES else f", studies with {row.subset} alone"
    return f"{row.model} against {row.reference}{only}"


def _verdict(row: Comparison) -> str:
    """How many findings differ, in a sentence."""
    decided = [cell for cell in row.findings.values() if cell.p_holm < 0.05]
    above = sum(cell.difference.value > 0 for cell in decided)
    return (
        f"After Holm's adjustment {row.model} is above in {above} and below in "
        f"{len(decided) - above} of {len(row.findings)} findings."
    )


def _difference_note(measure: Measure, p: float) -> str:
    return (
        f"{_signed(measure.value)} [{_signed(measure.low)}, {_signed(measure.high)}]  p {p_text(p)}"
    )


def _record_rows(record: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(what, lines) of how it was made."""
    rows = [
        (key.replace("_", " "), _lines(value))
        for key, value in record.items()
        if key not in _SHOWN_APART
    ]
    files = [
        f"{Path(file['path']).name}, {file['bytes']:,} bytes, SHA-256 {file['sha256']}"
        for file in record[_INPUTS]
    ]
    return [row for row in [*rows, (_INPUTS, files)] if row[1]]


def _lines(value: object) -> list[str]:
    """A value of the record as text; empty ones give no line."""
    if isinstance(value, Mapping):
        parts = ((key.replace("_", " "), ", ".join(_lines(item))) for key, item in value.items())
        return [f"{key}: {Path(text).name if '/' in text else text}" for key, text in parts if text]
    if isinstance(value, Sequence) and not isinstance(value, str):
        joined = ", ".join(text for item in value for text in _lines(item))
        return [joined] if joined else []
    return [] if value is None or value == "" else [str(value)]


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _number(value: int) -> str:
    return f"{value:,}"


def decimals(value: float, digits: int = 3) -> str:
    """A number, or a dash where it is not defined."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else _DASH


def _rounded(value: float, digits: int) -> str:
    """A number without a sign where it is rounded to 0."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else _DASH


def measure_text(measure: Measure, digits: int = 3) -> str:
    """A value with its interval."""
    if not math.isfinite(measure.value):
        return _DASH
    if not math.isfinite(measure.low):
        return _rounded(measure.value, digits).replace("-", "−")
    value, low, high = (_rounded(x, digits) for x in measure)
    return f"{value} [{low}, {high}]".replace("-", "−")


def _share(measure: Measure) -> str:
    """A share with its interval, in percent."""
    if not math.isfinite(measure.value):
        return _DASH
    value, low, high = (100 * x for x in measure)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def p_text(value: float) -> str:
    """A p value; what is below .001 is not told apart."""
    if not math.isfinite(value):
        return _DASH
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
