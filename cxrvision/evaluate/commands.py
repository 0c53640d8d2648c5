"""The commands `cxr evaluate` and `cxr compare`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlabel.terminal import ForceOption, console, errors_as_lines, note, split_names

if TYPE_CHECKING:
    from rich.table import Table

    from cxrvision.evaluate.auditing import Audit
    from cxrvision.evaluate.comparing import Comparison
    from cxrvision.evaluate.evaluation import Evaluation

IdOption = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="Id column of all tables; else a usual name."),
]
PatientOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Patient column of either table; else a usual name."),
]
UncertainOption = Annotated[
    str, typer.Option(metavar="POLICY", help="Uncertain labels: ignore, zeros, ones.")
]
BlankOption = Annotated[str, typer.Option(metavar="POLICY", help="Blank labels: ignore, zeros.")]
SplitOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Studies of this split; by default test where there is one, else all."
    ),
]
_audit = partial(typer.Option, rich_help_panel="Label error")
JsonOption = Annotated[bool, typer.Option("--json", help="Print what the .json file has.")]


def evaluate_command(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Table of probabilities, or a run folder."),
    ],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Labels of the same studies.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go.")
    ] = Path("eval"),
    id_column: IdOption = None,
    patient: PatientOption = None,
    uncertain: UncertainOption = "ignore",
    blank: BlankOption = "ignore",
    target_sensitivity: Annotated[
        float, typer.Option(help="Sensitivity that a threshold has to have, by its lower bound.")
    ] = 0.9,
    split: SplitOption = "",
    threshold_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Predictions to choose thresholds on, or an earlier metrics.json; by default "
            "the split val of PREDICTIONS.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(metavar="COLUMNS", help="More columns to show apart, with commas.")
    ] = "",
    manual: Annotated[
        Path | None,
        _audit(metavar="FILE", help="Manual review of some of the studies: `cxr audit export`."),
    ] = None,
    sample: Annotated[
        Path | None,
        _audit(metavar="FILE", help="How these were drawn: `cxr audit sample`."),
    ] = None,
    noise: Annotated[
        Path | None,
        _audit(metavar="FILE", help="Observation table to correct by: noise.json of an audit."),
    ] = None,
    reference: Annotated[
        str | None,
        _audit(metavar="image|report", help="What the reviewers looked at; or the file says."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate predictions: AUC, AUPRC, calibration and decisions of every finding.

    With --manual also against the reviewed studies, which know how wrong the labels are.

    Writes metrics.csv, metrics.json and index.html into --out.
    """
    with errors_as_lines():
        from cxrvision.evaluate.evaluation import EvaluationOptions, evaluate_files
        from cxrvision.evaluate.folder import PAGE, check_folder, write_evaluation

        check_folder(out, force=force)
        options = EvaluationOptions(
            id_column=id_column,
            patient=patient,
            uncertain=uncertain,
            blank=blank,
            target_sensitivity=target_sensitivity,
            split=split,
            threshold_from=threshold_from,
            by=split_names(by),
            manual=manual,
            sample=sample,
            noise=noise,
            reference=reference,
        )
        found = evaluate_files(predictions, labels, options)
        record = write_evaluation(found, out, force=force)
        if as_json:
            typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
        else:
            if found.audit is not None:
                console().print(_audit_table(found, found.audit))
            console().print(_evaluation_table(found))
        for line in _evaluation_notes(found):
            note(line)
        note(
            f"evaluated {found.measured.studies:,} studies, "
            f"{found.measured.averages.findings} findings -> {out / PAGE}, metrics.csv, "
            "metrics.json"
        )


def compare_command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Tables of probabilities or run folders; the first is compared with the others.",
        ),
    ],
    *,
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE", help="Labels of the same studies.")
    ],
    average: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="FRONTAL LATERAL",
            help="Also compare with the mean of a frontal and a lateral model.",
        ),
    ] = None,
    ensemble: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="FRONTAL FRONTAL", help="Also compare with an ensemble of two frontal models."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go.")
    ] = Path("compare"),
    id_column: IdOption = None,
    patient: PatientOption = None,
    uncertain: UncertainOption = "ignore",
    blank: BlankOption = "ignore",
    split: SplitOption = "",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare models on the same studies: paired differences of AUC.

    Writes comparison.csv, comparison.json and index.html into --out.
    """
    with errors_as_lines():
        from cxrlabel.writers import atomic_path, check_target
        from cxrvision.evaluate.comparing import compare_files
        from cxrvision.evaluate.page import comparison_page
        from cxrvision.evaluate.records import comparison_record, write_comparison, write_json

        table, record_file, page = (
            out / name for name in ("comparison.csv", "comparison.json", "index.html")
        )
        for path in (table, record_file, page):
            check_target(path, force=force)
        found = compare_files(
            models,
            labels,
            id_column=id_column,
            patient=patient,
            uncertain=uncertain,
            blank=blank,
            split=split,
            average=average,
            ensemble=ensemble,
        )
        record = comparison_record(found)
        write_comparison(found, table, force=force)
        write_json(record, record_file, force=force)
        with atomic_path(page, force=force) as temporary:
            temporary.write_text(comparison_page(found), encoding="utf-8")
        if as_json:
            typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
        else:
            for row in found.comparisons:
                console().print(_comparison_table(row))
        for name, count in found.left_out.items():
            if count:
                note(f"{name}: {count:,} studies that not all have, or of another split")
        note(
            f"compared {len(found.models)} models on {found.studies:,} studies -> "
            f"{page}, {table}, {record_file}"
        )


def _evaluation_table(found: Evaluation) -> Table:
    from cxrvision.evaluate.page import decimals, measure_text

    averages = found.measured.averages
    table = _table("finding", "n", "pos", "AUC", "AUPRC", "sens", "spec")
    for name, row in found.measured.findings.items():
        values = (row.auprc.value, row.sensitivity.value, row.specificity.value)
        counts = f"{row.n:,}", f"{row.positives:,}"
        table.add_row(name, *counts, measure_text(row.auc_labels), *map(decimals, values))
    table.add_section()
    macro = measure_text(averages.macro_auc_labels), decimals(averages.macro_auprc.value)
    table.add_row("macro average", "", "", *macro, "", "")
    shares = (averages.micro_auprc, averages.micro_sensitivity, averages.micro_specificity)
    table.add_row(
        "micro average",
        "",
        "",
        measure_text(averages.micro_auc_labels),
        *(decimals(share.value) for share in shares),
    )
    return table


def _audit_table(found: Evaluation, audit: Audit) -> Table:
    from cxrvision.evaluate.page import decimals, measure_text

    table = _table("finding", "pos", "AUC audited", "doubly robust", "labels", "corrected")
    table.title = f"{audit.studies:,} audited studies, reference: {audit.reference}"
    for name, row in audit.findings.items():
        table.add_row(
            name,
            f"{row.auc_audited_positives:,}",
            measure_text(row.auc_audited),
            measure_text(row.auc_doubly_robust),
            decimals(found.measured.findings[name].auc_labels.value),
            decimals(row.auc_corrected.value),
        )
    table.add_section()
    macro = measure_text(audit.auc_audited), measure_text(audit.auc_doubly_robust)
    labels = decimals(found.measured.averages.macro_auc_labels.value)
    table.add_row("macro average", "", *macro, labels, "")
    return table


def _audit_notes(found: Evaluation, audit: Audit) -> list[str]:
    from cxrvision.evaluate.auditing import REFERENCES
    from cxrvision.evaluate.operating import AUDITED

    audited = audit.files.audited
    lines = [f"reference {audit.reference}: {REFERENCES[audit.reference]}", audited.design]
    if audited.outside_sample:
        lines.append(f"left out: {audited.outside_sample:,} reviewed studies outside the sample")
    chosen = [name for name, row in found.thresholds.items() if row.on == AUDITED]
    if chosen:
        lines.append(f"thresholds chosen on audited studies: {', '.join(chosen)}")
    for name, row in audit.findings.items():
        if row.auc_audited_refused:
            lines.append(f"{name}: no audited AUC: {row.auc_audited_refused}")
            continue
        if row.doubly_robust_refused:
            lines.append(f"{name}: no doubly robust AUC: {row.doubly_robust_refused}")
        if row.correction_withheld:
            lines.append(f"{name}: correction withheld: {row.correction_withheld}")
    return lines


def _evaluation_notes(found: Evaluation) -> list[str]:
    from cxrvision.evaluate.operating import ESTIMATE
    from cxrvision.evaluate.thresholds import THRESHOLDS_HERE

    lines = []
    if found.cases.patients is None:
        lines.append("no patient column: every study counts as another patient's (--patient)")
    if found.only_in_predictions or found.only_in_labels:
        lines.append(
            f"left out: {found.only_in_predictions:,} studies that have predictions alone, "
            f"{found.only_in_labels:,} that have labels alone"
        )
    if found.split:
        lines.append(f"studies of the split {found.split}")
    lines.append(f"thresholds chosen on {found.threshold_source}")
    if found.threshold_source == THRESHOLDS_HERE:
        lines[-1] += ": new studies will do somewhat worse (--threshold-from)"
    few = [name for name, chosen in found.thresholds.items() if chosen.rule == ESTIMATE]
    if few:
        lines.append(f"too few positives for a threshold by the lower bound: {', '.join(few)}")
    noted = [f"{name}: {row.note}" for name, row in found.measured.findings.items() if row.note]
    audited = [] if found.audit is None else _audit_notes(found, found.audit)
    return [*lines, *noted, *found.notes, *audited]


def _comparison_table(row: Comparison) -> Table:
    from cxrvision.evaluate.page import measure_text, p_text

    table = _table("finding", "pos", "AUC", "other", "difference", "p Holm")
    subset = "" if row.subset == "all" else f", {row.subset} alone"
    table.title = f"{row.model} against {row.reference}: {row.studies:,} studies{subset}"
    for name, cell in row.findings.items():
        table.add_row(
            name,
            f"{cell.positives:,}",
            f"{cell.auc:.3f}",
            f"{cell.reference_auc:.3f}",
            measure_text(cell.difference),
            p_text(cell.p_holm),
        )
    table.add_section()
    macro = row.macro
    aucs = f"{macro.auc:.3f}", f"{macro.reference_auc:.3f}"
    table.add_row("macro average", "", *aucs, measure_text(macro.difference), "")
    return table


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, show_edge=False, padding=0
    )
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
