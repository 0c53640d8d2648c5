"""What the commands `cxr labeler` share: options, how they read reviewed reports, their table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlabel.terminal import note, split_names

if TYPE_CHECKING:
    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.learned.judging import Judged
    from cxrlabel.learned.material import Material

ReportsArgument = Annotated[
    Path, typer.Argument(metavar="REPORTS", help="Reports, as of `cxr label`.", show_default=False)
]
ManualArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MANUAL", help="Reviews of them, as of `cxr audit report`.", show_default=False
    ),
]
IdOption = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="Id column; by default a usual name.")
]
TextOption = Annotated[
    str, typer.Option("--text", metavar="COLUMNS", help="Text or section columns, with commas.")
]
PatientOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Patients' column of the reports: each in one fold."),
]
ReferenceOption = Annotated[
    str | None, typer.Option(metavar="report|image", help="Which reviews, if the file has both.")
]
FindingsOption = Annotated[
    str, typer.Option(metavar="NAMES", help="Of those reviewed, with commas; by default all.")
]
DownloadOption = Annotated[
    bool, typer.Option("--download", help="Fetch what is not a folder from the hub.")
]
FoldsOption = Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")]
SeedOption = Annotated[int, typer.Option(help="Of folds and all that is drawn.")]


def make_labeling(lang: str, rules: list[Path] | None) -> LabelingOptions:
    """The rules that reports are read by; spaCy is imported here."""
    from cxrlabel.startup import import_spacy_alone

    import_spacy_alone()
    from cxrlabel.chunks import LabelingOptions

    labeling = LabelingOptions(rules=tuple(str(folder) for folder in rules or []), lang=lang)
    labeling.check()
    return labeling


def read_command_material(
    reports: Path,
    manual: Path,
    labeling: LabelingOptions,
    id_column: str | None,
    text: str,
    patient: str | None,
    reference: str | None,
    findings: str,
) -> Material:
    """Reviewed reports as the rules read them, with notes on what is left out."""
    from cxrlabel.learned.material import read_material
    from cxrlabel.learned.reviewed import read_reviewed

    reviewed = read_reviewed(
        [str(reports)],
        manual,
        id_column=id_column,
        text_columns=split_names(text),
        patient=patient,
        reference=reference,
        findings=split_names(findings),
    )
    if reviewed.without_report:
        note(f"{reviewed.without_report:,} reviewed studies have no report")
    if reviewed.reference == "image":
        note("these are readings of images: what the report leaves out cannot be learned from it")
    material = read_material(reviewed, labeling.labeler(), place=str(manual))
    silent = len(reviewed) - len(material.reviewed)
    if silent:
        note(f"{silent:,} reviewed reports say nothing and are left out")
    return material


def score_table(judged: Judged) -> Any:
    """F1 of every labeler on every finding."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("finding", no_wrap=True)
    table.add_column("positive", justify="right")
    labelers = list(dict.fromkeys(score.labeler for score in judged.scores))
    for name in labelers:
        table.add_column(f"F1 {name}", justify="right", no_wrap=True)
    by_finding: dict[str, dict[str, Any]] = {}
    for score in judged.scores:
        by_finding.setdefault(score.finding, {})[score.labeler] = score
    for finding, own in by_finding.items():
        cells = [
            f"{s.f1:.3f} [{s.f1_lo:.3f}, {s.f1_hi:.3f}]" if s.f1 == s.f1 else "–"
            for s in (own[name] for name in labelers)
        ]
        table.add_row(Text(finding), f"{own[labelers[0]].positives:,}", *cells)
    return table
