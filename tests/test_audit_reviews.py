import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.consensus import make_consensus, truth_values
from cxrlabel.audit.reviews import read_reviews
from cxrlabel.errors import InputError

NAMES = {"edema": "Edema", "mass": "Mass", "effusion": "Pleural Effusion"}
NAN = math.nan


def resolve(name: str) -> str | None:
    """A small stand-in for `findings.resolve`."""
    return NAMES.get(name.lower())


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "manual.csv"
    path.write_text(content, encoding="utf-8")
    return path


def read(tmp_path: Path, content: str, **options):
    return read_reviews(write(tmp_path, content), resolve=resolve, **options)


def cells(table: pd.DataFrame) -> list[list[float | None]]:
    """Rows as lists, with None for NaN: NaN is not equal to itself."""
    return [[None if math.isnan(cell) else cell for cell in row] for row in table.to_numpy()]


# reading


def test_states_of_a_plain_csv_are_read(tmp_path):
    found = read(tmp_path, "uid,Edema,Effusion\n7,1,\n3,0.0,-1\n")

    assert found.id_name == "uid"
    assert list(found.states.columns) == ["Edema", "Pleural Effusion"]
    assert list(found.states.index) == [("7", ""), ("3", "")]
    assert cells(found.states) == [[1, None], [0, -1]]
    assert found.reference == ""
    assert found.reviewers == ("",)


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        ("1", 1), ("1.0", 1), (" 0 ", 0), ("-1.0", -1), ("", None), ("Present", 1), ("absent", 0),
        ("uncertain", -1), ("not mentioned", None), ("negative", 0), ("nan", None),
    ],
)  # fmt: skip
def test_spellings_of_a_state(tmp_path, cell, state):
    assert cells(read(tmp_path, f"uid,Edema,Mass\n1,{cell},0\n").states) == [[state, 0]]


def test_unknown_columns_are_not_read(tmp_path):
    found = read(tmp_path, "uid,coding,Edema,note\n1,normal,1,anything at all\n")

    assert list(found.states.columns) == ["Edema"]
    assert found.match.ignored == ["coding", "note"]


def test_row_that_is_not_evaluable_is_left_out_and_counted(tmp_path):
    found = read(tmp_path, "uid,evaluable,Edema\n1,1,1\n2,0,1\n3,1,0\n")

    assert [study for study, _ in found.states.index] == ["1", "3"]
    assert found.not_evaluable == 1


def test_reviewers_are_told_apart(tmp_path):
    found = read(tmp_path, "uid,reviewer,Edema\n1,B,1\n1,A,0\n2,A,1\n2,adjudicated,0\n")

    assert found.reviewers == ("A", "B")
    assert len(found.states) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("uid,note\n1,x\n", r"manual.csv: no column is a finding \(columns: uid, note\)"),
        ("name,Edema\n1,x\n", "manual.csv: no id column found; name it with --id"),
        ("uid,Edema\n1,2\n", r"manual.csv:2: column 'Edema': '2' is no state; expected 1, 0, -1"),
        ("uid,Edema\n1,1\n1,0\n", "manual.csv:3: id '1' is also at .*manual.csv:2; expected one"),
        (
            "uid,reviewer,Edema\n1,A,1\n1,A,0\n",
            "manual.csv:3: id '1' by reviewer 'A' is also at .*manual.csv:2",
        ),
        ("uid,Edema,edema\n1,1,1\n", "columns 'Edema' and 'edema' both mean 'Edema'"),
        ("uid,evaluable,Edema\n1,0,1\n", "manual.csv: no reviewed study"),
        ("uid,reference,Edema\n1,film,1\n", "column 'reference': 'film'; expected report or image"),
        ("uid,reference,Edema\n1,report,1\n2,image,0\n", "readings of reports and of images"),
        ("uid,reference,Edema\n1,report,1\n2,,0\n", "some rows have a reference and some none"),
    ],
)
def test_wrong_file_is_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_report_text_in_a_finding_column_is_not_quoted(tmp_path):
    text = "Moderate interstitial edema with small effusions."
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"uid,Edema\n1,{text}\n")
    assert "interstitial" not in str(caught.value).lower()


def test_one_reference_is_chosen_and_the_other_counted(tmp_path):
    content = "uid,reference,Edema\n1,report,1\n1,image,0\n2,Image,1\n"
    found = read(tmp_path, content, reference="image")

    assert found.reference == "image"
    assert cells(found.states) == [[0], [1]]
    assert found.other_reference == 1


def test_reference_is_what_the_caller_says_where_the_file_is_silent(tmp_path):
    assert read(tmp_path, "uid,Edema\n1,1\n", reference="report").reference == "report"


def test_reference_that_the_file_does_not_have_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no reading of the image"):
        read(tmp_path, "uid,reference,Edema\n1,report,1\n", reference="image")


# as truth

FOUR = "uid,Edema,Mass\n1,1,0\n2,,-1\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[1, 0], [0, None]]),
        ({"blank": "open"}, [[1, 0], [None, None]]),
        ({"uncertain": "positive"}, [[1, 0], [0, 1]]),
        ({"uncertain": "negative"}, [[1, 0], [0, 0]]),
    ],
)
def test_blank_and_uncertain_are_read_as_told(tmp_path, options, expected):
    assert cells(truth_values(read(tmp_path, FOUR), **options)) == expected


def test_ambiguous_cells_are_open_only_on_request(tmp_path):
    found = read(tmp_path, "uid,Edema,Mass,Edema__amb,Mass__amb\n1,1,0,1,0\n2,0,1,0,0\n")

    assert cells(truth_values(found)) == [[1, 0], [0, 1]]
    assert cells(truth_values(found, open_ambiguous=True)) == [[None, 0], [0, 1]]


# consensus


def votes(tmp_path: Path, *readings: str) -> Path:
    rows = "".join(f"7,{reader},{cell}\n" for reader, cell in zip("ABCDE", readings, strict=False))
    return write(tmp_path, f"uid,reviewer,Edema\n{rows}")


@pytest.mark.parametrize(
    ("rule", "readings", "expected"),
    [
        ("majority", ("1", "1", "0"), 1),
        ("majority", ("1", "0", "0"), 0),
        ("majority", ("1", "0"), None),
        ("majority", ("1", "-1", "0", "1"), 1),
        ("any", ("0", "0", "1"), 1),
        ("any", ("0", "-1"), 0),
        ("all", ("1", "1", "0"), 0),
        ("all", ("1", "1", "-1"), 1),
        ("first", ("0", "1", "1"), 0),
        ("majority", ("-1", "-1"), None),
        ("all", ("-1",), None),
    ],
)
def test_rule_decides_between_readings(tmp_path, rule, readings, expected):
    found = make_consensus(read_reviews(votes(tmp_path, *readings), resolve=resolve), rule=rule)

    assert cells(found.truth) == [[expected]]


def test_tie_is_counted_and_open(tmp_path):
    found = make_consensus(read_reviews(votes(tmp_path, "1", "0"), resolve=resolve))

    assert found.ties == 1
    assert found.several == 1


def test_adjudicated_row_decides_alone(tmp_path):
    content = "uid,reviewer,Edema,Mass\n7,A,1,1\n7,B,1,1\n7,adjudicated,0,1\n8,A,1,0\n"
    found = make_consensus(read(tmp_path, content), rule="any")

    assert cells(found.truth) == [[0, 1], [1, 0]]
    assert found.reviewers == ("A", "B")
    assert found.several == 1


def test_consensus_is_sorted_by_id(tmp_path):
    found = make_consensus(read(tmp_path, "uid,Edema\n9,1\n10,0\n2,1\n"))

    assert list(found.truth.index) == ["10", "2", "9"]
    assert found.truth["Edema"].tolist() == [0, 1, 1]


def test_common_state_keeps_the_four_states(tmp_path):
    content = (
        "uid,reviewer,Edema\n1,A,-1\n1,B,-1\n1,C,1\n2,A,\n2,B,\n3,A,0\n3,B,\n4,A,0\n4,B,0\n5,A,1\n"
    )
    found = make_consensus(read(tmp_path, content))

    assert found.four_states
    assert cells(found.states) == [[-1], [None], [None], [0], [1]]
    assert found.agreed["Edema"].tolist() == [True, True, False, True, True]


def test_review_of_two_states_has_not_four(tmp_path):
    assert not read(tmp_path, "uid,Edema,Mass\n1,1,\n2,0,1\n").four_states


def test_no_reading_is_no_truth(tmp_path):
    found = make_consensus(read(tmp_path, "uid,Edema,Mass\n1,,1\n"), blank="open")

    assert np.isnan(found.truth.loc["1", "Edema"])
    assert found.ties == 0
