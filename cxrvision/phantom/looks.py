"""Looks: where a finding was drawn and how large, in the words that a report has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cxrlabel.findings import SUPPORT_DEVICES
from cxrvision.phantom.anatomy import Chest
from cxrvision.phantom.projection import Solid

ZONES: Final = ("upper", "mid", "lower", "hidden")  # hidden: behind the heart
GRADES: Final = 3  # small, moderate, large; each finding has words of its own
_EDGES: Final = (2.0, -4.5)  # cm, z between upper and mid, mid and lower zone


@dataclass(frozen=True, slots=True)
class Look:
    """What a reader sees of a finding."""

    side: str  # right or left
    zone: str  # of `ZONES`
    grade: int  # 0 to 2
    cm: float  # across
    kinds: tuple[str, ...] = ()  # of Support Devices


def describe(chest: Chest, places: Mapping[str, Solid]) -> dict[str, Look]:
    """The look of every finding that has a place."""
    return {name: _look(name, chest, place) for name, place in places.items()}


def invent(rng: np.random.Generator, name: str) -> Look:
    """The look of a finding that has no place, or is not there."""
    side, zone, grade, cm = rng.random(4)
    return Look(
        side="right" if side < 0.5 else "left",
        zone=ZONES[int(3 * zone)],
        grade=int(2 * grade),  # what is not there is never large
        cm=1 + 2 * cm,
        kinds=("line",) if name == SUPPORT_DEVICES else (),
    )


def _look(name: str, chest: Chest, place: Solid) -> Look:
    x, y, z = place.center
    zone = ZONES[sum(bool(z < edge) for edge in _EDGES)]
    if 2 < x < 7 and y > 3.5 and -11 < z < -4:
        zone = "hidden"
    return Look(
        side="right" if x < 0 else "left",
        zone=zone,
        grade=_GRADERS.get(name, _middle)(chest, place),
        cm=2 * float(np.mean(place.reach)),
        kinds=tuple(chest.devices) if name == SUPPORT_DEVICES else (),
    )


def _grade(value: float, moderate: float, large: float) -> int:
    return int(value >= moderate) + int(value >= large)


# The sizes are those that `cxrvision.phantom.findings` draws at strength 1.
def _heart(chest: Chest, place: Solid) -> int:
    return _grade(chest.heart_ratio(), 0.56, 0.61)


def _fluid(chest: Chest, place: Solid) -> int:
    return _grade(2 * (float(place.reach[2]) - 1.5), 3.0, 6.5)  # height of the fluid, cm


def _air(chest: Chest, place: Solid) -> int:
    return _grade(float(place.reach[2]) - 4.0, 2.0, 3.2)  # gap at the wall, cm


def _middle(chest: Chest, place: Solid) -> int:
    return 1


_GRADERS: Final[Mapping[str, Callable[[Chest, Solid], int]]] = {
    "Cardiomegaly": _heart,
    "Pleural Effusion": _fluid,
    "Pneumothorax": _air,
}
