"""Probabilities of labels in: what `cxr label --backend MODEL --probabilities` wrote.

A row is a study; a finding has a column for each state, "Edema positive", "Edema blank".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.columns import find_id, listed
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, resolve
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TOLERANCE: Final = 1e-3  # by which the four of a finding may miss 1: they are rounded


def read_label_probs(
    path: Path | str, ids: Sequence[str] | NDArray[np.object_], findings: Sequence[str]
) -> Floats:
    """Read the probabilities of some studies.

    Returns:
        [N, F, 4] of each of STATES; rows add to 1.

    Raises:
        InputError: a study, a finding or a state is missing, or a value is no probability.
    """
    table = open_table(Path(path))
    id_name = find_id(table.columns)
    if id_name is None:
        raise InputError(f"{path}: no id column found (columns: {listed(table.columns)})")
    columns = [
        _column(table.columns, finding, state, path) for finding in findings for state in STATES
    ]
    rows = {study: row for row, study in enumerate(ids)}
    probs = np.full((len(rows), len(findings), len(STATES)), np.nan)
    for place, (cell, *cells) in table.read([id_name, *columns]):
        row = rows.get(read_id(cell, place))
        if row is None:
            continue
        if not np.isnan(probs[row]).all():
            raise InputError(f"{place}: id {cell!r} is there twice; expected one row a study")
        values = [
            _probability(value, place, name) for name, value in zip(columns, cells, strict=True)
        ]
        probs[row] = np.array(values).reshape(len(findings), len(STATES))
        sums = probs[row].sum(axis=-1)
        wrong = np.flatnonzero(abs(sums - 1) > _TOLERANCE)
        if len(wrong):
            raise InputError(
                f"{place}: the four probabilities of {findings[wrong[0]]!r} add up to "
                f"{sums[wrong[0]]:.3f}; expected 1"
            )
    lacking = np.flatnonzero(np.isnan(probs).all(axis=(1, 2)))
    if len(lacking):
        raise InputError(
            f"{path}: no row of study {ids[lacking[0]]!r} ({len(lacking):,} of {len(rows):,} are "
            "missing); expected all studies that have labels"
        )
    scaled: Floats = probs / probs.sum(axis=-1, keepdims=True)
    return scaled


def _column(columns: Sequence[str], finding: str, state: str, path: Path | str) -> str:
    """The column of a finding's state; a label set may have renamed the finding."""
    for column in columns:
        name, _, last = column.rpartition(" ")
        if last == state and resolve(name) == finding:
            return column
    raise InputError(
        f"{path}: no column '{finding} {state}'; expected what `cxr label --probabilities` wrote"
    )


def _probability(value: object, place: str, column: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = np.nan
    if not 0 <= number <= 1:
        raise InputError(f"{place}: column {column!r}: expected a probability from 0 to 1")
    return number
