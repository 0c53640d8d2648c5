"""Studies: from the mentions of a report to one label per finding.

positive > uncertain > negative > blank: Irvin et al. 2019, sec. 2.2. The public labeler's code
tests "negative and uncertain" first, so that an uncertain mention beats a positive one when a
negative is there as well; `aggregate="chexpert-code"` reproduces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final, NamedTuple

from cxrlabel.findings import (
    BLANK,
    NEGATIVE,
    NO_FINDING,
    OTHER_ABNORMALITY,
    POSITIVE,
    SUPPORT_DEVICES,
    UNCERTAIN,
)

NONE: Final = "none"  # a mention that makes no label
LEARNED: Final = "learned"  # the reason of a sentence that a learned labeler went by
AGGREGATES: Final = ("positive-first", "chexpert-code")
BITS: Final[Mapping[str, int]] = {POSITIVE: 1, UNCERTAIN: 2, NEGATIVE: 4}  # of assertions
OPEN: Final = BITS[POSITIVE] | BITS[UNCERTAIN]  # what blocks No Finding

MAX_CHARACTERS: Final = 2_000_000  # a longer report is not read

LABELED: Final = "labeled"
EMPTY: Final = "empty"
NO_SECTION: Final = "no usable section"
UNDECODABLE: Final = "undecodable"
TOO_LONG: Final = "too long"
STATUSES: Final = (LABELED, EMPTY, NO_SECTION, UNDECODABLE, TOO_LONG)


class Mention(NamedTuple):
    """A place in a report that names a finding, what it asserts there, and why.

    `start` and `end` are offsets into the text that was given, so that `text == report[start:end]`;
    where a report came as several section columns they are offsets into the column `section`.
    `assertion` is positive, negative, uncertain, or "none" where the mention makes no label.
    """

    finding: str  # "Other Abnormality" blocks No Finding and is no label
    assertion: str
    reason: str
    section: str
    sentence: int  # index in the report, from 0
    start: int
    end: int
    text: str
    rule: str  # "pleural_effusion/effusion"
    cue: str  # the words that decided, "" where there were none
    cue_start: int | None
    cue_end: int | None
    laterality: str  # left, right, bilateral or ""
    severity: str  # trace, mild, moderate, severe or ""
    temporality: str  # new, unchanged, improved, worse, resolved or ""
    location: str = ""  # upper, middle, lower, basal, apical, hilar, retrocardiac … or ""


@dataclass(frozen=True, slots=True)
class StudyLabels:
    """The labels of one report with their evidence."""

    status: str
    labels: Mapping[str, str]  # finding -> positive, uncertain, negative, blank
    mentions: tuple[Mention, ...]
    sections: tuple[str, ...]  # those found, in order


def correct(mentions: Sequence[Mention], ranks: Mapping[str, int]) -> list[Mention]:
    """Let a later reading win: an addendum over the body, the body over a preliminary reading.

    Args:
        mentions: all mentions of a report.
        ranks: section -> rank; a finding keeps the mentions of the highest rank that speaks of it.
    """
    highest: dict[str, int] = {}
    for m in mentions:
        if m.assertion != NONE:
            highest[m.finding] = max(ranks[m.section], highest.get(m.finding, 0))
    return [
        m._replace(assertion=NONE, reason="corrected")
        if m.assertion != NONE and ranks[m.section] < highest[m.finding]
        else m
        for m in mentions
    ]


def study_labels(
    mentions: Iterable[Mention],
    findings: Sequence[str],
    *,
    aggregate: str = "positive-first",
    others_block: bool = True,
) -> dict[str, str]:
    """One state per finding, in the order of `findings`, from a report that says something.

    Args:
        mentions: of one report.
        findings: those that get a label.
        aggregate: one of `AGGREGATES`.
        others_block: whether an abnormality without a label keeps a report from No Finding.

    Raises:
        ValueError: unknown `aggregate`.
    """
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate={aggregate!r}; expected one of {', '.join(AGGREGATES)}")
    asserted: dict[str, int] = {}
    for mention in mentions:
        if mention.assertion != NONE:
            asserted[mention.finding] = asserted.get(mention.finding, 0) | BITS[mention.assertion]
    labels = {name: state_of(asserted.get(name, 0), aggregate) for name in findings}
    if NO_FINDING in labels:
        abnormal = _abnormal(asserted, harmless(others_block=others_block))
        labels[NO_FINDING] = BLANK if abnormal else POSITIVE
    return labels


def state_of(bits: int, aggregate: str) -> str:
    """The state of a finding by the bits of all that mentions assert of it."""
    if aggregate == "chexpert-code" and bits & BITS[NEGATIVE] and bits & BITS[UNCERTAIN]:
        return UNCERTAIN
    return next((state for state, bit in BITS.items() if bits & bit), BLANK)


def blank_labels(findings: Sequence[str]) -> dict[str, str]:
    """The labels of a report that says nothing: an empty report is not a normal one."""
    return dict.fromkeys(findings, BLANK)


def harmless(*, others_block: bool) -> frozenset[str]:
    """The names that never block No Finding."""
    return frozenset({SUPPORT_DEVICES} if others_block else {SUPPORT_DEVICES, OTHER_ABNORMALITY})


def _abnormal(asserted: Mapping[str, int], ignored: Set[str]) -> bool:
    """Whether anything else is there or may be: Irvin et al. 2019, sec. 2.2."""
    return any(bits & OPEN for name, bits in asserted.items() if name not in ignored)
