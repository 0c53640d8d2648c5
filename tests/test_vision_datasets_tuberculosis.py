import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.tuberculosis import index_montgomery, index_shenzhen


def test_montgomery_readings_give_sex_and_age(tmp_path):
    root = tmp_path / "MontgomerySet"
    add_images(
        root, "CXR_png/MCUCXR_0001_0.png", "CXR_png/MCUCXR_0104_1.png", "CXR_png/MCUCXR_0200_1.png",
        "ManualMask/leftMask/MCUCXR_0001_0.png",
    )  # fmt: skip
    add_table(
        root, "ClinicalReadings/MCUCXR_0001_0.txt",
        "Patient's Sex: F", "Patient's Age: 027Y", "normal",
    )  # fmt: skip
    add_table(
        root, "ClinicalReadings/MCUCXR_0104_1.txt",
        "Patient's Sex: M ", "Patient's Age: 008M", "odd shadow, like 40 years ago",
    )  # fmt: skip
    add_table(root, "ClinicalReadings/MCUCXR_0900_1.txt", "Patient's Sex: M")
    assert detect(tmp_path) == "montgomery"

    found = index_montgomery(tmp_path)

    images = found.images.set_index("image_id")
    assert list(images["sex"]) == ["F", "M", ""]
    assert images["age"].tolist()[:2] == [27.0, 0.67]
    assert set(images["view_position"]) == {"PA"}
    assert found.labels["No Finding"].tolist() == [1.0, 0.0, 0.0]
    notes = "\n".join(found.notes)
    assert "1 masks are left out" in notes
    assert "1 images have no reading: MCUCXR_0200_1.png" in notes
    assert "1 readings have no image: MCUCXR_0900_1" in notes


@pytest.mark.parametrize(
    ("reading", "sex", "age"),
    [
        ("male 45yrs\nnormal", "M", 45.0),
        ("Female  , 24yrs\nboth sides", "F", 24.0),
        ("\nmale 2months\nodd", "M", 0.17),
        ("Male 7yr\nright", "M", 7.0),
    ],
)
def test_shenzhen_readings_give_sex_and_age(tmp_path, reading, sex, age):
    add_images(tmp_path, "CXR_png/CHNCXR_0001_0.png", "mask/CHNCXR_0001_0_mask.png")
    add_table(tmp_path, "ClinicalReadings/CHNCXR_0001_0.txt", reading)
    assert detect(tmp_path) == "shenzhen"

    images = index_shenzhen(tmp_path).images

    assert images[["sex", "age", "view", "view_position"]].values.tolist() == [
        [sex, age, "frontal", ""]
    ]


def test_odd_name_is_counted_and_its_label_blank(tmp_path):
    add_images(tmp_path, "CHNCXR_0001_0.png", "CHNCXR_0002_7.png")

    found = index_shenzhen(tmp_path)

    assert found.labels["No Finding"].isna().tolist() == [False, True]
    assert "1 images whose name ends neither in 0 nor 1: CHNCXR_0002_7.png" in found.notes


def test_folder_of_something_else_is_an_error(tmp_path):
    add_images(tmp_path, "a.png")

    with pytest.raises(InputError, match=r"no images MCUCXR_0001_0.png here"):
        index_montgomery(tmp_path)
