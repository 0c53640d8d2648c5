"""Batches: every study once, the views evenly spread, every process its own part."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrvision.train.batches import BatchPlan, plan_all, plan_epoch

FRONTAL, LATERAL = 0, 1


class Table(SimpleNamespace):
    """What plans look at of the studies."""

    def __len__(self) -> int:
        return len(self.counts)


def table(*views: list[int]) -> Any:
    """Studies with images of these views."""
    return Table(
        offsets=np.concatenate([[0], np.cumsum([len(own) for own in views])]),
        views=np.array([view for own in views for view in own]),
        images=np.arange(sum(map(len, views))),
        counts=np.array([[own.count(view) for view in (FRONTAL, LATERAL)] for own in views]),
    )


def plan(views: list[list[int]], batch_size: int, **options: int) -> list[BatchPlan]:
    seed = options.pop("seed", 1)
    rng = np.random.default_rng(seed)
    return plan_epoch(table(*views), batch_size=batch_size, rng=rng, **options)


MIXED = [[FRONTAL]] * 60 + [[FRONTAL, LATERAL]] * 30 + [[LATERAL]] * 10


def test_an_epoch_takes_each_study_once() -> None:
    index = np.concatenate([batch.index for batch in plan(MIXED, 10)])

    assert sorted(index) == list(range(100))


def test_views_are_spread_over_the_batches() -> None:
    owned = table(*MIXED)
    images = [len(batch.rows) for batch in plan(MIXED, 10)]
    laterals = [(owned.views[batch.rows] == LATERAL).sum() for batch in plan(MIXED, 10)]

    assert max(images) - min(images) <= 2
    assert max(laterals) - min(laterals) <= 2


def test_one_image_of_each_view_is_taken_at_random() -> None:
    views = [[FRONTAL, FRONTAL, LATERAL]] * 200
    rows = np.concatenate([batch.rows for batch in plan(views, 20)])

    assert len(rows) == 400
    assert 60 < (rows % 3 == 0).sum() < 140


def test_images_belong_to_their_study() -> None:
    owned = table(*MIXED)
    owner = np.repeat(np.arange(100), np.diff(owned.offsets))
    for batch in plan(MIXED, 7):
        assert (owner[batch.rows] == batch.index[batch.study]).all()


def test_equal_seeds_give_equal_plans() -> None:
    first, second, other = (plan(MIXED, 10, seed=seed) for seed in (1, 1, 2))

    assert all((a.index == b.index).all() for a, b in zip(first, second, strict=True))
    assert any((a.index != b.index).any() for a, b in zip(first, other, strict=True))


def test_processes_share_each_batch() -> None:
    whole = plan(MIXED, 10)
    parts = [plan(MIXED, 10, rank=rank, world_size=2) for rank in (0, 1)]

    for batch, one, other in zip(whole, *parts, strict=True):
        assert sorted([*one.index, *other.index]) == sorted(batch.index)
        assert len(one.index) == len(other.index) == 5


def test_fewer_studies_than_a_batch_make_one() -> None:
    assert [len(batch.index) for batch in plan([[FRONTAL]] * 3, 10)] == [3]


def test_prediction_takes_all_images_in_order() -> None:
    plans = plan_all(table([FRONTAL, FRONTAL, LATERAL], [LATERAL], [FRONTAL]), batch_size=2)

    assert [list(batch.rows) for batch in plans] == [[0, 1, 2, 3], [4]]
    assert [list(batch.study) for batch in plans] == [[0, 0, 0, 1], [0]]


@pytest.mark.parametrize(("most", "rows"), [(1, [0, 2, 3]), (2, [0, 1, 2, 3])])
def test_prediction_takes_so_many_images_of_a_view(most: int, rows: list[int]) -> None:
    plans = plan_all(table([FRONTAL, FRONTAL, LATERAL], [LATERAL]), batch_size=2, most=most)

    assert list(plans[0].rows) == rows


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([[0], [1], [0, 1], [0, 0, 1], [1, 1]]), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_every_plan_is_whole(views: list[list[int]], batch_size: int) -> None:
    for batch in plan(views, batch_size):
        present = {(study, FRONTAL) for study in range(len(views)) if FRONTAL in views[study]}
        present |= {(study, LATERAL) for study in range(len(views)) if LATERAL in views[study]}
        owned = table(*views)
        seen = [
            (int(batch.index[study]), int(owned.views[row]))
            for row, study in zip(batch.rows, batch.study, strict=True)
        ]
        assert len(seen) == len(set(seen))
        assert set(seen) == {pair for pair in present if pair[0] in set(batch.index)}
