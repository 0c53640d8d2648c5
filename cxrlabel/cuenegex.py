"""Cues: where the words of one kind of cue stand, and which mentions they reach.

negspacy does both for one term set; each kind of cue is a component of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from negspacy.negation import Negex
from spacy.language import Language
from spacy.tokens import Doc

from cxrlabel.mentions import MENTIONS
from cxrlabel.rulerecords import CueSet


class CueNegex(Negex):
    """negspacy's component, remembering which cues it found.

    negspacy keeps no trigger; the cue that decided is part of our evidence.
    """

    either: frozenset[tuple[str, ...]] = frozenset()  # cues of both directions, as words

    def __call__(self, doc: Doc) -> Doc:
        """Mark the mentions that a cue reaches; most sentences have no cue of a kind."""
        if self.matcher(doc):
            return super().__call__(doc)
        doc.user_data[self.extension_name] = ([], [])
        return doc

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


def extension(cues: CueSet) -> str:
    """The span extension that a kind of cue sets, and its key in `doc.user_data`."""
    return f"cxr_{cues.kind}"


def cue_negex(nlp: Language, cues: CueSet, all_cues: Sequence[CueSet]) -> CueNegex:
    """The negspacy component of one kind of cue.

    A phrase of another kind that holds one of these cues is pseudo for them: "cannot be excluded"
    holds "excluded", and only its own kind may read it.
    """
    own = [f" {phrase} " for phrase in (*cues.before, *cues.after)]
    begins = {cue.split()[0] for cue in own}
    holding = {
        phrase
        for other in all_cues
        if other.kind != cues.kind
        for phrase in (*other.before, *other.after)
        if not begins.isdisjoint(phrase.split())
        and any(cue in f" {phrase} " and cue != f" {phrase} " for cue in own)
        and not any(f" {phrase} " in cue for cue in own)
    }
    terms = {
        "pseudo_negations": sorted({*cues.pseudo, *holding}),
        "preceding_negations": list(cues.before),
        "following_negations": list(cues.after),
        "termination": [],
    }
    name = extension(cues)
    negex = CueNegex(nlp, name, terms, extension_name=name, span_keys=[MENTIONS])
    negex.either = frozenset(
        tuple(token.lower_ for token in nlp.make_doc(cue)) for cue in cues.either
    )
    return negex
