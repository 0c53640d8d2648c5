"""Estimates that know label error, by simulation: benchmarks/coverage.py in small."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrvision.evaluate.audit_measures import measure_audit

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from audited_population import Setting, simulate, true_values

RUNS = 80
STUDIES = 1_500


def measure(data, **options):
    return measure_audit(
        data.probs, data.states, data.label, data.sampled, reference="image",
        patients=data.patients, draws=400, **options,
    ).measures  # fmt: skip


def simulated(slope, design="simple", runs=RUNS):
    setting = Setting(0.2, 250, design, slope)
    rng = np.random.default_rng([7, int(slope)])
    data = [simulate(setting, rng, STUDIES) for _ in range(runs)]
    return setting, [measure(one, threshold=0.65) for one in data], data


@pytest.fixture(scope="module")
def class_conditional():
    return simulated(0.0)


@pytest.fixture(scope="module")
def score_dependent():
    return simulated(1.5, "states")


def covered(rows, name, true):
    measures = [getattr(row, name) for row in rows]
    return np.mean([m.low <= true <= m.high for m in measures])


@pytest.mark.parametrize("which", ["class_conditional", "score_dependent"])
@pytest.mark.parametrize("name", ["auc_audited", "auc_doubly_robust"])
def test_auc_is_covered_and_unbiased(which, name, request):
    setting, rows, _ = request.getfixturevalue(which)
    true = true_values(setting)["auc"]
    assert covered(rows, name, true) >= 0.9
    assert np.mean([getattr(r, name).value for r in rows]) == pytest.approx(true, abs=0.012)


@pytest.mark.parametrize("share", ["sensitivity", "specificity", "ppv", "npv", "prevalence"])
def test_shares_are_covered(share, class_conditional):
    setting, rows, _ = class_conditional
    threshold = 0.65
    big = simulate(setting, np.random.default_rng(1), 400_000)
    flagged = big.probs >= threshold
    true = {
        "sensitivity": flagged[big.truth].mean(),
        "specificity": 1 - flagged[~big.truth].mean(),
        "ppv": big.truth[flagged].mean(),
        "npv": 1 - big.truth[~flagged].mean(),
        "prevalence": setting.prevalence,
    }[share]
    assert covered(rows, f"{share}_audited", true) >= 0.9
    assert covered(rows, f"{share}_doubly_robust", true) >= 0.9


def test_doubly_robust_interval_is_narrower(class_conditional):
    _, rows, _ = class_conditional
    width = {
        name: np.mean([getattr(r, name).high - getattr(r, name).low for r in rows])
        for name in ("auc_audited", "auc_doubly_robust")
    }
    assert width["auc_doubly_robust"] < 0.92 * width["auc_audited"]


def test_correction_is_kept_where_it_holds(class_conditional):
    setting, rows, _ = class_conditional
    kept = [row.auc_corrected for row in rows if row.correction_withheld is None]
    assert len(kept) >= 0.8 * RUNS
    true = true_values(setting)["auc"]
    assert np.mean([m.low <= true <= m.high for m in kept]) >= 0.88


def test_correction_is_withheld_where_errors_follow_the_score(score_dependent):
    _, rows, _ = score_dependent
    reasons = [row.correction_withheld for row in rows]
    assert sum(reason is not None for reason in reasons) >= 0.9 * RUNS
    assert all("depends on the image" in reason for reason in reasons if reason)
    assert all(np.isnan(row.auc_corrected.value) for row in rows if row.correction_withheld)


def test_truths_drawn_from_the_states_miss_the_auc(class_conditional):
    """What DESIGN forbids: their interval knows nothing of the image."""
    from coverage import draw_truths

    setting, _, data = class_conditional
    rng = np.random.default_rng(0)
    found = [draw_truths(one, rng) for one in data[:20]]
    assert np.mean([m.low <= true_values(setting)["auc"] <= m.high for m in found]) <= 0.1


def test_few_positives_are_refused_with_the_reason():
    rng = np.random.default_rng(3)
    data = simulate(Setting(0.2, 100, "simple"), rng, STUDIES)
    sampled = data.sampled
    first = np.cumsum(sampled.truth) <= 3
    row = measure(replace(data, sampled=sampled.take(~sampled.truth | first)), threshold=0.5)
    assert row.auc_audited_refused == "3 audited studies with the finding; expected at least 5"
    assert row.auc_audited_positives == 3
    assert np.isnan(row.auc_audited.value)
    assert np.isnan(row.auc_doubly_robust.value)
    assert row.prevalence_audited.low < row.prevalence_audited.high


def test_unknown_design_gives_no_doubly_robust_estimate():
    data = simulate(Setting(0.2, 200, "simple"), np.random.default_rng(3), STUDIES)
    plain = replace(data.sampled, weights=np.ones(200), strata=None, reviewed=None, stand_for=200.0)
    row = measure(replace(data, sampled=plain), threshold=0.5)
    assert "--sample" in row.doubly_robust_refused
    assert np.isnan(row.auc_doubly_robust.value)
    assert row.auc_audited.low < row.auc_audited.value < row.auc_audited.high


def test_sample_of_other_studies_gives_no_doubly_robust_estimate():
    data = simulate(Setting(0.2, 200, "simple"), np.random.default_rng(3), STUDIES)
    other = replace(data.sampled, stand_for=5000.0)
    row = measure(replace(data, sampled=other), threshold=0.5)
    assert row.doubly_robust_refused == (
        "the audited studies stand for some 5,000 studies, not for the 1,500 evaluated ones"
    )


def test_perfect_ranking_has_an_interval_of_as_many_cases():
    data = simulate(Setting(0.2, 60, "simple"), np.random.default_rng(3), STUDIES)
    perfect = replace(data, probs=np.where(data.truth, 0.9, 0.1), states=data.truth * 1.0)
    row = measure(perfect, threshold=0.5)
    for name in ("auc_audited", "auc_doubly_robust", "auc_corrected", "sensitivity_doubly_robust"):
        value, low, high = getattr(row, name)
        assert (value, high) == (1.0, 1.0)
        assert 0.5 < low < 0.95


@pytest.mark.parametrize(("audited", "wrong", "side"), [(600, 14, "lower"), (300, 30, "higher")])
def test_wrong_labels_that_the_score_tells_apart_perfectly_are_seen(audited, wrong, side):
    data = simulate(Setting(0.3, audited, "simple"), np.random.default_rng(4), STUDIES)
    order = np.argsort(data.probs)
    absent = order[~data.truth[order]]
    states = data.truth.astype(np.float64)
    states[absent[:wrong] if side == "lower" else absent[-wrong:]] = 1.0

    row = measure(replace(data, states=states), threshold=0.5)

    # no variance is seen of an AUC of 0 or 1
    assert np.isnan(row.auc_corrected.value)
    assert f"wrongly labelled have {side} scores" in row.correction_withheld
