"""One study: a person's chest with findings, and its frontal and lateral image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cxrvision.phantom.anatomy import Chest, Person, build_chest, draw_person
from cxrvision.phantom.film import expose, frontal_technique, lateral_technique
from cxrvision.phantom.findings import DRAWINGS, DRAWN
from cxrvision.phantom.projection import Solid

Image = NDArray[np.float32]
Pixels = tuple[int, int, int, int]  # top, left, bottom, right; bottom and right excluded

VIEWS: Final = ("frontal", "lateral")
NO_FINDING: Final = "No Finding"
RECLINE: Final = 0.5  # radians from upright of a patient in bed


@dataclass(frozen=True, slots=True)
class Phantom:
    """An invented study: never evidence about patients."""

    frontal: Image  # [S, S] in [0, 1], bone is white, the patient's right at the left
    lateral: Image  # [S, S] in [0, 1], the front at the left
    ap: bool  # the frontal image is an AP of a mobile machine
    person: Person
    findings: frozenset[str]
    heart_ratio: float  # cardiothoracic ratio in space
    boxes: Mapping[str, Mapping[str, Pixels]]  # by view and finding, of what has a place


@dataclass(frozen=True, slots=True)
class Drawing:
    """Some views of a study, and what they were made of."""

    images: Mapping[str, Image]  # by view
    boxes: Mapping[str, Mapping[str, Pixels]]  # by view and finding
    chest: Chest
    places: Mapping[str, Solid]  # of each finding that has one


def make_phantom(
    rng: np.random.Generator,
    *,
    findings: Mapping[str, float] | Collection[str] = (),
    size: int = 128,
    strength: float = 1.0,
    ap: bool = False,
    person: Person | None = None,
) -> Phantom:
    """Invent a study.

    Every finding has a stream of random numbers of its own: calls with equal generators and
    different findings give the same chest and film, and differ by the findings alone.

    Args:
        findings: names from `DRAWN`, or a mapping from them to strengths; "No Finding" draws
            nothing.
        size: pixels of an edge, 32 to 2048.
        strength: of all findings; 1 is ordinary, more is easier to see.
        person: None invents one.

    Raises:
        ValueError: a finding that cannot be drawn, or a size out of range.
    """
    drawing = draw_views(
        rng, VIEWS, findings=findings, size=size, strength=strength, ap=ap, person=person
    )
    return Phantom(
        frontal=drawing.images["frontal"],
        lateral=drawing.images["lateral"],
        ap=ap,
        person=drawing.chest.person,
        findings=frozenset(findings) - {NO_FINDING},
        heart_ratio=drawing.chest.heart_ratio(),
        boxes=drawing.boxes,
    )


def draw_views(
    rng: np.random.Generator,
    views: Collection[str],
    *,
    findings: Mapping[str, float] | Collection[str],
    size: int,
    strength: float,
    ap: bool,
    person: Person | None,
) -> Drawing:
    """As `make_phantom`, but only some views."""
    if not 32 <= size <= 2048:
        raise ValueError(f"size {size}: expected 32 to 2048 pixels")
    seeds = rng.integers(2**63, size=3)
    if person is None:
        person = draw_person(np.random.default_rng(seeds[0]))
    chest, places = _draw_chest(seeds[1], person, findings, strength, ap=ap)
    images: dict[str, Image] = {}
    boxes: dict[str, dict[str, Pixels]] = {}
    for index, view in enumerate(VIEWS):
        if view not in views:
            continue
        own = np.random.default_rng([seeds[2], index])
        frontal = view == "frontal"
        technique = frontal_technique(own, size, ap=ap) if frontal else lateral_technique(own, size)
        images[view] = expose(own, chest, technique)
        shadows = technique.beam.boxes(list(places.values()))
        boxes[view] = {
            name: (rows.start, columns.start, rows.stop, columns.stop)
            for name, (rows, columns) in zip(places, shadows, strict=True)
        }
    return Drawing(images, boxes, chest, places)


def _draw_chest(
    seed: int,
    person: Person,
    findings: Mapping[str, float] | Collection[str],
    strength: float,
    *,
    ap: bool,
) -> tuple[Chest, dict[str, Solid]]:
    """The chest, and where its findings are."""
    strengths = findings if isinstance(findings, Mapping) else dict.fromkeys(findings, 1.0)
    unknown = set(strengths) - {*DRAWN, NO_FINDING}
    if unknown:
        raise ValueError(f"cannot draw {min(unknown)!r}; expected some of {', '.join(DRAWN)}")
    rng = np.random.default_rng([seed, len(DRAWN)])
    breath = rng.uniform(1.2, 3.5) if ap else rng.uniform(0, 1.4)
    chest = build_chest(person, breath, arms_wide=rng.uniform(0, 0.6) if ap else 1.0)
    chest.recline = RECLINE if ap else 0.0
    places = {}
    for index, (name, draw) in enumerate(DRAWINGS.items()):
        if name in strengths:
            own = np.random.default_rng([seed, index])
            place = draw(own, chest, strength * strengths[name])
            if place is not None:
                places[name] = place
    chest.settle()
    return chest, places
