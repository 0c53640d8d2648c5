import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cxrlabel.errors import InputError  # noqa: E402
from cxrvision.data.appearance import INVERTED  # noqa: E402
from cxrvision.data.dicom import decode_dicom, windowed  # noqa: E402
from cxrvision.data.images import read_pixels, square_of  # noqa: E402

DATA = Path(os.environ.get("CXR_DATA", Path(__file__).parents[2] / "shared" / "data"))
RAMP = np.linspace(0, 4095, 64 * 80).round().astype(np.uint16).reshape(64, 80)


def dataset(stored: np.ndarray = RAMP, *, bits: int = 12, **fields: Any) -> Dataset:
    """The smallest image that pydicom decodes."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = fields.pop("syntax", ExplicitVRLittleEndian)
    made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    made.PatientName = "Secret^Person"
    made.Rows, made.Columns = stored.shape[-2:]
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = 8 * stored.dtype.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    made.PixelData = stored.tobytes()
    made["PixelData"].VR = "OW"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def content(made: Dataset, *, whole: bool = True) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=whole)
    return buffer.getvalue()


def decoded(*args: Any, window: int = 0, **fields: Any) -> Any:
    return decode_dicom(content(dataset(*args, **fields)), "a.dcm", window=window)


def values(*args: Any, **fields: Any) -> np.ndarray:
    return decoded(*args, **fields).values


def table(entries: list[int], *, first: int = 0, bits: int = 12) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    return item


def test_window_maps_its_range_to_black_and_white() -> None:
    seen = values(WindowCenter=2048, WindowWidth=1024)

    np.testing.assert_allclose(seen, windowed(RAMP, 2048, 1024), atol=1e-6)
    assert (seen[RAMP < 1500] == 0).all()
    assert (seen[RAMP > 2600] == 1).all()


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        # PS3.3, C.11.2.1.2.1: center 2048, width 4096: 0 -> lowest, 4095 -> highest
        ("LINEAR", 0, 0.0),
        ("LINEAR", 4095, 1.0),
        ("LINEAR", 2047.5, 0.5),
        ("LINEAR_EXACT", 0, 0.0),
        ("LINEAR_EXACT", 2048, 0.5),
        ("LINEAR_EXACT", 4095, 4095 / 4096),
        ("SIGMOID", 2048, 0.5),
        ("SIGMOID", 2048 + 1024, 1 / (1 + np.exp(-1))),
    ],
)
def test_window_functions_follow_the_standard(form: str, value: float, expected: float) -> None:
    seen = windowed(np.array([[value]], np.float32), 2048, 4096, form=form)

    assert seen[0, 0] == pytest.approx(expected, abs=1e-6)


def test_sigmoid_is_taken_from_the_file() -> None:
    seen = values(WindowCenter=2048, WindowWidth=2000, VOILUTFunction="SIGMOID")

    np.testing.assert_allclose(seen, windowed(RAMP, 2048, 2000, form="SIGMOID"), atol=1e-6)


def test_first_of_several_windows_is_used_and_noted() -> None:
    fields = {"WindowCenter": [1000, 3000], "WindowWidth": [500, 700]}
    first = decoded(**fields)

    np.testing.assert_allclose(first.values, windowed(RAMP, 1000, 500), atol=1e-6)
    assert first.notes == ("2 windows, number 1 used",)
    np.testing.assert_allclose(values(window=1, **fields), windowed(RAMP, 3000, 700), atol=1e-6)


def test_window_that_is_not_there_is_an_input_error() -> None:
    with pytest.raises(InputError, match="window 2: the file has 1 windows"):
        values(window=2, WindowCenter=1000, WindowWidth=500)


def test_useless_window_gives_way_to_the_range() -> None:
    seen = decoded(WindowCenter=60000, WindowWidth=10)

    assert "window shows next to nothing, range of the values used" in seen.notes
    assert seen.values.std() > 0.2


@pytest.mark.parametrize("width", [0, -5, ""])
def test_window_without_width_is_none(width: Any) -> None:
    assert (
        "no window, range of the values used" in decoded(WindowCenter=2048, WindowWidth=width).notes
    )


def test_range_is_used_where_there_is_no_window() -> None:
    seen = decoded(RAMP // 4 + 1000)

    assert seen.values.min() == 0
    assert seen.values.max() == 1
    assert seen.notes == ("no window, range of the values used",)


def test_rescale_comes_before_the_window() -> None:
    seen = values(WindowCenter=100, WindowWidth=401, RescaleSlope=0.1, RescaleIntercept=-100)

    np.testing.assert_allclose(seen, windowed(RAMP * 0.1 - 100, 100, 401), atol=1e-5)


def test_monochrome1_is_inverted_after_the_window() -> None:
    fields = {"WindowCenter": 1000, "WindowWidth": 2000}
    seen = decoded(PhotometricInterpretation="MONOCHROME1", **fields)

    np.testing.assert_allclose(seen.values, 1 - windowed(RAMP, 1000, 2000), atol=1e-6)
    assert "MONOCHROME1 inverted" in seen.notes


def test_inverse_presentation_does_not_invert_monochrome1_twice() -> None:
    # PS3.3, C.11.6.1.2: MONOCHROME1 has INVERSE; both say the same
    fields = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1e3, "WindowWidth": 2e3}

    np.testing.assert_array_equal(
        values(PresentationLUTShape="INVERSE", **fields), values(**fields)
    )


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_lut_is_scaled_by_its_own_bits(bits: int) -> None:
    top = (1 << bits) - 1
    entries = np.linspace(0, top, 4096).round().astype(int).tolist()
    seen = values(VOILUTSequence=[table(entries, bits=bits)])

    np.testing.assert_allclose(seen, RAMP / 4095, atol=1 / 255 if bits == 8 else 2e-3)


def test_voi_lut_that_says_16_bits_and_has_12_is_not_dark() -> None:
    seen = values(VOILUTSequence=[table(list(range(4096)), bits=16)])

    np.testing.assert_allclose(seen, RAMP / 4095, atol=1e-6)


def test_voi_lut_wins_over_the_window_and_clamps_outside() -> None:
    entries = [*range(0, 1000, 10), 4095]
    seen = values(VOILUTSequence=[table(entries, first=2000)], WindowCenter=100, WindowWidth=50)

    assert (seen[RAMP < 2000] == 0).all()
    assert (seen[RAMP > 2101] == 1).all()


def test_modality_lut_of_12_bits_is_applied_to_signed_values() -> None:
    stored = RAMP.astype(np.int16) - 2048
    seen = values(stored, ModalityLUTSequence=[table(list(range(4096)), first=63488)])

    # 63488 is -2048 written without its sign
    np.testing.assert_allclose(seen, RAMP / 4095, atol=2e-3)


def test_signed_values_keep_their_order() -> None:
    seen = values(RAMP.astype(np.int16) - 2048, WindowCenter=0, WindowWidth=4096)

    np.testing.assert_allclose(seen, windowed(RAMP.astype(float) - 2048, 0, 4096), atol=1e-6)


def test_overlay_in_unused_bits_is_ignored() -> None:
    overlaid = RAMP | (np.indices(RAMP.shape)[1] % 2 << 15).astype(np.uint16)
    fields = {"WindowCenter": 2048, "WindowWidth": 4096}

    np.testing.assert_array_equal(values(overlaid, **fields), values(RAMP, **fields))


def test_high_bit_above_the_stored_bits_is_shifted_down() -> None:
    fields = {"WindowCenter": 2048, "WindowWidth": 4096}

    np.testing.assert_array_equal(
        values((RAMP << 4).astype(np.uint16), HighBit=15, **fields), values(RAMP, **fields)
    )


def test_padding_is_black_and_not_part_of_the_range() -> None:
    stored = RAMP // 4 + 1000
    stored[:, :10] = 4000
    seen = decoded(stored, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")

    assert (seen.values[:, :10] == 0).all()
    np.testing.assert_allclose(seen.values[:, 10:].max(), 1, atol=1e-6)
    assert seen.values[:, 10:].std() > 0.2
    assert "padding made black" in seen.notes


def test_padding_range_and_sign_are_understood() -> None:
    stored = RAMP.astype(np.int16) - 2048
    stored[0], stored[1] = -2048, -2040
    seen = values(stored, PixelPaddingValue=-2048, PixelPaddingRangeLimit=-2030)

    assert (seen[:2] == 0).all()


def test_first_frame_is_read_and_noted() -> None:
    frames = np.stack([RAMP, RAMP[::-1]])
    seen = decoded(frames, NumberOfFrames=2, WindowCenter=2048, WindowWidth=4096)

    np.testing.assert_allclose(seen.values, windowed(RAMP, 2048, 4096), atol=1e-6)
    assert seen.notes == ("first of 2 frames",)


def test_colors_become_gray() -> None:
    colors = np.zeros((64, 80, 3), np.uint8)
    colors[..., 1] = 200
    made = dataset(colors[..., 0], bits=8, SamplesPerPixel=3, PlanarConfiguration=0)
    made.PhotometricInterpretation, made.PixelData = "RGB", colors.tobytes()

    assert (decode_dicom(content(made), "a.dcm").values == round(0.587 * 200)).all()


def test_8_bit_display_values_are_those_of_a_png() -> None:
    stored = (RAMP // 32).astype(np.uint8)

    np.testing.assert_allclose(values(stored, bits=8), stored / 255, atol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_other_transfer_syntaxes_give_the_same_values(syntax: str) -> None:
    fields = {"WindowCenter": 2048, "WindowWidth": 4096}
    made = dataset(**fields)
    if syntax == RLELossless:
        made.compress(RLELossless)
    else:
        made.file_meta.TransferSyntaxUID = syntax

    np.testing.assert_array_equal(
        decode_dicom(content(made), "a.dcm").values, values(RAMP, **fields)
    )


def test_file_without_preamble_is_read_by_its_name(tmp_path: Path) -> None:
    made = dataset(syntax=ImplicitVRLittleEndian, WindowCenter=2048, WindowWidth=4096)
    del made.file_meta
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, implicit_vr=True, little_endian=True, enforce_file_format=False)
    (tmp_path / "a.dcm").write_bytes(buffer.getvalue())

    np.testing.assert_allclose(
        read_pixels(tmp_path / "a.dcm").values, windowed(RAMP, 2048, 4096), atol=1e-6
    )


def test_lie_about_the_photometric_interpretation_is_noted_and_corrected(tmp_path: Path) -> None:
    down, right = np.mgrid[-1:1:128j, -1:1:128j]
    film = (4000 * np.exp(-3 * (right**2 + 0.3 * down**2))).astype(np.uint16)
    lie = dataset(film, PhotometricInterpretation="MONOCHROME1")
    path = tmp_path / "a.dcm"
    path.write_bytes(content(lie))

    assert INVERTED in read_pixels(path).notes
    corrected = read_pixels(path, correct_inverted=True)
    assert corrected.values[64, 64] > 0.9 > 0.2 > corrected.values[0, 0]


def test_size_is_checked_before_decoding() -> None:
    with pytest.raises(InputError, match="65,000 × 65,000 pixels"):
        values(Rows=65000, Columns=65000)


def test_size_inside_jpeg_2000_is_checked_before_decoding() -> None:
    header = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + np.array([90000, 90000, 0, 0], ">u4").tobytes()
    made = dataset(syntax=JPEG2000Lossless, PixelData=encapsulate([header + bytes(40)]))

    with pytest.raises(InputError, match="90,000 × 90,000 pixels"):
        decode_dicom(content(made), "a.dcm")


def test_file_without_image_is_an_input_error() -> None:
    made = dataset()
    del made.PixelData

    with pytest.raises(InputError, match=r"a\.dcm: a DICOM file without an image"):
        decode_dicom(content(made), "a.dcm")


def test_text_named_dcm_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("hello " * 100)

    with pytest.raises(InputError, match=r"a\.dcm: "):
        read_pixels(tmp_path / "a.dcm")


WHOLE = content(dataset(RAMP[::4, ::4], WindowCenter=2048, WindowWidth=4096))


@given(cut=st.integers(1, len(WHOLE)), data=st.data())
@settings(max_examples=150)
def test_damaged_files_give_an_image_or_an_input_error(cut: int, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[:cut])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        square = square_of(bytes(damaged), "a.dcm", size=16)
    except InputError as error:
        assert "Secret" not in str(error)
        return
    assert square.values.shape == (16, 16)


def test_reading_png_does_not_need_pydicom() -> None:
    program = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from cxrvision.data.images import square_of\n"
        "from cxrlabel.errors import InputError\n"
        "try: square_of(bytes(128) + b'DICM', 'a.dcm', size=8)\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "a.dcm: DICOM needs pydicom: pip install 'cxr[images]'"


@pytest.mark.skipif(not (DATA / "images").is_dir(), reason="no real images here")
@pytest.mark.parametrize("name", ["mlut_18", "vlut_04"])
def test_test_patterns_use_the_whole_range(name: str) -> None:
    seen = read_pixels(DATA / "images" / "dicom" / f"{name}.dcm").values

    assert (seen.min(), seen.max()) == (0, 1)
    assert 0.3 < seen.mean() < 0.7


@pytest.mark.skipif(not (DATA / "images").is_dir(), reason="no real images here")
def test_real_monochrome1_film_has_white_bones() -> None:
    pixels = read_pixels(DATA / "images" / "dicom" / "RG1_J2KI.dcm")

    assert pixels.notes == ("MONOCHROME1 inverted",)
    height, width = pixels.values.shape
    spine = pixels.values[height // 2, width // 2 - 50 : width // 2 + 50].mean()
    assert spine > pixels.values[height // 3, width // 4 - 50 : width // 4 + 50].mean() + 0.2
