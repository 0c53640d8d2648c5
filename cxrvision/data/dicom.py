"""DICOM files: from stored values to gray values as a viewer shows them, bone white.

The chain of DICOM PS3.4, N.2: stored values, modality LUT or rescale, VOI LUT or window,
photometric interpretation. pydicom reads and decodes.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.codestreams import check_codestream, choose_decoder
from cxrvision.data.raster import BROKEN, FLAT, Decoded, check_size, one_line, to_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    Floats = NDArray[np.float32]

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_FORMS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_TAILS: Final = (0.1, 99.9)  # percentiles that become black and white where no window is given
_SAMPLED: Final = 512  # rows and columns that percentiles are taken from, at least
_LEAST_SPREAD: Final = 0.05  # of a window, between the 1st and the 99th percentile


def decode_dicom(content: bytes, place: str, *, window: int = 0) -> Decoded:
    """Decode the (first) image of a DICOM file.

    Args:
        content: the file.
        place: its name in messages.
        window: which of several windows or VOI LUTs, from 0.

    Raises:
        InputError: not a DICOM image, a compression without a decoder, or pydicom is missing.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError(f"{place}: DICOM needs pydicom: pip install 'cxr[images]'") from error
    from pydicom.errors import BytesLengthException, InvalidDicomError

    if _DEFLATED in content:  # it unpacks without a limit, and nobody sends radiographs so
        raise InputError(f"{place}: deflated DICOM is not read")
    broken = (*BROKEN, InvalidDicomError, BytesLengthException, NotImplementedError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(content), force=content[128:132] != b"DICM")
            return _decode(dataset, place, window)
        except InputError:
            raise
        except broken as error:
            raise InputError(f"{place}: cannot be decoded: {one_line(error)}") from error


def _decode(dataset: Dataset, place: str, window: int) -> Decoded:
    if "PixelData" not in dataset:
        raise InputError(f"{place}: a DICOM file without an image")
    notes: list[str] = []
    stored = _stored(dataset, place, notes)
    height, width = stored.shape[:2]
    if stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
        return Decoded(_luma(dataset, stored), tuple(notes), width, height)
    values = _shown(dataset, stored, window, notes)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = 1 - values  # PS3.3, C.7.6.3.1.2: the lowest value is white
        notes.append("MONOCHROME1 inverted")
    padding = _padding(dataset, stored)
    if padding is not None and padding.any() and not padding.all():
        values[padding] = 0
        notes.append("padding made black")
    if values.min() == values.max():
        notes.append(FLAT)
    return Decoded(values, tuple(notes), width, height)


def _stored(dataset: Dataset, place: str, notes: list[str]) -> NDArray[Any]:
    """Stored values of the first frame, [H, W] or [H, W, 3], without the bits that hold others."""
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ImplicitVRLittleEndian

    check_size(int(dataset.Columns), int(dataset.Rows), place)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    stored_bits, high = int(dataset.BitsStored), int(dataset.get("HighBit", dataset.BitsStored - 1))
    shift = high + 1 - stored_bits
    if shift > 0:  # PS3.5, 8.1.1, of 2011 and before: values need not begin at bit 0
        dataset.BitsStored = high + 1
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if not syntax:  # a file without the part that names it: PS3.5, annex A.1
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    decoder = choose_decoder(syntax, stored_bits, place)
    check_codestream(dataset, syntax, place)
    stored = pixel_array(dataset, index=0, decoding_plugin=decoder)
    return stored >> shift if shift > 0 else stored


def _shown(dataset: Dataset, stored: NDArray[Any], window: int, notes: list[str]) -> Floats:
    """Values in [0, 1] after modality LUT and VOI LUT or window, before any inversion."""
    values = _modality_values(dataset, stored)
    if dataset.get("VOILUTSequence"):
        chosen = _choose(dataset.VOILUTSequence, window, "VOI LUTs", notes)
        table = _table(dataset, dataset.VOILUTSequence[chosen])
        top = (1 << max(int(table.values.max()).bit_length(), 8)) - 1
        return _floats(_look_up(values, table) / top)
    centers = _numbers(dataset.get("WindowCenter"))
    windows = list(zip(centers, _numbers(dataset.get("WindowWidth")), strict=False))
    windows = [pair for pair in windows if all(map(math.isfinite, pair)) and pair[1] > 0]
    if windows:
        center, width = windows[_choose(windows, window, "windows", notes)]
        form = str(dataset.get("VOILUTFunction")).upper()
        form = form if form in _FORMS else _FORMS[0]
        seen = windowed(values, center, width, form=form)
        low, high = np.percentile(seen[::4, ::4], (1, 99))
        if high - low >= _LEAST_SPREAD or values.min() == values.max():
            return seen
        notes.append("window shows next to nothing, range of the values used")
    padding = _padding(dataset, stored)
    return _ranged(dataset, values, padding, notes)


def windowed(values: NDArray[Any], center: float, width: float, *, form: str = "LINEAR") -> Floats:
    """Values through a window, in [0, 1]: PS3.3, C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: after the modality LUT.
        center, width: in the same unit.
        form: LINEAR, LINEAR_EXACT or SIGMOID.
    """
    if form == "LINEAR" and width <= 1:  # a threshold
        return _floats(values > center - 0.5)
    if form == "LINEAR":
        center, width = center - 0.5, width - 1
    x = np.subtract(values, np.float32(center), dtype=np.float32)
    x /= np.float32(width)
    if form == "SIGMOID":
        # clipped where float32 has no more to give
        return _floats(1 / (1 + np.exp(np.clip(-4 * x, -80, 80))))
    x += np.float32(0.5)
    return _floats(np.clip(x, 0, 1, out=x))


def _ranged(
    dataset: Dataset, values: NDArray[Any], padding: NDArray[np.bool_] | None, notes: list[str]
) -> Floats:
    """Values in [0, 1] where nothing says what is black and what is white."""
    if values.dtype == np.uint8:  # display values, as in a PNG
        return _floats(values / ((1 << int(dataset.BitsStored)) - 1))
    step = max(1, min(values.shape) // _SAMPLED)
    seen = values[::step, ::step]
    if padding is not None and not padding[::step, ::step].all():
        seen = seen[~padding[::step, ::step]]
    low, high = map(float, np.percentile(seen, _TAILS))
    if low == high:  # next to all of it
        low, high = float(values.min()), float(values.max())
    if low == high:
        return to_unit(values)[0]
    notes.append("no window, range of the values used")
    return windowed(values, (low + high) / 2, high - low, form="LINEAR_EXACT")


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """[H, W] what is no image: (0028,0120) to (0028,0121), both included: PS3.3, C.7.5.1.1.2."""
    first = _signed(dataset, dataset.get("PixelPaddingValue"))
    if first is None:
        return None
    last = _signed(dataset, dataset.get("PixelPaddingRangeLimit"))
    low, high = sorted((first, first if last is None else last))
    return np.asarray((stored >= low) & (stored <= high))


def _signed(dataset: Dataset, value: Any) -> int | None:
    """A value in the sign of the pixels, whichever sign its own type has."""
    if not isinstance(value, int):
        return None
    bits = int(dataset.BitsAllocated)
    number = value & ((1 << bits) - 1)
    is_negative = dataset.PixelRepresentation == 1 and number >> (bits - 1)
    return number - (1 << bits) if is_negative else number


def _luma(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Gray of a color image, Rec. 601; pixel_array has made RGB of YBR."""
    from pydicom.pixels.processing import apply_color_lut

    colors = stored
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = apply_color_lut(stored, dataset)
    bits = 8 * colors.dtype.itemsize
    weights = np.array([0.299, 0.587, 0.114]) * (255 / ((1 << bits) - 1))
    return np.asarray(np.rint(colors[..., :3] @ weights), dtype=np.uint8)


def _modality_values(dataset: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    if dataset.get("ModalityLUTSequence"):
        return _look_up(stored, _table(dataset, dataset.ModalityLUTSequence[0]))
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    if (slope, intercept) == (1, 0):
        return stored
    return stored * np.float64(slope) + intercept


@dataclass(frozen=True, slots=True)
class _Table:
    values: NDArray[Any]
    first: int  # what the first of them stands for


def _table(dataset: Dataset, item: Dataset) -> _Table:
    """A look-up table: PS3.3, C.11.1.1.

    Not pydicom's: it knows no table of 12 bits, and takes the difference from the first value in
    the few bits of the table's own values.
    """
    entries, first, _ = item.LUTDescriptor
    entries = entries or 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] in (True, None) else ">"
        values = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * entries else "u1")
    else:
        values = np.atleast_1d(np.asarray(data))
    if dataset.PixelRepresentation == 1 and first > 0x7FFF:  # written as if it had no sign
        first -= 0x10000
    return _Table(values[:entries], first)


def _look_up(values: NDArray[Any], table: _Table) -> NDArray[Any]:
    """Values below the first of the table become its first entry, those above its last one."""
    places = np.rint(values).astype(np.int64) - table.first
    return np.asarray(table.values[np.clip(places, 0, len(table.values) - 1)])


def _choose(options: Sequence[object], index: int, what: str, notes: list[str]) -> int:
    if index >= len(options):
        raise InputError(f"window {index}: the file has {len(options)} {what}; expected fewer")
    if len(options) > 1:
        notes.append(f"{len(options)} {what}, number {index + 1} used")
    return index


def _numbers(value: Any) -> list[float]:
    """One or several decimal strings; a cell that is no number gives NaN."""
    if value is None or value == "":
        return []
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return [float(item) if item not in (None, "") else math.nan for item in several]


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float32)
