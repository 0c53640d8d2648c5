import dataclasses
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlabel.audit.compare import Comparison, compare
from cxrlabel.audit.consensus import Consensus
from cxrlabel.audit.observation import (
    Observation,
    at_prevalence,
    draw,
    draw_jointly,
    given_truth,
    read_observation,
    turn_round,
    write_observation,
)
from cxrlabel.audit.observe import observe
from cxrlabel.audit.pooling import effective_number, pooled_posteriors
from cxrlabel.audit.sampling import draw_sample, state_cells
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES

NAN = math.nan
STUDIES = 8_000
PREVALENCE = np.geomspace(0.01, 0.3, 8)
CODES = {"positive": 1.0, "uncertain": -1.0, "negative": 0.0, "blank": NAN}


def review(truth: pd.DataFrame) -> Consensus:
    return Consensus(
        id_name="uid", reference="report", rule="majority", reviewers=("",), truth=truth,
        states=truth, agreed=truth.notna(), four_states=False, several=0, ties=0, not_evaluable=0,
    )  # fmt: skip


@cache
def counted_once() -> Comparison:
    return counted(Edema=EDEMA)


def counted(**findings: dict[str, tuple[int, int]]) -> Comparison:
    """An unweighted comparison with so many studies, and truths, of each state."""
    labels, truth = {}, {}
    for finding, states in findings.items():
        rows = [(CODES[s], float(i < k)) for s, (n, k) in states.items() for i in range(n)]
        labels[finding] = [label for label, _ in rows]
        truth[finding] = [is_there for _, is_there in rows]
    index = pd.Index([f"{i:05}" for i in range(len(next(iter(labels.values()))))], name="uid")
    return compare(pd.DataFrame(labels, index=index), review(pd.DataFrame(truth, index=index)))


EDEMA = {"positive": (40, 36), "uncertain": (10, 4), "negative": (250, 1), "blank": (700, 4)}
MASS = {"positive": (20, 15), "uncertain": (0, 0), "negative": (0, 0), "blank": (980, 2)}


@cache
def edema_and_mass() -> Observation:
    return observe(counted(Edema=EDEMA, Mass=MASS))


@cache
def population() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and labels of all studies; findings differ in how often they are missed or invented."""
    rng = np.random.default_rng(0)
    names = [f"F{column}" for column in range(len(PREVALENCE))]
    index = pd.Index([f"{i:05}" for i in range(STUDIES)], name="uid")
    truth = rng.random((STUDIES, len(names))) < PREVALENCE
    labels = np.full(truth.shape, np.nan)
    for column, prevalence in enumerate(PREVALENCE):
        ppv, missed = rng.beta(9, 1.5), rng.beta(2, 18)
        invented = (1 - missed) * prevalence * (1 - ppv) / ppv
        yes = [0.85 * (1 - missed), 0.15 * (1 - missed), missed / 2, missed / 2]
        no = [invented, 0.3 * prevalence, 0.3, 0.7 - invented - 0.3 * prevalence]
        for value, shares in ((True, yes), (False, no)):
            rows = np.flatnonzero(truth[:, column] == value)
            labels[rows, column] = rng.choice(list(CODES.values()), len(rows), p=shares)
    return (
        pd.DataFrame(truth.astype(float), index=index, columns=names),
        pd.DataFrame(labels, index=index, columns=names),
    )


def true_shares() -> dict[str, np.ndarray]:
    """State -> [F] P(truth | state) in the population."""
    truth, labels = population()
    inside = {s: labels.isna() if math.isnan(c) else labels == c for s, c in CODES.items()}
    return {s: (truth[m].sum() / m.sum()).to_numpy() for s, m in inside.items()}


@cache
def audited(seed: int, n: int = 500) -> Observation:
    truth, labels = population()
    sample = draw_sample(state_cells(labels), n=n, seed=seed)
    return observe(compare(labels, review(truth.loc[sample.table.index]), sample=sample))


# the table


def test_counts_and_weights_are_those_of_the_comparison():
    row = edema_and_mass().findings["Edema"].states["positive"]

    assert (row.n, row.weight, row.truth_positive, row.truth_weight) == (40, 40, 36, 36)
    assert row.effective_n == 40
    assert row.observed


def test_many_studies_outweigh_the_other_findings():
    many = observe(counted(Edema={**EDEMA, "positive": (4_000, 3_600), "blank": (9_000, 90)}))
    rows = many.findings["Edema"].states

    assert rows["positive"].p_truth == pytest.approx(0.9, abs=0.002)
    assert rows["blank"].p_truth == pytest.approx(0.01, rel=0.03)
    assert rows["positive"].lo == pytest.approx(0.9 - 1.96 * math.sqrt(0.09 / 4_000), abs=0.001)


def test_state_that_was_never_seen_says_so_and_has_what_the_others_predict():
    rows = edema_and_mass().findings["Mass"].states

    assert not rows["uncertain"].observed
    assert rows["uncertain"].n == 0
    assert rows["uncertain"].hi - rows["uncertain"].lo > 0.5
    assert rows["uncertain"].p_truth == pytest.approx(0.4, abs=0.1)  # Edema's is 4 of 10
    assert rows["negative"].p_truth < 0.1
    assert rows["positive"].observed


def test_no_finding_is_not_pooled_with_findings():
    normal = {"positive": (30, 27), "uncertain": (0, 0), "negative": (0, 0), "blank": (970, 90)}
    together = observe(counted(**{"Edema": EDEMA, "Mass": MASS, "No Finding": normal}))

    assert together.findings["Mass"].states == edema_and_mass().findings["Mass"].states
    assert together.findings["No Finding"].states["uncertain"].p_truth == pytest.approx(0.5)


def test_parts_of_a_table_fit_together():
    table = edema_and_mass().findings["Edema"]
    p_truth = [table.states[name].p_truth for name in STATES]

    assert at_prevalence(given_truth(table), table.prevalence.mean) == pytest.approx(p_truth)
    assert given_truth(table).sum(axis=1) == pytest.approx([1, 1])
    assert table.prevalence.lo < table.prevalence.mean < table.prevalence.hi


def test_limits_of_states_are_around_their_shares():
    table = edema_and_mass().findings["Edema"]
    for truth, shares in table.state_given_truth.items():
        for state, (low, high) in table.state_given_truth_limits[truth].items():
            assert 0 <= low < shares[state] < high <= 1
    low, high = table.state_given_truth_limits["0"]["positive"]
    # 4 invented labels in 955 studies without the finding
    assert (low, high) == pytest.approx((0.0015, 0.01), abs=0.0015)


def test_few_events_are_not_enough():
    few = {"positive": (3, 2), "uncertain": (0, 0), "negative": (0, 0), "blank": (997, 1)}
    found = observe(counted(Edema=EDEMA, Mass=few)).findings

    assert not found["Mass"].enough
    assert found["Mass"].events == 3
    assert found["Edema"].enough


def test_finding_without_a_known_truth_has_no_table():
    comparison = counted(Edema=EDEMA, Mass=MASS)
    comparison.truth["Mass"] = NAN

    assert list(observe(comparison).findings) == ["Edema"]


def test_patients_with_like_studies_are_worth_less():
    comparison = counted(Edema=EDEMA)
    patients = pd.Series([f"p{i // 4}" for i in range(1_000)], index=comparison.labels.index)
    clustered = observe(compare(comparison.labels, comparison.review, patients=patients))

    assert clustered.findings["Edema"].states["positive"].effective_n < 20
    assert clustered.findings["Edema"].states["negative"].n == 250


def test_studies_of_rarely_drawn_strata_weigh_more():
    comparison = dataclasses.replace(
        counted(Edema={"positive": (90, 60), "blank": (310, 0)}),
        strata=np.r_[np.zeros(60), np.ones(30), np.full(310, 2)].astype(np.int64),
        sizes=np.array([60, 300, 5_000]),  # the 30 without the finding stand for 300
    )
    row = observe(comparison).findings["Edema"].states["positive"]

    assert (row.weight, row.truth_weight) == (360, 60)
    assert row.effective_n == pytest.approx(360**2 / (60 + 30 * 10**2))
    assert row.events == pytest.approx(row.effective_n / 6)
    assert row.p_truth == pytest.approx(1 / 6, abs=0.05)
    assert row.lo < row.p_truth < row.hi


def test_states_of_patients_with_like_studies_are_less_certain():
    comparison = counted(Edema=EDEMA)
    patients = pd.Series([f"p{i // 5}" for i in range(1_000)], index=comparison.labels.index)
    clustered = observe(compare(comparison.labels, comparison.review, patients=patients))
    apart = observe(comparison)

    sums = [sum(x.findings["Edema"].posterior.state.values()) for x in (apart, clustered)]
    assert sums[0] == 1_002
    assert sums[1] == pytest.approx(202, abs=15)
    assert clustered.findings["Edema"].events == pytest.approx(9.7, abs=0.05)  # 45 by patient


def test_unequal_weights_are_worth_less():
    assert effective_number([1, 1, 1, 1]) == 4
    assert effective_number([1, 1, 1, 10]) == pytest.approx(169 / 103)
    assert effective_number([]) == 0


def test_state_shares_of_the_whole_population_are_used():
    found = audited(0).findings["F7"]
    labels = population()[1]["F7"]

    assert found.posterior.state["positive"] == (labels == 1).sum() + 0.5
    assert found.states["positive"].n < (labels == 1).sum()


# by simulation


# four findings: their prevalence; what share of positive labels is right, what share of truths has
# one, and what share of the others is said to be absent
SHARES = np.array([0.02, 0.06, 0.15, 0.3])
QUALITY = ((0.8, 0.75, 0.4), (0.9, 0.85, 0.1), (0.75, 0.8, 0.3), (0.88, 0.72, 0.2))
AUDITS = 1_000


@cache
def given_states() -> np.ndarray:
    """P(state | truth), [4, 2, 4] for truth 1 and 0."""
    rows = []
    for share, (right, found, absent) in zip(SHARES, QUALITY, strict=True):
        odds, missed = share / (1 - share), 0.95 - found
        wrong, doubtful = found * odds * (1 - right) / right, 0.05 * odds * 1.5
        rest = 1 - wrong - doubtful - absent
        rows.append([[found, 0.05, missed / 2, missed / 2], [wrong, doubtful, absent, rest]])
    return np.array(rows)


def simulated(rng: np.random.Generator) -> Comparison:
    """An audit of 400 of 2,000 new studies, half of them with a positive or uncertain label."""
    truth = rng.random((2_000, 4)) < SHARES
    ends = given_states().cumsum(axis=2)[np.arange(4), np.where(truth, 0, 1), :3]  # [N, 4, 3]
    state = (rng.random((2_000, 4, 1)) > ends).sum(axis=2)
    stratum = np.where((state < 2).any(axis=1), 0, 1)
    rows = np.concatenate([np.flatnonzero(stratum == h)[:200] for h in (0, 1)])
    names = [f"F{column}" for column in range(4)]
    counts = (state[..., None] == np.arange(4)).sum(axis=0).T
    # a comparison by hand: joining tables takes longer than all else
    return dataclasses.replace(
        counted_once(),
        labels=pd.DataFrame(np.array(list(CODES.values()))[state[rows]], columns=names),
        truth=pd.DataFrame(truth[rows].astype(float), columns=names),
        strata=stratum[rows],
        sizes=np.bincount(stratum),
        population=pd.DataFrame(counts, index=list(STATES), columns=names),
    )


@cache
def thousand_audits() -> dict[str, np.ndarray]:
    """Coverage of the table over 1,000 audits.

    Of P(truth | state) [4, 4], P(state | truth) [4, 2, 4] and prevalence [4]; and the effective
    events of each state [4, 4], with the finding or without, the fewer of the two.
    """
    given = given_states()
    both = np.stack([SHARES, 1 - SHARES], axis=1)[..., None] * given
    true = both[:, 0] / both.sum(axis=1)
    rng = np.random.default_rng(11)
    rows = {name: [] for name in ("states", "given", "prevalence", "events")}
    for seed in range(AUDITS):
        found = observe(simulated(rng), draws=400, seed=seed).findings.values()
        cells = [[t.states[s] for s in STATES] for t in found]
        rows["states"].append(
            [
                [r.lo <= p <= r.hi for r, p in zip(*row, strict=True)]
                for row in zip(cells, true, strict=True)
            ]
        )
        limits = [[[t.state_given_truth_limits[y][s] for s in STATES] for y in "10"] for t in found]
        low, high = np.moveaxis(np.array(limits), -1, 0)
        rows["given"].append((low <= given) & (given <= high))
        rows["prevalence"].append(
            [t.prevalence.lo <= p <= t.prevalence.hi for t, p in zip(found, SHARES, strict=True)]
        )
        worth = np.array([[row.effective_n for row in line] for line in cells])
        rows["events"].append(worth * np.minimum(true, 1 - true))
    return {name: np.mean(values, axis=0) for name, values in rows.items()}


def test_posteriors_of_states_cover_over_a_thousand_audits():
    covered, events = thousand_audits()["states"], thousand_audits()["events"]
    many = events >= 5
    assert many.sum() >= 5
    assert covered[many].min() >= 0.93
    assert covered[many].max() <= 0.97
    assert covered[~many].min() >= 0.93  # these lean on the other findings: too wide if anything


def test_posteriors_of_truths_and_prevalence_cover_over_a_thousand_audits():
    found = thousand_audits()

    assert found["given"].min() >= 0.93
    assert found["prevalence"].min() >= 0.93
    assert found["prevalence"][2:].max() <= 0.97  # the common findings


def test_prevalence_is_close():
    true = population()[0].mean().to_numpy()
    found = [[t.prevalence.mean for t in audited(seed).findings.values()] for seed in range(6)]

    assert np.mean(found, axis=0) == pytest.approx(true, rel=0.3)


def test_draws_have_the_mean_and_the_limits_of_the_table():
    found = audited(1)
    drawn = draw(found, np.random.default_rng(1), 20_000)

    assert drawn.keys() == found.findings.keys()
    for name, table in found.findings.items():
        rows = [table.states[s] for s in STATES]
        assert drawn[name].shape == (20_000, 4)
        assert drawn[name].mean(axis=0) == pytest.approx([r.p_truth for r in rows], abs=0.01)
        low, high = np.quantile(drawn[name], [0.025, 0.975], axis=0)
        assert low == pytest.approx([r.lo for r in rows], abs=0.02)
        assert high == pytest.approx([r.hi for r in rows], abs=0.02)


def test_joint_draws_go_together_one_by_one():
    drawn = draw_jointly(audited(1), np.random.default_rng(2), 50)["F5"]

    assert at_prevalence(drawn.state_given_truth, drawn.prevalence) == pytest.approx(
        drawn.truth_given_state
    )
    assert drawn.state_given_truth.shape == (50, 2, 4)


def test_draws_depend_on_the_generator_alone():
    first, second = (draw(audited(1), np.random.default_rng(3), 4) for _ in range(2))
    assert first["F0"].tolist() == second["F0"].tolist()


# another site


def test_truth_given_state_at_another_prevalence_by_hand():
    given = [[0.8, 0.1, 0.05, 0.05], [0.1, 0.1, 0.4, 0.4]]
    found = at_prevalence(given, 0.2)

    assert found.tolist() == pytest.approx([0.16 / 0.24, 0.2, 0.01 / 0.33, 0.01 / 0.33])
    assert at_prevalence(given, 0.0).tolist() == [0, 0, 0, 0]


def test_state_that_no_truth_gives_says_nothing():
    given = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]]
    assert at_prevalence(given, 0.3).tolist()[1] == pytest.approx(0.3)


def test_audit_of_one_site_tells_the_shares_of_a_site_with_the_same_labeler():
    truth, labels = population()
    sick = truth["F7"] == 1
    chosen = pd.concat([truth["F7"][sick].iloc[::6], truth["F7"][~sick]]).index
    table = audited(2, 1_500).findings["F7"]
    prevalence = float(truth.loc[chosen, "F7"].mean())
    found = at_prevalence(given_truth(table), prevalence)[STATES.index("positive")]
    actual = truth.loc[chosen, "F7"][labels.loc[chosen, "F7"] == 1].mean()

    assert prevalence < 0.1
    assert found == pytest.approx(actual, abs=0.1)
    assert abs(table.states["positive"].p_truth - actual) > 0.15  # what the audited site has


def test_example_of_the_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "audit_statistics.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "audit").mkdir()
    write_observation(tmp_path / "audit" / "noise.json", edema_and_mass())
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)

    assert names["here"].shape == names["there"].shape == (20, 4)
    assert names["there"][:, 0].mean() < names["here"][:, 0].mean()  # it is rarer there


def test_turning_round_a_truth_that_does_not_occur():
    given, prevalence = turn_round([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4])

    assert prevalence == 0
    assert given.tolist() == [[0.1, 0.2, 0.3, 0.4]] * 2


# pooling


def test_pooling_shrinks_small_findings_more():
    alpha, beta = pooled_posteriors([90, 85, 88, 1], [100, 100, 100, 2])
    means = alpha / (alpha + beta)

    assert means[0] == pytest.approx(0.9, abs=0.02)
    assert 0.65 < means[3] < 0.9


def test_findings_that_differ_are_left_alone():
    alpha, beta = pooled_posteriors([1, 99, 2, 98, 50, 3], [100, 100, 100, 100, 100, 3.5])
    means = alpha / (alpha + beta)

    assert means[:2] == pytest.approx([0.01, 0.99], abs=0.01)


def test_pooling_without_any_study_is_jeffreys_prior():
    alpha, beta = pooled_posteriors([0, 0], [0, 0])
    assert (alpha.tolist(), beta.tolist()) == ([0.5, 0.5], [0.5, 0.5])


@pytest.mark.parametrize("scatter", [0.0, 0.7])
def test_pooled_posteriors_cover(scatter):
    rng = np.random.default_rng(4)
    odds = PREVALENCE / (1 - PREVALENCE)
    alike, proportional = [], []
    for _ in range(40):
        share = rng.beta(9, 1.5, 8)
        n = rng.integers(4, 60, 8)
        positive = rng.binomial(n, share)
        alike.append(inside(share, *pooled_posteriors(positive, n), rng))
        share = 0.1 * odds * np.exp(rng.normal(0, scatter, 8))
        positive = rng.binomial(300, share)
        n = np.full(8, 300)
        proportional.append(inside(share, *pooled_posteriors(positive, n, odds=odds), rng))

    assert 0.92 <= np.mean(alike) <= 0.98
    assert np.mean(proportional) >= 0.93


def inside(share, alpha, beta, rng):
    low, high = np.quantile(rng.beta(alpha, beta, (4_000, len(share))), [0.025, 0.975], axis=0)
    return (low <= share) & (share <= high)


# the file


def written(tmp_path: Path) -> Path:
    write_observation(tmp_path / "noise.json", edema_and_mass())
    return tmp_path / "noise.json"


def test_file_is_read_back_as_it_was(tmp_path):
    found = read_observation(written(tmp_path))
    before = edema_and_mass()

    assert (found.reference, found.design, found.n) == ("report", before.design, 1_000)
    assert list(found.findings) == ["Edema", "Mass"]
    for name, table in before.findings.items():
        again = found.findings[name]
        assert again.states["blank"].p_truth == pytest.approx(table.states["blank"].p_truth)
        assert again.states["uncertain"].observed == table.states["uncertain"].observed
        assert again.posterior.truth_given_state["positive"] == pytest.approx(
            table.posterior.truth_given_state["positive"]
        )
    first, second = (draw(x, np.random.default_rng(5), 3)["Mass"] for x in (found, before))
    assert first == pytest.approx(second, rel=1e-4)


def test_file_has_the_documented_keys(tmp_path):
    content = json.loads(written(tmp_path).read_text())
    mass = content["findings"]["Mass"]

    assert content["schema"] == 1
    assert set(content) == {"schema", "reference", "design", "n", "findings"}
    assert set(mass) == {
        "prevalence", "states", "state_given_truth", "state_given_truth_limits", "effective_n",
        "events", "posterior",
    }  # fmt: skip
    assert tuple(mass["states"]) == STATES
    assert {"n", "weight", "truth_positive", "p_truth", "lo", "hi"} <= set(mass["states"]["blank"])
    assert set(mass["prevalence"]) == {"mean", "lo", "hi"}
    assert mass["states"]["uncertain"]["observed"] is False
    assert set(mass["state_given_truth"]) == {"1", "0"}


def test_file_that_exists_is_kept(tmp_path):
    path = written(tmp_path)
    with pytest.raises(InputError, match="the file exists; pass --force"):
        write_observation(path, edema_and_mass())


def put(*keys: str, value: object):
    def change(content: dict) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def drop(*keys: str):
    def change(content: dict) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


BLANK_ROW = ("findings", "Mass", "states", "blank")
POSTERIOR = ("findings", "Mass", "posterior")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("schema", value=2), r"schema 2; expected 1 \(a later version of cxr wrote it\?\)"),
        (put("schema", value="x"), "schema x; expected 1"),
        (drop("schema"), r"\$: no 'schema'"),
        (put("findings", value={}), "no finding; expected one or more"),
        (put("findings", value=[1]), r"\$.findings: expected an object with named values"),
        (put("reference", value=3), r"\$.reference: expected a text"),
        (drop(*BLANK_ROW), r"\$.findings.Mass.states: no 'blank'"),
        (put(*BLANK_ROW, "p_truth", value=1.4), r"blank.p_truth: 1.4; expected a number in \[0, 1"),
        (put(*BLANK_ROW, "n", value=-1), r"blank.n: -1; expected a number of 0 or more"),
        (put(*BLANK_ROW, "observed", value=1), r"blank.observed: expected true or false"),
        (put(*BLANK_ROW, "lo", value=None), r"blank.lo: None; expected a number"),
        (put(*BLANK_ROW, "lo", value=True), r"blank.lo: True; expected a number"),
        (put(*BLANK_ROW, "hi", value=math.nan), r"blank.hi: nan; expected a number"),
        (drop(*POSTERIOR, "state"), r"Mass.posterior: no 'state'"),
        (put(*POSTERIOR, "state", "blank", value=0), r"state.blank: 0; expected a number of 1e-12"),
        (
            put(*POSTERIOR, "truth_given_state", "blank", value=[1]),
            "blank: expected two numbers",
        ),
    ],
)
def test_wrong_value_is_named_in_one_line(tmp_path, change, message):
    path = written(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

    with pytest.raises(InputError, match=message) as caught:
        read_observation(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "\ufeff[", "[" * 100_000])
def test_file_that_is_not_json_is_one_line(tmp_path, content):
    path = tmp_path / "noise.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match="not JSON, expected an observation table"):
        read_observation(path)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"noise\.json: cannot be read: No such file"):
        read_observation(tmp_path / "noise.json")
