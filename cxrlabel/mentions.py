"""Mentions: the spans of a sentence that name a finding.

Two ways of naming: the phrases and token patterns of a rule ("pleural effusion"), and statements of
an anatomical subject with a predicate ("heart size is normal"), which are paired within a clause.
All mentions go to `doc.spans["mentions"]`; what they assert is decided later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from cxrlabel.phrases import Match, PhraseFinder
from cxrlabel.rulerecords import Anatomy, Rule, Rulebook
from cxrlabel.statements import StatementFinder

MENTIONS: Final = (
    "mentions"  # key in doc.spans; a span's label_ is a key of `MentionFinder.namings`
)
SUBJECTS: Final = "subjects"  # key in doc.user_data: span -> (start, end) token of its subject


@dataclass(frozen=True, slots=True)
class Naming:
    """What a mention's rule id stands for: findings and the assertion before any cue."""

    id: str
    findings: tuple[str, ...]
    assertion: str


class MentionFinder:
    """The pipeline component that writes `doc.spans["mentions"]`.

    A mention of a statement is its predicate, so that "not enlarged" is a negated mention; its
    subject is kept in `doc.user_data["subjects"]`.
    """

    def __init__(self, nlp: Language, rulebook: Rulebook) -> None:
        rules, anatomy = list(rulebook.rules()), list(rulebook.anatomy())
        self.namings = _namings(rules, anatomy)
        self._rules = PhraseFinder(nlp, {rule.id: rule.phrases for rule in rules})
        self._exclusions = PhraseFinder(
            nlp, {name: entry.exclusions for name, entry in rulebook.findings.items()}
        )
        self._statements = StatementFinder(
            nlp, anatomy, rulebook.clauses, denials=rulebook.denials()
        )
        self._owner = _owners(rulebook)

    def __call__(self, doc: Doc) -> Doc:
        """Find the mentions of one sentence whose clauses are marked."""
        subjects: dict[tuple[int, int, str], tuple[int, int]] = {}
        found = self._rules(doc)
        for key, predicate, subject in self._statements(doc):
            found.append((key, *predicate))
            subjects[*predicate, key] = subject
        doc.spans[MENTIONS] = self._longest(doc, self._allowed(doc, found, subjects))
        doc.user_data[SUBJECTS] = subjects
        return doc

    def _allowed(
        self, doc: Doc, found: list[Match], subjects: Mapping[tuple[int, int, str], tuple[int, int]]
    ) -> list[Match]:
        """The matches that no exclusion of their finding covers, subject and predicate."""
        excluded = self._exclusions(doc)
        kept = []
        for key, start, end in found:
            ranges = [(start, end)]
            if (start, end, key) in subjects:
                ranges.append(subjects[start, end, key])
            if not any(
                finding == self._owner[key] and _covers(s, e, *inner)
                for finding, s, e in excluded
                for inner in ranges
            ):
                kept.append((key, start, end))
        return kept

    def _longest(self, doc: Doc, found: list[Match]) -> list[Span]:
        """Where two ways of naming one finding overlap, the longer."""
        by_finding: dict[str, list[Span]] = {}
        for key, start, end in found:
            span = Span(doc, start, end, label=key)
            by_finding.setdefault(self.namings[key].findings[0], []).append(span)
        kept = [span for spans in by_finding.values() for span in filter_spans(spans)]
        return sorted(kept, key=lambda span: (span.start, span.end, span.label_))


def _namings(rules: Iterable[Rule], anatomy: Iterable[Anatomy]) -> dict[str, Naming]:
    namings = {rule.id: Naming(rule.id, rule.findings, rule.assertion) for rule in rules}
    for part in anatomy:
        for assertion in part.predicates:
            namings[f"{part.id}:{assertion}"] = Naming(part.id, part.findings, assertion)
    return namings


def _owners(rulebook: Rulebook) -> dict[str, str]:
    """Key of a naming -> the finding whose file it stands in, whose exclusions hold for it."""
    owners = {}
    for name, entry in rulebook.findings.items():
        owners.update({rule.id: name for rule in entry.rules})
        for part in entry.anatomy:
            owners.update({f"{part.id}:{assertion}": name for assertion in part.predicates})
    return owners


def _covers(start: int, end: int, inner_start: int, inner_end: int) -> bool:
    """Whether [start, end) overlaps the inner stretch and does not lie strictly inside it."""
    overlaps = start < inner_end and inner_start < end
    inside = inner_start <= start and end <= inner_end and end - start < inner_end - inner_start
    return overlaps and not inside
