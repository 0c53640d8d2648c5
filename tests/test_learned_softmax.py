import numpy as np
import pytest
from scipy.sparse import csr_matrix

from cxrlabel.learned.softmax import fit_softmax, log_softmax


def test_log_probabilities_add_to_one_and_stand_large_logits() -> None:
    logs = log_softmax(np.array([[1e4, 0.0], [1.0, 2.0]]))

    assert np.exp(logs).sum(axis=1) == pytest.approx(1)


def test_without_reports_that_differ_the_offset_stands() -> None:
    offsets = np.log(np.tile([0.2, 0.8], (50, 1)))
    targets = np.tile([0.2, 0.8], (50, 1))
    features = csr_matrix(np.random.default_rng(0).integers(0, 2, (50, 4)).astype(float))

    weights, biases = fit_softmax(features, targets, offsets, np.ones(4))

    assert weights == pytest.approx(0, abs=1e-4)
    assert biases == pytest.approx(0, abs=1e-4)


def test_weights_of_a_known_model_are_found() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, (20_000, 3)).astype(float)
    true = np.array([1.5, -2.0, 0.0])
    offset = np.where(rng.random(len(x)) < 0.5, 1.0, -1.0)
    y = rng.random(len(x)) < 1 / (1 + np.exp(-(x @ true + offset)))

    weights, _ = fit_softmax(
        csr_matrix(x),
        np.stack([y, ~y], axis=1).astype(float),
        np.stack([offset, np.zeros(len(x))], axis=1),
        np.full(3, 1e-3),
    )

    assert weights[:, 0] - weights[:, 1] == pytest.approx(true, abs=0.1)


def test_a_strong_penalty_holds_a_feature_back() -> None:
    x = csr_matrix(np.array([[1.0, 1.0], [0.0, 0.0]] * 30))
    targets = np.array([[1.0, 0.0], [0.0, 1.0]] * 30)

    weights, _ = fit_softmax(x, targets, np.zeros((60, 2)), np.array([0.1, 100.0]))

    assert abs(weights[0, 0]) > 20 * abs(weights[1, 0])
