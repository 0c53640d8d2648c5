"""What stands in the place of a target says what it should, proven on simulated labels."""

import numpy as np
import pytest
import torch
from noise_tables import COMMON, make_finding_table, make_observation
from numpy.typing import NDArray

from cxrvision.noise.correction import (
    BY_TABLE,
    backward_weights,
    correct,
    likelihood_ratios,
    mix,
    pick,
    values_by_state,
    wrong_shares,
)
from cxrvision.noise.tables import make_tables, state_codes
from cxrvision.targets import make_targets
from cxrvision.train.losses import masked_bce
from cxrvision.train.noise_losses import corrected_loss, forward_loss

GIVEN = np.array(COMMON)
TABLES = make_tables(make_observation({"Edema": make_finding_table()}), ("Edema", "Mass"))
STATES = np.array([[1, 1], [-1, 0], [0, np.nan], [np.nan, -1]])


def test_backward_weights_give_each_truth_its_own_loss() -> None:
    weights = backward_weights(GIVEN, np.array(0.2))

    # T w is 1 for truth 1 and 0 for truth 0: the mean over the states is the loss of the truth
    assert GIVEN @ weights == pytest.approx([1, 0])


def test_backward_weights_do_not_exist_where_labels_tell_nothing() -> None:
    same = np.stack([GIVEN[0], GIVEN[0]])

    assert np.isnan(backward_weights(same, np.array(0.2))).all()


@pytest.mark.parametrize("method", BY_TABLE)
def test_only_findings_with_a_table_are_corrected(method: str) -> None:
    policy = make_targets(STATES, findings=("Edema", "Mass"))

    found = correct(policy, pick(values_by_state(TABLES, method), STATES), method)

    assert found.corrected is not None
    assert found.corrected.tolist() == [True, False]
    assert found.values[:, 0] == pytest.approx(values_by_state(TABLES, method)[0], rel=1e-6)
    assert found.mask[:, 0].tolist() == [1, 1, 1, 1]
    assert np.array_equal(found.values[:, 1], policy.values[:, 1])
    assert np.array_equal(found.mask[:, 1], policy.mask[:, 1])


@pytest.mark.parametrize("method", BY_TABLE)
def test_a_truth_that_was_looked_up_stands_above_the_label(method: str) -> None:
    truth = np.full(STATES.shape, np.nan)
    truth[:2, 0] = 0, 1
    policy = make_targets(STATES, findings=("Edema", "Mass"))
    values = values_by_state(TABLES, method)

    found = correct(policy, pick(values, STATES), method, truth=truth)
    loss = corrected_loss(found, masked_bce, torch.device("cpu"))
    logits = torch.tensor([[4.0, 0.0], [4.0, 0.0]])
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    target = torch.from_numpy(found.values[:2])

    assert float(loss(logits, target, mask)) == pytest.approx(np.logaddexp(0, 4), rel=1e-3)
    assert float(loss(logits, target, mask.flip(0))) == pytest.approx(np.logaddexp(0, -4), rel=1e-3)


def test_evidence_moves_the_odds() -> None:
    policy = make_targets(STATES, findings=("Edema", "Mass"))
    evidence = np.full(STATES.shape, np.log(3.0))
    plain, moved = (
        correct(policy, pick(values_by_state(TABLES, "soft"), STATES), "soft", evidence=more)
        for more in (None, evidence)
    )

    odds = [x.values[:, 0] / (1 - x.values[:, 0]) for x in (plain, moved)]
    assert odds[1] == pytest.approx(3 * odds[0], rel=1e-4)


def test_shares_of_wrong_labels_are_those_of_the_joint_table() -> None:
    missed, overcalled = wrong_shares(TABLES)[:, 0]

    assert overcalled == pytest.approx(0.8 * 0.05 / (0.2 * 0.6 + 0.8 * 0.05))
    assert missed == pytest.approx(0.2 * 0.35 / (0.2 * 0.35 + 0.8 * 0.93))


def simulate(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """A score, the truth with P(y = 1) = sigmoid(2 score - 2), and the label's state."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    truth = rng.random(n) < 1 / (1 + np.exp(2 - 2 * score))
    bounds = GIVEN[np.where(truth, 0, 1)].cumsum(axis=1)
    return score, truth, (rng.random(n)[:, None] > bounds).sum(axis=1).clip(max=3)


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_minimizing_a_corrected_loss_finds_the_clean_model(method: str) -> None:
    """Intercept and slope come out at -2 and 2; those of plain labels do not."""
    score, truth, state = simulate(100_000, seed=2)
    share = float(truth.mean())
    by_state = (
        likelihood_ratios(GIVEN)
        if method == "forward"
        else backward_weights(GIVEN, np.array(share))
    )
    targets = {"corrected": by_state[state], "labels": (state == 0).astype(float)}
    loss = {"corrected": forward_loss if method == "forward" else masked_bce, "labels": masked_bce}

    found = {name: fit(score, targets[name], loss[name]) for name in targets}

    assert found["corrected"] == pytest.approx([-2, 2], abs=0.1)
    assert abs(found["labels"][1] - 2) > 0.5


def fit(score: NDArray[np.float64], target: NDArray[np.float64], loss) -> list[float]:  # type: ignore[no-untyped-def]
    x, z = torch.from_numpy(score).float()[:, None], torch.from_numpy(target).float()[:, None]
    beta = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([beta], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(beta[0] + beta[1] * x, z, torch.ones_like(x))
        value.backward()
        return value

    optimizer.step(closure)
    return beta.tolist()


@pytest.mark.parametrize("method", BY_TABLE)
def test_probabilities_of_a_certain_label_are_the_label(method: str) -> None:
    certain = np.zeros((*STATES.shape, 4))
    np.put_along_axis(certain, state_codes(STATES)[..., None], 1, axis=-1)

    mixed = mix(TABLES, method, certain)

    assert mixed[:, 0] == pytest.approx(pick(values_by_state(TABLES, method), STATES)[:, 0])


@pytest.mark.parametrize("method", BY_TABLE)
def test_an_uncertain_label_is_worth_less_than_either_state(method: str) -> None:
    low, high = sorted(values_by_state(TABLES, method)[0, [0, 2]])
    probs = np.zeros((1, 2, 4))
    probs[..., 0] = probs[..., 2] = 0.5

    assert low < mix(TABLES, method, probs)[0, 0] < high


def test_forward_takes_the_likelihood_of_the_uncertain_label() -> None:
    probs = np.full((1, 2, 4), 0.25)

    assert mix(TABLES, "forward", probs)[0, 0] == pytest.approx(0)  # says nothing
