"""How far labelers agree: kappa, where they differ, and the errors which that lets expect.

Labels alone say who differs from whom, not who is right. Dawid and Skene's model (1979) answers
under the assumption that labelers err independently; those that share rules or training do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.dawid_skene import dawid_skene
from cxrlabel.audit.kappa import Kappa, cohen_kappa, pooled_cohen
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, resolve
from cxrlabel.learned.evaluation import write_rows
from cxrlabel.learned.judging import plain_row
from cxrlabel.tables import read_labels
from cxrlabel.writers import check_target, open_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

ALL: Final = "all findings"
_SHOWN: Final = 5  # rows of a pair that the terminal shows: those with the least kappa
_VALUES: Final = (1.0, -1.0, 0.0)  # of STATES; the last is blank
_POSITIVE: Final = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two labelers on one finding, or on all together."""

    finding: str
    labeler_a: str
    labeler_b: str
    n: int
    agreement: float  # share of the studies with the same state of four
    kappa: float  # of the four states; NaN where both say one thing everywhere
    kappa_lo: float
    kappa_hi: float
    both_positive: int
    only_a: int  # positive by one alone
    only_b: int


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What Dawid–Skene expects of one labeler on one finding; positive against all else."""

    finding: str
    labeler: str
    prevalence: float
    sensitivity: float
    sensitivity_lo: float
    sensitivity_hi: float
    specificity: float
    specificity_lo: float
    specificity_hi: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Labelers of the same studies."""

    id_name: str
    labelers: tuple[str, ...]
    studies: int
    agreement: tuple[Agreement, ...]
    errors: tuple[ErrorRates, ...]
    identified: bool  # three labelers or more
    differences: tuple[tuple[str, ...], ...]  # id, finding, and the state by each labeler
    notes: tuple[str, ...]

    @property
    def shown(self) -> tuple[Agreement, ...]:
        """Of each pair all findings together, and those with the least kappa."""
        rows: list[Agreement] = []
        for pair in dict.fromkeys((row.labeler_a, row.labeler_b) for row in self.agreement):
            own = [row for row in self.agreement if (row.labeler_a, row.labeler_b) == pair]
            rows += [row for row in own if row.finding == ALL]
            known = [row for row in own if row.finding != ALL and row.kappa == row.kappa]
            rows += sorted(known, key=lambda row: row.kappa)[:_SHOWN]
        return tuple(rows)


def read_labelers(
    paths: Sequence[Path], names: Sequence[str] = (), *, id_column: str | None = None
) -> dict[str, pd.DataFrame]:
    """Read tables of labels.

    Args:
        names: of the labelers; by default the files' names without ending.

    Raises:
        InputError: fewer than two tables, names that do not fit, or a table that cannot be read.
    """
    if len(paths) < 2:
        raise InputError("one table of labels; expected two or more to compare")
    chosen = list(names) or [path.name.split(".")[0] for path in paths]
    if len(chosen) != len(paths) or len(set(chosen)) != len(chosen):
        raise InputError(
            f"--names: {', '.join(chosen)}; expected {len(paths)} different names, one for each "
            "table"
        )
    return {
        name: read_labels(path, id_column=id_column, resolve=resolve).labeled
        for name, path in zip(chosen, paths, strict=True)
    }


def compare_labelers(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> Comparison:
    """Compare labelers on the studies and findings that all of them have.

    Args:
        tables: labeler -> labels, as `read_labels` gives them.
        seed: of the intervals of the error rates.

    Raises:
        InputError: no study or no finding is common to all.
    """
    first, *others = tables.values()
    ids = sorted(set(first.index).intersection(*(table.index for table in others)))
    findings = [
        str(name) for name in first.columns if all(name in table.columns for table in others)
    ]
    if not ids or not findings:
        what = "finding" if ids else "study"
        raise InputError(f"{', '.join(tables)}: no {what} is common to all; expected some")
    codes = {name: _codes(table.loc[ids, findings]) for name, table in tables.items()}
    rows = [
        row
        for (a, one), (b, two) in combinations(codes.items(), 2)
        for row in _agreement(a, one, b, two, findings)
    ]
    errors = [
        row
        for column, finding in enumerate(findings)
        for row in _errors(finding, {name: own[:, column] for name, own in codes.items()}, seed)
    ]
    return Comparison(
        str(first.index.name or "study_id"),
        tuple(tables),
        len(ids),
        tuple(rows),
        tuple(errors),
        len(tables) > 2,
        _differences(ids, findings, list(codes.values())),
        _notes(tables, len(ids), findings),
    )


def write_comparison(folder: Path, found: Comparison, *, force: bool = False) -> Path:
    """Write agreement.csv, errors.csv, differences.csv and the page.

    Returns:
        The page.

    Raises:
        InputError: a file exists and `force` is not set.
    """
    from cxrlabel.learned.page import comparison_page

    page = folder / "index.html"
    for name in ("agreement.csv", "errors.csv", "differences.csv", "index.html"):
        check_target(folder / name, force=force)
    tables: dict[str, Sequence[Any]] = {"agreement": found.agreement, "errors": found.errors}
    for name, rows in tables.items():
        write_rows(folder / f"{name}.csv", [plain_row(row) for row in rows], force=force)
    columns = dict.fromkeys((found.id_name, "finding", *found.labelers), str)
    with open_rows(folder / "differences.csv", columns, force=force) as file:
        file.write(found.differences)
    page.write_text(comparison_page(found), encoding="utf-8")
    return page


def _codes(table: pd.DataFrame) -> Codes:
    """[N, F] place of each label in STATES."""
    values = table.to_numpy(np.float64)
    codes = np.full(values.shape, len(_VALUES), np.int64)
    for number, value in enumerate(_VALUES):
        codes[values == value] = number
    return codes


def _agreement(a: str, one: Codes, b: str, two: Codes, findings: Sequence[str]) -> list[Agreement]:
    kappas = [
        cohen_kappa(one[:, column], two[:, column], len(STATES)) for column in range(len(findings))
    ]
    rows = [
        _row(finding, a, one[:, column], b, two[:, column], kappas[column])
        for column, finding in enumerate(findings)
    ]
    pooled = pooled_cohen(one, two, len(STATES))
    return [*rows, _row(ALL, a, one.ravel(), b, two.ravel(), pooled)]


def _row(finding: str, a: str, one: Codes, b: str, two: Codes, kappa: Kappa) -> Agreement:
    first, second = one == _POSITIVE, two == _POSITIVE
    return Agreement(
        finding, a, b, len(one), float((one == two).mean()), kappa.value, kappa.low, kappa.high,
        int((first & second).sum()), int((first & ~second).sum()), int((second & ~first).sum()),
    )  # fmt: skip


def _errors(finding: str, codes: Mapping[str, Codes], seed: int) -> list[ErrorRates]:
    readings = np.stack([(own == _POSITIVE).astype(np.int64) for own in codes.values()], axis=1)
    if readings.min() == readings.max():  # nobody calls it positive, or all do everywhere
        return []
    truths = dawid_skene(readings, 2, seed=seed)
    return [
        ErrorRates(
            finding,
            name,
            float(truths.prevalence[1]),
            *(float(part[number, 1, 1]) for part in (truths.confusion, truths.low, truths.high)),
            *(float(part[number, 0, 0]) for part in (truths.confusion, truths.low, truths.high)),
        )
        for number, name in enumerate(codes)
    ]


def _differences(
    ids: Sequence[str], findings: Sequence[str], codes: Sequence[Codes]
) -> tuple[tuple[str, ...], ...]:
    stacked = np.stack(codes)
    rows, columns = np.nonzero((stacked != stacked[0]).any(axis=0))
    return tuple(
        (ids[row], findings[column], *(STATES[own[row, column]] for own in codes))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    )


def _notes(
    tables: Mapping[str, pd.DataFrame], studies: int, findings: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    for name, table in tables.items():
        more = len(table) - studies
        if more:
            notes.append(f"{name}: {more:,} studies that others lack are not compared")
        lacking = [str(column) for column in table.columns if column not in findings]
        if lacking:
            notes.append(f"{name}: not compared, since others lack them: {', '.join(lacking)}")
    return tuple(notes)
