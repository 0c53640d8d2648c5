"""The commands `cxr labeler`: fit labelers on reviewed reports, judge and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlabel.learned.command_options import (
    DownloadOption,
    FindingsOption,
    FoldsOption,
    IdOption,
    PatientOption,
    ReferenceOption,
    ReportsArgument,
    SeedOption,
    TextOption,
    make_labeling,
    read_command_material,
    score_table,
)
from cxrlabel.learned.judging_commands import compare_command, evaluate_command
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
    from cxrlabel.learned.fitting import FittedLabeler

labeler_app = typer.Typer(
    no_args_is_help=True, help="Labelers that learn from reviewed reports: fit, judge, compare."
)


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
        labeling = make_labeling(lang, rules)
        from cxrlabel.checks import one_of
        from cxrlabel.errors import InputError
        from cxrlabel.learned.fitting import fit_labeler, summary
        from cxrlabel.learned.kinds import KINDS, TRANSFORMER, require_packages
        from cxrlabel.learned.storage import check_folder

        one_of("--kind", "value", kind, KINDS)
        one_of("--device", "value", device, ("auto", "cpu", "cuda"))
        if manual is None and kind != TRANSFORMER:
            raise InputError(f"--kind {kind}: expected MANUAL, the reviews that it learns from")
        require_packages(kind)
        check_folder(out, force=force)
        material = None
        if manual is not None:
            material = read_command_material(
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
            console().print(score_table(fitted.judged))
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
        from cxrlabel.learned.kinds import TRANSFORMER, require_packages

        require_packages(TRANSFORMER)
        from cxrlabel.learned.transformer.importing import import_chexbert

        found = import_chexbert(checkpoint, tokenizer, out, download=download, force=force)
        note(f"imported a labeler of {len(found)} findings -> {out}")


def _say_by_rules(fitted: FittedLabeler) -> None:
    reasons: dict[str, list[str]] = {}
    for name, reason in fitted.by_rules.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        note(f"labeled by the rules ({reason}): {', '.join(names)}")


labeler_app.command("evaluate")(evaluate_command)
labeler_app.command("compare")(compare_command)
