"""The commands `cxr audit`, as a user calls them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app

STATES = ("1.0", "0.0", "-1.0", "")


def cxr(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, args)])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    rows = [f"{i},{STATES[(i * 7) % 4 if i < 40 else 3]},{STATES[i % 3]}" for i in range(200)]
    path.write_text("study_id,Edema,Mass\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.csv"
    rows = [f"{i},{(i * 37 % 100) / 100},{(i * 53 % 100) / 100}" for i in range(190)]
    path.write_text("study_id,Edema,prob_Mass\n" + "\n".join(rows) + "\n")
    return path


def drawn(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        return {r["study_id"]: float(r["inclusion_probability"]) for r in csv.DictReader(file)}


def test_plan_names_cost_and_what_stays_unmeasurable(labels: Path) -> None:
    result = cxr("plan", labels, "--n", "60", "--pace", "3")

    assert result.exit_code == 0
    assert "60 of 200 studies, 180 minutes" in result.stdout
    assert "Edema: positive, uncertain" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:12])) <= 80
    assert "…" not in result.stdout


def test_plan_as_json_is_the_same_plan(labels: Path) -> None:
    plan = json.loads(cxr("plan", labels, "--n", "60", "--json").stdout)

    assert (plan["n"], plan["studies"]) == (60, 200)
    assert {cell["finding"] for cell in plan["cells"]} == {"Edema", "Mass"}


@pytest.mark.parametrize("design", ["states", "simple", "scores"])
def test_sample_has_known_probabilities(
    labels: Path, predictions: Path, tmp_path: Path, design: str
) -> None:
    out = tmp_path / "sample.csv"
    options = ["--n", "50", "--design", design, "--predictions", predictions]

    result = cxr("sample", labels, *options, "-o", out)

    assert result.exit_code == 0
    assert "drew 50 of 200 studies" in result.stderr
    assert sum(1 / p for p in drawn(out).values()) == pytest.approx(200)


def test_rare_states_are_drawn_more_often(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample.csv"
    cxr("sample", labels, "--n", "50", "-o", out)

    probabilities = drawn(out)
    rare = [p for i, p in probabilities.items() if int(i) < 40 and (int(i) * 7) % 4 != 3]
    usual = [p for i, p in probabilities.items() if int(i) >= 40]
    assert min(rare) > max(usual)


def test_extension_holds_the_earlier_sample(labels: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    cxr("sample", labels, "--n", "40", "--seed", "5", "-o", first)
    result = cxr("sample", labels, "--n", "90", "--seed", "5", "--extend", first, "-o", second)

    assert result.exit_code == 0
    assert len(drawn(second)) == 90
    assert drawn(first).keys() <= drawn(second).keys()


def test_suspects_are_drawn_and_listed(labels: Path, predictions: Path, tmp_path: Path) -> None:
    out, doubted = tmp_path / "next.csv", tmp_path / "doubted.csv"

    result = cxr("suspects", labels, predictions, "--n", "40", "-o", out, "--doubted", doubted)

    assert result.exit_code == 0
    assert "10 studies have no prediction" in result.stderr
    assert len(drawn(out)) == 40
    assert doubted.read_text().splitlines()[0].startswith("study_id,finding,label")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sample", "labels.csv", "--n", "1", "-o", "x.csv"], "--n: 1; expected 2 or more"),
        (["sample", "labels.csv", "--n", "9", "-o", "x.csv", "--design", "best"], "'best'"),
        (
            ["sample", "labels.csv", "--n", "9", "-o", "x.csv", "--design", "scores"],
            "--predictions",
        ),
        (["sample", "labels.csv", "--n", "9", "-o", "labels.csv"], "the file exists"),
        (["plan", "labels.csv", "--half-width", "2"], "--half-width"),
    ],
)
def test_wrong_input_is_one_line(
    labels: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(labels.parent)

    result = cxr(*args)

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
