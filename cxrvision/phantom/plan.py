"""The plan of a set: who comes, with which findings, and what the label table will say.

Every patient and every visit has its own random numbers, so that the first hundred studies of a
thousand are those of a set of a hundred, and an option changes only what it is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cxrvision.phantom.anatomy import Person, draw_person
from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.studies import NO_FINDING, VIEWS

SUPPORT_DEVICES: Final = "Support Devices"  # does not block No Finding, as in CheXpert

# What a drawn finding also is: CheXpert's tree, Irvin et al. 2019, fig. 1
PARENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Edema": ("Lung Opacity",),
    "Consolidation": ("Lung Opacity",),
    "Atelectasis": ("Lung Opacity",),
    "Lung Lesion": ("Lung Opacity",),
    "Nodule": ("Lung Lesion", "Lung Opacity"),
    "Mass": ("Lung Lesion", "Lung Opacity"),
}
_LOOKS, _LABELS, _PICTURE, _REPORT = range(4)  # streams of a visit


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a set is like; shares are of studies."""

    findings: tuple[str, ...]  # columns of the labels, in order
    prevalence: Mapping[str, float]  # of each drawn finding
    seed: int = 0
    missing_lateral: float = 0.5
    missing_frontal: float = 0.0
    ap_share: float = 0.3
    studies_per_patient: float = 1.5
    confounded: bool = False  # the sicker, the more AP, hospital B and no lateral
    uncertain: float = 0.0  # share of cells that become -1
    blank: float = 0.0  # share of negative cells that become blank
    wrong: float = 0.0  # share of cells that are turned over


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """One visit of a patient."""

    study_id: str
    patient_id: str
    person: Person
    drawn: tuple[str, ...]
    ap: bool
    views: tuple[str, ...]
    site: str
    date: str
    truth: Mapping[str, float]  # 1, 0
    label: Mapping[str, float]  # 1, 0, -1, NaN
    picture: tuple[int, ...]  # seed
    report: tuple[int, ...]  # seed


def plan_studies(options: PlanOptions, count: int) -> list[PlannedStudy]:
    """The first `count` studies."""
    studies: list[PlannedStudy] = []
    patient = 0
    while len(studies) < count:
        patient += 1
        studies += _visits(options, patient)
    return studies[:count]


def _visits(options: PlanOptions, patient: int) -> Iterator[PlannedStudy]:
    rng = np.random.default_rng([options.seed, patient])
    person = draw_person(rng)
    visits = 1 + int(rng.poisson(max(options.studies_per_patient - 1, 0)))
    for visit in range(1, visits + 1):
        yield _visit(options, patient, visit, person)


def _visit(options: PlanOptions, patient: int, visit: int, person: Person) -> PlannedStudy:
    key = (options.seed, patient, visit)
    rng = np.random.default_rng([*key, _LOOKS])
    sick, ap_draw, lateral_draw, frontal_draw, site_draw, day = rng.random(6)
    chances = dict(zip(DRAWN, rng.random(len(DRAWN)), strict=True))
    ill = options.confounded and sick < 0.45
    factor = (1.6 if ill else 0.5) if options.confounded else 1.0
    drawn = tuple(
        name for name in options.prevalence if chances[name] < factor * options.prevalence[name]
    )
    ap_share, missing, second_site = options.ap_share, options.missing_lateral, 0.4
    if options.confounded:
        ap_share = min(1.0, ap_share * (1.8 if ill else 0.35))
        second_site = 0.75 if ill else 0.2
    ap = bool(ap_draw < ap_share)
    if options.confounded:  # nobody wheels a patient in bed to a stand
        bedside = 0.95 * options.ap_share
        missing = 0.95 if ap else max(0.0, (missing - bedside) / max(1 - options.ap_share, 0.05))
    no_frontal = frontal_draw < options.missing_frontal
    skipped = {"frontal": no_frontal, "lateral": not no_frontal and lateral_draw < missing}
    truth = _truth(drawn, options.findings)
    return PlannedStudy(
        study_id=f"p{patient:06d}_{visit}",
        patient_id=f"p{patient:06d}",
        person=person,
        drawn=drawn,
        ap=ap,
        views=tuple(view for view in VIEWS if not skipped[view]),
        site="B" if site_draw < second_site else "A",
        date=f"{2000 + visit:04d}-{1 + int(day * 12):02d}-{1 + int(day * 336) % 28:02d}",
        truth=truth,
        label=_label(truth, options, np.random.default_rng([*key, _LABELS])),
        picture=(*key, _PICTURE),
        report=(*key, _REPORT),
    )


def _truth(drawn: Sequence[str], findings: Sequence[str]) -> dict[str, float]:
    there = {*drawn, *(parent for name in drawn for parent in PARENTS.get(name, ()))}
    if not there - {SUPPORT_DEVICES}:
        there.add(NO_FINDING)
    return {name: float(name in there) for name in findings}


def _label(
    truth: Mapping[str, float], options: PlanOptions, rng: np.random.Generator
) -> dict[str, float]:
    """The truth with the errors of a label table; each kind has its own draw of each cell."""
    draws = rng.random((len(DRAWN) + 1, 3))
    places = {name: k for k, name in enumerate((*DRAWN, NO_FINDING))}
    label: dict[str, float] = {}
    for name, value in truth.items():
        wrong, unsure, blank = draws[places[name]]
        state = 1 - value if wrong < options.wrong else value
        if name != NO_FINDING and unsure < options.uncertain:
            state = -1.0
        elif state == 0 and blank < options.blank:
            state = math.nan
        label[name] = state
    return label
