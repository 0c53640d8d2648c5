"""Images for the page: gray levels, which its script puts into a window.

PNG and JPEG are read by pillow, DICOM by pydicom where it is installed. The page gets 16 bits where
the file has more than 8, so that a window can be narrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

LONGEST: Final = 2048  # pixels of the longer side; larger images are reduced
MOST_PIXELS: Final = 100_000_000  # more are not decoded: no radiograph, a file made to fill memory

_TOP: Final = 65_535
_DICOM_MARK: Final = b"DICM"  # behind a preamble of 128 bytes: PS3.10, sec. 7.1
_TAILS: Final = (0.5, 99.5)  # percentiles that are black and white where the file says nothing


@dataclass(frozen=True, slots=True)
class GrayImage:
    """Gray levels, and the window in which they are first shown."""

    width: int
    height: int
    bits: int  # 8 or 16 for each level
    low: int  # the level that is black
    high: int  # the level that is white
    levels: bytes  # row by row from the top left, little endian


def read_image(path: Path) -> GrayImage:
    """Read an image in gray.

    Raises:
        InputError: the file is missing, damaged or of an unknown kind.
    """
    return _read_dicom(path) if _is_dicom(path) else _read_picture(path)


def require_packages(paths: Iterable[Path]) -> None:
    """Refuse images that this machine has no package for, before anybody wants to see them.

    Raises:
        InputError: a package is missing, or a file cannot be read.
    """
    for path in paths:
        package = "pydicom" if _is_dicom(path) else "PIL"
        if find_spec(package) is None:
            raise InputError(f"{path}: needs the package {package}: pip install 'cxr[images]'")


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == _DICOM_MARK
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_picture(path: Path) -> GrayImage:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            _check_size(path, *picture.size)
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be read") from error
    if picture.mode.startswith(("I", "F")):
        levels = np.asarray(picture, dtype=np.float32)
        return _packed(levels, float(levels.min()), float(levels.max()))
    gray = _reduced(picture.convert("L"))
    return GrayImage(gray.width, gray.height, 8, 0, 255, gray.tobytes())


def _read_dicom(path: Path) -> GrayImage:
    import numpy as np
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    try:
        dataset = pydicom.dcmread(path)
        _check_size(path, dataset.Columns, dataset.Rows)
        pixels = _first_frame(dataset)
        levels = np.asarray(apply_modality_lut(pixels, dataset), dtype=np.float32)
        if "VOILUTSequence" in dataset:  # (0028,3010)
            levels = np.asarray(apply_voi_lut(levels.astype(pixels.dtype), dataset), np.float32)
        low, high = _window(dataset, levels)
    except InputError:
        raise
    except Exception as error:  # pydicom and its decoders raise errors of every kind
        raise InputError(f"{path}: not a DICOM image that can be read") from error
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":  # (0028,0004): low is white
        levels, low, high = -levels, -high, -low
    return _packed(levels, low, high)


def _first_frame(dataset: Any) -> npt.NDArray[Any]:
    from pydicom.pixels.utils import pixel_array

    pixels = pixel_array(dataset, index=0)
    return pixels.mean(axis=-1).astype(pixels.dtype) if pixels.ndim == 3 else pixels


def _window(dataset: Any, levels: npt.NDArray[np.float32]) -> tuple[float, float]:
    """The levels that are black and white: (0028,1050) and (0028,1051), else the middle 99 %."""
    import numpy as np

    center, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if center is None or width is None or "VOILUTSequence" in dataset:
        low, high = np.percentile(levels, _TAILS)
        return float(low), float(high)
    middle, span = (float(np.atleast_1d(value)[0]) for value in (center, width))
    return middle - span / 2, middle + span / 2


def _packed(levels: npt.NDArray[np.float32], low: float, high: float) -> GrayImage:
    """Levels spread over 16 bits."""
    import numpy as np
    from PIL import Image

    reduced = np.asarray(_reduced(Image.fromarray(levels)), dtype=np.float32)
    bottom, top = float(reduced.min()), float(reduced.max())
    scale = _TOP / max(top - bottom, 1e-6)
    packed = np.clip((reduced - bottom) * scale, 0, _TOP).astype("<u2")
    edges = [round(min(max((edge - bottom) * scale, 0), _TOP)) for edge in (low, high)]
    height, width = packed.shape
    return GrayImage(width, height, 16, edges[0], max(edges[1], edges[0] + 1), packed.tobytes())


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(f"{path}: {width} x {height} pixels; expected {MOST_PIXELS:,} at most")


def _reduced(picture: Image) -> Image:
    factor = max(picture.size) / LONGEST
    if factor <= 1:
        return picture
    width, height = (max(round(side / factor), 1) for side in picture.size)
    return picture.resize((width, height), reducing_gap=2.0)
