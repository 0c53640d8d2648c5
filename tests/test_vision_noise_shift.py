import numpy as np
import pytest
from noise_tables import COMMON, make_finding_table, make_observation

from cxrvision.noise.shift import estimate_prevalence, shift_tables
from cxrvision.noise.tables import make_tables

GIVEN = np.array(COMMON)
CODES = np.array([1.0, -1.0, 0.0, np.nan])


def draw_states(prevalence: float, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = prevalence * GIVEN[0] + (1 - prevalence) * GIVEN[1]
    return CODES[rng.choice(4, size=n, p=shares)]


def test_prevalence_is_unbiased_and_its_error_is_right() -> None:
    shares = 0.1 * GIVEN[0] + 0.9 * GIVEN[1]
    counts = np.random.default_rng(1).multinomial(2000, shares, size=400).astype(float)

    found = [estimate_prevalence(row, GIVEN) for row in counts]

    values = np.array([one.prevalence for one in found])
    assert values.mean() == pytest.approx(0.1, abs=3 * values.std() / 20)
    covered = [abs(one.prevalence - 0.1) < 1.96 * one.error for one in found]
    assert 0.92 < np.mean(covered) < 0.98  # 95 %, with 400 draws


def test_two_states_are_the_estimator_of_rogan_and_gladen() -> None:
    given = np.array([[0.8, 0, 0.2, 0], [0.1, 0, 0.9, 0]])

    found = estimate_prevalence(np.array([240.0, 0, 760, 0]), given)

    assert found.prevalence == pytest.approx((0.24 - 0.1) / (0.8 - 0.1), abs=1e-6)


@pytest.mark.parametrize(
    ("counts", "given", "words"),
    [
        (
            [50, 5, 500, 400],
            np.stack([GIVEN[0], GIVEN[0] + [0.02, 0, -0.02, 0]]),
            "nearly the same",
        ),
        ([2, 0, 4, 4], GIVEN, "too few studies"),
        ([100, 700, 100, 100], GIVEN, "no mixture"),
    ],
)
def test_what_cannot_be_told_is_said(counts: list[int], given: np.ndarray, words: str) -> None:
    assert words in estimate_prevalence(np.array(counts, dtype=float), given).problem


def test_tables_move_only_where_the_prevalence_differs() -> None:
    observation = make_observation({"Edema": make_finding_table(), "Mass": make_finding_table()})
    tables = make_tables(observation, ("Edema", "Mass"))
    states = np.stack([draw_states(0.2, 4000, 1), draw_states(0.5, 4000, 2)], axis=1)

    moved, found, warnings = shift_tables(tables, observation, states, place="the studies")

    assert moved.prevalence[0] == tables.prevalence[0]
    assert moved.prevalence[1] == pytest.approx(0.5, abs=0.04)
    assert moved.shifted.tolist() == [False, True]
    assert set(found) == {"Edema", "Mass"}
    assert not warnings


def test_a_site_with_other_errors_keeps_the_audit_and_warns() -> None:
    observation = make_observation({"Edema": make_finding_table()})
    tables = make_tables(observation, ("Edema",))
    states = np.where(np.arange(2000) % 2 == 0, -1.0, 0.0)[:, None]

    moved, _, warnings = shift_tables(tables, observation, states, place="site B")

    assert moved.prevalence[0] == tables.prevalence[0]
    assert warnings[0].startswith("site B: the prevalence of Edema is not known: no mixture")
