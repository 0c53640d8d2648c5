import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
gdcm = pytest.importorskip("gdcm")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate, get_frame  # noqa: E402
from pydicom.pixels.decoders import JPEGLosslessSV1Decoder  # noqa: E402
from pydicom.uid import (  # noqa: E402
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from cxrlabel.errors import InputError  # noqa: E402
from cxrvision.data.dicom import decode_dicom  # noqa: E402
from cxrvision.data.images import read_square  # noqa: E402

BY_GDCM = (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless)


def film(bits: int, *, signed: bool = False) -> np.ndarray:
    """A slope with grain over the whole range of so many bits, [60, 47]."""
    down, right = np.mgrid[:60, :47]
    top = (1 << bits) - 1
    grain = np.random.default_rng(0).integers(-3, 4, (60, 47))
    values = np.clip((down + right) * top // 105 + grain, 0, top)
    if signed:
        return (values - (1 << (bits - 1))).astype(np.int16)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def dataset(stored: np.ndarray, bits: int) -> Dataset:
    """An uncompressed image whose window shows all values as they are."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = 8 * stored.dtype.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(stored.dtype.kind == "i")
    lowest = -(1 << (bits - 1)) if stored.dtype.kind == "i" else 0
    made.WindowCenter, made.WindowWidth = lowest + (1 << (bits - 1)), 1 << bits
    made.PixelData = stored.tobytes()
    made["PixelData"].VR = "OW"
    return made


def content(made: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()


def compressed(made: Dataset, syntax: UID, folder: Path) -> bytes:
    """The file as GDCM compresses it."""
    (folder / "plain.dcm").write_bytes(content(made))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "small.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "small.dcm").read_bytes()


def changed(data: bytes, frame: Any = None, **fields: Any) -> bytes:
    """A file with other fields, and with another frame: `frame` of the one it has."""
    made = pydicom.dcmread(io.BytesIO(data))
    if frame is not None:
        made.PixelData = encapsulate([frame(get_frame(made.PixelData, 0, number_of_frames=1))])
    for name, value in fields.items():
        setattr(made, name, value)
    return content(made)


@pytest.mark.parametrize("syntax", BY_GDCM)
@pytest.mark.parametrize(
    ("bits", "signed"), [(8, False), (10, False), (12, False), (16, False), (12, True)]
)
def test_lossless_jpeg_gives_the_values_of_the_uncompressed_file(
    syntax: UID, bits: int, signed: bool, tmp_path: Path
) -> None:
    made = dataset(film(bits, signed=signed), bits)
    small = compressed(made, syntax, tmp_path)

    assert pydicom.dcmread(io.BytesIO(small)).file_meta.TransferSyntaxUID == syntax
    expected = decode_dicom(content(made), "a.dcm")
    found = decode_dicom(small, "a.dcm")
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.notes == expected.notes
    assert 0 <= found.values.min() < 0.01
    assert 0.99 < found.values.max() <= 1


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True)])
def test_jpeg_2000_gives_the_values_of_the_uncompressed_file(bits: int, signed: bool) -> None:
    made = dataset(film(bits, signed=signed), bits)
    expected = decode_dicom(content(made), "a.dcm").values
    made.compress(JPEG2000Lossless)

    np.testing.assert_array_equal(decode_dicom(content(made), "a.dcm").values, expected)


def test_baseline_jpeg_is_near_the_uncompressed_file(tmp_path: Path) -> None:
    made = dataset(film(8), 8)
    small = compressed(made, JPEGBaseline8Bit, tmp_path)

    expected = decode_dicom(content(made), "a.dcm").values
    assert np.abs(decode_dicom(small, "a.dcm").values - expected).max() < 0.03


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_lossless_jpeg_becomes_a_square(syntax: UID, tmp_path: Path) -> None:
    compressed(dataset(film(12), 12), syntax, tmp_path)

    plain, small = (read_square(tmp_path / f"{name}.dcm", 32) for name in ("plain", "small"))
    np.testing.assert_array_equal(small, plain)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize("fields", [{"Rows": 160}, {"Rows": 50}, {"Columns": 48}])
def test_header_of_another_size_is_an_input_error(
    syntax: UID, fields: dict[str, int], tmp_path: Path
) -> None:
    small = compressed(dataset(film(12), 12), syntax, tmp_path)

    with pytest.raises(InputError, match=r"a\.dcm: the compressed image has 47 x 60 pixels; "):
        decode_dicom(changed(small, **fields), "a.dcm")


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_stream_that_is_cut_short_is_an_input_error(syntax: UID, tmp_path: Path) -> None:
    small = compressed(dataset(film(12), 12), syntax, tmp_path)

    with pytest.raises(InputError, match="cut short: the end of the compressed image is missing"):
        decode_dicom(changed(small, lambda frame: frame[: len(frame) // 2]), "a.dcm")


def test_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = compressed(dataset(film(12), 12), JPEGLosslessSV1, tmp_path)
    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", {})

    with pytest.raises(
        InputError, match=r"a\.dcm: JPEG Lossless needs GDCM: pip install 'cxr\[images\]'"
    ):
        decode_dicom(small, "a.dcm")


def test_jpeg_of_twelve_bits_is_refused(tmp_path: Path) -> None:
    made = pydicom.dcmread(io.BytesIO(compressed(dataset(film(12), 12), JPEGLosslessSV1, tmp_path)))
    made.file_meta.TransferSyntaxUID = JPEGExtended12Bit

    with pytest.raises(InputError, match=r"JPEG with 12 bits \(JPEG Extended\) is not read"):
        decode_dicom(content(made), "a.dcm")


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(6, 40, "1 samples of 40 bits"), (11, 3, "3 samples of 16 bits"), (15, 0, "0 x 0 pixels")],
)
def test_damaged_jpeg_header_is_an_input_error(
    syntax: UID, place: int, value: int, message: str, tmp_path: Path
) -> None:
    small = compressed(dataset(film(16), 16), syntax, tmp_path)

    def damage(frame: bytes) -> bytes:
        return frame[:place] + bytes([value]) + frame[place + 1 :]

    with pytest.raises(InputError, match=message):
        decode_dicom(changed(small, damage), "a.dcm")
