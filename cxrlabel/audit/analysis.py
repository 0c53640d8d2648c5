"""What an audit finds: all tables and estimates of labels against a manual review."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.agreement import chexpert_tasks, reader_errors, reviewer_agreement
from cxrlabel.audit.compare import READINGS, Cells, Comparison, cells_of
from cxrlabel.audit.consensus import truth_values
from cxrlabel.audit.deciding import Label, known_labels
from cxrlabel.audit.disagreements import find_disagreements
from cxrlabel.audit.error_sources import SourceRow, by_decision, by_group, make_groups
from cxrlabel.audit.estimates import (
    Estimate,
    estimate_cells,
    estimate_findings,
    metrics_table,
)
from cxrlabel.audit.lessons import Lesson, learn
from cxrlabel.audit.observation import Observation
from cxrlabel.audit.observe import observe
from cxrlabel.audit.report_inputs import Choices, Material, Sources
from cxrlabel.audit.reviews import ADJUDICATED
from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING
from cxrlabel.formats import hash_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDITED: Final = "labels"  # the audited labels among the readers of reader_errors.csv
REVIEWER: Final = "reviewer"  # a reviewer without a name
LENGTH: Final = "report length in words"


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """All that an audit found; tables are empty where they have nothing to say."""

    material: Material
    choices: Choices
    overall: Mapping[str, Estimate]  # by reading of uncertain, over all findings but No Finding
    metrics: pd.DataFrame
    observation: Observation
    tasks: pd.DataFrame
    agreement: pd.DataFrame
    reader_errors: pd.DataFrame
    consensus: pd.DataFrame
    labels: list[Label]
    disagreements: list[Label]
    sources: list[SourceRow]
    lessons: list[Lesson]
    record: Mapping[str, Any]  # how it was made

    @property
    def comparison(self) -> Comparison:
        """Labels beside truth."""
        return self.material.comparison


def make_audit(material: Material, choices: Choices, *, sources: Sources, seed: int = 0) -> Audit:
    """Estimate all that the report shows.

    Raises:
        InputError: a labeler is called as a reviewer is.
    """
    comparison = material.comparison
    labels = known_labels(comparison, material.mentions)
    rates, consensus = _readers(material, choices, seed)
    patients = comparison.patients
    rows = by_decision(labels, patients) if material.mentions is not None else []
    rows += by_group(labels, _groups(material), patients, seed=seed)
    observation = observe(comparison, seed=seed)
    return Audit(
        material=material,
        choices=choices,
        overall={reading: estimate_cells(_stacked(comparison, reading)) for reading in READINGS},
        metrics=metrics_table(estimate_findings(comparison, seed=seed)),
        observation=observation,
        tasks=chexpert_tasks(comparison, seed=seed),
        agreement=reviewer_agreement(_readings(material, choices)),
        reader_errors=rates,
        consensus=consensus,
        labels=labels,
        disagreements=find_disagreements(labels),
        sources=rows,
        lessons=learn(observation, seed=seed),
        record=_record(material, choices, sources, seed),
    )


def _readings(material: Material, choices: Choices) -> pd.DataFrame:
    return truth_values(
        material.reviews,
        blank=choices.blank,
        uncertain=choices.uncertain,
        open_ambiguous=choices.drop_ambiguous,
    )


def _readers(material: Material, choices: Choices, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Error rates of reviewers and labelers, and the consensus; empty where only one has read."""
    reviewers = [name or REVIEWER for name in material.reviews.reviewers]
    taken = {AUDITED, *material.labelers} & set(reviewers)
    if AUDITED in material.labelers or taken:
        name = min(taken or {AUDITED})
        raise InputError(f"--labeler: {name!r} is the name of another reader; expected its own")
    if len(reviewers) < 2 and not material.labelers:
        return pd.DataFrame(), pd.DataFrame()
    readings = _readings(material, choices)
    findings = [name for name in readings.columns if name in material.comparison.findings]
    readings = readings[findings].rename(index={"": REVIEWER}, level=1)
    labelers = {AUDITED: material.comparison.labels, **material.labelers}
    rates, probability = reader_errors(readings, labelers, seed=seed)
    return rates, _consensus(readings, probability, material.comparison)


def _consensus(
    readings: pd.DataFrame, probability: pd.DataFrame, comparison: Comparison
) -> pd.DataFrame:
    """One row per reviewed study and finding."""
    readings = readings[readings.index.get_level_values(1) != ADJUDICATED]
    ids = readings.index.get_level_values(0)
    read, positive = readings.notna().groupby(ids).sum(), (readings == 1).groupby(ids).sum()
    truth = comparison.review.truth
    parts = []
    for finding in readings.columns:
        known = probability[finding] if finding in probability else pd.Series(dtype=float)
        part = pd.DataFrame(
            {
                "finding": finding,
                "readings": read[finding].reindex(truth.index),
                "positive": positive[finding].reindex(truth.index),
                "truth": truth[finding],
                "probability": known.reindex(truth.index),
            }
        )
        parts.append(part)
    return pd.concat(parts)


def _groups(material: Material) -> dict[str, pd.Series]:
    """The groups of the studies compared, the report's length among them."""
    groups = {name: make_groups(values) for name, values in material.groups.items()}
    if material.reports is not None:
        texts = material.reports.texts
        words = [
            str(sum(len(text.split()) for _, text in texts[study])) if study in texts else ""
            for study in material.comparison.labels.index
        ]
        lengths = pd.Series(words, index=material.comparison.labels.index, dtype=object)
        groups[LENGTH] = make_groups(lengths)
    return groups


def _stacked(comparison: Comparison, reading: Any) -> Cells:
    """The labels of all findings but No Finding as one; those of a patient or study together."""
    findings = [name for name in comparison.findings if name != NO_FINDING] or [NO_FINDING]
    parts = [(cells_of(comparison, name, reading), name) for name in findings]
    truths = [~comparison.truth[name].isna().to_numpy() for name in findings]
    studies = np.arange(len(comparison.labels), dtype=np.int64)
    clusters = studies if comparison.patients is None else comparison.patients
    stacked = Cells(
        label=np.concatenate([part.label for part, _ in parts]),
        truth=np.concatenate([part.truth for part, _ in parts]),
        strata=None,
        sizes=None,
        patients=np.concatenate([clusters[known] for known in truths]),
    )
    if comparison.strata is None or comparison.sizes is None:
        return stacked
    strata = np.concatenate([comparison.strata[known] for known in truths])
    return dataclasses.replace(stacked, strata=strata, sizes=_label_sizes(comparison, strata))


def _label_sizes(comparison: Comparison, strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels of each stratum in the population, where it has n of them in the sample."""
    if comparison.strata is None or comparison.sizes is None:
        raise ValueError("expected a stratified sample")
    sizes = comparison.sizes
    reviewed = np.bincount(comparison.strata, minlength=len(sizes))
    cells = np.bincount(strata, minlength=len(sizes))
    per_study = np.divide(cells, reviewed, out=np.ones(len(sizes)), where=reviewed > 0)
    return np.rint(sizes * per_study).astype(np.int64)


def _record(material: Material, choices: Choices, sources: Sources, seed: int) -> dict[str, Any]:
    files = [(path, *hash_input(path)) for path in material.paths]
    return {
        "version": version("cxr"),
        "options": {
            **dataclasses.asdict(choices),
            "reference": material.reviews.reference,
            "patient": sources.patient,
            "by": list(sources.by),
            "labelers": list(sources.labelers),
            "seed": seed,
        },
        "inputs": [
            {"path": path.name, "sha256": sha256, "bytes": size} for path, sha256, size in files
        ],
    }
