"""Labels drawn from truth: the rates that were asked for, permanent draws, dependence on scores."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vision_cli import run_cxr

from cxrlabel.audit.observation import given_truth, read_observation
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, resolve
from cxrlabel.tables import read_labels
from cxrvision.evaluate.auc import auc
from cxrvision.noise.rates import Rates, parse_rates, tables_from_rates
from cxrvision.noise.simulation import count_cells, draw_labels, uniform_numbers

RATES = Rates(
    sensitivity=0.6,
    specificity=0.9,
    uncertain_positive=0.1,
    uncertain_negative=0.05,
    blank_positive=0.1,
    blank_negative=0.6,
)
FINDINGS = ("Edema", "Pneumothorax")


def truth_table(n: int, *, seed: int = 1, prevalence: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ids = pd.Index([f"s{number:05}" for number in range(n)], name="study_id", dtype=object)
    values = (rng.random((n, len(FINDINGS))) < prevalence).astype(float)
    return pd.DataFrame(values, index=ids, columns=list(FINDINGS))


def tables(rates: Rates = RATES) -> dict[str, np.ndarray]:
    return tables_from_rates(FINDINGS, rates, {})


def scores_of(truth: pd.DataFrame) -> pd.DataFrame:
    """A model that sees something of the truth."""
    return truth + np.random.default_rng(7).normal(size=truth.shape)


def assert_within_noise(counts: np.ndarray, table: np.ndarray) -> None:
    """Each share is within four standard errors of what it is drawn with."""
    for row, shares in zip(counts, table, strict=True):
        n = row.sum()
        error = np.sqrt(shares * (1 - shares) / n)
        assert (np.abs(row / n - shares) <= 4 * error + 1e-12).all()


@pytest.mark.parametrize("dependence", [0.0, 0.8, -0.5])
def test_the_states_have_the_rates_given_truth(dependence: float) -> None:
    truth = truth_table(20_000)

    labels = draw_labels(truth, tables(), seed=3, scores=scores_of(truth), dependence=dependence)

    for name in FINDINGS:
        counts = count_cells(truth[name].to_numpy(), labels[name].to_numpy())
        assert_within_noise(counts, tables()[name])


def test_errors_follow_the_score_given_truth() -> None:
    truth = truth_table(20_000)
    scores = scores_of(truth)

    labels = draw_labels(truth, tables(), seed=3, scores=scores, dependence=0.8)

    for value in (1, 0):
        rows = truth["Edema"] == value
        positive = (labels["Edema"] == 1)[rows]
        assert auc(scores["Edema"][rows], positive.to_numpy()) > 0.75


def test_without_dependence_errors_know_nothing_of_the_score() -> None:
    truth = truth_table(20_000)
    scores = scores_of(truth)

    labels = draw_labels(truth, tables(), seed=3, scores=scores)

    rows = truth["Edema"] == 1
    positive = (labels["Edema"] == 1)[rows]
    assert auc(scores["Edema"][rows], positive.to_numpy()) == pytest.approx(0.5, abs=0.03)


def test_other_studies_and_findings_change_no_label() -> None:
    truth = truth_table(400)

    whole = draw_labels(truth, tables(), seed=3)
    part = draw_labels(truth.iloc[::-3][["Edema"]], tables(), seed=3)

    pd.testing.assert_frame_equal(part, whole.loc[part.index, ["Edema"]])


def test_the_errors_of_a_better_labeler_are_among_those_of_a_worse_one() -> None:
    truth = truth_table(2_000)
    worse, better = (
        draw_labels(truth, tables(Rates(sensitivity=s, specificity=c)), seed=3)
        for s, c in ((0.6, 0.8), (0.8, 0.9))
    )

    assert ((better == truth) >= (worse == truth)).all(axis=None)


def test_findings_and_seeds_draw_for_themselves() -> None:
    ids = truth_table(2_000).index
    draws = [uniform_numbers(ids, name, seed) for name in FINDINGS for seed in (0, 1)]

    correlations = np.corrcoef(draws)
    assert np.abs(correlations - np.eye(4)).max() < 0.1
    assert all(numbers.min() > 0 and numbers.max() < 1 for numbers in draws)


def test_rates_of_a_finding_go_over_those_of_all() -> None:
    own = parse_rates(["ptx: sensitivity=.5, blank-negative=.25"], RATES)

    assert own == {
        "Pneumothorax": Rates(
            sensitivity=0.5,
            specificity=0.9,
            uncertain_positive=0.1,
            uncertain_negative=0.05,
            blank_positive=0.1,
            blank_negative=0.25,
        )
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Edema", "NAME:RATE=VALUE"),
        ("Oedemata:sensitivity=.5", "unknown finding"),
        ("Edema:recall=.5", "unknown rate 'recall'"),
        ("Edema:sensitivity=half", "expected sensitivity=NUMBER"),
    ],
)
def test_a_wrong_rate_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rates([text], RATES)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (Rates(sensitivity=0.9), "no --specificity"),
        (Rates(sensitivity=1.2, specificity=0.9), "--sensitivity 1.2"),
        (Rates(sensitivity=0.9, specificity=0.9, blank_positive=0.2), "sum of at most 1"),
        (Rates(sensitivity=0.9, specificity=0.5, uncertain_negative=0.6), "without the finding"),
    ],
)
def test_impossible_rates_are_refused(rates: Rates, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rates.table("Edema")


@pytest.fixture
def truth_file(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    truth_table(500).to_csv(path)
    return path


def test_simulate_writes_labels_and_what_came_of_them(truth_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"

    done = run_cxr(
        "noise", "simulate", truth_file, "-o", out, "--sensitivity", 0.7, "--specificity", 0.9,
        "--blank-negative", 0.5, "--finding", "Edema:sensitivity=.5", "--seed", 4,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"drew labels of 500 studies -> {out}, {out}.run.json"
    labels = read_labels(out, resolve=resolve).table
    record = json.loads(Path(f"{out}.run.json").read_text())
    truth = truth_table(500)
    for name, sensitivity in (("Edema", 0.5), ("Pneumothorax", 0.7)):
        row = record["findings"][name]
        counts = count_cells(truth[name].to_numpy(), labels[name].to_numpy())
        assert row["given_truth"]["1"]["wanted"]["positive"] == sensitivity
        assert row["given_truth"]["0"]["wanted"]["negative"] == pytest.approx(0.4)
        assert row["sensitivity"] == pytest.approx(counts[0, 0] / counts[0].sum(), abs=1e-6)
        assert row["given_truth"]["0"]["realised"]["blank"] == pytest.approx(
            counts[1, 3] / counts[1].sum(), abs=1e-6
        )


def test_simulate_takes_the_table_of_an_audit(
    truth_file: Path, tmp_path: Path, audited: Path
) -> None:
    out = tmp_path / "labels.csv"

    done = run_cxr(
        "noise", "simulate", truth_file, "-o", out, "--noise", audited, "--findings", "Edema"
    )

    assert done.exit_code == 0, done.stderr
    labels = read_labels(out, resolve=resolve).table
    assert list(labels.columns) == ["Edema"]
    table = given_truth(read_observation(audited).findings["Edema"])
    counts = count_cells(truth_table(500)["Edema"].to_numpy(), labels["Edema"].to_numpy())
    assert_within_noise(counts, table / table.sum(axis=1, keepdims=True))
    wanted = json.loads(Path(f"{out}.run.json").read_text())["findings"]["Edema"]["given_truth"]
    assert [wanted["1"]["wanted"][state] for state in STATES] == pytest.approx(table[0])


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    from cxrlabel.audit.observation import write_observation
    from cxrvision.noise.sweep.auditing import simulate_audit

    truth = truth_table(800)[["Edema"]]
    labels = draw_labels(truth, tables(), seed=1)
    patients = pd.Series(truth.index, index=truth.index)
    found = simulate_audit(labels, truth, patients, n=200, seed=2).observation
    write_observation(tmp_path / "noise.json", found)
    return tmp_path / "noise.json"


def test_simulate_with_scores_needs_all_of_them(truth_file: Path, tmp_path: Path) -> None:
    scores = 1 / (1 + np.exp(-scores_of(truth_table(500))))
    scores.to_csv(tmp_path / "scores.csv")
    scores.iloc[1:].to_csv(tmp_path / "fewer.csv")
    options = ("--sensitivity", 0.7, "--specificity", 0.9, "--dependence", 0.7)

    done = run_cxr(
        "noise", "simulate", truth_file, "-o", tmp_path / "labels.csv", *options,
        "--scores", tmp_path / "scores.csv",
    )  # fmt: skip
    failed = run_cxr(
        "noise", "simulate", truth_file, "-o", tmp_path / "again.csv", *options,
        "--scores", tmp_path / "fewer.csv",
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert failed.exit_code == 1
    assert failed.stderr.splitlines() == [
        f"error: {tmp_path / 'fewer.csv'}: no score for the study 's00000'; expected all of the "
        "truth"
    ]


@pytest.mark.parametrize(("value", "shown"), [(-1.0, "-1"), (math.nan, "blank")])
def test_truth_that_is_none_is_refused(tmp_path: Path, value: float, shown: str) -> None:
    truth = truth_table(20)
    truth.iloc[3, 1] = value
    truth.to_csv(tmp_path / "truth.csv")

    done = run_cxr(
        "noise", "simulate", tmp_path / "truth.csv", "-o", tmp_path / "labels.csv",
        "--sensitivity", 0.7, "--specificity", 0.9,
    )  # fmt: skip

    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"error: {tmp_path / 'truth.csv'}: study 's00003', 'Pneumothorax': {shown} is no truth; "
        "expected 1 or 0 (1 such cells)"
    ]
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "expected --noise, or --sensitivity"),
        (("--sensitivity", 0.7), 1, "no --specificity"),
        (("--noise", "noise.json", "--sensitivity", 0.7), 2, "either an audit or rates"),
        (("--sensitivity", 0.7, "--specificity", 0.9, "--dependence", 0.5), 2, "--scores"),
        (("--sensitivity", 0.7, "--specificity", 0.9, "--findings", "Mass"), 1, "'Mass' is not in"),
    ],
)
def test_wrong_options_are_said(
    truth_file: Path, tmp_path: Path, options: tuple[object, ...], code: int, message: str
) -> None:
    done = run_cxr("noise", "simulate", truth_file, "-o", tmp_path / "labels.csv", *options)

    assert done.exit_code == code
    assert message in done.stderr
