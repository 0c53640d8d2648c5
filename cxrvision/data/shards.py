"""One shard of a cache: images decoded into an array on disk, and what became of each of them.

What the worker processes of a build run, so that nothing slow is imported here. A shard counts from
the moment that its record, the .json file, is there; it is written after the pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path
from cxrvision.data.images import PREPARATION, read_content, square_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK: Final = "ok"
MISSING: Final = "missing"  # no such file
BROKEN: Final = "broken"  # not an image that can be read
STATUSES: Final = (OK, MISSING, BROKEN)

_BLOCK: Final = 1 << 16
_SPOTS: Final = 16  # blocks of a shard that a quick check looks at


@dataclass(frozen=True, slots=True)
class Preparation:
    """What makes pixels of a file; equal preparations of equal files give equal pixels."""

    size: int
    fit: str
    correct_inverted: bool = False
    version: int = PREPARATION


class Entry(NamedTuple):
    """What became of one image."""

    image_id: str
    status: str
    reason: str = ""  # why there are no pixels
    notes: tuple[str, ...] = ()
    width: int = 0  # of the file, in pixels
    height: int = 0
    bytes: int = 0
    modified: int = 0  # nanoseconds
    content: str = ""  # BLAKE2b of the file, hex
    pixels: str = ""  # BLAKE2b of the square, hex


@dataclass(frozen=True, slots=True)
class Shard:
    """An array [rows, S, S] on disk; the row of a broken image is there and black."""

    name: str  # of the .npy file, without its ending
    bytes: int
    checksum: str  # BLAKE2b of the file
    spots: str  # BLAKE2b of a few blocks of it
    preparation: Preparation
    entries: tuple[Entry, ...]

    def array_path(self, folder: Path) -> Path:
        """Where its pixels are."""
        return folder / f"{self.name}.npy"


def write_shard(
    folder: Path, name: str, images: Sequence[tuple[str, Path]], preparation: Preparation
) -> Shard:
    """Decode images into a shard. An image that cannot be read is recorded, whatever is wrong.

    Args:
        folder: where to.
        name: of the shard's files, without their endings.
        images: id and file of each.
        preparation: how the pixels are made.
    """
    target = folder / f"{name}.npy"
    shape = (len(images), preparation.size, preparation.size)
    with atomic_path(target, force=True) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        entries = [
            _prepare(image_id, path, preparation, array[row])
            for row, (image_id, path) in enumerate(images)
        ]
        array.flush()
        del array
        checksum, spots = file_hash(temporary), spot_hash(temporary)
        count = temporary.stat().st_size
    shard = Shard(name, count, checksum, spots, preparation, tuple(entries))
    with atomic_path(folder / f"{name}.json", force=True) as temporary:
        temporary.write_text(json.dumps(asdict(shard)), encoding="utf-8")
    return shard


def read_shard(record: Path) -> Shard | None:
    """A shard from its record, or None where that is not one."""
    try:
        fields = json.loads(record.read_text(encoding="utf-8"))
        fields["preparation"] = Preparation(**fields["preparation"])
        entries = [Entry(*entry) for entry in fields["entries"]]
        fields["entries"] = tuple(entry._replace(notes=tuple(entry.notes)) for entry in entries)
        return Shard(**fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def check_shard(path: Path, *, count: int, checksum: str, spots: str, whole: bool) -> str:
    """What is wrong with the pixels of a shard, or an empty string.

    Args:
        path: the .npy file.
        count: bytes that it should have.
        checksum, spots: as `Shard` has them.
        whole: read all of it; else its size and a few blocks are compared.
    """
    try:
        found = path.stat().st_size
        if found != count:
            return f"{path}: {found:,} bytes; expected {count:,}"
        if (file_hash(path) != checksum) if whole else (spot_hash(path) != spots):
            return f"{path}: its content has changed (checksum)"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    return ""


def file_hash(path: Path) -> str:
    """BLAKE2b of a file, 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def spot_hash(path: Path) -> str:
    """BLAKE2b of blocks that are spread over a file, its beginning and end among them."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        last = max(0, os.fstat(file.fileno()).st_size - _BLOCK)
        for spot in range(_SPOTS):
            file.seek(last * spot // (_SPOTS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def content_hash(content: bytes) -> str:
    """BLAKE2b of bytes, 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _prepare(image_id: str, path: Path, preparation: Preparation, out: NDArray[np.uint8]) -> Entry:
    """Put the pixels of one image into `out`, [S, S], or say why not."""
    entry = Entry(image_id, OK)
    place = str(path)
    try:
        status = path.stat()
    except OSError as error:
        return entry._replace(status=MISSING, reason=error.strerror or type(error).__name__)
    try:
        content = read_content(path)
        entry = entry._replace(
            bytes=len(content), modified=status.st_mtime_ns, content=content_hash(content)
        )
        square = square_of(
            content,
            place,
            size=preparation.size,
            fit=preparation.fit,
            correct_inverted=preparation.correct_inverted,
        )
    except InputError as error:
        reason = str(error).removeprefix(f"{place}: ")
        return entry._replace(status=BROKEN, reason=reason)
    except Exception as error:  # noqa: BLE001  one file of a million must not stop the others
        return entry._replace(status=BROKEN, reason=f"cannot be decoded ({type(error).__name__})")
    out[:] = square.values
    return entry._replace(
        notes=square.notes,
        width=square.width,
        height=square.height,
        pixels=content_hash(square.values.tobytes()),
    )
