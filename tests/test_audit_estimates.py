"""Measures and intervals: by hand where that can be, by simulated audits where it cannot.

Coverage is counted over 1,000 audits, where an interval of 95 % is seen to cover 93 to 97 % with a
chance of .996 (a standard error is 0.7 %). The seeds are fixed.
"""

import csv
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.design import allocate, inclusion_rates, make_strata, partition
from cxrlabel.audit.estimates import (
    COLUMNS,
    Estimate,
    estimate,
    metrics_table,
    write_metrics,
)
from cxrlabel.audit.intervals import MEASURES, Z, add_up, measures, weighted_limits, wilson
from cxrlabel.audit.sampling import state_cells

STUDIES = 20_000
PREVALENCE = np.geomspace(0.004, 0.3, 14)  # of 14 findings
VERY_RARE, RARE, COMMON = 3, 8, 12  # 1.1, 5.7 and 21.5 %


@cache
def population() -> tuple[np.ndarray, pd.DataFrame]:
    """Truth [N, F], and labels that are positive, uncertain, negative or blank by truth."""
    rng = np.random.default_rng(0)
    truth = rng.random((STUDIES, len(PREVALENCE))) < PREVALENCE
    labels = np.full(truth.shape, np.nan)
    for column, prevalence in enumerate(PREVALENCE):
        wrong = [0.25 * prevalence, 0.15 * prevalence, 0.3]
        for value, shares in ((True, [0.82, 0.08, 0.04, 0.06]), (False, [*wrong, 1 - sum(wrong)])):
            rows = np.flatnonzero(truth[:, column] == value)
            labels[rows, column] = rng.choice([1, -1, 0, np.nan], len(rows), p=shares)
    names = [f"F{column:02}" for column in range(len(PREVALENCE))]
    return truth, pd.DataFrame(labels, columns=names, index=[f"{i:05}" for i in range(STUDIES)])


@cache
def design(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stratum of each study, N_h and n_h of the default design."""
    parts = partition(state_cells(population()[1]))
    rates = inclusion_rates(parts, n)
    strata = make_strata(parts, rates)
    return strata.members, strata.sizes, allocate(parts, strata, rates, n)


def cell_of(label, truth):
    return np.where(label, np.where(truth, 0, 1), np.where(truth, 2, 3))


def population_cells(finding: int, uncertain_as: str) -> np.ndarray:
    truth, labels = population()
    states = labels.iloc[:, finding].to_numpy()
    label = (states == 1) | ((states == -1) & (uncertain_as == "positive"))
    return cell_of(label, truth[:, finding])


def composition(finding: int, n: int, uncertain_as: str) -> tuple[np.ndarray, ...]:
    """Studies by stratum and cell [H, 4], N_h, n_h."""
    members, sizes, taken = design(n)
    table = np.zeros((len(sizes), 4), dtype=np.int64)
    np.add.at(table, (members, population_cells(finding, uncertain_as)), 1)
    return table, sizes, taken


@cache
def audits(finding: int, n: int, uncertain_as: str, count: int = 1_000) -> tuple[np.ndarray, ...]:
    """Simulated audits: true measures, estimates [count, 7] and limits."""
    table, sizes, taken = composition(finding, n, uncertain_as)
    rng = np.random.default_rng(3)
    drawn = np.stack(
        [
            rng.multivariate_hypergeometric(row, k, size=count)
            for row, k in zip(table, taken, strict=True)
        ],
        axis=1,
    )
    totals = add_up(drawn, sizes)
    low, high = weighted_limits(totals, draws=400)
    return measures(table.sum(axis=0)), measures(totals.total), low, high


def coverage(finding: int, n: int, uncertain_as: str) -> dict[str, float]:
    true, _, low, high = audits(finding, n, uncertain_as)
    covered = ((low <= true) & (true <= high)).mean(axis=0)
    return dict(zip(MEASURES, covered, strict=True))


def units(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Label and truth of so many studies tp, fp, fn, tn."""
    cell = np.repeat(np.arange(4), counts)
    return np.isin(cell, (0, 1)), np.isin(cell, (0, 2))


def counts_by_stratum(label, truth, strata) -> np.ndarray:
    table = np.zeros((strata.max() + 1, 4))
    np.add.at(table, (strata, cell_of(label, truth)), 1)
    return table


def of(found: Estimate, name: str) -> tuple[float, float, float]:
    place = MEASURES.index(name)
    return found.values[place], found.low[place], found.high[place]


# measures


def test_measures_of_a_table_by_hand():
    found = dict(zip(MEASURES, measures([40, 10, 20, 30]), strict=True))

    assert found["sensitivity"] == pytest.approx(40 / 60)
    assert found["specificity"] == pytest.approx(30 / 40)
    assert found["ppv"] == pytest.approx(40 / 50)
    assert found["npv"] == pytest.approx(30 / 50)
    assert found["f1"] == pytest.approx(80 / 110)
    assert found["prevalence"] == pytest.approx(0.6)
    assert found["kappa"] == pytest.approx(
        (0.7 - 0.5) / 0.5
    )  # chance: (50 * 60 + 50 * 40) / 100**2


@pytest.mark.parametrize(
    ("cells", "undefined"),
    [
        ((0, 0, 0, 9), {"sensitivity", "ppv", "f1", "kappa"}),
        ((0, 0, 3, 9), {"ppv"}),
        ((0, 3, 0, 9), {"sensitivity"}),
        ((9, 0, 0, 0), {"specificity", "npv", "kappa"}),
        ((0, 0, 0, 0), set(MEASURES)),
    ],
)
def test_measure_that_divides_by_zero_is_nan_with_its_limits(cells, undefined):
    found = estimate(*units(*cells))

    for values in (found.values, found.low, found.high):
        assert {name for name, x in zip(MEASURES, values, strict=True) if np.isnan(x)} == undefined


def test_wilson_of_thirty_in_forty():
    low, high = wilson(0.75, 40)
    assert (float(low), float(high)) == pytest.approx((0.5981, 0.8581), abs=1e-4)


@pytest.mark.parametrize(
    ("events", "limit"), [(0, 0), (1, 0.051293 / 50), (2, 0.355362 / 50), (3, 0.817691 / 50)]
)
def test_wilson_is_wider_where_few_speak_for_a_share(events, limit):
    low, high = wilson(events / 50, 50)

    assert float(low) == pytest.approx(limit, abs=1e-7)
    assert wilson(1 - events / 50, 50)[1] == pytest.approx(1 - limit, abs=1e-7)
    if events:  # of a gamma distribution the mass below is 5 %
        mass = sum((limit * 50) ** k / math.factorial(k) for k in range(events))
        assert 1 - math.exp(-limit * 50) * mass == pytest.approx(0.05, abs=1e-4)
    assert float(high) == pytest.approx(
        (events + Z**2 / 2 + Z * math.sqrt(events * (1 - events / 50) + Z**2 / 4)) / (50 + Z**2)
    )


@pytest.mark.parametrize("n", [30, 60, 300])
def test_wilson_covers_shares_near_nothing(n):
    """By the binomial distribution itself; with Wilson's own limits the least is 0.84."""
    events = np.arange(n + 1)
    low, high = wilson(events / n, n)
    choose = np.array(
        [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in events]
    )
    share = np.concatenate([np.geomspace(0.005, 3, 200) / n, np.linspace(3 / n, 0.5, 200)])
    logs = choose + np.outer(np.log(share), events) + np.outer(np.log1p(-share), n - events)
    inside = (low <= share[:, None]) & (share[:, None] <= high)
    covered = (np.exp(logs) * inside).sum(axis=1)

    assert covered.min() > 0.92
    assert covered[share > 10 / n].max() < 0.98


# unweighted


def test_unweighted_shares_have_wilson_limits():
    found = estimate(*units(30, 20, 10, 140))

    assert of(found, "sensitivity") == pytest.approx((0.75, 0.5981, 0.8581), abs=1e-4)
    assert of(found, "specificity")[1:] == pytest.approx(wilson(140 / 160, 160))
    assert of(found, "ppv")[1:] == pytest.approx(wilson(30 / 50, 50))
    assert of(found, "npv")[1:] == pytest.approx(wilson(140 / 150, 150))
    assert of(found, "prevalence")[1:] == pytest.approx(wilson(0.2, 200))
    low, high = wilson(30 / 60, 60)  # of J = tp / (tp + fp + fn); F1 = 2 J / (1 + J)
    assert of(found, "f1")[1:] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


@pytest.mark.parametrize("cells", [(42, 8, 8, 142), (24, 6, 6, 464)], ids=["common", "rare"])
def test_unweighted_intervals_cover(cells):
    shares = np.array(cells) / sum(cells)
    drawn = np.random.default_rng(4).multinomial(sum(cells), shares, size=1_000)
    found = [estimate(*units(*row), draws=300, seed=seed) for seed, row in enumerate(drawn)]
    true = measures(shares)

    covered = np.mean([(x.low <= true) & (true <= x.high) for x in found], axis=0)
    assert covered.min() >= 0.93
    assert covered.max() <= 0.97


# weighted


@pytest.mark.parametrize("uncertain_as", ["negative", "positive"])
@pytest.mark.parametrize(("finding", "n"), [(COMMON, 400), (COMMON, 1_000), (RARE, 1_000)])
def test_weighted_intervals_cover_common_and_rare_findings(finding, n, uncertain_as):
    found = coverage(finding, n, uncertain_as)

    assert min(found.values()) >= 0.93, found
    assert max(found.values()) <= 0.97, found


def test_weighted_intervals_of_few_events_are_wide_not_short():
    found = coverage(VERY_RARE, 400, "negative")
    _, _, low, high = audits(VERY_RARE, 400, "negative")
    sensitivity = MEASURES.index("sensitivity")

    assert min(found.values()) >= 0.93, found
    assert 0.93 <= found["ppv"] <= 0.97  # positive labels were all reviewed: enough events
    assert np.mean(high[:, sensitivity] - low[:, sensitivity]) > 0.4


def test_weighted_estimates_are_unbiased():
    true, found, _, _ = audits(RARE, 1_000, "positive")
    error = found.std(axis=0) / math.sqrt(len(found))
    linear = MEASURES.index("prevalence")

    assert abs(found.mean(axis=0) - true)[linear] < 3 * error[linear]
    # a ratio of two estimates has a bias that is small beside its own spread
    assert (abs(found.mean(axis=0) - true) < 0.1 * found.std(axis=0)).all()


def test_unweighted_estimates_of_a_stratified_sample_would_be_biased():
    table, _, taken = composition(RARE, 1_000, "positive")
    ignored = measures((table * (taken / table.sum(axis=1))[:, None]).sum(axis=0))

    place = MEASURES.index("prevalence")
    assert abs(ignored - measures(table.sum(axis=0)))[place] > 0.1 * PREVALENCE[RARE]


def test_arrays_and_counts_give_the_same_estimate():
    members, sizes, taken = design(400)
    cell = population_cells(COMMON, "negative")
    order = np.random.default_rng(5).permutation(STUDIES)
    chosen = np.concatenate([order[members[order] == h][:k] for h, k in enumerate(taken)])
    found = estimate(
        np.isin(cell[chosen], (0, 1)),
        np.isin(cell[chosen], (0, 2)),
        strata=members[chosen],
        sizes=sizes,
        draws=2_000,
    )
    counts = np.zeros((len(sizes), 4))
    np.add.at(counts, (members[chosen], cell[chosen]), 1)
    totals = add_up(counts, sizes)

    assert found.values == pytest.approx(measures(totals.total))
    assert found.low == pytest.approx(weighted_limits(totals, draws=2_000)[0])
    assert found.counts.tolist() == counts.sum(axis=0).tolist()


def test_population_that_was_reviewed_whole_has_no_interval():
    label, truth = units(5, 3, 2, 20)
    strata = np.where(label, 0, 1)
    found = estimate(label, truth, strata=strata, sizes=np.array([8, 22]))

    assert found.low == pytest.approx(found.values)
    assert found.high == pytest.approx(found.values)


def test_stratum_taken_whole_adds_nothing_to_the_interval():
    label, truth = units(
        30, 10, 0, 40
    )  # the positive labels were all reviewed, 1 in 50 of the rest
    found = estimate(label, truth, strata=np.where(label, 0, 1), sizes=np.array([40, 2_000]))

    assert of(found, "ppv") == pytest.approx((0.75, 0.75, 0.75))
    # no missed case was seen, and 30 hits stand for themselves: it could be most of them
    value, low, high = of(found, "sensitivity")
    assert (value, high) == (1, 1)
    assert low < 0.3


def test_total_is_not_below_what_was_seen():
    label, truth = units(1, 9, 0, 0)
    found = estimate(label, truth, strata=np.zeros(10, dtype=np.int64), sizes=np.array([12]))

    # one right label of 12 is known to exist, and by the gamma distribution alone it could be half
    assert 0.06 < of(found, "ppv")[1] <= 1 / 12


def test_no_event_in_a_large_population_has_the_exact_mid_p_limit():
    label, truth = units(0, 10, 0, 0)
    strata = np.zeros(10, dtype=np.int64)
    found = estimate(label, truth, strata=strata, sizes=np.array([1_000_000]))

    # 0.5 (1 - p)**10 = 0.025
    assert of(found, "ppv")[2] == pytest.approx(1 - 0.05**0.1, rel=0.02)


def test_no_event_in_half_a_population_has_the_exact_mid_p_limit():
    label, truth = units(0, 200, 0, 0)
    strata = np.zeros(200, dtype=np.int64)
    found = estimate(label, truth, strata=strata, sizes=np.array([400]))

    # 0.5 * 0.5**D = 0.025 for D cases of 400
    assert of(found, "ppv")[2] == pytest.approx(math.log2(20) / 400, rel=0.05)


def test_strata_that_explain_the_truth_narrow_the_interval():
    label, truth = units(90, 90, 0, 200)
    strata = np.where(~label, 2, np.where(truth, 0, 1))
    mixed = np.where(~label, 2, np.arange(len(label)) % 2)
    sizes = np.array([900, 900, 2_000])
    _, low, high = of(estimate(label, truth, strata=strata, sizes=sizes), "ppv")
    _, wide_low, wide_high = of(estimate(label, truth, strata=mixed, sizes=sizes), "ppv")

    assert high - low < 0.5 * (wide_high - wide_low)


@pytest.mark.parametrize("events", [2, 40])
def test_strata_are_trusted_as_far_as_there_are_events(events):
    label, truth = units(events, 400, 0, 9)
    strata = np.where(label & truth, 0, 1)  # they explain the truth wholly
    spread = add_up(counts_by_stratum(label, truth, strata), np.array([100, 8_000])).spread

    assert spread[0] == pytest.approx(1 - events / (events + 5), abs=0.01)
    assert spread[1] == 1


def test_stratum_without_a_reviewed_study_is_said():
    label, truth = units(5, 5, 5, 5)
    strata = np.where(label, 0, 2)
    found = estimate(label, truth, strata=strata, sizes=np.array([100, 70, 200]))

    assert found.left_out == 70
    assert "70 studies lie in strata without a reviewed study" in found.warning()


def test_single_studies_of_strata_leave_the_share_of_labels_open():
    label, truth = units(2, 2, 0, 4)
    strata = np.array([0, 1, 0, 2, 0, 0, 0, 0])  # two strata with one study, both labeled
    found = add_up(counts_by_stratum(label, truth, strata), np.array([60, 50, 50]))

    # of the mean (60 * 2 / 6 + 100) / 160 = .75 they differ by .25: 50 * .25 of 160, twice
    alone = 2 * (50 / 160) ** 2 * (1 - 1 / 50) * 0.25**2
    mixed = (60 / 160) ** 2 * (1 - 6 / 60) * (1 / 3) * (2 / 3) / 5
    assert found.share_variance == pytest.approx(alone + mixed)


@pytest.mark.parametrize("clusters", [None, 1, 2, 30])
def test_limits_hold_the_estimate_and_stay_in_range(clusters):
    """Studies of any kind: one, all alike, none right, weights of 1 to a million."""
    rng = np.random.default_rng(9)
    for _ in range(60):
        n = int(rng.choice([1, 2, 10, 80]))
        label = rng.random(n) < rng.choice([0, 0.05, 0.5, 1])
        truth = label ^ (rng.random(n) < rng.choice([0, 0.1, 1]))
        strata = rng.integers(0, 3, n)
        reviewed = np.bincount(strata, minlength=3)
        sizes = np.ceil(reviewed * rng.choice([1, 1.5, 60, 1e6], 3)).astype(np.int64)
        found = estimate(
            label,
            truth,
            strata=strata if rng.random() < 0.7 else None,
            sizes=sizes,
            clusters=None if clusters is None else rng.integers(0, clusters, n),
            draws=300,
        )
        known = ~np.isnan(found.values)
        assert (np.isnan(found.low) == ~known).all()
        assert (np.isnan(found.high) == ~known).all()
        assert (found.low <= found.values)[known].all()
        assert (found.values <= found.high)[known].all()
        assert (found.low[:6][known[:6]] >= 0).all()
        assert (found.high[known] <= 1 + 1e-12).all()


def test_same_seed_gives_the_same_limits():
    arrays = units(9, 4, 3, 50)
    strata, sizes = np.where(arrays[0], 0, 1), np.array([100, 900])
    first, second = (estimate(*arrays, strata=strata, sizes=sizes) for _ in range(2))

    assert first.low.tolist() == second.low.tolist()


# few events


def test_few_events_are_named():
    warning = estimate(*units(3, 20, 0, 200)).warning()
    assert warning == "fewer than 5 effective events: sensitivity 3, f1 3, prevalence 3, kappa 3"


def test_enough_events_are_not_warned_of():
    assert estimate(*units(30, 20, 10, 200)).warning() == ""


def test_one_heavy_case_is_few_events():
    label, truth = units(40, 5, 1, 49)  # the missed case stands for 100
    found = estimate(label, truth, strata=np.where(label, 0, 1), sizes=np.array([45, 5_000]))

    assert found.warning().startswith("fewer than 5 effective events: sensitivity 1.4, ")


# patients


def people(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Patient, label and truth; some patients are sicker, some harder to label."""
    size = rng.integers(1, 7, patients)
    patient = np.repeat(np.arange(patients), size)
    truth = rng.random(len(patient)) < rng.beta(0.2, 0.8, patients)[patient]
    hit, right = rng.beta(1.7, 0.3, patients)[patient], rng.beta(9.6, 0.4, patients)[patient]
    label = np.where(truth, rng.random(len(patient)) < hit, rng.random(len(patient)) > right)
    return patient, label, truth


def test_patients_with_several_studies_are_covered_only_when_clustered():
    _, label, truth = people(400_000, np.random.default_rng(1))
    true = measures(np.bincount(cell_of(label, truth), minlength=4))
    rng = np.random.default_rng(5)
    clustered, apart = [], []
    for seed in range(400):
        patient, label, truth = people(150, rng)
        for covered, clusters in ((clustered, patient), (apart, None)):
            found = estimate(label, truth, clusters=clusters, draws=200, seed=seed)
            covered.append((found.low <= true) & (true <= found.high))

    assert np.mean(clustered, axis=0).min() >= 0.92
    assert np.mean(clustered, axis=0).max() <= 0.98
    assert np.mean(apart, axis=0).min() < 0.88


def test_patients_of_one_study_each_change_little():
    label, truth = units(60, 20, 25, 300)
    strata, sizes = np.where(label, 0, 1), np.array([160, 3_000])
    plain = estimate(label, truth, strata=strata, sizes=sizes)
    alone = estimate(label, truth, strata=strata, sizes=sizes, clusters=np.arange(len(label)))

    assert alone.low == pytest.approx(plain.low, abs=0.003)
    assert alone.high == pytest.approx(plain.high, abs=0.003)


def test_doubled_studies_of_patients_do_not_count_twice():
    label, truth = units(60, 20, 25, 300)
    once = estimate(label, truth)
    twice = estimate(
        np.repeat(label, 2), np.repeat(truth, 2), clusters=np.repeat(np.arange(len(label)), 2)
    )

    assert twice.low == pytest.approx(once.low, abs=0.005)
    assert twice.high == pytest.approx(once.high, abs=0.005)


@pytest.mark.parametrize("weighted", [False, True])
def test_studies_of_one_patient_are_one(weighted):
    """What they vary among themselves does not tell how patients vary."""
    label, truth = units(20, 10, 10, 60)
    design = {"strata": np.zeros(100, dtype=np.int64), "sizes": np.array([5_000])}
    found = estimate(
        label, truth, clusters=np.zeros(100, dtype=np.int64), **design if weighted else {}
    )

    assert found.events.max() <= 1
    for name in ("sensitivity", "ppv", "prevalence"):
        _, low, high = of(found, name)
        assert high - low > 0.6


def test_events_are_of_patients():
    label, truth = units(12, 5, 0, 83)
    clusters = np.r_[np.zeros(12), np.arange(1, 89)].astype(np.int64)

    assert estimate(label, truth).events[0] == 12
    assert estimate(label, truth, clusters=clusters).events[0] == 1


def test_no_event_of_patients_counts_patients():
    label, truth = units(20, 0, 0, 100)
    clusters = np.arange(120) // 4
    _, low, _ = of(estimate(label, truth, clusters=clusters), "ppv")

    assert low == pytest.approx(wilson(1.0, 5)[0])


# the table


def test_metrics_have_a_row_with_counts_and_blank_where_undefined(tmp_path):
    found = {
        ("Edema", "negative"): estimate(*units(4, 1, 2, 93)),
        ("Edema", "positive"): estimate(*units(0, 0, 0, 100)),
    }
    write_metrics(tmp_path / "metrics.csv", metrics_table(found))
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert tuple(rows[0]) == COLUMNS
    assert [rows[0][name] for name in ("finding", "uncertain_as", "n")] == [
        "Edema", "negative", "100",
    ]  # fmt: skip
    assert [rows[0][name] for name in ("tp", "fp", "fn", "tn")] == ["4", "1", "2", "93"]
    assert float(rows[0]["ppv"]) == 0.8
    assert "ppv 5" not in rows[0]["note"]
    assert rows[1]["ppv"] == rows[1]["ppv_lo"] == rows[1]["kappa_hi"] == ""
    assert float(rows[1]["specificity"]) == 1
    assert not any("nan" in cell.lower() for cell in rows[1].values())
