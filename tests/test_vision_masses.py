import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrvision.evaluate.auc import auc
from cxrvision.evaluate.masses import (
    auc_of,
    share_of_negatives,
    share_of_positives,
    share_with_finding,
)


def by_pairs(scores, yes, no):
    """From the full table of pairs."""
    kernel = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    mass = yes[:, None] * no
    np.fill_diagonal(mass, 0.0)
    return (kernel * mass).sum() / mass.sum()


@given(st.integers(0, 500))
def test_auc_of_pseudo_outcomes_is_that_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 30).astype(float)
    yes = rng.normal(0.5, 0.3, 30)  # some below 0 and above 1
    assert auc_of(scores, yes, 1 - yes).value == pytest.approx(by_pairs(scores, yes, 1 - yes))


def test_auc_of_truths_is_the_usual_one():
    rng = np.random.default_rng(0)
    scores, truth = rng.random(50), rng.random(50) < 0.4
    found = auc_of(scores, truth * 1.0, ~truth * 1.0)
    assert found.value == pytest.approx(auc(scores, truth))


@pytest.mark.parametrize("moved", [0, 7, 19])
def test_derivative_is_that_of_a_small_change(moved):
    rng = np.random.default_rng(1)
    scores, yes = rng.random(20), rng.random(20)
    flagged = scores > 0.5
    step = 1e-6 * (np.arange(20) == moved)
    for make in (
        lambda y: auc_of(scores, y, 1 - y),
        lambda y: share_of_positives(flagged, y),
        lambda y: share_of_negatives(flagged, 1 - y),
        lambda y: share_with_finding(flagged, y, 1 - y),
    ):
        change = (make(yes + step).value - make(yes - step).value) / 2e-6
        assert make(yes).slope[moved] == pytest.approx(change, abs=1e-6)


def test_statistic_without_a_positive_is_undefined():
    assert np.isnan(auc_of(np.arange(3.0), np.zeros(3), np.ones(3)).value)
    assert np.isnan(share_of_positives(np.ones(3, bool), np.zeros(3)).value)
