"""The commands `cxr audit review`, `export` and `import`: serve a review, take its readings out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from cxrlabel.errors import InputError
from cxrlabel.terminal import (
    ForceOption,
    LangOption,
    RulesOption,
    errors_as_lines,
    note,
    split_names,
)

if TYPE_CHECKING:
    from cxrlabel.audit.review.opening import Fixed, OpenedReview
    from cxrlabel.audit.review.server import Link

TABLE: Final = "table"
SHEET: Final = "sheet"
LABEL_STUDIO: Final = "label-studio"
FORMATS: Final = {  # with the options that they take
    TABLE: ("--which", "--notes"),
    SHEET: ("--reviewer",),
    LABEL_STUDIO: ("--readings",),
}

_NEEDED: Final = ("fastapi", "python_multipart", "sqlalchemy", "uvicorn")  # by `cxr[review]`
_shown = partial(typer.Option, rich_help_panel="What is shown")
_people = partial(typer.Option, rich_help_panel="Who reads")
_served = partial(typer.Option, rich_help_panel="Where it is served")

DbOption = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="FILE|URL",
        help="The review: a SQLite file, or postgresql://user@host/name.",
    ),
]


def audit_review(
    sample: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SAMPLE]",
            help="What `cxr audit sample` drew; not needed when the review exists.",
            show_default=False,
        ),
    ] = None,
    *,
    db: DbOption,
    reports: Annotated[
        list[str] | None, _shown("--reports", metavar="REPORTS", help="Reports of the sample.")
    ] = None,
    images: Annotated[
        Path | None,
        _shown(
            metavar="FILE", help="Images of the sample: study id, path, view (frontal, lateral)."
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        _shown(metavar="DIR", help="Where the paths of --images begin; by default beside it."),
    ] = None,
    reference: Annotated[
        str,
        _shown(
            metavar="report|image",
            help="What a reading is of, for good; by default the report.",
            show_default=False,
        ),
    ] = "",
    labelset: Annotated[
        str, _shown(metavar="NAME", help="Findings to read: a label set, by default chexpert …")
    ] = "",
    findings: Annotated[
        str, _shown(metavar="NAMES", help="… or these, with commas, in this order.")
    ] = "",
    labels: Annotated[
        Path | None,
        _shown(metavar="FILE", help="Labels, shown on request when a study is committed."),
    ] = None,
    mentions: Annotated[
        Path | None, _shown(metavar="FILE", help="Mentions, marked in the text with the labels.")
    ] = None,
    unblind: Annotated[
        bool, _shown("--unblind", help="Show labels from the start: to teach, not to measure.")
    ] = False,
    title: Annotated[str, _shown(metavar="TEXT", help="Shown on every page.")] = "",
    id_column: Annotated[
        str | None, _shown("--id", metavar="COLUMN", help="Id column; by default a usual name.")
    ] = None,
    text: Annotated[str, _shown(metavar="COLUMNS", help="As for `cxr label`.")] = "",
    reviewer: Annotated[
        list[str] | None, _people("--reviewer", metavar="NAME", help="Once for each reader.")
    ] = None,
    adjudicator: Annotated[
        list[str] | None,
        _people(
            "--adjudicator",
            metavar="NAME",
            help="Who decides where readings differ; by default the reviewers.",
        ),
    ] = None,
    double: Annotated[
        float | None, _people(metavar="SHARE", help="Share of the studies that two people read.")
    ] = None,
    seed: Annotated[int | None, _people(help="Of each reviewer's share and order.")] = None,
    extend: Annotated[
        bool, _people("--extend", help="Add the studies of a larger SAMPLE to the review.")
    ] = False,
    host: Annotated[
        str, _served(metavar="ADDRESS", help="Another interface lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, _served(min=0, max=65_535, help="0 takes a free one.")] = 8642,
    certificate: Annotated[Path | None, _served(metavar="PEM", help="For https.")] = None,
    key: Annotated[Path | None, _served(metavar="PEM", help="The certificate's key.")] = None,
    lang: LangOption = "en",
    rules: RulesOption = None,
) -> None:
    """Let people read the sample in a browser; the same command goes on where it was left."""
    with errors_as_lines("stopped"):
        _require_extra()
        from cxrlabel.audit.review.inputs import Sources
        from cxrlabel.audit.review.opening import open_review
        from cxrlabel.audit.review.server import is_loopback, serve
        from cxrlabel.audit.review.store import place_of

        if (certificate is None) != (key is None):
            raise typer.BadParameter("expected both, --certificate and --key")
        sources = None
        if sample is not None:
            sources = Sources(
                sample=sample,
                reports=reports or (),
                images=images,
                labels=labels,
                mentions=mentions,
                id_column=id_column,
                text_columns=split_names(text),
                image_root=image_root,
                rules=rules or (),
                lang=lang,
            )
        asked = {
            "reference": reference,
            "label_set": labelset,
            "findings": split_names(findings),
            "reviewers": reviewer,
            "adjudicators": adjudicator,
            "double": double,
            "seed": seed,
            "unblind": unblind or None,
            "title": title,
        }
        fixed = cast("Fixed", {name: value for name, value in asked.items() if _given(value)})
        opened = open_review(db, sources, fixed=fixed, extend=extend)
        _note_opened(opened, place_of(db))
        if not is_loopback(host):
            _note_exposed(host, tls=certificate is not None)
        serve(
            db,
            announce=_announce,
            host=host,
            port=port,
            certificate=certificate,
            key=key,
        )
        done = open_review(db, fixed={})
        note(f"{done.committed:,} of {done.readings:,} readings are done -> {place_of(db)}")


def audit_export(
    *,
    db: DbOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="manual.csv (.tsv, .jsonl, .parquet); tasks: .json."
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="table; sheet, for a --reviewer to fill in; label-studio, tasks.",
        ),
    ] = TABLE,
    which: Annotated[
        str,
        typer.Option(
            metavar="ROWS",
            help="table: all (default), readings without decisions, or final, one row a study.",
        ),
    ] = "",
    notes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="table: also write notes, flags and times."),
    ] = None,
    reviewer: Annotated[
        str, typer.Option(metavar="NAME", help="sheet: whose studies to write.")
    ] = "",
    readings: Annotated[
        bool, typer.Option("--readings", help="label-studio: with the readings as annotations.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write the readings of a review, or its studies to be read elsewhere."""
    with errors_as_lines():
        _require_extra()
        from cxrlabel.audit.review.exchange import export_sheet
        from cxrlabel.audit.review.export import ALL, export_review
        from cxrlabel.audit.review.labelstudio import export_tasks
        from cxrlabel.audit.review.words import plural
        from cxrlabel.checks import one_of

        one_of("--format", "value", form, tuple(FORMATS))
        used = {"--which": which, "--notes": notes, "--reviewer": reviewer, "--readings": readings}
        for name in [name for name, value in used.items() if value and name not in FORMATS[form]]:
            raise typer.BadParameter(f"not for --format {form}", param_hint=name)
        if form == SHEET:
            sheet = export_sheet(db, out, reviewer=reviewer, force=force)
            count = plural(sheet.studies, "study", "studies")
            note(f"{count} for {reviewer} to fill in -> {out}")
        elif form == LABEL_STUDIO:
            tasks = export_tasks(db, out, readings=readings, force=force)
            note(f"wrote {tasks.written[1]}")
            count = plural(tasks.annotations, "annotation")
            note(f"{plural(tasks.tasks, 'task')} with {count} -> {out}")
        else:
            run = export_review(db, out, which=which or ALL, notes=notes, force=force)
            if run.unread:
                note(f"without a reading: {plural(run.unread, 'study', 'studies')}")
            if run.waiting:
                left = plural(run.waiting, "study", "studies")
                note(f"left out: {left}, for lack of a reading or a decision")
            if notes is not None:
                note(f"wrote {notes}")
            of = plural(run.studies, "study", "studies")
            note(f"{plural(run.rows, 'reading')} of {of} -> {out}")


def audit_import(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A sheet that was filled in, or what Label Studio exported (.json).",
        ),
    ],
    *,
    db: DbOption,
    reviewer: Annotated[
        str, typer.Option(metavar="NAME", help="Whose readings they are, where the file is silent.")
    ] = "",
    rules: RulesOption = None,
) -> None:
    """Add readings made elsewhere to a review; all of the file's or none."""
    with errors_as_lines():
        _require_extra()
        from cxrlabel.audit.review.exchange import import_readings
        from cxrlabel.audit.review.store import place_of
        from cxrlabel.audit.review.words import plural

        run = import_readings(db, file, reviewer=reviewer, rules=tuple(rules or ()))
        for count, what in (
            (run.known, "readings that the review has"),
            (run.unread, "rows that nobody filled in"),
            (run.elsewhere, "readings of studies that the review does not have"),
        ):
            if count:
                note(f"left out: {count:,} {what}")
        by = f" by {', '.join(run.reviewers)}" if run.reviewers else ""
        note(f"added {plural(run.added, 'reading')}{by} -> {place_of(db)}")


def _given(value: object) -> bool:
    """Whether an option was used; 0 is a value."""
    return value is not None and value not in ("", ())


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"the review needs the package {missing[0]}: pip install 'cxr[review]'")


def _note_opened(opened: OpenedReview, place: str) -> None:
    from cxrlabel.audit.review.words import plural

    of = f"a reading is of the {opened.reference}"
    added = opened.added
    if added is None:
        note(f"{place}: {opened.committed:,} of {opened.readings:,} readings are done; {of}")
        return
    twice = f", {added.double_read:,} of them for two readers" if added.double_read else ""
    images = f", {plural(added.images, 'image')}" if added.images else ""
    note(f"{place}: added {plural(added.studies, 'study', 'studies')}{twice}{images}; {of}")


def _note_exposed(host: str, *, tls: bool) -> None:
    note(f"--host {host}: other machines reach this review; a link lets its holder in")
    if not tls:
        note("without --certificate whoever is on the way reads along, unless a proxy has one")


def _announce(links: Sequence[Link]) -> None:
    """Everybody's link on stdout; nothing else ever shows them."""
    for link in links:
        note(f"{link.name} ({link.role}):")
        typer.echo(link.url)
    note("whoever has a link is that person; Ctrl-C ends the server, nothing is lost")
