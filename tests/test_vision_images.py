import csv
import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrlabel.errors import InputError
from cxrvision.data.appearance import INVERTED, LOW_CONTRAST, appearance_notes
from cxrvision.data.images import fit_square, read_pixels, read_square, square_of
from cxrvision.data.sheet import contact_sheet

DATA = Path(os.environ.get("CXR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "images"
GRAY = np.tile(np.arange(200, dtype=np.uint8), (120, 1))  # [120, 200], darker at the left


def smooth(height: int = 160, width: int = 200) -> np.ndarray:
    """Something that survives JPEG: a soft gradient in both directions."""
    down, right = np.mgrid[0:height, 0:width]
    return np.rint(40 + 90 * down / height + 90 * right / width).astype(np.uint8)


def film() -> np.ndarray:
    """[128, 128] dark corners, a bright middle."""
    down, right = np.mgrid[-1:1:128j, -1:1:128j]
    return np.rint(230 * np.exp(-3 * (right**2 + 0.3 * down**2))).astype(np.uint8)


def save(tmp_path: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def layered(alpha: np.ndarray) -> Image.Image:
    return Image.merge("LA", (Image.fromarray(GRAY), Image.fromarray(alpha)))


PALETTE = Image.fromarray(GRAY).convert("P")
SAME_GRAY = {
    "L": Image.fromarray(GRAY),
    "RGB": Image.fromarray(GRAY).convert("RGB"),
    "RGBA": Image.fromarray(GRAY).convert("RGBA"),
    "palette": PALETTE,
    "LA": layered(np.full_like(GRAY, 255)),
    "16 bits": Image.fromarray(GRAY.astype(np.uint16) * 257),
    "8 bits in 16": Image.fromarray(GRAY.astype(np.uint16)),
}


@pytest.mark.parametrize("mode", SAME_GRAY)
def test_every_mode_of_png_gives_the_same_gray(tmp_path: Path, mode: str) -> None:
    pixels = read_pixels(save(tmp_path, SAME_GRAY[mode]))

    assert pixels.values.dtype == np.float32
    top = pixels.values.max() if mode == "8 bits in 16" else 199 / 255
    assert top == pytest.approx(199 / 255, abs=1e-3)
    np.testing.assert_allclose(pixels.values, GRAY / 255, atol=1e-3)
    assert (pixels.width, pixels.height) == (200, 120)


def test_12_bits_in_a_16_bit_file_are_as_light_as_in_a_12_bit_one(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 6400).reshape(80, 80).round().astype(np.uint16)
    pixels = read_pixels(save(tmp_path, Image.fromarray(values)))

    np.testing.assert_allclose(pixels.values, values / 4095, atol=1e-6)


def test_one_bit_image_is_black_and_white(tmp_path: Path) -> None:
    values = read_pixels(save(tmp_path, Image.fromarray(GRAY > 100))).values

    np.testing.assert_array_equal(values, (GRAY > 100).astype(np.float32))


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    alpha = np.full_like(GRAY, 255)
    alpha[:60] = 0
    pixels = read_pixels(save(tmp_path, layered(alpha)))

    assert pixels.values[:60].max() == 0
    np.testing.assert_allclose(pixels.values[60:], GRAY[60:] / 255, atol=1e-3)
    assert "transparent parts made black" in pixels.notes


def test_transparency_of_the_whole_image_is_ignored(tmp_path: Path) -> None:
    pixels = read_pixels(save(tmp_path, layered(np.zeros_like(GRAY))))

    np.testing.assert_allclose(pixels.values, GRAY / 255, atol=1e-3)


def test_cmyk_jpeg_keeps_black_and_white(tmp_path: Path) -> None:
    image = Image.fromarray(smooth()).convert("RGB").convert("CMYK")
    values = read_pixels(save(tmp_path, image, "a.jpg", quality=95)).values

    np.testing.assert_allclose(values, smooth() / 255, atol=0.03)


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, turned: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, Image.fromarray(smooth()), "a.jpg", quality=95, exif=exif)
    pixels = read_pixels(path)

    np.testing.assert_allclose(pixels.values, np.rot90(smooth(), turned) / 255, atol=0.03)
    assert (pixels.height, pixels.width) == pixels.values.shape


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_tiff_is_read(tmp_path: Path, bits: type) -> None:
    image = Image.fromarray(GRAY.astype(bits))

    np.testing.assert_allclose(
        read_pixels(save(tmp_path, image, "a.tif")).values, GRAY / 255, atol=1e-6
    )


def test_tiff_of_fractions_is_stretched_from_lowest_to_highest(tmp_path: Path) -> None:
    values = np.linspace(-5, 45, 6400, dtype=np.float32).reshape(80, 80)
    values[7, 7] = np.nan
    pixels = read_pixels(save(tmp_path, Image.fromarray(values), "a.tif"))

    assert (pixels.values.min(), pixels.values.max()) == (0, 1)
    assert pixels.values[7, 7] == 0
    assert pixels.values[40, 40] == pytest.approx((values[40, 40] + 5) / 50, abs=1e-5)


def test_first_page_of_a_tiff_is_read_and_noted(tmp_path: Path) -> None:
    pages = [Image.fromarray(GRAY), Image.fromarray(GRAY[::-1])]
    path = save(tmp_path, pages[0], "a.tif", save_all=True, append_images=pages[1:])

    assert read_pixels(path).notes == ("first of 2 pages",)


def test_flat_image_is_noted(tmp_path: Path) -> None:
    pixels = read_pixels(save(tmp_path, Image.new("L", (80, 80), 7)))

    assert pixels.notes == ("flat: all pixels have the same value",)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_reduced_decoding_gives_nearly_the_same_square(tmp_path: Path, fit: str) -> None:
    path = save(tmp_path, Image.fromarray(smooth(1300, 1000)), "a.jpg", quality=95)
    whole = fit_square(read_pixels(path).values, 100, fit=fit)

    assert np.abs(read_square(path, 100, fit=fit).astype(int) - whole).max() <= 2


def test_png_square_is_that_of_its_pixels(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(smooth()))
    whole = fit_square(read_pixels(path).values, 64)

    assert np.abs(read_square(path, 64).astype(int) - whole).max() <= 1


def test_square_of_reduced_jpeg_keeps_the_size_of_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(smooth(900, 800)), "a.jpg")
    square = square_of(path.read_bytes(), "a.jpg", size=64)

    assert (square.width, square.height) == (800, 900)


def test_pad_keeps_proportions_with_black_beside() -> None:
    square = fit_square(np.ones((50, 100), np.float32), 40)

    assert (square[:10] == 0).all()
    assert (square[10:30] == 255).all()
    assert (square[30:] == 0).all()


def test_crop_takes_the_middle() -> None:
    values = np.zeros((50, 100), np.float32)
    values[:, 25:75] = 1

    assert (fit_square(values, 25, fit="crop")[:, 1:-1] == 255).all()


def test_stretch_keeps_the_whole_image() -> None:
    values = np.zeros((50, 100), np.float32)
    values[:, 50:] = 1
    square = fit_square(values, 20, fit="stretch")

    assert square[:, :8].max() == 0
    assert square[:, 12:].min() == 255


def test_scaling_down_is_antialiased() -> None:
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)

    assert np.abs(fit_square(checkers, 32)[2:-2, 2:-2].astype(int) - 127).max() <= 3


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    fit=st.sampled_from(["pad", "crop", "stretch"]),
)
@settings(max_examples=40)
def test_any_shape_fits(height: int, width: int, fit: str) -> None:
    square = fit_square(np.ones((height, width), np.float32), 24, fit=fit)

    assert square.shape == (24, 24)
    assert square.max() == 255


def test_integers_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        fit_square(np.zeros((4, 4), np.int64), 2)


def test_unknown_fit_is_refused() -> None:
    with pytest.raises(InputError, match="fit 'fill': expected one of pad, crop, stretch"):
        fit_square(GRAY, 10, fit="fill")


def test_inverted_film_is_noted_and_corrected_on_request(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(255 - film()))

    assert read_pixels(path).notes == (INVERTED,)
    corrected = read_pixels(path, correct_inverted=True)
    assert corrected.notes == (f"{INVERTED}: corrected",)
    np.testing.assert_allclose(corrected.values, film() / 255, atol=1e-6)


def test_upright_film_has_no_notes() -> None:
    assert appearance_notes(film()) == ()


def test_low_contrast_is_noted() -> None:
    assert appearance_notes((film() // 5 + 100).astype(np.uint8)) == (LOW_CONTRAST,)


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises a size; its data end at once."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_decompression_bomb_is_refused_at_once(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(side, side))
    began = time.perf_counter()

    with pytest.raises(InputError, match=r"a\.png: .*pixels"):
        read_pixels(path)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"hello, world", "not an image that is read"),
        (b"GIF89a" + bytes(40), "not an image that is read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be decoded"),
        (b"\xff\xd8\xff" + bytes(40), "cannot be decoded"),
        (png_of(100, 100), "cannot be decoded"),
    ],
)
def test_what_is_no_image_is_an_input_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)

    with pytest.raises(InputError, match=message) as error:
        read_pixels(path)
    assert "\n" not in str(error.value)


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_pixels(tmp_path / "a.png")


def test_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")

    with pytest.raises(InputError, match="not a file"):
        read_pixels(tmp_path / "a.png")


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


WHOLE = [
    encoded(Image.fromarray(smooth(70, 90)), "PNG"),
    encoded(Image.fromarray(smooth(70, 90)).convert("RGB"), "JPEG"),
    encoded(Image.fromarray(smooth(70, 90).astype(np.uint16)), "TIFF"),
    encoded(PALETTE.crop((0, 0, 64, 64)), "PNG"),
]


@given(content=st.sampled_from(WHOLE), data=st.data())
@settings(max_examples=150)
def test_damaged_files_give_an_image_or_an_input_error(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content[: data.draw(st.integers(1, len(content)))])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        square = square_of(bytes(damaged), "a", size=16)
    except InputError:
        return
    assert square.values.shape == (16, 16)


def test_sheet_has_the_images_in_rows() -> None:
    squares = np.stack([np.full((20, 20), gray, np.uint8) for gray in (10, 120, 240)])
    sheet = contact_sheet(squares, columns=2, tile=20, numbers=False)

    assert sheet.shape == (49, 49)
    assert (sheet[10, 10], sheet[10, 36], sheet[36, 10]) == (10, 120, 240)


@pytest.mark.skipif(not DATA.is_dir(), reason="no real images here")
def test_real_images_decode_to_sane_ones() -> None:
    with (DATA / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    noted = {}
    for row in rows:
        square = square_of((DATA / row["path"]).read_bytes(), row["path"], size=96)
        assert 15 < square.values.mean() < 215, row["path"]
        assert square.values.std() > 10, row["path"]
        if row["width"]:
            assert (square.width, square.height) == (int(row["width"]), int(row["height"]))
        if INVERTED in square.notes:
            noted[row["path"]] = square.notes

    assert list(noted) == ["dicom/Fake_MONOHR1.dcm"]
