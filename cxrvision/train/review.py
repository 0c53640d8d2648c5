"""The reviewed studies of a split: whose truth is known, and what it is used for.

Truths are better than labels to choose the best epoch on, where there are enough of them. They are
also what such a study is learned from, whatever its label says: that it was drawn by its labels
does no harm to a likelihood that has the labels in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrvision.evaluate.estimates import effective_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cxrvision.noise.audited import Audited
    from cxrvision.train.prepare import Part
    from cxrvision.train.studies import Studies

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Reviewed studies with, and without, a finding from which on its AUC on them chooses the epoch.
# With fewer it is less sure than the AUC against labels, which error that does not depend on the
# image draws towards 1/2 without changing which of two models is better.
ENOUGH: Final = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """What is known of N studies."""

    truth: Floats  # [N, F] 1, 0; NaN where nobody looked, or where it was left open
    weights: Floats  # [N, F] studies that each stands for; 0 where the truth is not known

    @property
    def enough(self) -> Bools:
        """[F] whether a finding is to be judged by these truths."""
        columns = zip(self.truth.T, self.weights.T, strict=True)
        return np.array(
            [
                min(effective_number(truth == y, weight, None) for y in (0, 1)) >= ENOUGH
                for truth, weight in columns
            ]
        )


def find_review(audited: Audited, studies: Studies) -> Review:
    """The truths of these studies."""
    shape = len(studies), len(studies.findings)
    truth, weights = np.full(shape, np.nan), np.zeros(shape)
    rows = {study: row for row, study in enumerate(studies.ids)}
    for column, finding in enumerate(studies.findings):
        if finding not in audited.truth:
            continue
        found = audited.reviewed(finding)
        for study, present, weight in zip(found.ids, found.truth, found.weights, strict=True):
            if study in rows:
                truth[rows[study], column], weights[rows[study], column] = present, weight
    return Review(truth, weights)


def judging_note(part: Part | None, findings: Sequence[str]) -> str:
    """Which findings choose the best epoch by reviewed studies, and which by labels."""
    if part is None or part.review is None:
        return ""
    enough = part.review.enough
    by = {
        "reviewed studies": [name for name, so in zip(findings, enough, strict=True) if so],
        "labels": [name for name, so in zip(findings, enough, strict=True) if not so],
    }
    if not by["labels"]:
        return "the best epoch is chosen on reviewed studies of the split val"
    few = f"fewer than {ENOUGH:.0f} reviewed studies of the split val with or without the finding"
    if not by["reviewed studies"]:
        return f"the best epoch is chosen on labels: {few}"
    return (
        f"the best epoch is chosen on reviewed studies ({', '.join(by['reviewed studies'])}) and "
        f"on labels ({', '.join(by['labels'])}: {few})"
    )
