"""The rows of sweep.csv: a method in a cell, for a finding or in the mean; written and read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError
from cxrlabel.writers import open_rows

if TYPE_CHECKING:
    from cxrvision.noise.sweep.settings import Cell

CELLS: Final = "cells"  # the folder of a sweep with a file for each cell
MEAN: Final = "mean"  # over the findings, in the place of a finding's name


@dataclass(frozen=True, slots=True)
class Row:
    """What a method came to in one cell, for one finding or in the mean; NaN is not defined."""

    sensitivity: float  # NaN for clean labels
    specificity: float
    audit: int  # studies that were read, 0 for methods that need none
    repeat: int
    method: str
    finding: str
    auc: float
    brier: float
    calibration_slope: float
    prevalence_bias: float  # mean probability minus the share of studies with the finding
    refused: (
        int  # 1 where the audit had too few events, so that the policy stood; a sum in the mean
    )


METRICS: Final = ("auc", "brier", "calibration_slope", "prevalence_bias")
COLUMNS: Final[dict[str, type]] = {
    field.name: str if field.name in ("method", "finding") else float for field in fields(Row)
}


def cell_file(out: Path, cell: Cell) -> Path:
    """The file of a cell in the folder of a sweep."""
    return out / CELLS / f"{cell.name}.csv"


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows; what is not defined is blank."""
    with open_rows(path, COLUMNS, force=True, again="new") as writer:
        writer.write([tuple(map(_plain, astuple(row))) for row in rows])


def _plain(value: Any) -> Any:
    return None if value != value else value


def read_rows(path: Path) -> list[Row]:
    """Rows as they were written: each number is read back to the bit.

    Raises:
        InputError: the file is none of ours.
    """
    kinds: dict[str, Callable[[str], Any]] = {
        name: int if name in ("audit", "repeat", "refused") else _number if kind is float else str
        for name, kind in COLUMNS.items()
    }
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Row(**{name: kinds[name](cell) for name, cell in row.items()})
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read; remove it and run the sweep again") from error


def _number(text: str) -> float:
    return float(text) if text else float("nan")
