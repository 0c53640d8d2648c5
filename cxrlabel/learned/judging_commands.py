"""The commands `cxr labeler evaluate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrlabel.learned.command_options import (
    FindingsOption,
    FoldsOption,
    IdOption,
    ManualArgument,
    PatientOption,
    ReferenceOption,
    ReportsArgument,
    SeedOption,
    TextOption,
    make_labeling,
    read_command_material,
    score_table,
)
from cxrlabel.terminal import (
    ForceOption,
    LangOption,
    RulesOption,
    console,
    errors_as_lines,
    note,
    split_names,
)


def evaluate_command(
    reports: ReportsArgument,
    manual: ManualArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Tables and the page.")],
    backend: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Models to judge on these reports, with commas."),
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="KINDS", help="Kinds to cross-validate on these reports, with commas."
        ),
    ] = "",
    curve: Annotated[
        str,
        typer.Option(
            metavar="SIZES", help="Learning curve of the kinds, such as 50,100,200,500,all."
        ),
    ] = "",
    id_column: IdOption = None,
    text: TextOption = "",
    patient: PatientOption = None,
    reference: ReferenceOption = None,
    findings: FindingsOption = "",
    folds: FoldsOption = 5,
    seed: SeedOption = 1,
    lang: LangOption = "en",
    rules: RulesOption = None,
    force: ForceOption = False,
) -> None:
    """Judge labelers beside the rules: fitted models, or kinds by cross-validation.

    A model is judged on reports whose words it has not been fitted on; the others are left out.
    """
    with errors_as_lines():
        labeling = make_labeling(lang, rules)
        from cxrlabel.learned.evaluation import evaluate_kinds, evaluate_models, write_evaluation

        if bool(backend) == bool(kind):
            raise typer.BadParameter("expected --backend with models, or --kind with kinds")
        if curve and not kind:
            raise typer.BadParameter("expected --kind as well", param_hint="--curve")
        material = read_command_material(
            reports, manual, labeling, id_column, text, patient, reference, findings
        )
        if kind:
            found = evaluate_kinds(
                material, split_names(kind), curve=split_names(curve), folds=folds, seed=seed,
                progress=note,
            )  # fmt: skip
        else:
            found = evaluate_models(material, split_names(backend), labeling, seed=seed)
        for line in found.notes:
            note(line)
        written = write_evaluation(out, found, force=force)
        console().print(score_table(found.judged))
        for difference in found.judged.differences:
            typer.echo(
                f"micro-F1 of {difference.labeler} less {difference.other}: "
                f"{difference.value:+.3f} [{difference.lo:+.3f}, {difference.hi:+.3f}]"
            )
        note(f"judged {found.judged.scores[0].n:,} reports -> {written}")


def compare_command(
    labels: Annotated[
        list[Path],
        typer.Argument(
            metavar="LABELS...", help="Labels of the same studies by two labelers or more."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Tables and the page.")],
    names: Annotated[
        str, typer.Option(metavar="NAMES", help="Of the labelers, with commas; else of the files.")
    ] = "",
    id_column: IdOption = None,
    seed: SeedOption = 1,
    force: ForceOption = False,
) -> None:
    """How far labelers agree, where they differ, and which errors that lets expect.

    `cxr audit sample --design agreement` draws studies on which they differ more often.
    """
    with errors_as_lines():
        from cxrlabel.learned.comparing import compare_labelers, read_labelers, write_comparison

        tables = read_labelers(labels, split_names(names), id_column=id_column)
        found = compare_labelers(tables, seed=seed)
        written = write_comparison(out, found, force=force)
        console().print(_agreement_table(found))
        for line in found.notes:
            note(line)
        note(
            f"{found.studies:,} studies, {len(found.differences):,} labels on which they differ "
            f"-> {written}"
        )


def _agreement_table(found: Any) -> Any:
    """Agreement of every two labelers, all findings together and the five worst."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("finding", "labelers"):
        table.add_column(heading, no_wrap=True)
    for heading in ("agree", "kappa"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.shown:
        kappa = f"{row.kappa:.2f} [{row.kappa_lo:.2f}, {row.kappa_hi:.2f}]"
        known = row.kappa == row.kappa  # NaN alone differs from itself
        table.add_row(
            Text(row.finding), Text(f"{row.labeler_a} / {row.labeler_b}"),
            f"{row.agreement:.1%}", kappa if known else "–",
        )  # fmt: skip
    return table
