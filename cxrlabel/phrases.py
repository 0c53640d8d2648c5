"""Phrases: finding the words of a rule in a tokenised sentence.

A string is a phrase; a list is a token pattern. Both are compared on folded words (`token.norm_`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spacy.language import Language
from spacy.matcher import PhraseMatcher
from spacy.tokens import Doc

from cxrlabel.checks import Phrase
from cxrlabel.tokens import NORMS

Match = tuple[str, int, int]  # key, start token, end token


class PhraseFinder:
    """Finds phrases and token patterns by key in a tokenised sentence, on folded words."""

    def __init__(self, nlp: Language, phrases: Mapping[str, Iterable[Phrase]]) -> None:
        self._strings = nlp.vocab.strings
        self._phrases = PhraseMatcher(nlp.vocab, attr="NORM")
        self._patterns = PatternFinder()
        for key, entries in phrases.items():
            listed = list(entries)
            docs = [nlp.make_doc(phrase) for phrase in listed if isinstance(phrase, str)]
            if docs:
                self._phrases.add(key, docs)
            for pattern in listed:
                if not isinstance(pattern, str):
                    self._patterns.add(key, read_pattern(nlp, pattern))

    def __call__(self, doc: Doc) -> list[Match]:
        """All matches as (key, start token, end token), in no particular order."""
        strings = self._strings
        matches = [(strings[key], start, end) for key, start, end in self._phrases(doc)]
        return matches + self._patterns(doc.user_data[NORMS])


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a token pattern: some words, or a gap of up to `gap` tokens."""

    words: frozenset[str]
    optional: bool = False
    gap: int = 0


def read_pattern(nlp: Language, parts: Sequence[str]) -> tuple[Step, ...]:
    """A rule's token pattern: "a|b" alternatives, "word?" optional, "..3" a gap of 0 to 3."""
    steps = []
    for part in parts:
        if part.startswith(".."):
            steps.append(Step(frozenset(), gap=int(part[2:])))
            continue
        optional = part.endswith("?") and len(part) > 1
        words = (part[:-1] if optional else part).split("|")
        folded = frozenset(nlp.make_doc(word)[0].norm_ for word in words)
        steps.append(Step(folded, optional=optional))
    return tuple(steps)


class PatternFinder:
    """Finds token patterns; from each start the longest.

    spaCy's `Matcher` tests every alternative of every pattern on every token. Here patterns are
    looked up by their first word, and only those that begin with it are tried.
    """

    def __init__(self) -> None:
        self._by_word: dict[str, list[tuple[str, tuple[Step, ...]]]] = {}

    def add(self, key: str, steps: tuple[Step, ...]) -> None:
        """Add a pattern, which begins with words."""
        for first, step in enumerate(steps):
            for word in step.words:
                self._by_word.setdefault(word, []).append((key, steps[first:]))
            if not step.optional:
                break

    def __call__(self, norms: Sequence[str]) -> list[Match]:
        """All matches in a sentence of folded words."""
        found = []
        for start, word in enumerate(norms):
            for key, steps in self._by_word.get(word, ()):
                end = _match(steps, 0, norms, start)
                if end is not None:
                    found.append((key, start, end))
        return found


def _match(steps: tuple[Step, ...], number: int, norms: Sequence[str], at: int) -> int | None:
    """The furthest end of steps[number:] from token `at`, or None; no gap crosses a mark."""
    if number == len(steps):
        return at
    step = steps[number]
    ends = []
    if step.gap:
        for skipped in range(step.gap + 1):
            ends.append(_match(steps, number + 1, norms, at + skipped))
            if at + skipped >= len(norms) or not norms[at + skipped][0].isalnum():
                break
    else:
        if at < len(norms) and norms[at] in step.words:
            ends.append(_match(steps, number + 1, norms, at + 1))
        if step.optional:
            ends.append(_match(steps, number + 1, norms, at))
    return max((end for end in ends if end is not None), default=None)


def longest(matches: Iterable[Match]) -> list[Match]:
    """Matches that lie in no longer match of the same key, in order of their start."""
    kept: list[Match] = []
    for key, start, end in sorted(matches, key=lambda m: (m[1] - m[2], m[1])):
        if not any(k == key and s <= start and end <= e for k, s, e in kept):
            kept.append((key, start, end))
    return sorted(kept, key=lambda m: (m[1], m[2]))
