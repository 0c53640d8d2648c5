"""Attributes of a mention: side, place, severity and change since an earlier study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc, Span

from cxrlabel.mentions import MENTIONS
from cxrlabel.phrases import Match, PhraseFinder

ATTRIBUTES: Final = ("laterality", "severity", "temporality", "location")
_REACH: Final[Mapping[str, int]] = {
    "laterality": 8,
    "severity": 4,
    "temporality": 6,
    "location": 8,
}  # tokens


class AttributeFinder:
    """Finds the attribute words of a sentence."""

    def __init__(
        self, nlp: Language, attributes: Mapping[str, Mapping[str, tuple[str, ...]]]
    ) -> None:
        self._finder = PhraseFinder(
            nlp,
            {
                f"{name}:{value}": words
                for name in ATTRIBUTES
                for value, words in attributes[name].items()
            },
        )

    def __call__(self, doc: Doc) -> SentenceAttributes:
        """The attribute words of one sentence, to be asked for each mention."""
        return SentenceAttributes(doc, self._finder(doc))


class SentenceAttributes:
    """The attribute words of one sentence."""

    def __init__(self, doc: Doc, matches: list[Match]) -> None:
        self._mentions = [(span.start, span.end) for span in doc.spans[MENTIONS]]
        changes = {start for key, start, _ in matches if key.startswith("temporality:")}
        # "slightly worse" grades the change, not the finding
        self._matches = [
            m for m in matches if not (m[0].startswith("severity:") and m[2] in changes)
        ]

    def of(self, span: Span) -> dict[str, str]:
        """Attribute -> value of one mention, "" where nothing in its clause says it.

        The nearest word counts that no other mention parts from it, the longer of two that overlap.
        """
        return {name: self._nearest(name, span) for name in ATTRIBUTES}

    def _nearest(self, name: str, span: Span) -> str:
        clause = span.sent
        near: list[tuple[int, int, str]] = []
        for key, start, end in self._matches:
            kind, _, value = key.partition(":")
            if kind != name or not clause.start <= start < clause.end:
                continue
            gap = max(span.start - end, start - span.end, 0)
            if gap <= _REACH[name] and not self._parted(span, start, end):
                near.append((gap, start - end, value))
        return min(near)[2] if near else ""

    def _parted(self, span: Span, start: int, end: int) -> bool:
        """Whether another mention stands between a word and a mention and is nearer to the word."""
        low, high = (end, span.start) if end <= span.start else (span.end, start)
        return any(low <= s and e <= high for s, e in self._mentions)
