"""Saying: what a report says of each finding, given what the image shows. Here reports go wrong.

A finding that is there is missed, hedged or stated; one that is not there is overcalled, suspected,
denied or not spoken of. Every finding of every study has its own random number for each of these,
so that another rate changes only what it is about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES, UNCERTAIN
from cxrvision.phantom.findings import DRAWN


@dataclass(frozen=True, slots=True)
class Rates:
    """How reports err about a finding, and how often they deny it; all in [0, 1]."""

    missed: float  # of studies with the finding: not seen, and treated as absent
    hedged: float  # of those with it that were seen: "may represent"
    overcalled: float  # of studies without it: stated all the same
    suspected: float  # of studies without it: hedged
    denied: float  # of studies where it was not seen: said not to be there, else not spoken of


# Invented. What is hard to see is missed more often (Lung Lesion, Consolidation behind the heart),
# what looks like other things is hedged and overcalled more often (Edema, Atelectasis), and what a
# referrer asks about is denied more often (Pneumothorax, Pleural Effusion).
DEFAULT_RATES: Final[Mapping[str, Rates]] = {
    "Cardiomegaly": Rates(0.12, 0.12, 0.04, 0.04, 0.75),
    "Edema": Rates(0.12, 0.20, 0.02, 0.05, 0.40),
    "Consolidation": Rates(0.16, 0.18, 0.02, 0.05, 0.65),
    "Atelectasis": Rates(0.18, 0.18, 0.04, 0.06, 0.05),
    "Pneumothorax": Rates(0.15, 0.08, 0.005, 0.02, 0.85),
    "Pleural Effusion": Rates(0.14, 0.12, 0.02, 0.05, 0.85),
    "Lung Opacity": Rates(0.22, 0.10, 0.04, 0.03, 0.30),
    "Lung Lesion": Rates(0.22, 0.14, 0.01, 0.03, 0.10),
    "Nodule": Rates(0.24, 0.14, 0.01, 0.03, 0.10),
    "Mass": Rates(0.12, 0.15, 0.005, 0.01, 0.10),
    "Support Devices": Rates(0.10, 0.02, 0.005, 0.005, 0.04),
}

# What a state of the first also says of the second, as the labeler reads it
IMPLIED: Final[Mapping[str, str]] = {"Nodule": "Lung Lesion", "Mass": "Lung Lesion"}
_KINDS: Final = ("missed", "hedged", "overcalled", "suspected", "denied")
_ERRORS: Final = _KINDS[:-1]


def scale_rates(factor: float, rates: Mapping[str, Rates] = DEFAULT_RATES) -> dict[str, Rates]:
    """The rates with all errors and hedges multiplied, at most 1; with 0 reports say the truth."""
    return {
        name: replace(row, **{kind: min(1.0, factor * getattr(row, kind)) for kind in _ERRORS})
        for name, row in rates.items()
    }


def decide(
    drawn: Collection[str],
    scope: Collection[str],
    rates: Mapping[str, Rates],
    key: tuple[int, ...],
) -> dict[str, str]:
    """The state that a report gives to each finding.

    Args:
        drawn: what the image shows.
        scope: findings that a set may show; the others are not spoken of.
        rates: of every finding of the scope.
        key: seed of the study.

    Returns:
        Finding of the scope -> positive, uncertain, negative or blank, in the order of `DRAWN`.
    """
    draws = {
        name: dict(zip(_KINDS, np.random.default_rng([*key, place]).random(5), strict=True))
        for place, name in enumerate(DRAWN)
    }
    said = {
        name: _state(name in drawn, rates[name], draws[name]) for name in DRAWN if name in scope
    }
    return _without_contradiction(said)


def _state(there: bool, rates: Rates, draws: Mapping[str, float]) -> str:
    if there and draws["missed"] >= rates.missed:
        return UNCERTAIN if draws["hedged"] < rates.hedged else POSITIVE
    if not there and draws["overcalled"] < rates.overcalled:
        return POSITIVE
    if not there and draws["suspected"] < rates.suspected:
        return UNCERTAIN
    return NEGATIVE if draws["denied"] < rates.denied else BLANK


def _without_contradiction(said: dict[str, str]) -> dict[str, str]:
    """A parent is not denied beside a child that is spoken of: "no opacity" beside a mass."""
    from cxrvision.phantom.plan import PARENTS

    for child, state in said.items():
        for parent in PARENTS.get(child, ()):
            if state in (POSITIVE, UNCERTAIN) and said.get(parent) == NEGATIVE:
                said[parent] = BLANK
    return said


def implied(said: Mapping[str, str]) -> dict[str, str]:
    """The states with what they imply: the label that a report says for each finding."""
    states = dict(said)
    for child, parent in IMPLIED.items():
        if parent in states and child in said:
            states[parent] = min(states[parent], said[child], key=STATES.index)
    return states
