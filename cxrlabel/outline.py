"""Outline: the sections and sentences of a report in their order; no spaCy.

The labeler reads it, and so does a step that knows where a mention stands without labeling again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cxrlabel.accents import AccentFolder
from cxrlabel.rulerecords import Rulebook
from cxrlabel.sections import BODY, SectionSplitter, SentenceSplitter


@dataclass(frozen=True, slots=True)
class Sentence:
    """Where a sentence stands; its number is its index in the outline."""

    text: int  # index of the text that the offsets refer to
    start: int
    end: int
    section: str
    labels: bool  # whether its section makes labels


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sentences under one heading."""

    text: int  # index of the text that the offsets refer to
    section: str
    labels: bool  # whether the section makes labels
    sentences: list[tuple[int, int]]  # (start, end)


class Outliner:
    """Makes outlines by the rules of one language."""

    def __init__(self, rulebook: Rulebook, *, sections: Sequence[str] = ()) -> None:
        unaccented = AccentFolder(rulebook.words.accents)
        self._split_sections = SectionSplitter(rulebook.sections, unaccented)
        self._split_sentences = SentenceSplitter(rulebook.text, unaccented)
        self._labeling = frozenset(sections)

    def __call__(self, texts: Sequence[tuple[str, str]]) -> list[Sentence]:
        """The sentences of a report in order; `texts` as in `stretches`."""
        return [
            Sentence(stretch.text, start, end, stretch.section, stretch.labels)
            for stretch in self.stretches(texts)
            for start, end in stretch.sentences
        ]

    def stretches(self, texts: Sequence[tuple[str, str]]) -> Iterator[Stretch]:
        """The sections of a report in order, with their sentences.

        Args:
            texts: (section, text) pairs; the section is "" for a whole report.
        """
        for index, (column, text) in enumerate(texts):
            default = self._split_sections.section(column) if column else BODY
            for part in self._split_sections(text, default):
                section = part.section
                labels = section.name in self._labeling if self._labeling else section.labels
                sentences = self._split_sentences(text, part.start, part.end)
                yield Stretch(index, section.name, labels, sentences)


def sentence_at(outline: Sequence[Sentence], text: int, start: int) -> int | None:
    """The number of the sentence that holds a character, or of the one before it.

    None where the report has no sentence.
    """
    if not outline:
        return None
    return max(bisect_right(outline, (text, start), key=lambda s: (s.text, s.start)) - 1, 0)
