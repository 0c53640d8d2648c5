"""Losses that know of label error, or are robust to it.

Each is a function of logits, targets and mask, like those of `losses`. Where error tables are used,
`cxrvision.noise.correction` says what the numbers in the place of targets are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrvision.noise.correction import FORWARD
from cxrvision.train.losses import masked_mean, prepare

if TYPE_CHECKING:
    from cxrvision.targets import Targets
    from cxrvision.train.losses import Loss

GCE: Final = "gce"
CO_TEACHING: Final = "co-teaching"
RAMP: Final = 3  # epochs until that share is left out (Han et al. 2018: 10 of 200)
_POWER: Final = 0.7  # Zhang and Sabuncu 2018


def corrected_loss(targets: Targets, policy_loss: Loss, device: torch.device) -> Loss:
    """The loss of corrected targets: their method's, and that of the policy for other findings.

    Soft targets are targets for any loss. Backward ones may lie outside [0, 1], where binary
    cross-entropy is linear in them, as it has to be.
    """
    if targets.corrected is None or targets.method != FORWARD:
        return policy_loss
    columns = torch.from_numpy(targets.corrected).to(device)
    return partial(by_column, columns=columns, inside=forward_loss, outside=policy_loss)


def by_column(
    logits: Tensor, targets: Tensor, mask: Tensor, *, columns: Tensor, inside: Loss, outside: Loss
) -> Tensor:
    """One loss for some findings and another one for the rest, averaged over all targets.

    Args:
        columns: [F] bool, the findings of `inside`.
    """
    own = mask * columns
    rest = mask - own
    counts = own.sum(), rest.sum()
    total = (
        inside(logits, targets, own) * counts[0]
        # a likelihood ratio is no target, wherever it stands
        + outside(logits, torch.where(columns, 0.0, targets), rest) * counts[1]
    )
    return total / (counts[0] + counts[1]).clamp(min=1)


def forward_loss(logits: Tensor, ratios: Tensor, mask: Tensor) -> Tensor:
    """The likelihood of the observed states, given their error (Patrini et al. 2017, "forward").

    -log(p P(z | 1) + (1 - p) P(z | 0)), less the same for the truth that explains z best: 0 where
    the model is sure of that truth, and softplus(-x) or softplus(x), which is cross-entropy, for a
    state that proves it.

    Args:
        logits: [N, F], before the sigmoid.
        ratios: [N, F] log P(z | 1) - log P(z | 0) of the observed states.
        mask: [N, F], 1 where the state counts.
    """
    logits, ratios, mask = prepare(logits, ratios, mask)
    losses = F.softplus(logits) - F.softplus(logits + ratios) + ratios.clamp(min=0)
    return masked_mean(losses, mask)


def generalized_cross_entropy(
    logits: Tensor, targets: Tensor, mask: Tensor, *, power: float = _POWER
) -> Tensor:
    """(1 - p^q) / q: between cross-entropy (q to 0) and mean absolute error (q = 1).

    Zhang and Sabuncu 2018. It makes less of labels that the model finds unlikely.

    Args:
        logits, targets, mask: as `cxrvision.train.losses.masked_bce`.
        power: q in (0, 1].
    """
    logits, targets, mask = prepare(logits, targets, mask)
    # p^q by the logarithm, whose gradient is finite where p is 0
    positive = -torch.expm1(power * F.logsigmoid(logits)) / power
    negative = -torch.expm1(power * F.logsigmoid(-logits)) / power
    return masked_mean(targets * positive + (1 - targets) * negative, mask)


def co_teaching_loss(
    logits: Tensor, targets: Tensor, mask: Tensor, *, wrong: Tensor, epoch: Callable[[], int]
) -> Tensor:
    """Two networks, each taught by the labels that the other finds easy (Han et al. 2018).

    Of each finding, and of its positive and negative labels apart, the share that is likely wrong
    is left out: those with the largest loss in the other network. (The paper leaves out a share of
    all labels, which would be the rare positives.)

    Args:
        logits: [2, N, F] of the two networks.
        targets: [N, F] in [0, 1]; above 0.5 is positive.
        mask: [N, F].
        wrong: [2, F] share of the negative and of the positive labels that are wrong.
        epoch: the current epoch, from 0: the share grows to its full size over `RAMP` epochs.
    """
    _, targets, mask = prepare(logits[0], targets, mask)
    part = min((epoch() + 1) / RAMP, 1.0)
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), targets.expand(logits.shape), reduction="none"
    )
    total = losses.new_zeros(())
    for student, teacher in ((0, 1), (1, 0)):
        keep = _small(losses[teacher].detach(), targets > 0.5, mask, part * wrong)
        total = total + masked_mean(losses[student], mask * keep)
    return total / 2


def _small(losses: Tensor, positive: Tensor, mask: Tensor, wrong: Tensor) -> Tensor:
    """[N, F] 1 for the labels whose loss is among the smallest of their kind and finding."""
    keep = torch.zeros_like(losses)
    for kind, rows in enumerate((~positive, positive)):
        inside = rows & (mask > 0)
        count = inside.sum(dim=0)
        kept = torch.ceil((1 - wrong[kind]) * count - 1e-6).clamp(min=0)
        ranks = losses.masked_fill(~inside, math.inf).argsort(dim=0).argsort(dim=0)
        keep = torch.where(inside & (ranks < kept), 1.0, keep)
    return keep
