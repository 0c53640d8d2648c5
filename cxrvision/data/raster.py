"""PNG, JPEG, TIFF and BMP files: from bytes to gray values, bone white as the file shows it.

Pillow decodes; formats that no chest film comes in are not tried.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

MOST_PIXELS: Final = 120_000_000  # the largest detectors have some 20 million
FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP")
FLAT: Final = "flat: all pixels have the same value"

# what Pillow raises on files that are torn, truncated or made to harm
BROKEN: Final = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError,
    OverflowError, MemoryError, RuntimeError, ZeroDivisionError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decoded:
    """Gray values of one image."""

    values: NDArray[Any]  # [H, W], uint8 in [0, 255] or float32 in [0, 1]; 1 is white
    notes: tuple[str, ...]
    width: int  # of the file, whatever size was decoded
    height: int


def decode_raster(content: bytes, place: str, *, at_least: int | None = None) -> Decoded:
    """Decode an image file.

    Args:
        content: the file.
        place: its name in messages.
        at_least: a JPEG is decoded at a half, a quarter or an eighth of its size as long as both
            sides keep this many pixels; None decodes it whole.

    Raises:
        InputError: not a whole image of a known format, or too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked below; metadata are not used
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                check_size(*image.size, place)
                return _decode(image, at_least)
    except Image.DecompressionBombError as error:
        raise InputError(f"{place}: too large an image: {error}") from error
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{place}: cannot be decoded: {one_line(error)}") from error


def check_size(width: int, height: int, place: str) -> None:
    """Refuse an image that is too large for a radiograph, or empty, before it is decoded."""
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        raise InputError(
            f"{place}: an image of {width:,} × {height:,} pixels; "
            f"expected 1 to {MOST_PIXELS:,} in all"
        )


def one_line(error: BaseException) -> str:
    """What an exception of a library says, short and without the bytes of the file."""
    text = " ".join(str(error).split()).partition("<_io.")[0].strip()
    return text[:120] if text else type(error).__name__


def to_unit(values: NDArray[Any]) -> tuple[NDArray[np.float32], str]:
    """Values deeper than 8 bits as [0, 1]: divided by the largest number of as many bits.

    The bits are those that the largest value needs: 12-bit values in a 16-bit file are as light as
    in a 12-bit one, and 8-bit values as light as in an 8-bit file. Where there are fractions or
    negative values, lowest to highest become 0 to 1; what is not a number becomes the lowest.

    Returns:
        The values, and a note (empty where nothing is to be said).
    """
    if np.issubdtype(values.dtype, np.integer):
        return _whole_to_unit(values)
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return np.zeros(values.shape, np.float32), FLAT
    low, high = float(values[is_finite].min()), float(values[is_finite].max())
    finite = np.where(is_finite, values, low)
    if low >= 0 and high <= 1:
        return finite.astype(np.float32), ""
    return _stretched(finite, low, high)


def _whole_to_unit(values: NDArray[Any]) -> tuple[NDArray[np.float32], str]:
    low, high = int(values.min()), int(values.max())
    if low < 0:
        return _stretched(values, low, high)
    top = (1 << max(high.bit_length(), 8)) - 1
    return np.multiply(values, np.float32(1 / top), dtype=np.float32), ""


def _stretched(values: NDArray[Any], low: float, high: float) -> tuple[NDArray[np.float32], str]:
    if low == high:
        return np.full(values.shape, float(low > 0), np.float32), FLAT
    unit = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return unit, f"values {low:g} to {high:g}"


def _decode(image: Image, at_least: int | None) -> Decoded:
    from PIL import ImageOps

    notes: list[str] = []
    width, height = image.size
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"first of {image.n_frames} pages")  # type: ignore[attr-defined]
    if image.format == "JPEG" and at_least is not None:
        # the smallest scale at which no side falls below what is wanted; gray alone where it can be
        scale = at_least / min(image.size)
        image.draft("L", (max(1, int(width * scale)), max(1, int(height * scale))))
    turned = image.getexif().get(0x0112, 1)  # Exif 2.3, sec. 4.6.4: Orientation
    image.load()
    if turned not in (0, 1):
        image = ImageOps.exif_transpose(image)
        notes.append("turned as its Exif orientation says")
        if turned >= 5:
            width, height = height, width
    values, note = _gray(image)
    if note:
        notes.append(note)
    if values.min() == values.max() and FLAT not in notes:
        notes.append(FLAT)
    return Decoded(values, tuple(notes), width, height)


def _gray(image: Image) -> tuple[NDArray[Any], str]:
    """Gray values of an image of any mode: luma of Rec. 601 for colors, black where transparent."""
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits, also as fractions
        return to_unit(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _over_black(image)
    return np.asarray(image.convert("L")), ""


def _over_black(image: Image) -> tuple[NDArray[Any], str]:
    from PIL import Image as Images

    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    gray = layered.convert("L")  # leaves alpha out
    lowest, highest = alpha.getextrema()
    if highest == 0:
        return np.asarray(gray), "wholly transparent, transparency ignored"
    if lowest == 255:
        return np.asarray(gray), ""
    shown = Images.composite(gray, Images.new("L", gray.size), alpha)
    return np.asarray(shown), "transparent parts made black"
