"""The report of an audit in a folder: its tables, noise.json and the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlabel.audit.analysis import Audit, make_audit
from cxrlabel.audit.disagreements import write_disagreements
from cxrlabel.audit.error_sources import write_sources
from cxrlabel.audit.estimates import write_metrics
from cxrlabel.audit.observation import write_observation
from cxrlabel.audit.report_files import (
    AGREEMENT,
    CONSENSUS,
    DISAGREEMENTS,
    ERRORS,
    FILES,
    METRICS,
    NOISE,
    PAGE,
    SOURCES,
    TASKS,
    check_folder,
    report_folder,
)
from cxrlabel.audit.report_inputs import Choices, Sources, read_material
from cxrlabel.audit.report_page import report_page
from cxrlabel.writers import atomic_path, open_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class ReportRun:
    """What was written."""

    audit: Audit
    written: tuple[Path, ...]  # the page last


def write_report(
    sources: Sources,
    out: Path,
    *,
    choices: Choices | None = None,
    force: bool = False,
    seed: int = 0,
) -> ReportRun:
    """Audit labels and write the folder of the report.

    Args:
        out: the folder; other files in it stay.
        choices: how readings become a truth; by default as `Choices` has it.
        force: replace the report that the folder has.
        seed: of the draws and permutations behind intervals and tests.

    Raises:
        InputError: a file is wrong, or the folder cannot be written or has a report.
    """
    check_folder(out, (sources.labels, sources.manual), force=force)
    material = read_material(sources, choices or Choices())
    check_folder(out, material.paths, force=force)
    audit = make_audit(material, choices or Choices(), sources=sources, seed=seed)
    page = report_page(audit, rules=sources.rules, lang=sources.lang)
    with report_folder(out) as folder:
        _write_tables(audit, folder)
        write_observation(folder / NOISE, audit.observation)
        with atomic_path(folder / PAGE) as path:
            path.write_text(page, encoding="utf-8")
    return ReportRun(audit, tuple(out / name for name in FILES if (out / name).exists()))


# the tables


def _write_tables(audit: Audit, folder: Path) -> None:
    write_metrics(folder / METRICS, audit.metrics)
    for name, table in (
        (TASKS, audit.tasks),
        (AGREEMENT, audit.agreement),
        (ERRORS, audit.reader_errors),
    ):
        if len(table):
            _write_table(folder / name, table)
    if len(audit.consensus):
        id_name = audit.comparison.id_name
        _write_table(folder / CONSENSUS, audit.consensus.rename_axis(id_name).reset_index())
    if audit.sources:
        write_sources(folder / SOURCES, audit.sources)
    write_disagreements(
        folder / DISAGREEMENTS, audit.disagreements, id_name=audit.comparison.id_name
    )


def _write_table(path: Path, table: pd.DataFrame) -> None:
    kinds = {"O": str, "i": int, "f": float}
    columns = {str(name): kinds.get(kind.kind, str) for name, kind in table.dtypes.items()}
    rows = [
        tuple(None if isinstance(cell, float) and math.isnan(cell) else cell for cell in row)
        for row in table.astype(object).itertuples(index=False, name=None)
    ]
    with open_rows(path, columns) as writer:
        writer.write(rows)
