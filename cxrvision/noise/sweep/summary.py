"""Means of a sweep over its repeats, with 95 % intervals of Student's t.

Repeats differ in the draw of the labels and of the audit. The studies, the encoder and the studies
that are tested on are the same in all: the intervals say nothing about other data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.writers import open_rows
from cxrvision.evaluate.estimates import NAN, Measure, Z
from cxrvision.noise.sweep.rows import METRICS
from cxrvision.noise.sweep.settings import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrvision.noise.sweep.rows import Row

# 97.5th percentiles of Student's t with 1, 2 ... degrees of freedom
_T: Final = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """A method at a level of noise and a size of the audit, for one finding or in the mean."""

    sensitivity: float  # NaN for clean labels
    specificity: float
    audit: int  # 0 for methods that need none
    method: str
    finding: str
    repeats: int
    refused: float  # findings whose audit was too small: mean over the repeats
    auc: Measure
    brier: Measure
    calibration_slope: Measure
    prevalence_bias: Measure
    auc_gain: Measure  # over labels as they are, repeat by repeat
    brier_gain: Measure  # how much lower than with labels as they are

    @property
    def level(self) -> tuple[float, float]:
        """Sensitivity and specificity."""
        return self.sensitivity, self.specificity


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Means over the repeats, in the order of the rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    plain: dict[tuple[str, ...], Row] = {}
    for row in rows:
        level = (str(row.sensitivity), str(row.specificity))  # as text, NaN equals NaN
        groups.setdefault((*level, row.method, str(row.audit), row.finding), []).append(row)
        if row.method == NONE:
            plain[(*level, row.finding, str(row.repeat))] = row
    return [_summary(group, plain) for group in groups.values()]


def mean_measure(values: Sequence[float]) -> Measure:
    """The mean of the values that are defined, with the interval of Student's t.

    NaN for the ends with fewer than two values.
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Measure(NAN, NAN, NAN)
    mean = float(known.mean())
    if len(known) < 2:
        return Measure(mean, NAN, NAN)
    reach = student(len(known) - 1) * float(known.std(ddof=1)) / math.sqrt(len(known))
    return Measure(mean, mean - reach, mean + reach)


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t; beyond 20 by its expansion around the normal's."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    # Abramowitz and Stegun 1964, 26.7.5: within 2e-4 here
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    return Z + first / freedom + second / freedom**2


def write_summary(path: Path, summary: Sequence[Summary]) -> None:
    """Write summary.csv: a mean, `_low` and `_high` for each measure; blank where not defined."""
    columns: dict[str, type] = {}
    for name in _PLAIN:
        columns[name] = str if name in ("method", "finding") else float
    for name in _MEASURES:
        columns |= {name: float, f"{name}_low": float, f"{name}_high": float}
    with open_rows(path, columns, force=True, again="new") as writer:
        writer.write([tuple(None if x != x else x for x in _cells(row)) for row in summary])


def _cells(row: Summary) -> list[object]:
    cells: list[object] = [getattr(row, name) for name in _PLAIN]
    for name in _MEASURES:
        cells += [round(value, 6) for value in getattr(row, name)]
    return cells


def _summary(group: Sequence[Row], plain: dict[tuple[str, ...], Row]) -> Summary:
    first = group[0]
    gains = []
    for row in group:
        key = (str(row.sensitivity), str(row.specificity), row.finding, str(row.repeat))
        other = plain.get(key)
        gains.append(
            (NAN, NAN) if other is None else (row.auc - other.auc, other.brier - row.brier)
        )
    measures = {name: mean_measure([getattr(row, name) for row in group]) for name in METRICS}
    return Summary(
        sensitivity=first.sensitivity,
        specificity=first.specificity,
        audit=first.audit,
        method=first.method,
        finding=first.finding,
        repeats=len(group),
        refused=float(np.mean([row.refused for row in group])),
        auc_gain=mean_measure([auc for auc, _ in gains]),
        brier_gain=mean_measure([brier for _, brier in gains]),
        **measures,
    )


_MEASURES: Final = (*METRICS, "auc_gain", "brier_gain")
_PLAIN: Final = tuple(f.name for f in fields(Summary) if f.name not in _MEASURES)
