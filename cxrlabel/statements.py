"""Statements: an anatomical subject and what is said of it, paired within a clause.

"Heart size is normal", "clear lungs", "the heart, hila and mediastinum are unremarkable", "Heart:
enlarged.": a predicate stands behind its subjects, or right before the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc

from cxrlabel.checks import Phrase
from cxrlabel.phrases import Match, PhraseFinder, longest
from cxrlabel.rulerecords import Anatomy

Range = tuple[int, int]  # start and end token

_REACH: Final = 12  # tokens at most from a subject, or the list that it heads, to the predicate
_ADJACENT: Final = (
    3  # tokens at most from a predicate to the subject behind it: "normal sized heart"
)


class StatementFinder:
    """Finds statements in a sentence whose clauses are marked by sentence starts.

    Args:
        anatomy: the subjects and their predicates.
        clauses: word lists of rules/clauses.toml.
        denials: cues before a mention that deny; one that a predicate begins ("clear of") denies
            what stands behind it and is not said of it.
    """

    def __init__(
        self,
        nlp: Language,
        anatomy: Sequence[Anatomy],
        clauses: Mapping[str, tuple[str, ...]],
        *,
        denials: Iterable[str] = (),
    ) -> None:
        self._terms = PhraseFinder(nlp, {part.id: part.terms for part in anatomy})
        self._predicates = PhraseFinder(nlp, _predicate_phrases(anatomy))
        self._known = _KnownWords(
            verbs=frozenset(clauses["verbs"]),
            links=frozenset((",", "/", *clauses["conjunctions"], *clauses["joiners"])),
            former=frozenset(clauses["former"]),
            determiners=frozenset(clauses["determiners"]),
            denials=frozenset(tuple(denial.split()) for denial in denials),
        )

    def __call__(self, doc: Doc) -> list[tuple[str, Range, Range]]:
        """All statements as (key "rule id:assertion", predicate, subject)."""
        terms = longest(self._terms(doc))
        if not terms:
            return []
        predicates = longest(self._predicates(doc))
        found: list[tuple[str, Range, Range]] = []
        pairing = _Pairing(doc, [(s, e) for _, s, e in terms], self._known)
        for anatomy, start, end in terms:
            own = _own(anatomy, predicates)
            key = pairing.pair(anatomy, (start, end), own)
            if key is not None:
                found.append((key[0], key[1], (start, end)))
        return found


def _predicate_phrases(anatomy: Sequence[Anatomy]) -> dict[str, tuple[Phrase, ...]]:
    return {
        f"{part.id}:{assertion}": phrases
        for part in anatomy
        for assertion, phrases in part.predicates.items()
        if phrases
    }


def _own(anatomy: str, predicates: Sequence[Match]) -> list[Match]:
    """The predicates of one subject; of "normal" and "upper limit of normal" the longer."""
    own = [m for m in predicates if m[0].rpartition(":")[0] == anatomy]
    return [
        m
        for m in own
        if not any(
            o != m and o[1] <= m[1] and m[2] <= o[2] and o[2] - o[1] > m[2] - m[1] for o in own
        )
    ]


@dataclass(frozen=True, slots=True)
class _KnownWords:
    """What the words between subjects and predicates may be."""

    verbs: frozenset[str]
    links: frozenset[str]  # of a list
    former: frozenset[str]
    determiners: frozenset[str]
    denials: frozenset[tuple[str, ...]]


class _Pairing:
    """Pairs the subjects of one sentence, left to right, with their predicates."""

    def __init__(self, doc: Doc, terms: Sequence[Range], known: _KnownWords) -> None:
        self._doc = doc
        self._words = [token.lower_ for token in doc]
        self._terms = sorted(set(terms))
        self._known = known
        self._used: set[Range] = set()  # predicates that stand behind a subject

    def pair(self, anatomy: str, term: Range, own: Sequence[Match]) -> tuple[str, Range] | None:
        """The predicate of one subject, as (key, place), or None."""
        paired = self._attributive(term, own)
        if paired is None:
            paired = self._predicative(term, own)
            if paired is not None:
                self._used.add(paired[1])
        if paired is None:
            paired = self._shared(term, own)
        return paired

    def _attributive(self, term: Range, own: Sequence[Match]) -> tuple[str, Range] | None:
        """The predicate right before the subject: "normal heart size"."""
        for key, start, end in reversed(own):
            gap = self._words[end : term[0]]
            if start >= term[0] or end > term[1] or len(gap) > _ADJACENT:
                continue
            if not self._same_clause(start, term[0]):
                continue
            plain = not any(
                word in self._known.links or word in self._known.verbs or word in ".:;"
                for word in gap
            )
            free = (start, end) not in self._used and not self._term_within(end, term[0])
            if plain and free and not self._denies(start, end, term[0]):
                return key, (start, end)
        return None

    def _denies(self, start: int, end: int, limit: int) -> bool:
        """Whether a predicate begins a denial of what follows: "clear of airspace disease"."""
        openings = (tuple(self._words[start:stop]) for stop in range(end + 1, limit + 1))
        return any(words in self._known.denials for words in openings)

    def _predicative(self, term: Range, own: Sequence[Match]) -> tuple[str, Range] | None:
        """The nearest predicate behind the subject: "the heart and mediastinum are normal"."""
        tail = self._list_tail(term) if own else term
        for key, start, end in own:
            if start < term[1] or self._words[start - 1] in self._known.former:
                continue
            if start - max(term[1], tail[1]) > _REACH:
                continue
            if not self._same_clause(term[0], start) and not self._listed(term, tail, start):
                return None
            if not self._modifies_next(start, end):
                return key, (start, end)
        return None

    def _shared(self, term: Range, own: Sequence[Match]) -> tuple[str, Range] | None:
        """The predicate before the first subject of a list: "normal heart size and mediastinum"."""
        first = self._list_head(term)
        return None if first == term else self._attributive(first, own)

    def _list_head(self, term: Range) -> Range:
        """The first of the subjects that are joined to this one by commas and conjunctions only."""
        head = term
        for left, right in reversed(list(pairwise(self._terms))):
            overlapping = right[0] <= head[0] < right[1] or right == head
            if overlapping and self._linked(left[1], head[0]):
                head = left
        return head

    def _list_tail(self, term: Range) -> Range:
        """The last of the subjects that are joined to this one."""
        tail = term
        for following in self._terms:
            if self._linked(tail[1], following[0]):
                tail = following
        return tail

    def _listed(self, term: Range, tail: Range, predicate: int) -> bool:
        """Whether a bare list of subjects ends in the predicate's clause: "a, b, c are normal"."""
        if predicate < tail[1] or not self._same_clause(tail[0], predicate):
            return False
        before = self._list_head(term)[0] - 1
        while before >= 0 and self._words[before] in self._known.determiners:
            before -= 1
        return before < 0 or bool(self._doc[before + 1].is_sent_start)

    def _linked(self, end: int, start: int) -> bool:
        """Whether a comma or conjunction joins what ends here to what starts there."""
        return 0 < start - end <= _ADJACENT and self._words[end] in self._known.links

    def _modifies_next(self, start: int, end: int) -> bool:
        """Whether a predicate belongs to the subject right behind it: "and normal heart"."""
        if start > 0 and self._words[start - 1] in self._known.verbs:
            return False
        linked = end < len(self._words) and self._words[end] in self._known.links
        return not linked and any(end <= s <= end + 1 for s, _ in self._terms)

    def _term_within(self, start: int, end: int) -> bool:
        return any(start <= s and e <= end for s, e in self._terms)

    def _same_clause(self, start: int, end: int) -> bool:
        low, high = min(start, end), max(start, end)
        return not any(self._doc[i].is_sent_start for i in range(low + 1, high + 1))
