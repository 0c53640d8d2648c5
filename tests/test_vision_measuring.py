import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrvision.evaluate.auc import auc
from cxrvision.evaluate.cases import Cases
from cxrvision.evaluate.measuring import measure_cases, measure_finding
from cxrvision.evaluate.operating import Threshold


def make(n=300, seed=0, patients=100, blank=0.1):
    rng = np.random.default_rng(seed)
    who = rng.integers(0, patients, n)
    truth = (rng.random((n, 3)) < (0.1, 0.2, 0.4)).astype(float)
    probs = 1 / (1 + np.exp(-(rng.standard_normal((n, 3)) + 1.5 * truth - 2)))
    truth[rng.random((n, 3)) < blank] = np.nan
    ids = tuple(map(str, range(n)))
    return Cases(
        ids, ("Edema", "Mass", "Nodule"), probs, truth, truth, who, pd.DataFrame(index=range(n))
    )


def test_macro_is_the_mean_over_findings():
    cases = make()
    found = measure_cases(cases, {})
    rows = found.findings.values()
    assert found.averages.macro_auc_labels.value == pytest.approx(
        np.mean([row.auc_labels.value for row in rows])
    )
    assert found.averages.macro_auprc.value == pytest.approx(
        np.mean([row.auprc.value for row in rows])
    )


def test_micro_takes_every_label():
    cases = make()
    inside = ~np.isnan(cases.truth)
    averages = measure_cases(cases, {}).averages
    truth, probs = cases.truth[inside], cases.probs[inside]
    assert averages.micro_n == inside.sum()
    assert averages.micro_auc_labels.value == pytest.approx(roc_auc_score(truth, probs))
    assert averages.micro_auprc.value == pytest.approx(average_precision_score(truth, probs))


def test_macro_interval_agrees_with_the_bootstrap_of_patients():
    cases = make(n=600, patients=200)
    macro = measure_cases(cases, {}).averages.macro_auc_labels
    rng = np.random.default_rng(0)
    drawn = []

    def kept(rows):
        return [(f, rows[~np.isnan(cases.truth[rows, f])]) for f in range(3)]

    for _ in range(300):
        times = np.bincount(rng.integers(0, 200, 200), minlength=200)
        rows = np.repeat(np.arange(600), times[cases.patients])
        drawn.append(np.mean([auc(cases.probs[k, f], cases.truth[k, f]) for f, k in kept(rows)]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert macro.high - macro.low == pytest.approx(high - low, rel=0.2)


def test_macro_interval_covers():
    covered = 0
    for seed in range(150):
        macro = measure_cases(make(n=200, seed=seed, blank=0), {}).averages.macro_auc_labels
        covered += macro.low <= 0.8556 <= macro.high  # Phi(1.5 / sqrt(2))
    assert 0.90 <= covered / 150 <= 0.99


def test_finding_without_a_positive_has_counts_alone():
    row = measure_finding(np.array([0.2, 0.3]), np.zeros(2, bool))
    assert (row.n, row.positives, row.note) == (2, 0, "no positive label")
    assert np.isnan(row.auc_labels.value)
    assert row.brier.value == pytest.approx(0.065)


def test_finding_without_a_negative_says_what_blanks_could_do():
    row = measure_finding(np.array([0.2, 0.3]), np.ones(2, bool))
    assert "--blank zeros" in row.note


def test_finding_without_labels_is_not_averaged():
    cases = make()
    cases.truth[:, 1] = np.nan
    found = measure_cases(cases, {"Mass": Threshold(0.5, "given", 0)})
    assert found.findings["Mass"].note == "no label"
    assert found.averages.findings == 2
    assert np.isfinite(found.averages.macro_auc_labels.low)


def test_few_positives_are_noted():
    positive = np.arange(100) < 3
    assert measure_finding(np.linspace(0, 1, 100), positive).note == "fewer than 5 positive labels"


def test_flags_are_counted_over_all_findings():
    cases = make(n=4, blank=0)
    cases.probs[:] = [[0.9, 0.9, 0.1], [0.9, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]
    thresholds = {name: Threshold(0.5, "given", 0) for name in cases.findings}
    averages = measure_cases(cases, thresholds).averages
    assert averages.alerts_per_100 == pytest.approx(75)
    assert averages.flagged_studies.value == pytest.approx(0.5)
