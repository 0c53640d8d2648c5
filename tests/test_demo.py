"""The demo: what a newcomer sees first."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cxrlabel.audit.observation import read_observation
from cxrlabel.demo import EXPECTED, REVIEWED, Agreement, Material, compare_labels, run_demo
from cxrlabel.errors import InputError

Cxr = Callable[..., Result]


@pytest.fixture(scope="module")
def demo(cxr: Cxr, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder and the output of one run of the demo."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, cxr("demo", "--no-images", "--out", out)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_demo_writes_its_files(demo: tuple[Path, Result]) -> None:
    out, done = demo

    assert done.exit_code == 0
    assert {path.name for path in out.iterdir()} == {
        "audit", "labels.csv", "labels.csv.run.json", "manual.csv", "mentions.csv", "sample.csv",
        "stats.html",
    }  # fmt: skip


def test_demo_labels_every_report(
    demo: tuple[Path, Result], sample_reports: dict[str, str]
) -> None:
    assert [row["study_id"] for row in rows(demo[0] / "labels.csv")] == list(sample_reports)


def test_demo_mentions_slice_back(
    demo: tuple[Path, Result], sample_reports: dict[str, str]
) -> None:
    mentions = rows(demo[0] / "mentions.csv")

    assert len(mentions) > len(sample_reports)
    for row in mentions:
        report = sample_reports[row["study_id"]]
        # a cell like a formula is neutralised by an apostrophe
        assert report[int(row["start"]) : int(row["end"])] == row["text"].removeprefix("'")


def test_demo_page_has_its_plots(demo: tuple[Path, Result]) -> None:
    assert "<svg" in (demo[0] / "stats.html").read_text(encoding="utf-8")


def test_demo_record_counts_its_reports(
    demo: tuple[Path, Result], sample_reports: dict[str, str]
) -> None:
    record = json.loads((demo[0] / "labels.csv.run.json").read_text())

    assert record["statistics"]["reports"] == len(sample_reports)


def test_demo_reviews_the_drawn_studies_by_their_expected_labels(demo: tuple[Path, Result]) -> None:
    out, _ = demo
    sample, manual = rows(out / "sample.csv"), rows(out / "manual.csv")
    expected = {row["study_id"]: row for row in rows(EXPECTED)}

    assert [row["study_id"] for row in manual] == [row["study_id"] for row in sample]
    assert len(sample) == REVIEWED
    for row in manual:
        assert (row.pop("reviewer"), row.pop("reference")) == ("simulated", "report")
        assert row == expected[row["study_id"]]


def test_demo_audits_what_was_drawn(demo: tuple[Path, Result]) -> None:
    out, done = demo
    metrics = rows(out / "audit/metrics.csv")
    differing = len(rows(out / "audit/disagreements.csv"))

    assert {row["n"] for row in metrics if row["finding"] == "No Finding"} == {str(REVIEWED)}
    assert sum(int(row["tp"]) for row in metrics) > 100
    assert read_observation(out / "audit/noise.json").n == REVIEWED
    assert f"drew {REVIEWED} of 180 studies" in done.stdout
    assert f"found {differing} disagreements -> {out}/audit/index.html" in done.stdout


def test_demo_agrees_with_the_expected_labels(demo: tuple[Path, Result]) -> None:
    agreement = compare_labels(EXPECTED, demo[0] / "labels.csv")

    assert agreement.share > 0.97
    assert min(map(agreement.f1, ("positive", "negative", "uncertain", "blank"))) > 0.9


def test_demo_prints_table_agreement_and_what_to_try(demo: tuple[Path, Result]) -> None:
    out, done = demo
    agreement = compare_labels(EXPECTED, out / "labels.csv")

    assert "Pleural Effusion" in done.stdout
    assert f"agreement with the expected labels: {agreement.share:.1%} of all cells" in done.stdout
    assert f"F1 by state: positive {agreement.f1('positive'):.3f}, negative" in done.stdout
    assert f"open {out}/audit/index.html and {out}/stats.html in a browser" in done.stdout
    assert 'cxr rules show "Pleural Effusion"' in done.stdout


def test_demo_that_was_run_before_asks_for_force(demo: tuple[Path, Result], cxr: Cxr) -> None:
    out, _ = demo
    before = (out / "labels.csv").stat().st_mtime_ns

    done = cxr("demo", "--no-images", "--out", out)

    assert (done.exit_code, done.stdout) == (1, "")
    assert (
        done.stderr == f"error: {out / 'labels.csv'}: the file exists; pass --force to replace it\n"
    )
    assert (out / "labels.csv").stat().st_mtime_ns == before


def test_demo_can_be_run_again_by_force(demo: tuple[Path, Result], cxr: Cxr) -> None:
    before = (demo[0] / "labels.csv").read_bytes()

    assert cxr("demo", "--no-images", "--out", demo[0], "--force").exit_code == 0

    assert (demo[0] / "labels.csv").read_bytes() == before


def test_demo_without_torch_says_so_and_takes_the_bundled_reports(
    cxr: Cxr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(out: Path, material: Material, **options: object) -> None:
        raise InputError(f"asked for {material.reports.name}")

    monkeypatch.setattr("cli.find_spec", lambda name: None)
    monkeypatch.setattr("cxrlabel.demo.run_demo", stop)

    done = cxr("demo", "--out", tmp_path)

    assert "the image part is left out: it needs the extra `train`" in done.stderr
    assert "asked for demo_reports.csv" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_demo_raises_where_its_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")

    with pytest.raises(InputError, match="cannot write here"):
        run_demo(tmp_path / "out")


HEADER = "study_id,Edema,Mass\n"


@pytest.fixture
def compared(tmp_path: Path) -> Agreement:
    """Two studies, and one that only the expected labels have."""
    (tmp_path / "expected.csv").write_text(HEADER + "a,1.0,0.0\nb,-1.0,\nc,1.0,\n")
    (tmp_path / "labels.csv").write_text(HEADER + "b,-1.0,1.0\na,1.0,0.0\nz,1.0,1.0\n")
    return compare_labels(tmp_path / "expected.csv", tmp_path / "labels.csv")


def test_cells_are_compared_study_by_study(compared: Agreement) -> None:
    assert compared.cells == {
        ("positive", "positive"): 1,
        ("negative", "negative"): 1,
        ("uncertain", "uncertain"): 1,
        ("blank", "positive"): 1,
        ("positive", "blank"): 1,
        ("blank", "blank"): 1,
    }


def test_share_is_that_of_equal_cells(compared: Agreement) -> None:
    assert compared.share == 4 / 6


@pytest.mark.parametrize(
    ("state", "expected"),
    [("positive", 0.5), ("negative", 1.0), ("uncertain", 1.0), ("blank", 0.5)],
)
def test_f1_is_of_a_state_against_all_others(
    compared: Agreement, state: str, expected: float
) -> None:
    assert compared.f1(state) == expected


def test_f1_of_a_state_that_never_occurs_is_nan() -> None:
    assert math.isnan(Agreement({("positive", "positive"): 3}).f1("uncertain"))
