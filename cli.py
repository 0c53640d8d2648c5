"""The command line `cxr`: parse, call one library function, print."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlabel.annotate import annotate_app
from cxrlabel.audit.commands import audit_app
from cxrlabel.learned.commands import labeler_app
from cxrlabel.rule_commands import rules_app
from cxrlabel.terminal import (
    NOTHING_WRITTEN,
    ForceOption,
    LangOption,
    RulesOption,
    console,
    errors_as_lines,
    note,
    progress_line,
    split_names,
)
from cxrvision.data.commands import data_app
from cxrvision.evaluate.commands import compare_command, evaluate_command
from cxrvision.noise.commands import noise_app
from cxrvision.train.commands import predict_command, train_command, training_bar

if TYPE_CHECKING:
    from cxrlabel.batch import LabelingRun
    from cxrlabel.chunks import LabelingOptions

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback would print report text
    help="Chest X-ray reports to study labels, with the words that made each label.",
)
app.add_typer(rules_app, name="rules")
app.add_typer(annotate_app, name="annotate")
app.add_typer(audit_app, name="audit")
app.add_typer(labeler_app, name="labeler")
app.add_typer(data_app, name="data")
app.add_typer(noise_app, name="noise")
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("train")(train_command)
app.command("predict")(predict_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cxr {version('cxr')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Turn free-text chest X-ray reports into study labels."""


@app.command()
def label(
    reports: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REPORTS...",
            help="csv, tsv, jsonl (also .gz), parquet, a folder of .txt or .xml, or a pattern.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Labels file: .csv, .tsv, .jsonl or .parquet."
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Id column; by default a usual name."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="COLUMNS",
            help="Text column, or section columns with commas; without REPORTS one report's text.",
        ),
    ] = None,
    sections: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Sections that make labels, with commas; `report` is text under no heading.",
        ),
    ] = "",
    labelset: Annotated[
        str, typer.Option(metavar="NAME", help="all, chexpert, nih14 or a TOML file.")
    ] = "",
    dialect: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Layout of the labels: cxr, chexpert, chexpert-dataset, mimic, nih.",
        ),
    ] = "cxr",
    mentions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write every mention: .csv, .tsv, .jsonl (also .gz) or .parquet.",
        ),
    ] = None,
    stats: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write statistics: .html or .json.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="rules, folders of `cxr labeler fit`, or several with commas."
        ),
    ] = "rules",
    combine: Annotated[
        str,
        typer.Option(metavar="HOW", help="Several backends: average of probabilities, or vote."),
    ] = "average",
    probabilities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write each state's probability; with a model."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Add a status column.")] = False,
    keep: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Columns of the input to copy, with commas.")
    ] = "",
    aggregate: Annotated[
        str,
        typer.Option(
            metavar="RULE", help="positive-first, or chexpert-code as the public labeler does."
        ),
    ] = "positive-first",
    hierarchy: Annotated[
        str, typer.Option(metavar="none|up", help="Fill parents from their children.")
    ] = "none",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A convention, see `cxr rules options`."),
    ] = None,
    lang: LangOption = "en",
    rules: RulesOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that label at the same time.")] = 1,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS|local",
            help="Label on a Dask cluster; `local` starts one of --workers processes here.",
        ),
    ] = "",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Keep finished parts until the end; go on where a run was stopped."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the run record, or one report's labels, as JSON.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Label reports: positive, negative, uncertain or blank for every finding.

    With REPORTS the labels go to --out, a run record beside them. With --text alone one report is
    labeled and drawn with its evidence.
    """
    stopped = "stopped; run it again with --resume" if resume or cluster else NOTHING_WRITTEN
    with errors_as_lines(stopped):
        labeling = _labeling(
            sections, option, rules, aggregate, hierarchy, lang, split_names(backend), combine
        )
        if not reports:
            if text is None:
                raise typer.BadParameter("expected REPORTS, or --text with one report")
            if out or mentions or stats or probabilities:
                raise typer.BadParameter(
                    "one report is printed; --out, --mentions, --stats and --probabilities need "
                    "REPORTS"
                )
            _label_one(text, labeling, labelset, as_json=as_json)
            return
        if out is None:
            raise typer.BadParameter("expected -o FILE, where the labels go", param_hint="--out")
        from cxrlabel.batch import Outputs, label_files
        from cxrlabel.startup import import_spacy_alone

        if workers <= 1 and not cluster:  # else it is imported in other processes
            import_spacy_alone()
        outputs = Outputs(out, mentions, stats, probabilities, force=force)
        with progress_line("labeling") as progress:
            run = label_files(
                reports,
                outputs,
                labeling=labeling,
                id_column=id_column,
                text_columns=split_names(text or ""),
                keep=split_names(keep),
                label_set=labelset,
                dialect=dialect,
                status=status,
                workers=workers,
                resume=resume,
                cluster=cluster,
                progress=progress,
            )
        _report_run(run, as_json=as_json)


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path(
        "demo"
    ),
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Also the image part; needs torch.")
    ] = True,
    force: ForceOption = False,
) -> None:
    """Draw phantoms with reports, label these, audit the labels, train with their error, evaluate.

    Without images it labels and audits the bundled reports.
    """
    from cxrlabel.startup import import_spacy_alone

    with errors_as_lines():
        import_spacy_alone()
        from cxrlabel.demo import BUNDLED, Material, next_steps, run_demo

        chain = _image_half() if images else None
        material, page = BUNDLED, None
        if chain is not None:
            with progress_line("drawing phantoms", "studies") as progress:
                made = chain.draw_phantoms(out, force=force, progress=progress)
            material = Material(
                reports=made.reports,
                truth=made.truth,
                reference="image",
                reviewed=chain.REVIEWED,
                findings=chain.FINDINGS,
                patient="patient_id",
            )
        with progress_line("labeling the reports") as progress:
            done = run_demo(out, material, force=force, progress=progress)
        _report_run(done.run, as_json=False)
        typer.echo(f"\n{done.summary} -> {out / 'audit' / 'index.html'}\n")
        if chain is not None:
            with training_bar() as bar:
                trained = chain.run_image_demo(out, force=force, progress=bar)
            page = trained.page
            typer.echo(f"{trained.summary} -> {page}\n")
        typer.echo(next_steps(out, material, page))


def _image_half() -> Any:
    """The module of the demo's image half, or None with a note where torch is missing."""
    if find_spec("torch") is None:
        note("the image part is left out: it needs the extra `train` (pip install 'cxr[train]')")
        return None
    from cxrvision.demo import chain

    return chain


def _label_one(text: str, labeling: LabelingOptions, labelset: str, *, as_json: bool) -> None:
    from cxrlabel.startup import import_spacy_alone

    import_spacy_alone()
    from cxrlabel.chunks import label_report
    from cxrlabel.evidence import draw_evidence, evidence_dict
    from cxrlabel.findings import load_label_set

    findings = load_label_set(labelset or "all", rules=labeling.rules).columns
    result = label_report(text, labeling)
    if as_json:
        typer.echo(json.dumps(evidence_dict(result, findings), ensure_ascii=False, indent=2))
    else:
        console().print(draw_evidence(text, result, findings))


def _report_run(run: LabelingRun, *, as_json: bool) -> None:
    """The table of states on stdout; notes and the last line on stderr."""
    from cxrlabel.stats import stats_table

    record = run.record
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        console().print(stats_table(run.statistics))
    ignored = ", ".join(record["ignored_columns"]) or "none"
    texts = ", ".join(record["text_columns"])
    note(f"columns: id {record['id_column']}; text {texts}; ignored {ignored}")
    for line in record.get("backend", {}).get("notes", ()):
        note(line)
    for path in run.written[1:]:
        note(f"wrote {path}")
    statuses = run.statistics.statuses
    others = ", ".join(
        f"{count:,} {name}" for name, count in statuses.items() if count and name != "labeled"
    )
    without = f" ({others})" if others else ""
    note(f"labeled {run.statistics.labeled:,} studies{without} -> {run.written[0]}")


def _labeling(
    sections: str,
    option: list[str] | None,
    rules: list[Path] | None,
    aggregate: str,
    hierarchy: str,
    lang: str,
    backend: tuple[str, ...],
    combine: str,
) -> LabelingOptions:
    from cxrlabel.chunks import LabelingOptions

    pairs = [text.partition("=") for text in option or []]
    for name, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, found {name!r}", param_hint="--option")
    return LabelingOptions(
        rules=tuple(str(folder) for folder in rules or []),
        sections=split_names(sections),
        options={name.strip(): value.strip() for name, _, value in pairs},
        aggregate=aggregate,
        hierarchy=hierarchy,
        lang=lang,
        backend=() if backend == ("rules",) else backend,
        combine=combine,
    )


if __name__ == "__main__":
    app()
