import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxrlabel.errors import InputError
from cxrvision.train.losses import (
    LOSSES,
    asymmetric_loss,
    auc_margin_loss,
    focal_loss,
    make_loss,
    masked_bce,
    masked_cross_entropy,
)

NAMES = [*LOSSES, "multiclass"]


def named(name, findings=3):
    if name == "multiclass":
        return make_loss("bce", multiclass=True)
    return make_loss(name, pos_weight=torch.arange(1.0, findings + 1))


def make_batch(name, seed=0, n=8, findings=3):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, findings, 3) if name == "multiclass" else (n, findings)
    logits = 2 * torch.randn(shape, generator=generator)
    targets = torch.randint(0, 2, (n, findings), generator=generator).float()
    mask = torch.randint(0, 2, (n, findings), generator=generator).float()
    mask[0] = 1
    return logits.requires_grad_(), targets, mask


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), junk=st.sampled_from([0.0, 0.5, 1.0, -1.0, 1e9, math.nan]))
@settings(max_examples=25)
def test_masked_targets_never_move_the_loss(name, seed, junk):
    logits, targets, mask = make_batch(name, seed)
    loss = named(name)(logits, targets, mask)
    (gradient,) = torch.autograd.grad(loss, logits)
    other_logits = logits.detach().clone()
    other_logits[mask == 0] += 1.5  # nor do the logits there
    other_logits.requires_grad_()
    other = named(name)(other_logits, torch.where(mask > 0, targets, junk), mask)
    (other_gradient,) = torch.autograd.grad(other, other_logits)
    assert torch.allclose(other, loss, atol=1e-6)
    assert torch.allclose(other_gradient, gradient, atol=1e-6)
    assert gradient[mask == 0].eq(0).all()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_learn_from_is_loss_zero(name):
    logits, targets, mask = make_batch(name)
    loss = named(name)(logits, targets, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_loss_is_finite_in_bfloat16(name, scale):
    logits, targets, mask = make_batch(name)
    low = (logits.detach() * scale).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = named(name)(low, targets.bfloat16(), mask.bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss) and torch.isfinite(low.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_better_logits_have_a_lower_loss(name):
    _, targets, mask = make_batch(name, n=16)
    right = 8 * (targets - 0.5)
    if name == "multiclass":
        right = torch.stack([-right, right, torch.full_like(right, -8)], dim=-1)
    losses = [named(name)(sign * right, targets, mask).item() for sign in (1, 0, -1)]
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "auc-margin"])
def test_order_of_studies_does_not_matter(name):
    logits, targets, mask = make_batch(name)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(1))
    expected = named(name)(logits, targets, mask)
    assert torch.allclose(named(name)(logits[order], targets[order], mask[order]), expected)


def test_bce_is_that_of_torch_over_what_counts():
    logits, targets, mask = make_batch("bce")
    targets = 0.9 * targets + 0.02
    keep = mask > 0
    expected = F.binary_cross_entropy_with_logits(logits[keep], targets[keep])
    assert torch.allclose(masked_bce(logits, targets, mask), expected)


def test_weighted_bce_weighs_positives_by_finding():
    logits, targets = torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = make_loss("weighted", pos_weight=torch.tensor([1.0, 5.0]))
    assert loss(logits, targets, torch.ones(2, 2)).item() == pytest.approx(8 / 4 * math.log(2))


@pytest.mark.parametrize(("target", "p"), [(1.0, 0.9), (0.0, 0.9), (1.0, 0.2), (0.0, 0.2)])
def test_focal_loss_is_the_published_one(target, p):
    logit = torch.tensor([[math.log(p / (1 - p))]])
    p_t = p if target else 1 - p
    found = focal_loss(logit, torch.tensor([[target]]), torch.ones(1, 1), gamma=2)
    assert found.item() == pytest.approx(-((1 - p_t) ** 2) * math.log(p_t), rel=1e-4)


@pytest.mark.parametrize("loss", [focal_loss, asymmetric_loss])
def test_focal_losses_without_focus_are_cross_entropy(loss):
    logits, targets, mask = make_batch("bce")
    options = {"gamma": 0} if loss is focal_loss else {
        "gamma_positive": 0, "gamma_negative": 0, "margin": 0,
    }  # fmt: skip
    expected = masked_bce(logits, targets, mask)
    assert torch.allclose(loss(logits, targets, mask, **options), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("target", "p", "expected"),
    [
        (1.0, 0.7, -(0.3**1) * math.log(0.7)),
        (0.0, 0.7, -(0.65**4) * math.log(0.35)),
        (0.0, 0.04, 0.0),  # an easy negative below the margin
    ],
)
def test_asymmetric_loss_is_the_published_one(target, p, expected):
    logit = torch.tensor([[math.log(p / (1 - p))]])
    found = asymmetric_loss(logit, torch.tensor([[target]]), torch.ones(1, 1))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_auc_margin_solves_its_minimax():
    """The closed form is the saddle value over a, b and alpha of the objective of the paper."""
    rng = np.random.default_rng(0)
    scores, labels = rng.uniform(size=12), np.array([1] * 5 + [0] * 7)
    positive, negative = scores[labels == 1], scores[labels == 0]

    def objective(a, b, alpha):
        gap = 1 + negative.mean() - positive.mean()
        spread = ((positive - a) ** 2).mean() + ((negative - b) ** 2).mean()
        return spread + 2 * alpha * gap - alpha**2

    grid = np.linspace(0, 2, 401)
    best_a = min(grid, key=lambda a: objective(a, 0, 0))
    best_b = min(grid, key=lambda b: objective(0, b, 0))
    saddle = max(objective(best_a, best_b, alpha) for alpha in grid)
    logits = torch.logit(torch.tensor(scores))[:, None]
    found = auc_margin_loss(logits, torch.tensor(labels)[:, None], torch.ones(12, 1))
    assert found.item() == pytest.approx(saddle, abs=1e-4)


def test_auc_margin_leaves_out_findings_of_one_class():
    logits, targets, mask = make_batch("auc-margin")
    targets[:, 1] = 0
    loss = auc_margin_loss(logits, targets, mask)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[:, 1].eq(0).all() and gradient[:, 0].ne(0).any()


def test_auc_margin_raises_the_auc():
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=600) < 0.1).astype(float)
    inputs = torch.tensor(rng.normal(size=(600, 5)) + 0.8 * labels[:, None]).float()
    targets = torch.tensor(labels)[:, None]
    weights = torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [0.0]], requires_grad=True)
    before = roc_auc_score(labels, (inputs @ weights).detach().numpy())
    for _ in range(60):
        loss = auc_margin_loss(inputs @ weights, targets, torch.ones_like(targets))
        (gradient,) = torch.autograd.grad(loss, weights)
        weights.data -= 2 * gradient
    after = roc_auc_score(labels, (inputs @ weights).detach().numpy())
    assert before < 0.6 and after > 0.85


def test_cross_entropy_of_three_classes_is_that_of_torch():
    logits, targets, mask = make_batch("multiclass")
    targets[1:3] = 0.5
    keep = mask > 0
    classes = torch.where(targets == 0.5, 2, targets).long()
    expected = F.cross_entropy(logits[keep], classes[keep])
    assert torch.allclose(masked_cross_entropy(logits, targets, mask), expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": "hinge"}, InputError, "--loss: 'hinge'; expected one of bce, weighted"),
        ({"name": "focal", "multiclass": True}, InputError, "expected 'bce' with --uncertain"),
        ({"name": "weighted"}, ValueError, "pos_weight: None"),
    ],
)
def test_wrong_loss_is_told(options, error, message):
    with pytest.raises(error, match=message):
        make_loss(**options)


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="expected one shape"):
        masked_bce(torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 3))
