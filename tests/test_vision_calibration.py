import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxrvision.evaluate.calibration import calibration_curve, measure_calibration


def expit(x):
    return 1 / (1 + np.exp(-x))


def make(n=4000, slope=1.0, intercept=0.0, seed=0):
    """Probabilities whose logits are to be stretched by `slope` and moved by `intercept`."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal(n) - 2
    return expit(logits), rng.random(n) < expit(slope * logits + intercept)


def test_right_probabilities_are_calibrated():
    found = measure_calibration(*make())
    assert found.slope.low < 1 < found.slope.high
    assert found.intercept.low < 0 < found.intercept.high
    assert found.ece < 0.02


def test_too_extreme_probabilities_have_a_slope_below_one():
    found = measure_calibration(*make(20_000, slope=0.6))
    assert found.slope.value == pytest.approx(0.6, abs=0.05)


def test_too_low_probabilities_have_an_intercept_above_zero():
    found = measure_calibration(*make(20_000, intercept=0.7))
    assert found.intercept.value == pytest.approx(0.7, abs=0.08)


def test_slope_equals_logistic_regression():
    probs, positive = make(500)
    logits = np.log(probs / (1 - probs))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits, positive)
    slope = measure_calibration(probs, positive).slope
    assert slope.value == pytest.approx(fitted.coef_[0, 0], abs=1e-4)


def test_interval_of_the_slope_covers_with_patients():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(150), 3)
    covered = 0
    for _ in range(300):
        logits = 1.5 * np.repeat(rng.standard_normal(150), 3)
        alike = np.repeat(rng.random(150), 3)  # studies of a patient have one fate
        found = measure_calibration(expit(logits), alike < expit(logits), patients=who)
        covered += found.slope.low <= 1 <= found.slope.high
    assert 0.91 <= covered / 300 <= 0.98


def test_brier_by_hand():
    found = measure_calibration(np.array([0.5, 0.5, 1.0, 0.0]), np.array([1, 0, 1, 0], dtype=bool))
    assert found.brier.value == pytest.approx(0.125)
    assert found.brier_skill == pytest.approx(0.5)


def test_kinds_that_do_not_overlap_have_no_slope():
    positive = np.arange(20) > 9
    found = measure_calibration(np.where(positive, 0.8, 0.2) + 0.001 * np.arange(20), positive)
    assert np.isnan(found.slope.value)
    assert np.isfinite(found.intercept.value)


def test_constant_probability_has_no_slope():
    found = measure_calibration(np.full(20, 0.3), np.arange(20) > 9)
    assert np.isnan(found.slope.value)


def test_probabilities_of_zero_and_one_are_taken():
    probs, positive = make(400)
    probs[:2] = 0, 1
    assert np.isfinite(measure_calibration(probs, positive).slope.value)


def test_bins_have_equal_sizes_and_never_split_ties():
    rng = np.random.default_rng(0)
    curve = calibration_curve(rng.random(1000), rng.random(1000) < 0.2)
    assert set(curve.n.tolist()) == {100}
    tied = calibration_curve(np.repeat([0.1, 0.2, 0.9], [80, 5, 15]), np.arange(100) > 80)
    assert tied.n.sum() == 100
    assert tied.predicted.tolist() == pytest.approx([0.1, 0.2, 0.9])
