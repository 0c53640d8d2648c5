"""Manual reviews in: who said what about which study.

A file has an id, finding columns with 1, 0, -1 or blank, and perhaps `reviewer`, `reference` and
`evaluable`. It is what `cxr audit export` writes, what somebody filled in a spreadsheet, or the
codes that came with a data set. Other columns are not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.columns import find_id, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.findings import fold
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.tables import ColumnMatch, Resolve, match_finding_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.files import InputTable

REFERENCES: Final = ("report", "image")
ADJUDICATED: Final = "adjudicated"  # the reviewer whose row decides, whatever the rule

_AMBIGUOUS: Final = (
    "__amb"  # after a finding's column: 1 where the coders' vocabulary leaves it open
)
_CODES: Final = {
    "": math.nan,
    "1": 1.0,
    "0": 0.0,
    "-1": -1.0,
    "positive": 1.0,
    "present": 1.0,
    "negative": 0.0,
    "absent": 0.0,
    "uncertain": -1.0,
    "blank": math.nan,
    "not mentioned": math.nan,
    "nan": math.nan,
}


@dataclass(frozen=True, slots=True, eq=False)
class Reviews:
    """Readings as they came: one row for each study and reviewer."""

    id_name: str
    reference: str  # "report" or "image": what was looked at; "" where the file does not say
    # index: (id, reviewer), in the file's order; one column per finding: 1, 0, -1, NaN for blank
    states: pd.DataFrame
    ambiguous: NDArray[np.bool_]  # [rows, findings] True where a column __amb is 1
    match: ColumnMatch
    not_evaluable: int  # rows that say so, left out
    other_reference: int  # rows of the other reference, left out

    @property
    def reviewers(self) -> tuple[str, ...]:
        """The reviewers by name, without the adjudicated rows; "" where nobody is named."""
        names = set(self.states.index.get_level_values(1))
        return tuple(sorted(names - {ADJUDICATED}))

    @property
    def four_states(self) -> bool:
        """Whether uncertain, absent and blank are told apart, as the CheXpert tasks need it."""
        values = self.states.to_numpy()
        return bool((values == -1).any() and (values == 0).any() and np.isnan(values).any())


def read_reviews(
    path: Path | str,
    *,
    id_column: str | None = None,
    reference: str | None = None,
    resolve: Resolve,
) -> Reviews:
    """Read a table of manual reviews.

    Rows with 0 in a column `evaluable` are left out and counted.

    Args:
        id_column: the column with the id; None takes the first with a usual name.
        reference: "report" or "image": where the file has a column `reference`, the rows to take
            (the others are counted), else what its rows are. None takes what the file says.
        resolve: the finding that a name means, or None (`findings.resolve`).

    Raises:
        InputError: no id or finding column, a value that is no state, two rows of one study and
            reviewer, or both references in one file and none chosen.
    """
    if reference not in (None, *REFERENCES):
        raise InputError(f"--reference: {reference!r}; expected report or image")
    table = open_table(Path(path), names=() if id_column is None else (id_column,))
    id_name = id_column or find_id(table.columns)
    if id_name is None:
        raise InputError(
            f"{path}: no id column found; name it with --id (columns: {listed(table.columns)})"
        )
    require_column(id_name, table.columns, place=str(path))
    rest = [column for column in table.columns if column != id_name]
    match = match_finding_columns(rest, resolve=resolve, place=str(path))
    if not match.used:
        raise InputError(f"{path}: no column is a finding (columns: {listed(table.columns)})")
    rows = _read_rows(table, id_name, match)
    return _reviews(rows, str(path), id_name, reference, match)


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    study_id: str
    reviewer: str
    reference: str
    states: list[float]
    ambiguous: list[bool]


def _read_rows(table: InputTable, id_name: str, match: ColumnMatch) -> tuple[list[_Row], int]:
    """The rows that could be judged, and how many could not."""
    extra = {fold(name): name for name in reversed(match.ignored)}
    special = [extra[name] for name in ("reviewer", "reference", "evaluable") if name in extra]
    marks = [f"{name}{_AMBIGUOUS}" for name in match.used]
    marks = [name for name in marks if name in match.ignored]
    rows, left_out = [], 0
    for place, cells in table.read([id_name, *match.used, *special, *marks]):
        named = dict(zip([*match.used, *special, *marks], cells[1:], strict=True))
        by_role = {fold(name): _text(named[name]) for name in special}
        if by_role.get("evaluable", "1") in ("0", "0.0"):
            left_out += 1
            continue
        rows.append(
            _Row(
                place,
                read_id(cells[0], place),
                by_role.get("reviewer", ""),
                by_role.get("reference", "").casefold(),
                [_state(named[name], place, name) for name in match.used],
                [_text(named.get(f"{name}{_AMBIGUOUS}")) in ("1", "1.0") for name in match.used],
            )
        )
    return rows, left_out


def _reviews(
    read: tuple[list[_Row], int],
    path: str,
    id_name: str,
    reference: str | None,
    match: ColumnMatch,
) -> Reviews:
    rows, not_evaluable = read
    chosen = _choose_reference(rows, path, reference)
    kept = [row for row in rows if row.reference in ("", chosen)]
    places: dict[tuple[str, str], str] = {}
    for row in kept:
        key = row.study_id, row.reviewer
        if key in places:
            who = f" by reviewer {row.reviewer!r}" if row.reviewer else ""
            raise InputError(
                f"{row.place}: id {row.study_id!r}{who} is also at {places[key]}; expected one row "
                "for each study and reviewer (a column 'reviewer' tells readers apart)"
            )
        places[key] = row.place
    if not kept:
        raise InputError(f"{path}: no reviewed study; expected at least one")
    findings = list(match.used.values())
    index = pd.MultiIndex.from_tuples(list(places), names=[id_name, "reviewer"])
    shape = len(kept), len(findings)
    states = np.array([row.states for row in kept], dtype=np.float64).reshape(shape)
    ambiguous = np.array([row.ambiguous for row in kept], dtype=bool).reshape(shape)
    return Reviews(
        id_name,
        chosen,
        pd.DataFrame(states, index=index, columns=findings),
        ambiguous,
        match,
        not_evaluable,
        len(rows) - len(kept),
    )


def _choose_reference(rows: Sequence[_Row], path: str, reference: str | None) -> str:
    found = {row.reference for row in rows}
    for row in rows:
        if row.reference not in ("", *REFERENCES):
            raise InputError(
                f"{row.place}: column 'reference': {row.reference[:30]!r}; expected report or image"
            )
    if {"", "report"} <= found or {"", "image"} <= found:
        raise InputError(f"{path}: some rows have a reference and some none; expected it in all")
    if reference is None and len(found) > 1:
        raise InputError(
            f"{path}: readings of reports and of images; choose one by --reference, "
            "they measure different errors"
        )
    if reference is not None and found not in ({""}, set()) and reference not in found:
        raise InputError(f"{path}: no reading of the {reference}; its readings are of the other")
    return reference if reference is not None else next(iter(found), "")


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _state(cell: object, place: str, column: str) -> float:
    text = _text(cell).casefold()
    state = _CODES.get(text.removesuffix(".0"))
    if state is None:
        shown = repr(text) if len(text) <= 30 else f"a text of {len(text)} characters"
        raise InputError(
            f"{place}: column {column!r}: {shown} is no state; expected 1, 0, -1 or blank"
        )
    return state
