"""Probabilities of labels as a file, and as what a run trains on."""

from pathlib import Path

import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrvision.train.label_probs import read_label_probs

HEADER = "study_id,Edema positive,Edema uncertain,Edema negative,Edema blank"


def read(folder: Path, *lines: str, ids: tuple[str, ...] = ("a",)) -> np.ndarray:
    (folder / "probs.csv").write_text("\n".join([HEADER, *lines]))
    return read_label_probs(folder / "probs.csv", ids, ("Edema",))


def test_rows_go_by_id_and_columns_by_name(tmp_path: Path) -> None:
    found = read(tmp_path, "b,0,0,1,0", "a,0.7,0.1,0.1,0.1", ids=("a", "b"))

    assert found[:, 0].tolist() == [pytest.approx([0.7, 0.1, 0.1, 0.1]), [0, 0, 1, 0]]


def test_rounded_probabilities_add_up_to_one(tmp_path: Path) -> None:
    assert read(tmp_path, "a,0.3333,0.3333,0.3333,0")[0].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("b,1,0,0,0", "no row of study 'a' \\(1 of 1 are missing\\)"),
        ("a,2,0,0,0", "'Edema positive': expected a probability"),
        ("a,x,0,0,0", "'Edema positive': expected a probability"),
        ("a,0.5,0,0,0", "of 'Edema' add up to 0.500; expected 1"),
        ("a,1,0,0,0\na,1,0,0,0", "id 'a' is there twice"),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, line)


def test_a_finding_without_columns_is_one_line(tmp_path: Path) -> None:
    read(tmp_path, "a,1,0,0,0")

    with pytest.raises(InputError, match="no column 'Mass positive'"):
        read_label_probs(tmp_path / "probs.csv", ("a",), ("Mass",))
