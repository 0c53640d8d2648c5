"""Evidence: what one report says and why, drawn for the terminal or as data for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cxrlabel.findings import BLANK
from cxrlabel.studies import NONE, Mention, StudyLabels

COLORS: Final[Mapping[str, str]] = {
    "positive": "bold red",
    "uncertain": "bold yellow",
    "negative": "green",
    NONE: "dim",
    BLANK: "dim",
}
# one for one, so that offsets hold: rich drops them, and a terminal would obey them
_CONTROLS: Final = {code: " " for code in (*range(32), 127, *range(128, 160)) if code != 10}
_STRENGTH: Final = (
    "positive",
    "uncertain",
    "negative",
    NONE,
)  # which color wins where spans overlap


def draw_evidence(report: str, result: StudyLabels, findings: Iterable[str]) -> RenderableType:
    """The report with its mentions colored by assertion and cues underlined, then the labels."""
    labels = {name: result.labels[name] for name in findings}
    drawn = _marked(report, result.mentions)
    return Group(_legend(), Text(), drawn, Text(), _labels(labels, result))


def evidence_dict(result: StudyLabels, findings: Iterable[str]) -> dict[str, Any]:
    """Status, labels of the chosen findings, sections and mentions, ready for JSON."""
    return {
        "status": result.status,
        "labels": {name: result.labels[name] for name in findings},
        "sections": list(result.sections),
        "mentions": [mention._asdict() for mention in result.mentions],
    }


def _legend() -> Text:
    text = Text()
    for name in ("positive", "uncertain", "negative"):
        text.append(name, COLORS[name]).append("  ")
    return text.append("no label", COLORS[NONE]).append("  ").append("cue", "underline")


def _marked(report: str, mentions: Iterable[Mention]) -> Text:
    text = Text(report.translate(_CONTROLS))
    for mention in sorted(mentions, key=lambda m: _STRENGTH.index(m.assertion), reverse=True):
        text.stylize(COLORS[mention.assertion], mention.start, mention.end)
        if mention.cue_start is not None:
            text.stylize("underline", mention.cue_start, mention.cue_end)
    return text


def _labels(labels: Mapping[str, str], result: StudyLabels) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("finding", "label", "because of", "section"):
        table.add_column(column)
    for finding, state in labels.items():
        if state == BLANK:
            continue
        mention = _decisive(finding, state, result.mentions)
        because = _because(mention) if mention else Text("no abnormality stated", "dim")
        section = mention.section if mention else ""
        table.add_row(Text(finding), Text(state, COLORS[state]), because, Text(section, "dim"))
    if not table.rows:
        return Text(f"no label ({result.status})", "dim")
    return table


def _decisive(finding: str, state: str, mentions: Iterable[Mention]) -> Mention | None:
    return next((m for m in mentions if m.finding == finding and m.assertion == state), None)


def _because(mention: Mention) -> Text:
    text = Text(f"“{' '.join(mention.text.split())}”")
    details = [mention.reason] if mention.reason != "asserted" else []
    if mention.cue:
        details = [f"{mention.reason} by “{' '.join(mention.cue.split())}”"]
    values = (mention.severity, mention.laterality, mention.location, mention.temporality)
    details += [value for value in values if value and value != mention.reason]
    return text.append(f"  {', '.join(details)}", "dim") if details else text
