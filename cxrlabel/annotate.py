"""The commands `cxr annotate`: mentions out to an annotation tool and corrected ones back in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlabel.terminal import (
    ForceOption,
    LangOption,
    RulesOption,
    errors_as_lines,
    note,
    split_names,
)

annotate_app = typer.Typer(
    no_args_is_help=True, help="Correct mentions in an annotation tool: Label Studio or doccano."
)

FormatOption = Annotated[
    str, typer.Option("--format", metavar="NAME", help="label-studio or doccano.")
]


@annotate_app.command("export")
def annotate_export(
    mentions: Annotated[
        Path, typer.Argument(metavar="MENTIONS", help="What `cxr label --mentions` wrote.")
    ],
    *,
    reports: Annotated[
        list[str],
        typer.Option("--reports", metavar="REPORTS", help="The reports that the mentions are of."),
    ],
    form: FormatOption,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Tasks: .json or .jsonl.")
    ],
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="As for `cxr label`.")
    ] = None,
    text: Annotated[str, typer.Option(metavar="COLUMNS", help="As for `cxr label`.")] = "",
    sections: Annotated[str, typer.Option(metavar="NAMES", help="As for `cxr label`.")] = "",
    dialect: Annotated[
        str, typer.Option(metavar="NAME", help="As for `cxr label`: the one of the mentions.")
    ] = "cxr",
    lang: LangOption = "en",
    rules: RulesOption = None,
    force: ForceOption = False,
) -> None:
    """Write reports and mentions as tasks to be corrected, the tool's configuration beside them."""
    with errors_as_lines():
        from cxrlabel.annotation import export_annotations

        run = export_annotations(
            mentions,
            reports,
            out,
            form=form,
            id_column=id_column,
            text_columns=split_names(text),
            rules=[*(rules or [])],
            sections=split_names(sections),
            dialect=dialect,
            lang=lang,
            force=force,
        )
        if run.left_out:
            note(f"left out {run.left_out:,} mentions of reports that are not in --reports")
        note(f"wrote {run.written[1]}")
        note(f"exported {run.mentions:,} mentions of {run.reports:,} reports -> {out}")


@annotate_app.command("import")
def annotate_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the tool exported.")],
    *,
    form: FormatOption,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Labels file, as of `cxr label`.")
    ],
    mentions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the corrected mentions.")
    ] = None,
    original: Annotated[
        Path | None,
        typer.Option(
            metavar="MENTIONS", help="The mentions exported: keeps cue, side and the like of them."
        ),
    ] = None,
    labelset: Annotated[str, typer.Option(metavar="NAME", help="As for `cxr label`.")] = "all",
    aggregate: Annotated[
        str, typer.Option(metavar="RULE", help="As for `cxr label`.")
    ] = "positive-first",
    lang: LangOption = "en",
    rules: RulesOption = None,
    force: ForceOption = False,
) -> None:
    """Read corrected tasks; write study labels, and the mentions that they follow from."""
    with errors_as_lines():
        from cxrlabel.corrections import import_annotations

        run = import_annotations(
            file,
            out,
            form=form,
            mentions=mentions,
            original=original,
            label_set=labelset,
            aggregate=aggregate,
            rules=[*(rules or [])],
            lang=lang,
            force=force,
        )
        if run.unreviewed:
            note(f"{run.unreviewed:,} studies without an annotation: labels as they were exported")
        if run.left_out:
            note(f"left out {run.left_out:,} tasks with neither annotation nor prediction")
        if mentions is not None:
            note(f"wrote {mentions}")
        note(f"imported {run.mentions:,} mentions of {run.studies:,} studies -> {out}")
