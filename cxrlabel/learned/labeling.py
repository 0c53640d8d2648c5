"""Labeling by models: the step between what the rules found and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlabel.learned.backend import states_of
from cxrlabel.learned.reasons import find_reasons

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrlabel.learned.backend import Backend
    from cxrlabel.reading import Reading
    from cxrlabel.studies import Mention


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Learned:
    """What models say of N reports."""

    probs: NDArray[np.float64]  # [N, F, 4] of each of STATES
    codes: NDArray[np.uint8]  # [N, F] the labels, each an index into STATES
    reasons: list[list[Mention]]  # [N] the sentences that made them, where they are wanted


def label_learned(
    backend: Backend, readings: Sequence[Reading], rules: NDArray[np.uint8], *, reasons: bool
) -> Learned:
    """Label readings by models.

    Args:
        rules: [N, F] what the rules found, each an index into STATES.
        reasons: whether to look for the sentences that made the labels, which takes longer.
    """
    probs = backend.probs(readings, rules)
    found = find_reasons(backend, readings, rules, probs) if reasons else [[] for _ in readings]
    return Learned(probs, states_of(probs), found)
