from pathlib import Path

import pandas as pd
import pytest

from cxrlabel.errors import InputError
from cxrvision.data.manifest import COLUMNS, read_manifest, write_manifest


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(**columns: list) -> pd.DataFrame:
    return pd.DataFrame(columns)


FULL = table(
    image_id=["i2", "i1", "i3"], study_id=["s1", "s1", "-s"], patient_id=["p1", "p1", "p2"],
    path=["b.png", "a.png", "-c.png"], view=["lateral", "frontal", "unknown"],
    view_position=["LL", "PA", ""], split=["train", "train", "test"], site=["", "", ""],
    scanner=["", "", "=1+1"], age=[50.5, 50.5, float("nan")], sex=["F", "F", ""],
    date=["2180-05-06", "2180-05-06", ""],
)  # fmt: skip


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.csv.gz", "m.jsonl", "m.parquet"])
def test_manifest_comes_back_as_written_sorted(tmp_path, name):
    write_manifest(tmp_path / name, FULL, root=tmp_path)

    read = read_manifest(tmp_path / name)

    expected = FULL.sort_values(["study_id", "image_id"], ignore_index=True)
    pd.testing.assert_frame_equal(read.table, expected[list(COLUMNS)], check_dtype=False)
    assert read.files()[0] == tmp_path / "-c.png"  # neutralised in csv, and back


@pytest.mark.parametrize(
    ("root", "path"), [("data", "data/b.png"), (".", "b.png"), ("../else", "ABSOLUTE")]
)
def test_paths_are_relative_to_the_file_where_images_lie_below_it(tmp_path, root, path):
    write_manifest(tmp_path / "here" / "m.csv", FULL, root=tmp_path / "here" / root)

    expected = path.replace("ABSOLUTE", str(tmp_path / "else" / "b.png"))
    assert expected in set(read_manifest(tmp_path / "here" / "m.csv").table["path"])


def test_defaults_are_filled_and_said(tmp_path):
    path = write(tmp_path / "m.csv", "Study ID,path,view", "s1,a.png,PA", "s1,b.png,L", "s2,c.png,")

    manifest = read_manifest(path)

    assert list(manifest.table["view"]) == ["frontal", "lateral", "unknown"]
    assert list(manifest.table["image_id"]) == ["a.png", "b.png", "c.png"]
    assert list(manifest.table["patient_id"]) == ["s1", "s1", "s2"]
    assert manifest.notes == (f"{path}: no column 'patient_id'; every study counts as a patient",)


def test_split_may_be_called_validate(tmp_path):
    path = write(tmp_path / "m.csv", "study_id,path,view,split", "s,a.png,PA,Validate")

    assert list(read_manifest(path).table["split"]) == ["val"]


HEAD = "study_id,patient_id,path,view,split,age"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["study_id,view", "s,PA"], "no column 'path'"),
        ([HEAD], "no rows"),
        ([HEAD, "s,p,a.png,sideways,,"], "column 'view': 'sideways'; expected frontal"),
        ([HEAD, "s,p,a.png,PA,exam,"], "column 'split': 'exam'; expected train"),
        ([HEAD, "s,p,a.png,PA,,old"], "column 'age': 'old' is not a number"),
        ([HEAD, "s,p,a.png,PA,,", ",p,b.png,PA,,"], "row 2: no study_id"),
        ([HEAD, "s,p,a.png,PA,,", "t,p,a.png,PA,,"], "image_id 'a.png' is there twice"),
        ([HEAD, "s,p,a.png,PA,,", "s,q,b.png,PA,,"], "study 's' is of two patients"),
        ([HEAD, "s,p,../a.png,PA,,"], "leads out of the folder; '..' is refused"),
        ([HEAD, r"s,p,x\..\..\a.png,PA,,"], "leads out of the folder"),
        ([HEAD, "s,p,a.png,PA,train,", "t,p,b.png,PA,test,"], "patient p is in train and test"),
    ],
)
def test_bad_manifest_is_one_line(tmp_path, lines, message):
    path = write(tmp_path / "m.csv", *lines)

    with pytest.raises(InputError) as error:
        read_manifest(path)

    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_two_dots_in_a_name_are_no_way_out(tmp_path):
    path = write(tmp_path / "m.csv", "study_id,path,view", "s,a..b.png,PA")

    assert read_manifest(path).files() == [tmp_path / "a..b.png"]


def test_absolute_path_stays(tmp_path):
    path = write(tmp_path / "m.csv", "study_id,path,view", "s,/data/a.png,PA")

    assert read_manifest(path).files() == [Path("/data/a.png")]
