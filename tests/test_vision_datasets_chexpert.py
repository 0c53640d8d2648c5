import math

import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.chexpert import index
from cxrvision.data.indexing import index_folder

HEAD = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pleural Effusion,Edema"


def rows(part: str, folder: str = "CheXpert-v1.0-small") -> list[str]:
    p = f"{folder}/{part}"
    return {
        "train": [
            f"{p}/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,",
            f"{p}/patient00001/study2/view1_frontal.jpg,Female,87,Frontal,PA,,-1.0,1.0",
            f"{p}/patient00001/study2/view2_lateral.jpg,Female,87,Lateral,,,-1.0,1.0",
            f"{p}/patient00002/study1/view1_frontal.jpg,Unknown,0,Frontal,LL,,0.0,",
            f"{p}/patient00003/study1/view1_frontal.jpg,Male,41,Frontal,AP,,1.0,",
        ],
        "valid": [f"{p}/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,0.0"],
    }[part]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "CheXpert-v1.0-small"
    for part in ("train", "valid"):
        add_table(root, f"{part}.csv", HEAD, *rows(part))
    add_images(
        tmp_path,
        *(line.partition(",")[0] for part in ("train", "valid") for line in rows(part)[:4]),
    )
    add_images(root, "train/patient00009/study1/view1_frontal.jpg")
    return root


@pytest.mark.parametrize("level", [0, 1])
def test_studies_are_indexed_from_the_folder_or_the_one_above(tree, level):
    root = tree if level == 0 else tree.parent
    assert detect(root) == "chexpert"

    found = index(root)

    images = found.images.set_index("image_id")
    assert len(images) == 5
    lateral = images.loc["patient00001/study2/view2_lateral"]
    assert (lateral["view"], lateral["study_id"]) == ("lateral", "patient00001/study2")
    assert lateral["patient_id"] == "patient00001"
    assert images.loc["patient00001/study1/view1_frontal", "view_position"] == "AP"
    assert (root / lateral["path"]).exists()


def test_labels_are_one_row_a_study_with_uncertain_and_blank(tree):
    labels = index(tree).labels

    assert labels.loc["patient00001/study2", "Pleural Effusion"] == -1
    assert math.isnan(labels.loc["patient00001/study2", "No Finding"])
    assert labels.index.is_unique


def test_valid_is_test_until_there_is_a_test_set(tree):
    split = index(tree).images.set_index("patient_id")["split"]
    assert split["patient64541"] == "test"

    test = rows("valid")[0].replace("valid/patient64541", "test/patient64741")
    add_table(tree, "test.csv", HEAD, test)
    add_images(tree.parent, test.partition(",")[0])
    split = index(tree).images.set_index("patient_id")["split"]

    assert (split["patient64541"], split["patient64741"]) == ("val", "test")


def test_oddities_are_counted(tree):
    notes = "\n".join(index(tree).notes)

    assert "1 of 6 rows of train.csv name files that are not here" in notes
    assert "1 image files have no row in train.csv: train/patient00009" in notes
    assert "1 images: table says frontal, position lateral" in notes


def test_images_in_batches_are_found(tree, tmp_path):
    (tree / "train").rename(tree / "CheXpert-v1.0 batch 2 (train 1)")

    assert index(tree).images["path"].str.startswith("CheXpert-v1.0 batch 2").sum() == 4


def test_no_patient_crosses_and_val_comes_from_train(tree):
    found = index_folder(tree)

    by_patient = found.images.groupby("patient_id")["split"].nunique()
    assert (by_patient == 1).all()
    assert "val carved from the official train by patient, seed 0" in found.notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Path,Sex,Age,AP/PA", "no column 'Frontal/Lateral'"),
        (f"{HEAD},Edema", "two columns are named 'Edema'"),
    ],
)
def test_bad_table_is_an_error_of_one_line(tree, line, message):
    add_table(tree, "train.csv", line, ",".join("x" for _ in line.split(",")))

    with pytest.raises(InputError, match=message):
        index(tree)


def test_cell_that_is_no_label_is_an_error(tree):
    bad = rows("train")[0].replace("1.0", "2.0")
    add_table(tree, "train.csv", HEAD, bad)

    with pytest.raises(InputError, match=r"train.csv: column 'No Finding': '2' is not a label"):
        index(tree)
