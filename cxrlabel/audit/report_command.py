"""The command `cxr audit report`: how good the labels are, by a manual review of some."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    from cxrlabel.audit.analysis import Audit

_SHOWN: Final = ("ppv", "sensitivity")
_truth = partial(typer.Option, rich_help_panel="What counts as truth")
_shown = partial(typer.Option, rich_help_panel="What explains errors")


def audit_report(
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="What `cxr label` wrote, or labels of others."),
    ],
    manual: Annotated[
        Path,
        typer.Argument(metavar="MANUAL", help="The review: `cxr audit export`, or a spreadsheet."),
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the page and its tables.")
    ],
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="COLUMN", help="Id column of all files; by default a usual name."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        _truth(metavar="report|image", help="What the reviewers looked at; or the file says."),
    ] = None,
    sample: Annotated[
        Path | None,
        _truth(metavar="FILE", help="How the reviewed studies were drawn: `cxr audit sample`."),
    ] = None,
    patient: Annotated[
        str, _truth(metavar="COLUMN", help="Patient, in the labels, the reports or the review.")
    ] = "",
    consensus: Annotated[
        str, _truth(metavar="RULE", help="Of several reviewers: majority, any, all, first.")
    ] = "majority",
    blank: Annotated[
        str, _truth(metavar="absent|open", help="A finding that the reviewer left blank.")
    ] = "absent",
    uncertain: Annotated[
        str, _truth(metavar="NAME", help="One called uncertain: open, positive, negative.")
    ] = "open",
    drop_ambiguous: Annotated[
        bool, _truth("--drop-ambiguous", help="Leave out cells with 1 in a column FINDING__amb.")
    ] = False,
    mentions: Annotated[
        Path | None, _shown(metavar="FILE", help="What `cxr label --mentions` wrote.")
    ] = None,
    reports: Annotated[
        list[str] | None,
        _shown(metavar="FILE", help="The reports: file, folder of .txt or pattern; repeatable."),
    ] = None,
    text: Annotated[
        str, _shown(metavar="COLUMNS", help="Text column, or section columns with commas.")
    ] = "",
    by: Annotated[
        list[str] | None,
        _shown(metavar="COLUMN", help="Compare groups of studies: site, author; repeatable."),
    ] = None,
    labeler: Annotated[
        list[str] | None,
        _shown(metavar="NAME=FILE", help="Labels of another labeler, a reader more; repeatable."),
    ] = None,
    lang: LangOption = "en",
    rules: RulesOption = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
    force: ForceOption = False,
) -> None:
    """Measure label error against a manual review: tables, noise.json and a page to read."""
    with errors_as_lines():
        from cxrlabel.audit.consensus import RULES
        from cxrlabel.audit.report import write_report
        from cxrlabel.audit.report_inputs import Choices, Sources
        from cxrlabel.audit.report_words import left_out

        _one_of("--consensus", consensus, RULES)
        _one_of("--blank", blank, ("absent", "open"))
        _one_of("--uncertain", uncertain, ("open", "positive", "negative"))
        sources = Sources(
            labels=labels,
            manual=manual,
            reference=reference,
            id_column=id_column,
            sample=sample,
            mentions=mentions,
            reports=reports or (),
            text_columns=split_names(text),
            labelers=_labelers(labeler or ()),
            patient=patient,
            by=tuple(dict.fromkeys(by or ())),
            rules=rules or (),
            lang=lang,
        )
        choices = Choices(
            blank=blank,  # type: ignore[arg-type]  # checked above
            uncertain=uncertain,  # type: ignore[arg-type]
            consensus=consensus,  # type: ignore[arg-type]
            drop_ambiguous=drop_ambiguous,
        )
        run = write_report(sources, out, choices=choices, force=force, seed=seed)
        audit = run.audit
        if as_json:
            typer.echo(json.dumps(_summary(audit, run.written), ensure_ascii=False, indent=2))
        else:
            console().print(_table(audit))
        for line in left_out(audit):
            note(f"left out: {line}" if line[0].isdigit() else line)
        for column, place in audit.material.places.items():
            note(f"column {column!r}: of {place}")
        for path in run.written[:-1]:
            note(f"wrote {path}")
        compared = audit.comparison
        note(
            f"audited {len(compared.labels):,} studies, {len(compared.findings)} findings "
            f"-> {run.written[-1]}"
        )


def _one_of(option: str, value: str, choices: Sequence[str]) -> None:
    from cxrlabel.errors import InputError

    if value not in choices:
        raise InputError(f"{option}: {value!r}; expected one of {', '.join(choices)}")


def _labelers(given: Sequence[str]) -> dict[str, Path]:
    """Name -> file, of NAME=FILE."""
    from cxrlabel.errors import InputError

    found: dict[str, Path] = {}
    for item in given:
        name, equals, path = (part.strip() for part in item.partition("="))
        if not (equals and name and path):
            raise InputError(f"--labeler: {item!r}; expected NAME=FILE")
        if name in found:
            raise InputError(f"--labeler: {name!r} comes twice; expected distinct names")
        found[name] = Path(path)
    return found


def _table(audit: Audit) -> Any:
    """The measures of each finding, uncertain labels as negative."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from cxrlabel.audit.report_words import interval

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("finding", no_wrap=True)
    for heading in ("n", *_SHOWN):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = audit.metrics[audit.metrics["uncertain_as"] == "negative"]
    for row in rows.to_dict("records"):
        values = (interval(*(row[f"{name}{end}"] for end in ("", "_lo", "_hi"))) for name in _SHOWN)
        table.add_row(Text(row["finding"]), f"{row['n']:,}", *values)
    return table


def _summary(audit: Audit, written: Sequence[Path]) -> dict[str, Any]:
    """The report for programs; null where a number is not defined."""
    from cxrlabel.audit.intervals import CELLS, MEASURES
    from cxrlabel.audit.report_words import left_out

    compared, reviews = audit.comparison, audit.material.reviews
    overall = {
        reading: dict(zip(CELLS, map(int, found.counts), strict=True))
        | {
            name: [_number(float(x[place])) for x in (found.values, found.low, found.high)]
            for place, name in enumerate(MEASURES)
        }
        for reading, found in audit.overall.items()
    }
    return {
        **audit.record,
        "reference": compared.reference,
        "design": compared.design,
        "studies": len(compared.labels),
        "left_out": {
            "labeled_only": compared.labeled_only,
            "reviewed_only": compared.reviewed_only,
            "outside_sample": compared.outside_sample,
            "not_reviewed": compared.not_reviewed,
            "not_evaluable": reviews.not_evaluable,
            "other_reference": reviews.other_reference,
            "ties": compared.review.ties,
        },
        "notes": left_out(audit),
        "overall": overall,
        "findings": [
            {str(name): _number(cell) for name, cell in row.items()}
            for row in audit.metrics.to_dict("records")
        ],
        "training": [
            {
                "finding": lesson.finding,
                "labels": lesson.verdict,
                "j": [lesson.j.mean, lesson.j.lo, lesson.j.hi],
                "uncertain_as": lesson.policy or None,
            }
            for lesson in audit.lessons
        ],
        "disagreements": len(audit.disagreements),
        "groups": sorted(
            {(row.source, row.kind, _number(row.p)) for row in audit.sources if row.grouped},
            key=lambda test: test[:2],
        ),
        "outputs": [str(path) for path in written],
    }


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
