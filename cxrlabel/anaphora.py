"""Anaphora: words that speak of a mention before them, as in "It has resolved".

An anaphor becomes a span among the mentions, so that cues reach it as they reach a mention; what
they decide is then said of the mention that it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc, Span

from cxrlabel.mentions import MENTIONS
from cxrlabel.phrases import PhraseFinder

ANAPHOR: Final = "anaphor"  # label of such a span


class AnaphorFinder:
    """Adds the anaphora of a sentence to its mentions.

    Args:
        text: the lists of rules/text.toml.
    """

    def __init__(self, nlp: Language, text: Mapping[str, tuple[str, ...]]) -> None:
        self._finder = PhraseFinder(nlp, {ANAPHOR: text["anaphora"]})
        self._alone = frozenset(text["answers_alone"])
        self._answers = {
            **dict.fromkeys(text["denying"], "negative"),
            **dict.fromkeys(text["confirming"], "positive"),
        }

    def __call__(self, doc: Doc) -> Doc:
        """Add a span where a clause begins with an anaphor and not with a mention."""
        ends: dict[int, int] = {}
        for _, start, end in self._finder(doc):
            if any(doc[i].is_sent_start for i in (start, max(start - 1, 0))):  # "but it …"
                ends[start] = max(end, ends.get(start, 0))
        mentions = list(doc.spans[MENTIONS])
        found = [
            Span(doc, start, end, label=ANAPHOR)
            for start, end in ends.items()
            if not any(span.start < end and start < span.end for span in mentions)
            and (start > 0 or not mentions or doc[0].lower_ not in self._answers)
            and (start == 0 or end < len(doc) or doc[start].lower_ not in self._answers)
        ]
        doc.spans[MENTIONS] = sorted([*found, *mentions], key=lambda span: (span.start, span.end))
        return doc

    def answer(self, doc: Doc) -> str | None:
        """What "None is seen." or the sentence "No." says of the one before; None for others."""
        word = doc[0].lower_
        if word in self._alone and len(doc) > 1 and not doc[1].is_punct:
            return None
        return self._answers.get(word)
