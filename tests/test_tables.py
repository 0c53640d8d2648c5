import gzip
import math
from pathlib import Path

import pandas as pd
import pytest

from cxrlabel.errors import InputError
from cxrlabel.tables import match_finding_columns, read_labels

NAMES = {
    "edema": "Edema",
    "mass": "Mass",
    "pleuraleffusion": "Pleural Effusion",
    "effusion": "Pleural Effusion",
    "nofinding": "No Finding",
}


def resolve(name: str) -> str | None:
    """A small stand-in for `findings.resolve`, so that these tests do not read the rules."""
    return NAMES.get(name.lower().replace(" ", "").replace("_", ""))


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


# columns


@pytest.mark.parametrize(
    ("column", "finding"),
    [
        ("Edema", "Edema"),
        ("prob_Edema", "Edema"),
        ("PRED_pleural_effusion", "Pleural Effusion"),
        (" label_Mass", "Mass"),
        ("Effusion", "Pleural Effusion"),
    ],
)
def test_finding_column_is_matched(column, finding):
    assert match_finding_columns([column], resolve=resolve).used == {column: finding}


@pytest.mark.parametrize("column", ["prob_", "edema_amb", "probEdema", "", "study_id"])
def test_other_column_is_ignored(column):
    match = match_finding_columns(["Mass", column], resolve=resolve)
    assert match.used == {"Mass": "Mass"}
    assert match.ignored == [column]


@pytest.mark.parametrize("other", ["Effusion", "prob_Pleural Effusion", "Pleural Effusion"])
def test_two_columns_of_one_finding_are_an_error(other):
    with pytest.raises(InputError, match=f"t.csv: columns 'Pleural Effusion' and '{other}' both"):
        match_finding_columns(["Pleural Effusion", other], resolve=resolve, place="t.csv")


# labels


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *[(cell, 1) for cell in ("1.0", "1", " 1 ", "+1", "Positive")],
        *[(cell, 0) for cell in ("0.0", "0", "-0.0", "negative")],
        *[(cell, -1) for cell in ("-1.0", "-1", "UNCERTAIN")],
        *[(cell, math.nan) for cell in ("", " ", "nan", "Blank")],
    ],
)
def test_cell_becomes_its_code(tmp_path, cell, value):
    path = write(tmp_path / "labels.csv", f"study_id,Edema,Mass\n1,{cell},1\n")
    assert read_labels(path, resolve=resolve).table["Edema"].tolist() == pytest.approx(
        [value], nan_ok=True
    )


@pytest.mark.parametrize("cell", ["2", "0.5", "inf", "yes", "present"])
def test_other_value_names_line_column_and_value(tmp_path, cell):
    path = write(tmp_path / "labels.csv", f"study_id,Edema,Mass\n1,0,0\n2,0,{cell}\n")
    with pytest.raises(InputError) as caught:
        read_labels(path, resolve=resolve)
    assert str(caught.value).startswith(f"{path}:3: column 'Mass': '{cell}' is not a label; ")


def test_long_value_is_not_shown(tmp_path):
    path = write(tmp_path / "labels.csv", f"study_id,Edema\n1,{'secret ' * 9}\n")
    with pytest.raises(InputError, match="a text of 63 characters is not a label"):
        read_labels(path, resolve=resolve)


def test_index_is_the_id_as_it_came(tmp_path):
    path = write(tmp_path / "labels.csv", "age,UID,Effusion,edema\n70,007,1.0,\n71,8,,0.0\n")
    labels = read_labels(path, resolve=resolve)
    assert labels.table.index.name == "UID"
    assert labels.table.index.tolist() == ["007", "8"]
    assert labels.table.columns.tolist() == ["Pleural Effusion", "Edema"]
    assert labels.match.ignored == ["age"]
    assert set(labels.table.dtypes) == {pd.Series([0.0]).dtype}


def test_named_id_column_is_used(tmp_path):
    path = write(tmp_path / "labels.csv", "study_id,key,Edema\n1,a,0\n")
    assert read_labels(path, id_column="key", resolve=resolve).table.index.tolist() == ["a"]


@pytest.mark.parametrize("id_column", ["Image Index", "Path", "image_id"])
def test_image_id_is_found(tmp_path, id_column):
    path = write(tmp_path / "labels.csv", f"{id_column},Edema\na.png,0\n")
    assert read_labels(path, resolve=resolve).table.index.name == id_column


def test_gzipped_table_is_read(tmp_path):
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"study_id,Edema\n1,-1.0\n"))
    assert read_labels(path, resolve=resolve).table.loc["1", "Edema"] == -1.0


@pytest.mark.parametrize("values", [[1.0, math.nan], [1, None], [True, None], ["1.0", ""]])
def test_parquet_of_any_type_is_read(tmp_path, values):
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"study_id": [7, 8], "Edema": values}).to_parquet(path)
    table = read_labels(path, resolve=resolve).table
    assert table.index.tolist() == ["7", "8"]
    assert table["Edema"].tolist() == pytest.approx([1.0, math.nan], nan_ok=True)


def test_table_without_rows_keeps_its_columns(tmp_path):
    path = write(tmp_path / "labels.csv", "study_id,Edema,Mass\n")
    assert read_labels(path, resolve=resolve).table.shape == (0, 2)


def test_nih_string_column_is_read(tmp_path):
    header = "Image Index,Finding Labels,Patient ID"
    path = write(
        tmp_path / "nih.csv", f"{header}\na.png,Effusion|Mass,1\nb.png,No Finding,2\nc.png,,3\n"
    )
    labels = read_labels(path, resolve=resolve)
    assert labels.match.ignored == ["Patient ID"]
    assert labels.table.columns.tolist() == ["Mass", "No Finding", "Pleural Effusion"]
    assert labels.table.loc["a.png"].tolist() == [1.0, 0.0, 1.0]
    assert labels.table.loc["b.png"].tolist() == [0.0, 1.0, 0.0]
    assert labels.table.loc["c.png"].isna().all()


def test_unknown_name_in_nih_string_is_an_error(tmp_path):
    path = write(tmp_path / "nih.csv", "Image Index,Finding Labels\na.png,Mass|Foo\n")
    with pytest.raises(
        InputError, match=r"nih\.csv:2: column 'Finding Labels': 'Foo' is not a find"
    ):
        read_labels(path, resolve=resolve)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("age,Edema\n70,1\n", "no id column found; name it with --id (columns: age, Edema)"),
        ("study_id,age\n1,2\n", "no column is a finding (columns: study_id, age)"),
        ("study_id,Edema\n1,0\n1,1\n", "labels.csv:3: id '1' is also at"),
        ("study_id,Edema\n,0\n", "labels.csv:2: the id is empty"),
        ("study_id,Edema\n1,0,0\n", "labels.csv:2: 3 cells, expected 2"),
    ],
)
def test_bad_table_is_an_error(tmp_path, content, expected):
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path / "labels.csv", content), resolve=resolve)
    assert expected in str(caught.value)


# reports that were not labeled


def test_reports_that_were_not_labeled_are_known_by_their_status(tmp_path):
    path = write(
        tmp_path / "labels.csv",
        "study_id,Edema,Mass,status\n1,1.0,,labeled\n2,,,empty\n3,,,no usable section\n",
    )
    read = read_labels(path, resolve=resolve)

    assert read.silent == {"2": "empty", "3": "no usable section"}
    assert list(read.table.index) == ["1", "2", "3"]
    assert list(read.labeled.index) == ["1"]
    assert read.match.ignored == ["status"]


@pytest.mark.parametrize("others", ["final", "", "1"])
def test_status_column_of_others_is_not_used(others, tmp_path):
    path = write(tmp_path / "labels.csv", f"study_id,Edema,status\n1,1,empty\n2,,{others}\n")
    read = read_labels(path, resolve=resolve)

    assert read.silent == {}
    assert list(read.labeled.index) == ["1", "2"]
