"""Compressed DICOM images: who decodes which kind, and what is refused before it is decoded.

Decoders in C trust what a stream says of itself, so that its size is compared with the header's
first, and its end looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.raster import check_size

if TYPE_CHECKING:
    from pydicom import Dataset

_LOSSLESS: Final = dict.fromkeys(
    ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"), "JPEG Lossless"
)
_LS: Final = dict.fromkeys(("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), "JPEG-LS")
_BY_GDCM: Final = _LOSSLESS | _LS
_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
# by choice of ours: pydicom would ask GDCM first, which brings an OpenJPEG of years ago
_DECODERS: Final = {
    "1.2.840.10008.1.2.4.50": "pillow",
    _EXTENDED: "pillow",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    **dict.fromkeys(_BY_GDCM, "gdcm"),
}
_J2K_START: Final = b"\xff\x4f\xff\x51"  # ISO/IEC 15444-1, annex A: SOC, then SIZ
_JPEG_END: Final = b"\xff\xd9"
_SCAN: Final = 0xDA
# markers that begin a frame header: ITU-T T.81, table B.1 (without DHT, JPG and DAC); T.87, C.1.1
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def choose_decoder(syntax: str, bits: int, place: str) -> str:
    """The plugin of pydicom that is to decode a transfer syntax; "" leaves the choice to pydicom.

    Args:
        bits: that the header says are stored.

    Raises:
        InputError: there is no decoder.
    """
    from pydicom.pixels.decoders.base import get_decoder

    if syntax not in _DECODERS:
        return ""
    if syntax == _EXTENDED and bits > 8:
        raise InputError(f"{place}: JPEG with {bits} bits (JPEG Extended) is not read")
    wanted, there = _DECODERS[syntax], get_decoder(syntax).available_plugins
    if not there and syntax in _BY_GDCM:
        raise InputError(f"{place}: {_BY_GDCM[syntax]} needs GDCM: pip install 'cxr[images]'")
    return wanted if wanted in there else ""


def check_codestream(dataset: Dataset, syntax: str, place: str) -> None:
    """Refuse a stream that has another size than its header says, or that is cut short.

    Args:
        dataset: with Rows, Columns and PixelData.

    Raises:
        InputError: as said.
    """
    data = dataset.PixelData
    start = data.find(_J2K_START, 0, 4096)
    if start >= 0:
        right, bottom, left, top = np.frombuffer(data, ">u4", 4, start + 8).tolist()
        check_size(right - left, bottom - top, place)
    if syntax not in _BY_GDCM:
        return
    from pydicom.encaps import get_frame

    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    frame = get_frame(data, 0, number_of_frames=frames)
    if not frame.rstrip(b"\0").endswith(_JPEG_END):
        raise InputError(f"{place}: cut short: the end of the compressed image is missing")
    height, width, bits, components = _jpeg_header(frame)
    if (height, width) != (dataset.Rows, dataset.Columns):
        raise InputError(
            f"{place}: the compressed image has {width} x {height} pixels; expected "
            f"{dataset.Columns} x {dataset.Rows}, as the header says"
        )
    if bits > dataset.BitsAllocated or components != dataset.SamplesPerPixel:
        raise InputError(
            f"{place}: the compressed image has {components} samples of {bits} bits a pixel; "
            f"expected {dataset.SamplesPerPixel} of {dataset.BitsAllocated} at most"
        )


def _jpeg_header(frame: bytes) -> tuple[int, int, int, int]:
    """Height, width, bits and components: ITU-T T.81, B.2.2; zeros where no scan follows it."""
    found, at = (0, 0, 0, 0), 2  # behind SOI
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4])
        if marker == _SCAN:
            return found
        if marker in _FRAME_MARKERS:
            sides = np.frombuffer(frame, ">u2", 2, at + 5).tolist()
            found = (*sides, frame[at + 4], frame[at + 9])
        at += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated before a marker
    return 0, 0, 0, 0
