"""Image files on disk: which there are, which are broken, which are the same file twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

IMAGE_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp")
DICOM_ENDINGS: Final = (".dcm", ".dicom", "")  # "": a name without an ending, as PACS exports

_SAMPLE: Final = 4_096  # bytes at both ends of a file that are read before the whole of it
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"  # the last chunk; a truncated file lacks it
_JPEG: Final = b"\xff\xd8"
_DICOM_AT: Final = 128  # the preamble's length; "DICM" follows (PS3.10, 7.1)


def list_images(root: Path, *, bare: bool = False) -> pd.DataFrame:
    """All image files below a folder, sorted by path; links are followed, hidden files are not.

    Args:
        bare: also DICOM files whose name has no ending.

    Returns:
        path (relative to `root`, with "/"), name, stem.

    Raises:
        InputError: no such folder, or a name is not UTF-8.
    """
    import pandas as pd

    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected the folder of a data set")
    found: list[tuple[str, str, str]] = []
    folders = [(str(root), "")]
    seen = {os.path.realpath(root)}
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith((".", "__MACOSX")):  # also what macOS puts into archives
                    continue
                if not name.isascii() and name.encode("utf-8", "ignore").decode() != name:
                    raise InputError(f"{folder}: the name {name!a} is not UTF-8; rename it")
                if entry.is_dir():
                    if _leads_on(entry, folder, seen):
                        folders.append((entry.path, f"{prefix}{name}/"))
                    continue
                stem, dot, ending = name.rpartition(".")
                if f".{ending.lower()}" in IMAGE_ENDINGS if dot else bare and _is_dicom(entry):
                    found.append((f"{prefix}{name}", name, stem or name))
    found.sort()
    columns = zip(*found, strict=True) if found else ((), (), ())
    named_columns = zip(("path", "name", "stem"), columns, strict=True)
    return pd.DataFrame({name: pd.Series(cells, dtype="str") for name, cells in named_columns})


def find_broken(files: Iterable[Path]) -> list[bool]:
    """Whether each file is empty, not what its ending says, or a PNG that ends too early.

    A look at both ends only; the cache decodes every pixel.
    """
    return [_is_broken(path) for path in files]


def hash_duplicates(files: Sequence[Path], sizes: Sequence[int]) -> list[str]:
    """The sha256 (hex) of each file that has the content of another, "" for all others.

    Files are compared by size, then by both ends, and read whole only where these are the same.
    """
    candidates = _same(range(len(files)), lambda i: sizes[i])
    candidates = _same(candidates, lambda i: (sizes[i], _ends(files[i], sizes[i])))
    hashes = {i: _sha256(files[i]) for i in candidates}
    shared = set(_same(candidates, hashes.__getitem__))
    return [hashes[i] if i in shared else "" for i in range(len(files))]


def named(names: Iterable[object], *, first: int = 3) -> str:
    """The first few of a list for a message."""
    listed = [str(name) for name in names]
    more = ", …" if len(listed) > first else ""
    return ", ".join(listed[:first]) + more


def _leads_on(entry: os.DirEntry[str], folder: str, seen: set[str]) -> bool:
    """False for a link that leads upwards, or where another one has led already."""
    if not entry.is_symlink():
        return True
    real, here = os.path.realpath(entry.path), os.path.realpath(folder)
    if real in seen or f"{here}{os.sep}".startswith(f"{real}{os.sep}"):
        return False
    seen.add(real)
    return True


def _is_dicom(entry: os.DirEntry[str]) -> bool:
    if not entry.is_file():
        return False
    try:
        with open(entry.path, "rb") as file:
            return file.read(_DICOM_AT + 4)[_DICOM_AT:] == b"DICM"
    except OSError:
        return False


def _is_broken(path: Path) -> bool:
    ending = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(_DICOM_AT + 4)
            if ending == ".png":
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _SAMPLE))  # some writers put bytes behind the end
                return not head.startswith(_PNG) or _PNG_END not in file.read()
    except OSError:
        return True
    return not head or (ending in (".jpg", ".jpeg") and not head.startswith((_JPEG, _PNG)))


def _same(indices: Iterable[int], key: Callable[[int], Hashable]) -> list[int]:
    """The indices whose key another one has as well."""
    groups: dict[Hashable, list[int]] = {}
    for i in indices:
        groups.setdefault(key(i), []).append(i)
    return sorted(i for group in groups.values() if len(group) > 1 for i in group)


def _ends(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_SAMPLE)
            file.seek(max(0, size - _SAMPLE))
            return hashlib.blake2b(head + file.read(_SAMPLE), digest_size=16).digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
