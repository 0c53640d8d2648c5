"""Sections and sentences: where in a report a statement stands.

Offsets are kept throughout, so that every later span slices back to the report. Nothing here knows
a word of any language: headings, marks and abbreviations come from the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cxrlabel.accents import AccentFolder
from cxrlabel.errors import InputError
from cxrlabel.findings import suggest
from cxrlabel.rulerecords import Rulebook, Section
from cxrlabel.studies import AGGREGATES

BODY: Final = Section(
    "report", (), labels=True, body=True, rank=1, organ=False
)  # text under no heading
_MARK: Final = re.compile(r"[.!?)\n][.!?\"')\]]*")  # what may end a sentence
_TIGHT: Final = re.compile(r"[^\W\d_]{2}")  # a word behind a stop without a space
_LETTER: Final = re.compile(r"[^\W\d_]")
_NUMBER: Final = 3  # characters of an item's number, with its bracket
MAX_SENTENCE: Final = 1500  # characters; longer stretches are cut at a space
_INLINE_HEADING: Final = 7  # letters: shorter headings count only behind a stop or a line break

_STARTS: Final = ("", ".", ":", ";", "!", "?")  # what may stand before a heading in its line
_HEADING_REACH: Final = 120  # characters of a line before a colon that may hold a heading
_MARKS: Final = " \t\r\xa0*#"  # around a heading
_HEADING_END: Final = re.compile(r"[:\n]")
_JOINED: Final = re.compile(r"[\s/_-]*")  # what may stand between the words of a heading
_SPACES: Final = 24  # characters that a heading may be longer by such marks
_CAPITALS: Final = re.compile(r"[ \t\r\xa0*#]*+([A-Z]+(?: [A-Z]+)*)(?:  |\t)\s*\w")
_TITLE: Final = 80  # characters at most of a title over a report, "CHEST, TWO VIEWS"
_WIDE_TITLE: Final = 300  # … with the space around it
_SHORT_TITLE: Final = 20  # … that may end with a stop, "ICU DAY 19."
_STOP: Final = re.compile(r"[a-z]{2}\.\s+(?=[A-Z])|\.\s*\Z", re.IGNORECASE)
_SENTENCES: Final = (
    3  # of a section without labels and without lines, of which those behind the first are the body
)
_BLANK_LINE: Final = re.compile(r"\n[ \t\r]*\n")
_SEPARATOR: Final = re.compile(r"[\s/_-]+")
_WORD: Final = re.compile(r"[^\s/_:*#-]+")
_NOTE: Final = re.compile(  # "ADDENDUM [a date]:", "ADDENDUM 3/4/2019:", "ADDENDUM ___:"
    r"(?:\s+(?:\[[^\[\]]*\]|\([^()]*\)|[\d/.-]*\d[\d/.-]*|_{2,}|[Xx]{3,}|<[^<>]*>))+\s*\Z"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a report under one heading, the heading excluded."""

    section: Section
    start: int
    end: int


def check_choices(rulebook: Rulebook, *, sections: Iterable[str], aggregate: str) -> None:
    """Refuse a section that the rules lack and an unknown way to aggregate."""
    known = [BODY.name, *(section.name for section in rulebook.sections if not section.organ)]
    choices = [("--sections", name, known) for name in sections]
    for place, name, allowed in (*choices, ("--aggregate", aggregate, AGGREGATES)):
        if name not in allowed:
            raise InputError(f"{place}: unknown name {name!r}; {suggest(name, allowed)}")


class SectionSplitter:
    """Cuts a report at its headings."""

    def __init__(self, sections: Sequence[Section], unaccented: AccentFolder | None = None) -> None:
        self._unaccented = unaccented or AccentFolder()
        self._by_heading = {
            self._fold(heading): section for section in sections for heading in section.headings
        }
        self._by_name = {section.name: section for section in sections}
        self._words = max(len(heading.split()) for heading in self._by_heading)
        self._reach = _SPACES + max(map(len, self._by_heading))
        self._endings = {
            " ".join(words[index:])
            for words in map(str.split, self._by_heading)
            for index in range(len(words))
        }

    def section(self, name: str) -> Section:
        """The section of a column or heading name; a name that the rules lack is body text."""
        return self._by_name.get(name) or self._by_heading.get(self._fold(name)) or BODY

    def __call__(self, text: str, default: Section = BODY) -> list[Part]:
        """The parts of a report in order; text before the first heading belongs to `default`."""
        parts: list[Part] = []
        section, start = default, 0
        for heading in self._headings(text):
            following, begin = heading.section, heading.end
            if following.organ:  # it belongs to its statement and ends an unlabeled section only
                if section.labels:
                    continue
                following, begin = BODY, _paragraph_start(text, start, heading.start)
            end = min(begin, heading.start)
            if text[start:end].strip():
                parts.append(Part(section, start, end))
            section, start = following, begin
        if text[start:].strip():
            parts.append(Part(section, start, len(text)))
        described = any(part.section.body and not _is_title(text, part) for part in parts)
        return parts if described or not default.labels else _recover(text, parts)

    def _headings(self, text: str) -> Iterator[Part]:
        """The headings, each as the part that it takes up."""
        for match in _HEADING_END.finditer(text):
            at = match.start()
            if text[at] == "\n":
                yield from self._at_line_end(text, at, at + 1)
            elif text[at - 1 : at] != ":":  # the first of several
                yield from self._before_colon(text, at)
        yield from self._at_line_end(text, len(text), len(text))

    def _at_line_end(self, text: str, end: int, following: int) -> Iterator[Part]:
        heading = self._alone(text, _line_start(text, end), end)
        leading = self._leading(text, end) if heading is None else None
        if heading is not None:
            yield Part(heading.section, heading.start, following)
        elif leading is not None:
            yield leading

    def _alone(self, text: str, start: int, end: int) -> Part | None:
        """A heading that fills its line."""
        line = text[start:end]
        heading = line.strip(_MARKS)
        if len(heading.split()) > self._words:
            return None
        section = self._by_heading.get(self._fold(heading))
        if section is None or section.organ:
            return None
        return Part(section, start + len(line) - len(line.lstrip()), end)

    def _leading(self, text: str, end: int) -> Part | None:
        """A later or an earlier reading whose heading has no colon: "ADDENDUM  There is"."""
        match = _CAPITALS.match(text, text.rfind("\n", 0, end) + 1, end)
        if match is None:
            return None
        section = self._by_heading.get(self._fold(match.group(1)))
        if section is None or section.rank == BODY.rank:
            return None
        return Part(section, match.start(1), match.end(1))

    def _before_colon(self, text: str, colon: int) -> Iterator[Part]:
        """The longest heading that ends at a colon: a word of the line begins it."""
        start = _line_start(text, colon)
        found = self._ending(text[start:colon])
        if found is not None:
            end = colon + 1
            while text[end : end + 1] == ":":
                end += 1
            yield Part(found[0], start + found[1], end)

    def _ending(self, stretch: str) -> tuple[Section, int] | None:
        """The longest heading that ends a stretch before a colon, and where it begins.

        Behind it there may be a date or a de-identification mark.
        """
        name = stretch.rstrip(_MARKS)
        if not name[-1:].isalpha() or name[-1] in "xX":
            name = _NOTE.sub("", stretch).rstrip(_MARKS)
        last = name.rpartition(" ")[2]
        if last.isalpha() and self._unaccented(last.lower()) not in self._endings:
            return None
        heading, begin = "", -1
        end = len(name)
        section: Section | None = None
        for word in reversed(list(_WORD.finditer(name, max(0, len(name) - self._reach)))):
            folded = self._unaccented(word.group().lower())
            heading = f"{folded} {heading}" if heading else folded
            whole = word.end() == len(name)  # nothing is between the last word and the colon
            if heading not in self._endings or not (
                whole if end == len(name) else _JOINED.fullmatch(name, word.end(), end)
            ):
                break
            end = word.start()
            if heading in self._by_heading:
                section, begin = self._by_heading[heading], end
        before = name[:begin].rstrip(_MARKS)[-1:] if section is not None else ""
        if section is None or not (before in _STARTS or len(name) - begin >= _INLINE_HEADING):
            return None
        return section, begin

    def _fold(self, heading: str) -> str:
        return " ".join(_SEPARATOR.split(self._unaccented(heading.lower())))


def _line_start(text: str, position: int) -> int:
    """Where the line of a position begins, or the part of it that may hold a heading."""
    return max(text.rfind("\n", 0, position) + 1, position - _HEADING_REACH)


def _paragraph_start(text: str, start: int, position: int) -> int:
    """Where the paragraph that holds a position begins, or the position in the first paragraph."""
    breaks = list(_BLANK_LINE.finditer(text, start, position))
    return breaks[-1].end() if breaks else position


def _is_title(text: str, part: Part) -> bool:
    """Whether a part only says which images these are, as far as its form tells: no sentence."""
    if part.end - part.start > _WIDE_TITLE:
        return False
    stretch = text[part.start : part.end].strip()
    if part.start == 0 and len(stretch) <= _SHORT_TITLE:
        return True
    return len(stretch) <= _TITLE and not any(
        line.rstrip().endswith((".", "?", "!")) for line in stretch.split("\n")
    )


def _recover(text: str, parts: list[Part]) -> list[Part]:
    """Find the body where no heading names it: in the last section without labels that has one.

    Reports of some hospitals name indication and comparison and leave the findings without a
    heading, as a paragraph before the impression or as all that follows the last heading.
    """
    labeled = any(part.section.labels and not _is_title(text, part) for part in parts)
    for place in reversed(range(len(parts))):
        part = parts[place]
        cut = None if part.section.labels else _body_start(text, part, labeled=labeled)
        if cut is not None:
            cut_parts = [Part(part.section, part.start, cut), Part(BODY, cut, part.end)]
            return [*parts[:place], *cut_parts, *parts[place + 1 :]]
    return parts


def _body_start(text: str, part: Part, *, labeled: bool) -> int | None:
    """Where the first paragraph of a section ends; its first sentence where nothing is labeled."""
    for match in re.finditer(r"\n", text[part.start : part.end]):
        cut = part.start + match.end()
        head, follows = text[part.start : cut].strip(), text[cut : part.end]
        paragraph = not follows.partition("\n")[0].strip()
        ended = head.endswith((".", "?", "!")) or follows.lstrip()[:1].isupper()
        if head and follows.strip() and (paragraph or (ended and not labeled)):
            return cut
    stops = [] if labeled else list(_STOP.finditer(text, part.start, part.end))
    return stops[0].end() if len(stops) >= _SENTENCES else None


class SentenceSplitter:
    """Cuts a stretch of a report into sentences.

    A stop ends a sentence whatever follows, so that case does not matter; a line break ends one
    where the next word would still have fitted into the line, that is, where nobody wrapped the
    text.
    """

    def __init__(
        self, text: Mapping[str, tuple[str, ...]], unaccented: AccentFolder | None = None
    ) -> None:
        self._unaccented = unaccented or AccentFolder()
        self._abbreviations = frozenset(text["abbreviations"])
        self._numbering = frozenset(text["numbering"])
        self._unfinished = frozenset(text["unfinished"])
        self._unbegun = frozenset(text["unbegun"])
        self._plain = _plain_sentence({*self._abbreviations, *self._numbering})

    def __call__(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """Sentences of text[start:end] as trimmed (start, end) offsets into `text`."""
        lines = _Lines(text, start, end)
        sentences: list[tuple[int, int]] = []
        begin = start
        plain = self._plain.match
        while begin < end:
            match = plain(text, begin, end)
            if match is not None and match.end() - match.start(1) <= MAX_SENTENCE:
                sentences.append(match.span(1))
                begin = match.end()
            else:
                stop, following = self._next_stop(text, begin, end, lines)
                _add(sentences, text, begin, stop)
                begin = following
        return sentences

    def _next_stop(self, text: str, begin: int, end: int, lines: _Lines) -> tuple[int, int]:
        """Where a sentence ends, and where the next begins."""
        for match in _MARK.finditer(text, begin, end):
            if match.group()[0] == "\n":
                stop = match.end() if self._breaks(text, match, lines) else None
            else:
                stop = self._stop(text, match, end)
            if stop is not None:
                return stop, match.end()
        return end, end

    def _stop(self, text: str, match: re.Match[str], end: int) -> int | None:
        """Where the sentence that a mark may end does end; None where it goes on."""
        mark, stop = match.group(), match.end()
        word = _word_before(text, match.start())
        spaced = stop >= end or text[stop].isspace()
        if mark == "?" and not word:
            return None  # "? pneumonia" questions what follows
        if spaced and mark[0] in ".)" and _numbers(word) and _item(text, stop, end):
            return match.start() - len(word)  # "2." begins a sentence
        if mark[0] == ")":
            return None
        if not spaced:
            joined = mark == "." and len(word) > 2 and word.isalpha()
            return stop if joined and _TIGHT.match(text, stop) else None
        return None if mark == "." and self._abbreviates(word, text, stop, end) else stop

    def _abbreviates(self, word: str, text: str, stop: int, end: int) -> bool:
        """Whether a stop belongs to its word: "vs.", "no. 5", but not "Pneumothorax: No."."""
        folded = self._unaccented(word.lower())
        if folded in self._numbering:
            return text[stop : min(end, stop + 20)].lstrip()[:1].isdigit()
        return folded in self._abbreviations

    def _breaks(self, text: str, match: re.Match[str], lines: _Lines) -> bool:
        """Whether a writer, not a margin, ended the line.

        The next line is empty, or it begins anew and its first word would still have fitted.
        """
        line, following = lines.around(text, match.start())
        if not line or not following:
            return True
        last, first = line.rpartition(" ")[2], following.partition(" ")[0]
        if first[0].islower() and not lines.lower:
            return False
        if self._unaccented(last.lower()) in self._unfinished:
            return False
        if self._unaccented(first.lower()) in self._unbegun:
            return False
        return len(line) + 1 + len(first) <= lines.width


def _plain_sentence(abbreviations: Iterable[str]) -> re.Pattern[str]:
    """A sentence without a mark in it that ends with a stop behind a word of four letters or more.

    Such a word is no number, and no abbreviation when it does not end as one does.
    """
    endings = sorted({re.escape(word[-4:]) for word in abbreviations if word[-4:].isalpha()})
    endings = [ending for ending in endings if len(ending) == 4]
    not_short = f"(?<!{'|'.join(endings)})" if endings else ""
    # a quote right behind a line break belongs to the mark
    return re.compile(
        rf"\s*+(?![\"'\]])([^.!?)\n]*+(?<=[a-z]{{4}}){not_short}\.)(?=\s|\Z)", re.IGNORECASE
    )


class _Lines:
    """The lines of a stretch: how wide it was written, and whether it knows capitals.

    A line that begins before the stretch counts as a whole: a margin knows nothing of headings.
    """

    def __init__(self, text: str, start: int, end: int) -> None:
        self._start, self._end = start, end
        self.width = 0
        self.lower = True
        if text.find("\n", start, end) >= 0:
            self._start = text.rfind("\n", 0, start) + 1
            lines = text[self._start : end].split("\n")
            self.width = max(len(line.strip()) for line in lines)
            self.lower = text[start:end].islower()

    def around(self, text: str, newline: int) -> tuple[str, str]:
        """The line before a line break and the one behind it, with single spaces."""
        begin = max(text.rfind("\n", 0, newline) + 1, self._start)
        stop = text.find("\n", newline + 1, self._end)
        following = text[newline + 1 : stop if stop >= 0 else self._end]
        return " ".join(text[begin:newline].split()), " ".join(following.split())


def _numbers(word: str) -> bool:
    return len(word) <= _NUMBER and word.lstrip("(").isdigit()


def _item(text: str, position: int, end: int) -> bool:
    """Whether a capital follows, as behind the number of an enumeration."""
    return text[position : min(end, position + 20)].lstrip()[:1].isupper()


def _word_before(text: str, position: int) -> str:
    """The word that ends right before a position; "" behind a space."""
    before = text[max(0, position - 12) : position]
    return before.split()[-1].rstrip(".") if before and not before[-1].isspace() else ""


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
