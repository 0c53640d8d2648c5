from pathlib import Path

import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrlabel.learned.reviewed import (
    Reviewed,
    grouped_folds,
    hash_words,
    read_reviewed,
    some_groups,
)

REPORTS = """study_id,patient,report
a,p1,Mild edema.
b,p1,Heart size is normal.
c,p2,MILD EDEMA
d,p3,No effusion.
e,,No nodule.
f,,A nodule.
"""


def read(folder: Path, manual: str, **options: str) -> Reviewed:
    (folder / "reports.csv").write_text(REPORTS)
    (folder / "manual.csv").write_text(manual)
    return read_reviewed([str(folder / "reports.csv")], folder / "manual.csv", **options)  # type: ignore[arg-type]


def rows(*lines: str) -> str:
    return "\n".join(["study_id,Edema", *lines])


def test_equal_words_and_one_patient_are_a_group(tmp_path: Path) -> None:
    found = read(tmp_path, rows("a,1", "b,0", "c,1", "d,0", "e,0", "f,0"), patient="patient")

    a, b, c, *others = found.groups.tolist()
    assert a == b == c
    assert len({a, *others}) == 4


def test_readers_who_differ_each_count_their_share(tmp_path: Path) -> None:
    manual = "study_id,reviewer,Edema\na,x,1\na,y,0\nb,x,0\n"

    found = read(tmp_path, manual)

    assert found.shares[0, 0].tolist() == [0.5, 0, 0.5, 0]


def test_an_adjudicated_reading_decides_alone(tmp_path: Path) -> None:
    manual = "study_id,reviewer,Edema\na,x,1\na,y,0\na,adjudicated,0\n"

    assert read(tmp_path, manual).shares[0, 0].tolist() == [0, 0, 1, 0]


def test_reviewed_studies_without_a_report_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, rows("a,1", "z,0"))

    assert (len(found), found.without_report) == (1, 1)


def test_no_study_in_common_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its 1 studies is among the reports"):
        read(tmp_path, rows("z,0"))


def test_a_finding_that_was_not_reviewed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--findings: 'Mass'.*manual.csv has Edema"):
        read(tmp_path, rows("a,1"), findings=("Mass",))  # type: ignore[arg-type]


def test_the_words_of_a_report_are_its_hash() -> None:
    assert hash_words([("", "No  edema.")]) == hash_words([("findings", "no edema")])
    assert hash_words([("", "No edema.")]) != hash_words([("", "Edema.")])


def test_groups_are_never_split_and_folds_are_of_equal_size() -> None:
    groups = np.repeat(np.arange(60), np.tile([1, 2, 3], 20))

    folds = grouped_folds(groups, 4, np.random.default_rng(0))

    assert all(len(set(folds[groups == group])) == 1 for group in range(60))
    assert np.bincount(folds).tolist() == [30, 30, 30, 30]


def test_too_few_groups_for_the_folds_are_refused() -> None:
    with pytest.raises(InputError, match="expected 3 or more"):
        grouped_folds(np.zeros(9, np.int64), 3, np.random.default_rng(0))


def test_some_groups_are_whole() -> None:
    groups = np.repeat(np.arange(50), 2)

    drawn = some_groups(groups, 20, np.random.default_rng(0))

    assert len(drawn) == 20
    assert len(set(groups[drawn])) == 10
