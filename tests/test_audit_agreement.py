import math

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.agreement import (
    ALL,
    STATES,
    chexpert_tasks,
    reader_errors,
    reviewer_agreement,
)
from cxrlabel.audit.compare import compare
from cxrlabel.audit.consensus import Consensus
from cxrlabel.audit.dawid_skene import dawid_skene
from cxrlabel.audit.kappa import cohen_kappa, fleiss_kappa, pooled_cohen, pooled_kappa

NAN = math.nan


def pairs(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Two readers' categories with this table of counts."""
    counts = np.array(table)
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    return cells // counts.shape[1], cells % counts.shape[1]


def readers(
    rng: np.random.Generator, truth: np.ndarray, sensitivity: list[float], specificity: list[float]
) -> np.ndarray:
    """[n, R] readings with these rates."""
    n, count = len(truth), len(sensitivity)
    right = rng.random((n, count)) < np.where(truth[:, None], sensitivity, specificity)
    return np.where(right, truth[:, None], ~truth[:, None]).astype(np.int64)


# kappa


def test_cohen_of_a_table_by_hand():
    found = cohen_kappa(*pairs([[20, 5], [10, 15]]), 2)

    assert (found.n, found.agreement) == (50, pytest.approx(0.7))
    assert found.value == pytest.approx((0.7 - 0.5) / 0.5)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    "counts",
    [
        [[4_000, 700, 300], [500, 3_000, 600], [200, 400, 2_300]],
        [[900, 1_500, 300], [2_400, 800, 900], [300, 2_000, 500]],
    ],
    ids=["agree", "differ"],
)
def test_limits_are_symmetric_standard_errors_where_there_are_many_studies(counts):
    table = np.array(counts)
    found = cohen_kappa(*pairs(table.tolist()), 3)
    # the standard error by drawing the table again
    drawn = np.random.default_rng(1).multinomial(
        table.sum(), table.ravel() / table.sum(), size=4_000
    )
    shares = drawn.reshape(-1, 3, 3) / table.sum()
    agreed = np.einsum("bii->b", shares)
    chance = np.einsum("bi,bi->b", shares.sum(axis=1), shares.sum(axis=2))
    error = ((agreed - chance) / (1 - chance)).std()

    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.04)


def test_perfect_agreement_is_not_certain():
    found = cohen_kappa(*pairs([[36, 0], [0, 4]]), 2)

    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(1 - 0.0876 / 0.18, abs=0.001)  # Wilson of 0 in 40, chance .18


@pytest.mark.parametrize("table", [[[9, 0], [0, 0]], [[0, 0], [0, 0]]])
def test_kappa_of_one_category_or_nothing_is_not_defined(table):
    assert math.isnan(cohen_kappa(*pairs(table), 2).value)


@pytest.mark.parametrize(("n", "prevalence"), [(150, 0.3), (400, 0.1)])
def test_kappa_limits_cover(n, prevalence):
    table = np.zeros((2, 2))
    for share, hit in ((prevalence, 0.85), (1 - prevalence, 0.03)):
        table += share * np.outer([1 - hit, hit], [1 - hit, hit])
    chance = table.sum(axis=0) @ table.sum(axis=1)
    true = (np.trace(table) - chance) / (1 - chance)
    drawn = np.random.default_rng(2).multinomial(n, table.ravel(), size=1_000)
    cohen = [cohen_kappa(*pairs(row.reshape(2, 2).tolist()), 2) for row in drawn]
    both = [np.repeat([[2, 0], [1, 1], [1, 1], [0, 2]], row, axis=0) for row in drawn]
    fleiss = [fleiss_kappa(counts) for counts in both]

    for found in (cohen, fleiss):
        assert 0.93 <= np.mean([x.low <= true <= x.high for x in found]) <= 0.97


def test_fleiss_of_the_published_example():
    # ten subjects, fourteen raters, five categories: the worked example with kappa 0.210
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    found = fleiss_kappa(counts)

    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.low < 0.210 < found.high


def test_fleiss_leaves_out_studies_of_one_reader():
    counts = [[2, 0], [0, 2], [1, 1], [3, 0]]
    assert fleiss_kappa([*counts, [1, 0], [0, 0]]) == fleiss_kappa(counts)


def test_pooled_kappa_is_of_mean_agreement_and_mean_chance():
    common = np.repeat([[2, 0], [0, 2], [1, 1]], [10, 8, 2], axis=0)
    rare = np.repeat([[2, 0], [0, 2], [1, 1]], [18, 1, 1], axis=0)
    found = pooled_kappa([common, rare])
    # disagreement .1 and .05; by chance 1 - (.55**2 + .45**2) and 1 - (.925**2 + .075**2)
    assert found.value == pytest.approx(1 - (0.1 + 0.05) / (0.495 + 0.13875))


def test_pooled_kappa_of_two_readers_uses_the_chance_of_each():
    one = np.repeat([[1, 0], [0, 0], [1, 1]], [6, 10, 4], axis=0)  # [n, findings]
    two = np.repeat([[1, 0], [0, 1], [0, 1]], [6, 10, 4], axis=0)
    found = pooled_cohen(one, two, 2)
    # disagreement .2 and .5; by chance 1 - (.5 * .3 + .5 * .7) and 1 - (.2 * .7 + .8 * .3)
    assert found.value == pytest.approx(1 - (0.2 + 0.5) / (0.5 + 0.62))
    assert found.low < found.value < found.high


def test_pooled_kappa_of_one_finding_is_cohens():
    one, two = pairs([[40, 6], [14, 40]])
    alone, pooled = cohen_kappa(one, two, 2), pooled_cohen(one[:, None], two[:, None], 2)

    assert pooled.value == pytest.approx(alone.value)
    assert pooled.low == pytest.approx(alone.low, abs=0.005)
    unread = np.r_[one, -1][:, None], np.r_[two, 1][:, None]
    assert pooled_cohen(*unread, 2) == pooled


def test_pooled_limits_are_wider_where_findings_err_together():
    rng = np.random.default_rng(3)
    one = np.where(rng.random(300)[:, None] < 0.2, [1, 1], [[2, 0], [0, 2]][0])
    one[:100] = [0, 2]
    other = one[rng.permutation(300)]
    together, apart = pooled_kappa([one, one]), pooled_kappa([one, other])

    assert together.high - together.low > 1.2 * (apart.high - apart.low)


# agreement of reviewers


def readings(rows: dict[tuple[str, str], list[float]], findings: list[str]) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(rows, names=["uid", "reviewer"])
    return pd.DataFrame(list(rows.values()), index=index, columns=findings)


def test_every_pair_and_all_reviewers_have_a_row():
    table = readings(
        {
            ("1", "A"): [1, 0], ("1", "B"): [1, 0], ("1", "C"): [0, 0],
            ("2", "A"): [0, 1], ("2", "B"): [0, 1],
            ("3", "A"): [0, NAN], ("3", "B"): [1, 0], ("3", "adjudicated"): [1, 1],
        },
        ["Edema", "Mass"],
    )  # fmt: skip
    found = reviewer_agreement(table).set_index(["finding", "kind", "reviewer_a", "reviewer_b"])

    assert found.loc[("Edema", "cohen", "A", "B"), "n"] == 3
    assert found.loc[("Mass", "cohen", "A", "B"), "n"] == 2  # an open cell was not read
    assert found.loc[("Edema", "cohen", "A", "B"), "agreement"] == pytest.approx(2 / 3)
    assert found.loc[("Edema", "cohen", "A", "C"), "n"] == 1
    assert found.loc[("Edema", "fleiss", "", ""), "n"] == 3
    assert {key[0] for key in found.index} == {"Edema", "Mass", ALL}
    assert "adjudicated" not in {name for key in found.index for name in key[2:]}


def test_four_states_are_told_apart_on_request():
    table = readings({("1", "A"): [-1], ("1", "B"): [NAN], ("2", "A"): [1], ("2", "B"): [1]}, ["E"])
    found = reviewer_agreement(table, STATES)

    assert found["agreement"].tolist() == [0.5] * 4
    assert found["n"].tolist() == [2] * 4


def test_single_reading_has_no_agreement():
    table = readings({("1", "A"): [1], ("2", "B"): [0]}, ["Edema"])
    assert not len(reviewer_agreement(table))


# Dawid and Skene

SENSITIVITY, SPECIFICITY = [0.95, 0.8, 0.6, 0.9], [0.98, 0.9, 0.95, 0.8]


@pytest.mark.parametrize("prevalence", [0.3, 0.1])
def test_known_error_rates_are_recovered(prevalence):
    rng = np.random.default_rng(4)
    truth = rng.random(4_000) < prevalence
    found = dawid_skene(readers(rng, truth, SENSITIVITY, SPECIFICITY), 2)

    assert found.confusion[:, 1, 1] == pytest.approx(SENSITIVITY, abs=0.05)
    assert found.confusion[:, 0, 0] == pytest.approx(SPECIFICITY, abs=0.02)
    assert found.prevalence[1] == pytest.approx(prevalence, abs=0.02)
    assert found.converged
    assert found.identified
    assert not found.switched


def test_consensus_is_better_than_the_majority():
    rng = np.random.default_rng(5)
    truth = rng.random(4_000) < 0.3
    read = readers(rng, truth, [0.97, 0.6, 0.6], [0.97, 0.7, 0.7])
    majority = read.sum(axis=1) >= 2

    wrong = (dawid_skene(read, 2).consensus != truth).mean()
    assert wrong < 0.5 * (majority != truth).mean()


def test_limits_of_error_rates_cover():
    rng = np.random.default_rng(6)
    covered = []
    for seed in range(200):
        truth = rng.random(400) < 0.3
        found = dawid_skene(
            readers(rng, truth, SENSITIVITY, SPECIFICITY), 2, resamples=100, seed=seed
        )
        for value, expected in ((1, SENSITIVITY), (0, SPECIFICITY)):
            low, high = found.low[:, value, value], found.high[:, value, value]
            covered.append((low <= expected) & (expected <= high))

    assert 0.92 <= np.mean(covered) <= 0.98


def test_readings_that_are_missing_do_not_count():
    rng = np.random.default_rng(7)
    truth = rng.random(6_000) < 0.4
    read = readers(rng, truth, SENSITIVITY, SPECIFICITY)
    read[rng.random(read.shape) < 0.4] = -1
    found = dawid_skene(read, 2)

    assert found.confusion[:, 1, 1] == pytest.approx(SENSITIVITY, abs=0.05)
    assert found.expected.sum() == pytest.approx((read >= 0).sum())


def test_one_bad_reader_does_not_turn_the_labels_round():
    rng = np.random.default_rng(8)
    truth = rng.random(2_000) < 0.3
    found = dawid_skene(readers(rng, truth, [0.9, 0.85, 0.2], [0.95, 0.9, 0.1]), 2)

    assert found.confusion[2, 1, 1] == pytest.approx(0.2, abs=0.07)
    assert (found.consensus == truth).mean() > 0.9


def test_four_categories_are_recovered():
    rng = np.random.default_rng(9)
    truth = rng.choice(4, 4_000, p=[0.2, 0.1, 0.3, 0.4])
    table = np.full((4, 4), 0.05) + 0.8 * np.eye(4)
    read = np.stack(
        [[rng.choice(4, p=table[category]) for category in truth] for _ in range(4)], axis=1
    )
    found = dawid_skene(read, 4)

    assert found.confusion == pytest.approx(np.broadcast_to(table, (4, 4, 4)), abs=0.06)


def test_two_readers_are_not_identified():
    read = readers(np.random.default_rng(10), np.arange(100) < 30, [0.9, 0.9], [0.9, 0.9])
    assert not dawid_skene(read, 2).identified


def test_reader_of_few_studies_is_not_taken_for_perfect():
    read = np.array([[1, 1, 1]] * 5 + [[0, 0, 0]] * 5)
    found = dawid_skene(read, 2)

    assert 0.8 < found.confusion[0, 1, 1] < 0.99
    assert found.low[0, 1, 1] < 0.7


@pytest.mark.parametrize(
    ("read", "options"),
    [
        ([[2, 0]], {}), ([[-1, -1]], {}), ([[-2, 0]], {}), ([1, 0], {}),
        ([[1, 0]], {"accuracy": 1.0}), ([[1, 0]], {"weight": 0.0}),
    ],
)  # fmt: skip
def test_readings_outside_the_categories_are_an_error(read, options):
    with pytest.raises(ValueError, match="expected"):
        dawid_skene(read, 2, **options)


def test_reviewers_and_labelers_have_error_rates_and_a_truth():
    rng = np.random.default_rng(11)
    truth = rng.random(1_500) < 0.3
    read = readers(rng, truth, [0.9, 0.85, 0.95], [0.97, 0.9, 0.98])
    ids = [f"{i:04}" for i in range(len(truth))]
    rows = {
        (i, name): [float(read[k, r])] for k, i in enumerate(ids) for r, name in enumerate("AB")
    }
    labels = pd.DataFrame({"Edema": np.where(read[:, 2] == 1, 1.0, NAN)}, index=ids)
    rates, posterior = reader_errors(readings(rows, ["Edema"]), {"cxr": labels})
    cxr = rates.set_index("reader").loc["cxr"]

    assert rates["reader"].tolist() == ["A", "B", "cxr"]
    assert cxr["sensitivity"] == pytest.approx(0.95, abs=0.04)
    assert cxr["sensitivity_lo"] < cxr["sensitivity"] < cxr["sensitivity_hi"]
    assert cxr["n"] == 1_500
    assert ((posterior["Edema"].to_numpy() > 0.5) == truth).mean() > 0.95


def test_two_reviewers_alone_are_warned_of():
    rows = {(str(i), name): [float(i % 3 == 0)] for i in range(30) for name in "AB"}
    rates, _ = reader_errors(readings(rows, ["Edema"]))

    assert set(rates["note"]) == {"two readers do not identify their errors"}


# the three tasks


def four_states() -> Consensus:
    """Readings of six studies; those of the last do not agree on a state."""
    ids = pd.Index(list("abcdef"), name="uid")
    states = pd.DataFrame({"Edema": [1.0, 0, -1, NAN, 0, NAN]}, index=ids)
    agreed = pd.DataFrame({"Edema": [True] * 5 + [False]}, index=ids)
    truth = pd.DataFrame({"Edema": [1.0, 0, NAN, 0, 0, NAN]}, index=ids)
    return Consensus(
        id_name="uid", reference="report", rule="majority", reviewers=("A", "B"), truth=truth,
        states=states, agreed=agreed, four_states=True, several=6, ties=1, not_evaluable=0,
    )  # fmt: skip


def test_three_tasks_are_scored_on_the_states():
    labels = pd.DataFrame({"Edema": [1.0, 1, -1, 0, 0, 1]}, index=list("abcdef"))
    found = chexpert_tasks(compare(labels, four_states())).set_index("task")

    assert found[["n", "tp", "fp", "fn", "tn"]].to_numpy().tolist() == [
        [5, 4, 1, 0, 0],  # mention: d is mentioned by the label alone; f has no agreed state
        [5, 1, 1, 1, 2],  # negation: e; d by the label alone, b by the reviewers alone
        [5, 1, 0, 0, 4],  # uncertainty: c
    ]
    assert found.loc["negation", ["precision", "recall", "f1"]].tolist() == [0.5, 0.5, 0.5]
    assert found.loc["mention", "f1_lo"] < found.loc["mention", "f1"] == pytest.approx(8 / 9)
    assert "precision 2" in found.loc["negation", "note"]


def test_review_of_two_states_has_no_tasks():
    review = four_states()
    two = Consensus(
        **{name: getattr(review, name) for name in review.__slots__} | {"four_states": False}
    )
    labels = pd.DataFrame({"Edema": [1.0, 1, -1, 0, 0, 1]}, index=list("abcdef"))

    assert not len(chexpert_tasks(compare(labels, two)))
