import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrvision.noise.audited import read_audited

MANUAL = """study_id,reviewer,reference,Edema,Mass
a,r1,image,1,0
b,r1,image,0,-1
c,r1,image,,1
d,r1,image,1,1
d,r2,image,0,1
e,r1,image,0,0
"""
SAMPLE = """study_id,stratum,inclusion_probability
a,s1,0.5
b,s1,0.5
c,s2,0.03
d,s2,0.03
f,s2,0.03
"""


@pytest.fixture
def files(tmp_path):
    manual, sample = tmp_path / "manual.csv", tmp_path / "sample.csv"
    manual.write_text(MANUAL)
    sample.write_text(SAMPLE)
    return manual, sample


def test_readings_become_a_truth_with_open_cells(files):
    found = read_audited(files[0])
    assert found.reference == "image"
    assert list(found.truth.index) == ["a", "b", "c", "d", "e"]
    np.testing.assert_array_equal(found.truth["Edema"], [1, 0, 0, np.nan, 0])  # d is a tie
    np.testing.assert_array_equal(found.truth["Mass"], [0, np.nan, 1, 1, 0])
    assert found.design == "the audited studies only, unweighted"


def test_known_truths_stand_for_their_whole_stratum(files):
    found = read_audited(files[0], sample=files[1])
    assert found.outside_sample == 1
    mass = found.reviewed("Mass")
    assert list(mass.ids) == ["a", "c", "d"]
    np.testing.assert_array_equal(mass.truth, [False, True, True])
    np.testing.assert_allclose(mass.weights, [4, 50, 50])  # b is open and f not reviewed
    np.testing.assert_array_equal(mass.strata, [0, 1, 1])
    assert found.design == "stratified sample of 104 studies, 2 strata"


def test_without_a_sample_each_study_counts_once(files):
    edema = read_audited(files[0]).reviewed("Edema")
    assert list(edema.ids) == ["a", "b", "c", "e"]
    assert edema.weights.tolist() == [1, 1, 1, 1]
    assert edema.strata is None


def test_other_reference_is_refused(files):
    with pytest.raises(InputError, match="no reading of the report"):
        read_audited(files[0], reference="report")


def test_reference_has_to_be_said(files):
    files[0].write_text("study_id,Edema\na,1\n")
    with pytest.raises(InputError, match=r"no column 'reference'; say by --reference"):
        read_audited(files[0])
    assert read_audited(files[0], reference="report").reference == "report"


def test_sample_of_other_studies_is_refused(files):
    files[1].write_text("study_id,stratum,inclusion_probability\nz,s1,0.5\n")
    with pytest.raises(InputError, match="none of its 5 studies is among the 1 of"):
        read_audited(files[0], sample=files[1])
