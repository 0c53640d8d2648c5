import numpy as np
import pytest
from scipy.stats import t

from cxrvision.evaluate.estimates import (
    Estimate,
    covariance,
    degrees_of_freedom,
    effective_number,
    holm,
    mean_of,
    share_interval,
    student_quantile,
    two_sided,
)


def test_holm_by_hand():
    # sorted .01 .02 .04: times 3, 2, 1, never decreasing
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_holm_leaves_out_what_is_unknown():
    assert holm([np.nan, 0.01, 0.5]) == pytest.approx([np.nan, 0.02, 0.5], nan_ok=True)


def test_holm_stops_at_one():
    assert holm([0.6, 0.7]).tolist() == [1, 1]


@pytest.mark.parametrize("freedom", [3, 9, 40])
def test_student_agrees_with_scipy(freedom):
    assert student_quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=2e-3)
    assert two_sided(2.5, 1, freedom) == pytest.approx(2 * t.sf(2.5, freedom), rel=1e-2)


def test_no_difference_has_p_one():
    assert two_sided(0, 0) == 1


def test_freedom_is_that_of_welch():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(8), 3 * rng.standard_normal(20)
    a, b = x.var(ddof=1) / 8, y.var(ddof=1) / 20
    influence = np.r_[(x - x.mean()) / 8 * np.sqrt(8 / 7), (y - y.mean()) / 20 * np.sqrt(20 / 19)]
    positive = np.arange(28) < 8
    expected = (a + b) ** 2 / (a**2 / 7 + b**2 / 19)
    assert degrees_of_freedom(influence, positive) == pytest.approx(expected)


def test_covariance_sums_patients_before_squaring():
    influence = np.array([[1.0, 0.0], [2.0, 1.0], [-1.0, 3.0]])
    found = covariance(influence, np.array([0, 0, 1]))
    assert found.tolist() == [[10, 0], [0, 10]]


def test_covariance_takes_off_the_mean_of_a_stratum():
    influence = np.array([[1.0], [3.0], [10.0]])
    found = covariance(influence, strata=np.array([0, 0, 1]))
    assert found[0, 0] == pytest.approx(2 * 2 + 100)  # n / (n - 1) * 2; one alone keeps its mean


def test_mean_has_the_mean_influence():
    found = mean_of([Estimate(0.8, np.array([1.0, 0.0])), Estimate(0.6, np.array([0.0, 2.0]))])
    assert found.value == pytest.approx(0.7)
    assert found.influence.tolist() == [0.5, 1]


def test_share_interval_stays_between_zero_and_one():
    found = share_interval(Estimate(0.98, np.full(4, 0.05)))
    assert 0 < found.low < 0.98 < found.high < 1


def test_effective_number_counts_patients_and_weights():
    chosen = np.array([True, True, True, False])
    assert effective_number(chosen, np.ones(4), None) == 3
    assert effective_number(chosen, np.ones(4), np.array([0, 0, 1, 1])) == pytest.approx(9 / 5)
    assert effective_number(chosen, np.array([3.0, 1, 1, 9]), None) == pytest.approx(25 / 11)
