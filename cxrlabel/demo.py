"""The demo: the bundled invented reports, labeled, drawn for review, "reviewed" and audited.

The review is simulated: each drawn study gets its expected labels, as if one reviewer had read the
report without a slip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cxrlabel.audit.design import SampleTable, write_sample
from cxrlabel.audit.report import ReportRun, write_report
from cxrlabel.audit.report_inputs import Sources
from cxrlabel.audit.sampling import draw_sample, state_cells
from cxrlabel.batch import LabelingRun, Outputs, Progress, label_files
from cxrlabel.findings import BLANK, STATES, load_findings, resolve
from cxrlabel.tables import read_labels
from cxrlabel.writers import open_rows

_DATA: Final = Path(__file__).parent / "data"
REPORTS: Final = _DATA / "demo_reports.csv"
EXPECTED: Final = _DATA / "demo_expected.csv"
REVIEWED: Final = 100  # studies that are drawn for review


@dataclass(frozen=True, slots=True)
class Agreement:
    """How labels agree with expected ones, over all findings and studies."""

    cells: Mapping[tuple[str, str], int]  # (expected state, state) -> count

    def f1(self, state: str) -> float:
        """F1 of one state in [0, 1], the state against all others; NaN where it never occurs."""
        both = self.cells.get((state, state), 0)
        expected = sum(n for (truth, _), n in self.cells.items() if truth == state)
        found = sum(n for (_, label), n in self.cells.items() if label == state)
        return 2 * both / (expected + found) if expected + found else float("nan")

    @property
    def share(self) -> float:
        """Share of equal cells in [0, 1]."""
        return sum(n for (a, b), n in self.cells.items() if a == b) / sum(self.cells.values())


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo did."""

    run: LabelingRun
    agreement: Agreement
    sample: SampleTable
    audit: ReportRun

    @property
    def summary(self) -> str:
        """What came of it: agreement by cell and by state, and the audit."""
        named = ("positive", "negative", "uncertain")
        states = ", ".join(f"{state} {self.agreement.f1(state):.3f}" for state in named)
        return (
            f"agreement with the expected labels: {self.agreement.share:.1%} of all cells\n"
            f"F1 by state: {states}\n\n"
            f"audit: drew {len(self.sample.table)} of {self.sample.studies} studies, read them by "
            f"simulation, found {len(self.audit.audit.disagreements)} disagreements"
        )


def run_demo(out: Path, *, force: bool = False, progress: Progress | None = None) -> Demo:
    """Label the bundled sample into a folder, compare, and audit a drawn part of it.

    Raises:
        InputError: a file of the folder exists and `force` is not set.
    """
    outputs = Outputs(out / "labels.csv", out / "mentions.csv", out / "stats.html", force=force)
    run = label_files([str(REPORTS)], outputs, progress=progress)
    labels = read_labels(outputs.labels, resolve=resolve).table
    sample = draw_sample(state_cells(labels), n=REVIEWED, seed=1)
    write_sample(out / "sample.csv", sample, force=force)
    simulate_reading(out / "manual.csv", sample, force=force)
    sources = Sources(
        labels=outputs.labels,
        manual=out / "manual.csv",
        sample=out / "sample.csv",
        mentions=out / "mentions.csv",
        reports=[str(REPORTS)],
    )
    audit = write_report(sources, out / "audit", force=force)
    return Demo(run, compare_labels(EXPECTED, outputs.labels), sample, audit)


def simulate_reading(path: Path, sample: SampleTable, *, force: bool = False) -> None:
    """Write the expected labels of the drawn studies as a manual review of their reports."""
    expected = read_labels(EXPECTED, resolve=resolve).table.loc[sample.table.index]
    kinds: dict[str, type] = dict.fromkeys(("study_id", "reviewer", "reference"), str)
    kinds |= dict.fromkeys(map(str, expected.columns), float)
    cells = expected.astype(object).where(expected.notna(), None)
    with open_rows(path, kinds, force=force) as writer:
        for row in cells.itertuples(name=None):
            writer.write([(row[0], "simulated", "report", *row[1:])])


def compare_labels(expected: Path, labels: Path) -> Agreement:
    """Compare two label tables cell by cell, study by study."""
    truth = read_labels(expected, resolve=resolve).table
    found = read_labels(labels, resolve=resolve).table.reindex(truth.index)
    cells: Counter[tuple[str, str]] = Counter()
    for finding in (f.name for f in load_findings() if f.name in truth):
        cells.update(zip(_states(truth[finding]), _states(found[finding]), strict=True))
    return Agreement(cells)


_STATE: Final = {1.0: STATES[0], -1.0: STATES[1], 0.0: STATES[2]}


def _states(values: Iterable[float]) -> list[str]:
    return [_STATE.get(value, BLANK) for value in values]
