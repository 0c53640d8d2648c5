"""Table files as streams of cells: csv, tsv, jsonl and parquet, gzipped or not.

Nothing here knows what a column means. Memory stays flat: a file is read line by line, a parquet
file in batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cxrlabel.columns import is_known
from cxrlabel.delimited import open_delimited
from cxrlabel.errors import InputError
from cxrlabel.files import InputTable, Row, decode, open_lines, split_ending
from cxrlabel.folders import hash_report_folder, open_report_file, open_report_folder

_LINE_KINDS: Final = (".csv", ".tsv", ".jsonl", ".txt", ".xml")  # also as .gz
_JSON_SAMPLE: Final = 1_000  # lines whose keys are the columns of a jsonl file
_BATCH: Final = 4_096  # parquet rows in memory
_BUFFER: Final = 1 << 20  # bytes of a parquet column that are read at a time


def open_table(path: Path, *, names: Collection[str] = ()) -> InputTable:
    """Open a table file or a folder of reports as .txt or .xml files, and read its column names.

    Args:
        names: columns that the caller asks for. A first line of one cell is a header when the cell
            is one of these or a usual column name, else the file has no header.

    Raises:
        InputError: the file is missing, empty, of an unknown kind or cannot be read.
    """
    if path.is_dir():
        return open_report_folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    kind, zipped = split_ending(path)
    if kind not in _LINE_KINDS and (zipped or kind != ".parquet"):
        raise InputError(
            f"{path}: unknown kind of file; expected .csv, .tsv, .jsonl, .txt or .xml "
            "(each also .gz), .parquet, or a folder of .txt or .xml files"
        )
    if kind in (".txt", ".xml"):
        return open_report_file(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if kind == ".parquet":
        return _open_parquet(path)
    if kind == ".jsonl":
        return _open_jsonl(path)
    return open_delimited(path, "\t" if kind == ".tsv" else ",", names)


def hash_input(path: Path) -> tuple[str, int]:
    """The sha256 (hex) and the size in bytes of a file; of a folder, over its reports in order."""
    if path.is_dir():
        return hash_report_folder(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


# jsonl


def _open_jsonl(path: Path) -> InputTable:
    columns: dict[str, None] = {}
    for _, row in islice(_json_rows(path), _JSON_SAMPLE):
        columns.update(dict.fromkeys(row))
    if not columns:
        raise InputError(f"{path}: the file is empty")
    return InputTable(path, tuple(columns), partial(_read_jsonl, path, frozenset(columns)))


def _read_jsonl(path: Path, columns: frozenset[str], names: Sequence[str]) -> Iterator[Row]:
    for place, row in _json_rows(path):
        if not row.keys() <= columns:
            new = next(key for key in row if key not in columns)
            if is_known(new):  # it would have been chosen, had it been seen in time
                raise InputError(
                    f"{place}: key {new!r} is not in the first {_JSON_SAMPLE} lines; "
                    "expected the same keys from the start"
                )
        yield place, [row.get(name) for name in names]


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    decode = json.JSONDecoder(strict=False).decode  # a control character in a string is no error
    with open_lines(path, newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            place = f"{path}:{number}"
            try:
                row = decode(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{place}: not JSON: {error.msg}, column {error.colno}") from error
            except (RecursionError, ValueError) as error:  # nested too deep, a number too long
                raise InputError(f"{place}: JSON that cannot be read") from error
            if not isinstance(row, dict):
                raise InputError(f"{place}: a JSON {type(row).__name__}, expected an object")
            yield place, row


# parquet


def _open_parquet(path: Path) -> InputTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a parquet file") from error
    return InputTable(path, columns, partial(_read_parquet, path))


def _read_parquet(path: Path, names: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # pre_buffer would keep the bytes of every row group until the file is closed
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            wanted = list(dict.fromkeys(names))
            for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=False):
                columns = [_values(batch.column(name)) for name in names]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield f"{path}:{number}", cells
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read after row {number}") from error


def _values(column: Any) -> list[object]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [cell if cell is None else decode(cell) for cell in column.to_pylist()]
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        binary = pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
        return _values(column.cast(binary))
    return values
