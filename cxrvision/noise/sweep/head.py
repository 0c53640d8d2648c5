"""The last layer alone: logistic regressions on fixed features, by full batches in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cxrvision.noise.sweep.methods import Learning

    Floats = NDArray[np.float64]

_STEPS: Final = 100
_HISTORY: Final = 20
_CURVATURE: Final = 0.1  # p (1 - p) of a usual study


def fit_head(features: Floats, learning: Learning, *, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights and biases with the least penalised loss, from zero by L-BFGS.

    The loss is the sum over the cells that count plus penalty / 2 times the squared weights: the
    same belief about the weights (each normal with variance 1 / penalty) however many studies.
    What is searched are weights on the scale of their curvature, which takes a tenth of the steps.
    Deterministic for one version, machine and number of threads.

    Args:
        features: [N, D], standardised, in their principal axes.

    Returns:
        [D, F] and [F].
    """
    x = torch.from_numpy(features)
    values, mask = (torch.tensor(part, dtype=x.dtype) for part in (learning.values, learning.mask))
    count = mask.sum(dim=0)  # [F]
    inverse = (_CURVATURE * x.square().T @ mask + penalty).rsqrt()  # [D, F]
    inverse_bias = (_CURVATURE * count).clamp(min=1).rsqrt()
    found = [torch.zeros_like(inverse), torch.zeros_like(inverse_bias)]
    for part in found:
        part.requires_grad_()
    optimizer = torch.optim.LBFGS(
        found,
        max_iter=_STEPS,
        history_size=_HISTORY,
        tolerance_grad=1e-8,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    whole = float(count.sum().clamp(min=1))

    def objective() -> Tensor:
        optimizer.zero_grad()
        weights = inverse * found[0]
        loss = learning.loss(x @ weights + inverse_bias * found[1], values, mask)
        # a mean over the cells that count, for numbers near 1
        total: Tensor = loss + penalty / 2 / whole * weights.square().sum()
        total.backward()
        return total

    optimizer.step(objective)
    return (inverse * found[0]).detach(), (inverse_bias * found[1]).detach()


def predict_head(features: Floats, weights: Tensor, biases: Tensor) -> Floats:
    """[N, F] probabilities."""
    logits = torch.from_numpy(features) @ weights + biases
    probs: Floats = torch.sigmoid(logits).numpy()
    return probs
