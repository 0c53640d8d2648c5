from statistics import NormalDist

import numpy as np
import pytest

from cxrvision.evaluate.operating import choose_threshold, measure_operating_point


def test_threshold_is_the_highest_whose_lower_bound_reaches():
    probs = np.arange(1, 201) / 201
    positive = np.arange(200) >= 100
    chosen = choose_threshold(probs, positive, 0.9)
    assert chosen.rule == "lower bound"
    sensitivity = measure_operating_point(probs, positive, chosen.value).sensitivity
    next_one = measure_operating_point(probs, positive, chosen.value + 1 / 201).sensitivity
    assert next_one.low < 0.9 <= sensitivity.low


def test_few_positives_take_the_sensitivity_itself():
    chosen = choose_threshold(np.arange(20) / 20, np.arange(20) >= 10, 0.9)
    assert chosen.rule == "estimate"
    assert chosen.value == pytest.approx(11 / 20)  # 9 of 10 positives
    assert chosen.positives == 10


def test_no_positive_has_no_threshold():
    assert choose_threshold(np.array([0.1, 0.2]), np.zeros(2, bool), 0.9) is None


def test_tied_scores_are_flagged_together():
    probs = np.array([0.5] * 60 + [0.1] * 60)
    chosen = choose_threshold(probs, np.arange(120) < 60, 0.9)
    assert chosen.value == 0.5


def test_true_sensitivity_reaches_what_is_wanted():
    """In new samples: where it is chosen by the estimate, about half fall short."""
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(1000):
        positive = rng.random(800) < 0.1
        scores = rng.standard_normal(800) + 1.5 * positive
        chosen = choose_threshold(scores, positive, 0.9)
        reached += 1 - NormalDist(1.5).cdf(chosen.value) >= 0.9
    assert reached / 1000 >= 0.95


def test_operating_point_by_hand():
    probs = np.array([0.9, 0.8, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1])
    positive = np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    point = measure_operating_point(probs, positive, 0.5)
    assert point.sensitivity.value == pytest.approx(2 / 3)
    assert point.specificity.value == pytest.approx(4 / 5)
    assert point.ppv.value == pytest.approx(2 / 3)
    assert point.npv.value == pytest.approx(4 / 5)
    assert point.flag_rate.value == pytest.approx(3 / 8)
    assert point.alerts_per_100 == pytest.approx(37.5)
    assert point.false_alerts_per_100 == pytest.approx(12.5)


def test_study_at_the_threshold_is_flagged():
    point = measure_operating_point(np.array([0.5, 0.4]), np.array([True, False]), 0.5)
    assert point.sensitivity.value == 1


def test_no_flag_leaves_the_ppv_undefined():
    point = measure_operating_point(np.array([0.5, 0.4]), np.array([True, False]), 0.9)
    assert np.isnan(point.ppv.value)


def test_patients_widen_the_interval():
    rng = np.random.default_rng(0)
    probs = np.repeat(rng.random(50), 4)
    positive = np.repeat(np.arange(50) < 25, 4)
    who = np.repeat(np.arange(50), 4)
    plain, clustered = (
        measure_operating_point(probs, positive, 0.5, patients=p).sensitivity for p in (None, who)
    )
    assert clustered.high - clustered.low > 1.6 * (plain.high - plain.low)
