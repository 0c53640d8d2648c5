import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrvision.model.fusion import FUSIONS, Features, drop_views, pool_views

D = 12


def _features(values, views, study, n, *, count=2, seen=None):
    by_view, present = pool_views(values, views, study, n, count)
    return Features(values, views, study, by_view, present if seen is None else present & seen)


@pytest.fixture
def paired():
    """Studies 0 with both views, 1 frontal only, 2 lateral only, 3 with two frontals, a lateral."""
    torch.manual_seed(1)
    views = torch.tensor([0, 1, 0, 1, 0, 1, 0])
    study = torch.tensor([0, 0, 1, 2, 3, 3, 3])
    return torch.randn(7, D), views, study


@pytest.fixture(params=FUSIONS)
def fusion(request):
    torch.manual_seed(0)
    module = FUSIONS[request.param](D, 2).eval()
    for parameter in module.parameters():  # away from the zeros that some begin with
        torch.nn.init.normal_(parameter, std=0.2)
    return module


def test_pool_views_averages_the_images_of_a_view(paired):
    values, views, study = paired
    by_view, present = pool_views(values, views, study, 4, 2)
    assert torch.allclose(by_view[3, 0], (values[4] + values[6]) / 2)
    assert torch.allclose(by_view[0, 1], values[1])
    assert by_view[1, 1].eq(0).all()
    assert present.tolist() == [[True, True], [True, False], [False, True], [True, True]]


def test_pool_views_leaves_out_other_views(paired):
    values, views, study = paired
    without = pool_views(values[:6], views[:6], study[:6], 4, 2)
    views[6] = -1
    left_out = pool_views(values, views, study, 4, 2)
    assert torch.equal(left_out[0], without[0]) and torch.equal(left_out[1], without[1])


def test_fusion_has_the_width_it_says(fusion, paired):
    assert fusion(_features(*paired, 4)).shape == (4, fusion.features)


def test_permuted_images_give_the_same_studies(fusion, paired):
    values, views, study = paired
    order = torch.tensor([6, 2, 0, 5, 3, 1, 4])
    expected = fusion(_features(values, views, study, 4))
    permuted = fusion(_features(values[order], views[order], study[order], 4))
    assert torch.allclose(permuted, expected, atol=1e-5)


def test_permuted_studies_give_permuted_results(fusion, paired):
    values, views, study = paired
    names = torch.tensor([2, 0, 3, 1])  # study i is called names[i]
    expected = fusion(_features(values, views, study, 4))
    permuted = fusion(_features(values, views, names[study], 4))
    assert torch.allclose(permuted[names], expected, atol=1e-5)


def test_studies_do_not_see_each_other(fusion, paired):
    values, views, study = paired
    expected = fusion(_features(values, views, study, 4))[1]
    alone = fusion(_features(values[2:3], views[2:3], torch.tensor([0]), 1))[0]
    assert torch.allclose(alone, expected, atol=1e-5)


def test_view_that_is_not_seen_is_as_if_it_were_absent(fusion, paired):
    values, views, study = paired
    seen = torch.tensor([[True, False]]).expand(4, 2)
    hidden = fusion(_features(values, views, study, 4, seen=seen))
    frontal = views == 0
    absent = fusion(_features(values[frontal], views[frontal], study[frontal], 4))
    assert torch.allclose(hidden, absent, atol=1e-5)


def test_view_counts_where_it_is_seen(fusion, paired):
    values, views, study = paired
    expected = fusion(_features(values, views, study, 4))
    values = values.clone()
    values[1] += 1.0  # the lateral of study 0
    changed = (fusion(_features(values, views, study, 4)) - expected).abs().amax(dim=1) > 1e-4
    assert changed.tolist() == [True, False, False, False]


def test_study_without_a_seen_view_is_finite(fusion, paired):
    nothing = torch.zeros(4, 2, dtype=torch.bool)
    result = fusion(_features(*paired, 4, seen=nothing))
    assert torch.isfinite(result).all()
    assert torch.allclose(result, result[:1].expand_as(result), atol=1e-6)


@pytest.mark.parametrize("name", ["moments", "max"])
def test_absent_view_changes_nothing(name, paired):
    """A model of three views, one of which no study has, fuses as one of two views."""
    values, views, study = paired
    two = FUSIONS[name](D, 2)(_features(values, views, study, 4))
    three = FUSIONS[name](D, 3)(_features(values, views, study, 4, count=3))
    assert torch.allclose(two, three, atol=1e-6)


def test_moments_are_those_of_the_views_that_are_there(paired):
    values, views, study = paired
    mean, variance = FUSIONS["moments"](D, 2)(_features(values, views, study, 4)).split(D, dim=1)
    both = torch.stack([values[0], values[1]])
    assert torch.allclose(mean[0], both.mean(0), atol=1e-6)
    assert torch.allclose(variance[0], both.var(0, unbiased=False), atol=1e-6)
    assert torch.allclose(mean[1], values[2], atol=1e-6)
    assert variance[1].eq(0).all()


def test_maximum_is_over_the_views_that_are_there(paired):
    values, views, study = paired
    greatest = FUSIONS["max"](D, 2)(_features(values, views, study, 4))
    assert torch.equal(greatest[0], torch.maximum(values[0], values[1]))
    assert torch.equal(greatest[1], values[2])  # its negatives too: no zeros for the absent view


def test_gated_concat_begins_as_the_concatenation(paired):
    values, views, study = paired
    gated = FUSIONS["gated"](D, 2)
    result = gated(_features(values, views, study, 4))
    assert torch.allclose(result[0], torch.cat([values[0], values[1]]), atol=1e-6)
    assert torch.allclose(result[1], torch.cat([values[2], gated.absent[1]]), atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "learns"),
    [([0, 1], [False, False]), ([2], [False, True]), ([3], [True, False])],
    ids=["both", "frontal", "lateral"],
)
def test_absent_vector_learns_only_where_its_view_is_absent(paired, rows, learns):
    values, views, study = (tensor[rows] for tensor in paired)
    gated = FUSIONS["gated"](D, 2)
    gated(_features(values, views, torch.zeros_like(study), 1)).square().sum().backward()
    assert gated.absent.grad.ne(0).any(dim=1).tolist() == learns


def test_attention_sees_each_image_of_a_view(paired):
    """Two images whose mean is that of the others are not the same to it, as they are to max."""
    values, views, study = paired
    torch.manual_seed(0)
    attention = FUSIONS["attention"](D, 2).eval()
    spread = values.clone()
    spread[4], spread[6] = values[4] + 3, values[6] - 3
    before, after = (attention(_features(v, views, study, 4)) for v in (values, spread))
    assert not torch.allclose(before[3], after[3], atol=1e-3)
    assert torch.allclose(before[:3], after[:3], atol=1e-5)


@given(
    present=st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=8),
    chance=st.floats(0, 0.99),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_drop_views_never_drops_the_last_one(present, chance, seed):
    there = torch.tensor(present)
    kept = drop_views(there, chance, torch.Generator().manual_seed(seed))
    assert not (kept & ~there).any()
    assert torch.equal(kept.any(dim=1), there.any(dim=1))


def test_drop_views_drops_as_often_as_asked():
    both = torch.ones(20_000, 2, dtype=torch.bool)
    kept = drop_views(both, 0.3, torch.Generator().manual_seed(0))
    lost = (~kept).float().mean(dim=0).tolist()
    assert lost == pytest.approx([0.15, 0.15], abs=0.01)
    assert kept.any(dim=1).all()


def test_drop_views_of_one_seed_are_the_same():
    both = torch.ones(50, 2, dtype=torch.bool)
    first, second = (drop_views(both, 0.5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)
