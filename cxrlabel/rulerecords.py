"""Rule records: what the rule files say, checked and ready for the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cxrlabel.checks import Phrase

RULE_ASSERTIONS: Final = (
    "positive", "uncertain", "hint", "negative", "absence", "other", "ignore",
)  # fmt: skip
CUE_ASSERTIONS: Final = ("positive", "uncertain", "negative", "none")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of naming a finding.

    `assertion` is what naming it means before any cue: "positive"; "uncertain"; "hint", uncertain
    as well but nothing when denied; "negative" for a statement of normality; "absence" for words
    that count only when they are negated; "other" for an abnormality that is not this finding and
    denies it when denied; "ignore" for words that say nothing.
    """

    id: str  # "pleural_effusion/effusion"
    findings: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    assertion: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Statements of a subject and a predicate: "heart size is normal", "clear lungs"."""

    id: str
    findings: tuple[str, ...]
    terms: tuple[Phrase, ...]
    predicates: Mapping[str, tuple[Phrase, ...]]  # assertion -> phrases


@dataclass(frozen=True, slots=True)
class Example:
    """A report of a sentence or two and the label that it must get."""

    finding: str
    text: str
    expect: str
    place: str


@dataclass(frozen=True, slots=True)
class FindingRules:
    """What one rule file says about its finding."""

    finding: str
    path: Path
    source: str
    exclusions: tuple[Phrase, ...]
    rules: tuple[Rule, ...]
    anatomy: tuple[Anatomy, ...]
    misspellings: Mapping[str, str]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class CueSet:
    """The words of one kind that decide about the mentions they reach.

    `before` cues stand before the mention, `after` cues behind it. Those of `either` are in both
    lists and look back only where no mention stands behind them; `pseudo` phrases hold such words
    and mean nothing. Among kinds that reach one mention the lowest `priority` decides.
    """

    kind: str
    assertion: str
    reason: str
    priority: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    pseudo: tuple[str, ...]
    either: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """A convention on which readings differ."""

    name: str
    default: str
    choices: tuple[str, ...]
    about: str
    value: str  # the default, or what a user has chosen


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: its headings, and whether its statements make labels."""

    name: str
    headings: tuple[str, ...]
    labels: bool
    body: bool  # holds the description itself, unlike an impression
    rank: int  # a higher rank corrects a lower one: preliminary 0, body 1, addendum 2
    organ: bool  # "Lungs:" is no section of its own; it ends one that makes no labels


@dataclass(frozen=True, slots=True)
class Words:
    """How words are folded before they are compared, rules/words.toml."""

    plurals: tuple[tuple[str, str], ...]  # ending of the plural, of the singular
    spellings: tuple[tuple[str, str], ...]  # other spelling, ours
    keep: tuple[str, ...]  # right words that look like a misspelling
    misspellings: Mapping[str, str]  # those of the finding files as well
    accents: tuple[tuple[str, str], ...] = ()  # small letter with its accent, without


@dataclass(frozen=True)
class Rulebook:
    """All rules of a language, checked."""

    lang: str  # "en", "es"
    findings: Mapping[str, FindingRules]
    cues: tuple[CueSet, ...]
    sections: tuple[Section, ...]
    words: Words
    clauses: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Mapping[str, tuple[str, ...]]]  # "laterality" -> "left" -> phrases
    text: Mapping[str, tuple[str, ...]]  # rules/text.toml
    options: Mapping[str, str]
    hash: str

    def rules(self) -> Iterator[Rule]:
        """All rules of all findings."""
        for finding in self.findings.values():
            yield from finding.rules

    def anatomy(self) -> Iterator[Anatomy]:
        """All subject-predicate statements of all findings."""
        for finding in self.findings.values():
            yield from finding.anatomy

    def denials(self) -> Iterator[str]:
        """All cues that stand before a mention and deny it."""
        for cues in self.cues:
            if cues.assertion == "negative":
                yield from cues.before

    def examples(self) -> Iterator[Example]:
        """All examples of all findings."""
        for finding in self.findings.values():
            yield from finding.examples
