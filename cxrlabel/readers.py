"""Reports in: any number of files as one stream of rows, in order, one row for every report.

Inputs are csv, tsv and jsonl (each also .gz), parquet, .txt files and folders of them as MIMIC-CXR
lays them out, and the .xml files of Open-i; the id of a text file's report is the file's name
without ending. A csv of one column, as the CheXpert labeler reads it, has no id: rows are numbered
from 1, through all files.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from cxrlabel.columns import ROW_NUMBER, ReportColumns, choose_columns
from cxrlabel.errors import InputError
from cxrlabel.files import InputTable, Row
from cxrlabel.formats import hash_input, open_table

UNDECODABLE: Final = "undecodable"

_MISSING: Final = frozenset({"", "na", "n/a", "<na>", "nan", "none", "null"})
_MISSING_LENGTH: Final = 8  # longer cells are not compared
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class ReportRow(NamedTuple):
    """One report as it came, with its id."""

    study_id: str  # as it came, "007" stays "007"
    texts: tuple[tuple[str, str], ...]  # (section, text) in column order; "" for a whole report
    status: str  # "" or "undecodable"
    kept: tuple[str, ...]  # the columns to keep, in the order asked for
    place: str  # "reports.csv:17", for messages


@dataclass(frozen=True, slots=True)
class InputFile:
    """What the run record says of an input; the texts of a folder count as one."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ReportSource:
    """Opened inputs with the columns that are read from each of them."""

    tables: tuple[InputTable, ...]
    columns: ReportColumns
    kept_columns: tuple[str, ...]
    id_prefix: str = ""  # letters that are left out before the digits of an id

    @property
    def id_column(self) -> str:
        """The id column's name; "row" where rows are numbered."""
        return ROW_NUMBER if self.columns.id is None else self.columns.id

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that hold text, in the order in which they are read."""
        return self.columns.texts

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """The columns that are not read, in the order of the files."""
        used = {self.id_column, *self.text_columns, *self.kept_columns}
        names = (name for table in self.tables for name in table.columns)
        return tuple(dict.fromkeys(name for name in names if name not in used))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that are read."""
        return tuple(table.path for table in self.tables)

    @cached_property
    def files(self) -> tuple[InputFile, ...]:
        """Path, sha256 and size of every input; reads them all when it is first asked for."""
        return tuple(InputFile(str(t.path), *hash_input(t.path)) for t in self.tables)

    def rows(self, *, allow_duplicates: bool = False) -> Iterator[ReportRow]:
        """The reports in order. Each call reads the files again from the start.

        A blank or missing cell (NA, NaN, None, null) is the text "". A NUL in a text becomes a
        space and a byte that is not UTF-8 becomes U+FFFD, one for one, so that offsets stay; in an
        id or a kept cell such a byte is written out as an escape.

        Raises:
            InputError: a row is malformed, an id is empty, or (unless allowed) comes twice.
        """
        rows = self._rows()
        return rows if allow_duplicates else self._distinct(rows)

    def _rows(self) -> Iterator[ReportRow]:
        columns = self.columns
        ids = [] if columns.id is None else [columns.id]
        names = [*ids, *columns.texts, *self.kept_columns]
        numbered = not ids
        number = 0
        for table in self.tables:
            for row in table.read(names):
                number += 1
                yield _report_row(row, columns, str(number) if numbered else None, self.id_prefix)

    def _distinct(self, rows: Iterator[ReportRow]) -> Iterator[ReportRow]:
        seen: set[str] = set()
        for row in rows:
            if row.study_id in seen:
                # the place of the first one is looked up again, not kept for every row
                first = next(r.place for r in self._rows() if r.study_id == row.study_id)
                raise InputError(
                    f"{row.place}: id {row.study_id!r} is also at {first}; expected distinct ids"
                )
            seen.add(row.study_id)
            yield row


def open_reports(
    inputs: Sequence[str],
    *,
    id_column: str | None = None,
    text_columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    first_id: str = "",
    id_prefix: str = "",
) -> ReportSource:
    """Open report files, folders and patterns, and choose their columns.

    Args:
        inputs: paths, or patterns such as "data/*.csv".
        id_column: the column with the id; None takes the first with a usual name.
        text_columns: the columns with text; none takes a whole-report column with a usual name,
            else every section column.
        keep: columns whose values are wanted as well.
        first_id: a name that goes before the usual ones of an id.
        id_prefix: letters to leave out before the digits of an id: "s" makes "s50414267" 50414267.

    Raises:
        InputError: a file cannot be read, a column is missing, or the files differ in columns.
    """
    names = (*([] if id_column is None else [id_column]), *text_columns, *keep)
    tables = tuple(open_table(path, names=names) for path in _expand(inputs))
    chosen = [
        choose_columns(
            table.columns,
            place=str(table.path),
            id_column=id_column,
            text_columns=text_columns,
            keep=keep,
            first_id=first_id,
        )
        for table in tables
    ]
    for table, columns in zip(tables, chosen, strict=True):
        if columns != chosen[0]:
            raise InputError(
                f"{table.path}: {_described(columns)}, "
                f"but {tables[0].path}: {_described(chosen[0])}; "
                "expected the same columns, or --id and --text"
            )
    return ReportSource(tables, chosen[0], tuple(keep), id_prefix)


def _expand(inputs: Sequence[str]) -> list[Path]:
    paths: list[Path] = []
    for name in inputs:
        if Path(name).exists() or not glob.has_magic(name):
            paths.append(Path(name))
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise InputError(f"{name}: no file matches this pattern")
        paths.extend(Path(match) for match in matches)
    if not paths:
        raise InputError("no input given; expected files, folders or patterns")
    return paths


def _described(columns: ReportColumns) -> str:
    id_name = "row numbers" if columns.id is None else repr(columns.id)
    return f"id {id_name}, text {', '.join(map(repr, columns.texts))}"


def _report_row(row: Row, columns: ReportColumns, number: str | None, id_prefix: str) -> ReportRow:
    place, cells = row
    first = 0
    if number is None:
        number = read_id(cells[0], place)
        bare = number.removeprefix(id_prefix)
        if bare.isdecimal():
            number = bare
        first = 1
    texts = []
    bad = False
    for section, name, cell in zip(columns.sections, columns.texts, cells[first:], strict=False):
        text = _text(cell, place, name)
        if not text.isascii() and _is_undecodable(text):
            text = _SURROGATE.sub("\ufffd", text)
            bad = True
        texts.append((section, text))
    kept = tuple(_kept(cell) for cell in cells[first + len(texts) :])
    return ReportRow(number, tuple(texts), UNDECODABLE if bad else "", kept, place)


def _text(cell: object, place: str, column: str) -> str:
    if isinstance(cell, str):
        if len(cell) < _MISSING_LENGTH and cell.strip().casefold() in _MISSING:
            return ""
        return cell.replace("\0", " ")
    if _is_missing(cell):
        return ""
    raise InputError(f"{place}: column {column!r} holds {type(cell).__name__}, expected text")


def read_id(cell: object, place: str) -> str:
    """An id as text; an `InputError` where it is empty or not an id."""
    if not isinstance(cell, (str, int)) or isinstance(cell, bool):
        if not _is_missing(cell):
            raise InputError(
                f"{place}: the id is {type(cell).__name__}, expected text or a whole number"
            )
        cell = ""
    name = str(cell)
    if not name or name.isspace():
        raise InputError(f"{place}: the id is empty")
    return name if name.isascii() else _escaped(name)


def _kept(cell: object) -> str:
    return "" if _is_missing(cell) else _escaped(str(cell))


def _is_missing(cell: object) -> bool:
    return cell is None or cell != cell  # NaN alone differs from itself


def _is_undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _escaped(cell: str) -> str:
    return cell.encode("utf-8", "backslashreplace").decode()
