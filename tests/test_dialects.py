"""The layouts of other projects: their files are read, and ours are read by their programs.

The tables here are made: a few invented rows under the published column names.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from cxrlabel.errors import InputError
from cxrlabel.findings import load_findings, resolve
from cxrlabel.readers import open_reports
from cxrlabel.tables import read_labels

Cxr = Callable[..., Result]

CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
DATASET = (*CHEXPERT[:3], "Lung Opacity", "Lung Lesion", *CHEXPERT[5:])
IMAGE = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
REPORTS = (
    "The heart is enlarged. Small left effusion. No pneumothorax.",
    "The lungs are clear. No effusion.",
    "Possible pneumonia. Stable pacemaker.",
    "Mild edema, and a nodule in the right upper lobe.",
)


def write(path: Path, header: Sequence[str] | None, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def label(cxr: Cxr, source: Path, *args: object) -> Path:
    """Label a source into labels.csv beside it."""
    out = source.parent / "labels.csv"
    done = cxr("label", source, "-o", out, "--force", *args)
    assert done.exit_code == 0, done.stderr
    return out


def header(path: Path) -> list[str]:
    return list(pd.read_csv(path, nrows=0).columns)


# label tables of other projects


def one(name: str, value: object, columns: Sequence[str]) -> list[object]:
    """A row of labels, blank but for one."""
    return [value if column == name else "" for column in columns]


@pytest.mark.parametrize(
    ("first", "findings", "cells", "study"),
    [
        (("Reports",), CHEXPERT, ("No edema.",), "1"),
        (("Report Impression",), (*CHEXPERT[1:], "No Finding"), ("No edema.",), "1"),
        (IMAGE, DATASET, ("CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg", "Male",
                          "60", "Frontal", "PA"),
         "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"),
        (("subject_id", "study_id"), sorted(CHEXPERT), ("10000032", "50414267"), "50414267"),
        (("study_id",), ("Airspace Opacity", "Edema"), ("50414267",), "50414267"),
        (("row", "Reports"), CHEXPERT, ("17", "No edema."), "17"),
    ],
    ids=["labeler", "chexbert", "data set", "mimic", "mimic audited", "our own"],
)  # fmt: skip
def test_label_table_is_read_by_name(
    tmp_path: Path, first: Sequence[str], findings: Sequence[str], cells: Sequence[str], study: str
) -> None:
    rows = [[*cells, *one("Edema", "-1.0", findings)]]
    labels = read_labels(
        write(tmp_path / "t.csv", [*first, *findings], rows), resolve=resolve
    ).table

    assert labels.index.tolist() == [study]
    assert labels.columns.tolist() == [resolve(name) for name in findings]
    assert labels.loc[study].dropna().to_dict() == {"Edema": -1.0}


def test_rows_without_an_id_are_numbered_as_their_reports_are(tmp_path: Path) -> None:
    rows = [["First.", "1"], ["", ""], ["Third.", "0"]]
    path = write(tmp_path / "t.csv", ["Reports", "Edema"], rows)

    labels = read_labels(path, resolve=resolve).table

    assert labels.index.tolist() == [row.study_id for row in open_reports([str(path)]).rows()]
    assert (labels.index.name, labels.index[-1]) == ("row", "3")


VIEWS = ["train/patient00001/study1/view1_frontal.jpg", "train/patient00001/study1/view2_lat.jpg",
         "train/patient00001/study2/view1_frontal.jpg"]  # fmt: skip


def test_images_of_a_study_become_one_row(tmp_path: Path) -> None:
    rows = [[path, value, ""] for path, value in zip(VIEWS, ("1.0", "1.0", "0.0"), strict=True)]
    path = write(tmp_path / "train.csv", ["Path", "Edema", "Fracture"], rows)

    labels = read_labels(path, by_study=True, resolve=resolve).table

    assert labels.index.name == "study_id"
    assert labels["Edema"].to_dict() == {
        "patient00001/study1": 1.0,
        "patient00001/study2": 0.0,
    }


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (VIEWS, "images of 'patient00001/study1' differ in their labels"),
        (["train/a.jpg"], "id 'train/a.jpg' names no study; expected paths such as patient00001/"),
    ],
)
def test_images_that_make_no_study_are_an_error(
    tmp_path: Path, paths: list[str], expected: str
) -> None:
    rows = [[path, number % 2] for number, path in enumerate(paths)]
    path = write(tmp_path / "train.csv", ["Path", "Edema"], rows)

    with pytest.raises(InputError, match=expected):
        read_labels(path, by_study=True, resolve=resolve)


# reports of other projects


def test_indiana_reports_are_read(tmp_path: Path) -> None:
    columns = ["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings",
               "impression"]  # fmt: skip
    source = open_reports([str(write(tmp_path / "indiana_reports.csv", columns, []))])

    assert source.id_column == "uid"
    assert source.text_columns == ("indication", "comparison", "findings", "impression")
    assert source.ignored_columns == ("MeSH", "Problems", "image")


@pytest.mark.parametrize("text", ["Reports", "Report Impression"])
def test_reports_of_a_labelers_output_are_read(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "t.csv", [text, "Edema", "No Finding"], [["Mild edema.", 1, ""]])

    source = open_reports([str(path)])

    assert (source.id_column, source.text_columns) == ("row", (text,))
    assert [row.study_id for row in source.rows()] == ["1"]


def test_folder_of_openi_is_labeled(tmp_path: Path, cxr: Cxr) -> None:
    folder = tmp_path / "ecgen-radiology"
    folder.mkdir()
    content = (
        '<eCitation><uId id="CXR1"/><AbstractText Label="INDICATION">Edema?</AbstractText>'
        '<AbstractText Label="FINDINGS">No effusion.</AbstractText></eCitation>'
    )
    (folder / "1.xml").write_text(content)

    labels = read_labels(label(cxr, folder), resolve=resolve).table

    assert labels.loc["CXR1", "Pleural Effusion"] == 0.0
    assert np.isnan(labels.loc["CXR1", "Edema"])


# layouts that we write


def test_headerless_reports_get_the_labelers_table(tmp_path: Path, cxr: Cxr) -> None:
    source = write(tmp_path / "r.csv", None, [[report] for report in REPORTS])

    out = label(cxr, source, "--dialect", "chexpert", "--keep", "Reports")

    table = pd.read_csv(out)
    assert list(table) == ["row", "Reports", *CHEXPERT]
    assert tuple(table["Reports"]) == REPORTS


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    """A tree of reports as MIMIC-CXR has it."""
    files = tmp_path / "files"
    for number, report in enumerate(REPORTS):
        path = files / "p10" / f"p1000000{number // 2}" / f"s5000000{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f" FINAL REPORT\n FINDINGS:  {report}\n")
    return files


def test_mimic_tree_gets_mimics_table(mimic: Path, cxr: Cxr) -> None:
    table = pd.read_csv(label(cxr, mimic, "--dialect", "mimic"))

    assert list(table) == ["subject_id", "study_id", *sorted(CHEXPERT)]
    assert table["subject_id"].tolist() == [10000000, 10000000, 10000001, 10000001]
    assert table["study_id"].tolist() == [50000000, 50000001, 50000002, 50000003]


def test_mentions_of_mimic_have_the_id_of_the_labels(mimic: Path, cxr: Cxr) -> None:
    mentions = mimic.parent / "mentions.csv"
    labels = label(cxr, mimic, "--dialect", "mimic", "--mentions", mentions)

    ids = [set(pd.read_csv(path)["study_id"]) for path in (mentions, labels)]
    assert ids[0] == ids[1]


def test_mimic_tree_keeps_its_names_in_our_own_layout(mimic: Path, cxr: Cxr) -> None:
    table = pd.read_csv(label(cxr, mimic))

    assert table["study_id"].tolist()[0] == "s50000000"


def test_two_ids_that_differ_in_their_letter_alone_are_refused(tmp_path: Path, cxr: Cxr) -> None:
    rows = [["1", "s7", REPORTS[0]], ["1", "7", REPORTS[1]]]
    source = write(tmp_path / "r.csv", ["subject_id", "study", "report"], rows)

    done = cxr("label", source, "-o", tmp_path / "l.csv", "--dialect", "mimic")

    assert done.exit_code == 1
    assert "id '7' is also at" in done.stderr


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of the CheXpert data set with the reports of their studies."""
    rows = [
        [f"CheXpert-v1.0/train/patient0000{n}/study1/view1_frontal.jpg", "Female", 60 + n,
         "Frontal", "PA", n, report]
        for n, report in enumerate(REPORTS)
    ]  # fmt: skip
    return write(tmp_path / "r.csv", [*IMAGE, "study_id", "report"], rows)


def test_chexpert_images_get_the_data_sets_table(images: Path, cxr: Cxr) -> None:
    out = label(cxr, images, "--dialect", "chexpert-dataset")

    assert header(out) == [*IMAGE, *DATASET]
    assert pd.read_csv(out)["Age"].tolist() == [60, 61, 62, 63]


# what torchxrayvision 1.3 reads of these tables, by column name


def torchxrayvision_labels(table: pd.DataFrame, pathologies: Sequence[str]) -> pd.DataFrame:
    """Labels as its data sets make them: healthy studies are 0, uncertain ones are unknown."""
    healthy = table["No Finding"] == 1
    table.loc[healthy, [name for name in pathologies if name != "Support Devices"]] = 0
    labels = table[list(pathologies)].astype(np.float32)
    return labels.mask(labels == -1)


def test_torchxrayvision_reads_the_chexpert_table(images: Path, cxr: Cxr) -> None:
    table = pd.read_csv(label(cxr, images, "--dialect", "chexpert-dataset"))

    view = table["AP/PA"].where(table["Frontal/Lateral"] == "Frontal", "L")
    patient = table["Path"].str.split("train/", expand=True)[1].str.split("/study", expand=True)[0]
    labels = torchxrayvision_labels(table, sorted(CHEXPERT[1:]))
    assert view.tolist() == ["PA"] * 4
    assert patient.str.replace("patient", "").tolist() == ["00000", "00001", "00002", "00003"]
    assert (table["Sex"] == "Female").all() and table["Age"].dtype.kind == "i"
    assert labels["Pleural Effusion"].tolist() == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)
    assert labels["Pneumonia"].isna().tolist() == [True, False, True, True]


def test_torchxrayvision_reads_the_mimic_table(mimic: Path, cxr: Cxr) -> None:
    keys = ["subject_id", "study_id"]
    table = pd.read_csv(label(cxr, mimic, "--dialect", "mimic"))
    images = table[keys].assign(dicom_id="a", ViewPosition="PA", StudyDate=21800506)

    joined = table.set_index(keys).join(images.set_index(keys)).reset_index()

    labels = torchxrayvision_labels(joined, sorted(CHEXPERT[1:]))
    assert joined["ViewPosition"].tolist() == ["PA"] * 4
    assert labels["Cardiomegaly"].tolist() == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)


def test_torchxrayvision_reads_the_nih_cells(tmp_path: Path, cxr: Cxr) -> None:
    rows = enumerate(REPORTS)
    source = write(tmp_path / "r.csv", ["Image Index", "report"], [list(row) for row in rows])

    table = pd.read_csv(label(cxr, source, "--dialect", "nih"))

    cells = table["Finding Labels"]
    assert list(table) == ["Image Index", "Finding Labels"]
    assert cells.str.contains("Effusion").tolist()[:2] == [True, False]
    assert cells.tolist()[1] == "No Finding"


# read back


@pytest.mark.parametrize("dialect", ["cxr", "chexpert", "mimic", "chexpert-dataset"])
def test_layout_is_read_back_as_it_was_written(tmp_path: Path, cxr: Cxr, dialect: str) -> None:
    rows = [[*(f"{name}{n}" for name in IMAGE), "p", n, text] for n, text in enumerate(REPORTS)]
    source = write(tmp_path / "r.csv", [*IMAGE, "subject_id", "study_id", "report"], rows)
    plain = read_labels(label(cxr, source), resolve=resolve).table

    back = read_labels(label(cxr, source, "--dialect", dialect), resolve=resolve).table

    assert len(back.columns) == (len(load_findings()) if dialect == "cxr" else len(CHEXPERT))
    np.testing.assert_array_equal(back.to_numpy(), plain[list(back.columns)].to_numpy())


def test_nih_layout_is_read_back_with_its_positives(tmp_path: Path, cxr: Cxr) -> None:
    rows = [list(row) for row in enumerate(REPORTS)]
    source = write(tmp_path / "r.csv", ["study_id", "report"], rows)
    plain = read_labels(label(cxr, source), resolve=resolve).table

    back = read_labels(label(cxr, source, "--dialect", "nih"), resolve=resolve).table

    named = back.dropna()
    assert set(back.columns) == {"Cardiomegaly", "Edema", "No Finding", "Nodule",
                                 "Pleural Effusion"}  # fmt: skip
    assert back.index[back.isna().all(axis=1)].tolist() == ["2"]  # uncertain and devices alone
    expected = plain.loc[named.index, list(named.columns)] == 1
    np.testing.assert_array_equal(named.to_numpy() == 1, expected.to_numpy())
