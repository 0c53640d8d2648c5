import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrvision.evaluate.cases import join, load_labels, take_split
from cxrvision.evaluate.predictions import read_predictions

PREDICTIONS = "study_id,split,Edema,Mass\na,val,.1,.5\nb,test,.2,.6\nc,test,.3,.7\nd,test,.4,.8\n"
LABELS = "study_id,patient_id,Edema,Mass\nb,p1,1,\nc,p1,-1,0\nd,p2,0,1\na,p3,,1\ne,p4,1,1\n"


@pytest.fixture
def cases(tmp_path):
    def make(predictions=PREDICTIONS, labels=LABELS, *, patient=None, **options):
        for name, text in (("p.csv", predictions), ("l.csv", labels)):
            (tmp_path / name).write_text(text)
        found = read_predictions(tmp_path / "p.csv", id_column=options.get("id_column"))
        table = load_labels(tmp_path / "l.csv", predictions=[found], **options)
        return join(found, table, patient=patient)

    return make


def test_studies_with_both_are_joined_in_the_order_of_the_predictions(cases):
    found = cases()
    assert found.ids == ("a", "b", "c", "d")
    assert found.probs[:, 0].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_uncertain_and_blank_are_left_out_by_finding(cases):
    truth = cases().truth
    assert np.isnan(truth[:, 0]).tolist() == [True, False, True, False]
    assert np.isnan(truth[:, 1]).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("options", "edema"),
    [
        ({"uncertain": "ones"}, [np.nan, 1, 1, 0]),
        ({"uncertain": "zeros"}, [np.nan, 1, 0, 0]),
        ({"blank": "zeros"}, [0, 1, np.nan, 0]),
    ],
)
def test_policy_is_applied(cases, options, edema):
    assert cases(**options).truth[:, 0].tolist() == pytest.approx(edema, nan_ok=True)


def test_unknown_policy_is_refused(cases):
    with pytest.raises(InputError, match="--uncertain: 'smooth'; expected one of ignore, zeros"):
        cases(uncertain="smooth")


def test_patient_with_a_usual_name_is_taken_from_the_labels(cases):
    assert cases().patients.tolist() == [2, 0, 0, 1]


def test_patient_may_be_named(cases):
    labels = LABELS.replace("patient_id", "Patient ID")
    assert cases(labels=labels, patient="Patient ID").number_of_patients == 3


def test_unnamed_patient_is_unknown(cases):
    found = cases(labels=LABELS.replace("patient_id", "ward"))
    assert found.patients is None
    assert found.number_of_patients == 4


def test_patient_column_that_is_not_there_is_refused(cases):
    with pytest.raises(InputError, match="no column 'mrn', which --patient names"):
        cases(patient="mrn")


def test_study_without_a_patient_is_refused(cases):
    with pytest.raises(InputError, match="study 'd' has no patient in column 'patient_id'"):
        cases(labels=LABELS.replace("d,p2", "d,"))


def test_no_common_id_is_refused(cases):
    labels = "study_id,Edema,Mass\ns1,1,1\n"
    with pytest.raises(InputError, match=r"expected the same ids \(found 'a' here, 's1' there\)"):
        cases(labels=labels)


def test_no_common_finding_is_refused(cases):
    with pytest.raises(InputError, match="no finding of"):
        cases(labels="study_id,Hernia\na,1\n")


def test_finding_that_nobody_knows_is_joined(cases):
    found = cases("study_id,prob_Tuberculosis\na,.5\n", "study_id,Tuberculosis\na,1\n")
    assert found.findings == ("Tuberculosis",)


def test_nih_labels_are_joined_with_what_they_know(cases):
    labels = (
        "Image Index,Finding Labels,Patient ID,View Position,Patient Gender\n"
        "1.png,Mass|Edema,7,PA,F\n2.png,No Finding,7,AP,M\n"
    )
    predictions = "Image Index,prob_Edema\n1.png,.9\n2.png,.2\n"
    found = cases(predictions, labels, id_column="Image Index", patient="Patient ID")
    assert found.truth[:, 0].tolist() == [1, 0]
    assert found.number_of_patients == 1
    assert found.known["view_position"].tolist() == ["PA", "AP"]


def test_split_is_test_where_there_is_one(cases):
    found, name = take_split(cases(), "")
    assert (found.ids, name) == (("b", "c", "d"), "test")


def test_split_all_takes_all(cases):
    found, name = take_split(cases(), "all")
    assert (len(found.ids), name) == (4, "")


def test_split_without_studies_is_refused(cases):
    with pytest.raises(InputError, match=r"--split dev: no study .*\(splits: test, val\)"):
        take_split(cases(), "dev")


def test_table_without_splits_is_taken_whole(cases):
    found, name = take_split(cases(PREDICTIONS.replace("split", "ward")), "")
    assert (len(found.ids), name) == (4, "")
