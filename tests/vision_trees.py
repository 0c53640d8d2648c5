"""Small trees of data sets, invented, as tests of their adapters write them."""

import struct
import zlib
from pathlib import Path


def png(seed: int = 0) -> bytes:
    """A whole PNG of one grey pixel; different seeds give different files."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 1, 1, 16, 0, 0, 0, 0)
    pixel = zlib.compress(b"\x00" + struct.pack(">H", seed % 65_536))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def jpeg(seed: int = 0) -> bytes:
    """The first and last bytes of a JPEG; enough for what does not decode."""
    return b"\xff\xd8\xff\xe0" + str(seed).encode() + b"\xff\xd9"


def add_images(root: Path, *paths: str) -> None:
    """Write images, each of its own content."""
    for seed, path in enumerate(paths, 1):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = jpeg(seed) if path.endswith((".jpg", ".jpeg")) else png(seed)
        target.write_bytes(content)


def add_table(root: Path, name: str, *lines: str) -> Path:
    """Write a table line by line."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def add_dicom(path: Path, **elements: object) -> None:
    """Write a DICOM file of two by two pixels."""
    import numpy as np
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID,
    )  # fmt: skip
    data.Rows = data.Columns = 2
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = np.zeros((2, 2), "uint16").tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
