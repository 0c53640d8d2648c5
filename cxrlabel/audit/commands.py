"""The commands `cxr audit`: plan and draw a review, read it, report label error."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cxrlabel.audit.report_command import audit_report
from cxrlabel.audit.review.commands import audit_export, audit_import, audit_review
from cxrlabel.terminal import ForceOption, console, errors_as_lines, note, split_names

if TYPE_CHECKING:
    from rich.table import Table

    from cxrlabel.audit.plan import AuditPlan

audit_app = typer.Typer(
    no_args_is_help=True, help="Measure label error: plan, draw, review, report."
)

DESIGNS: Final = ("states", "simple", "scores", "agreement")

LabelsArgument = Annotated[
    Path, typer.Argument(metavar="LABELS", help="What `cxr label` wrote, or labels of others.")
]
IdOption = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="Id column; by default a usual name.")
]
FloorOption = Annotated[
    float, typer.Option(help="Smallest chance of a study, as a share of that of a simple sample.")
]
SeedOption = Annotated[int, typer.Option(help="The same seed draws the same studies.")]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="Sample: .csv, .tsv or .parquet.")
]


@audit_app.command("plan")
def audit_plan(
    labels: LabelsArgument,
    *,
    n: Annotated[
        int | None, typer.Option("--n", help="Studies to review; by default what is wanted asks.")
    ] = None,
    half_width: Annotated[
        float, typer.Option(help="Wanted half-width of the 95 % interval of P(truth | state).")
    ] = 0.1,
    pace: Annotated[float, typer.Option(help="Minutes per study.")] = 2.0,
    id_column: IdOption = None,
    floor: FloorOption = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How many studies to review, what it costs, and what stays unmeasurable."""
    with errors_as_lines():
        from cxrlabel.audit.plan import plan_audit
        from cxrlabel.findings import resolve
        from cxrlabel.tables import read_labels

        table = read_labels(labels, id_column=id_column, resolve=resolve).table
        plan = plan_audit(table, n=n, half_width=half_width, pace=pace, floor=floor)
        if as_json:
            typer.echo(json.dumps(asdict(plan), indent=2))
            return
        for part in _plan_tables(plan):
            console().print(part)
        typer.echo(
            f"{plan.n:,} of {plan.studies:,} studies, {plan.minutes:,.0f} minutes; "
            f"±{half_width:g} wherever it can be reached: {plan.n_wanted:,} studies, "
            f"{plan.minutes_wanted:,.0f} minutes"
        )
        few: dict[str, list[str]] = {}
        for cell in plan.unmeasurable:
            few.setdefault(cell.finding, []).append(cell.state)
        if few:
            named = "; ".join(f"{finding}: {', '.join(few[finding])}" for finding in few)
            typer.echo(f"too few studies for it, however many are reviewed: {named}")


@audit_app.command("sample")
def audit_sample(
    labels: LabelsArgument,
    *,
    n: Annotated[int, typer.Option("--n", help="Studies to review, in all.")],
    out: OutOption,
    seed: SeedOption = 1,
    design: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="states (rare ones more often), agreement, simple, scores."
        ),
    ] = "states",
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model's probabilities, for scores.")
    ] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--other", metavar="LABELS", help="Labels by another labeler, for agreement."),
    ] = None,
    bins: Annotated[int, typer.Option(help="Bins of each finding's probability.")] = 5,
    extend: Annotated[
        Path | None,
        typer.Option(metavar="SAMPLE", help="An earlier sample of these studies; its seed too."),
    ] = None,
    findings: Annotated[
        str, typer.Option(metavar="NAMES", help="Findings that it is for, with commas; all.")
    ] = "",
    id_column: IdOption = None,
    floor: FloorOption = 0.5,
    force: ForceOption = False,
) -> None:
    """Draw the studies to review, each with the probability with which it was drawn."""
    with errors_as_lines():
        from cxrlabel.audit.design import read_sample, write_sample
        from cxrlabel.audit.sampling import (
            agreement_cells,
            draw_sample,
            extend_sample,
            one_cell,
            score_cells,
            state_cells,
        )
        from cxrlabel.audit.suspects import read_predictions
        from cxrlabel.checks import one_of
        from cxrlabel.errors import InputError
        from cxrlabel.findings import resolve
        from cxrlabel.tables import read_labels

        one_of("--design", "value", design, DESIGNS)
        table = read_labels(labels, id_column=id_column, resolve=resolve).table
        names = split_names(findings)
        if design == "scores":
            if predictions is None:
                raise InputError("--design scores: expected --predictions FILE")
            scores = read_predictions(predictions, resolve=resolve)
            cells = score_cells(scores, table.index, names, bins=bins)
        elif design == "agreement":
            if not others:
                raise InputError("--design agreement: expected --other LABELS")
            read = [read_labels(path, id_column=id_column, resolve=resolve) for path in others]
            cells = agreement_cells(table, [one.labeled for one in read], names)
        else:
            cells = state_cells(table, names) if design == "states" else one_cell(table.index)
        if extend is None:
            sample = draw_sample(cells, n=n, seed=seed, floor=floor, place=str(labels))
        else:
            earlier = read_sample(extend, id_column=id_column)
            sample = extend_sample(cells, earlier, n=n, seed=seed, floor=floor, place=str(extend))
        write_sample(out, sample, force=force)
        if len(sample.table) == sample.studies:
            note("all studies are taken")
        note(f"drew {len(sample.table):,} of {sample.studies:,} studies -> {out}")


@audit_app.command("suspects")
def audit_suspects(
    labels: LabelsArgument,
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="A probability per finding and study.")
    ],
    *,
    n: Annotated[int, typer.Option("--n", help="Studies to review next.")],
    out: OutOption,
    doubted: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the doubted labels; not for a reviewer."),
    ] = None,
    seed: SeedOption = 1,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="margin, or cleanlab where it is installed.")
    ] = "margin",
    id_column: IdOption = None,
    floor: FloorOption = 0.25,
    force: ForceOption = False,
) -> None:
    """Draw the studies whose labels a model contradicts, with others at known rates."""
    with errors_as_lines():
        from cxrlabel.audit.design import write_sample
        from cxrlabel.audit.suspects import (
            draw_suspects,
            find_suspects,
            read_predictions,
            write_suspects,
        )
        from cxrlabel.findings import resolve
        from cxrlabel.tables import read_labels
        from cxrlabel.writers import check_target

        for path in (out, *([doubted] if doubted else [])):
            check_target(path, force=force)
        table = read_labels(labels, id_column=id_column, resolve=resolve).table
        scores = read_predictions(predictions, id_column=id_column, resolve=resolve)
        suspects = find_suspects(table, scores, method=method)
        sample = draw_suspects(suspects, table.index, n=n, seed=seed, floor=floor)
        if doubted is not None:
            write_suspects(doubted, suspects, force=force)
            note(f"wrote {doubted}")
        write_sample(out, sample, force=force)
        for finding, reason in suspects.left_out.items():
            note(f"not compared: {finding}: {reason}")
        if suspects.unpredicted:
            note(f"{suspects.unpredicted:,} studies have no prediction")
        note(f"{len(suspects.table):,} labels doubted; drew {len(sample.table):,} studies -> {out}")


def _plan_tables(plan: AuditPlan) -> tuple[Table, Table]:
    """The states with what a sample of n says of them, and the sensitivity of each finding."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    def narrow(title: str) -> Table:
        return Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)

    states = narrow(f"With {plan.n:,} studies")
    states.add_column("finding", no_wrap=True)
    states.add_column("state", no_wrap=True)
    for heading in ("studies", "read", "P(truth | state)", "need", "reach"):
        states.add_column(heading, justify="right", no_wrap=True)
    for cell in plan.cells:
        interval = f"{cell.guess:.2f} [{cell.lo:.2f}, {cell.hi:.2f}]"
        counts = (f"{cell.studies:,}", f"{cell.expected:.0f}")
        states.add_row(
            Text(cell.finding), cell.state, *counts, interval, f"{cell.needed:,}", cell.reach
        )
    truths = narrow("What follows for sensitivity")
    truths.add_column("finding", no_wrap=True)
    truths.add_column("prevalence", justify="right", no_wrap=True)
    truths.add_column("sensitivity", justify="right", no_wrap=True)
    for row in plan.findings:
        known = row.sensitivity == row.sensitivity  # NaN alone differs from itself
        interval = f"{row.sensitivity:.2f} [{row.lo:.2f}, {row.hi:.2f}]" if known else "–"
        truths.add_row(Text(row.finding), f"{row.prevalence:.1%}", interval)
    return states, truths


audit_app.command("review")(audit_review)
audit_app.command("export")(audit_export)
audit_app.command("import")(audit_import)
audit_app.command("report")(audit_report)
