"""Invented reports with the readings of invented reviewers, who have a convention of their own."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlabel.labeler import Labeler
from cxrlabel.learned.material import Material, read_material
from cxrlabel.learned.reviewed import read_reviewed

# what a report says of each finding, and what these reviewers read into it: they do not count a
# calcified nodule, and count an enlarged heart even where it is called borderline
SAYINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "Nodule": (
        ("There is a calcified nodule in the right lung.", "negative"),
        ("A nodule projects over the left lung.", "positive"),
        ("No nodule is seen.", "negative"),
        ("", "blank"),
        ("", "blank"),
    ),
    "Cardiomegaly": (
        ("The heart is borderline enlarged.", "positive"),
        ("The heart is enlarged.", "positive"),
        ("Heart size is normal.", "negative"),
        ("", "blank"),
    ),
    "Pleural Effusion": (
        ("Small left pleural effusion.", "positive"),
        ("There may be a small effusion.", "uncertain"),
        ("No pleural effusion.", "negative"),
        ("", "blank"),
    ),
}
FILLERS = (
    "Degenerative change of the spine.",
    "The trachea is midline.",
    "Comparison is made with earlier films.",
    "Osseous structures are intact.",
)
FINDINGS = tuple(SAYINGS)
CODES = {"positive": "1", "negative": "0", "uncertain": "-1", "blank": ""}


def draw_reports(count: int, *, seed: int = 0) -> list[tuple[str, str, list[str]]]:
    """Id, text, and the reviewed state of each of FINDINGS."""
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(count):
        said = [sayings[int(rng.integers(len(sayings)))] for sayings in SAYINGS.values()]
        fillers = [FILLERS[i] for i in rng.permutation(len(FILLERS))[: int(rng.integers(1, 4))]]
        text = " ".join([*fillers, *(sentence for sentence, _ in said if sentence)])
        drawn.append((f"r{number:04d}", f"{text} Film {number}.", [state for _, state in said]))
    return drawn


def write_reviewed(
    folder: Path, count: int, *, seed: int = 0, two_states: bool = False
) -> tuple[Path, Path]:
    """reports.csv and manual.csv; with two states 0 means "not positive"."""
    folder.mkdir(parents=True, exist_ok=True)
    reports, manual = folder / "reports.csv", folder / "manual.csv"
    drawn = draw_reports(count, seed=seed)
    _write(reports, ["study_id", "report"], [[name, text] for name, text, _ in drawn])
    rows = []
    for name, _, states in drawn:
        codes = [CODES[state] for state in states]
        rows.append([name, *(("1" if c == "1" else "0") if two_states else c for c in codes)])
    _write(manual, ["study_id", *FINDINGS], rows)
    return reports, manual


def make_material(
    labeler: Labeler, folder: Path, count: int, *, seed: int = 0, two_states: bool = False
) -> Material:
    """The same, read."""
    reports, manual = write_reviewed(folder, count, seed=seed, two_states=two_states)
    return read_material(read_reviewed([str(reports)], manual), labeler, place="manual.csv")


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
