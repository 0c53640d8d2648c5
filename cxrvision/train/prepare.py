"""What a run is made of: studies by split, their pixels and targets, and a record of the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.tables import read_labels
from cxrvision.data.cache import open_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.data.splits import split_hash
from cxrvision.evaluate.predictions import read_predictions
from cxrvision.targets import Targets, make_soft_targets, make_targets
from cxrvision.train.label_error import LabelError, read_label_error, read_review, short_hash
from cxrvision.train.label_evidence import find_evidence
from cxrvision.train.label_probs import read_label_probs
from cxrvision.train.pixels import FilePixels, PixelSource, cached_pixels
from cxrvision.train.review import Review, find_review, judging_note
from cxrvision.train.studies import Studies, make_studies

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from cxrvision.data.cache import Cache
    from cxrvision.data.manifest import Manifest
    from cxrvision.train.config import TrainConfig

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The studies of one split with pixels and targets."""

    studies: Studies
    pixels: PixelSource
    targets: Targets  # what the loss sees, with the error of the labels in it
    labels: Targets  # of the policy alone
    review: Review | None = None
    evidence: NDArray[np.float64] | None = None  # [N, F] of the labels' features, in log odds


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Everything that a run reads."""

    parts: Mapping[str, Part]  # by split; "val" and "test" only where they have studies
    findings: tuple[str, ...]
    record: Mapping[str, Any]  # hashes and counts, for run.json
    left_out: tuple[str, ...]
    notes: tuple[str, ...]  # what to mind of the labels' error
    error: LabelError


def read_inputs(config: TrainConfig) -> Inputs:
    """Read manifest, labels and cache.

    Raises:
        InputError: a file is wrong, no study is of the split `train`, or a finding has no label
            with a target in it.
    """
    manifest = read_manifest(Path(config.studies))
    read = read_labels(Path(config.labels), resolve=resolve)
    labels = read.table
    cache = _open_cache(config)
    studies = make_studies(
        manifest,
        labels,
        findings=_findings(config, labels),
        views=config.views,
        features=config.features,
        usable=None if cache is None else cache.find(manifest.table["image_id"].to_numpy()) >= 0,
        silent=read.silent,
    )
    if config.label_probs:
        probs = read_label_probs(Path(config.label_probs), studies.ids, studies.findings)
        studies = replace(studies, label_probs=probs)
    by_split = {split: own for split in SPLITS if len(own := studies.of_split(split))}
    if "train" not in by_split:
        raise InputError(
            f"{config.studies}: no study of the split 'train'; expected a column 'split' with "
            "train, val and test (`cxr data index` makes one)"
        )
    error = read_label_error(config, by_split["train"])
    audited = read_review(config, error)
    reviews: dict[str, Review] = {}
    if audited is not None:
        reviews = {split: find_review(audited, own) for split, own in by_split.items()}
    evidence = None
    if config.noise_mentions and error.tables is not None:
        evidence = find_evidence(config, error.tables, by_split, reviews)
    parts = {}
    for split, own in by_split.items():
        by_policy = make_study_targets(own, config)
        review = reviews.get(split)
        more = None if evidence is None else evidence.by_split[split]
        targets = error.correct(by_policy, own, review=review, evidence=more)
        pixels = read_pixels(own, config, cache)
        parts[split] = Part(own, pixels, targets, by_policy, review, more)
    _check_targets(parts["train"], config.labels)
    record = {**_record(config, manifest, cache, parts), "noise": dict(error.record)}
    notes = list(error.notes)
    if evidence is not None:
        record["noise"]["features"] = dict(evidence.record)
        notes.append(evidence.note)
    if judged := judging_note(parts.get("val"), studies.findings):
        notes.append(judged)
    return Inputs(parts, studies.findings, record, studies.left_out, tuple(notes), error)


def make_study_targets(studies: Studies, config: TrainConfig) -> Targets:
    """The targets of some studies under the policies of a config."""
    policies = dict(item.split("=", 1) for item in config.policies)
    per_finding = {_own(name, "--policy"): policy for name, policy in policies.items()}
    if studies.label_probs is not None:
        return make_soft_targets(
            studies.label_probs,
            findings=studies.findings,
            uncertain=config.uncertain,
            blank=config.blank,
            per_finding=per_finding,
            seed=config.seed,
        )
    return make_targets(
        studies.states,
        findings=studies.findings,
        uncertain=config.uncertain,
        blank=config.blank,
        per_finding=per_finding,
        probs=_teacher_probs(studies, config) if config.teacher else None,
        seed=config.seed,
    )


def _teacher_probs(studies: Studies, config: TrainConfig) -> NDArray[np.float64]:
    """[N, F] what another model predicts for these studies."""
    found = read_predictions(Path(config.teacher))
    rows = found.rows_of()
    missing = [study for study in studies.ids if study not in rows]
    lacking = [name for name in studies.findings if name not in found.findings]
    if missing or lacking:
        what = f"study {missing[0]!r}" if missing else f"finding {lacking[0]!r}"
        raise InputError(
            f"{config.teacher}: no prediction for the {what}; expected all that are trained on"
        )
    columns = [found.findings.index(name) for name in studies.findings]
    return found.probs[[rows[study] for study in studies.ids]][:, columns]


def read_pixels(studies: Studies, config: TrainConfig, cache: Cache | None) -> PixelSource:
    """Where the images of these studies come from."""
    if cache is not None:
        return cached_pixels(studies, cache, place=config.cache)
    return FilePixels(studies.paths, config.size, config.fit)


def _open_cache(config: TrainConfig) -> Cache | None:
    if not config.cache:
        return None
    cache = open_cache(Path(config.cache))
    if cache.size != config.size:
        raise InputError(f"{config.cache}: images of {cache.size} pixels; expected {config.size}")
    if cache.fit != config.fit:
        raise InputError(
            f"{config.cache}: made with --fit {cache.fit}, and the run has --fit {config.fit}; "
            "expected the same"
        )
    return cache


def _findings(config: TrainConfig, labels: pd.DataFrame) -> tuple[str, ...]:
    if not config.findings:
        return tuple(map(str, labels.columns))
    return tuple(_own(name, "--findings") for name in config.findings)


def _own(name: str, option: str) -> str:
    finding = resolve(name)
    if finding is None:
        raise InputError(f"{option}: unknown finding {name!r}")
    return finding


def _check_targets(part: Part, place: str) -> None:
    """Say which findings cannot be learned because all their targets are alike."""
    alike = {}
    for column, finding in enumerate(part.studies.findings):
        values = part.targets.values[part.targets.mask[:, column] > 0, column]
        if not len(values) or (values == values[0]).all():
            alike[finding] = f"the target {values[0]:g} alone" if len(values) else "no target"
    if alike:
        (first, found), *more = alike.items()
        others = f" (and so have {', '.join(name for name, _ in more)})" if more else ""
        raise InputError(
            f"{place}: {first!r} has {found} in the split 'train'; leave it out by "
            f"--findings{others}"
        )


def _record(
    config: TrainConfig, manifest: Manifest, cache: Cache | None, parts: Mapping[str, Part]
) -> dict[str, Any]:
    return {
        "labels": short_hash(config.labels),
        "label_probs": short_hash(config.label_probs) if config.label_probs else "",
        "split": split_hash(manifest.table),
        "cache": "" if cache is None else cache.key,
        "studies": {split: len(part.studies) for split, part in parts.items()},
        "images": {split: len(part.studies.images) for split, part in parts.items()},
        "paired": {
            split: int((part.studies.counts > 0).all(axis=1).sum()) for split, part in parts.items()
        },
        "positives": {
            split: {
                finding: int(np.nansum(part.studies.states[:, column] == 1))
                for column, finding in enumerate(part.studies.findings)
            }
            for split, part in parts.items()
        },
    }
