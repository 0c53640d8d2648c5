"""Reports that come as one file each: plain text (MIMIC-CXR) or XML (Open-i), and folders of them.

In the tree of MIMIC-CXR, `files/p10/p10000032/s50414267.txt`, the file's name is the study and the
folder's the subject: Johnson et al. 2019, doi:10.1038/s41597-019-0322-0.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from cxrlabel.errors import InputError
from cxrlabel.files import InputTable, Row, decode, open_bytes, split_ending
from cxrlabel.openi import REPORT_COLUMNS, read_report

TEXT_COLUMNS: Final = ("study_id", "report")
SUBJECT: Final = "subject_id"  # a third column where the files lie as those of MIMIC-CXR

_KINDS: Final = (".txt", ".xml")  # also as .gz
_SUBJECT_FOLDER: Final = re.compile(r"p(\d+)")
_STUDY_FILE: Final = re.compile(r"s\d+\.txt(\.gz)?", re.IGNORECASE)


def open_report_file(path: Path) -> InputTable:
    """Open a .txt or .xml file as a table of one report."""
    return _table(path, path, [path])


def open_report_folder(folder: Path) -> InputTable:
    """Open all .txt or all .xml files below a folder as one table.

    Raises:
        InputError: there are none, or there are both.
    """
    kinds = {split_ending(path)[0] for path in _walk(folder)}
    if not kinds:
        raise InputError(
            f"{folder}: no .txt or .xml file in this folder; "
            f"name other files by a pattern, such as '{folder}/*.csv'"
        )
    if len(kinds) > 1:
        raise InputError(f"{folder}: has .txt and .xml files; expected one kind")
    return _table(folder, next(_walk(folder)), _Files(folder))


def hash_report_folder(folder: Path) -> tuple[str, int]:
    """The sha256 (hex) over names and contents in order, and the size of all in bytes."""
    digest = hashlib.sha256()
    size = 0
    for path in _walk(folder):
        content = path.read_bytes()
        name = os.fsencode(path.relative_to(folder).as_posix())
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
        size += len(content)
    return digest.hexdigest(), size


class _Files:
    """The report files below a folder; may be gone through again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __iter__(self) -> Iterator[Path]:
        return _walk(self._folder)


def _table(path: Path, first: Path, files: Iterable[Path]) -> InputTable:
    if split_ending(first)[0] == ".xml":
        return InputTable(path, REPORT_COLUMNS, partial(_read_xml, files))
    columns = TEXT_COLUMNS if _subject(first) is None else (*TEXT_COLUMNS, SUBJECT)
    return InputTable(path, columns, partial(_read_texts, files))


def _walk(folder: Path) -> Iterator[Path]:
    """The report files below a folder, sorted within each folder; hidden ones are left out."""
    for root, folders, files in os.walk(folder, onerror=_refuse_folder):
        folders.sort()
        for name in sorted(files):
            if not name.startswith(".") and split_ending(Path(name))[0] in _KINDS:
                yield Path(root, name)


def _refuse_folder(error: OSError) -> None:
    # os.walk passes over a folder that it may not read
    raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _read_texts(paths: Iterable[Path], names: Sequence[str]) -> Iterator[Row]:
    for path in paths:
        with open_bytes(path) as file:
            text = decode(file.read())
        stem = re.sub(r"\.txt(\.gz)?$", "", path.name, flags=re.IGNORECASE)
        cells = dict(zip(TEXT_COLUMNS, (stem, text), strict=True))
        if SUBJECT in names:
            cells[SUBJECT] = _require_subject(path)
        yield str(path), [cells[name] for name in names]


def _read_xml(paths: Iterable[Path], names: Sequence[str]) -> Iterator[Row]:
    for path in paths:
        cells = read_report(path)
        yield str(path), [cells[name] for name in names]


def _subject(path: Path) -> str | None:
    """The number of the folder "p10000032" around a file "s50414267.txt", else None."""
    folder = _SUBJECT_FOLDER.fullmatch(path.absolute().parent.name)
    return folder[1] if folder and _STUDY_FILE.fullmatch(path.name) else None


def _require_subject(path: Path) -> str:
    subject = _subject(path)
    if subject is None:
        raise InputError(f"{path}: not laid out as p10000032/s50414267.txt; expected all or none")
    return subject
