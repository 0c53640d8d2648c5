import numpy as np
import pandas as pd
import pytest

from cxrvision.evaluate.sampled import Sampled, sample_of
from cxrvision.noise.audited import Reviewed


def make(weights, strata, reviewed):
    n = len(weights)
    return Sampled(
        np.arange(n), np.zeros(n, bool), np.array(weights, float), np.array(strata),
        np.array(reviewed), float(sum(weights)),
    )  # fmt: skip


def test_light_stratum_varies_about_its_mean():
    influence = np.array([1.0, 2.0, 3.0])
    found = make([1e9] * 3, [0] * 3, [3] * 3).adjust(influence)
    assert (found**2).sum() == pytest.approx(3 * influence.var(ddof=1))


def test_stratum_that_was_reviewed_whole_varies_about_zero():
    found = make([1.0] * 1000, [0] * 1000, [1000] * 1000).adjust(np.full(1000, 2.0))
    assert (found**2).sum() == pytest.approx(4000)


def test_single_study_has_no_mean_to_take_off():
    assert make([50.0], [0], [1]).adjust(np.array([3.0])).tolist() == [3.0]


def test_variance_is_that_of_two_phases():
    """A sum over a stratified sample of a population that is itself drawn anew each time."""
    rng = np.random.default_rng(0)
    sums, variances = [], []
    for _ in range(2000):
        state = rng.random(400) < 0.3
        values = rng.normal(state * 2.0, 1.0)
        rows, weights, strata = [], [], []
        for code, number in ((0, 20), (1, 40)):
            members = np.flatnonzero(state == code)
            rows.append(rng.choice(members, number, replace=False))
            weights.append(np.full(number, len(members) / number))
            strata.append(np.full(number, code))
        weight = np.concatenate(weights)
        code = np.concatenate(strata)
        sample = make(weight, code, np.bincount(code)[code])
        weighted = weight * (values[np.concatenate(rows)] - 0.6)
        sums.append(weighted.sum())
        variances.append((sample.adjust(weighted) ** 2).sum())
    assert np.mean(variances) == pytest.approx(np.var(sums), rel=0.06)


def test_weights_add_up_to_the_evaluated_studies():
    ids = pd.Index(["a", "b", "c"])
    strata = np.array([0, 0, 1])
    reviewed = Reviewed(ids, np.array([True, False, True]), np.array([2.0, 2.0, 4.0]), strata)
    found = sample_of(reviewed, ["x", "c", "a", "y", "z", "u", "v", "w", "q"])
    assert found.rows.tolist() == [2, 1]
    assert found.weights.tolist() == [3.0, 6.0]
    assert found.reviewed.tolist() == [2, 1]
    assert found.stand_for == 6.0
    assert found.kinds() == (2, 0)


def test_unknown_design_counts_each_study_once():
    reviewed = Reviewed(pd.Index(["a"]), np.array([True]), np.ones(1), None)
    found = sample_of(reviewed, ["a", "b"])
    assert found.weights.tolist() == [1.0]
    assert not found.designed
