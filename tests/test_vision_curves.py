import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from cxrvision.evaluate.curves import (
    estimate_average_precision,
    measure_average_precision,
    thin,
    trace_curve,
)


def make(seed, n=80, share=0.3, digits=1):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    positive[:2] = True, False
    return np.round(rng.random(n) + 0.4 * positive, digits), positive


@given(st.integers(0, 1000))
def test_average_precision_equals_scikit_learn_with_ties_and_weights(seed):
    scores, positive = make(seed)
    weights = np.random.default_rng(seed).random(80) + 0.1
    plain = estimate_average_precision(scores, positive).value
    weighted = estimate_average_precision(scores, positive, weights=weights).value
    assert plain == pytest.approx(average_precision_score(positive, scores), abs=1e-12)
    expected = average_precision_score(positive, scores, sample_weight=weights)
    assert weighted == pytest.approx(expected, abs=1e-12)


def test_influence_is_the_derivative_by_the_weight():
    scores, positive = make(1)
    weights = np.random.default_rng(1).random(80) + 0.5
    found = estimate_average_precision(scores, positive, weights=weights)
    few = positive.sum()
    for study in range(80):
        more = weights.copy()
        more[study] += 1e-6
        moved = average_precision_score(positive, scores, sample_weight=more) - found.value
        expected = moved / 1e-6 * weights[study] * np.sqrt(few / (few - 1))
        assert found.influence[study] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("positives", "negatives"), [(30, 300), (100, 500)])
def test_interval_of_average_precision_covers(positives, negatives):
    distance = 1.8
    x = np.linspace(-6, 10, 40_001)
    hits = positives * norm.sf(x - distance)
    precision = hits / (hits + negatives * norm.sf(x))
    value = np.trapezoid(precision * norm.pdf(x - distance), x)
    positive = np.arange(positives + negatives) < positives
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        scores = rng.standard_normal(len(positive)) + distance * positive
        found = measure_average_precision(scores, positive)
        covered += found.low <= value <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_interval_agrees_with_the_bootstrap_of_patients():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(200), 3)
    positive = rng.random(600) < np.repeat(rng.random(200) ** 2, 3)
    scores = rng.standard_normal(600) + positive + np.repeat(rng.standard_normal(200), 3)
    estimate = estimate_average_precision(scores, positive, patients=patients)
    drawn = []
    for _ in range(400):
        times = np.bincount(rng.integers(0, 200, 200), minlength=200)[patients].astype(float)
        drawn.append(estimate_average_precision(scores, positive, weights=times).value)
    assert np.sqrt(estimate.variance(patients)) == pytest.approx(np.std(drawn), rel=0.12)


def test_curve_has_the_points_of_scikit_learn():
    scores, positive = make(2)
    curve = trace_curve(scores, positive)
    rates, sensitivity, thresholds = roc_curve(positive, scores, drop_intermediate=False)
    assert curve.sensitivity == pytest.approx(sensitivity)
    assert curve.false_positive_rate == pytest.approx(rates)
    assert curve.thresholds == pytest.approx(thresholds)
    precision, recall, _ = precision_recall_curve(positive, scores)
    assert curve.precision[1:] == pytest.approx(precision[:-1][::-1])
    assert curve.sensitivity[1:] == pytest.approx(recall[:-1][::-1])


def test_thin_curve_keeps_its_ends():
    x = np.linspace(0, 1, 5000)
    fewer, y = thin(x, x**2)
    assert len(fewer) <= 200
    assert (fewer[0], fewer[-1]) == (0, 1)
    assert y == pytest.approx(fewer**2)
