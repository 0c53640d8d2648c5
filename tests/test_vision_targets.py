import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlabel.errors import InputError
from cxrvision.targets import (
    BLANK,
    UNCERTAIN,
    any_finding,
    fill_by_no_finding,
    make_soft_targets,
    make_targets,
    needs_three_classes,
    positive_weights,
)

NAN = np.nan
FINDINGS = ("Edema", "Pneumonia", "Support Devices", "No Finding")


def one_finding(*states, **options):
    column = np.array(states, dtype=np.float32)[:, None]
    return make_targets(column, findings=["Edema"], **options)


@pytest.mark.parametrize(
    ("uncertain", "value", "mask"),
    [("ignore", 0, 0), ("zeros", 0, 1), ("ones", 1, 1), ("multiclass", 0.5, 1)],
)
def test_uncertain_label_becomes_what_its_policy_says(uncertain, value, mask):
    targets = one_finding(1, 0, -1, uncertain=uncertain)
    assert targets.values[:, 0].tolist() == [1, 0, value]
    assert targets.mask[:, 0].tolist() == [1, 1, mask]
    assert targets.multiclass == (uncertain == "multiclass")


@pytest.mark.parametrize(("blank", "mask"), [("zeros", 1), ("ignore", 0)])
def test_blank_is_negative_or_ignored(blank, mask):
    targets = one_finding(1, NAN, blank=blank)
    assert targets.values[:, 0].tolist() == [1, 0]
    assert targets.mask[:, 0].tolist() == [1, mask]


def test_defaults_ignore_uncertain_and_take_blank_as_negative():
    targets = one_finding(-1, NAN)
    assert targets.mask[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("policy", "low", "high"), [("smooth", 0.55, 0.85), ("smooth-zeros", 0.0, 0.3)]
)
def test_smoothed_targets_fill_their_range(policy, low, high):
    values = one_finding(*[-1.0] * 2000, uncertain=policy, seed=3).values
    assert values.min() == pytest.approx(low, abs=0.01)
    assert values.max() == pytest.approx(high, abs=0.01)
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.01)


def test_smoothing_is_seeded_and_leaves_other_findings_alone():
    states = np.full((20, 2), -1.0)
    both = make_targets(states, findings=["Edema", "Pneumonia"], uncertain="smooth", seed=1)
    alone = make_targets(states[:, 1:], findings=["Pneumonia"], uncertain="smooth", seed=1)
    other = make_targets(states[:, 1:], findings=["Pneumonia"], uncertain="smooth", seed=2)
    assert np.array_equal(both.values[:, 1], alone.values[:, 0])
    assert not np.array_equal(both.values[:, 0], both.values[:, 1])
    assert not np.array_equal(alone.values, other.values)


def test_self_training_takes_the_probabilities_of_uncertain_cells_only():
    probs = np.array([[0.9], [0.8], [0.7], [NAN]])
    targets = one_finding(0, NAN, -1, -1, uncertain="self-train", probs=probs)
    assert targets.values[:, 0].tolist() == pytest.approx([0, 0, 0.7, 0])
    assert targets.mask[:, 0].tolist() == [1, 1, 1, 0]  # no probability, no target


def test_self_training_without_probabilities_says_what_is_needed():
    with pytest.raises(InputError, match="needs the predictions of a model trained with"):
        one_finding(-1, uncertain="self-train")


def test_findings_may_have_policies_of_their_own():
    states = np.full((1, 3), -1.0)
    targets = make_targets(
        states,
        findings=["Edema", "Pneumonia", "Fracture"],
        uncertain="ignore",
        per_finding={"Edema": "ones", "Fracture": "multiclass"},
    )
    assert targets.values.tolist() == [[1, 0, 0.5]]
    assert targets.mask.tolist() == [[1, 0, 1]]
    assert targets.multiclass


def test_three_classes_are_needed_where_any_finding_wants_them():
    assert needs_three_classes("multiclass")
    assert needs_three_classes("ones", {"Edema": "multiclass"})
    assert not needs_three_classes("ones", {"Edema": "zeros"})
    overruled = one_finding(-1, uncertain="multiclass", per_finding={"Edema": "ones"})
    assert overruled.multiclass  # the model is built by the same rule


@pytest.mark.parametrize(
    ("states", "filled"),
    [  # Edema, Pneumonia, Support Devices, No Finding
        ([NAN, NAN, NAN, 1], [0, 0, NAN, 1]),  # devices are no abnormality: not known
        ([NAN, NAN, 1, 1], [0, 0, 1, 1]),
        ([1, NAN, NAN, NAN], [1, NAN, NAN, 0]),
        ([-1, NAN, NAN, NAN], [-1, NAN, NAN, 0]),
        ([0, NAN, NAN, NAN], [0, NAN, NAN, NAN]),  # no edema says nothing of the others
        ([NAN, NAN, 1, NAN], [NAN, NAN, 1, NAN]),
        ([1, NAN, NAN, 1], [1, 0, NAN, 1]),  # a contradiction stays
        ([NAN, NAN, NAN, 0], [NAN, NAN, NAN, 0]),
        ([NAN, NAN, NAN, NAN], [NAN, NAN, NAN, NAN]),
    ],
)
def test_no_finding_fills_what_it_implies(states, filled):
    found = fill_by_no_finding(np.array([states], dtype=float), FINDINGS)[0]
    assert np.array_equal(found, np.array(filled, dtype=np.float32), equal_nan=True)


def test_no_finding_gives_negatives_where_blanks_are_ignored():
    targets = make_targets(np.array([[NAN, NAN, NAN, 1.0]]), findings=FINDINGS, blank="ignore")
    assert targets.mask.tolist() == [[1, 1, 0, 1]]
    assert targets.values.tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([1, -1, NAN, NAN], 1),
        ([0, -1, NAN, NAN], -1),
        ([0, NAN, NAN, NAN], 0),
        ([NAN, NAN, 1, 1], 0),
        ([NAN, NAN, 1, NAN], NAN),
        ([1, NAN, NAN, 1], 1),
    ],
)
def test_any_finding_is_the_reverse_of_no_finding(states, state):
    found = any_finding(np.array([states], dtype=float), FINDINGS)
    assert np.array_equal(found, np.array([state], dtype=np.float32), equal_nan=True)


def test_positive_weights_balance_what_is_not_masked():
    targets = one_finding(1, 0, 0, 0, -1, uncertain="ignore")
    assert positive_weights(targets).tolist() == [3]


@pytest.mark.parametrize(
    ("states", "weight"), [([0] * 50 + [1], 20), ([1] * 50 + [0], 0.05), ([0, 0], 1), ([1, 1], 1)]
)
def test_positive_weights_are_bounded(states, weight):
    assert positive_weights(one_finding(*states)).tolist() == pytest.approx([weight])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertain": "maybe"}, "--uncertain: 'maybe'; expected one of ignore, zeros"),
        ({"blank": "ones"}, "--blank: 'ones'; expected one of zeros, ignore"),
        ({"per_finding": {"Edema": "maybe"}}, "--uncertain: 'maybe'"),
        ({"per_finding": {"Fracture": "ones"}}, "--policy Fracture: expected one of Edema"),
    ],
)
def test_wrong_policy_is_one_line(options, message):
    with pytest.raises(InputError, match=message):
        one_finding(-1, **options)


@pytest.mark.parametrize("states", [np.array([[2.0]]), np.array([[0.5]]), np.zeros((2, 3))])
def test_states_of_another_coding_are_refused(states):
    with pytest.raises(ValueError, match="states"):
        make_targets(states, findings=["Edema"])


@given(
    states=st.lists(
        st.lists(st.sampled_from([1.0, 0.0, -1.0, NAN]), min_size=4, max_size=4),
        min_size=1,
        max_size=6,
    ),
    uncertain=st.sampled_from(UNCERTAIN),
    blank=st.sampled_from(BLANK),
)
@settings(max_examples=100)
def test_targets_are_finite_and_sure_labels_kept(states, uncertain, blank):
    table = np.array(states)
    probs = np.full(table.shape, 0.25)
    targets = make_targets(table, findings=FINDINGS, uncertain=uncertain, blank=blank, probs=probs)
    assert targets.values.dtype == targets.mask.dtype == np.float32
    assert ((targets.values >= 0) & (targets.values <= 1)).all()
    assert np.isin(targets.mask, (0, 1)).all()
    assert not targets.values[targets.mask == 0].any()
    sure = np.isin(table, (0, 1))
    assert np.array_equal(targets.values[sure], table[sure].astype(np.float32))
    assert targets.mask[sure].all()


def test_states_are_not_changed():
    states = np.array([[NAN, -1.0, 0.0, 1.0]])
    before = states.copy()
    make_targets(states, findings=FINDINGS, uncertain="ones")
    assert np.array_equal(states, before, equal_nan=True)


CERTAIN = {1: (1, 0, 0, 0), -1: (0, 1, 0, 0), 0: (0, 0, 1, 0), None: (0, 0, 0, 1)}


@pytest.mark.parametrize("uncertain", ["ignore", "zeros", "ones", "smooth"])
@pytest.mark.parametrize("blank", ["zeros", "ignore"])
def test_certain_probabilities_give_the_targets_of_the_states(uncertain: str, blank: str) -> None:
    states = np.array([[1], [-1], [0], [np.nan]], np.float32)
    probs = np.array([[CERTAIN[key]] for key in (1, -1, 0, None)], np.float64)

    hard = make_targets(states, findings=("Edema",), uncertain=uncertain, blank=blank)
    soft = make_soft_targets(probs, findings=("Edema",), uncertain=uncertain, blank=blank)

    assert soft.values == pytest.approx(hard.values)
    assert soft.mask == pytest.approx(hard.mask)


def test_soft_targets_are_means_over_the_states_that_count() -> None:
    probs = np.array([[[0.3, 0.5, 0.1, 0.1]]])

    ignored = make_soft_targets(probs, findings=("Edema",))
    ones = make_soft_targets(probs, findings=("Edema",), per_finding={"Edema": "ones"})

    assert (ignored.values[0, 0], ignored.mask[0, 0]) == pytest.approx((0.6, 0.5))
    assert (ones.values[0, 0], ones.mask[0, 0]) == pytest.approx((0.8, 1))


@pytest.mark.parametrize("policy", ["self-train", "multiclass"])
def test_policies_that_need_states_are_refused_with_probabilities(policy: str) -> None:
    with pytest.raises(InputError, match=f"--uncertain {policy}: with probabilities"):
        make_soft_targets(np.full((1, 1, 4), 0.25), findings=("Edema",), uncertain=policy)
