"""Assertions: what a mention says, from the cues that reach it.

Each kind of cue (negation, uncertainty, resolved …) is a negspacy component with a term set of its
own, working on the mentions inside our clauses. Where several kinds reach a mention the one with
the lowest priority number decides, so that "cannot be excluded" comes before plain negation and
negation before hedging (the precedence of the CheXpert labeler, Irvin et al. 2019, with more
kinds).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import spacy
from negspacy.negation import Negex
from spacy.language import Language
from spacy.tokens import Doc, Span

from cxrlabel.accents import AccentFolder
from cxrlabel.anaphora import ANAPHOR, AnaphorFinder
from cxrlabel.attributes import AttributeFinder
from cxrlabel.clauses import ClauseSplitter
from cxrlabel.mentions import MENTIONS, SUBJECTS, MentionFinder
from cxrlabel.rulerecords import CueSet, Rulebook
from cxrlabel.studies import NONE
from cxrlabel.tokens import OFFSETS, ReportTokenizer, WordFolder

Range = tuple[int, int]

_ALTERNATIVE_REACH: Final = 6  # tokens at most between "or" and the mention on either side


@dataclass(frozen=True, slots=True)
class Asserted:
    """One finding named in a sentence; offsets are relative to the sentence."""

    finding: str
    assertion: str
    reason: str
    start: int
    end: int
    rule: str
    cue: Range | None
    laterality: str
    severity: str
    temporality: str
    location: str


@dataclass(frozen=True, slots=True)
class Anaphor:
    """What a sentence such as "It has resolved." says of the mentions before it."""

    assertion: str
    reason: str
    cue: Range | None


@dataclass(frozen=True, slots=True)
class SentenceAnalysis:
    """All that a sentence says, independent of where it stands."""

    mentions: tuple[Asserted, ...]
    anaphor: Anaphor | None


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the cues make of one span; `cue` in tokens."""

    assertion: str
    reason: str
    cue: Range | None


class CueNegex(Negex):
    """negspacy's component, remembering which cues it found.

    negspacy keeps no trigger; the cue that decided is part of our evidence.
    """

    either: frozenset[tuple[str, ...]] = frozenset()  # cues of both directions, as words

    def process_negations(self, doc: Doc):  # type: ignore[no-untyped-def]
        """Find the cues as negspacy does, and keep them in `doc.user_data`."""
        preceding, following, terminating = super().process_negations(doc)
        following = [
            cue
            for cue in following
            if not self._looks_ahead(doc, cue[1], cue[2]) and not _within(cue, preceding)
        ]
        doc.user_data[self.extension_name] = (preceding, following)
        return preceding, following, terminating

    def _looks_ahead(self, doc: Doc, start: int, end: int) -> bool:
        """Whether a cue of both directions has a mention behind it in its clause."""
        if tuple(token.lower_ for token in doc[start:end]) not in self.either:
            return False
        stop = doc[start].sent.end
        return any(end <= span.start < stop for span in doc.spans[MENTIONS])


def _within(cue: tuple[int, int, int], others: Iterable[tuple[int, int, int]]) -> bool:
    """Whether a cue is part of a longer one: "negative" in "negative for"."""
    _, start, end = cue
    return any(s <= start and end <= e and e - s > end - start for _, s, e in others)


class SentenceAnalyzer:
    """Tokenises one sentence, finds clauses and mentions, and decides what they assert."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.nlp = _blank_pipeline(rulebook)
        self._cues = rulebook.cues
        self._clauses = ClauseSplitter(
            self.nlp,
            rulebook.clauses,
            before_cues=[cue for cues in rulebook.cues for cue in cues.before],
            after_cues=[cue for cues in rulebook.cues for cue in cues.after],
            abbreviations=rulebook.text["abbreviations"],
            denials=[
                cue for cues in rulebook.cues if cues.assertion == "negative" for cue in cues.before
            ],
        )
        self._mentions = MentionFinder(self.nlp, rulebook)
        self._negex = [_negex(self.nlp, cues, rulebook.cues) for cues in rulebook.cues]
        self._attributes = AttributeFinder(self.nlp, rulebook.attributes)
        self._anaphora = AnaphorFinder(self.nlp, rulebook.text)
        uncertain = rulebook.options["alternatives"] == "uncertain"
        self._alternatives = frozenset(rulebook.clauses["alternatives"] if uncertain else ())
        self._joiners = frozenset(rulebook.clauses["joiners"])
        self._questions = frozenset(rulebook.text["questions"])

    def __call__(self, sentence: str) -> SentenceAnalysis:
        """Analyse one sentence."""
        doc = self._anaphora(self._mentions(self._clauses(self.nlp.make_doc(sentence))))
        if not doc.spans[MENTIONS]:
            return SentenceAnalysis((), None)
        for negex in self._negex:
            negex(doc)
        spans = list(doc.spans[MENTIONS])
        decisions = [self._decide(doc, span) for span in spans]
        self._join_alternatives(doc, spans, decisions)
        _look_back(spans, decisions)
        if self._asks(doc):
            decisions = [_Decision(NONE, "question", None) for _ in decisions]
        return self._collect(doc, spans, decisions)

    def _decide(self, doc: Doc, span: Span) -> _Decision:
        """The kind of cue with the lowest priority among those that reach the span."""
        base = (
            "positive" if span.label_ == ANAPHOR else self._mentions.namings[span.label_].assertion
        )
        for cues in self._cues:
            if span._.get(_extension(cues)):
                cue = _deciding_cue(doc, span, doc.user_data[_extension(cues)])
                if base != "negative" or (cue is not None and cue[1] <= span.start):
                    return _combine(base, cues, cue)
        answer = self._anaphora.answer(doc) if span.label_ == ANAPHOR and span.start == 0 else None
        if answer is not None:
            return _Decision(answer, "answered", (span.start, span.end))
        return _Decision(*_UNCUED[base], None)

    def _join_alternatives(
        self, doc: Doc, spans: Sequence[Span], decisions: list[_Decision]
    ) -> None:
        """Make both sides of "a or b" and "a versus b" uncertain where they would be positive.

        "or" needs a finding on both sides, "versus" on one.
        """
        for token in doc:
            if token.lower_ not in self._alternatives:
                continue
            sides = [_neighbours(doc, spans, token.i, before=before) for before in (True, False)]
            if token.lower_ in self._joiners and [] in sides:
                continue
            for index in chain(*sides):
                if decisions[index].assertion == "positive" and decisions[index].cue is None:
                    cue = (token.i, token.i + 1)
                    decisions[index] = _Decision("uncertain", "alternative", cue)

    def _asks(self, doc: Doc) -> bool:
        return len(doc) > 1 and doc[-1].text == "?" and doc[0].lower_ in self._questions

    def _collect(
        self, doc: Doc, spans: Sequence[Span], decisions: Sequence[_Decision]
    ) -> SentenceAnalysis:
        anaphor: Anaphor | None = None
        mentions: list[Asserted] = []
        attributes = self._attributes(doc)
        for span, decision in zip(spans, decisions, strict=True):
            if span.label_ == ANAPHOR and span.start > 0:
                continue  # it speaks of a mention of this sentence
            if span.label_ == ANAPHOR:
                anaphor = Anaphor(
                    decision.assertion, decision.reason, _characters(doc, decision.cue)
                )
            else:
                mentions += self._asserted(doc, span, decision, attributes.of(span))
        return SentenceAnalysis(tuple(mentions), anaphor)

    def _asserted(
        self, doc: Doc, span: Span, decision: _Decision, attributes: Mapping[str, str]
    ) -> Iterable[Asserted]:
        naming = self._mentions.namings[span.label_]
        subject = doc.user_data[SUBJECTS].get((span.start, span.end, span.label_))
        extent = (span.start, span.end)
        if subject is not None:
            extent = (min(span.start, subject[0]), max(span.end, subject[1]))
        start, end = _characters(doc, extent) or (0, 0)
        cue = _characters(doc, decision.cue)
        for finding in naming.findings:
            yield Asserted(
                finding,
                decision.assertion,
                decision.reason,
                start,
                end,
                naming.id,
                cue,
                **attributes,
            )


# naming without a cue -> assertion and reason
_UNCUED: Final = {
    "positive": ("positive", "asserted"),
    "uncertain": ("uncertain", "hint"),
    "hint": ("uncertain", "hint"),
    "negative": ("negative", "normal statement"),
    "absence": (NONE, "asserted"),
    "ignore": (NONE, "ignored"),
}


def _blank_pipeline(rulebook: Rulebook) -> Language:
    nlp = spacy.blank(rulebook.lang)
    folder = WordFolder(_vocabulary(rulebook), rulebook.words)
    marks, unaccented = rulebook.text["deidentification"], AccentFolder(rulebook.words.accents)
    nlp.tokenizer = ReportTokenizer(nlp.vocab, folder, marks, unaccented)
    return nlp


def _vocabulary(rulebook: Rulebook) -> set[str]:
    """All words that rules and cues are made of."""
    phrases: list[str] = []
    entries = [
        *(phrase for rule in rulebook.rules() for phrase in rule.phrases),
        *(phrase for part in rulebook.anatomy() for phrase in part.terms),
        *(p for part in rulebook.anatomy() for group in part.predicates.values() for p in group),
        *(p for entry in rulebook.findings.values() for p in entry.exclusions),
        *(p for cues in rulebook.cues for p in (*cues.before, *cues.after, *cues.pseudo)),
        *(p for words in rulebook.clauses.values() for p in words),
        *(p for values in rulebook.attributes.values() for words in values.values() for p in words),
    ]
    for entry in entries:
        phrases += [entry] if isinstance(entry, str) else [p for p in entry if p[:2] != ".."]
    words = " ".join(phrases).replace("|", " ").replace("?", " ").split()
    return {word.lower() for word in words if word.isalpha()}


def _extension(cues: CueSet) -> str:
    return f"cxr_{cues.kind}"


def _negex(nlp: Language, cues: CueSet, all_cues: Sequence[CueSet]) -> CueNegex:
    """The negspacy component of one kind of cue.

    A phrase of another kind that holds one of these cues is pseudo for them: "cannot be excluded"
    holds "excluded", and only its own kind may read it.
    """
    own = [f" {phrase} " for phrase in (*cues.before, *cues.after)]
    holding = {
        phrase
        for other in all_cues
        if other.kind != cues.kind
        for phrase in (*other.before, *other.after)
        if any(cue in f" {phrase} " and cue != f" {phrase} " for cue in own)
        and not any(f" {phrase} " in cue for cue in own)
    }
    terms = {
        "pseudo_negations": sorted({*cues.pseudo, *holding}),
        "preceding_negations": list(cues.before),
        "following_negations": list(cues.after),
        "termination": [],
    }
    name = _extension(cues)
    negex = CueNegex(nlp, name, terms, extension_name=name, span_keys=[MENTIONS])
    negex.either = frozenset(
        tuple(token.lower_ for token in nlp.make_doc(cue)) for cue in cues.either
    )
    return negex


def _combine(base: str, cues: CueSet, cue: Range | None) -> _Decision:
    """What a cue makes of a naming, by what that is without one."""
    if base == "negative":
        if cues.assertion == NONE:
            return _Decision(NONE, cues.reason, cue)
        if cues.assertion == "negative" and cues.kind == "negation":
            return _Decision(NONE, "normality denied", cue)
        return _Decision("negative", "normal statement", None)
    if base == "ignore":
        return _Decision(NONE, "ignored", None)
    if base == "absence":
        denied = cues.assertion == "negative"
        return _Decision("negative" if denied else NONE, cues.reason, cue)
    if base == "hint":
        hinted = cues.assertion in ("positive", "uncertain")
        return _Decision("uncertain" if hinted else NONE, "hint" if hinted else cues.reason, cue)
    if base == "uncertain" and cues.assertion == "positive":
        return _Decision("uncertain", "hint", cue)
    return _Decision(cues.assertion, cues.reason, cue)


def _look_back(spans: Sequence[Span], decisions: list[_Decision]) -> None:
    """Let "…; this has resolved" decide about the mention before it in the sentence."""
    for index, (span, decision) in enumerate(zip(spans, decisions, strict=True)):
        decided = decision.cue is not None and decision.assertion in ("negative", "uncertain")
        if span.label_ != ANAPHOR or span.start == 0 or not decided:
            continue
        before = [i for i in range(index) if spans[i].label_ != ANAPHOR]
        for i in before:
            open_ = decisions[i].assertion in ("positive", "uncertain")
            if spans[i].start == spans[before[-1]].start and (
                open_ or decisions[i].reason == "historical"
            ):
                decisions[i] = decision


def _deciding_cue(
    doc: Doc, span: Span, found: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]
) -> Range | None:
    """The nearest cue within the clause; of two that begin together the longer."""
    clause = span.sent
    preceding, following = found
    cues = [(span.start - e, s, e) for _, s, e in preceding if clause.start <= s < span.start]
    cues += [(s - span.end, s, e) for _, s, e in following if s < clause.end and e > span.end]
    if not cues:
        return None
    _, start, end = min(cues, key=lambda cue: (max(cue[0], 0), cue[1] - cue[2]))
    return start, end


def _neighbours(doc: Doc, spans: Sequence[Span], position: int, *, before: bool) -> list[int]:
    """Indices of the mentions next to an "or" on one side within its clause."""
    gaps: dict[int, int] = {}
    for index, span in enumerate(spans):
        gap = position - span.end if before else span.start - position - 1
        same_clause = span.sent.start == doc[position].sent.start
        if same_clause and span.label_ != ANAPHOR and 0 <= gap <= _ALTERNATIVE_REACH:
            gaps[index] = gap
    return [index for index, gap in gaps.items() if gap == min(gaps.values())]


def _characters(doc: Doc, tokens: Range | None) -> Range | None:
    """Token range -> character offsets in the sentence."""
    if tokens is None:
        return None
    offsets = doc.user_data[OFFSETS]
    return offsets[tokens[0]][0], offsets[tokens[1] - 1][1]
