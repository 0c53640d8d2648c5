"""The commands `cxr data`: from a data set on disk to a manifest, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlabel.terminal import ForceOption, console, errors_as_lines, note, split_names
from cxrvision.data.phantom_command import data_phantoms
from cxrvision.data.pixel_commands import data_cache, data_stats, data_views

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

data_app = typer.Typer(
    no_args_is_help=True, help="Index a data set on disk; its views, statistics and pixel cache."
)


@data_app.command("index")
def data_index(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The data set's folder.", show_default=False)
    ],
    *,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="Manifest: .csv, .tsv or .parquet."),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="auto, nih, chexpert, mimic, padchest, openi, vindr, montgomery, shenzhen, "
            "covid or folder.",
        ),
    ] = "auto",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the data set's labels go; beside the manifest by default."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="official (where there is one), patient or none.")
    ] = "official",
    seed: Annotated[int, typer.Option(help="The same seed gives a patient the same split.")] = 0,
    shares: Annotated[
        str, typer.Option(metavar="A,B,C", help="Of patients in train, val and test.")
    ] = "0.7,0.1,0.2",
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Look into every file for broken ones and copies; by default up to 20,000.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a folder: csv with a row per image."),
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="For a folder: paths such as {patient}/{study}/{view}_{name}.png."
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print counts and notes as JSON.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write the manifest of a data set: a row per image with study, patient, view and split.

    The labels that the data set ships go beside it, in the format of `cxr label`.
    """
    with errors_as_lines():
        from cxrlabel.writers import check_target, table_kind
        from cxrvision.data.datasets.labels import write_labels
        from cxrvision.data.indexing import index_folder
        from cxrvision.data.manifest import write_manifest
        from cxrvision.data.splits import split_hash

        target = labels or labels_beside(out)
        for path in (out, target):
            table_kind(path)
            check_target(path, force=force)
        index = index_folder(
            folder,
            kind=kind,
            split=split,
            seed=seed,
            shares=_shares(shares),
            check=check,
            table=table,
            pattern=pattern,
        )
        write_manifest(out, index.images, root=folder, force=force)
        if index.labels is not None:
            write_labels(target, index.labels, force=force)
        digest = split_hash(index.images)
        images = index.images
        counts = images.groupby(["split", "view"], as_index=False).size().itertuples(index=False)
        if as_json:
            by_view = {"/".join((part or "none", view)): int(n) for part, view, n in counts}
            record = {"format": index.kind, "split_hash": digest, "images": by_view}
            typer.echo(json.dumps(record | {"notes": index.notes}, ensure_ascii=False, indent=2))
        else:
            console().print(_counts_table(images))
            for line in index.notes:
                note(line)
        if index.labels is not None:
            findings = len(index.labels.select_dtypes("number").columns)
            note(f"labels of {len(index.labels):,} studies, {findings} findings -> {target}")
        note(
            f"indexed {len(images):,} images of {images['study_id'].nunique():,} studies, "
            f"{images['patient_id'].nunique():,} patients ({index.kind}; split {digest}) -> {out}"
        )


def labels_beside(manifest: Path) -> Path:
    """Where the labels go that a data set ships: studies.csv -> studies.labels.csv."""
    stem, _, endings = manifest.name.partition(".")
    return manifest.with_name(f"{stem}.labels.{endings}" if endings else f"{stem}.labels.csv")


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in split_names(text))
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers, found {text!r}", param_hint="--shares"
        ) from None


def _counts_table(images: pd.DataFrame) -> Table:
    """Images by view, studies with both views and patients, for each split."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from cxrvision.data.splits import SPLITS
    from cxrvision.data.views import ALL_VIEWS, VIEWS

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("split")
    for heading in (*ALL_VIEWS, "studies", "with both", "patients"):
        table.add_column(heading, justify="right")
    for part in [p for p in (*SPLITS, "") if (images["split"] == p).any()]:
        rows = images[images["split"] == part]
        paired = rows[rows["view"].isin(VIEWS)].groupby("study_id")["view"].nunique() > 1
        counts = [int((rows["view"] == view).sum()) for view in ALL_VIEWS]
        counts += [rows["study_id"].nunique(), int(paired.sum()), rows["patient_id"].nunique()]
        table.add_row(part or "none", *(f"{count:,}" for count in counts))
    return table


data_app.command("cache")(data_cache)
data_app.command("stats")(data_stats)
data_app.command("views")(data_views)
data_app.command("phantoms")(data_phantoms)
