"""The AUC: against scikit-learn, by hand, and by simulation."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxrvision.evaluate.auc import auc, estimate_auc, estimate_auc_within, measure_auc

RUNS = 1000


def study(rng, positives, negatives, value, spread=1.0):
    """Binormal scores with this AUC; positives first."""
    distance = NormalDist().inv_cdf(value) * np.sqrt(1 + spread**2)
    truth = np.r_[np.ones(positives, bool), np.zeros(negatives, bool)]
    scores = rng.standard_normal(len(truth))
    return np.where(truth, distance + spread * scores, scores), truth


def delong_by_pairs(scores, truth):
    """AUC and variance from the full table of pairs (DeLong et al. 1988, eq. 5)."""
    x, y = scores[truth], scores[~truth]
    kernel = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    by_positive, by_negative = kernel.mean(1), kernel.mean(0)
    return kernel.mean(), by_positive.var(ddof=1) / len(x) + by_negative.var(ddof=1) / len(y)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 9)), min_size=2))
def test_auc_equals_scikit_learn_with_ties_and_weights(rows):
    scores, truth, weights = map(np.array, zip(*rows, strict=True))
    if truth.all() or not truth.any():
        assert np.isnan(auc(scores, truth))
        return
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    expected = roc_auc_score(truth, scores, sample_weight=weights)
    assert auc(scores, truth, weights) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 1000))
def test_variance_equals_delong_with_ties(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, 60).astype(float)
    truth = rng.random(60) < 0.3
    truth[:4] = True, True, False, False
    value, variance = delong_by_pairs(scores, truth)
    found = estimate_auc(scores, truth)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.variance() == pytest.approx(variance, rel=1e-10)


def test_weight_of_two_is_the_study_twice():
    rng = np.random.default_rng(0)
    scores, truth = study(rng, 10, 20, 0.8)
    twice = np.r_[np.arange(30), np.arange(5)]
    weights = np.r_[np.full(5, 2.0), np.ones(25)]
    assert auc(scores, truth, weights) == pytest.approx(auc(scores[twice], truth[twice]), abs=1e-12)


def test_equal_weights_change_nothing():
    scores, truth = study(np.random.default_rng(0), 15, 40, 0.8)
    plain, weighted = (measure_auc(scores, truth, weights=w) for w in (None, np.full(55, 7.0)))
    assert weighted == pytest.approx(plain, abs=1e-12)


def test_each_study_twice_as_a_patient_changes_no_interval():
    scores, truth = study(np.random.default_rng(0), 15, 40, 0.8)
    patients = np.repeat(np.arange(55), 2)
    twice = measure_auc(np.repeat(scores, 2), np.repeat(truth, 2), patients=patients)
    assert twice == pytest.approx(measure_auc(scores, truth), abs=1e-12)


def test_patients_of_one_study_change_nothing():
    scores, truth = study(np.random.default_rng(0), 15, 40, 0.8)
    patients = np.random.default_rng(1).permutation(55)
    assert measure_auc(scores, truth, patients=patients) == pytest.approx(
        measure_auc(scores, truth), abs=1e-12
    )


def test_clustered_variance_is_that_of_obuchowski():
    rng = np.random.default_rng(2)
    patients = rng.integers(0, 60, 200)
    truth = rng.random(200) < 0.3
    scores = rng.standard_normal(200) + truth + rng.standard_normal(60)[patients]
    kernel = (scores[truth][:, None] > scores[~truth]) + 0.0
    value, m, n = kernel.mean(), truth.sum(), (~truth).sum()
    x = np.bincount(patients[truth], kernel.mean(1) - value, minlength=60)
    y = np.bincount(patients[~truth], kernel.mean(0) - value, minlength=60)
    both = len(np.unique(patients))
    few, many = len(np.unique(patients[truth])), len(np.unique(patients[~truth]))
    expected = (
        few / (few - 1) * (x**2).sum() / m**2
        + many / (many - 1) * (y**2).sum() / n**2
        + 2 * both / (both - 1) * (x * y).sum() / (m * n)
    )
    # the factor of the last part is the only one that differs, by about 1 / patients
    assert estimate_auc(scores, truth, patients=patients).variance(patients) == pytest.approx(
        expected, rel=0.01
    )


@pytest.mark.parametrize(
    ("positives", "negatives", "value", "spread"),
    [(10, 500, 0.8, 1), (20, 1000, 0.9, 1), (30, 30, 0.8, 1), (100, 400, 0.9, 2.5)],
)
def test_interval_covers(positives, negatives, value, spread):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(RUNS):
        found = measure_auc(*study(rng, positives, negatives, value, spread))
        covered += found.low <= value <= found.high
    assert 0.93 <= covered / RUNS <= 0.97


def test_interval_covers_with_ties():
    rng = np.random.default_rng(0)
    big, truth = study(np.random.default_rng(1), 200_000, 200_000, 0.8)
    value = auc(np.round(big), truth)
    covered = 0
    for _ in range(RUNS):
        scores, truth = study(rng, 40, 200, 0.8)
        found = measure_auc(np.round(scores), truth)
        covered += found.low <= value <= found.high
    assert 0.93 <= covered / RUNS <= 0.97


def clustered(rng, patients):
    """Patients with a few studies each, alike in truth and in score."""
    who = np.repeat(np.arange(patients), rng.geometric(0.35, patients))
    sick, easy = rng.standard_normal((2, patients))
    truth = 0.9 * sick[who] + 0.5 * rng.standard_normal(len(who)) > 1
    return 1.2 * truth + 0.8 * easy[who] + 0.6 * rng.standard_normal(len(who)), truth, who


def test_clustered_interval_covers_and_the_plain_one_does_not():
    scores, truth, _ = clustered(np.random.default_rng(1), 200_000)
    value = auc(scores, truth)
    rng = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(RUNS):
        scores, truth, who = clustered(rng, 150)
        for place, patients in enumerate((who, None)):
            found = measure_auc(scores, truth, patients=patients)
            covered[place] += found.low <= value <= found.high
    assert 0.93 <= covered[0] / RUNS <= 0.97
    assert covered[1] / RUNS < 0.88


def test_interval_of_a_weighted_sample_covers():
    """Studies drawn by an erroneous label, as an audit draws them."""
    rng = np.random.default_rng(0)
    value = NormalDist().cdf(1.3 / np.sqrt(2))
    covered, naive = 0, 0
    for _ in range(RUNS):
        truth = rng.random(4000) < 0.12
        scores = rng.standard_normal(4000) + 1.3 * truth
        # the label is wrong more often where the image says otherwise
        label = rng.random(4000) < np.where(truth, 0.55 + 0.2 * (scores > 1), 0.03)
        groups = [(np.flatnonzero(label), 150), (np.flatnonzero(~label), 300)]
        drawn = np.concatenate([rng.choice(group, n, replace=False) for group, n in groups])
        strata = np.repeat([0, 1], [150, 300])
        weights = np.array([len(group) / n for group, n in groups])[strata]
        found = measure_auc(scores[drawn], truth[drawn], weights=weights, strata=strata)
        covered += found.low <= value <= found.high
        naive += auc(scores[drawn], truth[drawn]) / RUNS
    assert 0.92 <= covered / RUNS <= 0.98
    assert abs(naive - value) > 0.01  # without weights it is that of other studies


def test_interval_stays_within_bounds_and_is_not_empty_at_one():
    truth = np.r_[np.ones(20, bool), np.zeros(100, bool)]
    found = measure_auc(truth * 1.0, truth)
    assert found.value == found.high == 1
    assert found.low == pytest.approx(20 / (20 + 1.96**2), abs=1e-3)


def test_interval_is_unknown_with_one_positive_patient():
    scores, truth = np.arange(10.0), np.arange(10) > 7
    found = measure_auc(scores, truth, patients=np.r_[np.arange(8), 8, 8])
    assert found.value == 1
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("scores", "truth"), [([0.1, np.nan], [1, 0]), ([0.1, 0.2], [1, 2]), ([0.1], [1, 0])]
)
def test_wrong_arrays_are_refused(scores, truth):
    with pytest.raises(ValueError, match="expected"):
        auc(scores, truth)


def test_auc_within_one_group_is_the_auc():
    scores, truth = study(np.random.default_rng(0), 15, 40, 0.8)
    groups = np.zeros(55, int)
    within = estimate_auc_within(scores, truth, groups)
    assert within.value == pytest.approx(auc(scores, truth))
    assert within.variance() == pytest.approx(estimate_auc(scores, truth).variance())


def test_auc_within_groups_counts_pairs_of_a_group_alone():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 80)
    truth = rng.random(80) < 0.2 + 0.2 * groups
    scores = np.round(rng.random(80) + groups, 1)
    same = groups[truth][:, None] == groups[~truth]
    x, y = scores[truth][:, None], scores[~truth]
    expected = (((x > y) + 0.5 * (x == y)) * same).sum() / same.sum()
    assert estimate_auc_within(scores, truth, groups).value == pytest.approx(expected)
