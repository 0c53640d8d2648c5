import math
from itertools import combinations

import numpy as np
import pytest

from cxrlabel.audit.heterogeneity import differ, excess, holm


def test_holm_multiplies_the_smallest_by_their_number():
    # 3 x .01, 2 x .02 (raised to .04), 1 x .03 (raised to .04)
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_holm_stays_below_one_and_leaves_out_what_was_not_tested():
    found = holm([0.6, math.nan, 0.9])

    assert found[0] == found[2] == 1
    assert math.isnan(found[1])


def test_excess_of_one_finding_is_fishers_exact_test():
    # 3 errors among 10 labels; all among the 4 that a rule decided: 4 choose 3 of 10 choose 3
    assert excess([3], [4], [3], [10]) == pytest.approx(4 / 120)


def test_excess_of_several_findings_counts_every_way():
    errors, labels, drawn = (2, 1), (5, 4), (2, 2)
    ways = [
        len(set(first) & set(range(errors[0]))) + len(set(second) & set(range(errors[1])))
        for first in combinations(range(labels[0]), drawn[0])
        for second in combinations(range(labels[1]), drawn[1])
    ]
    expected = sum(found >= 2 for found in ways) / len(ways)

    assert excess([1, 1], drawn, errors, labels) == pytest.approx(expected)


def test_excess_without_errors_is_no_evidence():
    assert excess([0, 0], [3, 2], [0, 4], [9, 9]) == pytest.approx(1)


def example(rng, *, rate=0.05, factor=1.0, studies=300, findings=6):
    """Errors of studies in three groups, the smallest with `factor` times the errors."""
    groups = rng.choice(3, studies, p=[0.6, 0.3, 0.1])
    counted = rng.random((studies, findings)) < np.linspace(0.8, 0.1, findings)
    frail = rng.gamma(1, 1, studies)[:, None]  # labels of a study err together
    rates = rate * frail * np.where(groups == 2, factor, 1)[:, None]
    wrong = counted & (rng.random(counted.shape) < rates)
    return wrong, counted, np.ones(counted.shape), groups


def test_groups_with_equal_rates_differ_as_rarely_as_said():
    rng = np.random.default_rng(1)
    found = [differ(*example(rng), permutations=99, seed=i) for i in range(200)]

    assert np.mean(np.array(found) <= 0.05) < 0.1


def test_group_with_more_errors_is_found():
    rng = np.random.default_rng(2)
    found = [differ(*example(rng, factor=4), permutations=99, seed=i) for i in range(60)]

    assert np.mean(np.array(found) <= 0.05) > 0.5


def test_hard_findings_in_one_group_are_no_difference():
    found, ratios = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat([0, 1], 200)
        # finding 1 is hard, and frequent in group 1 alone
        chances = np.where(groups == 0, [[0.9], [0.1]], [[0.1], [0.9]]).T
        counted = rng.random((400, 2)) < chances
        wrong = counted & (rng.random((400, 2)) < [0.02, 0.4])
        first, second = (wrong[groups == g].sum() / counted[groups == g].sum() for g in (0, 1))
        ratios.append(second / first)
        weights = np.ones((400, 2))
        found.append(differ(wrong, counted, weights, groups, permutations=99, seed=seed))

    assert min(ratios) > 2
    assert np.mean(np.array(found) <= 0.05) < 0.15


def test_studies_of_one_patient_count_less():
    rng = np.random.default_rng(4)
    wrong, counted, weights, groups = example(rng, factor=3, studies=100)
    often = [np.repeat(part, 4, axis=0) for part in (wrong, counted, weights, groups)]
    patients = np.repeat(np.arange(100), 4)

    alone = differ(*often, permutations=199)
    together = differ(*often, patients=patients, permutations=199)
    assert alone < together


@pytest.mark.parametrize("case", ["one group", "no error", "nothing counted"])
def test_nothing_to_compare_is_no_test(case):
    wrong, counted, weights, groups = example(np.random.default_rng(5))
    if case == "one group":
        groups = np.zeros_like(groups)
    elif case == "no error":
        wrong = np.zeros_like(wrong)
    else:
        counted = np.zeros_like(counted)

    assert math.isnan(differ(wrong, counted, weights, groups))


def test_equal_seeds_give_equal_values():
    data = example(np.random.default_rng(6))

    assert differ(*data, seed=3) == differ(*data, seed=3)
