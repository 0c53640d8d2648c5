import numpy as np
import pytest
from noise_tables import COMMON, make_finding_table, make_observation

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrvision.noise.tables import (
    compose,
    draw_tables,
    make_tables,
    said_given_truth,
    state_codes,
)

EDEMA = make_observation({"Edema": make_finding_table()})


def test_states_become_places_in_their_order() -> None:
    codes = state_codes(np.array([1.0, -1.0, 0.0, np.nan]))

    assert [STATES[code] for code in codes] == ["positive", "uncertain", "negative", "blank"]


def test_findings_without_a_table_are_named_with_the_reason() -> None:
    few = make_observation({"Edema": make_finding_table(), "Mass": make_finding_table(events=2.0)})

    tables = make_tables(few, ("Edema", "Mass", "Fracture"))

    assert tables.known.tolist() == [True, False, False]
    assert tables.without["Fracture"] == "not in the table"
    assert "too few" in tables.without["Mass"]
    assert np.isnan(tables.state_given_truth[1:]).all()


def test_truth_given_state_is_that_of_the_audit() -> None:
    tables = make_tables(EDEMA, ("Edema",))

    rows = EDEMA.findings["Edema"].states
    assert tables.truth_given_state[0] == pytest.approx([rows[name].p_truth for name in STATES])


def test_another_prevalence_moves_truth_given_state_alone() -> None:
    tables = make_tables(EDEMA, ("Edema",))

    rarer = tables.at(np.array([0.02]))

    assert (rarer.truth_given_state < tables.truth_given_state).all()
    assert np.array_equal(rarer.state_given_truth, tables.state_given_truth)
    assert tables.at(np.array([np.nan])).prevalence == tables.prevalence


def test_draws_spread_around_the_table_and_repeat() -> None:
    first, again = (
        draw_tables(EDEMA, ("Edema", "Mass"), np.random.default_rng(3), 400) for _ in range(2)
    )

    given = np.array([one.state_given_truth[0] for one in first])
    assert given.mean(axis=0) == pytest.approx(np.array(COMMON), abs=0.02)
    assert given[:, 0, 0].std() > 0.01
    assert np.array_equal(first[7].state_given_truth[0], again[7].state_given_truth[0])
    assert np.isnan(first[0].state_given_truth[1]).all()


def test_two_errors_in_a_row_are_simulated_right() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(200_000) < 0.3
    says = rng.random(len(truth)) < np.where(truth, 0.8, 0.1)
    state = np.array(COMMON)[np.where(says, 0, 1)].cumsum(axis=1)
    drawn = (rng.random(len(truth))[:, None] > state).sum(axis=1)
    shares = np.array([np.bincount(drawn[truth == y], minlength=4) for y in (True, False)])

    composed = compose(np.array(COMMON), np.array([[0.8, 0.2], [0.1, 0.9]]))

    assert composed == pytest.approx(shares / shares.sum(axis=1, keepdims=True), abs=0.005)


def test_what_reports_say_leaves_open_readings_out() -> None:
    said = said_given_truth(np.array([[0.6, 0.2, 0.1, 0.1], [0.0, 0.5, 0.25, 0.25]]))

    assert said == pytest.approx(np.array([[0.75, 0.25], [0.0, 1.0]]))


def test_composed_tables_have_the_prevalence_of_the_images() -> None:
    report = make_observation({"Edema": make_finding_table()}, reference="report")
    image = make_observation({"Edema": make_finding_table(prevalence=0.3)})

    tables = make_tables(report, ("Edema", "Mass"), image=image)

    assert tables.reference == "image"
    assert tables.prevalence[0] == pytest.approx(0.3)
    assert tables.state_given_truth[0].sum(axis=1) == pytest.approx([1, 1])
    assert list(tables.without) == ["Mass"]


def test_audits_of_the_wrong_reference_are_refused() -> None:
    with pytest.raises(InputError, match="--noise-report: an audit whose reference is 'image'"):
        make_tables(EDEMA, ("Edema",), image=EDEMA)
