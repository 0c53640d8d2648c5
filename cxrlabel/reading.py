"""A report that has been read: its sentences, and what each of them says by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cxrlabel.studies import Mention


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: it is a key
class SentenceMentions:
    """What a sentence names; offsets count from its start, section and sentence are not known."""

    mentions: tuple[Mention, ...]


class Answer(NamedTuple):
    """What "It has resolved." says of the mentions before it; offsets from the sentence's start."""

    assertion: str
    reason: str
    cue: str
    cue_start: int | None
    cue_end: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Said(SentenceMentions):
    """What a sentence says in a section that makes labels, or in one that does not."""

    bits: int  # of `FindingBits`, and behind them whether it has an answer
    answer: Answer | None
    text: str
    labels: bool  # whether its section makes labels


class Reading(NamedTuple):
    """A report as its sentences."""

    status: str
    sections: tuple[str, ...]  # those found, in order
    sentences: list[tuple[Said, str, int]]  # with its section, and where it begins
    bits: int  # of `FindingBits`: what all sentences say together; see `Labeler.is_plain`
