"""Reports that come as one file each. Plain folders of texts are tested with the readers."""

from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrlabel.folders import hash_report_folder, open_report_file, open_report_folder

XML = '<e><uId id="{}"/><AbstractText Label="FINDINGS">{}</AbstractText></e>'


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def cells(folder: Path, *names: str) -> list[tuple[object, ...]]:
    return [tuple(row) for _, row in open_report_folder(folder).read(names)]


def test_mimic_tree_has_the_subject_of_each_study(tmp_path: Path) -> None:
    write(tmp_path / "files/p10/p10000032/s50414267.txt", "one")
    write(tmp_path / "files/p11/p11000001/s2.txt", "two")

    table = open_report_folder(tmp_path)

    assert table.columns == ("study_id", "report", "subject_id")
    assert cells(tmp_path, "subject_id", "study_id") == [
        ("10000032", "s50414267"),
        ("11000001", "s2"),
    ]


def test_folder_of_one_subject_and_one_file_know_it_too(tmp_path: Path) -> None:
    path = write(tmp_path / "p10000032/s1.txt", "one")

    assert cells(path.parent, "subject_id") == [("10000032",)]
    assert next(open_report_file(path).read(["subject_id"]))[1] == ["10000032"]


@pytest.mark.parametrize("name", ["a/s1.txt", "p1/report.txt", "p1x/s1.txt"])
def test_other_folder_has_no_subject(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "one")

    assert open_report_folder(tmp_path).columns == ("study_id", "report")


def test_file_outside_of_the_tree_is_named(tmp_path: Path) -> None:
    write(tmp_path / "p1/s1.txt", "one")
    stray = write(tmp_path / "p2/notes.txt", "two")

    with pytest.raises(InputError, match=f"^{stray}: not laid out as p10000032/s50414267.txt"):
        cells(tmp_path, "subject_id")
    assert len(cells(tmp_path, "study_id")) == 2


def test_folder_of_xml_is_a_table_of_sections(tmp_path: Path) -> None:
    write(tmp_path / "10.xml", XML.format("CXR10", "ten"))
    write(tmp_path / "2.xml", XML.format("CXR2", "two"))

    assert cells(tmp_path, "uid", "findings", "impression") == [
        ("CXR10", "ten", ""),
        ("CXR2", "two", ""),
    ]


def test_folder_of_texts_and_xml_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "1.xml", XML.format("CXR1", "one"))
    write(tmp_path / "2.txt", "two")

    with pytest.raises(InputError, match=r"has \.txt and \.xml files; expected one kind"):
        open_report_folder(tmp_path)


def test_hash_of_a_folder_counts_xml(tmp_path: Path) -> None:
    path = write(tmp_path / "1.xml", XML.format("CXR1", "one"))
    before = hash_report_folder(tmp_path)
    path.write_text(XML.format("CXR1", "two"))

    assert hash_report_folder(tmp_path) != before
    assert before[1] == len(path.read_bytes())
