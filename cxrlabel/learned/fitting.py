"""Fitting a labeler: cross-validated, calibrated by what that says, then fitted on all reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.findings import STATES
from cxrlabel.learned.card import model_card
from cxrlabel.learned.classes import MIN_REVIEWED, told_apart
from cxrlabel.learned.crossval import cross_validate, reviewed_columns
from cxrlabel.learned.judging import MICRO, Judged, judge, plain_row
from cxrlabel.learned.kinds import fit_linear
from cxrlabel.learned.material import pooled_table
from cxrlabel.learned.storage import new_folder, write_facts
from cxrlabel.rulefiles import read_rule_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.chunks import LabelingOptions
    from cxrlabel.learned.kinds import Fitted
    from cxrlabel.learned.material import Material

    Floats = NDArray[np.float64]

FOLDS: Final = 5
_POSITIVE: Final = 0  # place in STATES
_EDGE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FittedLabeler:
    """A model, what it was made of, and how it did on reports that it had not seen."""

    model: Fitted
    judged: Judged | None  # the rules and the model; None where nothing was reviewed
    facts: Mapping[str, Any]

    @property
    def by_rules(self) -> Mapping[str, str]:
        """The findings that were not learned, with the reason."""
        reasons: Mapping[str, str] = self.facts["by_rules"]
        return reasons

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the model's folder.

        Raises:
            InputError: as of `storage.new_folder`.
        """
        with new_folder(path, force=force) as folder:
            facts = {**self.facts, **self.model.save(folder)}
            write_facts(folder, facts, model_card(facts))


def fit_labeler(
    material: Material,
    kind: str,
    labeling: LabelingOptions,
    *,
    seed: int = 1,
    folds: int = FOLDS,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedLabeler:
    """Fit a labeler of linear heads on reviewed reports.

    Args:
        kind: "bow" or "hybrid".
        labeling: how the rules read the reports, as the material was made with.
        seed: of folds and all that is drawn.
        folds: of the cross-validation.
        progress: called with what is done next.

    Raises:
        InputError: an unknown kind, or fewer reports than folds.
    """
    done = 0

    def fit(some: Material) -> Fitted:
        nonlocal done
        done += 1
        progress(f"fit {done} of {folds + 1}")
        return fit_linear(kind, some, seed=seed)

    probs = cross_validate(material, fit, folds=folds, seed=seed)
    slope = calibration_slope(material, probs)
    model = fit(material).calibrated(slope)
    probs = _sloped(probs, slope)
    judged = judge_beside_rules(material, kind, probs, seed=seed)
    return FittedLabeler(model, judged, _facts(material, model, labeling, judged, folds, seed))


def judge_beside_rules(material: Material, name: str, probs: Floats, *, seed: int = 0) -> Judged:
    """Judge a labeler and the rules on the same reports.

    Args:
        probs: [N, F, 4] of the labeler for the reviewed findings.
    """
    rules = material.rules[:, reviewed_columns(material)]
    states = {"rules": rules, name: probs.argmax(axis=-1).astype(np.uint8)}
    return judge(material.reviewed, states, {name: probs[..., _POSITIVE]}, seed=seed)


def calibration_slope(material: Material, probs: Floats) -> float:
    """The number by which all log odds are to be multiplied: below 1 where they are too sure.

    One for all findings, by maximum likelihood (Cox 1958; temperature scaling, Guo et al. 2017).

    Args:
        probs: [N, F, 4] of reports that the models had not seen.
    """
    from scipy.optimize import minimize_scalar

    reviewed = material.reviewed
    logs, shares = [], []
    for column in range(len(reviewed.findings)):
        own = told_apart(reviewed.shares[:, column].sum(axis=0), reviewed.used)
        if own is not None:
            logs.append(np.log(np.clip(own.merge(probs[:, column]), _EDGE, 1)))
            shares.append(own.merge(reviewed.shares[:, column]))
    if not logs:
        return 1.0

    def loss(slope: float) -> float:
        return -sum(
            float((share * (slope * log - np.logaddexp.reduce(slope * log, axis=1)[:, None])).sum())
            for log, share in zip(logs, shares, strict=True)
        )

    return float(minimize_scalar(loss, bounds=(0.2, 2.0), method="bounded").x)


def _sloped(probs: Floats, slope: float) -> Floats:
    powers = np.where(probs > 0, np.clip(probs, _EDGE, 1) ** slope, 0)
    sloped: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return sloped


def reviewed_facts(material: Material, judged: Judged) -> dict[str, Any]:
    """What a model was fitted on and how it did, as every kind says it."""
    reviewed = material.reviewed
    counts = reviewed.shares.sum(axis=0)
    return {
        "reference": reviewed.reference,
        "reports": len(reviewed),
        "reviewed": {
            name: {
                state: round(float(count), 2)
                for state, count in zip(STATES, counts[column].tolist(), strict=True)
            }
            for column, name in enumerate(reviewed.findings)
        },
        "table": pooled_table(material).round(6).tolist(),
        "scores": [plain_row(score) for score in judged.scores],
        "gain": [asdict(difference) for difference in judged.differences],
    }


def _facts(
    material: Material,
    model: Fitted,
    labeling: LabelingOptions,
    judged: Judged,
    folds: int,
    seed: int,
) -> dict[str, Any]:
    reviewed = material.reviewed
    few = f"fewer than {MIN_REVIEWED} reviewed reports with it, or without it"
    by_rules = {
        name: few if name in reviewed.findings else "not reviewed"
        for name in material.labeler.findings
        if name not in model.findings
    }
    return {
        "kind": model.kind,
        "version": version("cxr"),
        "rules_hash": read_rule_files(labeling.rules, lang=labeling.lang).hash,
        "labeling": asdict(labeling),
        "seed": seed,
        "folds": folds,
        "by_rules": by_rules,
        "texts": sorted(set(reviewed.texts)),
        **reviewed_facts(material, judged),
    }


def summary(fitted: FittedLabeler) -> str:
    """One line: micro-F1 of the model and of the rules on reports that it had not seen."""
    kind, judged = fitted.model.kind, fitted.judged
    if judged is None:
        return f"{kind}: fitted on labels of the rules, not judged by reviews"
    own, rules = judged.micro(kind), judged.micro("rules")
    gain = judged.differences[0]
    return (
        f"{MICRO}-F1 on {own.n:,} reports that it had not seen: {kind} "
        f"{own.f1:.3f} [{own.f1_lo:.3f}, {own.f1_hi:.3f}], rules {rules.f1:.3f} "
        f"[{rules.f1_lo:.3f}, {rules.f1_hi:.3f}], difference {gain.value:+.3f} "
        f"[{gain.lo:+.3f}, {gain.hi:+.3f}]"
    )
