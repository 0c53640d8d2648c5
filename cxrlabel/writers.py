"""Files out: written under a temporary name and renamed when whole; a killed run leaves no half.

Text cells of csv files that a spreadsheet would take for a formula are neutralised.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, Union

from cxrlabel.errors import InputError
from cxrlabel.files import split_ending

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = Sequence[tuple[object, ...]]

# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ROW_GROUP: Final = 65_536  # rows of a parquet file that are held until they are written


@dataclass(frozen=True, slots=True, repr=False)
class Coded:
    """Cells that repeat: the distinct values, and for each row the index of its own."""

    values: Sequence[Any]
    codes: NDArray[Any]


# cells one by one, repeating ones, or integers of which some may be masked
Column = Union[list[Any], Coded, "NDArray[Any]"]


class RowWriter(Protocol):
    """What `open_rows` yields."""

    def write(self, batch: Rows) -> None:
        """Append rows; a row has one value or None per column."""

    def write_columns(self, columns: Sequence[Column]) -> None:
        """Append rows that are given column by column, in far less time for each."""


@contextmanager
def atomic_path(path: Path | str, *, force: bool = False, again: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block ends well.

    Folders above it are created. The content is on the disk before the rename; on an error the
    temporary file is removed and an older file at `path` stays as it was.

    Args:
        path: the file to be.
        force: replace a file that exists.
        again: part of the temporary name; a next run with the same one writes over what a killed
            run left. By default it is random, so that two runs cannot meet.

    Raises:
        InputError: the file exists and `force` is not set, or the place cannot be written.
    """
    target = Path(path)
    check_target(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _create_beside(target, again)
    except OSError as error:
        raise InputError(f"{target}: cannot write here: {error.strerror or error}") from error
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(target.parent)


def check_target(path: Path | str, *, force: bool) -> None:
    """Raise an `InputError` where `atomic_path` would; for all outputs before the work begins."""
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target}: this is a folder, expected a file name")
    if target.exists() and not force:
        raise InputError(f"{target}: the file exists; pass --force to replace it")


def neutralise(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula: an apostrophe goes before `= + - @`.

    Numbers such as "-1.0" stay as they are.
    """
    if not cell or cell[0] not in _FORMULA_STARTS or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


@contextmanager
def open_rows(
    path: Path | str, columns: Mapping[str, type], *, force: bool = False, again: str = ""
) -> Iterator[RowWriter]:
    """Open a table for writing, batch by batch: csv, tsv, jsonl (each also .gz) or parquet.

    Args:
        path: its ending chooses the format.
        columns: name -> str, int, float or bool. None is a blank cell, null in jsonl and parquet.
            Text is neutralised in csv and tsv only: nobody opens the others in a spreadsheet.
        force, again: as in `atomic_path`.

    Raises:
        InputError: unknown ending, or as `atomic_path`.
    """
    target = Path(path)
    kind = table_kind(target)
    with atomic_path(target, force=force, again=again) as temporary:
        if kind == ".parquet":
            with _open_parquet(temporary, columns) as writer:
                yield writer
        else:
            with _open_text(temporary, zipped=target.suffix.lower() == ".gz") as file:
                if kind == ".jsonl":
                    yield _JsonlWriter(file, list(columns))
                else:
                    yield _CsvWriter(file, columns, "\t" if kind == ".tsv" else ",")


def table_kind(path: Path | str) -> str:
    """The format that a file's ending asks for: ".csv", ".tsv", ".jsonl" or ".parquet"."""
    kind, zipped = split_ending(Path(path))
    if kind in (".csv", ".tsv", ".jsonl") or (kind == ".parquet" and not zipped):
        return kind
    raise InputError(
        f"{path}: unknown kind of table; expected .csv, .tsv or .jsonl (each also .gz) or .parquet"
    )


class _CsvWriter:
    """Rows as comma- or tab-separated values with a header."""

    def __init__(self, file: TextIO, columns: Mapping[str, type], delimiter: str) -> None:
        # the csv module quotes what is in its line terminator: a lone "\r" has to be quoted as well
        self._writer = csv.writer(_LineFeeds(file), delimiter=delimiter, lineterminator="\r\n")
        self._is_text = [kind is str for kind in columns.values()]
        self._writer.writerow([neutralise(name) for name in columns])

    def write(self, batch: Rows) -> None:
        if not batch:
            return
        columns = zip(zip(*batch, strict=True), self._is_text, strict=True)
        cells = [map(_neutralise_text, col) if is_text else col for col, is_text in columns]
        self._writer.writerows(zip(*cells, strict=True))

    def write_columns(self, columns: Sequence[Column]) -> None:
        plain = []
        for column, is_text in zip(columns, self._is_text, strict=True):
            if isinstance(column, Coded):
                as_cell = _neutralise_text if is_text else _number_text
                plain.append(cells_of(Coded(list(map(as_cell, column.values)), column.codes)))
            else:
                cells = cells_of(column)
                plain.append(list(map(_neutralise_text, cells)) if is_text else cells)
        self._writer.writerows(zip(*plain, strict=True))


class _LineFeeds:
    """A file that ends lines with a line feed alone where they come with a carriage return."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line[:-2] + "\n")


class _JsonlWriter:
    """Rows as one JSON object a line."""

    def __init__(self, file: TextIO, names: Sequence[str]) -> None:
        self._file = file
        self._names = names
        self._encode = json.JSONEncoder(ensure_ascii=False).encode

    def write(self, batch: Rows) -> None:
        self._file.writelines(
            self._encode(dict(zip(self._names, row, strict=True))) + "\n" for row in batch
        )

    def write_columns(self, columns: Sequence[Column]) -> None:
        self.write(list(zip(*map(cells_of, columns), strict=True)))


class _ParquetWriter:
    """Rows as parquet; batches are gathered into row groups of a size that reads fast."""

    def __init__(self, file: Any, schema: Any) -> None:
        self._file = file
        self._schema = schema
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, batch: Rows) -> None:
        if batch:
            self.write_columns(list(map(list, zip(*batch, strict=True))))

    def write_columns(self, columns: Sequence[Column]) -> None:
        import pyarrow as pa

        arrays = [
            pa.array(column.values, kind).take(pa.array(column.codes))
            if isinstance(column, Coded)
            else pa.array(column, kind)
            for column, kind in zip(columns, self._schema.types, strict=True)
        ]
        batch = pa.record_batch(arrays, self._schema)
        if not batch.num_rows:
            return
        self._batches.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._batches:
            self._file.write_table(pa.Table.from_batches(self._batches), row_group_size=_ROW_GROUP)
        self._batches = []
        self._rows = 0


@contextmanager
def _open_parquet(path: Path, columns: Mapping[str, type]) -> Iterator[_ParquetWriter]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # integers are nullable; repeated text is dictionary-encoded in the file by default
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        writer = _ParquetWriter(file, schema)
        yield writer
        writer.flush()


@contextmanager
def _open_text(path: Path, *, zipped: bool) -> Iterator[TextIO]:
    if not zipped:
        with path.open("w", encoding="utf-8", newline="") as plain:
            yield plain
        return
    # neither the temporary name nor the time: equal content gives equal files
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text


def cells_of(column: Column) -> list[Any]:
    """A column's cells one by one; None where there is none."""
    if isinstance(column, list):
        return column
    if not isinstance(column, Coded):
        cells: list[Any] = column.tolist()  # a masked one gives None
        return cells
    import numpy as np

    values = np.empty(len(column.values), object)
    values[:] = column.values
    cells = values[column.codes].tolist()
    return cells


def _number_text(cell: Any) -> Any:
    """A number as the csv module writes it."""
    return None if cell is None else str(cell)


def _neutralise_text(cell: Any) -> Any:
    return neutralise(cell) if cell and cell[0] in _FORMULA_STARTS else cell


def _create_beside(target: Path, again: str) -> Path:
    """An empty file beside the target, with the permissions that any new file gets."""
    path = target.with_name(f".{target.name}.{again or secrets.token_hex(4)}.part{target.suffix}")
    if again:
        path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows does not open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
