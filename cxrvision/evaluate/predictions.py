"""Prediction tables in: a row per study, a probability per finding.

`cxr predict` writes them with the columns study_id, patient_id, split, views and view_position
beside one per finding; with --per-view a study has further rows, one for each view alone. Tables
of others have an id and columns such as `prob_Effusion`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel import findings
from cxrlabel.columns import find_id, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.findings import fold
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.tables import Resolve, match_finding_columns

if TYPE_CHECKING:
    import pandas as pd

    from cxrvision.evaluate.estimates import Floats

# what is known of a study besides its labels -> folded names of the columns that say it
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "patient_id": ("patientid", "subjectid", "patient"),
    "split": ("split",),
    "views": ("views",),
    "view_position": ("viewposition", "appa"),
    "site": ("site", "hospital", "institution"),
    "scanner": ("scanner",),
    "sex": ("sex", "patientsex", "gender", "patientgender"),
}
BOTH: Final = "frontal+lateral"
VIEWS: Final = (BOTH, "frontal", "lateral")
FILE_NAME: Final = "predictions.csv"  # in a run folder

_OWN: Final = re.compile(r"prob_(.+)", re.IGNORECASE)
_BLANK: Final = frozenset({"", "na", "n/a", "<na>", "nan", "none", "null"})


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A model's probabilities."""

    path: Path
    id_name: str
    findings: tuple[str, ...]
    ids: tuple[str, ...]  # [n] of the rows; one comes again with other views only
    probs: Floats  # [n, F] in [0, 1]
    columns: Mapping[str, str]  # finding -> the column that it came from
    # [n, ...] text, "" for unknown: those keys of `KNOWN` that are there, and what was asked for
    known: pd.DataFrame

    def rows_of(self, views: str | None = None) -> dict[str, int]:
        """Id -> row with these views; None: with all the views that the study has."""
        if "views" not in self.known:
            return dict(zip(self.ids, range(len(self.ids)), strict=True))
        rows: dict[str, int] = {}
        used = self.known["views"].tolist()
        for row, (study_id, seen) in enumerate(zip(self.ids, used, strict=True)):
            if views is not None:
                if seen == views:
                    rows[study_id] = row
                continue
            before = rows.setdefault(study_id, row)
            if _number_of_views(seen) > _number_of_views(used[before]):
                rows[study_id] = row
            elif before != row and _number_of_views(seen) == _number_of_views(used[before]):
                raise InputError(
                    f"{self.path}: id {study_id!r} has rows for {used[before]!r} and {seen!r}; "
                    f"expected one with all its views before these ({BOTH})"
                )
        return rows


def read_predictions(
    path: Path | str,
    *,
    id_column: str | None = None,
    columns: Sequence[str] = (),
    resolve: Resolve = findings.resolve,
) -> Predictions:
    """Read a table of predictions, or that of a run folder.

    A column `prob_X` is a finding whether or not `resolve` knows X; other columns are findings
    where it does.

    Args:
        path: the table, or a folder with a `predictions.csv`.
        id_column: the column with the id; None takes the first with a usual name.
        columns: further columns to read into `known`, under their own names, where they are there.
        resolve: the finding that a name means, or None.

    Raises:
        InputError: no id or finding column, an id empty or twice with the same views, a value that
            is no probability.
    """
    place = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
    table = open_table(place, names=() if id_column is None else (id_column,))
    id_name = id_column or find_id(table.columns)
    if id_name is None:
        names = listed(table.columns)
        raise InputError(f"{place}: no id column found; name it with --id (columns: {names})")
    require_column(id_name, table.columns, place=str(place))
    known = known_columns([c for c in table.columns if c != id_name], columns)
    rest = [c for c in table.columns if c != id_name and c not in known.values()]
    used = match_finding_columns(rest, resolve=with_own(table.columns, resolve), place=str(place))
    if not used.used:
        raise InputError(f"{place}: no column is a finding (columns: {listed(table.columns)})")
    return _read(table, place, id_name, used.used, known)


def with_own(columns: Sequence[str], resolve: Resolve) -> Resolve:
    """`resolve`, which knows what columns `prob_X` name as well, where it does not know X."""
    named = [match[1].strip() for c in columns if (match := _OWN.fullmatch(c.strip()))]
    own = {fold(name): name for name in named if resolve(name) is None}
    return lambda name: resolve(name) or own.get(fold(name))


def known_columns(columns: Sequence[str], asked: Sequence[str] = ()) -> dict[str, str]:
    """What is known of studies -> the column that says it, the first with a usual name."""
    by_fold: dict[str, str] = {}
    for column in columns:
        by_fold.setdefault(fold(column), column)
    known = {
        name: next(by_fold[usual] for usual in names if usual in by_fold)
        for name, names in KNOWN.items()
        if any(usual in by_fold for usual in names)
    }
    return known | {name: name for name in asked if name in columns and name not in known}


def text_of(cell: object) -> str:
    """A cell as text; "" where it is blank or says that it is missing."""
    text = "" if cell is None else str(cell).strip()
    return "" if text.lower() in _BLANK else text


def _read(
    table: Any, place: Path, id_name: str, used: Mapping[str, str], known: Mapping[str, str]
) -> Predictions:
    import pandas as pd

    ids: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    rows: list[list[float]] = []
    texts: list[list[str]] = []
    names = list(known)
    views = names.index("views") if "views" in names else None
    for where, (cell, *cells) in table.read([id_name, *known.values(), *used]):
        study_id = read_id(cell, where)
        described = [text_of(value) for value in cells[: len(names)]]
        key = (study_id, "" if views is None else described[views])
        if key in seen:
            raise InputError(f"{where}: {_twice(key)} is also at {seen[key]}; expected it once")
        seen[key] = where
        ids.append(study_id)
        texts.append(described)
        pairs = zip(cells[len(names) :], used, strict=True)
        rows.append([_probability(value, where, column) for value, column in pairs])
    if not ids:
        raise InputError(f"{place}: the table has no rows; expected one per study")
    return Predictions(
        place,
        id_name,
        tuple(used.values()),
        tuple(ids),
        np.array(rows, dtype=np.float64),
        {finding: column for column, finding in used.items()},
        pd.DataFrame(texts, columns=names, dtype=str),
    )


def _twice(key: tuple[str, str]) -> str:
    study_id, views = key
    return f"id {study_id!r} with views {views!r}" if views else f"id {study_id!r}"


def _probability(value: object, where: str, column: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if 0 <= number <= 1:
        return number
    shown = "a blank cell" if text_of(value) == "" else repr(str(value)[:20])
    raise InputError(f"{where}: column {column!r}: {shown}; expected a probability from 0 to 1")


def _number_of_views(views: str) -> int:
    return views.count("+") + 1


def blend(
    first: Predictions, second: Predictions, names: Sequence[str]
) -> tuple[list[str], Floats]:
    """The mean probabilities of two models for the studies that both have, in the first's order.

    Args:
        names: the findings wanted, which both have.
    """
    a, b = first.rows_of(), second.rows_of()
    ids = [study_id for study_id in a if study_id in b]
    left, right = (
        p.probs[np.ix_([rows[i] for i in ids], [p.findings.index(n) for n in names])]
        for p, rows in ((first, a), (second, b))
    )
    return ids, (left + right) / 2
