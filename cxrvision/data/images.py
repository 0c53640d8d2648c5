"""One image from its file: decoded, bone white, and scaled to a square.

Which kind a file is, its first bytes decide, not its name.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.appearance import INVERTED, appearance_notes
from cxrvision.data.raster import Decoded, decode_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORRECTED: Final = f"{INVERTED}: corrected"
FITS: Final = ("pad", "crop", "stretch")
# Part of the key of a cache: one more whenever the same file gives other pixels.
PREPARATION: Final = 1

_REDUCING_GAP: Final = 2.0
_MOST_BYTES: Final = 1 << 30
_DICOM_ENDINGS: Final = frozenset({".dcm", ".dicom", ".dic"})
_RASTER_STARTS: Final = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image at its own size."""

    values: NDArray[np.float32]  # [H, W] in [0, 1]; 1 is white, and bone is white
    notes: tuple[str, ...]  # what was done or looks wrong, none of it from the header's text
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Square:
    """An image as a cache keeps it."""

    values: NDArray[np.uint8]  # [S, S]
    notes: tuple[str, ...]
    width: int  # of the file
    height: int


def read_pixels(path: Path | str, *, correct_inverted: bool = False, window: int = 0) -> Pixels:
    """Read an image at its own size.

    Args:
        path: PNG, JPEG, TIFF, BMP or DICOM.
        correct_inverted: invert an image that looks inverted, which is always noted. Without it
            the file's photometric interpretation is believed.
        window: which window or VOI LUT of a DICOM file to use, from 0.

    Raises:
        InputError: the file cannot be read as an image.
    """
    decoded = _decode(read_content(path), str(path), window=window)
    values, notes = _upright(decoded, correct_inverted)
    return Pixels(_as_unit(values), notes, decoded.width, decoded.height)


def read_square(
    path: Path | str, size: int, *, fit: str = "pad", correct_inverted: bool = False
) -> NDArray[np.uint8]:
    """Read an image as a square, [size, size]; a large JPEG is decoded at a reduced size.

    Raises:
        InputError: the file cannot be read as an image.
    """
    content = read_content(path)
    return square_of(
        content, str(path), size=size, fit=fit, correct_inverted=correct_inverted
    ).values


def square_of(
    content: bytes, place: str, *, size: int, fit: str = "pad", correct_inverted: bool = False
) -> Square:
    """`read_square` of a file that is in memory, with its notes and its own size."""
    decoded = _decode(content, place, at_least=size)
    values, notes = _upright(decoded, correct_inverted)
    return Square(fit_square(values, size, fit=fit), notes, decoded.width, decoded.height)


def read_content(path: Path | str) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: it is not there, is no plain file, is empty or has more than 1 GiB.
    """
    place = Path(path)
    try:
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device would never end
            raise InputError(f"{path}: not a file")
        if not 0 < status.st_size <= _MOST_BYTES:
            raise InputError(f"{path}: {status.st_size:,} bytes; expected 1 to {_MOST_BYTES:,}")
        return place.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def fit_square(values: NDArray[Any], size: int, *, fit: str = "pad") -> NDArray[np.uint8]:
    """Scale an image to a square, antialiased (bicubic, over the area of the larger pixels).

    Args:
        values: [H, W], uint8 or float in [0, 1].
        size: side of the square in pixels.
        fit: "pad" keeps the whole image and its proportions, with black beside it; "crop" keeps the
            proportions and cuts what is beside the middle square; "stretch" keeps the whole image.

    Returns:
        [size, size].
    """
    from PIL import Image

    if fit not in FITS:
        raise InputError(f"fit {fit!r}: expected one of {', '.join(FITS)}")
    if size < 1:
        raise InputError(f"size {size}: expected at least 1 pixel")
    if values.ndim != 2 or not values.size:
        raise ValueError(f"expected an image [H, W], found {values.shape}")
    if values.dtype != np.uint8 and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"expected uint8 or fractions in [0, 1], found {values.dtype}")
    height, width = values.shape
    target, box = _placement(width, height, size, fit)
    is_bytes = values.dtype == np.uint8
    image = Image.fromarray(values if is_bytes else np.asarray(values, np.float32))
    # far larger images are first averaged over whole pixels, down to twice the size or a bit more
    scaled = np.asarray(
        image.resize(target, Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP)
    )
    if not is_bytes:
        scaled = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - target[1]) // 2, (size - target[0]) // 2
    square[top : top + target[1], left : left + target[0]] = scaled
    return square


def _placement(
    width: int, height: int, size: int, fit: str
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """(width, height) to scale to, and the part of the image (left, top, right, bottom) to take."""
    whole = (0.0, 0.0, float(width), float(height))
    if fit == "stretch":
        return (size, size), whole
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return (size, size), (left, top, left + side, top + side)
    scale = size / max(width, height)
    return (max(1, round(width * scale)), max(1, round(height * scale))), whole


def _decode(content: bytes, place: str, *, at_least: int | None = None, window: int = 0) -> Decoded:
    if content.startswith(_RASTER_STARTS):
        return decode_raster(content, place, at_least=at_least)
    # PS3.10, sec. 7.1: 128 bytes, then "DICM"; old files go without both
    if content[128:132] == b"DICM" or Path(place).suffix.lower() in _DICOM_ENDINGS:
        from cxrvision.data.dicom import decode_dicom

        return decode_dicom(content, place, window=window)
    raise InputError(f"{place}: not an image that is read: PNG, JPEG, TIFF, BMP or DICOM")


def _upright(decoded: Decoded, correct: bool) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Values and notes, with those on what the image itself shows; inverted where asked."""
    values, seen = decoded.values, appearance_notes(decoded.values)
    if not (correct and INVERTED in seen):
        return values, (*decoded.notes, *seen)
    white = 255 if values.dtype == np.uint8 else 1
    others = (note for note in seen if note != INVERTED)
    return white - values, (*decoded.notes, *others, CORRECTED)


def _as_unit(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return np.asarray(values, np.float32)
