"""The commands `cxr labeler`: fit labelers on reviewed reports, judge and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlabel.terminal import (
    ForceOption,
    LangOption,
    RulesOption,
    console,
    errors_as_lines,
    note,
    split_names,
)

if TYPE_CHECKING:
    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.learned.fitting import FittedLabeler
    from cxrlabel.learned.judging import Judged
    from cxrlabel.learned.material import Material

labeler_app = typer.Typer(
    no_args_is_help=True, help="Labelers that learn from reviewed reports: fit, judge, compare."
)

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


@labeler_app.command("fit")
def fit_command(
    reports: ReportsArgument,
    manual: Annotated[
        Path | None,
        typer.Argument(
            metavar="MANUAL",
            help="Reviews of them, as of `cxr audit report`; a transformer does without.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The model's folder.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="hybrid (rules, corrected), bow (words alone), transformer."
        ),
    ] = "hybrid",
    id_column: IdOption = None,
    text: TextOption = "",
    patient: PatientOption = None,
    reference: ReferenceOption = None,
    findings: FindingsOption = "",
    folds: FoldsOption = 5,
    seed: SeedOption = 1,
    encoder: Annotated[
        str,
        typer.Option(metavar="NAME", help="Transformer: small (new), a folder, or a hub's name."),
    ] = "small",
    download: DownloadOption = False,
    longest: Annotated[
        int, typer.Option("--max-tokens", min=16, help="Transformer: tokens of a window.")
    ] = 256,
    recombined: Annotated[
        int,
        typer.Option(min=0, help="Transformer: reports of an epoch made of others' sentences."),
    ] = 20_000,
    epochs: Annotated[int, typer.Option(min=0, help="Transformer: on labels of the rules.")] = 4,
    review_epochs: Annotated[
        int, typer.Option(min=0, help="Transformer: on reviewed reports.")
    ] = 3,
    lr: Annotated[float, typer.Option(help="Transformer: on labels of the rules.")] = 5e-4,
    review_lr: Annotated[float, typer.Option(help="Transformer: on reviewed reports.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Transformer: reports.")] = 32,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Transformer: where it is trained.")
    ] = "auto",
    lang: LangOption = "en",
    rules: RulesOption = None,
    force: ForceOption = False,
) -> None:
    """Fit a labeler on reviewed reports, and say how it does on those it has not seen."""
    with errors_as_lines():
        labeling = _labeling(lang, rules)
        from cxrlabel.checks import one_of
        from cxrlabel.errors import InputError
        from cxrlabel.learned.fitting import fit_labeler, summary
        from cxrlabel.learned.kinds import KINDS, TRANSFORMER
        from cxrlabel.learned.storage import check_folder

        one_of("--kind", "value", kind, KINDS)
        one_of("--device", "value", device, ("auto", "cpu", "cuda"))
        if manual is None and kind != TRANSFORMER:
            raise InputError(f"--kind {kind}: expected MANUAL, the reviews that it learns from")
        check_folder(out, force=force)
        material = None
        if manual is not None:
            material = _material(
                reports, manual, labeling, id_column, text, patient, reference, findings
            )
        if kind == TRANSFORMER:
            from cxrlabel.learned.transformer.fitting import TransformerSettings, fit_reports
            from cxrlabel.learned.transformer.training import TrainingSettings

            settings = TransformerSettings(
                encoder, download, longest, recombined,
                silver=TrainingSettings(epochs, batch_size, lr),
                reviewed=TrainingSettings(review_epochs, batch_size, review_lr),
                device=device,
            )  # fmt: skip
            fitted = fit_reports(
                [str(reports)], material, labeling, settings,
                id_column=id_column, text_columns=split_names(text), seed=seed, progress=note,
            )  # fmt: skip
        elif material is not None:
            fitted = fit_labeler(material, kind, labeling, seed=seed, folds=folds, progress=note)
        fitted.save(out, force=force)
        if fitted.judged is not None:
            console().print(_score_table(fitted.judged))
        _say_by_rules(fitted)
        typer.echo(summary(fitted))
        count = (
            len(material.reviewed) if material is not None else fitted.facts["silver"]["reports"]
        )
        note(f"fitted {kind} on {count:,} reports -> {out}")


@labeler_app.command("import")
def import_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="CheXbert's .pth, or its like as .safetensors."),
    ],
    *,
    tokenizer: Annotated[
        str, typer.Option(metavar="DIR", help="Of BERT: a folder, or a hub's name.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The model's folder.")],
    download: DownloadOption = False,
    force: ForceOption = False,
) -> None:
    """Make a labeler of a CheXbert checkpoint."""
    with errors_as_lines():
        from cxrlabel.learned.transformer.importing import import_chexbert

        found = import_chexbert(checkpoint, tokenizer, out, download=download, force=force)
        note(f"imported a labeler of {len(found)} findings -> {out}")


@labeler_app.command("evaluate")
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
        labeling = _labeling(lang, rules)
        from cxrlabel.learned.evaluation import evaluate_kinds, evaluate_models, write_evaluation

        if bool(backend) == bool(kind):
            raise typer.BadParameter("expected --backend with models, or --kind with kinds")
        if curve and not kind:
            raise typer.BadParameter("expected --kind as well", param_hint="--curve")
        material = _material(
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
        console().print(_score_table(found.judged))
        for difference in found.judged.differences:
            typer.echo(
                f"micro-F1 of {difference.labeler} less {difference.other}: "
                f"{difference.value:+.3f} [{difference.lo:+.3f}, {difference.hi:+.3f}]"
            )
        note(f"judged {found.judged.scores[0].n:,} reports -> {written}")


@labeler_app.command("compare")
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


def _labeling(lang: str, rules: list[Path] | None) -> LabelingOptions:
    from cxrlabel.startup import import_spacy_alone

    import_spacy_alone()
    from cxrlabel.chunks import LabelingOptions

    labeling = LabelingOptions(rules=tuple(str(folder) for folder in rules or []), lang=lang)
    labeling.check()
    return labeling


def _material(
    reports: Path,
    manual: Path,
    labeling: LabelingOptions,
    id_column: str | None,
    text: str,
    patient: str | None,
    reference: str | None,
    findings: str,
) -> Material:
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


def _say_by_rules(fitted: FittedLabeler) -> None:
    reasons: dict[str, list[str]] = {}
    for name, reason in fitted.by_rules.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        note(f"labeled by the rules ({reason}): {', '.join(names)}")


def _score_table(judged: Judged) -> Any:
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
