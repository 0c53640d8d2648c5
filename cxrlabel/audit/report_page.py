"""The page of an audit's report: one html file, for screen and print, that loads nothing."""

from __future__ import annotations

import hashlib
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.audit.deciding import FALSE_POSITIVE, KINDS, MISSED
from cxrlabel.audit.error_sources import DECIDED_BY, SourceRow
from cxrlabel.audit.estimates import FEW
from cxrlabel.audit.intervals import MEASURES
from cxrlabel.audit.lessons import GOOD_FROM, POOR_BELOW, WIDE
from cxrlabel.audit.report_evidence import KIND_WORDS, MOST, make_cards
from cxrlabel.audit.report_figures import Estimated, forest
from cxrlabel.audit.report_words import (
    SIGNIFICANT,
    how_compared,
    interval,
    limits,
    p_value,
    percent,
    summary,
)
from cxrlabel.figures import COLORS
from cxrlabel.findings import NEGATIVE, POSITIVE, STATES

if TYPE_CHECKING:
    import pandas as pd

    from cxrlabel.audit.analysis import Audit
    from cxrlabel.audit.report_evidence import Card

_TEMPLATES: Final = Path(__file__).parent.parent / "templates"
_TOP_SOURCES: Final = 8  # rows of one source and kind
_PANELS: Final = (
    ("PPV: positive labels that are right", "ppv", ("tp", "fp")),
    ("Sensitivity: what is there and labeled", "sensitivity", ("tp", "fn")),
)
_TABLE_MEASURES: Final = ("ppv", "sensitivity", "npv", "specificity", "f1", "kappa")


def report_page(audit: Audit, *, rules: Sequence[Path] = (), lang: str = "en") -> str:
    """The page as html.

    Args:
        rules, lang: as for `load_rulebook`; they name the sections of reports.

    Raises:
        InputError: the mentions are not of the reports.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        percent=percent, number=lambda n: f"{n:,}", p_value=p_value, clear=_is_clear
    )
    script = (_TEMPLATES / "audit.js").read_text(encoding="utf-8")
    cards = make_cards(audit, rules=rules, lang=lang)
    text = templates.get_template("audit.html.j2").render(
        title="Label audit",
        audit=audit,
        **_script(script),
        headlines=_headlines(audit),
        compared=how_compared(audit),
        summary=summary(audit),
        forest=_forest(audit.metrics),
        metrics=_metrics(audit.metrics),
        measures=_TABLE_MEASURES,
        states=STATES,
        heat=_heat(audit),
        sources=_sources(audit.sources),
        groups=_groups(audit.sources),
        kinds=KIND_WORDS,
        cards=cards,
        choices=_choices(cards),
        most=MOST,
        few=FEW,
        verdicts={"good": GOOD_FROM, "poor": POOR_BELOW, "wide": WIDE},
        agreement=_agreement(audit.agreement),
        readers=_readers(audit.reader_errors),
        tasks=_tasks(audit.tasks),
        limits=limits(audit),
        record=_record(audit),
        colors=COLORS,
    )
    return text.encode("utf-8", "replace").decode()  # a file's name may hold lone surrogates


def _script(script: str) -> dict[str, Any]:
    """The page's script, and its hash, by which the browser runs this one and no other."""
    from markupsafe import Markup

    digest = hashlib.sha256(script.encode()).digest()
    return {"script": Markup(script), "script_hash": b64encode(digest).decode()}


def _headlines(audit: Audit) -> list[tuple[str, str]]:
    """(value, what it is), the numbers at the top."""
    found = audit.overall["negative"]
    numbers = [(f"{len(audit.comparison.labels):,}", "studies labeled and reviewed")]
    for name, what in (
        ("ppv", "of the positive labels are right"),
        ("sensitivity", "of what is there is labeled"),
    ):
        place = MEASURES.index(name)
        ends = f"{percent(found.low[place])} to {percent(found.high[place])}"
        numbers.append((percent(found.values[place]), f"{what}, {ends}"))
    kinds = [label.kind for label in audit.disagreements]
    counts = ", ".join(f"{kinds.count(kind):,} {KIND_WORDS[kind]}" for kind in KINDS)
    return [*numbers, (f"{len(kinds):,}", f"labels to look at: {counts}")]


def _forest(metrics: pd.DataFrame) -> Any:
    from markupsafe import Markup

    rows = metrics[metrics["uncertain_as"] == "negative"].to_dict("records")
    others = metrics[metrics["uncertain_as"] == "positive"].to_dict("records")
    panels = [
        (title, [_estimated(*pair, measure, cells) for pair in zip(rows, others, strict=True)])
        for title, measure, cells in _PANELS
    ]
    return Markup(forest([row["finding"] for row in rows], panels))  # matplotlib escapes its text


def _estimated(
    row: dict[Any, Any], other: dict[Any, Any], measure: str, cells: tuple[str, str]
) -> Estimated:
    value, low, high = (float(row[f"{measure}{end}"]) for end in ("", "_lo", "_hi"))
    n = int(row[cells[0]] + row[cells[1]])
    same = (row["tp"], row["fp"]) == (other["tp"], other["fp"])
    return Estimated(
        value, low, high,
        text=interval(value, low, high),
        count=f"{int(row[cells[0]]):,}/{n:,}",
        wide=high - low > WIDE or _few(row["note"], measure),
        other=math.nan if same else float(other[measure]),
    )  # fmt: skip


def _few(note: str, measure: str) -> bool:
    return f" {measure} " in f" {note.replace(',', ' ')} "


def _metrics(metrics: pd.DataFrame) -> dict[str, list[dict[Any, Any]]]:
    """Reading of uncertain -> rows, with the measures as text."""
    found: dict[str, list[dict[Any, Any]]] = {}
    for row in metrics.to_dict("records"):
        texts = {
            name: interval(row[name], row[f"{name}_lo"], row[f"{name}_hi"]).partition(" ")
            for name in _TABLE_MEASURES
        }
        found.setdefault(row["uncertain_as"], []).append(row | {"texts": texts})
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """A coloured cell."""

    share: float
    text: str
    style: str


def _heat(audit: Audit) -> list[dict[str, Any]]:
    """By finding: P(truth | state) with its counts, and P(state | truth)."""
    rows = []
    for name, table in audit.observation.findings.items():
        states = [table.states[state] for state in STATES]
        given = {
            truth: [_cell(table.state_given_truth[truth][state]) for state in STATES]
            for truth in ("1", "0")
        }
        cells = [(row, _cell(row.p_truth)) for row in states]
        rows.append({"finding": name, "states": cells, "given": given, "table": table})
    return rows


def _cell(share: float) -> Cell:
    shade = _shade(share)
    # the better of black and white has at least 4.5 : 1 on every shade
    color = "#fff" if _luminance(shade) < 0.179 else "#000"
    return Cell(share, percent(share), f"background:{shade};color:{color}")


def _luminance(color: str) -> float:
    """Relative luminance in [0, 1] (WCAG 2.2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _shade(share: float) -> str:
    """White over light blue to dark blue."""
    stops = ("#ffffff", COLORS[NEGATIVE], COLORS[POSITIVE])
    place = min(max(share, 0.0), 1.0) * 2
    first = min(int(place), 1)
    low, high = ([int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops[first : first + 2])
    mixed = (round(a + (b - a) * (place - first)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _sources(rows: Sequence[SourceRow]) -> list[tuple[str, list[tuple[str, Any, int]]]]:
    """(source, (kind, its first rows, how many more)), without those that have no case."""
    found = []
    for source in DECIDED_BY:
        tables = []
        for kind in KINDS:
            all_rows = [row for row in rows if row.source == source and row.kind == kind]
            cases = [row for row in all_rows if row.cases and not row.grouped]
            if cases:
                shown = cases[:_TOP_SOURCES]
                tables.append((kind, shown, len(all_rows) - len(shown)))
        if tables:
            found.append((source, tables))
    return found


def _groups(rows: Sequence[SourceRow]) -> list[tuple[str, list[tuple[SourceRow, SourceRow]]]]:
    """(column, its groups, each with false positives and misses)."""
    grouped = [row for row in rows if row.grouped]
    found = []
    for name in dict.fromkeys(row.source for row in grouped):
        first, second = (
            [row for row in grouped if row.source == name and row.kind == kind]
            for kind in (FALSE_POSITIVE, MISSED)
        )
        found.append((name, list(zip(first, second, strict=True))))
    return found


def _is_clear(row: SourceRow) -> bool:
    return row.p < SIGNIFICANT


def _choices(cards: Sequence[Card]) -> dict[str, list[str]]:
    """What the cards can be filtered by, in order of first appearance."""
    return {
        "finding": list(dict.fromkeys(card.label.finding for card in cards)),
        "kind": [word for word in KIND_WORDS.values() if any(c.kind == word for c in cards)],
        "section": sorted({card.section for card in cards}),
        "reason": sorted({card.label.deciding.reason for card in cards} - {""}),
    }


def _agreement(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        row["text"] = interval(row["kappa"], row["kappa_lo"], row["kappa_hi"])
        row["who"] = (
            "all" if row["kind"] == "fleiss" else f"{row['reviewer_a']}, {row['reviewer_b']}"
        )
    return rows


def _readers(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        for name in ("sensitivity", "specificity"):
            row[name] = interval(row[name], row[f"{name}_lo"], row[f"{name}_hi"])
    return rows


def _tasks(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        for name in ("precision", "recall", "f1"):
            row[name] = interval(row[name], row[f"{name}_lo"], row[f"{name}_hi"])
    return rows


def _record(audit: Audit) -> list[tuple[str, list[str]]]:
    """(what, lines) of how it was made."""
    options = [
        f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in audit.record["options"].items()
        if value not in ("", [], False)
    ]
    inputs = [
        f"{file['path']}, {file['bytes']:,} bytes, SHA-256 {file['sha256']}"
        for file in audit.record["inputs"]
    ]
    return [("version", [audit.record["version"]]), ("options", options), ("inputs", inputs)]
