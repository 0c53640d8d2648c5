"""The report as the page shows it: its sections in order, with the words that made labels.

Every word of the report is shown. Line breaks inside a sentence, where a margin wrapped the text,
become spaces, one for one, so that the offsets of mentions hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from cxrlabel.accents import AccentFolder
from cxrlabel.findings import NEGATIVE, POSITIVE, UNCERTAIN
from cxrlabel.rulerecords import Rulebook, Section
from cxrlabel.sections import BODY, SectionSplitter, SentenceSplitter

Texts = Sequence[tuple[str, str]]

_STRENGTH: Final = (POSITIVE, UNCERTAIN, NEGATIVE, "none")  # which one shows where spans overlap
CUE: Final = "cue"  # assertion of a highlight that is a cue
_HEADING_MARKS: Final = " \t\r\xa0*#:"


class Block(NamedTuple):
    """A section of a report: what stands under one heading."""

    title: str  # as it is written, or the name of the column; "" where there is no heading
    section: str  # canonical name
    text: int  # index of the text that the offsets refer to
    start: int
    end: int
    shown: str  # the stretch with its wrapped lines joined


class Highlight(NamedTuple):
    """A stretch of a text that named a finding, or a cue that decided about one."""

    text: int
    start: int
    end: int
    finding: str  # key
    assertion: str  # positive, negative, uncertain, none; "cue"
    why: str = ""  # of a sentence that a learned labeler went by: its name and the log odds it adds


class Piece(NamedTuple):
    """A stretch of a section under the same highlights."""

    text: str
    assertion: str  # "" where nothing is highlighted
    cue: bool
    findings: tuple[str, ...]
    why: str  # "" where no learned labeler went by it


class DocumentMaker:
    """Cuts reports into sections by the rules of one language."""

    def __init__(self, rulebook: Rulebook) -> None:
        unaccented = AccentFolder(rulebook.words.accents)
        self._sections = SectionSplitter(rulebook.sections, unaccented)
        self._sentences = SentenceSplitter(rulebook.text, unaccented)

    def __call__(self, texts: Texts, columns: Sequence[str]) -> list[Block]:
        """The sections of a report.

        Args:
            texts: (section, text) pairs; the section is "" for a whole report.
            columns: the name of the column that each text comes from.
        """
        blocks: list[Block] = []
        for index, ((column, text), name) in enumerate(zip(texts, columns, strict=True)):
            default = self._sections.section(column) if column else BODY
            found = self._blocks(index, text, default)
            if found and column and not found[0].title:
                found[0] = found[0]._replace(title=name.replace("_", " "))
            blocks += found
        return blocks

    def _blocks(self, index: int, text: str, default: Section) -> list[Block]:
        blocks: list[Block] = []
        position = 0
        for part in self._sections(text, default):
            *empty, title = _titles(text[position : part.start])
            blocks += [Block(name, BODY.name, index, part.start, part.start, "") for name in empty]
            position = part.end
            stretch = text[part.start : part.end]
            start = part.start + len(stretch) - len(stretch.lstrip())
            end = part.start + len(stretch.rstrip())
            shown = self._shown(text, start, end)
            blocks.append(Block(title, part.section.name, index, start, end, shown))
        rest = [title for title in _titles(text[position:]) if title]
        return blocks + [Block(t, BODY.name, index, len(text), len(text), "") for t in rest]

    def _shown(self, text: str, start: int, end: int) -> str:
        shown = list(text[start:end])
        for first, last in self._sentences(text, start, end):
            for offset in range(first - start, last - start):
                if shown[offset] in "\r\n":
                    shown[offset] = " "
        return "".join(shown)


def pieces(block: Block, highlights: Sequence[Highlight]) -> list[Piece]:
    """A section cut where highlights begin and end; joined they are `block.shown`."""
    inside = [h for h in highlights if h.text == block.text and h.start < block.end]
    inside = [h for h in inside if h.end > block.start]
    edges = {block.start, block.end}
    edges.update(max(h.start, block.start) for h in inside)
    edges.update(min(h.end, block.end) for h in inside)
    cuts = sorted(edges)
    found = []
    for start, end in pairwise(cuts):
        over = [h for h in inside if h.start <= start and end <= h.end]
        shown = block.shown[start - block.start : end - block.start]
        found.append(_piece(shown, over))
    return found


def _piece(shown: str, over: Sequence[Highlight]) -> Piece:
    learned = {h.finding: h.assertion for h in over if h.why}  # decides against what rules say
    said = {learned.get(h.finding, h.assertion) for h in over}
    assertion = next((name for name in _STRENGTH if name in said), "")
    named = tuple(dict.fromkeys(h.finding for h in over))
    why = "; ".join(dict.fromkeys(f"{h.assertion}: {h.why}" for h in over if h.why))
    return Piece(shown, assertion, any(h.assertion == CUE for h in over), named, why)


def _titles(gap: str) -> list[str]:
    """The headings between two sections, without their marks; the last one belongs to the next."""
    lines = [line.strip(_HEADING_MARKS) for line in gap.split("\n")]
    return [line for line in lines if line] or [""]
