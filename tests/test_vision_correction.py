import sys
from pathlib import Path

import numpy as np
import pytest

from cxrlabel.audit.observation import (
    FindingTable,
    Interval,
    Posterior,
)
from cxrlabel.findings import STATES
from cxrvision.evaluate.correction import (
    audited_rates,
    correct_auc,
    rogan_gladen,
    table_rates,
)
from cxrvision.evaluate.estimates import Estimate
from cxrvision.evaluate.working import fit_working

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from audited_population import AUC, Setting, simulate


@pytest.fixture(scope="module")
def data():
    return simulate(Setting(0.2, 600, "simple"), np.random.default_rng(0), 6_000)


@pytest.fixture(scope="module")
def working(data):
    return fit_working(data.probs, data.states, data.sampled)


@pytest.fixture(scope="module")
def truth(data):
    """An AUC that is known."""
    return Estimate(AUC, np.zeros(len(data.probs)))


def test_correction_undoes_class_conditional_error(data, working, truth):
    found = correct_auc(data.probs, data.label, working, truth, audited_rates(data.label, working))
    assert found.withheld == ""
    assert found.auc.low < AUC < found.auc.high


def test_reference_that_differs_is_named(data, working):
    other = Estimate(0.6, np.zeros(len(data.probs)))
    found = correct_auc(data.probs, data.label, working, other, audited_rates(data.label, working))
    assert np.isnan(found.auc.value)
    assert "the audited studies say 0.600 (p < .001)" in found.withheld


def test_labels_without_information_are_not_corrected(data, working, truth):
    label = (np.random.default_rng(1).random(len(data.probs)) < 0.2).astype(float)
    found = correct_auc(data.probs, label, working, truth, audited_rates(label, working))
    assert "not clearly above 0" in found.withheld


def test_labels_of_one_kind_are_not_corrected(data, working, truth):
    label = np.where(data.label == 1, 1.0, np.nan)
    found = correct_auc(data.probs, label, working, truth, audited_rates(label, working))
    assert found.withheld == "the labels are all of one kind"


def test_prevalence_comes_from_the_share_of_positive_labels(data, working):
    found = rogan_gladen(data.label, working, audited_rates(data.label, working))
    assert found.low < 0.2 < found.high


def test_table_gives_the_rates_of_its_posterior(data, working, truth):
    """A posterior made of the true rates, as sure as a large audit."""
    codes = [data.states == 1, data.states == -1, data.states == 0, np.isnan(data.states)]
    counts = [(data.truth[c].sum() + 0.5, (~data.truth[c]).sum() + 0.5) for c in codes]
    state = {name: float(sum(pair)) for name, pair in zip(STATES, counts, strict=True)}
    posterior = Posterior(dict(zip(STATES, counts, strict=True)), state)
    table = FindingTable(Interval(0.2, 0.1, 0.3), {}, {}, {}, 100.0, 100.0, posterior)
    rates = table_rates(table, data.states, data.label)
    kept = ~np.isnan(data.label)
    label, of = data.label[kept] == 1, data.truth[kept]
    assert rates.ppv.value == pytest.approx(of[label].mean(), abs=0.01)
    assert rates.npv.value == pytest.approx((~of[~label]).mean(), abs=0.01)
    assert rates.sensitivity.value == pytest.approx(label[of].mean(), abs=0.01)
    assert rates.specificity.value == pytest.approx((~label[~of]).mean(), abs=0.01)
    found = correct_auc(data.probs, data.label, working, truth, rates)
    assert found.auc.low < AUC < found.auc.high
