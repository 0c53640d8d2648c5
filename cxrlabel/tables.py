"""Label tables in: which column is which finding, and the labels as numbers.

Coding: 1 positive, 0 negative, -1 uncertain, NaN blank (Irvin et al. 2019).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.columns import ROW_NUMBER, find_id, has_text_and_labels_only, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.files import InputTable, Row
from cxrlabel.findings import fold
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.studies import LABELED, STATUSES

if TYPE_CHECKING:  # a command that only labels does not load pandas
    import pandas as pd

Resolve = Callable[[str], str | None]

_PREFIX: Final = re.compile(r"(?:prob|pred|label)_", re.IGNORECASE)
_LISTS: Final = "findinglabels"  # "Finding Labels" of NIH ChestX-ray14
_STATUS: Final = "status"  # of each report, as `cxr label --status` writes it
_STUDY: Final = r"(?:^|/)(patient\d+/study\d+)/[^/]+$"  # in a Path of the CheXpert data set
_STATES: Final[Mapping[object, float]] = {
    None: math.nan,
    1: 1.0,  # equal, as a key, to 1.0 and True
    0: 0.0,
    -1: -1.0,
    "": math.nan,
    "1.0": 1.0,
    "0.0": 0.0,
    "-1.0": -1.0,
}
_WORDS: Final = {"positive": 1.0, "negative": 0.0, "uncertain": -1.0, "blank": math.nan}


@dataclass(frozen=True, slots=True)
class ColumnMatch:
    """Which columns of a table are findings, and which are not used."""

    used: dict[str, str]  # column -> finding, in column order
    ignored: list[str]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels by study, with the columns that they came from."""

    table: pd.DataFrame  # index: id as text; one column per finding: 1, 0, -1, NaN
    match: ColumnMatch
    # id -> status of its report, where the table says that it is another than "labeled": the blanks
    # of such a row say nothing of the patient
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def labeled(self) -> pd.DataFrame:
        """The table without the rows of silent reports."""
        return self.table.drop(index=list(self.silent)) if self.silent else self.table


def match_finding_columns(
    columns: Sequence[str], *, resolve: Resolve, place: str = "table"
) -> ColumnMatch:
    """Match column names to findings; a prefix `prob_`, `pred_` or `label_` does not count.

    Args:
        resolve: the finding that a name means, or None (`findings.resolve`).
        place: the table's name in messages.

    Raises:
        InputError: two columns mean the same finding.
    """
    used: dict[str, str] = {}
    ignored: list[str] = []
    owners: dict[str, str] = {}
    for column in columns:
        finding = resolve(column) or resolve(_PREFIX.sub("", column.strip(), count=1))
        if finding is None:
            ignored.append(column)
            continue
        if finding in owners:
            raise InputError(
                f"{place}: columns {owners[finding]!r} and {column!r} both mean {finding!r}; "
                "expected one"
            )
        owners[finding] = column
        used[column] = finding
    return ColumnMatch(used, ignored)


def read_labels(
    path: Path | str, *, id_column: str | None = None, by_study: bool = False, resolve: Resolve
) -> LabelTable:
    """Read a table of labels: a column per finding, or the NIH column "Finding Labels".

    Columns go by their names, whatever their order: our own tables, and those of the CheXpert
    labeler, CheXbert, the CheXpert data set, MIMIC-CXR-JPG and NIH ChestX-ray14. A table of text
    and labels without an id, as the first two write it, has its rows numbered from 1.

    The NIH column names the positive findings ("Effusion|Mass"): of the findings that it names
    anywhere, those that a row does not name are 0, and a row with an empty cell is blank.

    A column "status" that holds nothing but statuses of reports (`cxr label --status`) is ours.

    Args:
        id_column: the column with the id; None takes the first with a usual name.
        by_study: the ids are paths of the CheXpert data set, one for each image; give one row per
            study, "patient00001/study1".
        resolve: the finding that a name means, or None (`findings.resolve`).

    Raises:
        InputError: no id or finding column, a value that is not a label, an id empty or twice, or
            images of one study that differ in their labels.
    """
    read = _read_labels(Path(path), id_column, resolve)
    return replace(read, table=_gather(read.table, str(path))) if by_study else read


def _read_labels(path: Path, id_column: str | None, resolve: Resolve) -> LabelTable:
    table = open_table(path, names=() if id_column is None else (id_column,))
    id_name = _id_column(table, id_column)
    rest = [column for column in table.columns if column != id_name]
    match = match_finding_columns(rest, resolve=resolve, place=str(path))
    if match.used:
        return _read_columns(table, id_name, match)
    lists = next((column for column in rest if fold(column) == _LISTS), None)
    if lists is None:
        raise InputError(f"{path}: no column is a finding (columns: {listed(table.columns)})")
    match = ColumnMatch({}, [column for column in rest if column != lists])
    return LabelTable(_read_lists(table, id_name, lists, resolve), match)


def _id_column(table: InputTable, id_column: str | None) -> str | None:
    """The id's column; None where rows are numbered."""
    name = id_column or find_id(table.columns)
    if name is None and has_text_and_labels_only(table.columns):
        return None
    if name is None:
        raise InputError(
            f"{table.path}: no id column found; name it with --id "
            f"(columns: {listed(table.columns)})"
        )
    require_column(name, table.columns, place=str(table.path))
    return name


def _read_columns(table: InputTable, id_name: str | None, match: ColumnMatch) -> LabelTable:
    used = match.used
    status = [column for column in match.ignored if fold(column) == _STATUS][:1]
    ids: dict[str, str] = {}
    rows: list[list[float]] = []
    statuses: list[object] = []
    for place, (study_id, *cells) in _rows(table, id_name, [*used, *status]):
        _add_id(ids, study_id, place)
        if status:
            statuses.append(cells.pop())
        try:
            rows.append([_STATES[cell] for cell in cells])
        except (KeyError, TypeError):
            pairs = zip(used, cells, strict=True)
            rows.append([_state(cell, place, column) for column, cell in pairs])
    frame = _frame(rows, ids, id_name, list(used.values()))
    return LabelTable(frame, match, _silent(list(ids), statuses))


def _silent(ids: Sequence[str], statuses: Sequence[object]) -> dict[str, str]:
    """Id -> status of the reports that were not labeled, if these are statuses of reports."""
    if not all(status in STATUSES for status in statuses):
        return {}
    pairs = zip(ids, map(str, statuses), strict=bool(statuses))
    return {study_id: status for study_id, status in pairs if status != LABELED}


def _read_lists(
    table: InputTable, id_name: str | None, column: str, resolve: Resolve
) -> pd.DataFrame:
    ids: dict[str, str] = {}
    named: list[set[str]] = []
    resolve = cache(resolve)  # 15 names in 112,120 rows of NIH ChestX-ray14
    for place, (study_id, cell) in _rows(table, id_name, [column]):
        _add_id(ids, study_id, place)
        named.append({_finding(name, resolve, place, column) for name in _split(cell)})
    findings = sorted({finding for names in named for finding in names})
    rows = [[float(f in names) if names else math.nan for f in findings] for names in named]
    return _frame(rows, ids, id_name, findings)


def _rows(table: InputTable, id_name: str | None, columns: list[str]) -> Iterator[Row]:
    """Cells with the id before them, or the row's number."""
    if id_name is not None:
        return table.read([id_name, *columns])
    rows = enumerate(table.read(columns), 1)
    return ((place, [number, *cells]) for number, (place, cells) in rows)


def _gather(images: pd.DataFrame, path: str) -> pd.DataFrame:
    """One row for the images of each study."""
    studies = images.index.to_series().str.extract(_STUDY, expand=False)
    if studies.isna().any():
        raise InputError(
            f"{path}: id {_shown(studies.index[studies.isna()][0])} names no study; "
            "expected paths such as patient00001/study1/view1_frontal.jpg"
        )
    rows = images.assign(study_id=studies).drop_duplicates()  # equal in study and all labels
    table = rows.set_index("study_id")
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise InputError(f"{path}: images of {twice!r} differ in their labels; expected the same")
    return table


def _frame(
    rows: list[list[float]], ids: Mapping[str, str], id_name: str | None, findings: Sequence[str]
) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    values = np.array(rows, dtype=np.float64).reshape(len(ids), len(findings))
    return pd.DataFrame(
        values,
        index=pd.Index(list(ids), name=id_name or ROW_NUMBER, dtype=str),
        columns=list(findings),
    )


def _add_id(ids: dict[str, str], cell: object, place: str) -> None:
    study_id = read_id(cell, place)
    if study_id in ids:
        raise InputError(
            f"{place}: id {study_id!r} is also at {ids[study_id]}; expected distinct ids"
        )
    ids[study_id] = place


def _split(cell: object) -> list[str]:
    return [name for name in str(cell).split("|") if name.strip()] if cell is not None else []


def _finding(name: str, resolve: Resolve, place: str, column: str) -> str:
    finding = resolve(name)
    if finding is None:
        raise InputError(f"{place}: column {column!r}: {_shown(name)} is not a finding")
    return finding


def _state(cell: object, place: str, column: str) -> float:
    """A cell that is not spelled as we write it: "1", " 1.0", "Positive", NaN."""
    text = str(cell).strip().casefold()
    if text in _WORDS:
        return _WORDS[text]
    try:
        number = float(text) if text else math.nan
    except ValueError:
        number = math.inf
    if math.isnan(number) or number in (1, 0, -1):
        return number
    raise InputError(
        f"{place}: column {column!r}: {_shown(str(cell))} is not a label; "
        "expected 1, 0, -1 or blank (or positive, negative, uncertain, blank)"
    )


def _shown(value: str) -> str:
    """A value for a message; a long one may be report text and is not shown."""
    return repr(value) if len(value) <= 30 else f"a text of {len(value)} characters"
