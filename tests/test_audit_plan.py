import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.audit.plan import (
    AuditPlan,
    CellPlan,
    needed_reviews,
    plan_audit,
    wilson,
    wilson_half_width,
)
from cxrlabel.audit.sampling import draw_sample, state_cells
from cxrlabel.errors import InputError
from cxrlabel.stats import wilson_interval

STATES = {"positive": 1.0, "uncertain": -1.0, "negative": 0.0, "blank": math.nan}


def labels(**findings: dict[str, int]) -> pd.DataFrame:
    columns = {
        name: [STATES[state] for state, count in counts.items() for _ in range(count)]
        for name, counts in findings.items()
    }
    return pd.DataFrame(columns).rename(index="s{}".format)


def cell(plan: AuditPlan, finding: str, state: str) -> CellPlan:
    return next(c for c in plan.cells if (c.finding, c.state) == (finding, state))


EDEMA = labels(Edema={"positive": 200, "uncertain": 50, "negative": 750, "blank": 3000})


# intervals


@pytest.mark.parametrize(("count", "n"), [(0, 5), (3, 20), (20, 20), (50, 200)])
def test_interval_of_a_whole_number_is_wilsons(count, n):
    assert wilson(count / n, n) == pytest.approx(wilson_interval(count, n))


def test_interval_of_no_reviews_is_everything():
    assert wilson(0.85, 0) == (0, 1)
    assert wilson_half_width(0.85, 0) == 0.5


@given(st.floats(0, 1), st.floats(0.005, 0.49))
def test_needed_reviews_are_the_fewest_that_give_the_half_width(share, half_width):
    n = needed_reviews(share, half_width)

    assert wilson_half_width(share, n) <= half_width + 1e-9
    assert wilson_half_width(share, n - 1) > half_width


@pytest.mark.parametrize(("share", "half_width", "n"), [(0.5, 0.1, 93), (0.85, 0.05, 196)])
def test_needed_reviews_of_known_cases(share, half_width, n):
    assert needed_reviews(share, half_width) == n


# the plan


def test_plan_has_a_row_for_each_finding_and_state():
    plan = plan_audit(EDEMA, n=100)

    assert [(c.finding, c.state, c.studies) for c in plan.cells] == [
        ("Edema", "positive", 200),
        ("Edema", "uncertain", 50),
        ("Edema", "negative", 750),
        ("Edema", "blank", 3000),
    ]


def test_cost_is_in_studies_and_minutes():
    plan = plan_audit(EDEMA, n=100, pace=1.5)
    positive = cell(plan, "Edema", "positive")

    assert (plan.studies, plan.n, plan.minutes) == (4000, 100, 150)
    assert positive.needed == needed_reviews(0.85, 0.1)
    assert positive.minutes == 1.5 * positive.needed


def test_plan_without_a_size_takes_the_smallest_that_reaches_the_half_width():
    plan = plan_audit(EDEMA)
    assert plan.n == plan.n_wanted
    assert plan.minutes == plan.minutes_wanted

    smaller = plan_audit(EDEMA, n=plan.n_wanted - 1)
    assert {c.state for c in plan.cells if c.reach == "yes"} == {"positive", "negative", "blank"}
    assert "more" in {c.reach for c in smaller.cells}


def test_half_width_is_reached_where_the_plan_says_so():
    plan = plan_audit(EDEMA, half_width=0.07)

    reached = [c for c in plan.cells if c.reach == "yes"]
    assert len(reached) == 3
    # an interval that would leave [0, 1] is cut
    assert all(c.hi - c.lo <= 2 * 0.07 + 1e-6 for c in reached)


@pytest.mark.parametrize(
    ("count", "reach"), [(0, "none"), (1, "few"), (4, "few"), (5, "wide"), (48, "wide")]
)
def test_state_with_too_few_studies_is_named(count, reach):
    plan = plan_audit(labels(Mass={"positive": count, "blank": 1000 - count}), n=900)

    positive = cell(plan, "Mass", "positive")
    assert positive.reach == reach
    assert positive in plan.unmeasurable
    assert positive.best_half_width == wilson_half_width(0.85, count) > 0.1


def test_state_with_just_enough_studies_is_not_named():
    plan = plan_audit(labels(Mass={"positive": 49, "blank": 951}))

    assert needed_reviews(0.85, 0.1) == 49
    assert cell(plan, "Mass", "positive").reach == "yes"
    assert {(c.state, c.reach) for c in plan.unmeasurable} == {
        ("uncertain", "none"),
        ("negative", "none"),
    }


def test_table_that_is_too_small_for_anything_is_reviewed_whole():
    plan = plan_audit(labels(Mass={"positive": 3, "blank": 4}))

    assert plan.n_wanted == plan.n == 7
    assert {c.reach for c in plan.cells} == {"few", "none"}


def test_no_more_studies_are_planned_than_there_are():
    plan = plan_audit(EDEMA, n=10**6)

    assert plan.n == 4000
    assert cell(plan, "Edema", "uncertain").expected == pytest.approx(50)


# guesses


def test_default_guess_leaves_a_tenth_of_the_truths_to_negative_and_blank():
    plan = plan_audit(EDEMA, n=100)

    missed = [cell(plan, "Edema", state) for state in ("negative", "blank")]
    assert missed[0].guess == missed[1].guess
    truths = 200 * 0.85 + 50 * 0.5
    assert sum(c.studies * c.guess for c in missed) == pytest.approx(truths / 9)


def test_guess_for_a_finding_goes_before_that_for_all():
    table = EDEMA.assign(Mass=EDEMA["Edema"])
    guesses = {"*": {"positive": 0.7, "blank": 0.2}, "Mass": {"positive": 0.6}}

    plan = plan_audit(table, n=100, guesses=guesses)

    assert cell(plan, "Edema", "positive").guess == 0.7
    assert cell(plan, "Mass", "positive").guess == 0.6
    assert cell(plan, "Mass", "blank").guess == 0.2
    assert cell(plan, "Mass", "uncertain").guess == 0.5


def test_prevalence_says_how_many_truths_the_other_states_hold():
    plan = plan_audit(EDEMA, n=100, prevalence={"Edema": 0.1}, guesses={"*": {"negative": 0.02}})

    rest = 400 - 200 * 0.85 - 50 * 0.5 - 750 * 0.02
    assert cell(plan, "Edema", "blank").guess == pytest.approx(rest / 3000)
    assert plan.findings[0].prevalence == pytest.approx(0.1)
    assert plan.findings[0].sensitivity == pytest.approx(170 / 400)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "--n: 1; expected 2 or more"),
        ({"half_width": 0}, "--half-width: 0; expected a number between"),
        ({"half_width": 0.5}, "--half-width: 0.5; expected a number between"),
        ({"pace": 0}, "--pace: 0; expected minutes above 0"),
        ({"floor": -1}, "--floor: -1; expected a share"),
        ({"guesses": {"Edmea": {}}}, "unknown finding 'Edmea'; did you mean 'Edema'"),
        ({"guesses": {"*": {"posit": 0.5}}}, "unknown state 'posit'; did you mean 'positive'"),
        ({"guesses": {"*": {"positive": 85}}}, "guesses: positive: 85; expected a share"),
        ({"prevalence": {"Edema": 3}}, "prevalence of Edema: 3; expected a share"),
        ({"prevalence": {"Edema": 0.01}}, "guesses for its states leave 0.04875 to 0.9862"),
    ],
)
def test_impossible_plan_is_an_error(options, message):
    with pytest.raises(InputError, match=message):
        plan_audit(EDEMA, **options)


@pytest.mark.parametrize("table", [EDEMA[:0], EDEMA[[]]])
def test_empty_table_is_an_error(table):
    with pytest.raises(InputError, match="no studies or no findings"):
        plan_audit(table)


# simulation: what the plan expects is what audits give


@pytest.fixture(scope="module")
def audits() -> tuple[AuditPlan, pd.DataFrame, np.ndarray, np.ndarray]:
    """A plan, its labels, the truths of Edema by its guesses, and the weights of 300 samples."""
    rng = np.random.default_rng(2)
    values, n = list(STATES.values()), 4000
    table = pd.DataFrame(
        {
            "Edema": rng.choice(values, n, p=[0.05, 0.02, 0.3, 0.63]),
            "Mass": rng.choice(values, n, p=[0.01, 0.01, 0.02, 0.96]),
        }
    ).rename(index="s{}".format)
    plan = plan_audit(table, n=250, guesses={"*": {"negative": 0.02, "blank": 0.1}})
    guess = state_cells(table)["Edema"].map(
        {c.state: c.guess for c in plan.cells if c.finding == "Edema"}
    )
    truth = (rng.random(n) < guess).to_numpy(float)
    weights = np.zeros((300, n))
    cells = state_cells(table)
    for seed in range(300):
        sample = draw_sample(cells, n=250, seed=seed).table
        weights[seed, table.index.get_indexer(sample.index)] = sample["weight"]
    return plan, table, truth, weights


def test_samples_hold_as_many_of_each_state_as_planned(audits):
    plan, table, _, weights = audits
    for expected in plan.cells:
        held = (state_cells(table)[expected.finding] == expected.state).to_numpy()
        count = (weights[:, held] > 0).sum(axis=1).mean()
        assert count == pytest.approx(expected.expected, rel=0.05, abs=0.5)


def test_shares_scatter_as_their_planned_intervals_say(audits):
    plan, table, truth, weights = audits
    for state in STATES:
        planned = cell(plan, "Edema", state)
        held = (state_cells(table)["Edema"] == state).to_numpy()
        shares = weights[:, held] @ truth[held] / weights[:, held].sum(axis=1)
        share = truth[held].mean()
        binomial = math.sqrt(share * (1 - share) / planned.effective)

        assert shares.mean() == pytest.approx(share, abs=4 * binomial / 20 + 0.003)
        assert shares.std() == pytest.approx(binomial, rel=0.2)


def test_sensitivity_scatters_as_its_planned_interval_says(audits):
    plan, table, truth, weights = audits
    positive = (table["Edema"] == 1).to_numpy()
    found, all_true = weights @ (truth * positive), weights @ truth
    planned = plan.findings[0]
    logits = np.log(found / (all_true - found))
    lo, hi = (math.log(x / (1 - x)) for x in (planned.lo, planned.hi))

    assert logits.std() == pytest.approx((hi - lo) / (2 * 1.96), rel=0.2)
    assert (found / all_true).mean() == pytest.approx(planned.sensitivity, abs=0.05)
    inside = (found / all_true > planned.lo) & (found / all_true < planned.hi)
    assert 0.85 < inside.mean() < 1
