"""Accuracy of `cxr label` and of other labelers against human codes; makes docs/accuracy.md.

The reference is a table with a row per report: an id, one 1/0 column per finding, `evaluable` (0:
the coder left the report out) and `<finding>__amb` (1: the coder's vocabulary leaves this cell
open). Peers are label tables of the same reports. None of this data comes with the project; without
it only the bundled sample is scored.

    uv run python benchmarks/label_accuracy.py --reports reports.csv --id uid
        --reference codes.csv --peer "a regex=regex.csv" --lines lines.csv --page docs/accuracy.md
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scoring import (
    Counts,
    Reference,
    compare,
    f1,
    precision,
    read_reference,
    recall,
    resample,
    with_interval,
)

from cxrlabel.batch import LabelingRun, Outputs, label_files
from cxrlabel.demo import EXPECTED, REPORTS, Agreement, compare_labels
from cxrlabel.findings import BLANK, NO_FINDING, STATES, resolve
from cxrlabel.labeler import Labeler
from cxrlabel.tables import read_labels

CORE: Final = (
    "Atelectasis", "Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Edema", "Consolidation",
    "Pneumonia", "Fracture",
)  # fmt: skip
# The codes name these only through narrower findings, or not at all: shown, not summed.
DERIVED: Final = ("Enlarged Cardiomediastinum", "Lung Lesion", "Pleural Other")
OURS: Final = "cxr"
HERE: Final = Path(__file__).parent


def main() -> None:
    """Score the sample, and the coded reports where they are given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--reports", help="reports to label with the rules as they are")
    parser.add_argument("--id", help="their id column")
    parser.add_argument("--labels", type=Path, help="our labels, where they are made already")
    parser.add_argument("--reference", type=Path, help="the coders' table")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--lines", type=Path, help="one-line cases: text, finding, expected")
    parser.add_argument("--page", type=Path, help="the page to write")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        label(str(REPORTS), None, Path(folder) / "sample.csv")
        sample = compare_labels(EXPECTED, Path(folder) / "sample.csv")
        print(sample_table(sample))
        if args.reference is None or not (args.reports or args.labels):
            print("\nno coded reports given (--reference with --reports or --labels): that is all")
            return
        labels = args.labels or Path(folder) / "labels.csv"
        if args.labels is None:
            label(args.reports, args.id, labels)
        systems = {OURS: read(labels)}
        systems |= {name: read(file) for name, _, file in (p.partition("=") for p in args.peer)}
    reference = read_reference(args.reference)
    weights = resample(len(reference.ids), args.resamples, args.seed)
    tables = make_tables(systems, reference, weights)
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    lines = score_lines(args.lines) if args.lines else None
    print(f"\none-line cases: {lines}")
    if args.page:
        missed = count_missed(systems[OURS], reference)
        render(
            args,
            reports=f"{len(reference.ids):,}",
            findings=len(summed(reference)),
            open_cells=f"{sum(int(reference.open[n].sum()) for n in summed(reference)):,}",
            sample=sample_table(sample),
            sample_share=f"{sample.share:.1%}",
            lines=lines,
            missed=missed,
            **tables,
        )
        print(f"\nwrote {args.page}")


def label(reports: str, id_column: str | None, out: Path) -> LabelingRun:
    """What `cxr label` does."""
    return label_files([reports], Outputs(out), id_column=id_column)


def read(path: Path | str) -> pd.DataFrame:
    """A table of labels by id."""
    return read_labels(path, resolve=resolve).table


def summed(reference: Reference) -> list[str]:
    """The findings of the sums."""
    return [name for name in reference.codes if name not in (*DERIVED, NO_FINDING)]


def make_tables(
    systems: Mapping[str, pd.DataFrame], reference: Reference, weights: Counts
) -> dict[str, str]:
    """All tables that need the reference, by the name that the page calls them."""
    return {
        "summary": summary_table(systems, reference, weights, uncertain=0),
        "summary_uncertain": summary_table(systems, reference, weights, uncertain=1),
        "differences": difference_table(systems, reference, weights),
        "ours": own_table(systems[OURS], reference, weights),
        "by_finding": finding_table(systems, reference, weights),
        "hedged": hedged_table(systems[OURS], reference),
    }


def summary_table(
    systems: Mapping[str, pd.DataFrame], reference: Reference, weights: Counts, *, uncertain: int
) -> str:
    """Sums over findings by system."""
    findings = summed(reference)
    rows = []
    for name, labels in systems.items():
        cells = compare(labels, reference, uncertain=uncertain)
        closed = compare(labels, reference, uncertain=uncertain, drop_open=True)
        here = [finding for finding in findings if finding in cells.hits]
        core = [finding for finding in CORE if finding in cells.hits]
        hits, false, missed = (value.sum() for value in cells.total(here))
        row = [name, f"{precision(hits, false, missed):.3f}", f"{recall(hits, false, missed):.3f}"]
        for group, values in ((here, cells), (here, closed), (core, cells), ([NO_FINDING], cells)):
            row.append(with_interval(values.total(group), weights, f1))
        rows.append(row)
    all_f1 = f"{len(findings)} findings, F1"
    return markdown(
        ["", "precision", "recall", all_f1, "without open cells", f"{len(CORE)} core", NO_FINDING],
        rows,
    )


def difference_table(
    systems: Mapping[str, pd.DataFrame], reference: Reference, weights: Counts
) -> str:
    """Our micro-F1 less each peer's, on the findings of both and the same resamples."""
    rows = []
    for name, labels in systems.items():
        if name == OURS:
            continue
        row = [name]
        for drop_open in (False, True):
            ours = compare(systems[OURS], reference, drop_open=drop_open)
            peers = compare(labels, reference, drop_open=drop_open)
            both = [f for f in summed(reference) if f in ours.hits and f in peers.hits]
            pair = [cells.total(both) for cells in (ours, peers)]
            drawn = [f1(*(weights @ value for value in values)) for values in pair]
            low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
            points = [f1(*(value.sum() for value in values)) for values in pair]
            row.append(f"{points[0] - points[1]:+.3f} [{low:+.3f}, {high:+.3f}]")
        rows.append([*row, str(len(both))])
    return markdown(["cxr less", "F1", "without open cells", "findings"], rows)


def own_table(labels: pd.DataFrame, reference: Reference, weights: Counts) -> str:
    """Our labels finding by finding."""
    cells = compare(labels, reference)
    closed = compare(labels, reference, drop_open=True)
    hedged = compare(labels, reference, uncertain=1)
    rows = [
        [
            name,
            str(int(reference.codes[name].sum())),
            str(int(reference.open[name].sum())),
            with_interval(cells.total([name]), weights, precision),
            with_interval(cells.total([name]), weights, recall),
            with_interval(cells.total([name]), weights, f1),
            with_interval(closed.total([name]), weights, f1),
            with_interval(hedged.total([name]), weights, f1),
        ]
        for name in in_order(reference)
    ]
    header = ["finding", "coded", "open", "precision", "recall", "F1"]
    return markdown([*header, "F1 without open cells", "F1, uncertain as positive"], rows)


def finding_table(
    systems: Mapping[str, pd.DataFrame], reference: Reference, weights: Counts
) -> str:
    """F1 of every system, finding by finding."""
    cells = {name: compare(labels, reference) for name, labels in systems.items()}
    rows = [
        [
            name,
            *(
                with_interval(one.total([name]), weights, f1) if name in one.hits else "–"
                for one in cells.values()
            ),
        ]
        for name in in_order(reference)
    ]
    return markdown(["F1", *systems], rows)


def hedged_table(labels: pd.DataFrame, reference: Reference) -> str:
    """How often a coder coded what we call uncertain."""
    rows = []
    for name in in_order(reference):
        hedged = (labels.reindex(reference.ids)[name] == -1).to_numpy()
        coded = int(reference.codes[name][hedged].sum())
        if hedged.any():
            rows.append([name, str(hedged.sum()), str(coded), f"{coded / hedged.sum():.0%}"])
    return markdown(["finding", "uncertain", "of these coded", "share"], rows)


def count_missed(labels: pd.DataFrame, reference: Reference) -> dict[str, int]:
    """Our errors in the cells that are not open: missed ones by our state, and false ones."""
    rows = labels.reindex(reference.ids)
    states = {"uncertain": -1.0, "negative": 0.0}
    counts = dict.fromkeys(("all", *states, "blank", "false"), 0)
    for name in summed(reference):
        judged = ~reference.open[name]
        missed = rows[name][judged & reference.codes[name]].loc[lambda column: column != 1]
        counts["all"] += len(missed)
        counts["blank"] += int(missed.isna().sum())
        for state, code in states.items():
            counts[state] += int((missed == code).sum())
        counts["false"] += int((rows[name][judged & ~reference.codes[name]] == 1).sum())
    return counts


def in_order(reference: Reference) -> list[str]:
    """The findings of the sums by number of codes, then the others."""
    most = sorted(summed(reference), key=lambda name: -int(reference.codes[name].sum()))
    return [*most, *(name for name in (*DERIVED, NO_FINDING) if name in reference.codes)]


def sample_table(agreement: Agreement) -> str:
    """The bundled sample: F1 of each state against all others."""
    rows = []
    for state in STATES:
        expected = sum(n for (truth, _), n in agreement.cells.items() if truth == state)
        rows.append([state, f"{expected:,}", f"{agreement.f1(state):.3f}"])
    return markdown(["state", "cells", "F1"], rows)


def score_lines(path: Path) -> tuple[int, int]:
    """One-line cases: how many are labeled as expected, of how many."""
    labeler = Labeler.load()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    states = {"absent": BLANK, **{state: state for state in STATES}}
    right = [
        labeler.label(row["text"]).labels[resolve(row["finding"]) or ""] == states[row["expected"]]
        for row in rows
    ]
    return sum(right), len(right)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; numbers stand to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def render(args: argparse.Namespace, **values: object) -> None:
    """Fill the page's template, which has all of its text."""
    pages = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True
    )
    page = pages.get_template("label_accuracy.md.jinja").render(
        resamples=f"{args.resamples:,}", core=", ".join(CORE), **values
    )
    args.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
