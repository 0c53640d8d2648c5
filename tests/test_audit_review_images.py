"""Images as gray levels, from the files that hospitals have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from review_site import make_review, sources, visited, write_rows

from cxrlabel.audit.review import images
from cxrlabel.audit.review.images import LONGEST, GrayImage, read_image
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.errors import InputError

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def levels(image: GrayImage) -> NDArray[Any]:
    kind = "<u2" if image.bits == 16 else np.uint8
    return np.frombuffer(image.levels, kind).reshape(image.height, image.width)


def test_gray_png_keeps_its_levels(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")

    image = read_image(tmp_path / "x.png")

    assert (image.width, image.height, image.bits, image.low, image.high) == (4, 3, 8, 0, 255)
    np.testing.assert_array_equal(levels(image), RAMP)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colored_png_becomes_gray(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "x.png")

    np.testing.assert_allclose(levels(read_image(tmp_path / "x.png")), RAMP, atol=1)


def test_16_bit_png_keeps_more_than_256_levels(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 7
    Image.fromarray(pixels).save(tmp_path / "x.png")

    image = read_image(tmp_path / "x.png")

    assert image.bits == 16
    assert len(np.unique(levels(image))) == 600
    assert (np.diff(levels(image).astype(int).ravel()) > 0).all()


def test_large_image_is_reduced(tmp_path: Path) -> None:
    Image.new("L", (3 * LONGEST, LONGEST), 100).save(tmp_path / "x.png")

    image = read_image(tmp_path / "x.png")

    assert image.width == LONGEST
    assert image.height == round(LONGEST / 3)
    assert set(image.levels) == {100}


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n half"])
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)

    with pytest.raises(InputError, match="not an image that can be read"):
        read_image(tmp_path / "x.png")


def write_dicom(path: Path, pixels: NDArray[np.uint16], **fields: Any) -> Path:
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


PIXELS = np.linspace(0, 4000, 64, dtype=np.uint16).reshape(8, 8)


def test_dicom_opens_in_its_own_window(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x", PIXELS, WindowCenter=1000, WindowWidth=400)

    image = read_image(path)

    assert image.bits == 16
    assert image.low == pytest.approx(800 / 4000 * 65_535, abs=1)
    assert image.high == pytest.approx(1200 / 4000 * 65_535, abs=1)
    assert (np.diff(levels(image).astype(int).ravel()) > 0).all()


def test_dicom_with_low_white_is_turned_around(tmp_path: Path) -> None:
    fields = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1000, "WindowWidth": 400}
    path = write_dicom(tmp_path / "x.dcm", PIXELS, **fields)

    image = read_image(path)

    assert (np.diff(levels(image).astype(int).ravel()) < 0).all()
    assert image.low == pytest.approx((4000 - 1200) / 4000 * 65_535, abs=1)
    assert image.high == pytest.approx((4000 - 800) / 4000 * 65_535, abs=1)


def test_first_frame_of_several_is_shown(tmp_path: Path) -> None:
    frames = np.stack([PIXELS, PIXELS[::-1]])
    path = write_dicom(tmp_path / "x.dcm", frames, NumberOfFrames=2)

    assert (np.diff(levels(read_image(path)).astype(int).ravel()) > 0).all()


def test_image_that_would_fill_the_memory_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    path = write_dicom(tmp_path / "x.dcm", PIXELS)
    monkeypatch.setattr(images, "MOST_PIXELS", 11)

    with pytest.raises(InputError, match="4 x 3 pixels; expected 11 at most"):
        read_image(tmp_path / "x.png")
    with pytest.raises(InputError, match="8 x 8 pixels"):
        read_image(path)


def test_missing_package_is_named_before_the_review_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    path = write_dicom(tmp_path / "x.dcm", PIXELS)
    images.require_packages([path, tmp_path / "x.png"])
    monkeypatch.setattr(images, "find_spec", lambda name: None)

    for file, package in ((path, "pydicom"), (tmp_path / "x.png", "PIL")):
        with pytest.raises(InputError, match=rf"{package}: pip install 'cxr\[images\]'"):
            images.require_packages([file])


def test_damaged_dicom_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", PIXELS)
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(InputError, match="not a DICOM image that can be read"):
        read_image(path)


def test_image_goes_to_those_who_read_its_study_alone(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    given = sources(tmp_path, studies=2)
    rows = [{"uid": "s1", "path": "a.png", "view": "frontal"}]
    rows.append({"uid": "s2", "path": "broken.png", "view": "lateral"})
    images = write_rows(tmp_path / "studies.csv", rows)
    files = Sources(sample=given.sample, reports=given.reports, images=images, id_column="uid")
    with visited(make_review(tmp_path, files, reviewers=["a", "b"])) as visit:
        people = {person.ids()[0]: person for person in (visit("a"), visit("b"))}

        answer = people["s1"].get("/image/1")
        assert answer.content == RAMP.tobytes()
        assert answer.headers["x-image-width"] == "4"
        assert answer.headers["x-image-high"] == "255"
        assert people["s2"].get("/image/1").status_code == 404
        assert people["s1"].get("/image/9").status_code == 404
        assert people["s2"].get("/image/2").status_code == 415
        assert 'data-film="/image/1"' in people["s1"].get("/study/1").text
        assert str(tmp_path) not in people["s1"].get("/study/1").text
