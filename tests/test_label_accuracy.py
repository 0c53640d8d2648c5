"""The benchmark that makes docs/accuracy.md: its counts by hand, and a page from made files."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
CODES = """uid,evaluable,Edema,Effusion,No Finding,Edema__amb
1,1,1,0,0,0
2,1,0,1,0,1
3,1,1,0,0,1
4,0,1,1,0,0
5,1,0,0,1,0
"""


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scoring

    return scoring


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    path = tmp_path / "codes.csv"
    path.write_text(CODES)
    return path


LABELS = pd.DataFrame(
    {"Edema": [1.0, -1.0, np.nan], "Pleural Effusion": [np.nan, 1.0, 1.0]}, index=["1", "3", "5"]
)


def totals(cells: object, finding: str) -> list[float]:
    return [float(value.sum()) for value in cells.total([finding])]  # type: ignore[attr-defined]


def test_reference_has_the_reports_that_were_coded(scoring: ModuleType, codes: Path) -> None:
    reference = scoring.read_reference(codes)

    assert reference.ids == ["1", "2", "3", "5"]
    assert list(reference.codes) == ["No Finding", "Edema", "Pleural Effusion"]
    assert reference.open["Edema"].tolist() == [False, True, True, False]
    assert not reference.open["Pleural Effusion"].any()


@pytest.mark.parametrize(
    ("options", "edema"),
    [
        ({}, [1, 0, 1]),
        ({"uncertain": 1}, [2, 0, 0]),
        ({"drop_open": True}, [1, 0, 0]),
    ],
)
def test_cells_are_counted_as_hits_false_and_missed(
    scoring: ModuleType, codes: Path, options: dict[str, int], edema: list[int]
) -> None:
    cells = scoring.compare(LABELS, scoring.read_reference(codes), **options)

    assert totals(cells, "Edema") == edema
    assert totals(cells, "Pleural Effusion") == [0, 2, 1]  # report 2 has no row: all blank
    assert "No Finding" not in cells.hits


def test_ratios_have_their_definitions(scoring: ModuleType) -> None:
    counts = (6.0, 2.0, 4.0)

    assert scoring.precision(*counts) == 6 / 8
    assert scoring.recall(*counts) == 6 / 10
    assert scoring.f1(*counts) == 12 / 18


def test_resamples_draw_as_many_reports_as_there_are(scoring: ModuleType) -> None:
    weights = scoring.resample(7, 50, seed=1)

    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_interval_covers_the_true_share_as_often_as_it_says(scoring: ModuleType) -> None:
    rng = np.random.default_rng(0)
    none = np.zeros(200, np.float32)
    covered = 0
    for seed in range(200):
        hits = (rng.random(200) < 0.8).astype(np.float32)
        text = scoring.with_interval(
            (hits, 1 - hits, none), scoring.resample(200, 200, seed), scoring.precision
        )
        low, high = (float(end) for end in text[text.index("[") + 1 : -1].split(","))
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 198  # 95 % of 200


def run(*args: object) -> str:
    command = [sys.executable, str(BENCHMARKS / "label_accuracy.py"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_is_made_from_tables(tmp_path: Path, codes: Path) -> None:
    labels, lines, page = (tmp_path / name for name in ("ours.csv", "lines.csv", "page.md"))
    LABELS.assign(**{"No Finding": np.nan}).rename_axis("uid").to_csv(labels)
    lines.write_text("text,finding,expected\nNo edema.,Edema,negative\nClear.,Edema,positive\n")

    run("--labels", labels, "--reference", codes, "--peer", f"a twin={labels}",
        "--lines", lines, "--page", page, "--resamples", 20)  # fmt: skip

    text = page.read_text()
    assert "| a twin | +0.000 [+0.000, +0.000] | +0.000 [+0.000, +0.000] | 2 |" in text
    assert "Of 2 invented one-line cases" in text
    assert "4 reports of the Open-i collection" in text


def test_without_data_the_sample_alone_is_scored() -> None:
    assert "no coded reports given" in run()
