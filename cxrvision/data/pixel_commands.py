"""The commands `cxr data` that read pixels or count: cache, stats, views."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlabel.terminal import ForceOption, console, errors_as_lines, note

if TYPE_CHECKING:
    from cxrvision.data.caching import CacheSummary

StudiesArgument = Annotated[
    Path, typer.Argument(metavar="STUDIES", help="Manifest: what `cxr data index` wrote.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Images that are read at the same time.")]

_MOST_LISTED = 5


def data_cache(
    studies: StudiesArgument,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the cache.")],
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = 320,
    fit: Annotated[
        str, typer.Option(metavar="NAME", help="pad (all of the image), crop or stretch.")
    ] = "pad",
    correct_inverted: Annotated[
        bool, typer.Option("--correct-inverted", help="Invert images that look inverted.")
    ] = False,
    workers: WorkersOption = 1,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a contact sheet of up to 144 images, .png."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a cache of another size or fit, and an older sheet."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Decode the images of a manifest once, for training and prediction.

    Run it again to finish a stopped one, to mend a torn one, or when the manifest has grown: what
    is there is kept. Images that cannot be read are listed in the cache's index and counted.
    """
    with errors_as_lines("stopped; finished parts are kept, run it again to go on"):
        from cxrlabel.writers import check_target
        from cxrvision.data.caching import build_cache
        from cxrvision.data.manifest import read_manifest

        if sheet is not None:
            check_target(sheet, force=force)
        manifest = read_manifest(studies)
        for line in manifest.notes:
            note(line)
        with _progress("caching", len(manifest.table)) as advance:
            summary = build_cache(
                manifest,
                out,
                size=size,
                fit=fit,
                correct_inverted=correct_inverted,
                workers=workers,
                force=force,
                progress=advance,
            )
        if as_json:
            typer.echo(json.dumps(asdict(summary) | {"path": str(out)}, indent=2))
        _note_cache(summary)
        if sheet is not None:
            _write_sheet(sheet, out, force=force)


def data_stats(
    studies: StudiesArgument,
    labels: Annotated[
        Path | None,
        typer.Argument(metavar="[LABELS]", help="Labels by study.", show_default=False),
    ] = None,
    *,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Id column of the labels."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", metavar="FILE", help=".html with plots or .json; repeatable."),
    ] = None,
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Count a data set: findings, what comes together, and groups by view, sex, age, site, split.

    The tables that data-set papers print.
    """
    with errors_as_lines():
        from cxrlabel.findings import resolve
        from cxrlabel.tables import read_labels
        from cxrlabel.writers import check_target
        from cxrvision.data.manifest import read_manifest
        from cxrvision.data.stats import data_statistics, statistics_kind, write_statistics
        from cxrvision.data.tables import statistics_tables

        for path in out or ():
            statistics_kind(path)
            check_target(path, force=force)
        manifest = read_manifest(studies)
        table = None
        if labels is not None:
            table = read_labels(labels, id_column=id_column, resolve=resolve).table
        statistics = data_statistics(manifest, table)
        if as_json:
            typer.echo(json.dumps(statistics.to_dict(), ensure_ascii=False, indent=2))
        else:
            for printed in statistics_tables(statistics):
                console().print(printed)
        for path in out or ():
            inputs = [studies] if labels is None else [studies, labels]
            write_statistics(statistics, path, inputs=inputs, force=force)
        written = f" -> {', '.join(map(str, out))}" if out else ""
        note(
            f"counted {statistics.images:,} images of {statistics.studies:,} studies, "
            f"{statistics.labeled:,} with labels ({statistics.without_images:,} labels without "
            f"images){written}"
        )


def data_views(
    studies: StudiesArgument,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Manifest: .csv, .tsv or .parquet.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use this model (.npz) and fit none."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the fitted model, .npz.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.5, max=1, help="Least probability of a view that is filled in.")
    ] = 0.95,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cache of the images, which saves reading.")
    ] = None,
    workers: WorkersOption = 1,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Fill in views that are unknown, from the pixels.

    A small classifier is fitted to the images whose view is known and checked on patients that it
    was not fitted to. Known views stay as they are; the column `view_source` says `pixels` where
    one was filled in.
    """
    with errors_as_lines():
        from cxrlabel.writers import check_target, table_kind
        from cxrvision.data.cache import open_cache
        from cxrvision.data.manifest import read_manifest
        from cxrvision.data.tables import confusion_table
        from cxrvision.data.viewfilling import fill_views, write_filled

        table_kind(out)
        for path in filter(None, (out, save)):
            check_target(path, force=force)
        manifest = read_manifest(studies)
        opened = open_cache(cache) if cache is not None else None
        with _progress("reading", len(manifest.table)) as advance:
            filling = fill_views(
                manifest,
                model=model,
                save=save,
                threshold=threshold,
                cache=opened,
                workers=workers,
                seed=seed,
                force=force,
                progress=advance,
            )
        write_filled(filling, manifest, out, force=force)
        if as_json:
            typer.echo(json.dumps(filling.to_dict(), indent=2))
        elif filling.check is not None:
            console().print(confusion_table(filling.check, threshold))
        if filling.doubted:
            note(
                f"{len(filling.doubted):,} known views are contradicted by the pixels, as of "
                + _listed(filling.doubted)
            )
        counts = ", ".join(f"{n:,} {view}" for view, n in filling.filled.items()) or "none"
        note(
            f"filled {sum(filling.filled.values()):,} of {filling.unknown:,} unknown views "
            f"({counts}; {filling.unreadable:,} images not readable) -> {out}"
        )


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A line on stderr with rate and time left; None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.speed:,.0f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _note_cache(summary: CacheSummary) -> None:
    for text, count in summary.notes.items():
        note(f"{count:,} {'image' if count == 1 else 'images'}: {text}")
    failed = summary.failures[:_MOST_LISTED]
    for image_id, reason in failed:
        note(f"not read: {image_id}: {reason}")
    if len(summary.failures) > len(failed):
        note(f"not read: {len(summary.failures) - len(failed):,} more, see the cache's index")
    if summary.unused:
        note(f"{summary.unused:,} cached images are not in the manifest")
    usable = summary.images - len(summary.failures)
    note(
        f"cached {usable:,} of {summary.images:,} images ({summary.decoded:,} decoded now in "
        f"{summary.seconds:,.1f} s, {len(summary.failures):,} not readable), "
        f"{summary.bytes / 1e6:,.0f} MB, key {summary.key[:12]} -> {summary.path}"
    )


def _write_sheet(path: Path, cache: Path, *, force: bool) -> None:
    from cxrvision.data.cache import open_cache
    from cxrvision.data.sheet import write_sheet

    ids = write_sheet(path, open_cache(cache, verify=False), force=force)
    note(f"contact sheet of {len(ids):,} images -> {path}")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
