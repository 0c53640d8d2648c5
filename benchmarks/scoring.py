"""Labels against human codes: which cells agree, and ratios with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlabel.findings import load_findings, resolve

Counts = NDArray[np.float32]
Ratio = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Reference:
    """What the coders wrote about N reports."""

    ids: list[str]
    codes: Mapping[str, NDArray[np.bool_]]  # finding -> [N], True where it is coded
    open: Mapping[str, NDArray[np.bool_]]  # finding -> [N], True where the codes leave it open


@dataclass(frozen=True)
class Cells:
    """Label against code: one array [N] per finding, 1 where it is so."""

    hits: Mapping[str, Counts]
    false: Mapping[str, Counts]
    missed: Mapping[str, Counts]

    def total(self, findings: Sequence[str]) -> tuple[Counts, Counts, Counts]:
        """Hits, false and missed labels by report, over these findings."""
        hits, false, missed = (
            np.sum([kind[name] for name in findings], axis=0)
            for kind in (self.hits, self.false, self.missed)
        )
        return hits, false, missed


def read_reference(path: Path) -> Reference:
    """The rows that the coders judged."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table["evaluable"] == "1"]
    columns = {resolve(column): column for column in map(str, table)}
    findings = [f.name for f in load_findings() if f.name in columns]
    no = pd.Series("0", table.index)
    return Reference(
        ids=table.iloc[:, 0].tolist(),
        codes={name: (table[columns[name]] == "1").to_numpy() for name in findings},
        open={
            name: (table.get(f"{columns[name]}__amb", no) == "1").to_numpy() for name in findings
        },
    )


def compare(
    labels: pd.DataFrame, reference: Reference, *, uncertain: int = 0, drop_open: bool = False
) -> Cells:
    """Compare labels with codes; a report without a row is blank.

    Args:
        labels: 1, 0, -1 or NaN by id and finding.
        uncertain: what an uncertain label counts as, 1 or 0.
        drop_open: leave out the cells that the codes leave open.
    """
    rows = labels.reindex(reference.ids)
    kinds: tuple[dict[str, Counts], ...] = ({}, {}, {})
    for name in (name for name in reference.codes if name in rows):
        values = rows[name].to_numpy()
        said = (values == 1) | (values == -1 if uncertain else False)
        coded = reference.codes[name]
        judged = ~reference.open[name] | (not drop_open)
        for kind, cells in zip(kinds, (said & coded, said & ~coded, ~said & coded), strict=True):
            kind[name] = (cells & judged).astype(np.float32)
    return Cells(*kinds)


def resample(count: int, times: int, seed: int) -> Counts:
    """How often each report is drawn in each resample, [times, count]."""
    drawn = np.random.default_rng(seed).integers(0, count, (times, count))
    return np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float32)


def precision(hits: Any, false: Any, missed: Any) -> Any:
    """Share of our positives that are coded; NaN where there are none."""
    return _divide(hits, hits + false)


def recall(hits: Any, false: Any, missed: Any) -> Any:
    """Share of the coded that we found."""
    return _divide(hits, hits + missed)


def f1(hits: Any, false: Any, missed: Any) -> Any:
    """Harmonic mean of both."""
    return _divide(2 * hits, 2 * hits + false + missed)


def _divide(part: Any, whole: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)


def with_interval(values: tuple[Counts, Counts, Counts], weights: Counts, ratio: Ratio) -> str:
    """`0.874 [0.861, 0.887]`: percentiles of the ratio over resampled reports."""
    drawn = ratio(*(weights @ value for value in values))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{ratio(*(value.sum() for value in values)):.3f} [{low:.3f}, {high:.3f}]"
