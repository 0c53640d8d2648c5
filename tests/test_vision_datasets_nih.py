import math

import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.nih import index
from cxrvision.data.indexing import index_folder

V2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
V2017 = V2020 + ","  # its header and its rows end with a comma


@pytest.fixture
def tree(tmp_path):
    add_images(
        tmp_path, "images_001/images/00000001_000.png", "images_002/images/00000001_001.png",
        "images_002/images/00000002_000.png", "images_002/images/00000099_000.png",
    )  # fmt: skip
    add_table(
        tmp_path, "Data_Entry_2017.csv", V2017,
        "00000001_000.png,Effusion|Pleural_Thickening,0,1,058Y,M,PA,9,9,0.1,0.1,",
        "00000001_001.png,No Finding,1,1,059Y,M,AP,9,9,0.1,0.1,",
        "00000002_000.png,Mass|Gremlins,0,2,414Y,F,PA,9,9,0.1,0.1,",
        "00000003_000.png,Hernia,0,3,013M,F,PA,9,9,0.1,0.1,",
        "00000001_000.png,Effusion,0,1,058Y,M,PA,9,9,0.1,0.1,",
    )  # fmt: skip
    add_table(tmp_path, "train_val_list.txt", "00000001_000.png", "00000001_001.png")
    add_table(tmp_path, "test_list.txt", "00000002_000.png", "00000003_000.png")
    return tmp_path


def test_images_of_all_parts_are_indexed(tree):
    assert detect(tree) == "nih"

    found = index(tree)

    rows = found.images.set_index("image_id")
    assert list(rows.index) == ["00000001_000", "00000001_001", "00000002_000"]
    assert list(rows["patient_id"]) == ["1", "1", "2"]
    assert list(rows["view_position"]) == ["PA", "AP", "PA"]
    assert set(rows["view"]) == {"frontal"}
    assert list(rows["split"]) == ["train", "train", "test"]
    assert list(rows["sex"]) == ["M", "M", "F"]
    assert rows.loc["00000001_000", "path"] == "images_001/images/00000001_000.png"


def test_what_is_odd_is_counted_and_named(tree):
    notes = "\n".join(index(tree).notes)

    assert "1 rows of Data_Entry_2017.csv repeat an image (1 differ" in notes
    assert (
        "1 of 4 rows of Data_Entry_2017.csv name files that are not here: 00000003_000.png" in notes
    )
    assert (
        "1 image files have no row in Data_Entry_2017.csv: images_002/images/00000099_000" in notes
    )
    assert "1 images have an age that cannot be: 414Y" in notes
    assert "1 label names are no finding of ours: Gremlins (1)" in notes


def test_ages_of_both_versions_are_years(tree):
    ages = index(tree).images["age"]

    assert list(ages[:2]) == [58.0, 59.0]
    assert math.isnan(ages[2])


def test_labels_are_closed_lists_under_our_names(tree):
    labels = index(tree).labels

    assert labels.loc["00000001_000", ["Pleural Effusion", "Pleural Thickening"]].tolist() == [1, 1]
    assert labels.loc["00000001_000", "Mass"] == 0
    assert labels.loc["00000001_001", "No Finding"] == 1
    assert labels.loc["00000002_000"].sum() == 1


def test_corrected_table_goes_before_the_first(tree):
    add_table(
        tree, "Data_Entry_2017_v2020.csv", V2020, "00000001_000.png,Hernia,0,1,57,M,PA,9,9,1,1"
    )

    found = index(tree)

    assert list(found.images["age"]) == [57.0]
    assert found.labels.loc["00000001_000", "Hernia"] == 1


def test_patient_in_both_official_lists_is_an_error(tree):
    add_table(tree, "test_list.txt", "00000001_001.png", "00000002_000.png")
    add_table(tree, "train_val_list.txt", "00000001_000.png")

    with pytest.raises(InputError, match="patient 1 is in train and test"):
        index_folder(tree)


def test_image_in_both_official_lists_is_an_error(tree):
    add_table(tree, "test_list.txt", "00000001_001.png")

    with pytest.raises(InputError, match=r"00000001_001.png is in the other list, too"):
        index(tree)


def test_table_without_a_column_is_an_error_of_one_line(tmp_path):
    add_images(tmp_path, "images/00000001_000.png")
    add_table(tmp_path, "Data_Entry_2017.csv", "Image Index,Finding Labels", "a.png,Mass")

    with pytest.raises(InputError, match=r"Data_Entry_2017.csv: no column 'Patient ID' \(columns:"):
        index(tmp_path)


def test_table_whose_images_are_elsewhere_is_an_error(tmp_path):
    add_images(tmp_path, "images/other.png")
    add_table(tmp_path, "Data_Entry_2017.csv", V2020, "a.png,Mass,0,1,5,M,PA,1,1,1,1")

    with pytest.raises(InputError, match="none of the 1 images that it names is here"):
        index(tmp_path)
