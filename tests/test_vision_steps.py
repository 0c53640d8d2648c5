"""The loss of a step: heads and their weights, the same over processes as in one."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from cxrvision.model.study_model import StudyLogits
from cxrvision.train.losses import masked_bce
from cxrvision.train.pixels import Batch
from cxrvision.train.steps import (
    VIEW_HEAD_WEIGHT,
    Head,
    as_float,
    draw_head,
    head_losses,
    total_loss,
)

N, F = 6, 3


def random_batch(seed: int = 1) -> tuple[StudyLogits, Batch]:
    """Logits of six studies, of which two lack the lateral, and their targets."""
    torch.manual_seed(seed)
    joint, frontal, lateral = (torch.randn(N, F) for _ in range(3))
    has_view = torch.ones(N, 2, dtype=torch.bool)
    has_view[:2, 1] = False
    logits = StudyLogits(joint, {"frontal": frontal, "lateral": lateral}, has_view)
    return logits, batch_of((torch.rand(N, F) < 0.5).float(), (torch.rand(N, F) < 0.7).float())


def batch_of(targets: Tensor, mask: Tensor) -> Batch:
    empty: Any = torch.empty(0)
    return Batch(
        index=torch.arange(len(targets)), images=empty, views=empty, study=empty, targets=targets,
        mask=mask, features=empty, counts=(),
    )  # fmt: skip


def part_of(logits: StudyLogits, batch: Batch, rows: Tensor) -> tuple[StudyLogits, Batch]:
    """Those of some studies."""
    by_view = {view: own[rows] for view, own in logits.by_view.items()}
    return (
        StudyLogits(logits.joint[rows], by_view, logits.has_view[rows]),
        batch_of(batch.targets[rows], batch.mask[rows]),
    )


def counts_of(heads: list[Head]) -> Tensor:
    return torch.stack([head.count for head in heads])


def test_a_view_is_judged_on_the_studies_that_have_it() -> None:
    logits, batch = random_batch()

    joint, frontal, lateral = head_losses(logits, batch, masked_bce)

    assert joint.count == frontal.count == batch.mask.sum()
    assert lateral.count == batch.mask[2:].sum()
    own = masked_bce(logits.by_view["lateral"][2:], batch.targets[2:], batch.mask[2:])
    torch.testing.assert_close(lateral.mean, own)


def test_the_joint_head_counts_whole_and_views_in_part() -> None:
    heads = head_losses(*random_batch(), masked_bce)

    total = total_loss(heads, counts_of(heads))

    means = [head.mean for head in heads]
    torch.testing.assert_close(total, means[0] + VIEW_HEAD_WEIGHT * (means[1] + means[2]))


@pytest.mark.parametrize("only", [0, 1, 2])
def test_one_head_alone_counts_whole(only: int) -> None:
    heads = head_losses(*random_batch(), masked_bce)

    torch.testing.assert_close(total_loss(heads, counts_of(heads), only=only), heads[only].mean)


def test_the_mean_over_processes_is_the_loss_of_one() -> None:
    logits, batch = random_batch()
    whole = head_losses(logits, batch, masked_bce)
    # one process has the studies without a lateral, and fewer targets
    parts = [
        head_losses(*part_of(logits, batch, rows), masked_bce)
        for rows in (torch.tensor([0, 1]), torch.tensor([2, 3, 4, 5]))
    ]
    counts = torch.stack([counts_of(heads) for heads in parts]).mean(0)

    shared = torch.stack([total_loss(heads, counts) for heads in parts]).mean()

    torch.testing.assert_close(shared, total_loss(whole, counts_of(whole)))


def test_a_batch_without_a_target_has_no_loss_and_finite_gradients() -> None:
    logits, batch = random_batch()
    joint = logits.joint.requires_grad_()
    empty = batch_of(batch.targets, torch.zeros(N, F))
    heads = head_losses(logits._replace(joint=joint), empty, masked_bce)

    loss = total_loss(heads, counts_of(heads).clamp(min=1e-6))
    (gradient,) = torch.autograd.grad(loss, joint)

    assert loss == 0
    assert (gradient == 0).all()


def test_heads_are_drawn_alike_and_each_as_often() -> None:
    drawn = [draw_head(3, seed) for seed in range(3000)]

    assert drawn == [draw_head(3, seed) for seed in range(3000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())


def test_pixels_become_shares_of_white() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)

    assert as_float(images).tolist() == pytest.approx([0, 0.2, 1])
