"""Models on the same studies: paired differences of AUC, with their intervals and p values.

Both AUCs hang on the same studies, so their errors are correlated; the difference has the
difference of the influence values (DeLong, DeLong and Clarke-Pearson 1988; with several studies of
a patient, Obuchowski 1997). With few positives the variance is known badly, and Student's
distribution with Welch's degrees of freedom makes up for it. p values are adjusted over the
findings of a comparison (Holm 1979).

A model of two views is a gain of the second view only where it is above what two models give
without joining anything: the mean of a frontal and a lateral model's probabilities, and the mean of
two frontal models' (an ensemble is nearly always above its parts).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel import findings
from cxrlabel.errors import InputError
from cxrlabel.tables import Resolve
from cxrvision.evaluate.auc import estimate_auc
from cxrvision.evaluate.cases import Cases, join, load_labels, take_split
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    degrees_of_freedom,
    holm,
    mean_of,
    plain_interval,
    two_sided,
)
from cxrvision.evaluate.predictions import BOTH, FILE_NAME, Predictions, blend, read_predictions

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Bools, Floats, Integers

MACRO: Final = "macro"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding, or the macro average, of two models."""

    n: int  # studies that have a label; of the average, all
    positives: int
    auc: float
    reference_auc: float
    difference: Measure  # auc - reference_auc
    p: float  # two-sided
    p_holm: float  # adjusted over the findings; NaN for the average


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model against a reference on the same studies."""

    model: str
    reference: str
    subset: str  # "all", or the views that the first model used
    studies: int
    patients: int
    findings: Mapping[str, Difference]
    macro: Difference


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a comparison."""

    name: str
    kind: str  # "model", "average" or "ensemble"
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What `compare_files` found."""

    models: tuple[Model, ...]
    comparisons: tuple[Comparison, ...]
    studies: int  # that all models and the labels have
    left_out: Mapping[str, int]  # model -> its studies that another model or the labels lack
    split: str  # "" where there is none


def measure_differences(
    probs: Floats, reference: Floats, truth: Floats, clusters: Integers, names: Sequence[str]
) -> tuple[dict[str, Difference], Difference]:
    """The differences of all findings, and of the macro average.

    Args:
        probs, reference: [n, F] of the two models.
        truth: [n, F] 1, 0, NaN.
        clusters: [n] code of each study's patient.
    """
    pairs: dict[str, tuple[Estimate, Estimate]] = {}
    plain: dict[str, Difference] = {}
    for column, name in enumerate(names):
        inside = ~np.isnan(truth[:, column])
        positive = truth[:, column] == 1
        if not positive.any() or positive.sum() == inside.sum():
            continue
        first, second = (
            _placed(model[:, column], positive, clusters, inside) for model in (probs, reference)
        )
        pairs[name] = first, second
        between = first.influence - second.influence
        freedom = degrees_of_freedom(between[inside], positive[inside], clusters[inside])
        sizes = int(inside.sum()), int(positive.sum())
        plain[name] = _difference(*sizes, first, second, clusters, freedom)
    adjusted = holm([row.p for row in plain.values()])
    found = {
        name: replace(row, p_holm=float(p))
        for (name, row), p in zip(plain.items(), adjusted, strict=True)
    }
    if not pairs:
        return found, Difference(len(truth), 0, NAN, NAN, UNDEFINED, NAN, NAN)
    means = [mean_of(side) for side in zip(*pairs.values(), strict=True)]
    positives = sum(row.positives for row in plain.values())
    return found, _difference(len(truth), positives, means[0], means[1], clusters, math.inf)


def _placed(probs: Floats, positive: Bools, clusters: Integers, inside: Bools) -> Estimate:
    """The AUC over the studies `inside`, with influence values for all."""
    found = estimate_auc(probs[inside], positive[inside], patients=clusters[inside])
    influence = np.zeros(len(inside))
    influence[inside] = found.influence
    return Estimate(found.value, influence)


def _difference(
    n: int, positives: int, first: Estimate, second: Estimate, clusters: Integers, freedom: float
) -> Difference:
    between = Estimate(first.value - second.value, first.influence - second.influence)
    measure = plain_interval(between, patients=clusters, freedom=freedom)
    bounded = Measure(measure.value, max(measure.low, -1.0), min(measure.high, 1.0))
    p = two_sided(between.value, between.variance(clusters), freedom)
    return Difference(n, positives, first.value, second.value, bounded, p, NAN)


def compare_files(
    models: Sequence[Path],
    labels: Path,
    *,
    id_column: str | None = None,
    patient: str | None = None,
    uncertain: str = "ignore",
    blank: str = "ignore",
    split: str = "",
    average: tuple[Path, Path] | None = None,
    ensemble: tuple[Path, Path] | None = None,
    resolve: Resolve = findings.resolve,
) -> Comparisons:
    """Compare the first model with each of the others, and with the two baselines.

    Args:
        models: prediction tables or run folders.
        labels: as for `load_labels`, with `id_column`, `uncertain` and `blank`.
        split: studies of this split alone; "" takes "test" where the first table has it.
        average: a frontal and a lateral model; the mean of their probabilities is a baseline.
        ensemble: two frontal models; likewise.

    Raises:
        InputError: a file cannot be read, or there is nothing to compare with.
    """
    pairs = (("average", average), ("ensemble", ensemble))
    wanted = [(kind, pair) for kind, pair in pairs if pair is not None]
    if len(models) + len(wanted) < 2:
        raise InputError("expected two models or more, or one with --average or --ensemble")
    described = _names([*models, *(path for _, pair in wanted for path in pair)])
    read: dict[Path, Predictions] = {}
    for path in described:
        read[path] = read_predictions(path, id_column=id_column, resolve=resolve)
    table = load_labels(
        labels,
        predictions=list(read.values()),
        id_column=id_column,
        uncertain=uncertain,
        blank=blank,
        resolve=resolve,
    )
    names = list(table.table.columns)
    entries: list[tuple[Model, list[str], Floats]] = []
    for path in models:
        own = read[path]
        ids, probs = blend(own, own, names)
        entries.append((Model(described[path], "model", (path,)), ids, probs))
    for kind, pair in wanted:
        first, second = pair
        ids, probs = blend(read[first], read[second], names)
        label = f"{kind} of {described[first]} and {described[second]}"
        entries.append((Model(label, kind, (first, second)), ids, probs))
    cases = join(read[models[0]], table, patient=patient)
    return _compare(cases, entries, split)


def _compare(
    cases: Cases, entries: Sequence[tuple[Model, list[str], Floats]], split: str
) -> Comparisons:
    """Compare on the studies that all models have."""
    cases, used = take_split(cases, split)
    places = [dict(zip(ids, range(len(ids)), strict=True)) for _, ids, _ in entries]
    common = np.array([all(i in place for place in places) for i in cases.ids], dtype=bool)
    if not common.any():
        names = ", ".join(model.name for model, _, _ in entries)
        raise InputError(f"{names}: no study that all of them have; expected the same ids")
    cases = cases.take(common)
    probs = [
        scores[[place[i] for i in cases.ids]]
        for (_, _, scores), place in zip(entries, places, strict=True)
    ]
    found = []
    for subset, inside in _subsets(cases):
        some = cases.take(inside)
        for (model, _, _), scores in zip(entries[1:], probs[1:], strict=True):
            rows, macro = measure_differences(
                probs[0][inside], scores[inside], some.truth, some.clusters, some.findings
            )
            sizes = len(some.ids), some.number_of_patients
            found.append(Comparison(entries[0][0].name, model.name, subset, *sizes, rows, macro))
    return Comparisons(
        tuple(model for model, _, _ in entries),
        tuple(found),
        len(cases.ids),
        {model.name: len(ids) - len(cases.ids) for model, ids, _ in entries},
        used,
    )


def _subsets(cases: Cases) -> list[tuple[str, Bools]]:
    """All studies; and those where the first model saw both views, where it did not always."""
    everything = np.ones(len(cases.ids), dtype=bool)
    if "views" not in cases.known:
        return [(ALL, everything)]
    both = (cases.known["views"] == BOTH).to_numpy()
    return [(ALL, everything)] + ([(BOTH, both)] if both.any() and not both.all() else [])


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A short name for each table: of its folder where all files are called the same."""
    distinct = list(dict.fromkeys(paths))
    for short in (_stem, lambda p: "/".join((p if p.is_dir() else p.with_suffix("")).parts[-2:])):
        names = [short(path) for path in distinct]
        if len(set(names)) == len(names):
            return dict(zip(distinct, names, strict=True))
    return {path: str(path) for path in distinct}


def _stem(path: Path) -> str:
    if path.name == FILE_NAME:
        path = path.absolute().parent  # the run's name
    return path.name if path.is_dir() else path.name.split(".")[0]
