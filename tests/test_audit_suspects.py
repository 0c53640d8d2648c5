import sys

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.sampling import draw_sample
from cxrlabel.audit.suspects import (
    Suspects,
    draw_suspects,
    find_suspects,
    read_predictions,
    suspect_cells,
    write_suspects,
)
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve


def make_tables(n: int = 1_000) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Truths, labels of which a tenth of the positives and 2 % of the others are wrong, scores."""
    rng = np.random.default_rng(4)
    ids = pd.Index([f"s{i}" for i in range(n)], name="uid")
    shape, names = (n, 2), ["Edema", "Mass"]
    truth = rng.random(shape) < [0.2, 0.1]
    wrong = rng.random(shape) < np.where(truth, 0.1, 0.02)
    scores = 1 / (1 + np.exp(-(rng.normal(size=shape) + np.where(truth, 1, -2.5))))
    labels = np.where(truth ^ wrong, 1.0, rng.choice([0, np.nan, -1], shape, p=[0.3, 0.68, 0.02]))
    return tuple(pd.DataFrame(t, index=ids, columns=names) for t in (truth, labels, scores))


TRUTH, LABELS, SCORES = make_tables()
SUSPECTS = find_suspects(LABELS, SCORES)


def one(labels: list[float], scores: list[float]) -> Suspects:
    ids = pd.Index(list("abcdefghij")[: len(labels)], name="uid")
    return find_suspects(
        pd.DataFrame({"Edema": labels}, index=ids), pd.DataFrame({"Edema": scores}, index=ids)
    )


# ranking


def test_label_is_doubted_where_the_other_class_is_as_likely_as_in_its_own_studies():
    # t of positive: (.9 + .7 + .2) / 3 = .6; of the others: (.9 + .8 + .25 + .95) / 4 = .725
    suspects = one([1, 1, 1, 0, np.nan, 0, 0], [0.9, 0.7, 0.2, 0.1, 0.2, 0.75, 0.05])

    assert suspects.table.index.tolist() == ["f", "c"]
    assert suspects.table["label"].tolist() == ["negative", "positive"]
    assert suspects.table["probability"].tolist() == [0.75, 0.2]
    # (.75 - .6) - (.25 - .725) and (.8 - .725) - (.2 - .6)
    assert suspects.table["margin"].tolist() == pytest.approx([0.625, 0.475])


def test_most_doubted_label_comes_first():
    assert SUSPECTS.table["margin"].is_monotonic_decreasing
    assert len(SUSPECTS.table) > 30


def test_order_of_rows_does_not_matter():
    shuffled = find_suspects(LABELS.sample(frac=1, random_state=1), SCORES[::-1])

    pd.testing.assert_frame_equal(shuffled.table, SUSPECTS.table)


def test_doubted_labels_are_wrong_far_more_often():
    given = LABELS == 1
    wrong = (given != TRUTH) & (LABELS != -1)
    doubted = [wrong.loc[i, f] for i, f in SUSPECTS.table["finding"].items()]

    assert wrong.to_numpy().mean() < 0.05
    assert np.mean(doubted[:20]) > 0.7
    assert np.mean(doubted) > 0.25


def test_uncertain_label_is_never_doubted():
    suspects = one([1, 1, 0, 0, -1, -1], [0.9, 0.8, 0.1, 0.2, 0.99, 0.01])

    assert suspects.table.empty


def test_blank_label_counts_as_not_positive():
    suspects = one([1, 1, 0, 0, np.nan], [0.9, 0.8, 0.1, 0.2, 0.99])

    assert suspects.table["label"].to_dict() == {"e": "blank"}


@pytest.mark.parametrize(
    ("labels", "scores", "why"),
    [
        ([0, np.nan, 0], [0.1, 0.2, 0.3], "all of one class"),
        ([1, 1, -1], [0.1, 0.2, 0.3], "all of one class"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], "no higher probability"),
        ([1, 0], [0.5, 0.5], "no higher probability"),
    ],
)
def test_finding_that_cannot_be_compared_is_left_out_with_its_reason(labels, scores, why):
    suspects = one(labels, scores)

    assert suspects.findings == ()
    assert why in suspects.left_out["Edema"]
    assert suspects.table.empty


def test_studies_without_prediction_are_counted():
    suspects = find_suspects(LABELS, SCORES[:900])

    assert (suspects.studies, suspects.unpredicted) == (900, 100)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (SCORES.rename(columns={"Edema": "Hernia", "Mass": "Fracture"}), "no finding of the"),
        (SCORES.rename(index="x{}".format), "no study of the labels"),
    ],
)
def test_predictions_of_something_else_are_an_error(predictions, message):
    with pytest.raises(InputError, match=message):
        find_suspects(LABELS, predictions)


# cleanlab


def test_missing_cleanlab_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)

    with pytest.raises(InputError, match=r"--method cleanlab: .* extra 'cleanlab'"):
        find_suspects(LABELS, SCORES, method="cleanlab")


def test_unknown_method_is_an_error():
    with pytest.raises(InputError, match="--method: 'best'; expected one of margin, cleanlab"):
        find_suspects(LABELS, SCORES, method="best")


def test_cleanlab_ranks_by_the_same_margin():
    pytest.importorskip("cleanlab", reason="the extra 'cleanlab' is not installed")
    suspects = find_suspects(LABELS, SCORES, method="cleanlab")

    key = ["finding", "margin", "label"]
    both = suspects.table[key].reset_index().merge(SUSPECTS.table[key].reset_index())
    assert len(both) > 0.5 * len(suspects.table)
    assert suspects.table["margin"].is_monotonic_decreasing


def test_what_cleanlab_doubts_by_confident_learning_we_doubt():
    find = pytest.importorskip("cleanlab.filter", reason="the extra 'cleanlab' is not installed")
    known = (LABELS["Edema"] != -1).to_numpy()
    given = (LABELS["Edema"] == 1).to_numpy()[known].astype(int)
    p = SCORES["Edema"].to_numpy()[known]
    mask = find.find_label_issues(
        given, np.column_stack([1 - p, p]), filter_by="confident_learning", n_jobs=1
    )

    theirs = set(LABELS.index[known][mask])
    ours = set(SUSPECTS.table.index[SUSPECTS.table["finding"] == "Edema"])
    assert len(theirs) > 10
    assert theirs <= ours


# the sample


def test_cells_split_doubted_labels_by_direction_and_rank():
    cells = suspect_cells(SUSPECTS, LABELS.index, top=3)

    for finding in ("Edema", "Mass"):
        counts = cells[finding].value_counts()
        assert counts["most doubted positive"] == counts["most doubted negative"] == 3
        rows = SUSPECTS.table[SUSPECTS.table["finding"] == finding]
        assert counts.sum() - counts["not doubted"] == len(rows)
        first = rows[rows["label"] == "positive"].index[:3]
        assert (cells.loc[first, finding] == "most doubted positive").all()


def test_most_doubted_studies_are_drawn_for_certain():
    sample = draw_suspects(SUSPECTS, LABELS.index, n=80, seed=1).table

    assert len(sample) == 80
    for _, rows in SUSPECTS.table.groupby("finding"):
        for part in (rows[rows["label"] == "positive"], rows[rows["label"] != "positive"]):
            assert (sample["inclusion_probability"].reindex(part.index[:3]) == 1).all()


def test_sample_finds_more_errors_than_a_random_one():
    wrong = (((LABELS == 1) != TRUTH) & (LABELS != -1)).any(axis=1)
    sample = draw_suspects(SUSPECTS, LABELS.index, n=80, seed=1).table

    assert wrong.reindex(sample.index).mean() > 3 * wrong.mean()


@pytest.mark.parametrize("n", [2, 5, 999, 1000, 5000])
def test_sample_of_any_size_is_drawn(n):
    sample = draw_suspects(SUSPECTS, LABELS.index, n=n, seed=1)

    assert len(sample.table) == min(n, 1000)
    assert sample.table["weight"].sum() == pytest.approx(1000)


def test_sample_is_drawn_where_nothing_is_doubted():
    suspects = one([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2])

    sample = draw_suspects(suspects, pd.Index(list("abcd"), name="uid"), n=2, seed=1)

    assert sample.table["inclusion_probability"].tolist() == [0.5, 0.5]


def test_sample_is_of_all_studies():
    with pytest.raises(ValueError, match="expected all studies"):
        draw_suspects(SUSPECTS, LABELS.index[:100], n=80, seed=1)


def test_drawn_sample_is_that_of_its_cells():
    """One design for all draws: what is proven in test_audit_sampling.py holds here."""
    drawn = draw_suspects(SUSPECTS, LABELS.index, n=80, seed=1)
    tops = [draw_sample(suspect_cells(SUSPECTS, LABELS.index, top=t), n=80, seed=1, floor=0.25)
            for t in range(1, 20)]  # fmt: skip

    assert sum(drawn.table.equals(other.table) for other in tops) >= 1


def test_weighted_error_rate_is_unbiased():
    wrong = (((LABELS == 1) != TRUTH) & (LABELS != -1)).any(axis=1)
    weighted, unweighted = [], []
    for seed in range(120):
        sample = draw_suspects(SUSPECTS, LABELS.index, n=80, seed=seed).table
        found = wrong.reindex(sample.index)
        weighted.append((found * sample["weight"]).sum() / 1000)
        unweighted.append(found.mean())

    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - wrong.mean()) < 3.5 * error
    assert abs(np.mean(unweighted) - wrong.mean()) > 15 * error


# files


def test_suspects_are_written_in_their_order(tmp_path):
    write_suspects(tmp_path / "suspects.csv", SUSPECTS)

    table = pd.read_csv(tmp_path / "suspects.csv", index_col="uid")
    assert table.columns.tolist() == ["finding", "label", "probability", "margin"]
    assert table.index.tolist() == SUSPECTS.table.index.tolist()


def test_predictions_are_read_with_and_without_prefix(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("uid,prob_Edema,Mass,site\n007,0.25,,A\n8,1,0,B\n")

    table = read_predictions(path, resolve=resolve)

    assert table.index.name == "uid"
    expected = pd.DataFrame({"Edema": [0.25, 1], "Mass": [np.nan, 0]}, index=["007", "8"])
    pd.testing.assert_frame_equal(table.rename_axis(None), expected, check_index_type=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("uid,site\n1,A\n", "no column is a finding"),
        ("name,Edema\n1,0.5\n", "no id column found"),
        ("uid,Edema\n1,1.2\n", "p.csv:2: column 'Edema': '1.2' is no probability"),
        ("uid,Edema\n1,-3\n", "p.csv:2: column 'Edema': '-3' is no probability"),
        ("uid,Edema\n1,high\n", "'high' is no probability; expected 0 to 1 or blank"),
        ("uid,Edema\n1,0.5\n1,0.5\n", "p.csv:3: id '1' comes twice"),
    ],
)
def test_bad_predictions_are_an_error_with_their_place(tmp_path, content, message):
    path = tmp_path / "p.csv"
    path.write_text(content)

    with pytest.raises(InputError, match=message):
        read_predictions(path, resolve=resolve)
