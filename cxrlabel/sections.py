"""Sections and sentences: where in a report a statement stands.

Offsets are kept throughout, so that every later span slices back to the report. Nothing here knows
a word of any language: headings, marks and abbreviations come from the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cxrlabel.rulebook import Section
from cxrlabel.rulefiles import Table

BODY: Final = Section("report", (), labels=True, rank=1, organ=False)  # text under no heading
_MARK: Final = re.compile(r"[.!?)\n][.!?\"')\]]*")  # what may end a sentence
_TIGHT: Final = re.compile(r"[^\W\d_]{2}")  # a word behind a stop without a space
_LETTER: Final = re.compile(r"[^\W\d_]")
_NUMBER: Final = 3  # characters of an item's number, with its bracket
MAX_SENTENCE: Final = 1500  # characters; longer stretches are cut at a space
_INLINE_HEADING: Final = 7  # letters: shorter headings count only behind a stop or a line break

_STARTS: Final = ("", ".", ":", ";", "!", "?")  # what may stand before a heading in its line
_HEADING_REACH: Final = 120  # characters of a line before a colon that may hold a heading
_MARKS: Final = " \t\r*#"  # around a heading
_HEADING_END: Final = re.compile(r":+|\n|\Z")
_SEPARATOR: Final = re.compile(r"[\s/_-]+")
_WORD: Final = re.compile(r"[^\s/_:-]+")
_NOTE: Final = re.compile(r"[ \t]*[(\[][^()\[\]]*[)\]]+[ \t]*\Z")  # "ADDENDUM [a date]:"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a report under one heading, the heading excluded."""

    section: Section
    start: int
    end: int


class SectionSplitter:
    """Cuts a report at its headings."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self._by_heading = {_fold(h): section for section in sections for h in section.headings}
        self._by_name = {section.name: section for section in sections}
        self._longest = max(len(heading.split()) for heading in self._by_heading)

    def section(self, name: str) -> Section:
        """The section of a column or heading name; a name that the rules lack is body text."""
        return self._by_name.get(name) or self._by_heading.get(_fold(name)) or BODY

    def __call__(self, text: str, default: Section = BODY) -> list[Part]:
        """The parts of a report in order; text before the first heading belongs to `default`."""
        parts: list[Part] = []
        section, start = default, 0
        for heading in self._headings(text):
            following, begin = heading.section, heading.end
            if (
                following.organ
            ):  # "Lungs:" is part of its statement and ends an unlabeled section only
                if section.labels:
                    continue
                following, begin = BODY, heading.start
            if text[start : heading.start].strip():
                parts.append(Part(section, start, heading.start))
            section, start = following, begin
        if text[start:].strip():
            parts.append(Part(section, start, len(text)))
        return parts if any(part.section.labels for part in parts) else _recover(text, parts)

    def _headings(self, text: str) -> Iterator[Part]:
        """The headings, each as the part that it takes up."""
        for match in _HEADING_END.finditer(text):
            line = max(text.rfind("\n", 0, match.start()) + 1, match.start() - _HEADING_REACH)
            if match.group() == "\n" or match.end() == match.start():
                heading = self._alone(text, line, match.start())
            else:
                heading = self._before_colon(text, line, match.start())
            if heading is not None:
                end = match.start() if heading.end < match.start() else match.end()
                yield Part(heading.section, heading.start, max(end, heading.end))

    def _alone(self, text: str, start: int, end: int) -> Part | None:
        """A heading that fills its line."""
        line = text[start:end]
        section = self._by_heading.get(_fold(line.strip(_MARKS)))
        if section is None or section.organ:
            return None
        return Part(section, start + len(line) - len(line.lstrip()), end)

    def _before_colon(self, text: str, start: int, end: int) -> Part | None:
        """The longest heading that ends at a colon: a word of the line begins it."""
        stretch = _NOTE.sub("", text[start:end]).rstrip(_MARKS)
        words = list(_WORD.finditer(stretch))[-self._longest :]
        for word in words:
            name = stretch[word.start() :]
            section = self._by_heading.get(_fold(name))
            if section is not None:
                before = stretch[: word.start()].rstrip(_MARKS)[-1:]
                begins = before in _STARTS or len(name) >= _INLINE_HEADING
                return Part(section, start + word.start(), end) if begins else None
        return None


def _fold(heading: str) -> str:
    return " ".join(_SEPARATOR.split(heading.lower()))


def _recover(text: str, parts: list[Part]) -> list[Part]:
    """What follows the first line of the last section is the body where a report has no other.

    Reports of some hospitals name indication and comparison and leave the findings without a heading.
    """
    if not parts:
        return parts
    last = parts[-1]
    for match in re.finditer(r"\n", text[last.start : last.end]):
        cut = last.start + match.end()
        head = text[last.start : cut].strip()
        follows = text[cut : last.end].lstrip()
        ended = head.endswith((".", "?", "!")) or text[cut : cut + 1].isspace()
        if head and follows and (ended or follows[0].isupper()):
            return [*parts[:-1], Part(last.section, last.start, cut), Part(BODY, cut, last.end)]
    return parts


class SentenceSplitter:
    """Cuts a stretch of a report into sentences.

    A stop ends a sentence whatever follows, so that case does not matter; a line break ends one
    where the next word would still have fitted into the line, that is, where nobody wrapped the
    text.
    """

    def __init__(self, text_rules: Table) -> None:
        self._abbreviations = frozenset(text_rules["abbreviations"])
        self._ending = frozenset(text_rules["ending_abbreviations"])

    def __call__(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """Sentences of text[start:end] as trimmed (start, end) offsets into `text`."""
        width = _line_width(text, start, end)
        sentences: list[tuple[int, int]] = []
        begin = start
        for match in _MARK.finditer(text, start, end):
            stop = self._stop(text, match, end, width)
            if stop is not None:
                _add(sentences, text, begin, stop)
                begin = match.end()
        _add(sentences, text, begin, end)
        return sentences

    def _stop(self, text: str, match: re.Match[str], end: int, width: int) -> int | None:
        """Where the sentence that a mark may end does end; None where it goes on."""
        mark, stop = match.group(), match.end()
        if mark == "\n":
            return stop if _intended_break(text, match, end, width) else None
        spaced = stop >= end or text[stop].isspace()
        if mark[0] in ".)":
            word = _word_before(text, match.start())
            if spaced and _numbers(word) and _item(text, stop, end):
                return match.start() - len(word)  # "2." begins a sentence
            if mark[0] == ")":
                return None
            if not spaced:
                joined = mark == "." and len(word) > 2 and word.isalpha()
                return stop if joined and _TIGHT.match(text, stop) else None
            return None if self._abbreviates(word, text, stop, end) else stop
        return stop if spaced else None

    def _abbreviates(self, word: str, text: str, stop: int, end: int) -> bool:
        """Whether a stop belongs to its word: "vs.", but not "Pneumothorax: No." before a capital."""
        folded = word.lower()
        if folded not in self._abbreviations:
            return False
        return not (folded in self._ending and _sentence_follows(text, stop, end))


def _numbers(word: str) -> bool:
    return len(word) <= _NUMBER and word.lstrip("(").isdigit()


def _item(text: str, position: int, end: int) -> bool:
    """Whether a capital follows, as behind the number of an enumeration."""
    rest = text[position : min(end, position + 20)].lstrip()
    return bool(rest) and rest[0].isupper()


def _word_before(text: str, position: int) -> str:
    before = text[max(0, position - 12) : position].split()
    return before[-1].rstrip(".") if before and not text[position - 1].isspace() else ""


def _sentence_follows(text: str, position: int, end: int) -> bool:
    rest = text[position : min(end, position + 40)].lstrip()
    return not rest or rest[0].isupper() or "\n" in text[position : position + 2]


def _line_width(text: str, start: int, end: int) -> int:
    if text.find("\n", start, end) < 0:
        return 0
    return max(len(line.strip()) for line in text[start:end].split("\n"))


def _intended_break(text: str, match: re.Match[str], end: int, width: int) -> bool:
    """Whether a writer broke the line: the next is empty, or begins anew and would have fitted."""
    line_start = text.rfind("\n", 0, match.start()) + 1
    line = text[line_start : match.start()].strip()
    following = text[match.end() : min(end, match.end() + 200)]
    word = following.split(maxsplit=1)[0] if following.strip() else ""
    if not line or not word or not following.partition("\n")[0].strip():
        return True
    if word[0].islower() and not text[match.start() : end].islower():
        return False
    return len(line) + 1 + len(word) <= width


def _add(sentences: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Add a sentence without the space around it, in pieces of `MAX_SENTENCE` characters at most.

    What has no letter is left out.
    """
    stretch = text[start:end]
    start += len(stretch) - len(stretch.lstrip())
    stretch = stretch.strip()
    while len(stretch) > MAX_SENTENCE:
        space = stretch.rfind(" ", 1, MAX_SENTENCE)
        cut = space if space > 0 else MAX_SENTENCE
        sentences.append((start, start + cut))
        start, stretch = start + cut, stretch[cut:]
    if _LETTER.search(stretch):
        sentences.append((start, start + len(stretch)))
