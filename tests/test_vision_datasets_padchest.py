import math

import pytest
from vision_trees import add_images, add_table, png

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.padchest import index
from cxrvision.data.indexing import index_folder

NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEAD = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,Manufacturer_DICOM,MethodLabel,Labels"
)
TWO = "\"['pseudonodule', 'laminar atelectasis']\""
ROWS = [
    f"0,a1.png,0,20140915,11,p1,1930.0,F,POSTEROANTERIOR,PA,Imaging,Physician,{TWO}",
    f"1,a2.png,0,20140915,11,p1,1930.0,F,LATERAL,L,Imaging,Physician,{TWO}",
    "2,b1.png,1,20150101,12,p1,1930.0,F,,AP_horizontal,Imaging,RNN_model,['normal']",
    "3,c1.png,1,20150102,13,p2,,M,POSTEROANTERIOR,COSTAL,Philips,RNN_model,"
    "\"['nodule', 'NSG tube']\"",
    "4,d1.png,1,20150103,14,p3,1950,M,POSTEROANTERIOR,L,Philips,RNN_model,nan",
    "5,e1.png,1,20150103,15,p4,1950,M,,PA,Philips,RNN_model,__import__('os').getcwd()",
    "6,gone.png,1,20150103,16,p5,1950,M,,PA,Philips,RNN_model,[]",
    "2,b1.png,1,20150101,12,p1,1930.0,F,,AP_horizontal,Imaging,RNN_model,['normal']",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    add_table(tmp_path, NAME, HEAD, *ROWS)
    add_images(tmp_path, "0/a1.png", "0/a2.png", "1/b1.png", "1/c1.png", "1/d1.png", "1/e1.png")
    return tmp_path


def test_images_have_views_ages_and_scanners(tree):
    assert detect(tree) == "padchest"

    images = index(tree).images.set_index("image_id")

    assert list(images["view"]) == ["frontal", "lateral", "frontal", "other", "lateral", "frontal"]
    assert images.loc["b1.png", "view_position"] == "AP"
    assert images.loc["a1.png", "age"] == 84
    assert math.isnan(images.loc["c1.png", "age"])
    assert images.loc["a1.png", ["scanner", "date", "path"]].tolist() == [
        "Imaging", "2014-09-15", "0/a1.png",
    ]  # fmt: skip


def test_labels_are_parsed_as_lists_and_matched_whole(tree):
    labels = index(tree).labels

    assert labels.loc["11", "Nodule"] == 0  # a pseudonodule is none
    assert labels.loc["11", "Atelectasis"] == 1
    assert labels.loc["12", "No Finding"] == 1
    assert labels.loc["13", ["Nodule", "Support Devices"]].tolist() == [1, 1]
    assert labels.loc["14"].drop("label_method").isna().all()  # nothing is said
    assert labels.loc["15"].drop("label_method").isna().all()  # no list, and never run
    assert labels.loc["11", "label_method"] == "Physician"


def test_oddities_are_counted(tree):
    notes = "\n".join(index(tree).notes)

    assert f"1 rows of {NAME} repeat an image: b1.png" in notes
    assert f"1 of 7 rows of {NAME} name files that are not here: gone.png" in notes
    assert "1 rows have labels that are not a list" in notes
    assert "1 images: table says lateral, position frontal" in notes
    assert "1 label names are no finding of ours: pseudonodule (2)" in notes


def test_cut_off_and_empty_files_are_counted_and_left_out(tree):
    (tree / "1/c1.png").write_bytes(png(7)[:-9])
    (tree / "1/d1.png").write_bytes(b"")

    found = index_folder(tree)

    assert set(found.images["image_id"]) == {"a1.png", "a2.png", "b1.png", "e1.png"}
    assert "2 files are broken (empty or cut off): 1/c1.png, 1/d1.png; left out" in found.notes


def test_patients_with_the_same_file_are_split_together(tree):
    (tree / "1/c1.png").write_bytes(png(1))  # that of p1

    for seed in range(8):
        found = index_folder(tree, seed=seed)
        split = found.images.drop_duplicates("patient_id").set_index("patient_id")["split"]
        assert split["p1"] == split["p2"]
    assert any(note.startswith("2 images are the same file as another") for note in found.notes)
    assert "1 patients are split with another who has the same file" in found.notes


def test_bad_table_is_an_error_of_one_line(tree):
    add_table(tree, NAME, HEAD.replace("Projection", "View"), ROWS[0])

    with pytest.raises(InputError, match="no column 'Projection'"):
        index(tree)
