"""Attributes of a mention: side, severity and change since an earlier study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc, Span

from cxrlabel.phrases import Match, PhraseFinder

ATTRIBUTES: Final = ("laterality", "severity", "temporality")
_REACH: Final[Mapping[str, int]] = {"laterality": 8, "severity": 4, "temporality": 6}  # tokens


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
        return SentenceAttributes(self._finder(doc))


class SentenceAttributes:
    """The attribute words of one sentence."""

    def __init__(self, matches: list[Match]) -> None:
        self._matches = matches

    def of(self, span: Span) -> dict[str, str]:
        """Attribute -> value of one mention, "" where nothing in its clause says it.

        The nearest word counts, the longer of two that overlap; left and right both near a mention
        make it bilateral.
        """
        return {name: self._nearest(name, span) for name in ATTRIBUTES}

    def _nearest(self, name: str, span: Span) -> str:
        clause = span.sent
        near: list[tuple[int, int, str]] = []
        for key, start, end in self._matches:
            kind, _, value = key.partition(":")
            gap = max(span.start - end, start - span.end, 0)
            if kind == name and clause.start <= start < clause.end and gap <= _REACH[name]:
                near.append((gap, start - end, value))
        return min(near)[2] if near else ""
