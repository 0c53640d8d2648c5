"""Clauses: where what a cue says ends.

NegEx (Chapman et al. 2001) lets a cue reach to the end of the sentence. Report sentences are lists
and run-ons, so each sentence is cut into clauses first: at words that open one ("but", "there is"),
at marks, and at commas and conjunctions that join statements rather than list items. Clauses are
written as spaCy sentence starts, which is what negspacy takes as the bounds of its scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc

from cxrlabel.phrases import PhraseFinder

_HARD: Final = frozenset(".;")
_DASHES: Final = frozenset("-–—")
_NOUN: Final = 4  # letters at least: "to" in "no moderate to large effusion" is none
_LOOKAHEAD: Final = 3  # words at the start of a stretch that show what it is


class ClauseSplitter:
    """The pipeline component that marks clause starts.

    Args:
        clauses: word lists of rules/clauses.toml.
        before_cues: all cues that stand before a mention; one behind a comma begins a clause.
        after_cues: all cues that stand behind one.
        denials: those before a mention that deny; a preposition ends their reach.
        abbreviations: words whose stop ends nothing.
    """

    def __init__(
        self,
        nlp: Language,
        clauses: Mapping[str, tuple[str, ...]],
        *,
        before_cues: Iterable[str],
        after_cues: Iterable[str],
        denials: Iterable[str],
        abbreviations: Iterable[str],
    ) -> None:
        self._sets = {name: frozenset(words) for name, words in clauses.items()}
        self._sets["abbreviations"] = frozenset(abbreviations)
        self._finder = PhraseFinder(
            nlp,
            {
                "opener": clauses["openers"],
                "ender": clauses["enders"],
                "exception": clauses["ender_exceptions"],
                "cue": tuple(before_cues),
                "trailing": tuple(after_cues),
                "denial": tuple(denials),
            },
        )

    def __call__(self, doc: Doc) -> Doc:
        """Mark every token as the start of a clause or not."""
        sentence = _Sentence(doc, self._sets, self._finder(doc))
        starts = {0}
        for index in range(1, len(doc)):
            if sentence.opens_clause(index, max(starts)):
                starts.add(index)
        for token in doc:
            token.is_sent_start = token.i in starts
        return doc


class _Sentence:
    """One sentence while it is cut: words, and where openers, enders and cues begin."""

    def __init__(
        self, doc: Doc, sets: Mapping[str, frozenset[str]], matches: Iterable[tuple[str, int, int]]
    ) -> None:
        self._words = [token.lower_ for token in doc]
        self._texts = [token.text for token in doc]
        self._sets = sets
        self._verbs = sets["verbs"] | sets["predicatives"]
        self._awaiting = sets["articles"] | sets["conjunctions"] | sets["joiners"]
        self._starts: dict[str, set[int]] = {}
        self._cue_ends: dict[int, int] = {}
        self._trailing: dict[int, set[int]] = {}
        covered: set[int] = set()
        for key, start, end in matches:
            self._starts.setdefault(key, set()).add(start)
            if key == "cue":
                self._cue_ends[start] = max(end, self._cue_ends.get(start, 0))
            if key == "trailing":
                self._trailing.setdefault(start, set()).add(end)
            if key == "exception":
                covered.update(range(start, end))
        self._starts["ender"] = self._starts.get("ender", set()) - covered

    def opens_clause(self, index: int, start: int) -> bool:
        """Whether a clause begins at token `index`, the present one having begun at `start`."""
        word, before = self._words[index], self._words[index - 1]
        if (before in _HARD and not self._abbreviated(index - 1)) or self._runs_on(index, start):
            return True
        if self._denied(start, index) and (self._seen_another(index) or self._sized(index)):
            return True
        if index in self._starts.get("opener", ()):
            return not self._governed(index, start) and not self._inserted(index)
        if word in self._sets["conjunctions"]:
            return self._and_opens(index, start)
        if before == "," or before in _DASHES:
            return self._comma_opens(index, start)
        return index in self._starts["ender"] and self._ends_reach(index, start)

    def _abbreviated(self, index: int) -> bool:
        """Whether the stop at `index` belongs to the word before it: "vs."."""
        return index > 0 and self._words[index - 1] in self._sets["abbreviations"]

    def _runs_on(self, index: int, start: int) -> bool:
        """A full stop is missing: a capital, or "…, heart normal the lungs are clear"."""
        return self._capital(index) or self._restarts(index, start)

    def _capital(self, index: int) -> bool:
        """Whether a word has a capital in the middle of a mixed-case sentence."""
        text, before = self._texts[index], self._texts[index - 1]
        titled = text[0].isupper() and (text[1:].islower() or len(text) == 1)
        ended = before.islower() and before not in self._awaiting
        return titled and ended and text.lower() in self._sets["run_on"]

    def _restarts(self, index: int, start: int) -> bool:
        """A subject and its verb right behind the predicate that completes a statement."""
        if self._words[index] not in self._sets["determiners"]:
            return False
        completed = self._words[index - 1] in self._sets["predicatives"] and index - start > 1
        if not completed or self._words[start] in self._verbs:
            return False
        stretch = self._stretch(index)
        return any(self._words[i] in self._sets["verbs"] for i in stretch)

    def _seen_another(self, index: int) -> bool:
        """An article right behind "no x is seen": a full stop is missing."""
        participle = self._words[index - 1] in self._sets["participles"]
        return participle and self._words[index] in self._sets["articles"]

    def _sized(self, index: int) -> bool:
        """A quantity right behind a noun, "no edema small effusion": a full stop is missing."""
        before = self._words[index - 1]
        free = self._sets["attributive"] | self._sets["asserting"] | self._sets["articles"]
        return (
            self._words[index] in self._sets["quantities"]
            and len(before) >= _NOUN
            and before.isalpha()
            and before not in free | self._sets["joiners"] | self._sets["conjunctions"]
            and before not in self._sets["enders"] | self._sets["determiners"]
            and not any(s <= index - 1 < end for s, end in self._cue_ends.items())
            and self._words[index + 1 : index + 2] not in ([], ["enough"])
        )

    def _governed(self, index: int, start: int) -> bool:
        """Behind "if" or "whether" in the same clause the words "there is" open nothing."""
        return bool(self._sets["subordinators"] & set(self._words[start:index]))

    def _inserted(self, index: int) -> bool:
        """Whether a word stands between commas: "the heart, however, is enlarged"."""
        around = self._words[index - 1 : index + 2 : 2]
        return around == [",", ","]

    def _and_opens(self, index: int, start: int) -> bool:
        stretch = self._stretch(index + 1)
        if not stretch:
            return False
        if self._trails(index + 1, stretch[-1] + 1):
            return False
        if index + 1 in self._starts.get("cue", ()):
            return True
        if self._words[index + 1] in self._verbs:
            return False
        if self._has_verb(start, index) and self._has_verb(index + 1, stretch[-1] + 1):
            return True
        denied = self._denied(start, index)
        return denied and (self._asserts(index + 1) or self._predicated(index + 2, stretch[-1] + 1))

    def _comma_opens(self, index: int, start: int) -> bool:
        comma = index - 1
        word = self._words[index]
        stretch = self._stretch(index)
        end = stretch[-1] + 1 if stretch else index
        if word in self._sets["joiners"]:
            return False
        if comma in self._cue_ends.values() or self._trails(index, end):
            return False
        if index in self._starts.get("cue", ()):
            return True
        if word in self._sets["adjoining"]:
            return True
        if word in self._sets["continuing"] or self._goes_on(comma, end):
            return False
        if self._has_verb(index, end):
            return not self._list_goes_on(index, end, start, comma)
        if self._cued(start, comma):
            if self._verb_behind_cue(start, comma):
                return True
            return self._asserting(index) and not self._joined_later(index)
        return False

    def _trails(self, index: int, end: int) -> bool:
        """Whether a stretch is a cue about what stands before: "nodule, questionable"."""
        return end in self._trailing.get(index, ())

    def _goes_on(self, comma: int, end: int) -> bool:
        """A verb without a subject, a lone predicate or a second adjective carries the clause on.

        "the heart, enlarged before, is normal", "effusion, stable", "no displaced, acute fracture".
        """
        alone = end - comma == 2 and self._words[comma + 1] in self._verbs
        verb = self._words[comma + 1] in self._sets["verbs"]
        return alone or verb or self._words[comma - 1] in self._sets["attributive"]

    def _list_goes_on(self, index: int, end: int, start: int, comma: int) -> bool:
        """Whether a stretch with a verb is the last item of a list: "…, b or c is seen"."""
        if self._has_verb(start, comma):
            return False
        head = self._words[index : self._first_verb(index, end)]
        if self._words[index] in self._sets["conjunctions"]:
            return len(head) > 1 and head[1] not in self._sets["determiners"]
        joined = bool(self._sets["joiners"] & set(head))
        anded = bool(self._sets["conjunctions"] & set(head))
        if self._cued(start, comma):
            return joined and self._words[index] not in self._sets["determiners"]
        return joined or anded

    def _ends_reach(self, index: int, start: int) -> bool:
        denied = self._denied(start, index)
        accompanying = self._words[index] in self._sets["accompanying"]
        return denied or (accompanying and self._cued(start, index))

    def _asserts(self, index: int) -> bool:
        """A bare phrase behind "no x and" that asserts: "and a small …", "and small left …"."""
        words = self._words[index : index + _LOOKAHEAD]
        if words and words[0] in self._sets["articles"]:
            return True
        return len(self._sets["asserting"] & set(words[:2])) == 2

    def _asserting(self, index: int) -> bool:
        return self._words[index] in self._sets["asserting"] | self._sets["articles"]

    def _joined_later(self, index: int) -> bool:
        """Whether the list goes on to an "or": "no x, large y, or z"."""
        rest = self._words[index:]
        for position, word in enumerate(rest):
            if word in _HARD:
                return False
            if word in self._sets["joiners"]:
                return not self._has_verb(index, index + position)
        return False

    def _stretch(self, index: int) -> range:
        """Tokens from `index` to the next comma or hard mark."""
        end = index
        while end < len(self._words) and self._words[end] not in _HARD and self._words[end] != ",":
            end += 1
        return range(index, end)

    def _has_verb(self, start: int, end: int) -> bool:
        return any(word in self._verbs for word in self._words[start:end])

    def _predicated(self, start: int, end: int) -> bool:
        return any(word in self._sets["predicatives"] for word in self._words[start:end])

    def _first_verb(self, start: int, end: int) -> int:
        return next(i for i in range(start, end) if self._words[i] in self._verbs)

    def _cued(self, start: int, end: int) -> bool:
        return any(start <= cue < end for cue in self._starts.get("cue", ()))

    def _denied(self, start: int, end: int) -> bool:
        return any(start <= cue < end for cue in self._starts.get("denial", ()))

    def _verb_behind_cue(self, start: int, end: int) -> bool:
        first = min(cue for cue in self._cue_ends if start <= cue < end)
        return self._has_verb(self._cue_ends[first], end)
