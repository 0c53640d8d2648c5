"""Why a learned label says what it says: the sentences that move it.

A sentence's worth is what its absence takes from the log odds of the label. That asks nothing of
the model but its probabilities, so that every kind of labeler answers it alike, and it is what a
reviewer wants to know. It costs one look at the report for each of its sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.findings import BLANK, NO_FINDING, POSITIVE, STATES, UNCERTAIN
from cxrlabel.learned.backend import states_of
from cxrlabel.learned.material import rules_codes
from cxrlabel.studies import LABELED, LEARNED, NONE, Mention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cxrlabel.learned.backend import Backend
    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]

_MOST: Final = 3  # sentences of a label
_LEAST: Final = 0.5  # log odds that a sentence adds
_EDGE: Final = 1e-6
_OPEN: Final = tuple(STATES.index(state) for state in (POSITIVE, UNCERTAIN))


def find_reasons(
    backend: Backend, readings: Sequence[Reading], rules: Codes, probs: Floats
) -> list[list[Mention]]:
    """For each reading the sentences that made its labels, as mentions.

    Labels that are positive or uncertain have reasons, and those that the rules would not have
    given. A reason's `rule` is the backend and the log odds that the sentence adds, "hybrid/+1.8".

    Args:
        rules: [N, F] what the rules found, each an index into STATES.
        probs: [N, F, 4] what the backend gives.
    """
    codes = states_of(probs)
    asked = np.isin(codes, _OPEN) | (codes != rules)
    if NO_FINDING in backend.labeler.findings:  # its reasons are those of the other labels
        asked[:, backend.labeler.findings.index(NO_FINDING)] = False
    asked[[reading.status != LABELED for reading in readings]] = False
    owners, places, variants = [], [], []
    for number in np.flatnonzero(asked.any(axis=1)).tolist():
        for place, (said, _, _) in enumerate(readings[number].sentences):
            if said.labels:
                owners.append(number)
                places.append(place)
                variants.append(backend.labeler.without(readings[number], place))
    found: list[list[Mention]] = [[] for _ in readings]
    if not variants:
        return found
    without = backend.probs(variants, rules_codes(backend.labeler, variants))
    owner = np.array(owners)
    state = codes[owner].astype(np.int64)[..., None]
    here = np.take_along_axis(probs[owner], state, axis=-1)[..., 0]
    there = np.take_along_axis(without, state, axis=-1)[..., 0]
    worth = np.where(asked[owner], _log_odds(here) - _log_odds(there), -np.inf)
    for number in np.unique(owner).tolist():
        rows = np.flatnonzero(owner == number)
        for column in np.flatnonzero(asked[number]).tolist():
            best = rows[np.argsort(-worth[rows, column], kind="stable")][:_MOST]
            label = STATES[codes[number, column]]
            found[number] += [
                _mention(
                    readings[number], places[row], backend.labeler.findings[column], label,
                    f"{backend.name}/{worth[row, column]:+.1f}",
                )
                for row in best.tolist()
                if worth[row, column] >= _LEAST
            ]  # fmt: skip
    return found


def _mention(reading: Reading, place: int, finding: str, label: str, rule: str) -> Mention:
    said, section, start = reading.sentences[place]
    return Mention(
        finding=finding,
        assertion=NONE if label == BLANK else label,
        reason=LEARNED,
        section=section,
        sentence=place,
        start=start,
        end=start + len(said.text),
        text=said.text,
        rule=rule,
        cue="",
        cue_start=None,
        cue_end=None,
        laterality="",
        severity="",
        temporality="",
    )


def _log_odds(probs: Floats) -> Floats:
    inside = np.clip(probs, _EDGE, 1 - _EDGE)
    odds: Floats = np.log(inside / (1 - inside))
    return odds
