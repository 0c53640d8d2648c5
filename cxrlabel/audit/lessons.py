"""What the measured label error means for training, finding by finding.

The number is J = PPV + NPV - 1. Where label error does not depend on the image given the truth,
AUC_noisy - 1/2 = J (AUC_true - 1/2): a perfect model gets 1/2 + J/2 against these labels. J is
drawn from the observation table, with uncertain labels counted as negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cxrlabel.audit.observation import FindingTable, Interval, Observation, StateRow, draw_table
from cxrlabel.findings import BLANK, POSITIVE, STATES, UNCERTAIN

GOOD: Final = "good"
USABLE: Final = "usable"
POOR: Final = "poor"
UNKNOWN: Final = "not known"
VERDICTS: Final = (GOOD, USABLE, POOR, UNKNOWN)
GOOD_FROM: Final = 0.8  # the lower limit of J
POOR_BELOW: Final = 0.6  # the upper limit of J
WIDE: Final = 0.4  # width of an interval with which a number is not known

ONES: Final = "U-Ones"
ZEROS: Final = "U-Zeros"
SOFT: Final = "soft target or U-Ignore"

_DRAWS: Final = 20_000
_TAILS: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What training can make of a finding's labels."""

    finding: str
    j: Interval  # PPV + NPV - 1
    uncertain: StateRow
    policy: str  # the fixed policy that fits P(truth | uncertain); "" where none was reviewed
    blank: StateRow
    verdict: str

    @property
    def ceiling(self) -> float:
        """The AUC of a perfect model against these labels."""
        return 0.5 + self.j.mean / 2


def learn(observation: Observation, *, seed: int = 0) -> list[Lesson]:
    """One lesson for each finding of the table, in its order."""
    return [_lesson(name, table, seed) for name, table in observation.findings.items()]


def _lesson(finding: str, table: FindingTable, seed: int) -> Lesson:
    j = _informedness(table, np.random.default_rng([seed, *finding.encode()]))
    uncertain = table.states[UNCERTAIN]
    return Lesson(
        finding, j, uncertain, _policy(uncertain), table.states[BLANK], _verdict(j, table)
    )


def _informedness(table: FindingTable, rng: np.random.Generator) -> Interval:
    """PPV + NPV - 1 with its central 95 %."""
    posterior = table.posterior
    drawn = draw_table(posterior.truth_given_state, posterior.state, rng, _DRAWS)
    place = STATES.index(POSITIVE)
    prevalence = drawn.prevalence
    hits = prevalence * drawn.state_given_truth[:, 0, place]
    labeled = hits + (1 - prevalence) * drawn.state_given_truth[:, 1, place]
    missed = (prevalence - hits) / np.maximum(1 - labeled, 1e-12)  # 1 - NPV
    j = drawn.truth_given_state[:, place] - missed
    low, high = np.quantile(j, _TAILS)
    return Interval(float(j.mean()), float(low), float(high))


def _policy(uncertain: StateRow) -> str:
    if not uncertain.observed:
        return ""
    if uncertain.lo > 0.5:
        return ONES
    return ZEROS if uncertain.hi < 0.5 else SOFT


def _verdict(j: Interval, table: FindingTable) -> str:
    if not table.enough or j.hi - j.lo > WIDE:
        return UNKNOWN
    if j.lo >= GOOD_FROM:
        return GOOD
    return POOR if j.hi < POOR_BELOW else USABLE


def by_verdict(lessons: list[Lesson]) -> Mapping[str, list[str]]:
    """Verdict -> its findings, in the order of `VERDICTS`."""
    return {
        verdict: [lesson.finding for lesson in lessons if lesson.verdict == verdict]
        for verdict in VERDICTS
    }
