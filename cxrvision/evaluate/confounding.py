"""What can be told without the image: the AUC of a finding from site or view position alone.

Where one hospital has more pneumonia, sorting by hospital alone ranks pneumonia (Zech et al. 2018:
AUC .861), and a model that has learned to recognise the hospital looks better than it is. Beside
it stands the model's AUC within the values of the column, over pairs of studies of the same value,
which such a model cannot gain by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrvision.evaluate.auc import estimate_auc_within, measure_auc
from cxrvision.evaluate.estimates import Measure, share_interval

if TYPE_CHECKING:
    from cxrvision.evaluate.cases import Cases


@dataclass(frozen=True, slots=True)
class ConfoundedFinding:
    """One finding and one column."""

    alone: Measure  # AUC of the column alone, each value ranked by its share of positives
    model: Measure  # AUC of the model
    within: Measure  # AUC of the model within the values


@dataclass(frozen=True, slots=True)
class Confounding:
    """A column that may tell of the findings."""

    by: str
    values: tuple[str, ...]
    findings: Mapping[str, ConfoundedFinding]


def measure_confounding(cases: Cases, columns: Sequence[str]) -> tuple[Confounding, ...]:
    """Measure it for each of the columns that is there with several values.

    The values are ranked by their shares in the same studies, so that the AUC of the column alone
    is never below .5; with few values and many studies that is a small gift.
    """
    found = []
    for column in dict.fromkeys(columns):
        if column not in cases.known:
            continue
        names, groups = np.unique(cases.known[column].to_numpy(dtype=str), return_inverse=True)
        if len(names) < 2:
            continue
        rows = {
            finding: row
            for place, finding in enumerate(cases.findings)
            if (row := _measure(cases, place, groups)) is not None
        }
        found.append(Confounding(column, tuple(str(n) for n in names), rows))
    return tuple(found)


def _measure(cases: Cases, place: int, every_group: np.ndarray) -> ConfoundedFinding | None:
    inside = cases.labelled(place)
    positive = cases.truth[inside, place] == 1
    if not positive.any() or positive.all():
        return None
    groups, patients = every_group[inside], cases.clusters[inside]
    probs = cases.probs[inside, place]
    sizes = np.maximum(np.bincount(groups), 1)
    shares = np.bincount(groups, positive, minlength=len(sizes)) / sizes
    within = estimate_auc_within(probs, positive, groups, patients=patients)
    return ConfoundedFinding(
        alone=measure_auc(shares[groups], positive, patients=patients),
        model=measure_auc(probs, positive, patients=patients),
        within=share_interval(within, patients=patients),
    )
