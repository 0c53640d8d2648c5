"""The page of the demo: one html file that tells what was done and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrvision.demo.chain import PHANTOMS, predicted, prevalence
from cxrvision.demo.figures import (
    COLORS,
    Marks,
    error_figure,
    panels,
    prevalence_figure,
)
from cxrvision.demo.story import coverage, error_rows, make_cards, read_tables
from cxrvision.evaluate.estimates import UNDEFINED
from cxrvision.evaluate.figures import AMBER, BLUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxrvision.demo.chain import Model
    from cxrvision.demo.story import ErrorRow
    from cxrvision.evaluate.estimates import Measure

_TEMPLATES: Final = Path(__file__).parent / "templates"
_LAYOUT: Final = Path(__file__).parent.parent / "evaluate" / "templates"
_LABELS_GAP: Final = 0.14  # of a row's height between two models


@dataclass(frozen=True, slots=True)
class Result:
    """A finding of a model on the test studies."""

    finding: str
    predicted: float
    prevalence: float
    auc: Measure  # against the truth
    brier: float  # against the truth


def demo_page(out: Path, models: Sequence[Model]) -> str:
    """The page as html: no script, nothing is loaded from elsewhere.

    Args:
        out: the demo's folder, with all that its two halves wrote.
        models: in the order of `WAYS`.

    Raises:
        InputError: a file of the folder cannot be read.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    tables = read_tables(out, out / PHANTOMS)
    findings = models[0].truth.cases.findings
    errors = error_rows(out / "audit" / "noise.json", tables, findings)
    results = [_results(model) for model in models]
    templates = Environment(
        loader=FileSystemLoader([_TEMPLATES, _LAYOUT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=_percent, number=lambda n: f"{n:,}", decimals=_decimals)
    plots = {
        "errors": error_figure(errors),
        "auc": _auc_figure(models),
        "prevalence": prevalence_figure(
            findings,
            [row.prevalence for row in results[0]],
            [
                (model.way.name, [row.predicted for row in rows])
                for model, rows in zip(models, results, strict=True)
            ],
        ),
    }
    return templates.get_template("demo.html.j2").render(
        title="From reports to a model that knows its label error",
        colors={"blue": BLUE, "amber": AMBER},
        headlines=_headlines(errors, models),
        models=[
            {"model": model, "color": color, "predicted": predicted(model)}
            for model, color in zip(models, COLORS, strict=True)
        ],
        prevalence=prevalence(models[0]),
        studies=len(tables.truth),
        reviewed=_reviewed(out),
        cards=make_cards(tables, models),
        errors=errors,
        held=coverage(errors),
        results=list(zip(*results, strict=True)),  # by finding, then by model
        audited=_audited(models[0]),
        plots=plots,
        missed=_missed(tables.states, tables.truth, findings),
    )


def _reviewed(out: Path) -> int:
    from cxrlabel.audit.observation import read_observation

    return read_observation(out / "audit" / "noise.json").n


def _audited(model: Model) -> int:
    """Audited studies among the test studies."""
    return 0 if model.found.audit is None else model.found.audit.studies


def _results(model: Model) -> list[Result]:
    cases, measured = model.truth.cases, model.truth.measured
    return [
        Result(
            name,
            float(cases.probs[:, place].mean()),
            float(cases.truth[:, place].mean()),
            measured.findings[name].auc_labels,
            measured.findings[name].brier.value,
        )
        for place, name in enumerate(cases.findings)
    ]


def _headlines(errors: Sequence[ErrorRow], models: Sequence[Model]) -> list[tuple[str, str]]:
    """(value, what it is)."""
    sensitivity = float(np.mean([row.sensitivity for row in errors]))
    true = prevalence(models[0])
    return [
        (_percent(sensitivity), "of what the images show is a positive label, by the audit"),
        *(
            (_percent(predicted(model)), f"positive on average, says the model: {model.way.name}")
            for model in models
        ),
        (_percent(true), "are, in truth"),
    ]


def _missed(states: Any, truth: Any, findings: Sequence[str]) -> dict[str, float]:
    """What became of the findings that are there, as shares of them."""
    cells = states[list(findings)].to_numpy()[truth[list(findings)].to_numpy() == 1]
    return {
        state: float((cells == state).mean())
        for state in ("positive", "uncertain", "negative", "blank")
    }


def _auc_figure(models: Sequence[Model]) -> str:
    """AUC of both models by what it is held against."""
    findings = models[0].truth.cases.findings
    known = [
        (title, [[read(model, name) for name in findings] for model in models])
        for title, read in _REFERENCES.items()
    ]
    marks = [
        Marks(
            model.way.name,
            [rows[place] for _, rows in known],
            color,
            offset=_LABELS_GAP * (2 * place - 1),
        )
        for place, (model, color) in enumerate(zip(models, COLORS, strict=True))
    ]
    lows = [m.low for _, rows in known for row in rows for m in row if m.low == m.low]
    low = max(0.0, min([0.5, *lows]) - 0.02)
    return panels(
        "auc", [title for title, _ in known], findings, marks,
        unit="AUC, 95 % interval", limits=(low, 1.02), rule=0.5,
    )  # fmt: skip


def _against_labels(model: Model, finding: str) -> Measure:
    row = model.found.measured.findings.get(finding)
    return row.auc_labels if row else UNDEFINED


def _audit_measure(name: str) -> Callable[[Model, str], Measure]:
    """What reads one of the measures that know the audit."""

    def read(model: Model, finding: str) -> Measure:
        audit = model.found.audit
        rows = {} if audit is None else audit.findings
        measure: Measure = getattr(rows[finding], name) if finding in rows else UNDEFINED
        return measure

    return read


def _against_truth(model: Model, finding: str) -> Measure:
    return model.truth.measured.findings[finding].auc_labels


# what an AUC is held against; the first four are what users have
_REFERENCES: Final[dict[str, Callable[[Model, str], Measure]]] = {
    "labels": _against_labels,
    "audited studies": _audit_measure("auc_audited"),
    "audited + labels": _audit_measure("auc_doubly_robust"),
    "labels, corrected": _audit_measure("auc_corrected"),
    "the truth": _against_truth,
}


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.0f} %"


def _decimals(value: float, digits: int = 3) -> str:
    return "–" if value != value else f"{value:.{digits}f}"
