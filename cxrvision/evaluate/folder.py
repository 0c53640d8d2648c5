"""The folder that an evaluation is written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.writers import atomic_path, check_target

if TYPE_CHECKING:
    from cxrvision.evaluate.evaluation import Evaluation

PAGE: Final = "index.html"
METRICS: Final = "metrics.csv"
RECORD: Final = "metrics.json"


def check_folder(out: Path, *, force: bool) -> None:
    """Raise an `InputError` where `write_evaluation` would."""
    for name in (METRICS, RECORD, PAGE):
        check_target(out / name, force=force)


def write_evaluation(found: Evaluation, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write metrics.csv, metrics.json and index.html.

    Returns:
        What metrics.json holds.
    """
    from cxrvision.evaluate.page import evaluation_page
    from cxrvision.evaluate.records import metrics_record, write_json, write_metrics

    record = metrics_record(found)
    write_metrics(found, out / METRICS, force=force)
    write_json(record, out / RECORD, force=force)
    with atomic_path(out / PAGE, force=force) as temporary:
        temporary.write_text(evaluation_page(found), encoding="utf-8")
    return record
