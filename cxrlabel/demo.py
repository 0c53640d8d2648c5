"""The language half of the demo: invented reports, labeled, drawn for review, reviewed, audited.

Either the bundled reports, against what they say; or those of phantoms, against what the images
show, so that a model can be trained with the error that the audit finds. The review is simulated:
each drawn study gets the true values, as if one reviewer had looked at it without a slip.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Reports, and what a reviewer without a slip would say of them."""

    reports: Path
    truth: Path  # labels: of the reports, or of the images
    reference: str  # what that reviewer looks at: "report" or "image"
    reviewed: int  # studies that are drawn
    findings: tuple[str, ...] = ()  # that the sample is drawn for; none: all
    patient: str = ""  # column of the reports


BUNDLED: Final = Material(reports=REPORTS, truth=EXPECTED, reference="report", reviewed=REVIEWED)


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
    agreement: Agreement | None  # where the true values are those of the reports
    sample: SampleTable
    audit: ReportRun

    @property
    def summary(self) -> str:
        """What came of it: agreement by cell and by state, and the audit."""
        read = "read them" if self.agreement else "looked at their images"
        lines = [
            f"audit: drew {len(self.sample.table)} of {self.sample.studies} studies, {read} by "
            f"simulation, found {len(self.audit.audit.disagreements)} disagreements"
        ]
        if self.agreement:
            named = ("positive", "negative", "uncertain")
            states = ", ".join(f"{state} {self.agreement.f1(state):.3f}" for state in named)
            lines = [
                f"agreement with the expected labels: {self.agreement.share:.1%} of all cells",
                f"F1 by state: {states}\n",
                *lines,
            ]
        return "\n".join(lines)


def run_demo(
    out: Path,
    material: Material = BUNDLED,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Demo:
    """Label reports into a folder, and audit a drawn part of them.

    Raises:
        InputError: a file of the folder exists and `force` is not set.
    """
    outputs = Outputs(out / "labels.csv", out / "mentions.csv", out / "stats.html", force=force)
    run = label_files([str(material.reports)], outputs, progress=progress)
    labels = read_labels(outputs.labels, resolve=resolve).table
    cells = state_cells(labels, material.findings)
    sample = draw_sample(cells, n=material.reviewed, seed=1)
    write_sample(out / "sample.csv", sample, force=force)
    simulate_review(out / "manual.csv", sample, material, force=force)
    sources = Sources(
        labels=outputs.labels,
        manual=out / "manual.csv",
        sample=out / "sample.csv",
        mentions=out / "mentions.csv",
        reports=[str(material.reports)],
        patient=material.patient,
    )
    audit = write_report(sources, out / "audit", force=force)
    said = material.reference == "report"
    agreement = compare_labels(material.truth, outputs.labels) if said else None
    return Demo(run, agreement, sample, audit)


def next_steps(out: Path, material: Material, page: Path | None) -> str:
    """What to look at and to try, for a terminal; `page` is that of the image half."""
    audit, stats = out / "audit" / "index.html", out / "stats.html"
    first = (
        f"open {page} in a browser: it leads to all others"
        if page
        else (f"open {audit} and {stats} in a browser")
    )
    return "\n  ".join(
        (
            "next:",
            first,
            'uv run cxr label --text "Small left effusion. No pneumothorax."',
            "uv run cxr label YOUR_REPORTS.csv -o labels.csv --mentions mentions.csv",
            f"uv run cxr audit review {out / 'sample.csv'} --reports {material.reports} "
            "--db review.sqlite",
            'uv run cxr rules show "Pleural Effusion"',
        )
    )


def simulate_review(
    path: Path, sample: SampleTable, material: Material, *, force: bool = False
) -> None:
    """Write the true values of the drawn studies as a manual review."""
    truth = read_labels(material.truth, resolve=resolve).table.loc[sample.table.index]
    kinds: dict[str, type] = dict.fromkeys(("study_id", "reviewer", "reference"), str)
    kinds |= dict.fromkeys(map(str, truth.columns), float)
    cells = truth.astype(object).where(truth.notna(), None)
    with open_rows(path, kinds, force=force) as writer:
        for row in cells.itertuples(name=None):
            writer.write([(row[0], "simulated", material.reference, *row[1:])])


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
