import importlib.util
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.compare import cells_of, compare, study_weights
from cxrlabel.audit.consensus import Consensus, make_consensus
from cxrlabel.audit.design import make_sample
from cxrlabel.audit.estimates import estimate_cells, estimate_findings, metrics_table
from cxrlabel.audit.reviews import read_reviews
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels

NAN = math.nan
ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CXR_DATA") or ROOT.parent / "shared" / "data")
SCORE = DATA.parent / "bench" / "score_labels.py"


def table(ids: str, **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(ids.split(), name="uid"))


def review(truth: pd.DataFrame, **fields) -> Consensus:
    base = {
        "id_name": "uid", "reference": "report", "rule": "majority", "reviewers": ("",),
        "truth": truth, "states": truth, "agreed": truth.notna(), "four_states": False,
        "several": 0, "ties": 0, "not_evaluable": 0,
    }  # fmt: skip
    return Consensus(**(base | fields))


def sample(strata: dict[str, tuple[float, str]]):
    """Stratum -> inclusion probability and ids."""
    rows = [(i, name, p) for name, (p, ids) in strata.items() for i in ids.split()]
    frame = pd.DataFrame(rows, columns=["uid", "stratum", "inclusion_probability"])
    return make_sample(frame.set_index("uid"))


LABELS = table("a b c d e", Edema=[1, 0, -1, NAN, 1], Mass=[0, 0, 1, NAN, NAN])


def test_studies_of_both_are_compared_and_the_others_counted():
    found = compare(LABELS, review(table("e b x a y", Edema=[1, 0, 1, 0, 0], Hernia=[0] * 5)))

    assert list(found.labels.index) == list(found.truth.index) == ["a", "b", "e"]
    assert found.findings == ("Edema",)
    assert (found.labeled_only, found.reviewed_only) == (2, 2)
    assert (found.label_findings, found.review_findings) == (("Mass",), ("Hernia",))
    assert found.design == "simple random sample, unweighted"


@pytest.mark.parametrize(
    ("reading", "counts"), [("negative", [2, 0, 1, 2]), ("positive", [3, 0, 0, 2])]
)
def test_uncertain_is_counted_both_ways_and_blank_as_negative(reading, counts):
    found = compare(LABELS, review(table("a b c d e", Edema=[1, 0, 1, 0, 1])))

    assert estimate_cells(cells_of(found, "Edema", reading)).counts.tolist() == counts


def test_open_truth_is_left_out_of_its_finding_alone():
    truth = table("a b c d e", Edema=[1, NAN, 1, 0, NAN], Mass=[0, 0, 1, 0, 1])
    rows = metrics_table(estimate_findings(compare(LABELS, review(truth))))

    assert rows.set_index(["finding", "uncertain_as"])["n"].to_dict() == {
        ("Edema", "negative"): 3, ("Edema", "positive"): 3,
        ("Mass", "negative"): 5, ("Mass", "positive"): 5,
    }  # fmt: skip


def test_sample_gives_weights_and_leaves_out_what_it_does_not_have():
    drawn = sample({"rare": (1.0, "a c"), "rest": (0.25, "b d")})
    found = compare(LABELS, review(table("a b c d e", Edema=[1, 0, 1, 1, 1])), sample=drawn)
    measured = estimate_cells(cells_of(found, "Edema", "negative"))

    assert list(found.labels.index) == ["a", "b", "c", "d"]
    assert found.outside_sample == 1
    assert study_weights(found, np.ones(4, dtype=bool)).tolist() == [1, 4, 1, 4]
    # tp a 1; fn c 1 and d 4; tn b 4
    assert measured.values[0] == pytest.approx(1 / 6)
    assert measured.values[5] == pytest.approx(6 / 10)
    assert found.design == "stratified sample of 10 studies, 2 strata"


def test_reviewed_part_of_a_stratum_stands_for_all_of_it():
    drawn = sample({"rare": (1.0, "a c"), "rest": (0.25, "b d")})
    found = compare(LABELS, review(table("a c d", Edema=[1, 1, 1])), sample=drawn)

    assert found.not_reviewed == 1
    assert study_weights(found, np.ones(3, dtype=bool)).tolist() == [1, 1, 8]
    assert study_weights(found, np.array([True, False, True])).tolist() == [2, 8]


def test_states_of_the_population_are_known_where_the_sample_is_from_these_labels():
    drawn = sample({"rare": (1.0, "a c"), "rest": (2 / 3, "b d")})  # of 3: b d e
    truth = review(table("a b c d", Edema=[1, 0, 1, 1]))
    found = compare(LABELS, truth, sample=drawn)
    other = compare(LABELS.drop(index="e"), truth, sample=drawn)

    assert found.population["Edema"].to_dict() == {
        "positive": 2, "uncertain": 1, "negative": 1, "blank": 1,
    }  # fmt: skip
    assert other.population is None


def test_patients_are_joined_by_study():
    patients = pd.Series({"a": "p1", "b": "p2", "c": "p1", "d": "p3", "e": "p3"})
    found = compare(LABELS, review(table("e c a", Edema=[1, 0, 1])), patients=patients)

    assert found.patients[0] == found.patients[1] != found.patients[2]


def test_study_without_patient_is_an_error():
    with pytest.raises(InputError, match=r"study 'b' \(1 in all\) has no patient"):
        compare(LABELS, review(table("a b", Edema=[1, 0])), patients=pd.Series({"a": "p1"}))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (table("a b", Hernia=[1, 0]), r"no finding is both labeled \(Edema, Mass\) and reviewed"),
        (table("x y", Edema=[1, 0]), "none of its 5 studies is among the 2 reviewed ones"),
        (table("a b", Edema=[NAN, NAN]), "none of the 2 reviewed studies has a truth"),
    ],
)
def test_tables_without_anything_in_common_are_an_error(truth, message):
    with pytest.raises(InputError, match=message):
        compare(LABELS, review(truth))


# real reports


@pytest.fixture(scope="module")
def openi_labels(cxr, tmp_path_factory):
    """Our labels of every third Open-i report, as a file."""
    if not (DATA / "openi" / "human_codes.csv").exists():
        pytest.skip(f"no real reports in {DATA} (CXR_DATA)")
    folder = tmp_path_factory.mktemp("openi")
    reports = pd.read_csv(DATA / "openi" / "reports.csv", dtype=str, keep_default_na=False)
    reports[::3].to_csv(folder / "reports.csv", index=False)
    options = ("--id", "uid", "--labelset", "all", "-o", folder / "labels.csv")
    done = cxr("label", folder / "reports.csv", *options)
    assert done.exit_code == 0, done.output
    return folder / "labels.csv"


def official(labels: Path, uncertain: str, drop_ambiguous: bool) -> dict[str, list[int]]:
    """tp, fp, fn by finding, from the project's own scoring script."""
    if not SCORE.exists():
        pytest.skip(f"no {SCORE}")
    spec = importlib.util.spec_from_file_location("score_labels", SCORE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pred, columns, _ = module.read_pred(labels)
    gold = module.read_gold(DATA / "openi" / "human_codes.csv", "all")
    gold = [row for row in gold if row["uid"] in pred]
    names = module.SETS["all18"]
    tp, fp, fn, use, _, keep = module.matrices(
        gold, pred, columns, names, uncertain, drop_ambiguous, False
    )
    sums = np.stack([tp.sum(0), fp.sum(0), fn.sum(0), use.sum(0)], axis=1)
    return {resolve(name): row.tolist() for name, row in zip(keep, sums, strict=True)}


@pytest.mark.parametrize("drop_ambiguous", [False, True])
@pytest.mark.parametrize(("reading", "uncertain"), [("negative", "0"), ("positive", "1")])
def test_counts_on_open_i_are_those_of_the_scoring_script(
    openi_labels, reading, uncertain, drop_ambiguous
):
    labels = read_labels(openi_labels, resolve=resolve).table
    codes = read_reviews(DATA / "openi" / "human_codes.csv", reference="report", resolve=resolve)
    found = compare(labels, make_consensus(codes, open_ambiguous=drop_ambiguous))
    expected = official(openi_labels, uncertain, drop_ambiguous)

    counts = {}
    for finding in expected:
        tp, fp, fn, tn = estimate_cells(cells_of(found, finding, reading)).counts.tolist()
        counts[finding] = [tp, fp, fn, tp + fp + fn + tn]
    assert counts == expected
    assert len(counts) == 18
    assert found.review.not_evaluable == 67
