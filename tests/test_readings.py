"""Reports and lines that readers who had not seen the rules wrote and labeled.

They have been used to improve the rules since, so they guard and prove nothing. A few differences
remain; the limits keep them from growing.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrlabel.findings import CODES
from cxrlabel.labeler import Labeler

DATA = Path(__file__).parent / "data"
STATES = {code: state for state, code in CODES.items()}

# set -> cells of whole reports, and lines, whose label differs at most
LIMITS = {"icu": (5, 4), "community": (2, 2), "academic": (7, 4), "hard": (1, 7)}


def rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.fixture(scope="module")
def cells(labeler: Labeler) -> Counter[str]:
    """Set -> cells of whole reports that differ."""
    differing: Counter[str] = Counter()
    for row in rows("read_reports.csv"):
        labels = labeler.label(row["report"]).labels
        differing[row["set"]] += sum(labels[name] != STATES[row[name]] for name in labels)
    return differing


@pytest.fixture(scope="module")
def lines(labeler: Labeler) -> Counter[str]:
    """Set -> lines that differ."""
    return Counter(
        row["set"]
        for row in rows("read_lines.csv")
        if labeler.label(row["text"]).labels[row["finding"]] != row["expected"]
    )


@pytest.mark.parametrize("name", LIMITS)
def test_reports_are_read_as_people_read_them(cells: Counter[str], name: str) -> None:
    assert cells[name] <= LIMITS[name][0]


@pytest.mark.parametrize("name", LIMITS)
def test_lines_are_read_as_people_read_them(lines: Counter[str], name: str) -> None:
    assert lines[name] <= LIMITS[name][1]


def test_sets_have_all_states() -> None:
    counts = Counter((row["set"], row["expected"]) for row in rows("read_lines.csv"))

    assert len(counts) == 4 * len(LIMITS)
    assert min(counts.values()) >= 20
