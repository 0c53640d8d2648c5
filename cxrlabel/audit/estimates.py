"""How good the labels are: counts, measures and their 95 % intervals, one row for each finding.

Without a sample table the measures are those of the reviewed studies, with Wilson's interval: F1
too, which is 2 J / (1 + J) of the share J = tp / (tp + fp + fn) (Hand, Christen and Kirielle 2021);
kappa as `cxrlabel.audit.intervals` makes it. With a sample table they are weighted, and the
intervals are those of `weighted_limits`, for the studies that the sample was drawn from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.compare import READINGS, Cells, Comparison, cells_of
from cxrlabel.audit.intervals import (
    CELLS,
    DRAWS,
    MEASURES,
    add_up,
    measures,
    weighted_limits,
    wilson,
)
from cxrlabel.audit.patients import design_effect, effective_patients, patient_variance
from cxrlabel.writers import open_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

MEASURE_NAMES: Final[Mapping[str, str]] = {name: name for name in MEASURES}
FEW: Final = 5.0  # events below which an estimate means little
COLUMNS: Final = (
    "finding",
    "uncertain_as",
    "n",
    *CELLS,
    *(f"{name}{end}" for name in MEASURES for end in ("", "_lo", "_hi")),
    "note",
)

# measure's index -> cells of the share that it is (of J for F1), and those that it is a share of
_SHARES: Final[Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    MEASURES.index(name): cells
    for name, cells in {
        "sensitivity": ((0,), (0, 2)),
        "specificity": ((3,), (1, 3)),
        "ppv": ((0,), (0, 1)),
        "npv": ((3,), (2, 3)),
        "f1": ((0,), (0, 1, 2)),
        "prevalence": ((0, 2), (0, 1, 2, 3)),
    }.items()
}


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The measures of a label, in the order of `MEASURES`; NaN where one is not defined."""

    counts: Integers  # [4] tp, fp, fn, tn: studies, unweighted
    values: Floats  # [7] weighted where there are strata
    low: Floats  # [7]
    high: Floats  # [7]
    # [7] how many studies of equal weight, or patients, each measure rests on: those of its
    # denominator, and at most their weight over that of one case that was not seen
    events: Floats
    left_out: int  # studies of strata of which none was reviewed; the estimate is not for them

    def warning(self, names: Mapping[str, str] = MEASURE_NAMES) -> str:
        """What to be warned of, or "".

        Args:
            names: the measures to speak of, as they are called -> as they are in `MEASURES`.
        """
        few = [
            f"{name} {self.events[place]:.1f}".removesuffix(".0")
            for name, place in ((name, MEASURES.index(own)) for name, own in names.items())
            if self.events[place] < FEW and not np.isnan(self.values[place])
        ]
        parts = [f"fewer than {FEW:.0f} effective events: {', '.join(few)}"] if few else []
        if self.left_out:
            parts.append(f"{self.left_out} studies lie in strata without a reviewed study")
        return "; ".join(parts)


def estimate(
    label: Bools,
    truth: Bools,
    *,
    strata: Integers | None = None,
    sizes: Integers | None = None,
    clusters: Integers | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Estimate all measures from the n reviewed studies.

    Args:
        label: [n] whether the label is positive.
        truth: [n] whether the finding is there.
        strata: [n] index of each study's stratum, of a random sample without replacement.
        sizes: [H] studies N_h that each stratum was drawn from, reviewed or not.
        clusters: [n] index of each study's patient.
        draws: that weighted intervals, and that of kappa, are made of.
        seed: of these draws.
    """
    cell = np.where(label, np.where(truth, 0, 1), np.where(truth, 2, 3))
    counts = np.bincount(cell, minlength=4).astype(np.int64)
    if not len(cell):
        nothing = np.full(len(MEASURES), np.nan)
        left_out = 0 if sizes is None else int(sizes.sum())
        return Estimate(counts, nothing, nothing, nothing, np.zeros(len(MEASURES)), left_out)
    if strata is None or sizes is None:
        return _unweighted(cell, counts, clusters, draws, seed)
    present, codes = np.unique(strata, return_inverse=True)
    table = np.zeros((len(present), 4))
    np.add.at(table, (codes, cell), 1)
    totals = add_up(table, sizes[present])
    if clusters is not None:
        spread, share = patient_variance(cell, codes, sizes[present], clusters)
        totals = dataclasses.replace(totals, spread=spread, share_variance=share)
    low, high = weighted_limits(totals, draws=draws, seed=seed)
    weights = (sizes[present] / table.sum(axis=1))[codes]
    return Estimate(
        counts=counts,
        values=measures(totals.total),
        low=low,
        high=high,
        events=_events(cell, weights, totals.unseen, clusters),
        left_out=int(sizes.sum() - sizes[present].sum()),
    )


def _unweighted(
    cell: Integers, counts: Integers, clusters: Integers | None, draws: int, seed: int
) -> Estimate:
    """A simple random sample from a large population."""
    totals = add_up(counts[None])
    if clusters is not None:
        once = np.zeros(len(cell), dtype=np.int64)
        spread, share = patient_variance(cell, once, None, clusters)
        totals = dataclasses.replace(totals, spread=spread, share_variance=share)
    low, high = weighted_limits(totals, draws=draws, seed=seed)  # kappa's; the others are replaced
    for index, (part, whole) in _SHARES.items():
        inside, parts = _among(cell, whole), _among(cell, part)
        n = inside.sum() / design_effect(parts, inside, clusters)
        low[index], high[index] = wilson(parts[inside].sum() / max(inside.sum(), 1), n)
    f1 = MEASURES.index("f1")
    low[f1], high[f1] = 2 * low[f1] / (1 + low[f1]), 2 * high[f1] / (1 + high[f1])
    ones = np.ones(len(cell))
    return Estimate(
        counts, measures(counts), low, high, _events(cell, ones, totals.unseen, clusters), 0
    )


def _events(cell: Integers, weights: Floats, unseen: Floats, clusters: Integers | None) -> Floats:
    """[7] as in `Estimate.events`."""

    def effective(*cells: int) -> float:
        inside = _among(cell, cells)
        chosen = weights[inside]
        if not len(chosen):
            return 0.0
        groups = [g for g, pair in enumerate(((0, 1), (2, 3))) if set(pair) & set(cells)]
        one = float(unseen[groups].max())
        kish = effective_patients(chosen, None if clusters is None else clusters[inside])
        return min(kish, float(chosen.sum()) / one) if one > 0 else kish

    truth, no_truth = effective(0, 2), effective(1, 3)
    positive, negative = effective(0, 1), effective(2, 3)
    both = min(truth, no_truth)
    events = (truth, no_truth, positive, negative, min(truth, positive), both)
    return np.array([*events, min(both, positive, negative)])


def _among(cell: Integers, cells: Iterable[int]) -> Bools:
    """[n] whether a study lies in one of these cells."""
    chosen = np.zeros(len(CELLS), dtype=np.bool_)
    chosen[list(cells)] = True
    return chosen[cell]


# the table


def estimate_findings(
    comparison: Comparison, *, draws: int = DRAWS, seed: int = 0
) -> dict[tuple[str, str], Estimate]:
    """One estimate for each finding and reading of uncertain labels, in that order."""
    return {
        (finding, reading): estimate_cells(
            cells_of(comparison, finding, reading), draws=draws, seed=seed
        )
        for finding in comparison.findings
        for reading in READINGS
    }


def estimate_cells(cells: Cells, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """`estimate` for what a comparison gives."""
    return estimate(
        cells.label,
        cells.truth,
        strata=cells.strata,
        sizes=cells.sizes,
        clusters=cells.patients,
        draws=draws,
        seed=seed,
    )


def metrics_table(estimates: dict[tuple[str, str], Estimate]) -> pd.DataFrame:
    """The rows of metrics.csv, `COLUMNS`; NaN where a measure is not defined."""
    rows = []
    for (finding, reading), found in estimates.items():
        row: list[Any] = [finding, reading, int(found.counts.sum()), *map(int, found.counts)]
        for value, low, high in zip(found.values, found.low, found.high, strict=True):
            row += [float(value), float(low), float(high)]
        rows.append([*row, found.warning()])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_metrics(path: Path | str, table: pd.DataFrame, *, force: bool = False) -> None:
    """Write metrics.csv; a measure that is not defined is blank.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    kinds: dict[str, type] = dict.fromkeys(COLUMNS, float)
    kinds |= dict.fromkeys(("n", *CELLS), int)
    kinds |= dict.fromkeys(("finding", "uncertain_as", "note"), str)
    rows = [
        tuple(None if isinstance(cell, float) and np.isnan(cell) else cell for cell in row)
        for row in table[list(COLUMNS)].astype(object).itertuples(index=False, name=None)
    ]
    with open_rows(path, kinds, force=force) as writer:
        writer.write(rows)
