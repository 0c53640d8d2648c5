"""Heads for draws of the error tables: how uncertain the audit leaves a prediction.

The encoder and its fusion stay as they were trained. For each draw of the tables from the audit's
posterior the last linear layer is fitted anew to all studies that were trained on, beginning at the
trained one and held to it by a penalty on the distance of the weights (not of the biases, which say
how frequent a finding is); how strong it is, the split `val` chooses. Fitted to bootstrap samples
of the patients instead, with the tables as they are, the same layer tells how uncertain the sample
leaves it. What another encoder would say, other runs tell (`cxr predict` with several).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from cxrlabel.errors import InputError
from cxrvision.noise.correction import correct
from cxrvision.train import runs
from cxrvision.train.batches import plan_all
from cxrvision.train.label_error import label_numbers
from cxrvision.train.losses import masked_bce
from cxrvision.train.noise_losses import corrected_loss
from cxrvision.train.pixels import BatchData, load_batches
from cxrvision.train.steps import as_float

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxrvision.model.study_model import StudyModel
    from cxrvision.noise.tables import ErrorTables
    from cxrvision.targets import Targets
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.losses import Loss
    from cxrvision.train.prepare import Inputs, Part

HEADS: Final = "heads.safetensors"
PENALTIES: Final = (1e-3, 1e-2, 1e-1, 1.0)
WITHOUT_VAL: Final = 1e-1  # the penalty where there is no split to choose it on

_STEPS: Final = 200  # of L-BFGS, at most
_SMALLEST_CHANGE: Final = 1e-12  # of loss and weights at which it ends


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """K linear layers for one encoder."""

    weight: Tensor  # [K, F, D]
    bias: Tensor  # [K, F]

    def logits(self, fused: Tensor) -> Tensor:
        """[K, n, F] from the [n, D] that the joint head of the model reads."""
        fused = fused.to(self.weight.dtype)
        return torch.einsum("nd,kfd->knf", fused, self.weight) + self.bias[:, None]

    def to(self, device: torch.device) -> Heads:
        """The same on a device."""
        return Heads(self.weight.to(device), self.bias.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Heads for draws, and what makes them differ."""

    heads: Heads
    penalty: float
    # finding -> "audit" and "sampling": mean variance of a study's logit over the heads of each
    variance: Mapping[str, Mapping[str, float]]


def fit_draws(
    model: StudyModel, inputs: Inputs, config: TrainConfig, device: torch.device
) -> Spread:
    """Fit a head for each draw of the tables, and one for each bootstrap sample of the patients.

    Args:
        model: with the weights to predict with, on the device.
    """
    train, error = inputs.parts["train"], inputs.error
    fused = {
        split: fused_features(model, part, config, device) for split, part in inputs.parts.items()
    }
    trained = Heads(
        model.head.weight.detach().double()[None], model.head.bias.detach().double()[None]
    )

    if error.tables is None:
        raise ValueError("no tables to draw from")
    as_measured = drawn_targets(train, error.tables, error.method)

    def fit(targets: Targets, penalty: float, weights: Tensor | None = None) -> Heads:
        return fit_head(fused["train"], targets, trained, penalty=penalty, weights=weights)

    penalty = WITHOUT_VAL
    if "val" in inputs.parts:
        judged = drawn_targets(inputs.parts["val"], error.tables, error.method)
        losses = {
            value: head_loss(fit(as_measured, value), fused["val"], judged) for value in PENALTIES
        }
        penalty = min(losses, key=losses.__getitem__)
    drawn = join_heads(
        [fit(drawn_targets(train, tables, error.method), penalty) for tables in error.draws]
    )
    resampled = join_heads(
        [
            fit(as_measured, penalty, torch.from_numpy(weights).to(device))
            for weights in patient_weights(train.studies.patients, len(error.draws), config.seed)
        ]
    )
    seen = torch.cat(
        [fused[split] for split in inputs.parts if split != "train"] or [fused["train"]]
    )
    audit, sampling = (heads.logits(seen).var(dim=0).mean(dim=0) for heads in (drawn, resampled))
    variance = {
        name: {"audit": float(audit[place]), "sampling": float(sampling[place])}
        for place, name in enumerate(inputs.findings)
    }
    return Spread(drawn, penalty, variance)


@torch.no_grad()
def fused_features(
    model: StudyModel, part: Part, config: TrainConfig, device: torch.device
) -> Tensor:
    """[N, D] float64, what the joint head reads of each study, from its images as they are."""
    data = BatchData(part.studies, part.pixels, part.targets.values, part.targets.mask)
    plans = plan_all(part.studies, batch_size=config.batch_size)
    model.eval()
    found = [
        batch.fused(model, as_float(batch.images), config.views).double()
        for batch in load_batches(data, plans, device=device, workers=config.workers)
    ]
    return torch.cat(found)


def drawn_targets(part: Part, tables: ErrorTables, method: str) -> Targets:
    """The targets of a part under other tables than those of the run."""
    truth = None if part.review is None else part.review.truth
    numbers = label_numbers(part.studies, tables, method)
    return correct(part.labels, numbers, method, evidence=part.evidence, truth=truth)


def fit_head(
    fused: Tensor,
    targets: Targets,
    start: Heads,
    *,
    penalty: float,
    weights: Tensor | None = None,
) -> Heads:
    """The linear layer that fits best, held to where it starts.

    Args:
        fused: [N, D] float64.
        start: one head.
        penalty: of half the squared distance of a finding's weights from the start.
        weights: [N] how often each study counts; None: once.
    """
    device, findings = fused.device, start.bias.shape[1]
    loss = finding_losses(targets, device, weights)
    weight = start.weight[0].clone().requires_grad_()
    bias = start.bias[0].clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_STEPS,
        tolerance_change=_SMALLEST_CHANGE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        moved = (weight - start.weight[0]).square().sum() / 2
        total = loss(fused @ weight.T + bias) * findings + penalty * moved
        total.backward()
        return total

    optimizer.step(closure)
    return Heads(weight.detach()[None], bias.detach()[None])


def finding_losses(
    targets: Targets, device: torch.device, weights: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """The loss of logits [N, F] against these targets, a mean over all that count."""
    loss: Loss = corrected_loss(targets, masked_bce, device)
    values = torch.from_numpy(targets.values).to(device)
    mask = torch.from_numpy(targets.mask).to(device)
    if weights is not None:
        mask = mask * weights[:, None]
    return lambda logits: loss(logits, values, mask)


@torch.no_grad()
def head_loss(heads: Heads, fused: Tensor, targets: Targets) -> float:
    """The loss of one head on some studies."""
    return float(finding_losses(targets, fused.device, None)(heads.logits(fused)[0]))


def patient_weights(patients: Any, k: int, seed: int) -> list[Any]:
    """K times [N], how often each study counts where its patient was drawn with replacement.

    Poisson draws with mean 1 for each patient, which all studies of the patient share.
    """
    _, codes = np.unique(patients.astype(str), return_inverse=True)
    rng = np.random.default_rng([seed, 1])
    return [rng.poisson(1.0, codes.max() + 1)[codes].astype(np.float64) for _ in range(k)]


def join_heads(heads: Sequence[Heads]) -> Heads:
    """Several heads as one stack."""
    return Heads(torch.cat([h.weight for h in heads]), torch.cat([h.bias for h in heads]))


def write_heads(folder: Path, heads: Heads) -> None:
    """Write the heads of a run."""
    state = {"weight": heads.weight.float(), "bias": heads.bias.float()}
    runs.write_weights(folder / HEADS, state)


def read_heads(folder: Path, *, findings: int) -> Heads | None:
    """The heads of a run; None where it has none.

    Raises:
        InputError: the file is of another model.
    """
    path = folder / HEADS
    if not path.is_file():
        return None
    state = runs.read_weights(path)
    if set(state) != {"weight", "bias"} or state["bias"].shape[1:] != (findings,):
        raise InputError(f"{path}: not the heads of this run; train it again with --force")
    return Heads(state["weight"], state["bias"])
