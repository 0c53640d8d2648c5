"""The audit of an evaluation: which of the evaluated studies were reviewed, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel import findings
from cxrlabel.audit.observation import Observation, read_observation
from cxrlabel.errors import InputError
from cxrlabel.tables import Resolve
from cxrvision.evaluate.audit_measures import (
    AuditEstimates,
    AuditMeasures,
    measure_audit,
    not_reviewed,
)
from cxrvision.evaluate.estimates import (
    NAN,
    UNDEFINED,
    Estimate,
    Measure,
    mean_of,
    share_interval,
)
from cxrvision.evaluate.operating import AUDITED, Threshold, choose_threshold
from cxrvision.evaluate.sampled import Sampled, sample_of
from cxrvision.noise.audited import Audited, read_audited

if TYPE_CHECKING:
    from cxrvision.evaluate.cases import Cases

ENOUGH: Final = 20.0  # effective audited positives that a threshold may be chosen on
REFERENCES: Final[Mapping[str, str]] = {
    "image": "truth is what the reviewers saw in the image",
    "report": (
        "truth is what the reviewers read in the report: what the report misses of the image is "
        "left out"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class AuditFiles:
    """The manual review, and the observation table where one is given."""

    audited: Audited
    observation: Observation | None
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """What the audited studies say of all findings."""

    files: AuditFiles
    studies: int  # reviewed ones among the evaluated
    findings: Mapping[str, AuditMeasures]
    averaged: int  # findings with an audited AUC
    auc_audited: Measure  # averages over these
    auc_doubly_robust: Measure  # over those that have one

    @property
    def reference(self) -> str:
        """What the reviewers looked at, "report" or "image"."""
        return self.files.audited.reference

    @property
    def rates_from(self) -> str:
        """What says how good the labels are."""
        return "audited studies" if self.files.observation is None else "observation table"


def read_audit(
    manual: Path | None,
    *,
    sample: Path | None = None,
    noise: Path | None = None,
    reference: str | None = None,
    id_column: str | None = None,
    resolve: Resolve = findings.resolve,
) -> AuditFiles | None:
    """Read the files of an audit; None without a manual review.

    Args:
        sample: how the reviewed studies were drawn.
        noise: an observation table, of whose rates corrections are made.
        reference, id_column, resolve: as in `cxrvision.noise.audited.read_audited`.

    Raises:
        InputError: an option that needs --manual stands without it, a file cannot be read, or the
            table is of the other reference.
    """
    if manual is None:
        for option, value in (("sample", sample), ("noise", noise), ("reference", reference)):
            if value is not None:
                raise InputError(f"--{option}: expected --manual with it, the review it is about")
        return None
    audited = read_audited(
        manual, sample=sample, reference=reference, id_column=id_column, resolve=resolve
    )
    observation = None if noise is None else read_observation(noise)
    if observation is not None and observation.reference not in ("", audited.reference):
        raise InputError(
            f"{noise}: errors against the {observation.reference}; expected those against the "
            f"{audited.reference}, as in {manual}"
        )
    return AuditFiles(audited, observation, (*audited.paths, *([noise] if noise else [])))


def sampled_of(files: AuditFiles, finding: str, cases: Cases) -> Sampled | None:
    """The audited studies of a finding among these; None where it was not reviewed."""
    if finding not in files.audited.truth:
        return None
    return sample_of(files.audited.reviewed(finding), cases.ids)


def choose_audited_threshold(
    files: AuditFiles, cases: Cases, column: int, sensitivity: float
) -> Threshold | None:
    """A threshold chosen on the audited studies; None where there are too few of them.

    Args:
        column: of the finding.
        sensitivity: wanted, in (0, 1).
    """
    sampled = sampled_of(files, cases.findings[column], cases)
    if sampled is None or sampled.effective(cases.patients)[0] < ENOUGH:
        return None
    return choose_threshold(
        cases.probs[sampled.rows, column],
        sampled.truth,
        sensitivity,
        patients=cases.clusters[sampled.rows],
        weights=sampled.weights,
        on=AUDITED,
    )


def measure_audited(files: AuditFiles, cases: Cases, thresholds: Mapping[str, Threshold]) -> Audit:
    """Measure all findings on the audited studies among these.

    Raises:
        InputError: none of the evaluated studies was reviewed.
    """
    studies = int(files.audited.truth.index.isin(cases.ids).sum())
    if not studies:
        raise InputError(
            f"{files.paths[0]}: none of its {len(files.audited.truth)} studies is evaluated; "
            "expected some of the same ids (of this split)"
        )
    found: dict[str, AuditEstimates] = {}
    for column, finding in enumerate(cases.findings):
        sampled = sampled_of(files, finding, cases)
        if sampled is None:
            found[finding] = not_reviewed(files.audited.reference)
            continue
        chosen = thresholds.get(finding)
        table = None
        if files.observation is not None:
            table = files.observation.findings.get(finding)
        found[finding] = measure_audit(
            cases.probs[:, column],
            cases.states[:, column],
            cases.truth[:, column],
            sampled,
            reference=files.audited.reference,
            threshold=NAN if chosen is None else chosen.value,
            patients=cases.patients,
            table=table,
        )
    audited = [some.audited for some in found.values() if some.audited is not None]
    robust = [some.robust for some in found.values() if some.robust is not None]
    return Audit(
        files,
        studies,
        {name: some.measures for name, some in found.items()},
        len(audited),
        _average(audited, cases),
        _average(robust, cases),
    )


def _average(estimates: list[Estimate], cases: Cases) -> Measure:
    if not estimates:
        return UNDEFINED
    mean = mean_of(estimates)
    value = float(np.clip(mean.value, 0, 1))
    bounded = Estimate(value, mean.influence, mean.extra)
    return share_interval(bounded, patients=cases.patients)
