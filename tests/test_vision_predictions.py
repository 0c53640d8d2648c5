import re

import pytest

from cxrlabel.errors import InputError
from cxrvision.evaluate.predictions import blend, read_predictions


@pytest.fixture
def table(tmp_path):
    def write(text, name="predictions.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_columns_may_have_the_prefix_prob(table):
    found = read_predictions(table("study_id,prob_Effusion,Edema\n007,.25,1\n"))
    assert found.findings == ("Pleural Effusion", "Edema")
    assert found.ids == ("007",)
    assert found.probs.tolist() == [[0.25, 1]]
    assert found.columns == {"Pleural Effusion": "prob_Effusion", "Edema": "Edema"}


def test_run_folder_is_read(table):
    path = table("study_id,Edema\na,.5\n", "run/predictions.csv")
    assert read_predictions(path.parent).ids == ("a",)


def test_finding_that_nobody_knows_is_read_by_its_prefix(table):
    found = read_predictions(table("study_id,prob_Tuberculosis,age\na,.5,77\n"))
    assert found.findings == ("Tuberculosis",)


def test_what_is_known_of_a_study_is_kept_as_text(table):
    text = "study_id,patient_id,split,views,View Position,Sex,Edema\na,007,val,frontal,PA,NA,.5\n"
    known = read_predictions(table(text)).known.iloc[0].to_dict()
    assert known == {
        "patient_id": "007", "split": "val", "views": "frontal", "view_position": "PA", "sex": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("1.5", "'1.5'"), ("-.1", "'-.1'"), ("NaN", "a blank cell"), ("", "a blank cell"),
     ("inf", "'inf'"), ("high", "'high'")],
)  # fmt: skip
def test_what_is_no_probability_is_refused(table, cell, shown):
    path = table(f"study_id,Edema\na,.5\nb,{cell}\n")
    line = f"{path}:3: column 'Edema': {shown}; expected a probability from 0 to 1"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        read_predictions(path)


def test_id_twice_is_refused(table):
    with pytest.raises(InputError, match=r":4: id 'a' is also at .*:2; expected it once"):
        read_predictions(table("study_id,Edema\na,.5\nb,.5\na,.5\n"))


def test_same_views_twice_are_refused(table):
    with pytest.raises(InputError, match="id 'a' with views 'frontal' is also at"):
        read_predictions(table("study_id,views,Edema\na,frontal,.5\na,frontal,.4\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study_id,age\na,5\n", "no column is a finding"),
        ("name,Edema\na,.5\n", "no id column found; name it with --id"),
        ("study_id,Edema\n", "the table has no rows"),
        ("study_id,Edema,prob_Edema\na,.5,.5\n", "both mean 'Edema'"),
    ],
)
def test_table_without_what_is_needed_is_refused(table, text, message):
    with pytest.raises(InputError, match=message):
        read_predictions(table(text))


VIEWS = """\
study_id,views,Edema
a,frontal,.1
a,frontal+lateral,.2
a,lateral,.3
b,frontal,.4
"""


def test_rows_of_takes_all_views_of_each_study(table):
    assert read_predictions(table(VIEWS)).rows_of() == {"a": 1, "b": 3}


def test_rows_of_one_view(table):
    found = read_predictions(table(VIEWS))
    assert found.rows_of("lateral") == {"a": 2}
    assert found.rows_of("frontal") == {"a": 0, "b": 3}


def test_study_with_single_views_alone_is_refused(table):
    found = read_predictions(table("study_id,views,Edema\na,frontal,.1\na,lateral,.3\n"))
    with pytest.raises(InputError, match="id 'a' has rows for 'frontal' and 'lateral'"):
        found.rows_of()


def test_blend_is_the_mean_of_common_studies(table):
    first = read_predictions(table("study_id,Edema,Mass\na,.2,.1\nb,.4,.1\n", "1.csv"))
    second = read_predictions(table("study_id,Mass,Edema\nc,0,0\nb,.1,.6\n", "2.csv"))
    ids, probs = blend(first, second, ["Edema"])
    assert ids == ["b"]
    assert probs.tolist() == [[0.5]]
