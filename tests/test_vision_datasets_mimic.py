import gzip
import math

import pytest
from vision_trees import add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.mimic import index
from cxrvision.data.indexing import index_folder

META = "dicom_id,subject_id,study_id,ViewPosition,StudyDate,ViewCodeSequence_CodeMeaning"
P1, P2 = "files/p10/p10000032", "files/p11/p11000011"


@pytest.fixture
def tree(tmp_path):
    add_images(
        tmp_path, f"{P1}/s50000001/aa-1.jpg", f"{P1}/s50000001/aa-2.jpg",
        f"{P1}/s50000002/bb-1.jpg", f"{P2}/s50000003/cc-1.jpg", f"{P2}/s50000003/stray.jpg",
    )  # fmt: skip
    lines = [
        META,
        "aa-1,10000032,50000001,PA,21800506,postero-anterior",
        "aa-2,10000032,50000001,,21800506,lateral",
        "bb-1,10000032,50000002,LAO,21800626,left anterior oblique",
        "cc-1,11000011,50000003,,21540101,",
        "dd-1,11000011,50000004,AP,21540102,antero-posterior",
    ]
    with gzip.open(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    add_table(
        tmp_path, "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split",
        "aa-1,50000001,10000032,train", "aa-2,50000001,10000032,train",
        "bb-1,50000002,10000032,train", "cc-1,50000003,11000011,validate",
        "dd-1,50000004,11000011,validate",
    )  # fmt: skip
    add_table(
        tmp_path, "mimic-cxr-2.0.0-negbio.csv", "subject_id,study_id,Edema", "10000032,50000001,0.0"
    )
    add_table(
        tmp_path, "mimic-cxr-2.0.0-chexpert.csv", "subject_id,study_id,Edema,Airspace Opacity,Odd",
        "10000032,50000001,1.0,-1.0,", "10000032,50000002,,,", "11000011,50000004,1.0,,",
    )  # fmt: skip
    return tmp_path


def test_images_have_views_splits_and_dates(tree):
    assert detect(tree) == "mimic"

    images = index(tree).images.set_index("image_id")

    assert images["view"].to_dict() == {
        "aa-1": "frontal", "aa-2": "lateral", "bb-1": "other", "cc-1": "unknown",
    }  # fmt: skip
    assert list(images["split"]) == ["train", "train", "train", "val"]
    assert images.loc["aa-1", "date"] == "2180-05-06"
    assert images.loc["aa-1", "path"] == f"{P1}/s50000001/aa-1.jpg"


def test_labels_of_chexpert_go_before_negbio_and_only_for_studies_on_disk(tree):
    found = index_folder(tree)

    assert found.labels.loc["50000001", "Edema"] == 1
    assert found.labels.loc["50000001", "Lung Opacity"] == -1
    assert math.isnan(found.labels.loc["50000002", "Edema"])
    assert "50000004" not in found.labels.index
    assert "1 label names are no finding of ours: Odd" in found.notes


def test_oddities_are_counted(tree):
    notes = "\n".join(index(tree).notes)

    assert (
        "1 of 5 rows of mimic-cxr-2.0.0-metadata.csv.gz name files that are not here: dd-1" in notes
    )
    assert f"1 image files have no row in mimic-cxr-2.0.0-metadata.csv.gz: {P2}" in notes
    assert "1 of 4 images have an unknown view" in notes


def test_resized_copy_in_one_folder_is_served(tree):
    for path in tree.rglob("*.jpg"):
        path.rename(tree / path.name)

    assert list(index(tree).images["path"]) == ["aa-1.jpg", "aa-2.jpg", "bb-1.jpg", "cc-1.jpg"]


def test_missing_tables_are_said(tree):
    for name in ("split", "chexpert", "negbio"):
        (tree / f"mimic-cxr-2.0.0-{name}.csv").unlink()

    found = index_folder(tree)

    assert found.labels is None
    assert "no official split (-split.csv) here" in found.notes
    assert "split by patient 70%/10%/20% (train/val/test), seed 0" in found.notes


def test_bad_metadata_is_an_error_of_one_line(tree):
    (tree / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(b"\x1f\x8bnot gzip")

    with pytest.raises(InputError, match="not a whole gzip file"):
        index(tree)
