"""csv and tsv files as streams of records, strict about quotes: a lost one never swallows rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from cxrlabel.columns import is_known
from cxrlabel.errors import InputError
from cxrlabel.files import InputTable, Row, open_lines

HEADERLESS: Final = "Reports"  # what the CheXpert labeler calls the column of its input

_CELL_LIMIT: Final = 1 << 26  # characters; bounds what an unbalanced quote can swallow


def open_delimited(path: Path, delimiter: str, names: Collection[str]) -> InputTable:
    """Open a csv or tsv file; `names` as in `formats.open_table`."""
    first = next((record for _, record in _records(path, delimiter) if record), None)
    if first is None:
        raise InputError(f"{path}: the file is empty")
    headerless = len(first) == 1 and first[0] not in names and not is_known(first[0])
    if headerless:
        _refuse_other_delimiter(path, first[0], delimiter)
    columns = (HEADERLESS,) if headerless else tuple(first)
    read = partial(_read_delimited, path, delimiter, columns, not headerless)
    return InputTable(path, columns, read)


def _refuse_other_delimiter(path: Path, line: str, delimiter: str) -> None:
    for other in (",", ";", "\t", "|"):
        if sum(is_known(cell) for cell in line.split(other)) > 1:
            raise InputError(f"{path}:1: cells are separated by {other!r}, expected {delimiter!r}")


def _read_delimited(
    path: Path, delimiter: str, columns: Sequence[str], header: bool, names: Sequence[str]
) -> Iterator[Row]:
    """Rows of cells. A blank line is an empty report in a file of one column, else no row."""
    indices = [columns.index(name) for name in names]
    width = len(columns)
    records = _records(path, delimiter)
    if header:
        next(record for _, record in records if record)
    for line, record in records:
        if len(record) == width:
            yield f"{path}:{line}", [record[index] for index in indices]
        elif record:
            hint = "; quote a cell that holds the separator" if len(record) > width else ""
            raise InputError(f"{path}:{line}: {len(record)} cells, expected {width}{hint}")
        elif width == 1:
            yield f"{path}:{line}", ["" for _ in indices]


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line on which each begins."""
    # the limit is the module's only setting for it, 131,072 characters by default
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_LIMIT))
    with open_lines(path, newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        try:
            for record in reader:
                yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            line = _open_quote_line(path, delimiter, line, reader.line_num)
            raise InputError(
                f"{path}:{line}: the quote that opens on this line does not close its cell; "
                "close it, and double every quote inside a quoted cell"
            ) from error


def _open_quote_line(path: Path, delimiter: str, first: int, last: int) -> int:
    """The line of the cell that is not well quoted, in the record on lines `first` to `last`."""
    with open_lines(path, newline="") as lines:
        record = list(islice(lines, first - 1, last))
    end = re.escape(delimiter)
    cell = re.compile(rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{end}\r\n][^{end}\r\n]*+|)(?:{end}|\r\n?|\n)')
    text = "".join(record)
    offset = 0
    while match := cell.match(text, offset):
        offset = match.end()
    for line, content in enumerate(record, first):
        offset -= len(content)
        if offset < 0:
            return line
    return last
