"""Which states a finding's reviews tell apart, and the four states made of those.

Reviewers who write 1, 0, -1 and blank tell four states apart; codes of 1 and 0 alone tell two: 0
says that the finding is not positive, and leaves open whether the report denies it, hedges it or
is silent. A model learns the classes that the reviews tell apart. Inside a class of several states
the rules decide, so that four states stay four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MIN_REVIEWED: Final = 5  # reports of a class from which it is learned


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one finding; the first is "positive"."""

    names: tuple[str, ...]  # the state that each class is called by
    of_state: tuple[int, ...]  # class of each of STATES

    def merge(self, by_state: Floats) -> Floats:
        """[…, 4] of the states to [..., K] of the classes, by sums."""
        merged = np.zeros((*by_state.shape[:-1], len(self.names)))
        for state, own in enumerate(self.of_state):
            merged[..., own] += by_state[..., state]
        return merged

    def spread(self, probs: Floats, rules: NDArray[np.uint8]) -> Floats:
        """[N, K] of the classes to [N, 4] of the states.

        The probability of a class belongs to the state that the rules found, where the class has
        it, else to the state that the class is called by.

        Args:
            probs: [N, K].
            rules: [N] what the rules found, each an index into STATES.
        """
        spread = np.zeros((len(probs), len(STATES)))
        own = np.asarray(self.of_state)[rules]
        rows = np.arange(len(probs))
        for number, name in enumerate(self.names):
            state = np.where(own == number, rules, STATES.index(name))
            spread[rows, state] += probs[:, number]
        return spread


def told_apart(counts: ArrayLike, used: Sequence[str]) -> Classes | None:
    """The classes that a finding's reviews allow; None where too few reports are positive, or not.

    Args:
        counts: [4] reviewed reports of each of STATES; fractions where reviewers differ.
        used: the states that the reviewers use for any finding. Where they never write blank, 0
            means "not positive"; the same holds for blank where they never write 0.
    """
    of = dict(zip(STATES, np.asarray(counts, dtype=np.float64).tolist(), strict=True))
    rest = NEGATIVE if NEGATIVE in used else BLANK
    names = [POSITIVE]
    names += [state for state in (UNCERTAIN, NEGATIVE, BLANK) if state != rest and state in used]
    names = [POSITIVE, *(state for state in names[1:] if of[state] >= MIN_REVIEWED)]
    others = sum(of[state] for state in STATES if state not in names)
    if of[POSITIVE] < MIN_REVIEWED or others + sum(of[s] for s in names[1:]) < MIN_REVIEWED:
        return None
    if others >= MIN_REVIEWED or len(names) == 1:
        names.append(rest)
    last = names[-1]
    return Classes(tuple(names), tuple(names.index(s if s in names else last) for s in STATES))
