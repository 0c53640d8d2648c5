"""Disagreements as the page shows them: the report with the words that decided, marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.audit.deciding import FALSE_POSITIVE, MISSED, UNDECIDED, Label, mentions_about
from cxrlabel.audit.disagreements import TRUTH, choose_some
from cxrlabel.audit.review.document import CUE, Block, DocumentMaker, Highlight, Piece, pieces
from cxrlabel.errors import InputError
from cxrlabel.rulebook import load_rulebook

if TYPE_CHECKING:
    from cxrlabel.audit.analysis import Audit
    from cxrlabel.audit.report_inputs import Reports
    from cxrlabel.studies import Mention

MOST: Final = 400  # disagreements on the page; the table has all
KIND_WORDS: Final[Mapping[str, str]] = {
    FALSE_POSITIVE: "false positive",
    MISSED: "missed",
    UNDECIDED: "uncertain",
}
NO_SECTION: Final = "no section"


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of a report, cut where marks begin and end."""

    title: str
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Card:
    """One disagreement."""

    label: Label
    kind: str
    truth: str
    section: str  # that the label came from
    words: str  # of the mention that decided
    cue: str
    passages: list[Passage]  # none without a report


def make_cards(
    audit: Audit, *, rules: Sequence[Path] = (), lang: str = "en", most: int = MOST
) -> list[Card]:
    """The disagreements that the page shows, in order.

    Raises:
        InputError: a mention is not of its report.
    """
    chosen = choose_some(audit.disagreements, most)
    reports, mentions = audit.material.reports, audit.material.mentions or {}
    maker = None if reports is None else DocumentMaker(load_rulebook(list(rules), lang=lang))
    documents: dict[str, list[Block]] = {}
    cards = []
    for label in chosen:
        passages: list[Passage] = []
        if reports is not None and maker is not None and label.study_id in reports.texts:
            texts = reports.texts[label.study_id]
            if label.study_id not in documents:
                documents[label.study_id] = maker(texts, reports.columns)
            blocks = documents[label.study_id]
            about = mentions_about(label.finding, mentions.get(label.study_id, ()))
            marks = [mark for m in about for mark in _marks(m, label.study_id, reports, blocks)]
            passages = [Passage(block.title, pieces(block, marks)) for block in blocks]
        cards.append(_card(label, passages))
    return cards


def _card(label: Label, passages: list[Passage]) -> Card:
    decided = label.deciding
    mention = decided.mention
    return Card(
        label=label,
        kind=KIND_WORDS[label.kind],
        truth=TRUTH[label.present],
        section=decided.section or NO_SECTION,
        words=" ".join(mention.text.split()) if mention else "",
        cue=" ".join(mention.cue.split()) if mention else "",
        passages=passages,
    )


def _marks(
    mention: Mention, study_id: str, reports: Reports, blocks: Sequence[Block]
) -> list[Highlight]:
    """The mention and its cue as stretches of the text that has its words."""
    words = mention.text.lstrip("'")  # what a spreadsheet's apostrophe may stand before
    candidates = [
        index
        for index, (_, text) in enumerate(reports.texts[study_id])
        if text[mention.start : mention.end].lstrip("'") == words
    ]
    if not candidates:
        raise InputError(
            f"--reports: study {study_id!r} has not the words of its mention at {mention.start} to "
            f"{mention.end}; expected the reports that the mentions are of"
        )
    sections = {(block.text, block.section) for block in blocks}
    index = next((i for i in candidates if (i, mention.section) in sections), candidates[0])
    marks = [Highlight(index, mention.start, mention.end, mention.finding, mention.assertion)]
    if mention.cue_start is not None and mention.cue_end is not None:
        marks.append(Highlight(index, mention.cue_start, mention.cue_end, mention.finding, CUE))
    return marks
