"""Judging labelers on reviewed reports: fitted models, or kinds by cross-validation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.checks import one_of
from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING, POSITIVE, STATES
from cxrlabel.learned.backend import RULES, Backend
from cxrlabel.learned.crossval import CurvePoint, cross_validate, learning_curve, reviewed_columns
from cxrlabel.learned.judging import Judged, Score, judge, plain_row
from cxrlabel.learned.kinds import fit_linear, load_model, require_packages
from cxrlabel.learned.opening import read_checked_facts
from cxrlabel.writers import check_target, open_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.learned.crossval import Fit
    from cxrlabel.learned.material import Material

    Floats = NDArray[np.float64]

CROSS_VALIDATED: Final = ("bow", "hybrid")
ALL: Final = "all"
BINS: Final = 10  # of a calibration curve
_POSITIVE: Final = STATES.index(POSITIVE)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labels whose probability of positive is alike, over all findings but No Finding."""

    labeler: str
    predicted: float  # their mean
    observed: float  # share of them that reviewers call positive
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Labelers beside the rules."""

    judged: Judged
    calibration: tuple[CalibrationBin, ...]
    curve: tuple[CurvePoint, ...]
    how: str  # "by cross-validation in 5 folds", for the page
    notes: tuple[str, ...]

    def score(self, labeler: str, finding: str) -> Score:
        """One labeler on one finding."""
        wanted = labeler, finding
        return next(s for s in self.judged.scores if (s.labeler, s.finding) == wanted)


def evaluate_kinds(
    material: Material,
    kinds: Sequence[str],
    *,
    curve: Sequence[str] = (),
    folds: int,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Cross-validate kinds of labelers.

    Args:
        kinds: of `CROSS_VALIDATED`.
        curve: sizes of a learning curve, numbers or "all"; none leaves it out.
        progress: called with what is done next.

    Raises:
        InputError: an unknown kind, a size that is no number, or fewer reports than folds.
    """
    for kind in kinds:
        one_of("--kind", "value", kind, CROSS_VALIDATED)
        require_packages(kind)
    sizes = _sizes(curve, len(material.reviewed))
    fits: dict[str, Fit] = {kind: partial(_fit, kind, seed) for kind in kinds}
    probs = {}
    for kind, fit in fits.items():
        progress(f"cross-validating {kind}")
        probs[kind] = cross_validate(material, fit, folds=folds, seed=seed)
    points: list[CurvePoint] = []
    if sizes:
        points = learning_curve(material, fits, sizes, folds=folds, seed=seed, progress=progress)
    how = f"by cross-validation in {folds} folds, each report by a model that has not seen it"
    return _evaluation(material, probs, points, how, (), seed)


def evaluate_models(
    material: Material, backends: Sequence[str], labeling: LabelingOptions, *, seed: int
) -> Evaluation:
    """Judge fitted models on reports that none of them was fitted on.

    Args:
        backends: folders of models.

    Raises:
        InputError: a model cannot be read, or all reports are among those of a fit.
    """
    facts = {name: read_checked_facts(name, labeling) for name in backends}
    seen = {text for own in facts.values() for text in own.get("texts", ())}
    unseen = np.array([text not in seen for text in material.reviewed.texts])
    if not unseen.any():
        raise InputError(
            f"{', '.join(backends)}: fitted on all of these reports; expected others to judge by "
            "(or --kind, which cross-validates)"
        )
    held = material.take(unseen)
    names = _names(backends, facts)
    probs = {}
    for name, folder in names.items():
        own = facts[folder]
        model = load_model(Path(folder), own, held.labeler)
        table = np.array(own.get("table") or np.eye(len(STATES)), dtype=np.float64)
        backend = Backend(held.labeler, (model,), False, "average", table)
        probs[name] = backend.probs(held.readings, held.rules)[:, reviewed_columns(held)]
    known = int((~unseen).sum())
    notes = (f"{known:,} reports are among those of a fit and are left out",) if known else ()
    return _evaluation(held, probs, (), "on reports that they were not fitted on", notes, seed)


def write_evaluation(folder: Path, found: Evaluation, *, force: bool = False) -> Path:
    """Write scores.csv, evaluation.json, the page and, where there is one, curve.csv.

    Returns:
        The page.

    Raises:
        InputError: a file exists and `force` is not set.
    """
    from cxrlabel.learned.page import evaluation_page

    page = folder / "index.html"
    tables: dict[str, Sequence[Any]] = {"scores": found.judged.scores}
    if found.curve:
        tables["curve"] = found.curve
    paths = [page, folder / "evaluation.json", *(folder / f"{name}.csv" for name in tables)]
    for path in paths:
        check_target(path, force=force)
    for name, rows in tables.items():
        write_rows(folder / f"{name}.csv", [plain_row(row) for row in rows], force=force)
    content = {
        "how": found.how,
        "scores": [plain_row(score) for score in found.judged.scores],
        "differences": [plain_row(one) for one in found.judged.differences],
        "calibration": [plain_row(one) for one in found.calibration],
        "curve": [plain_row(one) for one in found.curve],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    page.write_text(evaluation_page(found), encoding="utf-8")
    return page


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, force: bool) -> None:
    """A table of equal rows; numbers are numbers, and None is blank."""
    kinds = {
        name: next((type(row[name]) for row in rows if row[name] is not None), float)
        for name in rows[0]
    }
    with open_rows(path, kinds, force=force) as file:
        file.write([tuple(row.values()) for row in rows])


def _fit(kind: str, seed: int, material: Material) -> Any:
    return fit_linear(kind, material, seed=seed)


def _evaluation(
    material: Material,
    probs: Mapping[str, Floats],
    curve: Sequence[CurvePoint],
    how: str,
    notes: Sequence[str],
    seed: int,
) -> Evaluation:
    states = {RULES: material.rules[:, reviewed_columns(material)]}
    states |= {name: own.argmax(axis=-1).astype(np.uint8) for name, own in probs.items()}
    positive = {name: own[..., _POSITIVE] for name, own in probs.items()}
    judged = judge(material.reviewed, states, positive, seed=seed)
    bins = [one for name, own in positive.items() for one in _calibration(material, name, own)]
    return Evaluation(judged, tuple(bins), tuple(curve), how, tuple(notes))


def _calibration(material: Material, name: str, positive: Floats) -> list[CalibrationBin]:
    pooled = [finding != NO_FINDING for finding in material.reviewed.findings]
    predicted = positive[:, pooled].ravel()
    observed = material.reviewed.shares[:, pooled, _POSITIVE].ravel()
    place = np.minimum((predicted * BINS).astype(int), BINS - 1)
    return [
        CalibrationBin(
            name, float(predicted[own].mean()), float(observed[own].mean()), int(own.sum())
        )
        for number in range(BINS)
        if (own := place == number).any()
    ]


def _sizes(curve: Sequence[str], reports: int) -> list[int]:
    sizes = []
    for size in curve:
        if size != ALL and not (size.isdecimal() and int(size) > 0):
            raise InputError(f"--curve: {size!r}; expected numbers of reports, or all")
        sizes.append(reports if size == ALL else int(size))
    return sorted(set(sizes))


def _names(backends: Sequence[str], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name -> folder: the kind, or the folder's name where two are of one kind."""
    kinds = [facts[name]["kind"] for name in backends]
    return {
        kind if kinds.count(kind) == 1 else Path(name).name: name
        for name, kind in zip(backends, kinds, strict=True)
    }
