import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.vindr import index
from cxrvision.data.indexing import index_folder

TRAIN = "image_id,rad_id,Cardiomegaly,Rib fracture,Clavicle fracture,Nodule/Mass,ILD,No finding"
TEST = TRAIN.replace("rad_id,", "")


@pytest.fixture
def tree(tmp_path):
    add_table(
        tmp_path, "annotations/image_labels_train.csv", TRAIN,
        "aa,R1,1,0,1,0,0,0", "aa,R2,1,1,0,0,0,0", "aa,R3,0,0,0,1,0,0",
        "bb,R1,0,0,0,0,0,1", "bb,R2,0,0,0,0,0,1", "bb,R3,0,0,0,0,0,1", "gone,R1,0,0,0,0,0,1",
    )  # fmt: skip
    add_table(tmp_path, "annotations/image_labels_test.csv", TEST, "cc,0,0,0,1,1,0")
    add_images(tmp_path, "train/aa.dicom", "train/bb.dicom", "test/cc.dicom")
    return tmp_path


def test_images_are_pa_with_official_splits(tree):
    assert detect(tree) == "vindr"

    images = index(tree).images.set_index("image_id")

    assert images["split"].to_dict() == {"aa": "train", "bb": "train", "cc": "test"}
    assert set(images["view_position"]) == {"PA"}
    assert images.loc["aa", "path"] == "train/aa.dicom"


def test_labels_are_those_of_most_readers(tree):
    found = index_folder(tree)

    labels = found.labels
    # two of three readers see a fracture, though of different bones
    assert labels.loc["aa", ["Cardiomegaly", "Fracture", "Lung Lesion"]].tolist() == [1, 1, 0]
    assert labels.loc["bb", "No Finding"] == 1
    assert labels.loc["cc", "Lung Lesion"] == 1
    notes = "\n".join(found.notes)
    assert "1 images whose readers disagree" in notes
    assert "1 label names are no finding of ours: ILD" in notes
    assert "1 of 4 rows of image_labels_train.csv name files that are not here: gone" in notes


def test_table_of_the_competition_is_read(tmp_path):
    add_table(
        tmp_path, "train.csv", "image_id,class_name,class_id,rad_id,x_min",
        "aa,Cardiomegaly,3,R1,1", "aa,Cardiomegaly,3,R2,1", "aa,Cardiomegaly,3,R2,9",
        "aa,No finding,14,R3,", "bb,No finding,14,R1,", "bb,Other lesion,9,R2,3",
    )  # fmt: skip
    add_images(tmp_path, "train/aa.png", "train/bb.png")
    assert detect(tmp_path) == "vindr"

    found = index(tmp_path)

    assert found.labels.loc["aa", ["Cardiomegaly", "No Finding"]].tolist() == [1, 0]
    assert set(found.images["split"]) == {""}


def test_bad_table_is_an_error_of_one_line(tree):
    add_table(tree, "annotations/image_labels_train.csv", "image_id,Cardiomegaly", "aa,yes")

    with pytest.raises(InputError, match=r"column 'Cardiomegaly': 'yes' is not a label"):
        index(tree)
