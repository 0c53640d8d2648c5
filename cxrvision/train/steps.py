"""One step of training: from the logits of a batch to one loss."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cxrvision.model.study_model import StudyLogits
    from cxrvision.train.pixels import Batch

    Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, targets, mask -> mean

VIEW_HEAD_WEIGHT: Final = 0.3  # of each view's head, beside 1 of the joint one


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The loss of one head over the targets that it is judged on."""

    weight: float
    mean: Tensor
    count: Tensor  # targets that it is the mean of


def head_losses(logits: StudyLogits, batch: Batch, loss: Loss) -> list[Head]:
    """The losses of the joint head and of each view's, on the studies that have the view."""
    heads = [Head(1.0, loss(logits.joint, batch.targets, batch.mask), batch.mask.sum())]
    for number, own in enumerate(logits.by_view.values()):
        mask = batch.mask * logits.has_view[:, number, None]
        heads.append(Head(VIEW_HEAD_WEIGHT, loss(own, batch.targets, mask), mask.sum()))
    return heads


def total_loss(heads: Sequence[Head], counts: Tensor, *, only: int | None = None) -> Tensor:
    """The weighted sum of the heads' losses, as of the batch of all processes together.

    A head's loss is a mean over its targets in this process, and what is wanted is the mean over
    those of all: the gradients, averaged over processes, are then those of one process.

    Args:
        counts: [heads] targets of each head over all processes, divided by their number.
        only: the one head that learns from this step; None lets all.
    """
    total = heads[0].mean.new_zeros(())
    for number, head in enumerate(heads):
        weight = head.weight if only is None else float(only == number)
        if weight:
            total = total + weight * head.mean * head.count / counts[number]
    return total


def draw_head(heads: int, seed: int) -> int:
    """The head that learns from this step (the curriculum of Hashir et al. 2020)."""
    return random.Random(seed).randrange(heads)


def as_float(images: Tensor) -> Tensor:
    """Pixels as augmentation and model take them.

    Args:
        images: [m, 1, S, S] uint8.

    Returns:
        float32 in [0, 1].
    """
    return images.to(torch.float32) / 255
