"""Multinomial logistic regression that starts from what is known: log odds as an offset.

With few reviews the weights stay near 0 and the model says what its offset says; with more it
departs from it where they agree on that. The ridge penalty may differ from feature to feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Matrix = Any  # scipy.sparse.csr_matrix, which has no types

_ROUNDS: Final = 100
_TOLERANCE: Final = 1e-7  # of the loss, relative
_BIAS_PENALTY: Final = 0.5


def fit_softmax(
    features: Matrix, targets: Floats, offsets: Floats, penalties: Floats
) -> tuple[Floats, Floats]:
    """The weights that minimise the penalised cross-entropy.

    Args:
        features: [N, D], sparse.
        targets: [N, K] shares that add to 1.
        offsets: [N, K] in log odds, taken as they are.
        penalties: [D] times half the square of a feature's weights, above 0.

    Returns:
        [D, K] weights and [K] biases.
    """
    from scipy.optimize import minimize

    shape = features.shape[1] + 1, targets.shape[1]
    transposed = features.T.tocsr()
    ridge = np.append(penalties, _BIAS_PENALTY)[:, None]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        logs = log_softmax(features @ weights[:-1] + weights[-1] + offsets)
        error = np.exp(logs) - targets
        gradient = ridge * weights
        gradient[:-1] += transposed @ error
        gradient[-1] += error.sum(axis=0)
        value = -(targets * logs).sum() + 0.5 * (ridge * weights**2).sum()
        return float(value), gradient.ravel()

    options = {"maxiter": _ROUNDS, "ftol": _TOLERANCE}
    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    weights = found.x.reshape(shape)
    return weights[:-1], weights[-1]


def log_softmax(logits: Floats) -> Floats:
    """Log probabilities over the last axis."""
    moved = logits - logits.max(axis=-1, keepdims=True)
    logs: Floats = moved - np.log(np.exp(moved).sum(axis=-1, keepdims=True))
    return logs
