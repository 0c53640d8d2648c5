"""Losses over the findings that have a target.

Each is a function of logits, targets and mask, computed in float32 whatever autocast says. Targets
under mask 0 may be anything, NaN too; where nothing counts the loss is 0, with zero gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrlabel.errors import InputError
from cxrvision.targets import THIRD_CLASS

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, targets, mask -> mean

LOSSES: Final = ("bce", "weighted", "focal", "asymmetric", "auc-margin")


def make_loss(name: str, *, pos_weight: Tensor | None = None, multiclass: bool = False) -> Loss:
    """A loss by name.

    Args:
        name: of `LOSSES`.
        pos_weight: [F] of positives, on the device of the logits; for "weighted".
        multiclass: the logits are [N, F, 3].

    Raises:
        InputError: an unknown name, or one that has no form for three classes.
    """
    if name not in LOSSES:
        raise InputError(f"--loss: {name!r}; expected one of {', '.join(LOSSES)}")
    if multiclass:
        if name != "bce":
            raise InputError(f"--loss: {name!r}; expected 'bce' with --uncertain multiclass")
        return masked_cross_entropy
    if name == "weighted":
        if pos_weight is None:
            raise ValueError("pos_weight: None; expected [F] for the loss 'weighted'")
        return partial(masked_bce, pos_weight=pos_weight)
    losses: dict[str, Loss] = {
        "bce": masked_bce,
        "focal": focal_loss,
        "asymmetric": asymmetric_loss,
        "auc-margin": auc_margin_loss,
    }
    return losses[name]


def masked_bce(
    logits: Tensor, targets: Tensor, mask: Tensor, *, pos_weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy averaged over the findings that have a target.

    Args:
        logits: [N, F], before the sigmoid.
        targets: [N, F] in [0, 1]; soft after smoothing.
        mask: [N, F], 1 where the target counts; all zeros give loss 0.
        pos_weight: [F] weights of the positive part.
    """
    logits, targets, mask = prepare(logits, targets, mask)
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=pos_weight, reduction="none"
    )
    return masked_mean(losses, mask)


def focal_loss(logits: Tensor, targets: Tensor, mask: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that makes less of what is predicted well (Lin et al. 2017, without alpha).

    Args:
        logits, targets, mask: as `masked_bce`. For soft targets the weight is |target - p|^gamma,
            which is the published one for 0 and 1 (Li et al. 2020, quality focal loss).
    """
    logits, targets, mask = prepare(logits, targets, mask)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return masked_mean(_power((targets - torch.sigmoid(logits)).abs(), gamma) * losses, mask)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    mask: Tensor,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Tensor:
    """Focal loss that makes much less of easy negatives (ASL: Ridnik et al. 2021, eq. 7).

    Args:
        logits, targets, mask: as `masked_bce`; a soft target mixes the two parts.
        margin: probability that is taken off negatives, so that those below it do not count.
    """
    logits, targets, mask = prepare(logits, targets, mask)
    probs = torch.sigmoid(logits)
    shifted = (probs - margin).clamp(min=0)
    positive = _power(1 - probs, gamma_positive) * F.logsigmoid(logits)
    # 1 - shifted is at least `margin`, but for a margin of 0 it reaches 0 in float32
    negative = _power(shifted, gamma_negative) * torch.log1p(-shifted.clamp(max=1 - 1e-6))
    return masked_mean(-(targets * positive + (1 - targets) * negative), mask)


def auc_margin_loss(
    logits: Tensor, targets: Tensor, mask: Tensor, *, margin: float = 1.0
) -> Tensor:
    """A smooth stand-in for 1 - AUC, by finding (Yuan et al. 2021, "Robust deep AUC maximization").

    The objective is a minimum over a and b and a maximum over alpha >= 0 of

        E[(h - a)^2 | 1] + E[(h - b)^2 | 0] + 2 alpha (m + E[h | 0] - E[h | 1]) - alpha^2

    with scores h = p in [0, 1]. All three have closed forms, used here for the batch: a and b are
    the means of the two classes and alpha = max(0, m + b - a), which leaves the two variances and
    the squared hinge of the margin. (The paper follows a, b and alpha with an optimizer over
    batches; the closed form keeps no state, but a finding counts only in batches that hold both of
    its classes: take large ones, and begin from weights trained with cross-entropy, as they do.)

    Args:
        logits, targets, mask: as `masked_bce`; a soft target belongs to both classes, by its value.
        margin: that the mean scores of the two classes shall lie apart.
    """
    logits, targets, mask = prepare(logits, targets, mask)
    scores = torch.sigmoid(logits)
    weights = torch.stack([(1 - targets) * mask, targets * mask])  # [2, N, F] of the classes 0, 1
    sizes = weights.sum(dim=1)
    means = (weights * scores).sum(dim=1) / sizes.clamp(min=1e-6)
    spread = (weights * (scores - means[:, None]).square()).sum(dim=1) / sizes.clamp(min=1e-6)
    hinge = (margin + means[0] - means[1]).clamp(min=0).square()
    both = (sizes > 0).all(dim=0).float()
    return masked_mean(spread.sum(dim=0) + hinge, both)


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of three classes for each finding (U-MultiClass: Irvin et al. 2019).

    Args:
        logits: [N, F, 3] negative, positive, uncertain.
        targets: [N, F] in [0, 1], shared by the first two classes; exactly 0.5 is the third.
        mask: [N, F].
    """
    logits = logits.float()
    _, targets, mask = prepare(logits[..., 0], targets, mask)
    third = (targets == THIRD_CLASS).float()
    sure = 1 - third
    classes = torch.stack([sure * (1 - targets), sure * targets, third], dim=-1)
    return masked_mean(-(classes * logits.log_softmax(dim=-1)).sum(dim=-1), mask)


def prepare(logits: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All in float32 or finer; targets that do not count become 0, as NaN times 0 would not.

    Raises:
        ValueError: the three differ in shape.
    """
    if logits.shape != targets.shape or logits.shape != mask.shape:
        raise ValueError(
            f"logits {list(logits.shape)}, targets {list(targets.shape)}, mask {list(mask.shape)}; "
            "expected one shape"
        )
    kind = torch.promote_types(logits.dtype, torch.float32)
    mask = mask.to(kind)
    return logits.to(kind), torch.where(mask > 0, targets.to(kind), 0.0), mask


def masked_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """The mean over what counts; 0 where nothing does."""
    # Targets are counted, and half of a count is no count: at least 1 below keeps 0 / 0 at 0
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def _power(base: Tensor, exponent: float) -> Tensor:
    """The power of a base in [0, 1], with a finite gradient at 0, for exponents below 1 too."""
    return base.clamp(min=1e-8) ** exponent if exponent else torch.ones_like(base)
