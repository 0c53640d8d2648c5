import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vision_cli import run_cxr

from cxrlabel.errors import InputError
from cxrvision.data.manifest import COLUMNS, Manifest
from cxrvision.data.stats import DataStatistics, data_statistics
from cxrvision.data.stats_page import stats_page

NAN = float("nan")
EVIL = "<script>alert('x')</script>"

# study, patient, view, position, sex, age, site, split
ROWS = [
    ("a", "p", "frontal", "PA", "F", 35.0, "one", "train"),
    ("a", "p", "lateral", "LL", "F", 35.0, "one", "train"),
    ("b", "p", "frontal", "AP", "F", 36.0, "one", "train"),
    ("c", "q", "lateral", "LL", "M", 80.0, "two", "test"),
    ("d", "r", "unknown", "", "", NAN, "two", "test"),
]
LABELS = pd.DataFrame(
    {
        "Edema": [1, 1, 0, NAN, 1],
        "Pleural Effusion": [1, 0, -1, NAN, 1],
        "No Finding": [0, 0, 1, NAN, 1],
    },
    index=pd.Index(["a", "b", "c", "d", "elsewhere"], dtype="str"),
    dtype=float,
)


def manifest(rows: list[tuple] = ROWS) -> Manifest:
    names = ("study_id", "patient_id", "view", "view_position", "sex", "age", "site", "split")
    table = pd.DataFrame(rows, columns=list(names)).reindex(columns=list(COLUMNS))
    table["image_id"] = table["path"] = [f"{number}.png" for number in range(len(rows))]
    text = [name for name in COLUMNS if name != "age"]
    table[text] = table[text].astype("str").fillna("")
    return Manifest(table, Path(), "studies.csv")


@pytest.fixture(scope="module")
def statistics() -> DataStatistics:
    return data_statistics(manifest(), LABELS)


def groups(statistics: DataStatistics, kind: str) -> dict[str, tuple[int, int, int]]:
    """Name -> patients, studies, images."""
    return {g.name: (g.patients, g.studies, g.images) for g in statistics.groups[kind]}


def test_sizes_are_counted(statistics: DataStatistics) -> None:
    assert (statistics.images, statistics.studies, statistics.patients) == (5, 4, 3)
    assert (statistics.labeled, statistics.unlabeled, statistics.without_images) == (4, 0, 1)
    assert statistics.images_by_view == {"frontal": 2, "lateral": 2, "other": 0, "unknown": 1}
    assert statistics.images_per_study == (3, 1)


def test_states_are_counted(statistics: DataStatistics) -> None:
    effusion = statistics.findings[1]

    assert effusion.counts == {"positive": 1, "uncertain": 1, "negative": 1, "blank": 1}
    assert effusion.shares["positive"] == 0.25
    assert effusion.negatives_per_positive == 1
    assert effusion.others_per_positive == 3


def test_cardinality_leaves_no_finding_out(statistics: DataStatistics) -> None:
    # 2, 1, 0 and 0 of the two findings
    assert statistics.cardinality == 0.75
    assert statistics.density == 0.375
    assert statistics.findings_per_study == (2, 1, 1)
    assert statistics.label_sets == 4


def test_positives_that_come_together_are_counted(statistics: DataStatistics) -> None:
    assert statistics.positives_together == ((2, 1, 0), (1, 1, 0), (0, 0, 1))
    assert statistics.share_together[0] == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "views",
            {
                "frontal + lateral": (1, 1, 2),
                "frontal alone": (1, 1, 1),
                "lateral alone": (1, 1, 1),
                "neither": (1, 1, 1),
            },
        ),
        (
            "view_position",
            {"AP": (1, 1, 1), "LL": (1, 1, 1), "PA": (1, 1, 2), "not stated": (1, 1, 1)},
        ),
        ("sex", {"F": (1, 2, 3), "M": (1, 1, 1), "not stated": (1, 1, 1)}),
        ("age", {"18 to 39": (1, 2, 3), "80 or more": (1, 1, 1), "not stated": (1, 1, 1)}),
        ("site", {"one": (1, 2, 3), "two": (2, 2, 2)}),
        ("split", {"test": (2, 2, 2), "train": (1, 2, 3)}),
    ],
)
def test_groups_are_of_studies(statistics: DataStatistics, kind: str, expected: dict) -> None:
    assert groups(statistics, kind) == expected


def test_positives_are_counted_by_group(statistics: DataStatistics) -> None:
    female = statistics.groups["sex"][0]

    assert female.positives == {"Edema": 2, "Pleural Effusion": 1, "No Finding": 0}
    assert female.shares["Pleural Effusion"] == 0.5


def test_age_is_summed_up(statistics: DataStatistics) -> None:
    assert statistics.age["known"] == 3
    assert statistics.age["mean"] == pytest.approx(151 / 3)
    assert statistics.age["median"] == 36


@pytest.mark.parametrize(
    ("age", "band"),
    [(0, "0 to 17"), (17.9, "0 to 17"), (18, "18 to 39"), (79, "60 to 79"), (101, "80 or more")],
)
def test_age_bands_meet(age: float, band: str) -> None:
    rows = [("a", "p", "frontal", "PA", "F", float(age), "", "")]

    assert [g.name for g in data_statistics(manifest(rows)).groups["age"]] == [band]


def test_small_groups_are_joined() -> None:
    rows = [(f"s{i}", f"s{i}", "frontal", "", "", NAN, f"site {i:02}", "") for i in range(20)]
    sites = data_statistics(manifest(rows)).groups["site"]

    assert len(sites) == 9
    assert (sites[-1].name, sites[-1].studies) == ("12 others", 12)


def test_labels_are_not_needed() -> None:
    statistics = data_statistics(manifest())

    assert (statistics.labeled, statistics.unlabeled, statistics.findings) == (0, 4, ())
    assert "<svg" in stats_page(statistics)


def test_labels_of_another_data_set_are_refused() -> None:
    other = LABELS.set_axis([f"x{i}" for i in range(5)])

    with pytest.raises(
        InputError, match="no id of the labels is a study here: 'x0' there, 'a' here"
    ):
        data_statistics(manifest(), other)


def test_order_of_rows_does_not_matter() -> None:
    turned = data_statistics(manifest(ROWS[::-1]), LABELS[::-1])

    assert turned.to_dict() == data_statistics(manifest(), LABELS).to_dict()


def test_interval_holds_the_share(statistics: DataStatistics) -> None:
    low, high = statistics.findings[1].interval

    # one study of four: Wilson's limits, widened as for few studies (Brown, Cai and DasGupta 2001)
    assert low == pytest.approx(0.051293 / 4, abs=1e-6)
    assert high == pytest.approx(1 - 0.817691 / 4, abs=1e-6)


def cells(html: str) -> str:
    """The text of a page, tags taken out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_page_has_the_tables_and_plots(statistics: DataStatistics) -> None:
    page = stats_page(statistics, inputs=["studies.csv", "labels.csv"])
    text = cells(page)

    assert "Pleural Effusion 1 25.0% 1 25.0% 1 25.0% 1 25.0%" in text
    assert "frontal + lateral 1 1 25.0% 2 1" in text
    assert "Label cardinality 0.75" in text
    assert "Counted from studies.csv and labels.csv." in text
    assert re.findall(r'aria-labelledby="([a-z-]+)-caption"', page) == [
        "ages",
        "states",
        "per-study",
        "together",
    ]


def test_page_loads_nothing(statistics: DataStatistics) -> None:
    page = stats_page(statistics)

    assert not re.search(r"https?:|<script|<link|<img|@import|src=", page)


def test_page_escapes_names() -> None:
    rows = [(*row[:6], EVIL, row[7]) for row in ROWS]
    page = stats_page(data_statistics(manifest(rows), LABELS.rename(columns={"Edema": EVIL})))

    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_equal_statistics_give_equal_pages(statistics: DataStatistics) -> None:
    assert stats_page(statistics) == stats_page(statistics)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    studies, labels = tmp_path / "studies.csv", tmp_path / "labels.csv"
    table = manifest().table
    table.to_csv(studies, index=False)
    LABELS.rename_axis("study_id").to_csv(labels)
    return studies, labels


def test_command_prints_tables_and_writes_both_files(files, tmp_path: Path) -> None:
    out = [tmp_path / "stats.html", tmp_path / "stats.json"]
    result = run_cxr("data", "stats", *files, "--out", out[0], "--out", out[1])

    assert result.exit_code == 0, result.output
    assert re.search(r"Edema +2 +50.0% +0 +1 +1", result.stdout)
    assert "counted 5 images of 4 studies, 4 with labels (1 labels without images)" in result.stderr
    assert json.loads(out[1].read_text())["cardinality"] == 0.75
    assert out[0].read_text().startswith("<!doctype html>")


def test_command_prints_json(files) -> None:
    printed = json.loads(run_cxr("data", "stats", *files, "--json").stdout)

    assert printed["groups"]["sex"][0]["name"] == "F"
    assert not np.isnan(printed["age"]["mean"])


def test_command_refuses_an_unknown_ending_before_counting(files, tmp_path: Path) -> None:
    result = run_cxr("data", "stats", *files, "--out", tmp_path / "stats.pdf")

    assert result.exit_code == 1
    assert "expected .json or .html" in result.stderr
