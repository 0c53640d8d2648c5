"""What a run knows of the error of its labels: tables, the method that uses them, what to mind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.audit.observation import read_observation
from cxrlabel.errors import InputError
from cxrvision.noise.audited import read_audited
from cxrvision.noise.correction import BY_TABLE, correct, mix, pick, values_by_state
from cxrvision.noise.shift import prevalences, shift_tables
from cxrvision.noise.tables import REPORT, draw_tables, make_tables
from cxrvision.train.noise_losses import CO_TEACHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlabel.audit.observation import Observation
    from cxrvision.noise.audited import Audited
    from cxrvision.noise.tables import ErrorTables, Floats
    from cxrvision.targets import Targets
    from cxrvision.train.config import TrainConfig
    from cxrvision.train.review import Review
    from cxrvision.train.studies import Studies

_LEFT_OUT: Final[Mapping[str, str]] = {
    REPORT: "the audit's reference is the report: what reports leave out of the image, or see in "
    "it wrongly, is not corrected (--noise-report with --noise-image composes both errors)",
    "": "the audit does not say what its reference was, the report or the image",
}


@dataclass(frozen=True, slots=True, eq=False)
class LabelError:
    """The error of the labels, as a run uses it."""

    method: str  # of `config.NOISE_METHODS`, not "auto"
    tables: ErrorTables | None  # None where no audit is given
    by_site: Mapping[str, ErrorTables]  # with --noise-shift site; other sites have `tables`
    draws: tuple[ErrorTables, ...]  # of the posterior, with --noise-draws
    record: Mapping[str, Any]  # for run.json
    notes: tuple[str, ...]

    def numbers(self, studies: Studies) -> Floats:
        """[N, F] the number that stands for each label, by its site's table where it has one."""
        if self.tables is None:
            raise ValueError(f"method {self.method!r} without a table")
        numbers = label_numbers(studies, self.tables, self.method)
        for site, tables in self.by_site.items():
            rows = np.flatnonzero(studies.sites == site)
            numbers[rows] = label_numbers(studies.take(rows), tables, self.method)
        return numbers

    def correct(
        self,
        targets: Targets,
        studies: Studies,
        *,
        review: Review | None = None,
        evidence: Floats | None = None,
    ) -> Targets:
        """The targets of these studies with the error in them; reviewed ones have their truth.

        Args:
            evidence: [N, F] what features of the labels add, in log odds.
        """
        if self.method not in BY_TABLE:
            return targets
        return correct(
            targets,
            self.numbers(studies),
            self.method,
            evidence=evidence,
            truth=None if review is None else review.truth,
        )


def label_numbers(studies: Studies, tables: ErrorTables, method: str) -> Floats:
    """[N, F] what stands for the labels of studies: of their states, or of their probabilities."""
    if studies.label_probs is not None:
        return mix(tables, method, studies.label_probs)
    return pick(values_by_state(tables, method), studies.states)


def read_label_error(config: TrainConfig, studies: Studies) -> LabelError:
    """Read the tables of a config.

    Args:
        studies: those that are trained on; their labels' states tell of their prevalences.

    Raises:
        InputError: a file is wrong, or no finding has a table that can be used.
    """
    method = config.chosen_noise_method
    labels, image = _read(config) if method in (*BY_TABLE, CO_TEACHING) else (None, None)
    if labels is None:
        return LabelError(method, None, {}, (), {"method": method}, ())
    findings = studies.findings
    tables = make_tables(labels, findings, image=image)
    if not tables.known.any():
        name, reason = next(iter(tables.without.items()))
        raise InputError(
            f"{config.noise or config.noise_report}: no finding of the run has a table to use "
            f"({name}: {reason}); expected one, or --noise-method none"
        )
    notes = [_LEFT_OUT[tables.reference]] if tables.reference in _LEFT_OUT else []
    if tables.without:
        fallback = ", ".join(f"{name} ({why})" for name, why in tables.without.items())
        notes.append(f"trained by the label policy, for want of a table: {fallback}")
    shifts: dict[str, Any] = {}
    by_site: dict[str, ErrorTables] = {}
    if config.noise_shift != "none":
        measured = image or labels
        for site, rows in _groups(studies, by_site=config.noise_shift == "site").items():
            moved, found, warnings = shift_tables(
                tables, measured, studies.states[rows], place=site or "the studies trained on"
            )
            shifts[site or "all"] = prevalences(found)
            notes += warnings
            if site:
                by_site[site] = moved
            else:
                tables = moved
    rng = np.random.default_rng([config.seed, config.noise_draws])
    drawn = draw_tables(labels, findings, rng, config.noise_draws, image=image)
    record = {
        "method": method,
        "tables": {name: short_hash(path) for name, path in _paths(config).items()},
        "reference": tables.reference,
        "without": dict(tables.without),
        "prevalence": {
            name: round(float(share), 5)
            for name, share in zip(findings, tables.prevalence, strict=True)
            if name not in tables.without
        },
        "shift": shifts,
        "notes": notes,
    }
    return LabelError(
        method,
        tables,
        by_site,
        tuple(one.at(np.where(tables.shifted, tables.prevalence, np.nan)) for one in drawn),
        record,
        tuple(notes),
    )


def read_review(config: TrainConfig, error: LabelError) -> Audited | None:
    """The manual review of a config; None without one.

    Raises:
        InputError: it cannot be read, or its reference is not that of the table.
    """
    if not config.manual:
        return None
    audited = read_audited(
        config.manual, sample=config.sample or None, reference=config.reference or None
    )
    tables = error.tables
    if tables is not None and tables.reference not in ("", audited.reference):
        raise InputError(
            f"{config.manual}: a review of the {audited.reference}, and the table's reference is "
            f"the {tables.reference}; expected one reference, they are two different errors"
        )
    return audited


def _read(config: TrainConfig) -> tuple[Observation | None, Observation | None]:
    """The audit of the labels, and the one of the reports where two are composed."""
    if config.noise:
        return read_observation(config.noise), None
    if config.noise_report:
        return read_observation(config.noise_report), read_observation(config.noise_image)
    return None, None


def _paths(config: TrainConfig) -> dict[str, str]:
    named = {
        "noise": config.noise,
        "noise_report": config.noise_report,
        "noise_image": config.noise_image,
    }
    return {name: path for name, path in named.items() if path}


def _groups(studies: Studies, *, by_site: bool) -> dict[str, Any]:
    """The studies by site; "" are all of them."""
    if not by_site:
        return {"": slice(None)}
    return {str(site): studies.sites == site for site in sorted(set(studies.sites)) if site}


def short_hash(path: str) -> str:
    """What run.json knows a file by."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
