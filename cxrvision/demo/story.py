"""What the page tells: studies with their reports, labels and truth; and how wrong labels are."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.audit.observation import read_observation
from cxrlabel.findings import BLANK, CODES, STATES, resolve
from cxrlabel.tables import read_labels
from cxrvision.data.manifest import read_manifest
from cxrvision.evaluate.estimates import NAN, Measure

if TYPE_CHECKING:
    import pandas as pd

    from cxrvision.demo.chain import Model

_STATES: Final = {float(code): state for state, code in CODES.items() if code}
_TOLD: Final = ("findings", "impression")

# What can go between an image and a label: (states, truth, what the card says), the first is right
_CASES: Final = (
    (("positive",), 1, "Stated, and there: {name}."),
    (("negative", "blank"), 1, "There, and missed by the report: {name}."),
    (("uncertain",), 0, "Hedged, and not there: {name}."),
    (("positive",), 0, "Stated, and not there: {name}."),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A finding of a shown study."""

    finding: str
    state: str
    there: bool
    probs: tuple[float, ...]  # by model
    told: bool  # whether the card is about it


@dataclass(frozen=True, slots=True)
class Card:
    """A study as the page shows it."""

    study_id: str
    heading: str
    images: tuple[tuple[str, str], ...]  # (view, png as base64)
    report: tuple[tuple[str, str], ...]  # (section, text)
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The labels and the truth of all studies, and what there is to show of them."""

    states: pd.DataFrame  # index: id; a column per finding with its state in words
    truth: pd.DataFrame  # 1, 0
    reports: pd.DataFrame  # the sections, text
    images: Mapping[str, Mapping[str, Path]]  # study -> view -> file


def read_tables(out: Path, phantoms: Path) -> Tables:
    """Read what the two halves of the demo wrote."""
    import pandas as pd

    labels = read_labels(out / "labels.csv", resolve=resolve).table
    states = labels.apply(lambda column: column.map(_STATES).fillna(BLANK))
    reports = pd.read_csv(phantoms / "reports.csv", dtype=str, keep_default_na=False)
    manifest = read_manifest(phantoms / "studies.csv")
    images: dict[str, dict[str, Path]] = {}
    for (study, view), path in zip(
        manifest.table[["study_id", "view"]].itertuples(index=False, name=None),
        manifest.files(),
        strict=True,
    ):
        images.setdefault(study, {})[view] = Path(path)
    truth = read_labels(phantoms / "truth.csv", resolve=resolve).table
    return Tables(states, truth, reports.set_index("study_id"), images)


def make_cards(tables: Tables, models: Sequence[Model]) -> list[Card]:
    """A study of each kind of `_CASES` with both views, of those that nobody trained on.

    Each is about another finding, where there are enough.
    """
    used: list[str] = []  # studies
    told: list[str] = []  # findings
    cards = []
    cases = models[0].truth.cases
    for states, there, heading in _CASES:
        findings = sorted(cases.findings, key=told.count)
        for study, name in _candidates(tables, cases.ids, findings, states, there):
            if study not in used:
                used.append(study)
                told.append(name)
                cards.append(_card(tables, models, study, name, heading.format(name=name)))
                break
    return cards


def _candidates(
    tables: Tables,
    ids: Sequence[str],
    findings: Sequence[str],
    states: Sequence[str],
    there: int,
) -> Iterator[tuple[str, str]]:
    """Studies with such a label, the first findings first."""
    for name in findings:
        for study in ids:
            fits = tables.states.at[study, name] in states and tables.truth.at[study, name] == there
            if fits and len(tables.images[study]) > 1 and _is_whole(tables, study):
                yield study, name


def _is_whole(tables: Tables, study: str) -> bool:
    return all(tables.reports.at[study, name] for name in _TOLD)


def _card(tables: Tables, models: Sequence[Model], study: str, name: str, heading: str) -> Card:
    cases = [model.truth.cases for model in models]
    at = [case.ids.index(study) for case in cases]
    rows = [
        Row(
            finding,
            str(tables.states.at[study, finding]),
            bool(tables.truth.at[study, finding] == 1),
            tuple(
                float(case.probs[row, place]) for case, row in zip(cases, at, strict=True)
            ),
            finding == name,
        )
        for place, finding in enumerate(cases[0].findings)
    ]  # fmt: skip
    images = [
        (view, b64encode(path.read_bytes()).decode()) for view, path in tables.images[study].items()
    ]
    report = [(section, str(tables.reports.at[study, section])) for section in _TOLD]
    return Card(study, heading, tuple(images), tuple(report), tuple(rows))


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What the audit says of a finding's labels, and what is so."""

    finding: str
    # state -> share of the studies with this label that have the finding
    estimated: Mapping[str, Measure]
    true: Mapping[str, float]
    sensitivity: float  # P(positive | there), by the audit
    true_sensitivity: float


def error_rows(noise: Path, tables: Tables, findings: Sequence[str]) -> list[ErrorRow]:
    """The observation table of each finding beside the truth over all studies."""
    observed = read_observation(noise).findings
    rows = []
    for name in findings:
        states, there = tables.states[name], tables.truth[name] == 1
        table = observed[name]
        rows.append(
            ErrorRow(
                name,
                {s: Measure(r.p_truth, r.lo, r.hi) for s, r in table.states.items()},
                {state: _mean(there[states == state]) for state in STATES},
                table.state_given_truth["1"]["positive"],
                _mean(states[there] == "positive"),
            )
        )
    return rows


def coverage(rows: Sequence[ErrorRow]) -> tuple[int, int]:
    """How many of the audit's intervals hold the truth, and how many there are."""
    inside = [
        row.estimated[state].low <= true <= row.estimated[state].high
        for row in rows
        for state, true in row.true.items()
        if math.isfinite(true)
    ]
    return sum(inside), len(inside)


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else NAN
