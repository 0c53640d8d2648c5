import math

import pytest
import torch
import torch.nn.functional as F

from cxrvision.train.losses import masked_bce
from cxrvision.train.noise_losses import (
    by_column,
    co_teaching_loss,
    forward_loss,
    generalized_cross_entropy,
)

LOGITS = torch.tensor([[-2.0, 0.5], [1.0, 3.0]])
ONES = torch.ones(2, 2)


def test_forward_is_the_likelihood_of_the_states() -> None:
    given = torch.tensor([[0.6, 0.05], [0.2, 0.4]])  # P(z | 1), P(z | 0) of the two columns
    ratios = (given[:, 0] / given[:, 1]).log().expand(2, 2)
    p = LOGITS.sigmoid()

    likelihood = -(p * given[:, 0] + (1 - p) * given[:, 1]).log() + given.amax(dim=1).log()

    assert forward_loss(LOGITS, ratios, ONES) == pytest.approx(float(likelihood.mean()), rel=1e-5)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_forward_with_proof_is_cross_entropy(truth: float) -> None:
    ratios = torch.full((2, 2), 14.0 if truth else -14.0)

    found = forward_loss(LOGITS, ratios, ONES)

    assert found == pytest.approx(
        float(masked_bce(LOGITS, torch.full((2, 2), truth), ONES)), rel=1e-3
    )


def test_a_state_that_tells_nothing_has_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()

    forward_loss(logits, torch.zeros(2, 2), ONES).backward()

    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_losses_are_finite_far_out(extreme: float) -> None:
    for loss in (forward_loss, generalized_cross_entropy):
        logits = torch.full((2, 2), extreme, requires_grad=True)
        value = loss(logits, torch.ones(2, 2), ONES)
        value.backward()
        assert math.isfinite(float(value.detach()))
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_columns_are_averaged_over_all_targets() -> None:
    mask = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    ratios = torch.tensor([[2.0, 1.0], [math.nan, 0.0]])

    found = by_column(
        LOGITS, ratios, mask, columns=torch.tensor([True, False]),
        inside=forward_loss, outside=masked_bce,
    )  # fmt: skip

    first = float(forward_loss(LOGITS[:1, :1], ratios[:1, :1], torch.ones(1, 1)))
    second = float(F.binary_cross_entropy_with_logits(LOGITS[:, 1], ratios[:, 1], reduction="sum"))
    assert float(found) == pytest.approx((first + second) / 3, rel=1e-5)


def test_gce_makes_less_of_unlikely_labels_than_cross_entropy() -> None:
    wrong = torch.full((1, 1), -6.0, requires_grad=True)
    one = torch.ones(1, 1)

    (gce,) = torch.autograd.grad(generalized_cross_entropy(wrong, one, one), wrong)
    (bce,) = torch.autograd.grad(masked_bce(wrong, one, one), wrong)

    assert abs(gce.item()) < 0.05 * abs(bce.item())


def test_co_teaching_leaves_out_what_the_other_network_finds_hard() -> None:
    targets = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    first = torch.tensor([[4.0], [-4.0], [-4.0], [4.0]])  # finds the second and fourth hard
    logits = torch.stack([first, torch.zeros(4, 1)]).requires_grad_()
    wrong = torch.tensor([[0.5], [0.5]])

    loss = co_teaching_loss(logits, targets, torch.ones(4, 1), wrong=wrong, epoch=lambda: 9)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert (gradient[1].flatten() != 0).tolist() == [True, False, True, False]


def test_co_teaching_begins_with_all_labels_and_keeps_the_only_positive() -> None:
    targets = torch.tensor([[1.0], [0.0], [0.0], [0.0], [0.0]])
    logits = torch.zeros(2, 5, 1, requires_grad=True)
    wrong = torch.tensor([[0.0], [0.9]])

    loss = co_teaching_loss(logits, targets, torch.ones(5, 1), wrong=wrong, epoch=lambda: 50)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert (gradient != 0).all()
