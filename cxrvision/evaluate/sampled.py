"""The audited studies among the evaluated ones, and what their design does to a variance.

The evaluated studies are themselves a sample of what the model will meet, and the audited ones a
stratified sample of a table that has them (two phases; Särndal, Swensson and Wretman 1992, ch. 9).
So there is no finite-population correction, but what strata explain varies with the first phase
alone. Let z be the weighted influence values of the m audited and evaluated of the n reviewed
studies of a stratum, each of which stands for w. The variance of their sum is

    sum of z**2 - (m / n) (1 - 1 / w) m mean(z)**2

which is what remains of the squares when a part of the mean is taken off each z: all of it in a
light sample (w large), nothing where every study was reviewed (w = 1) or the evaluated ones are few
of the stratum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.evaluate.estimates import effective_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrvision.evaluate.estimates import Bools, Floats, Integers
    from cxrvision.noise.audited import Reviewed


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The m audited studies whose truth is known for a finding, among n evaluated ones."""

    rows: Integers  # [m] where they are among the n
    truth: Bools  # [m] whether the study has the finding
    weights: Floats  # [m] evaluated studies that each stands for, 1 or more; 1 without a design
    strata: Integers | None  # [m] code of the stratum, 0 and up; None: the design is not known
    reviewed: Integers | None  # [m] reviewed studies of the stratum, evaluated or not
    stand_for: float  # evaluated studies that they are drawn from, by their own weights

    @property
    def designed(self) -> bool:
        """Whether it is known how the studies were drawn."""
        return self.strata is not None

    def kinds(self) -> tuple[int, int]:
        """Audited studies with the finding, and without."""
        return int(self.truth.sum()), int((~self.truth).sum())

    def effective(self, patients: Integers | None = None) -> tuple[float, float]:
        """How many unrelated studies of equal weight those with, and without, it are worth.

        Args:
            patients: [n] of all evaluated studies.
        """
        mine = None if patients is None else patients[self.rows]
        positive = effective_number(self.truth, self.weights, mine)
        return positive, effective_number(~self.truth, self.weights, mine)

    def adjust(self, influence: Floats) -> Floats:
        """Influence values whose squares add up to the variance under the design.

        Args:
            influence: [m] weighted.

        Returns:
            [m]; summed by patient before they are squared, where patients are known.
        """
        if self.strata is None or self.reviewed is None:
            return influence
        number = np.bincount(self.strata)[self.strata]
        sums = np.bincount(self.strata, influence)[self.strata]
        mean = sums / number
        share = number / np.maximum(self.reviewed, number)
        kept = np.sqrt(1 - share * (1 - 1 / self.weights))
        # with few studies in a stratum they are nearer to their own mean than to the stratum's
        scale = np.sqrt(number / np.maximum(number - 1, 1))
        found: Floats = np.where(number > 1, scale * (influence - mean) + kept * mean, influence)
        return found

    def spread(self, influence: Floats, studies: int) -> Floats:
        """[m] values put at their rows of `studies`, 0 elsewhere."""
        whole = np.zeros(studies)
        whole[self.rows] = influence
        return whole

    def take(self, chosen: Bools) -> Sampled:
        """Those of the audited studies at a mask, [m]."""
        return replace(
            self,
            rows=self.rows[chosen],
            truth=self.truth[chosen],
            weights=self.weights[chosen],
            strata=None if self.strata is None else self.strata[chosen],
            reviewed=None if self.reviewed is None else self.reviewed[chosen],
        )


def sample_of(reviewed: Reviewed, ids: Sequence[str]) -> Sampled:
    """The reviewed studies that are among the evaluated ones.

    Where the design is known their weights add up to the number of evaluated studies.

    Args:
        ids: [n] of the evaluated studies.
    """
    position = {study_id: row for row, study_id in enumerate(ids)}
    rows = np.array([position.get(study_id, -1) for study_id in reviewed.ids], dtype=np.int64)
    inside = rows >= 0
    weights = reviewed.weights[inside]
    whole = float(weights.sum())
    if reviewed.strata is None:
        return Sampled(rows[inside], reviewed.truth[inside], weights, None, None, whole)
    if whole:
        weights = np.maximum(weights * len(ids) / whole, 1.0)
    strata = reviewed.strata[inside]
    number = np.bincount(reviewed.strata)[strata]
    return Sampled(rows[inside], reviewed.truth[inside], weights, strata, number, whole)
