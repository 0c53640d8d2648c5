"""Linear heads: one softmax for each finding over the features of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlabel.findings import STATES
from cxrlabel.learned.classes import Classes
from cxrlabel.learned.softmax import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Matrix = Any  # scipy.sparse.csr_matrix or an array


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """The heads of the findings that were learned, side by side: T classes in all."""

    findings: tuple[str, ...]
    classes: tuple[Classes, ...]  # of each finding
    weights: Floats  # [D, T]
    biases: Floats  # [T]
    # [T, 4] log odds that come on top for each state that the rules found; zeros where a model does
    # not look at the rules
    offsets: Floats
    slope: float = 1.0  # of all log odds: below 1 where they were too sure of themselves

    def bounds(self) -> list[tuple[int, int]]:
        """The columns of each finding."""
        ends = np.cumsum([len(own.names) for own in self.classes]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def logits(self, features: Matrix, rules: NDArray[np.uint8]) -> list[Floats]:
        """For each finding [N, K] log odds up to a constant.

        Args:
            features: [N, D].
            rules: [N, F] what the rules found, each an index into STATES.
        """
        summed = np.asarray(features @ self.weights) + self.biases
        return [
            self.slope * (summed[:, start:end] + self.offsets[start:end, rules[:, column]].T)
            for column, (start, end) in enumerate(self.bounds())
        ]

    def probs(self, features: Matrix, rules: NDArray[np.uint8]) -> Floats:
        """[N, F, 4] of STATES; arguments as of `logits`."""
        found = np.zeros((len(rules), len(self.findings), len(STATES)))
        for column, (own, logits) in enumerate(
            zip(self.classes, self.logits(features, rules), strict=True)
        ):
            found[:, column] = own.spread(np.exp(log_softmax(logits)), rules[:, column])
        return found


def join_heads(
    findings: Sequence[str],
    classes: Sequence[Classes],
    fitted: Sequence[tuple[Floats, Floats, Floats]],
    features: int,
) -> Heads:
    """Put heads side by side.

    Args:
        fitted: (weights [D, K], biases [K], offsets [K, 4]) of each finding.
        features: D, for a model without a head.
    """
    return Heads(
        tuple(findings),
        tuple(classes),
        np.concatenate([np.zeros((features, 0)), *(one[0] for one in fitted)], axis=1),
        np.concatenate([np.zeros(0), *(one[1] for one in fitted)]),
        np.concatenate([np.zeros((0, len(STATES))), *(one[2] for one in fitted)]),
    )
