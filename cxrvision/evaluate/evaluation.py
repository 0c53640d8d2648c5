"""An evaluation: one model's predictions against labels, whole, in parts, and view by view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel import findings
from cxrlabel.errors import InputError
from cxrlabel.formats import hash_input
from cxrlabel.tables import Resolve
from cxrvision.evaluate.auditing import (
    Audit,
    measure_audited,
    read_audit,
)
from cxrvision.evaluate.cases import (
    ALL,
    Cases,
    Labels,
    join,
    load_labels,
    take_split,
)
from cxrvision.evaluate.comparing import Difference, measure_differences
from cxrvision.evaluate.confounding import Confounding, measure_confounding
from cxrvision.evaluate.measuring import Measured, measure_cases
from cxrvision.evaluate.operating import Threshold
from cxrvision.evaluate.predictions import BOTH, VIEWS, Predictions, read_predictions
from cxrvision.evaluate.thresholds import choose_thresholds

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Integers

# columns whose values make subsets, where they are there
PARTS: Final = ("views", "view_position", "site", "scanner", "sex")
# those of them that may tell of the finding without the image showing it
CONFOUNDERS: Final = ("views", "view_position", "site", "scanner")
MOST_VALUES: Final = 12  # of a column that are shown apart, the most frequent ones
UNKNOWN: Final = "unknown"
_OF_AUDIT: Final = frozenset({"manual", "sample", "noise", "reference"})


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How to evaluate."""

    id_column: str | None = None  # of both tables; None: one with a usual name
    patient: str | None = None  # column; None: one with a usual name, where there is one
    uncertain: str = "ignore"  # or "zeros", "ones"
    blank: str = "ignore"  # or "zeros"
    target_sensitivity: float = 0.9
    split: str = ""  # "": "test" where there is one, else all; "all"
    threshold_from: Path | None = None  # predictions of other studies, or an earlier metrics.json
    by: tuple[str, ...] = ()  # further columns whose values make subsets
    manual: Path | None = None  # a manual review of some of the studies
    sample: Path | None = None  # how the reviewed studies were drawn
    noise: Path | None = None  # an observation table
    reference: str | None = None  # of the review: "image" or "report"; None: the file says


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of the studies, by the value of a column."""

    by: str
    value: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class ViewDifference:
    """Both views against one of them, on the same studies with the same model."""

    views: str
    reference: str
    findings: Mapping[str, Difference]
    macro: Difference


@dataclass(frozen=True, slots=True)
class PairedViews:
    """The studies that have both views, seen with both and with each alone."""

    measured: Mapping[str, Measured]  # by views
    differences: tuple[ViewDifference, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What `evaluate_files` found."""

    cases: Cases  # the evaluated studies
    measured: Measured
    audit: Audit | None  # None without a manual review
    thresholds: Mapping[str, Threshold]
    threshold_source: str  # what the thresholds were chosen on
    subsets: tuple[Subset, ...]
    views: PairedViews | None  # None without rows for single views
    confounding: tuple[Confounding, ...]
    split: str  # "" for all studies
    only_in_predictions: int  # studies without a row of labels
    only_in_labels: int
    options: EvaluationOptions
    inputs: tuple[Path, ...]
    notes: tuple[str, ...] = field(default=())

    def record(self) -> dict[str, Any]:
        """How it was made: options, files, counts."""
        options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items()}
        if self.audit is None:
            options = {k: v for k, v in options.items() if k not in _OF_AUDIT}
        files = [(str(path), *hash_input(path)) for path in self.inputs]
        return {
            "options": options,
            "inputs": [{"path": p, "sha256": digest, "bytes": size} for p, digest, size in files],
            "split": self.split or ALL,
            "studies": {
                "evaluated": self.measured.studies,
                "patients": None if self.cases.patients is None else self.measured.patients,
                "only_in_predictions": self.only_in_predictions,
                "only_in_labels": self.only_in_labels,
            },
            "threshold_source": self.threshold_source,
            "notes": list(self.notes),
        }


def evaluate_files(
    predictions: Path,
    labels: Path,
    options: EvaluationOptions | None = None,
    *,
    resolve: Resolve = findings.resolve,
) -> Evaluation:
    """Evaluate a table of predictions against a table of labels.

    Args:
        predictions: a table, or a run folder.
        labels: our labels, or those that `cxrlabel.tables.read_labels` reads.

    Raises:
        InputError: a table cannot be read, the two have no finding or study in common, there is
            no study of the split, or none of it was reviewed.
    """
    options = options or EvaluationOptions()
    if not 0 < options.target_sensitivity < 1:
        raise InputError(
            f"--target-sensitivity: {options.target_sensitivity:g}; expected between 0 and 1"
        )
    files = read_audit(
        options.manual,
        sample=options.sample,
        noise=options.noise,
        reference=options.reference,
        id_column=options.id_column,
        resolve=resolve,
    )
    model = read_predictions(
        predictions, id_column=options.id_column, columns=options.by, resolve=resolve
    )
    table = load_labels(
        labels,
        predictions=[model],
        id_column=options.id_column,
        columns=_wanted(options),
        uncertain=options.uncertain,
        blank=options.blank,
        resolve=resolve,
    )
    joined = join(model, table, patient=options.patient)
    for name in options.by:
        if name not in joined.known:
            raise InputError(f"{predictions}, {labels}: no column {name!r}, which --by names")
    cases, split = take_split(joined, options.split)
    thresholds, source = choose_thresholds(joined, cases, table, options, files, resolve)
    subsets, notes = _subsets(cases, thresholds, options.by)
    silent = Counter(table.silent[study] for study in model.rows_of() if study in table.silent)
    inputs = [model.path, table.path, *(files.paths if files else ())]
    return Evaluation(
        cases=cases,
        measured=measure_cases(cases, thresholds),
        audit=None if files is None else measure_audited(files, cases, thresholds),
        thresholds=thresholds,
        threshold_source=source,
        subsets=subsets,
        views=_views(model, table, set(cases.ids), thresholds, options.patient),
        confounding=measure_confounding(cases, (*CONFOUNDERS, *options.by)),
        split=split,
        only_in_predictions=len(model.rows_of()) - len(joined.ids) - silent.total(),
        only_in_labels=len(table.table) - len(joined.ids),
        options=options,
        inputs=tuple(inputs + ([options.threshold_from] if options.threshold_from else [])),
        notes=(*_silent_notes(silent), *notes),
    )


def _silent_notes(statuses: Mapping[str, int]) -> tuple[str, ...]:
    """How many studies do not count because their reports were not labeled."""
    return tuple(
        f"left out: {count:,} studies whose report is {status!r}"
        for status, count in sorted(statuses.items())
    )


def _wanted(options: EvaluationOptions) -> tuple[str, ...]:
    return (*options.by, *([options.patient] if options.patient else ()))


def _subsets(
    cases: Cases, thresholds: Mapping[str, Threshold], by: Sequence[str]
) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    """The studies by the values of each column that has several, and notes on what is not shown."""
    found: list[Subset] = []
    notes: list[str] = []
    for column in dict.fromkeys((*PARTS, *by)):
        if column not in cases.known:
            continue
        values = cases.known[column]
        counts = values.value_counts()
        if len(counts) < 2:
            continue
        shown = counts.index[:MOST_VALUES].tolist()
        if len(counts) > MOST_VALUES:
            notes.append(f"{column}: the {MOST_VALUES} most frequent of {len(counts)} values")
        for value in sorted(shown):
            part = cases.take((values == value).to_numpy())
            found.append(Subset(column, value or UNKNOWN, measure_cases(part, thresholds)))
    return tuple(found), tuple(notes)


def _views(
    model: Predictions,
    labels: Labels,
    evaluated: set[str],
    thresholds: Mapping[str, Threshold],
    patient: str | None,
) -> PairedViews | None:
    """The studies with both views, with both and with each alone; None without such rows."""
    both = {i: row for i, row in model.rows_of(BOTH).items() if i in evaluated}
    alone = {views: model.rows_of(views) for views in VIEWS[1:]} if "views" in model.known else {}
    alone = {views: rows for views, rows in alone.items() if rows.keys() & both.keys()}
    ids = [i for i in both if all(i in rows for rows in alone.values())]
    if not alone or not ids:
        return None
    cases = {
        views: join(model, labels, rows={i: rows[i] for i in ids}, patient=patient)
        for views, rows in ({BOTH: both} | alone).items()
    }
    first = cases[BOTH]
    return PairedViews(
        {views: measure_cases(some, thresholds) for views, some in cases.items()},
        tuple(
            ViewDifference(BOTH, views, *_differences(first, cases[views], first.clusters))
            for views in alone
        ),
    )


def _differences(
    first: Cases, second: Cases, clusters: Integers
) -> tuple[dict[str, Difference], Difference]:
    return measure_differences(first.probs, second.probs, first.truth, clusters, first.findings)
