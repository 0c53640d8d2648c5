"""The command `cxr data phantoms`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlabel.terminal import ForceOption, errors_as_lines, note, split_names


def data_phantoms(
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for images and tables."),
    ] = None,
    studies: Annotated[int, typer.Option(metavar="N", help="Studies to invent.")] = 400,
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Edge of an image.")] = 128,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other patients.")] = 0,
    findings: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Findings with commas; by default nine.", show_default=False
        ),
    ] = "",
    prevalence: Annotated[float, typer.Option(metavar="X", help="Of each finding.")] = 0.15,
    strength: Annotated[
        float, typer.Option(metavar="X", help="More is easier to see; 1 is ordinary.")
    ] = 1.0,
    missing_lateral: Annotated[
        float, typer.Option(metavar="X", help="Share of studies without a lateral image.")
    ] = 0.5,
    missing_frontal: Annotated[
        float, typer.Option(metavar="X", help="Share of studies without a frontal image.")
    ] = 0.0,
    ap_share: Annotated[float, typer.Option(metavar="X", help="Share of AP studies.")] = 0.3,
    confounded: Annotated[
        bool,
        typer.Option("--confounded", help="The sicker, the more AP, hospital B and no lateral."),
    ] = False,
    uncertain: Annotated[
        float, typer.Option(metavar="X", help="Share of labels that become uncertain.")
    ] = 0.0,
    blank: Annotated[
        float, typer.Option(metavar="X", help="Share of negative labels that become blank.")
    ] = 0.0,
    wrong: Annotated[
        float, typer.Option(metavar="X", help="Share of labels that are turned over.")
    ] = 0.0,
    reports: Annotated[
        bool, typer.Option("--reports", help="Also invent a report of each study: reports.csv.")
    ] = False,
    report_errors: Annotated[
        float,
        typer.Option(metavar="X", help="Times the usual misses, hedges and overcalls; 0 is none."),
    ] = 1.0,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes.")] = 1,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw every finding in both views instead: .png."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Invent chest radiographs, frontal and lateral, to try the tools on.

    Cartoons made of ellipsoids: whether a program works can be seen on them, and nothing about
    patients.
    """
    if (out is None) == (sheet is None):
        raise typer.BadParameter("expected one of --out and --sheet", param_hint="--out")
    with errors_as_lines("stopped; the folder has no manifest yet"):
        if sheet is not None:
            from cxrvision.phantom.sheet import write_phantom_sheet

            write_phantom_sheet(sheet, size=size, seed=seed, strength=strength, force=force)
            note(f"drew every finding in both views -> {sheet}")
            return
        from cxrvision.phantom.files import FINDINGS, check_range, write_phantoms
        from cxrvision.phantom.saying import scale_rates

        check_range("report errors", report_errors, 0, 100)
        made = write_phantoms(
            out or Path(),
            studies=studies,
            size=size,
            seed=seed,
            findings=split_names(findings) or FINDINGS,
            prevalence=prevalence,
            strength=strength,
            missing_lateral=missing_lateral,
            missing_frontal=missing_frontal,
            ap_share=ap_share,
            confounded=confounded,
            uncertain=uncertain,
            blank=blank,
            wrong=wrong,
            reports=reports,
            report_rates=scale_rates(report_errors),
            workers=workers,
            force=force,
        )
        if made.reports is not None:
            note(f"reports of {made.studies:,} studies -> {made.reports}")
        note(f"labels of {made.studies:,} studies -> {made.labels}")
        note(
            f"invented {made.images:,} images of {made.studies:,} studies, "
            f"{made.patients:,} patients -> {made.manifest}"
        )
