"""Files as bytes and lines, unzipped on the way.

Text is read as UTF-8; a byte that is not becomes a lone surrogate ("surrogateescape"), so that one
bad row does not stop the file.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from cxrlabel.errors import InputError

Row = tuple[str, Sequence[object]]  # place for messages, one cell per column asked for

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class InputTable:
    """One input: its columns, and `read(columns)` for the cells of some of them, row by row."""

    path: Path
    columns: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterator[Row]]


def split_ending(path: Path) -> tuple[str, bool]:
    """The ending that tells the kind of file, in lower case, and whether ".gz" follows it."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        return "".join(suffixes[-2:-1]), True
    return "".join(suffixes[-1:]), False


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unzipped; failures of the disk or of gzip become an `InputError`."""
    try:
        with path.open("rb") as raw:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    yield io.BufferedReader(unzipped, 1 << 16)
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def open_lines(path: Path, newline: str) -> Iterator[TextIO]:
    """Open a UTF-8 text file, with or without a byte order mark; `newline` as in `io.open`."""
    with open_bytes(path) as file:
        # peek is there on both kinds of buffered reader
        if file.peek(2)[:2] in _UTF16:  # type: ignore[attr-defined]
            raise InputError(f"{path}: the file is UTF-16; save it as UTF-8")
        yield io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline=newline)


def decode(content: bytes) -> str:
    """Bytes as text, as `open_lines` does it."""
    return content.decode("utf-8-sig", "surrogateescape")
