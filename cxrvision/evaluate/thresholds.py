"""Which studies the thresholds of an evaluation are chosen on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.tables import Resolve
from cxrvision.evaluate.auditing import AuditFiles, choose_audited_threshold
from cxrvision.evaluate.cases import VALIDATION, Cases, Labels, join, take_split
from cxrvision.evaluate.operating import GIVEN, Threshold, choose_threshold
from cxrvision.evaluate.predictions import read_predictions

if TYPE_CHECKING:
    from cxrvision.evaluate.evaluation import EvaluationOptions

THRESHOLDS_HERE: Final = "the evaluated studies"


def choose_thresholds(
    joined: Cases,
    cases: Cases,
    labels: Labels,
    options: EvaluationOptions,
    files: AuditFiles | None,
    resolve: Resolve,
) -> tuple[dict[str, Threshold], str]:
    """A threshold for each finding, and what they were chosen on.

    A file that is named; else the validation studies of the table; else, for want of others, the
    evaluated studies themselves. Of the first two the audited studies, where there are enough; the
    evaluated ones by their labels, so that the audited ones do not choose what they measure.
    """
    path = options.threshold_from
    if path is not None and path.suffix.lower() == ".json":
        return _read_thresholds(path), path.name
    if path is not None:
        other = read_predictions(path, id_column=options.id_column, resolve=resolve)
        missing = [name for name in cases.findings if name not in other.findings]
        if missing:
            raise InputError(f"{path}: no column for {missing[0]!r}, which the predictions have")
        chosen = join(other, labels, patient=options.patient)
        chosen, split = _validation(chosen) or (chosen, "")
        return _choose(chosen, options, files), f"{path.name}{f', split {split}' if split else ''}"
    validation = _validation(joined)
    if validation and not set(validation[0].ids) & set(cases.ids):
        return _choose(validation[0], options, files), f"split {validation[1]}"
    return _choose(cases, options, None), THRESHOLDS_HERE


def _validation(cases: Cases) -> tuple[Cases, str] | None:
    """The studies of the validation split, where there are any."""
    try:
        return take_split(cases, VALIDATION)
    except InputError:
        return None


def _choose(
    cases: Cases, options: EvaluationOptions, files: AuditFiles | None
) -> dict[str, Threshold]:
    chosen = {}
    for column, finding in enumerate(cases.findings):
        inside = cases.labelled(column)
        wanted = options.target_sensitivity
        threshold = files and choose_audited_threshold(files, cases, column, wanted)
        threshold = threshold or choose_threshold(
            cases.probs[inside, column],
            cases.truth[inside, column] == 1,
            wanted,
            patients=cases.clusters[inside],
        )
        if threshold is not None:
            chosen[finding] = threshold
    return chosen


def _read_thresholds(path: Path) -> dict[str, Threshold]:
    """The thresholds of an earlier evaluation."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["findings"]
        found = {name: row["threshold"] for name, row in rows.items()}
        return {
            name: Threshold(float(value), GIVEN, 0)
            for name, value in found.items()
            if value is not None
        }
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no thresholds; expected a metrics.json of `cxr evaluate`"
        ) from error
