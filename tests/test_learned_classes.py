import numpy as np
import pytest

from cxrlabel.findings import STATES
from cxrlabel.learned.classes import Classes, told_apart

FOUR = STATES
TWO = ("positive", "negative")


def test_four_states_are_told_apart_where_reviewers_use_them() -> None:
    found = told_apart([20, 10, 30, 40], FOUR)

    assert found is not None
    assert found.names == ("positive", "uncertain", "blank", "negative")
    assert [found.names[number] for number in found.of_state] == list(STATES)


def test_codes_of_two_states_tell_positive_from_the_rest() -> None:
    found = told_apart([20, 0, 80, 0], TWO)

    assert found == Classes(("positive", "negative"), (0, 1, 1, 1))


def test_a_state_that_is_rare_belongs_to_the_rest() -> None:
    found = told_apart([20, 2, 30, 40], FOUR)

    assert found is not None
    assert "uncertain" not in found.names
    assert found.of_state[STATES.index("uncertain")] == found.names.index("negative")


@pytest.mark.parametrize("counts", [[4, 0, 96, 0], [96, 0, 4, 0], [0, 0, 0, 0]])
def test_too_few_of_a_kind_teach_nothing(counts: list[float]) -> None:
    assert told_apart(counts, TWO) is None


def test_reviewers_who_write_one_or_nothing_mean_not_positive_by_blank() -> None:
    found = told_apart([20, 0, 0, 80], ("positive", "blank"))

    assert found == Classes(("positive", "blank"), (0, 1, 1, 1))


def test_the_rest_keeps_the_state_that_the_rules_found() -> None:
    classes = Classes(("positive", "negative"), (0, 1, 1, 1))
    rules = np.array(
        [STATES.index(state) for state in ("uncertain", "blank", "positive")], np.uint8
    )

    found = classes.spread(np.full((3, 2), 0.5), rules)

    assert [STATES[i] for i in found[:, 1:].argmax(axis=1) + 1] == [
        "uncertain",
        "blank",
        "negative",
    ]
    assert found.sum(axis=1) == pytest.approx(1)


def test_merging_adds_up_what_is_not_told_apart() -> None:
    classes = Classes(("positive", "negative"), (0, 1, 1, 1))

    assert classes.merge(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx([0.1, 0.9])
