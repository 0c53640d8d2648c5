"""The draw, and by simulation that its probabilities are true and its estimates unbiased."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.design import read_sample, write_sample
from cxrlabel.audit.sampling import (
    NO_SCORE,
    agreement_cells,
    describe_strata,
    draw_sample,
    extend_sample,
    one_cell,
    permanent_random_numbers,
    score_cells,
    state_cells,
)
from cxrlabel.errors import InputError

N = 240
DRAWS = 600


def make_labels(n: int = N, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    states = [1, -1, 0, np.nan]
    shares = {
        "Edema": [0.03, 0.02, 0.35, 0.6],
        "Mass": [0.1, 0.04, 0.06, 0.8],
        "Fracture": [0.02, 0.01, 0.2, 0.77],
    }
    table = {name: rng.choice(states, n, p=p) for name, p in shares.items()}
    return pd.DataFrame(table, index=pd.Index([f"s{i}" for i in range(n)], name="uid"))


def make_scores(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(6)
    values = rng.beta(0.3, 2, (n, 2))
    values[: n // 10] = np.nan
    names = pd.Index([f"s{i}" for i in range(n)], name="uid")
    return pd.DataFrame(values, index=names, columns=["Edema", "Mass"])


LABELS = make_labels()
DESIGNS = {
    "states": state_cells(LABELS),
    "scores": score_cells(make_scores(), LABELS.index),
    "simple": one_cell(LABELS.index),
}


# the cells


def test_states_are_named_by_their_labels():
    labels = pd.DataFrame({"Edema": [1, -1, 0, np.nan]}, index=list("abcd"))

    assert state_cells(labels)["Edema"].tolist() == ["positive", "uncertain", "negative", "blank"]


def test_labels_that_another_labeler_contradicts_are_cells_of_their_own():
    labels = pd.DataFrame({"Edema": [1, 1, 0, np.nan], "Mass": [1, 0, 0, 0]}, index=list("abcd"))
    other = pd.DataFrame({"Edema": [1, 0, 0]}, index=list("abc"))
    third = pd.DataFrame({"Edema": [1, 1, -1, np.nan]}, index=list("abcd"))

    found = agreement_cells(labels, [other, third])

    assert found["Edema"].tolist() == [
        "positive",
        "positive, disputed",
        "negative, disputed",
        "blank",
    ]
    assert found["Mass"].tolist() == ["positive", "negative", "negative", "negative"]


def test_disputed_labels_are_drawn_more_often():
    other = LABELS.copy()
    other.loc[other.index[:12], "Edema"] = 1
    disputed = set(LABELS.index[:12][LABELS["Edema"].iloc[:12] != 1])

    sample = draw_sample(agreement_cells(LABELS, [other]), n=60, seed=1)

    drawn = set(sample.table.index)
    assert len(drawn & disputed) / len(disputed) > 60 / N


def test_other_labels_of_other_studies_are_refused():
    with pytest.raises(InputError, match="--other: no study"):
        agreement_cells(LABELS, [LABELS.set_axis([f"x{i}" for i in range(N)])])


def test_chosen_findings_alone_are_cells():
    assert state_cells(LABELS, ["Mass"]).columns.tolist() == ["Mass"]
    assert score_cells(make_scores(), LABELS.index, ["Mass"]).columns.tolist() == ["Mass"]


def test_unknown_finding_is_an_error():
    with pytest.raises(InputError, match="'Hernia' is not in the labels; expected some of Edema"):
        state_cells(LABELS, ["Hernia"])


def test_score_bins_grow_with_the_score_and_split_the_few_high_ones():
    scores = pd.DataFrame({"Edema": np.r_[np.linspace(0, 0.05, 900), np.linspace(0.05, 1, 100)]})

    bins = score_cells(scores, scores.index)["Edema"]

    ranges = scores["Edema"].groupby(bins).agg(["min", "max", "size"])
    assert list(ranges.index) == [f"score bin {i} of 5" for i in range(1, 6)]
    assert (ranges["max"].to_numpy()[:-1] < ranges["min"].to_numpy()[1:]).all()
    # bins of equal counts would have 200 in each, of equal width 190 in all but the lowest
    assert ranges["size"].tolist() == [270, 270, 270, 128, 62]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.2, 0.2, 0.2], {"score bin 1 of 1"}),
        ([0.0, 1.0, np.nan], {"score bin 1 of 2", "score bin 2 of 2", NO_SCORE}),
        ([np.nan, np.nan], {NO_SCORE}),
    ],
)
def test_few_distinct_scores_make_few_bins(scores, expected):
    table = pd.DataFrame({"Edema": scores})

    assert set(score_cells(table, table.index)["Edema"]) == expected


def test_study_without_a_prediction_has_a_cell_of_its_own():
    table = pd.DataFrame({"Edema": [0.1]}, index=["a"])

    assert score_cells(table, pd.Index(["b", "a"]))["Edema"].tolist() == [
        NO_SCORE,
        "score bin 1 of 1",
    ]


# the draw


@pytest.mark.parametrize("design", DESIGNS)
def test_sample_has_the_size_and_weighs_as_much_as_all_studies(design):
    sample = draw_sample(DESIGNS[design], n=60, seed=1)

    assert len(sample.table) == 60
    assert sample.table["weight"].sum() == pytest.approx(N)
    assert sample.studies == N
    assert sample.id_name == "uid"


def test_rare_states_are_oversampled():
    chosen = LABELS.loc[draw_sample(DESIGNS["states"], n=60, seed=1).table.index]

    # at random a quarter of them would be drawn
    assert (chosen["Fracture"] == 1).sum() == (LABELS["Fracture"] == 1).sum()
    assert (chosen["Edema"] == -1).sum() == (LABELS["Edema"] == -1).sum()


def test_sample_depends_on_neither_the_order_of_rows_nor_of_findings():
    shuffled = DESIGNS["states"].sample(frac=1, random_state=2)[["Mass", "Fracture", "Edema"]]

    first, second = (draw_sample(c, n=60, seed=1) for c in (DESIGNS["states"], shuffled))
    pd.testing.assert_frame_equal(first.table, second.table)


def test_seed_chooses_the_sample():
    first, again, other = (draw_sample(DESIGNS["states"], n=60, seed=s).table for s in (1, 1, 2))

    assert first.equals(again)
    assert not first.index.equals(other.index)


def test_sample_stays_the_same_between_versions():
    assert draw_sample(one_cell(LABELS.index), n=4, seed=7).table.index.tolist() == [
        "s1",
        "s113",
        "s161",
        "s191",
    ]


def test_larger_simple_sample_holds_the_smaller_one():
    small, large = (draw_sample(DESIGNS["simple"], n=n, seed=1).table.index for n in (50, 80))

    assert small.isin(large).all()


@pytest.mark.parametrize(("n", "studies"), [(240, 240), (241, 240), (10**6, 240)])
def test_all_studies_are_taken_where_there_are_no_more(n, studies):
    sample = draw_sample(DESIGNS["states"], n=n, seed=1)

    assert len(sample.table) == studies
    assert (sample.table["inclusion_probability"] == 1).all()


@pytest.mark.parametrize("studies", [1, 2, 3])
def test_tiny_table_gives_a_sample(studies):
    sample = draw_sample(state_cells(LABELS[:studies]), n=2, seed=1)

    assert len(sample.table) == min(2, studies)
    assert sample.studies == studies


def test_blank_labels_are_one_stratum():
    blank = pd.DataFrame(np.nan, index=LABELS.index, columns=["Edema", "Mass"])

    sample = draw_sample(state_cells(blank), n=24, seed=1)

    assert describe_strata(state_cells(blank), sample).to_dict() == {"s1": "Edema blank"}
    assert sample.strata["inclusion_probability"].tolist() == [0.1]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (5, {"n": 1}, "--n: 1; expected 2 or more"),
        (5, {"n": 0}, "--n: 0; expected 2 or more"),
        (5, {"n": 2, "floor": 1.5}, "--floor: 1.5; expected a share"),
        (0, {"n": 2}, "labels: no studies"),
    ],
)
def test_impossible_draw_is_an_error(rows, options, message):
    with pytest.raises(InputError, match=message):
        draw_sample(state_cells(LABELS[:rows]), seed=1, **options)


def test_id_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="distinct ids"):
        draw_sample(one_cell(pd.Index(["a", "a", "b"])), n=2, seed=1)


# random numbers


def test_random_numbers_are_uniform():
    values = permanent_random_numbers(map(str, range(32_000)), 1)

    counts = np.bincount((values >> np.uint64(59)).astype(int), minlength=32)
    # chi-square with 31 degrees of freedom: 99.9 % are below 61.1
    assert 10 < ((counts - 1000) ** 2 / 1000).sum() < 61.1


@pytest.mark.parametrize(("seed", "other"), [(1, 2), (1, 11), (0, -1)])
def test_random_numbers_of_two_seeds_are_independent(seed, other):
    ids = [str(number) for number in range(10_000)]
    first, second = (permanent_random_numbers(ids, s).astype(float) for s in (seed, other))

    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04  # four standard errors


# extension


@pytest.mark.parametrize("design", DESIGNS)
def test_extension_holds_the_earlier_sample_in_the_same_strata(design, tmp_path):
    cells = DESIGNS[design]
    write_sample(tmp_path / "s.csv", draw_sample(cells, n=40, seed=3))
    earlier = read_sample(tmp_path / "s.csv")

    larger = extend_sample(cells, earlier, n=90, seed=3)

    assert len(larger.table) == 90
    assert earlier.table.index.isin(larger.table.index).all()
    assert larger.strata["size"].to_dict() == earlier.strata["size"].to_dict()
    assert (larger.strata["n"] >= earlier.strata["n"].reindex(larger.strata.index)).all()
    assert larger.table["weight"].sum() == pytest.approx(N)


def test_extension_can_be_extended_up_to_all_studies():
    cells = DESIGNS["states"]
    sample = draw_sample(cells, n=30, seed=3)
    for n in (31, 77, 78, 200, 500):
        sample = extend_sample(cells, sample, n=n, seed=3)
        assert len(sample.table) == min(n, N)

    assert (sample.table["inclusion_probability"] == 1).all()


def test_extension_does_not_depend_on_the_steps():
    cells = DESIGNS["simple"]
    first = draw_sample(cells, n=30, seed=3)
    step = extend_sample(cells, extend_sample(cells, first, n=50, seed=3), n=90, seed=3)

    pd.testing.assert_frame_equal(step.table, extend_sample(cells, first, n=90, seed=3).table)


EARLIER = draw_sample(DESIGNS["states"], n=40, seed=3)


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (DESIGNS["states"], {"n": 40, "seed": 3}, "expected more than the 40 studies of s.csv"),
        (DESIGNS["states"], {"n": 90, "seed": 4}, "not those that seed 4 draws"),
        (DESIGNS["simple"], {"n": 90, "seed": 3}, "strata .240 studies. are none of this table"),
        (DESIGNS["states"][:200], {"n": 90, "seed": 3}, r"none of this table \(200 studies\)"),
        (state_cells(make_labels(seed=9)), {"n": 90, "seed": 3}, "are none of this table"),
    ],
)
def test_extension_of_another_sample_is_an_error(cells, options, message):
    with pytest.raises(InputError, match=message):
        extend_sample(cells, EARLIER, place="s.csv", **options)


def test_strata_are_described_by_their_cells():
    titles = describe_strata(DESIGNS["states"], EARLIER)

    assert titles.index.equals(EARLIER.strata.index)
    assert titles.iloc[0].startswith("Fracture uncertain")
    assert EARLIER.strata["inclusion_probability"].iloc[0] == 1
    assert titles.iloc[-1].endswith(("blank", "negative"))


def test_sample_file_tells_no_label(tmp_path):
    write_sample(tmp_path / "s.csv", EARLIER)

    text = (tmp_path / "s.csv").read_text()
    assert not any(word in text for word in ("Edema", "Mass", "positive", "uncertain", "blank"))


def test_sample_of_all_studies_cannot_be_extended():
    everything = draw_sample(DESIGNS["states"], n=N, seed=3)

    with pytest.raises(InputError, match="it has all 240 studies; expected some to be left"):
        extend_sample(DESIGNS["states"], everything, n=300, seed=3)


# simulation


@dataclass(frozen=True)
class Simulated:
    drawn: np.ndarray  # [draws, N] bool
    probability: np.ndarray  # [N], by the sample that drew the study
    stratum: np.ndarray  # [N]


def simulate(cells: pd.DataFrame, *, n: int, extended_to: int | None = None) -> Simulated:
    drawn = np.zeros((DRAWS, len(cells)), dtype=bool)
    probability = np.full(len(cells), np.nan)
    stratum = np.full(len(cells), "", dtype=object)
    for seed in range(DRAWS):
        sample = draw_sample(cells, n=n, seed=seed)
        if extended_to is not None:
            sample = extend_sample(cells, sample, n=extended_to, seed=seed)
        rows = cells.index.get_indexer(sample.table.index)
        drawn[seed, rows] = True
        probability[rows] = sample.table["inclusion_probability"]
        stratum[rows] = sample.table["stratum"]
    return Simulated(drawn, probability, stratum)


@pytest.fixture(scope="module")
def first() -> Simulated:
    return simulate(DESIGNS["states"], n=50)


@pytest.fixture(scope="module")
def extended() -> Simulated:
    return simulate(DESIGNS["states"], n=30, extended_to=80)


@pytest.fixture(scope="module")
def scored() -> Simulated:
    return simulate(DESIGNS["scores"], n=50)


SIMULATIONS = ["first", "extended", "scored"]


@pytest.fixture(params=SIMULATIONS)
def simulated(request) -> Simulated:
    return request.getfixturevalue(request.param)


def test_every_study_is_drawn_as_often_as_its_probability_says(simulated):
    p = simulated.probability
    assert not np.isnan(p).any()  # everybody was drawn some time
    certain = p == 1
    assert simulated.drawn[:, certain].all()

    often = simulated.drawn[:, ~certain].mean(axis=0)
    z = (often - p[~certain]) / np.sqrt(p[~certain] * (1 - p[~certain]) / DRAWS)
    assert np.abs(z).max() < 4.5
    # in a stratum of N_h the squares add up to (N_h - 1) of a chi-square, times N_h / (N_h - 1)
    sizes = pd.Series(simulated.stratum[~certain]).value_counts()
    freedom = (sizes - 1).sum()
    assert abs((z**2).sum() - sizes.sum()) < 4 * np.sqrt(2 * freedom)


def test_two_studies_of_a_stratum_are_drawn_as_often_as_at_random(simulated):
    """P(both) = n_h (n_h - 1) / N_h (N_h - 1), which variances are estimated with."""
    checked = 0
    for stratum in set(simulated.stratum):
        members = np.flatnonzero(simulated.stratum == stratum)
        size = len(members)
        n = round(size * simulated.probability[members[0]])
        assert (simulated.drawn[:, members].sum(axis=1) == n).all()
        if n == size:
            continue
        both = n * (n - 1) / (size * (size - 1))
        pairs = simulated.drawn[:, members[:-1:2]] & simulated.drawn[:, members[1::2]]
        z = (pairs.mean(axis=0) - both) / np.sqrt(both * (1 - both) / DRAWS)
        assert np.abs(z).max() < 4.5
        checked += z.size
    assert checked > 50


def truth() -> np.ndarray:
    """Truths of Edema that depend on the label and, beyond it, on what the strata are made of."""
    rng = np.random.default_rng(8)
    p = LABELS["Edema"].map({1.0: 0.8, -1.0: 0.5, 0.0: 0.1}).fillna(0.15)
    p = p + 0.3 * (LABELS["Fracture"] == 1) + 0.2 * (LABELS["Mass"] == -1)
    return (rng.random(N) < p).to_numpy(float)


def standard_errors_off(estimates: np.ndarray, value: float) -> float:
    return float(abs(estimates.mean() - value) / (estimates.std() / np.sqrt(len(estimates))))


ESTIMATES = {
    "prevalence": np.ones(N, dtype=bool),
    "ppv": (LABELS["Edema"] == 1).to_numpy(),
    "truth of blank": LABELS["Edema"].isna().to_numpy(),
    "ppv or uncertain": LABELS["Edema"].isin([1, -1]).to_numpy(),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_weighted_estimate_is_unbiased(simulated, name):
    group, y = ESTIMATES[name], truth()
    # Horvitz and Thompson 1952; how many studies the group has is known from the labels
    weighted = simulated.drawn @ (y * group / simulated.probability) / group.sum()

    if weighted.std() > 1e-12:
        assert standard_errors_off(weighted, y[group].mean()) < 3.5
    else:  # all of the group are always drawn
        assert weighted.mean() == pytest.approx(y[group].mean())


def test_unweighted_prevalence_is_biased(first):
    """So that the test above could fail."""
    y = truth()

    assert standard_errors_off(first.drawn @ y / 50, y.mean()) > 20


def test_textbook_variance_is_the_variance_of_the_estimates(simulated):
    """Cochran 1977, eq. 5.14: with what `SampleTable.strata` holds."""
    y = truth()
    estimates = simulated.drawn @ (y / simulated.probability) / N
    variances = np.zeros(DRAWS)
    for stratum in set(simulated.stratum):
        members = simulated.stratum == stratum
        size, n = members.sum(), round(members.sum() * simulated.probability[members][0])
        if n == size:
            continue
        drawn = simulated.drawn[:, members]
        mean = drawn @ y[members] / n
        spread = (drawn @ y[members] - n * mean**2) / (n - 1)
        variances += (size / N) ** 2 * (1 - n / size) * spread / n

    assert variances.mean() == pytest.approx(estimates.var(), rel=0.15)
