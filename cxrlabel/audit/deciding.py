"""What decided each label: the mention that made it, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cxrlabel.audit.compare import study_weights
from cxrlabel.findings import BLANK, NEGATIVE, NO_FINDING, POSITIVE, SUPPORT_DEVICES, UNCERTAIN
from cxrlabel.studies import LEARNED, NONE, Mention

if TYPE_CHECKING:
    from cxrlabel.audit.compare import Comparison

Mentions = Mapping[str, Sequence[Mention]]  # by study

FALSE_POSITIVE: Final = "fp"
MISSED: Final = "fn"
UNDECIDED: Final = "uncertain"
KINDS: Final = (FALSE_POSITIVE, MISSED, UNDECIDED)

NOT_MENTIONED: Final = "not mentioned"
FOLLOWS: Final = "nothing abnormal"  # No Finding is made of no words
BLOCKED: Final = "another finding"  # and a blank one of another finding
UNKNOWN: Final = "no such mention"  # filled from a child, or labels and mentions of two runs

_CODES: Final[Mapping[float, str]] = {1.0: POSITIVE, -1.0: UNCERTAIN, 0.0: NEGATIVE}


class Deciding(NamedTuple):
    """What made a label; all is "" where mentions were not given."""

    reason: str = ""  # of the mention, or one of those above
    section: str = ""
    rule: str = ""
    cue: str = ""  # in lower case, one space between words
    mention: Mention | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a study whose truth is known, with what decided it."""

    study: int  # place in the comparison
    study_id: str
    finding: str
    state: str
    present: bool  # the truth
    weight: float  # studies that it stands for
    deciding: Deciding

    @property
    def kind(self) -> str:
        """How it differs from the truth: fp, fn, uncertain; "" where it does not."""
        if self.state == UNCERTAIN:
            return UNDECIDED
        if self.state == POSITIVE:
            return "" if self.present else FALSE_POSITIVE
        return MISSED if self.present else ""


def known_labels(comparison: Comparison, mentions: Mentions | None) -> list[Label]:
    """All labels whose truth is known, by finding and then by study.

    Args:
        mentions: of the labeling run by study; None: they were not given.
    """
    ids = [str(name) for name in comparison.labels.index]
    found = []
    for finding in comparison.findings:
        states = comparison.labels[finding].to_numpy()
        truths = comparison.truth[finding].to_numpy()
        known = ~np.isnan(truths)
        places = np.flatnonzero(known)
        for place, weight in zip(places, study_weights(comparison, known), strict=True):
            state = _CODES.get(states[place], BLANK)
            decided = Deciding()
            if mentions is not None:
                about = mentions_about(finding, mentions.get(ids[place], ()))
                decided = _decide(finding, state, about)
            present = bool(truths[place] == 1)
            found.append(
                Label(int(place), ids[place], finding, state, present, float(weight), decided)
            )
    return found


def _decide(finding: str, state: str, mentions: Sequence[Mention]) -> Deciding:
    """The first mention that says what the label does; one that makes no label for a blank."""
    if finding == NO_FINDING:
        if state == POSITIVE:
            return Deciding(FOLLOWS)
        return _of(mentions[0])._replace(reason=BLOCKED) if mentions else Deciding(UNKNOWN)
    wanted = NONE if state == BLANK else state
    mention = next((m for m in mentions if m.assertion == wanted), None)
    if mention is not None:
        return _of(mention)
    return Deciding(NOT_MENTIONED if state == BLANK and not mentions else UNKNOWN)


def _of(mention: Mention) -> Deciding:
    cue = " ".join(mention.cue.split()).casefold()
    rule = mention.rule
    if mention.reason == LEARNED:  # the labeler, without what the sentence was worth
        rule = rule.rpartition("/")[0]
    return Deciding(mention.reason, mention.section, rule, cue, mention)


def mentions_about(finding: str, mentions: Sequence[Mention]) -> list[Mention]:
    """A study's mentions of a finding; for No Finding those that stand against it."""
    if finding != NO_FINDING:
        return [mention for mention in mentions if mention.finding == finding]
    against = (POSITIVE, UNCERTAIN)
    return [m for m in mentions if m.assertion in against and m.finding != SUPPORT_DEVICES]
