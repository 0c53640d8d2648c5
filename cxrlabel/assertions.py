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
from typing import Final, cast

from spacy.tokens import Doc, Span
from spacy.util import get_lang_class
from spacy.vocab import Vocab

from cxrlabel.accents import AccentFolder
from cxrlabel.anaphora import ANAPHOR, AnaphorFinder
from cxrlabel.attributes import AttributeFinder
from cxrlabel.clauses import ClauseSplitter
from cxrlabel.cuenegex import cue_negex, extension
from cxrlabel.findings import OTHER_ABNORMALITY
from cxrlabel.mentions import MENTIONS, SUBJECTS, MentionFinder
from cxrlabel.phrases import PhraseFinder
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


class SentenceAnalyzer:
    """Tokenises one sentence, finds clauses and mentions, and decides what they assert."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.nlp = get_lang_class(rulebook.lang)(
            create_tokenizer=lambda nlp: _tokenizer(nlp.vocab, rulebook)
        )
        self._cues = rulebook.cues
        tokenizer = cast(ReportTokenizer, self.nlp.tokenizer)
        with tokenizer.remembering():
            self._build(rulebook)

    def _build(self, rulebook: Rulebook) -> None:
        self._clauses = ClauseSplitter(
            self.nlp,
            rulebook.clauses,
            before_cues=[cue for cues in rulebook.cues for cue in cues.before],
            after_cues=[cue for cues in rulebook.cues for cue in cues.after],
            abbreviations=rulebook.text["abbreviations"],
            denials=rulebook.denials(),
        )
        self._mentions = MentionFinder(self.nlp, rulebook)
        self._negex = [cue_negex(self.nlp, cues, rulebook.cues) for cues in rulebook.cues]
        self._attributes = AttributeFinder(self.nlp, rulebook.attributes)
        self._anaphora = AnaphorFinder(self.nlp, rulebook.text)
        self._mimics = PhraseFinder(self.nlp, {"mimic": rulebook.clauses["mimics"]})
        uncertain = rulebook.options["alternatives"] == "uncertain"
        self._alternatives = frozenset(rulebook.clauses["alternatives"] if uncertain else ())
        self._joiners = frozenset(rulebook.clauses["joiners"])
        self._questions = frozenset(rulebook.text["questions"])
        self._substitutes = frozenset(rulebook.text["substitutes"])

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
        _look_back(doc, spans, decisions, self._substitutes)
        if self._asks(doc):
            decisions = [_Decision(NONE, "question", None) for _ in decisions]
        return self._collect(doc, spans, decisions)

    def _decide(self, doc: Doc, span: Span) -> _Decision:
        """The kind of cue with the lowest priority among those that reach the span."""
        base = (
            "positive" if span.label_ == ANAPHOR else self._mentions.namings[span.label_].assertion
        )
        for cues in self._cues:
            if span._.get(extension(cues)):
                cue = _deciding_cue(doc, span, doc.user_data[extension(cues)])
                if base != "negative" or (cue is not None and self._touches(doc, cue, span)):
                    return _combine(base, cues, cue)
        answer = self._anaphora.answer(doc) if span.label_ == ANAPHOR and span.start == 0 else None
        if answer is not None:
            return _Decision(answer, "answered", (span.start, span.end))
        return _Decision(*_UNCUED[base], None)

    def _touches(self, doc: Doc, cue: Range, span: Span) -> bool:
        """Whether a cue before a normal statement is about it and not about a mention before it."""
        start, _ = doc.user_data[SUBJECTS].get((span.start, span.end, span.label_), (span.start, 0))
        between = range(cue[1], min(start, span.start))
        return cue[1] <= span.start and not any(
            other.start in between for other in doc.spans[MENTIONS]
        )

    def _join_alternatives(
        self, doc: Doc, spans: Sequence[Span], decisions: list[_Decision]
    ) -> None:
        """Make both sides of "a or b" and "a versus b" uncertain where they would be positive.

        "or" needs a finding on both sides, or what is taken for one, "versus" on one.
        """
        for token in doc:
            if token.lower_ not in self._alternatives:
                continue
            sides = [_neighbours(doc, spans, token.i, before=before) for before in (True, False)]
            if token.lower_ in self._joiners and [] in sides and not self._mimicked(doc, token.i):
                continue
            for index in chain(*sides):
                if decisions[index].assertion == "positive" and decisions[index].cue is None:
                    cue = (token.i, token.i + 1)
                    decisions[index] = _Decision("uncertain", "alternative", cue)

    def _mimicked(self, doc: Doc, position: int) -> bool:
        """Whether what is taken for a finding stands on one side of an "or" in its clause."""
        clause = doc[position].sent
        return any(
            clause.start <= start
            and end <= clause.end
            and (
                0 <= position - end <= _ALTERNATIVE_REACH
                or 0 < start - position <= _ALTERNATIVE_REACH
            )
            for _, start, end in self._mimics(doc)
        )

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
        return SentenceAnalysis(tuple(_once(mentions)), anaphor)

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
        unlabeled = naming.assertion == "other" and decision.assertion != "negative"
        for finding in (OTHER_ABNORMALITY,) if unlabeled else naming.findings:
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
    "other": ("positive", "asserted"),
    "absence": (NONE, "asserted"),
    "ignore": (NONE, "ignored"),
}


def _tokenizer(vocab: Vocab, rulebook: Rulebook) -> ReportTokenizer:
    folder = WordFolder(_vocabulary(rulebook), rulebook.words)
    marks, unaccented = rulebook.text["deidentification"], AccentFolder(rulebook.words.accents)
    return ReportTokenizer(vocab, folder, marks, unaccented)


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


def _look_back(
    doc: Doc, spans: Sequence[Span], decisions: list[_Decision], substitutes: frozenset[str]
) -> None:
    """Let "…; this has resolved" decide about the mention before it in the sentence."""
    for index, (span, decision) in enumerate(zip(spans, decisions, strict=True)):
        decided = decision.cue is not None and decision.assertion in ("negative", "uncertain")
        if span.label_ != ANAPHOR or span.start == 0 or not decided:
            continue
        before = [i for i in range(index) if spans[i].label_ != ANAPHOR]
        for i in before:
            open_ = decisions[i].assertion in ("positive", "uncertain") or (
                # "no pneumothorax, but a small one cannot be excluded"
                decisions[i].assertion == "negative"
                and decision.assertion == "uncertain"
                and doc[span.end - 1].lower_ in substitutes
            )
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


def _once(mentions: Iterable[Asserted]) -> Iterable[Asserted]:
    """One mention of two rules that find an Other Abnormality in the same words."""
    seen: set[Range] = set()
    for mention in mentions:
        place = (mention.start, mention.end)
        if mention.finding != OTHER_ABNORMALITY or place not in seen:
            yield mention
        if mention.finding == OTHER_ABNORMALITY:
            seen.add(place)


def _characters(doc: Doc, tokens: Range | None) -> Range | None:
    """Token range -> character offsets in the sentence."""
    if tokens is None:
        return None
    offsets = doc.user_data[OFFSETS]
    return offsets[tokens[0]][0], offsets[tokens[1] - 1][1]
