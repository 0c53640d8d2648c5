"""Seeds and learning rates by step."""

import pytest

from cxrvision.train.schedule import learning_rate, step_seed


def test_seeds_differ_by_run_epoch_and_step() -> None:
    seeds = {
        step_seed(seed, epoch, step)
        for seed in (1, 2)
        for epoch in range(20)
        for step in range(-1, 50)
    }

    assert len(seeds) == 2 * 20 * 51
    assert all(0 <= seed < 2**56 for seed in seeds)


def test_a_seed_is_always_the_same() -> None:
    assert step_seed(1, 2, 3) == step_seed(1, 2, 3)


def test_learning_rate_rises_to_one_and_falls_to_zero() -> None:
    rates = [learning_rate(step, steps=100, warmup=10) for step in range(100)]

    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_learning_rate_without_warm_up_begins_at_one() -> None:
    assert learning_rate(0, steps=10, warmup=0) == 1
