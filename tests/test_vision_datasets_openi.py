import pandas as pd
import pytest
from vision_trees import add_dicom, add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.openi import image_key, index


@pytest.mark.parametrize(
    "name",
    [
        "CXR1_1_IM-0001-3001.png",
        "CXR1_IM-0001-3001",
        "1_IM-0001-3001.dcm",
        "1_IM-0001-3001.dcm.png",
    ],
)
def test_names_of_one_image_are_one_key(name):
    assert image_key(pd.Series([name], dtype="str")).tolist() == ["1_IM-0001-3001"]


def test_key_of_another_name_is_empty():
    assert image_key(pd.Series(["image.png"], dtype="str")).tolist() == [""]


@pytest.fixture
def tree(tmp_path):
    add_table(
        tmp_path, "indiana_projections.csv", "uid,filename,projection",
        "1,1_IM-0001-4001.dcm.png,Frontal", "1,1_IM-0001-3001.dcm.png,Lateral",
        "2,2_IM-0652-1001.dcm.png,Frontal", "3,3_IM-0700-1001.dcm.png,Oblique",
        "3,3_IM-0700-1001.dcm.png,Frontal",
    )  # fmt: skip
    add_table(
        tmp_path, "indiana_reports.csv", "uid,MeSH,Problems,findings",
        "1,normal,normal,", "2,x,Cardiomegaly;Pulmonary Atelectasis,",
    )  # fmt: skip
    add_images(
        tmp_path, "images/CXR1_1_IM-0001-4001.png", "images/CXR1_1_IM-0001-3001.png",
        "images/CXR3_3_IM-0700-1001.png", "images/CXR4_4_IM-0001-1001.png",
    )  # fmt: skip
    return tmp_path


def test_table_says_the_views(tree):
    assert detect(tree) == "openi"

    found = index(tree)

    assert found.images.set_index("image_id")["view"].to_dict() == {
        "1_IM-0001-4001": "frontal", "1_IM-0001-3001": "lateral", "3_IM-0700-1001": "other",
    }  # fmt: skip
    assert list(found.images["study_id"]) == ["1", "1", "3"]
    notes = "\n".join(found.notes)
    assert "1 rows of indiana_projections.csv repeat an image (1 differ" in notes
    assert "1 of 4 rows of indiana_projections.csv name files that are not here" in notes
    assert "1 image files have no row in indiana_projections.csv" in notes


def test_labels_are_the_coded_problems(tree):
    found = index(tree)

    assert found.labels.loc["1", "No Finding"] == 1
    assert found.labels.loc["2", "Cardiomegaly"] == 1
    assert "1 label names are no finding of ours: Pulmonary Atelectasis (1)" in found.notes


def test_headers_say_the_views_where_there_is_no_table(tmp_path):
    folder = tmp_path / "NLMCXR_dcm"
    add_dicom(folder / "1" / "1_IM-0001-4001.dcm", ViewPosition="PA")
    add_dicom(folder / "1" / "1_IM-0001-3001.dcm", ViewPosition="LL")
    add_dicom(folder / "2" / "2_IM-0652-1001.dcm", ViewPosition="PA")
    add_dicom(folder / "2" / "2_IM-0652-2001.dcm", ViewPosition="PA")
    add_images(tmp_path, "NLMCXR_png/CXR1_1_IM-0001-4001.png", "NLMCXR_png/CXR3_3_IM-0001-1.png")
    assert detect(tmp_path) == "openi"

    found = index(tmp_path)

    assert found.images.set_index("image_id")["view"].to_dict() == {
        "1_IM-0001-4001": "frontal", "1_IM-0001-3001": "lateral", "2_IM-0652-1001": "unknown",
        "2_IM-0652-2001": "unknown", "3_IM-0001-1": "unknown",
    }  # fmt: skip
    assert found.images["path"].str.endswith(".dcm").sum() == 4  # before the same image as PNG
    assert any(note.startswith("2 images are tagged PA") for note in found.notes)


def test_bad_table_is_an_error_of_one_line(tree):
    add_table(tree, "indiana_projections.csv", "uid,filename", "1,1_IM-0001-4001.dcm.png")

    with pytest.raises(InputError, match=r"indiana_projections.csv: no column 'projection'"):
        index(tree)
