"""Reviewed reports as the rules read them: what every kind of labeler is fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.chunks import read_row
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.learned.features import ReportFeatures
from cxrlabel.reading import Reading
from cxrlabel.studies import LABELED

_SMOOTHING: Final = 0.5  # reports that the pooled table has of each pair of states beforehand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler
    from cxrlabel.learned.reviewed import Reviewed

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Material:
    """N reviewed reports, their readings, and what the rules found."""

    labeler: Labeler
    reviewed: Reviewed
    readings: list[Reading]
    rules: NDArray[np.uint8]  # [N, all findings of the labeler], each an index into STATES
    _names: dict[int, list[set[str]]] = field(default_factory=dict)  # by the longest n-gram

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Material:
        """Some of the reports, by their places or by a mask."""
        places = np.arange(len(self.readings))[chosen]
        return replace(
            self,
            reviewed=self.reviewed.take(places),
            readings=[self.readings[i] for i in places],
            rules=self.rules[places],
            _names={longest: [own[i] for i in places] for longest, own in self._names.items()},
        )

    def feature_names(self, *, longest: int) -> Sequence[set[str]]:
        """The features of each report; they are kept, as folds share them."""
        if longest not in self._names:
            features = ReportFeatures(self.labeler, longest=longest)
            self._names[longest] = [
                features.names(reading, codes)
                for reading, codes in zip(self.readings, self.rules.tolist(), strict=True)
            ]
        return self._names[longest]


def read_material(reviewed: Reviewed, labeler: Labeler, *, place: str) -> Material:
    """Read reviewed reports by the rules.

    Reports that say nothing, or cannot be read, teach nothing: they are left out.

    Args:
        place: the reviews' name in messages.

    Raises:
        InputError: a finding that the rules do not know, or no report says anything.
    """
    unknown = [name for name in reviewed.findings if name not in labeler.findings]
    if unknown:
        raise InputError(f"{place}: the rules have no finding {unknown[0]!r}")
    readings = [read_row(labeler, row) for row in reviewed.rows]
    says = np.array([reading.status == LABELED for reading in readings])
    if not says.any():
        raise InputError(f"{place}: no reviewed report has a section that makes labels")
    readings = [reading for reading in readings if reading.status == LABELED]
    rules = rules_codes(labeler, readings)
    return Material(labeler, reviewed.take(says), readings, rules)


def rules_codes(labeler: Labeler, readings: Iterable[Reading]) -> NDArray[np.uint8]:
    """[N, F] what the rules find, each an index into STATES."""
    some = list(readings)
    bits = [
        reading.bits
        if labeler.is_plain(reading)
        else labeler.bits.of(labeler.conclude(reading).mentions)
        for reading in some
    ]
    silent = np.array([reading.status != LABELED for reading in some], dtype=bool)
    return labeler.bits.labels(bits, silent, labeler.aggregate)


def pooled_table(material: Material) -> Floats:
    """[4, 4] P(reviewed state | state that the rules found) over all findings, in STATES."""
    reviewed, rules = material.reviewed, material.rules
    columns = [material.labeler.findings.index(name) for name in reviewed.findings]
    counts = np.full((len(STATES), len(STATES)), _SMOOTHING)
    np.add.at(counts, rules[:, columns], reviewed.shares)
    table: Floats = counts / counts.sum(axis=1, keepdims=True)
    return table
