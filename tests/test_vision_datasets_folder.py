import os
import sys
from pathlib import Path

import pytest
from vision_trees import add_dicom, add_images, add_table

from cxrlabel.errors import InputError
from cxrvision.data.datasets import detect
from cxrvision.data.datasets.folder import index
from cxrvision.data.indexing import index_folder

REAL = Path(os.environ.get("CXR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "images"


def ids(found, *names):
    return found.images.sort_values("path")[list(names)].values.tolist()


def test_table_gives_ids_views_and_labels(tmp_path):
    add_images(tmp_path, "x/1.png", "x/2.png", "x/3.png", "x/4.png")
    add_table(
        tmp_path, "index.csv", "path,patient,study,view,labels,sex,age",
        "x/1.png,p1,s1,PA,Effusion|Edema,F,50", "x/2.png,p1,s1,Lateral,Effusion|Edema,F,50",
        "x/3.png,p2,,AP,COVID-19,M,", "gone.png,p3,s3,,No Finding,,",
    )  # fmt: skip
    assert detect(tmp_path) == "folder"

    found = index(tmp_path)

    assert ids(found, "patient_id", "study_id", "view", "view_position", "sex") == [
        ["p1", "s1", "frontal", "PA", "F"],
        ["p1", "s1", "lateral", "", "F"],
        ["p2", "x/3.png", "frontal", "AP", "M"],
    ]
    assert found.labels.loc["s1", ["Edema", "Pleural Effusion", "No Finding"]].tolist() == [1, 1, 0]
    assert found.labels.loc["x/3.png"].isna().all()  # COVID-19 may be any of ours
    notes = "\n".join(found.notes)
    assert "1 of 4 rows of index.csv name files that are not here: gone.png" in notes
    assert "1 image files have no row in index.csv: x/4.png" in notes
    assert "1 images have no study in the table" in notes


def test_finding_columns_of_the_table_are_labels(tmp_path):
    add_images(tmp_path, "1.png", "2.png")
    table = add_table(
        tmp_path, "my.csv", "filename,study_id,Edema,Effusion", "1.png,s,1,", "2.png,s,0,-1"
    )

    found = index(tmp_path, table=table)

    assert found.labels.loc["s"].to_dict() == {"Edema": 1.0, "Pleural Effusion": -1.0}
    assert "1 studies have images that differ in their labels; the strongest" in found.notes


def test_table_without_paths_is_an_error(tmp_path):
    add_images(tmp_path, "1.png")
    add_table(tmp_path, "index.csv", "patient,study", "p,s")

    with pytest.raises(InputError, match=r"index.csv: no column of paths; expected one of path"):
        index(tmp_path)


@pytest.mark.parametrize(
    "pattern",
    [
        "{patient}/{study}/{view}_{name}.png",
        r"(?P<patient>[^/]+)/(?P<study>[^/]+)/(?P<view>[a-z]+)_.*",
    ],
)
def test_pattern_names_patient_study_and_view(tmp_path, pattern):
    add_images(
        tmp_path, "p1/study1/pa_0.png", "p1/study1/lat_0.png", "p2/study1/ap_0.png", "other.png"
    )

    found = index(tmp_path, pattern=pattern)

    assert ids(found, "patient_id", "study_id", "view") == [
        ["p1", "p1/study1", "lateral"],
        ["p1", "p1/study1", "frontal"],
        ["p2", "p2/study1", "frontal"],
    ]
    assert "1 images do not fit the pattern: other.png; left out" in found.notes


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{study}/nothing.png", "no path fits"),
        ("(?P<study>", "is no regular expression"),
        ("{name}.png", "expected patient or study"),
        ("{patient}/{colour}.png", "expected patient or study"),
    ],
)
def test_bad_pattern_is_an_error_of_one_line(tmp_path, pattern, message):
    add_images(tmp_path, "p/a.png")

    with pytest.raises(InputError, match=message):
        index(tmp_path, pattern=pattern)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["p1/s1/a.png", "p1/s2/b.png", "p2/s/c.png"],
         [("p1", "p1/s1"), ("p1", "p1/s2"), ("p2", "p2/s")]),
        (["p1/a.png", "p1/b.png", "p2/c.png"], [("p1", "p1"), ("p1", "p1"), ("p2", "p2")]),
        (["images/a.png", "images/b.png"], [("a", "a"), ("b", "b")]),
    ],
)  # fmt: skip
def test_depth_gives_patient_and_study(tmp_path, paths, expected):
    add_images(tmp_path, *paths)

    assert [tuple(row) for row in ids(index(tmp_path), "patient_id", "study_id")] == expected


def test_names_say_the_view_and_bilateral_does_not(tmp_path):
    add_images(tmp_path, "p/view1_frontal.jpg", "p/view2_lateral.jpg", "p/bilateral.jpg")

    found = index(tmp_path)

    assert ids(found, "view") == [["unknown"], ["frontal"], ["lateral"]]


def test_dicom_headers_give_ids_views_and_more(tmp_path):
    common = {
        "PatientID": "P7",
        "StudyInstanceUID": "1.2.3",
        "PatientAge": "045Y",
        "PatientSex": "F",
    }
    add_dicom(tmp_path / "x" / "a.dcm", **common, ViewPosition="PA", Manufacturer="Acme")
    add_dicom(tmp_path / "x" / "IM2", **common, PatientOrientation=["A", "F"], StudyDate="20200102")
    (tmp_path / "x" / "README").write_text("not an image")
    (tmp_path / "x" / "broken.dcm").write_bytes(b"no dicom")

    found = index(tmp_path)

    assert ids(found, "patient_id", "study_id", "view", "age", "sex")[:2] == [
        ["P7", "1.2.3", "lateral", 45.0, "F"],
        ["P7", "1.2.3", "frontal", 45.0, "F"],
    ]
    assert ids(found, "scanner", "date")[:2] == [["", "2020-01-02"], ["Acme", ""]]
    assert "1 files have no readable DICOM header: x/broken.dcm" in found.notes


def test_dicom_without_pydicom_is_said(tmp_path, monkeypatch):
    add_dicom(tmp_path / "a.dcm", PatientID="P7", ViewPosition="PA")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setattr("cxrvision.data.datasets.folder.has_pydicom", lambda: False)

    found = index(tmp_path)

    assert "DICOM headers are not read: `pip install 'cxr[images]'`" in found.notes
    assert ids(found, "view") == [["unknown"]]


def test_hidden_files_and_loops_are_left_out(tmp_path):
    add_images(tmp_path, "p1/a.png", "p2/b.png", "p1/._a.png", "__MACOSX/p1/a.png")
    (tmp_path / "p1" / "up").symlink_to(tmp_path)

    assert ids(index(tmp_path), "path") == [["p1/a.png"], ["p2/b.png"]]


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no image files here"):
        index(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real data here")
def test_real_folder_has_its_paired_studies():
    found = index_folder(REAL)

    images = found.images
    views = images[images["view"].isin(["frontal", "lateral"])].groupby("study_id")["view"]
    assert (len(images), images["study_id"].nunique(), images["patient_id"].nunique()) == (
        128,
        104,
        95,
    )
    assert (views.nunique() == 2).sum() == 24
    assert (images["view"] == "unknown").sum() == 2  # test patterns, no chests
    assert found.labels.loc["nih_00004296_000", "Nodule"] == 1
