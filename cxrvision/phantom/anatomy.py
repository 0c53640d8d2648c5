"""Anatomy: an invented chest as ellipsoids, with the spread that chests have.

Sizes are those of an adult, rounded, from no particular source: a cartoon, not a measured atlas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cxrvision.phantom.matter import BONE, Cloud, draw_vessels
from cxrvision.phantom.projection import Array, Solid, ellipsoid

SIDES: Final = {"right": -1.0, "left": 1.0}  # the sign of x


@dataclass(frozen=True, slots=True)
class Person:
    """What a person keeps from one study to the next."""

    age: int
    sex: str  # F or M
    size: float  # 1 is an average adult
    depth: float  # of the chest, against its width
    fat: float  # cm under the skin
    heart: float  # transverse heart : inner chest, in space
    bend: float  # of the upper spine, 0 straight
    slope: float  # of the ribs
    aorta: float  # radius, cm
    lift: float  # the right dome above the left, cm
    vessels: int  # seed of their tree


@dataclass(slots=True)
class Chest:
    """The solids of one chest; findings change it before it is exposed."""

    person: Person
    body: list[Solid]  # the first one is the torso
    cage: tuple[Solid, Solid]  # outer and inner face of the ribs
    ribs: list[Solid]  # only their planes count, within the shell between the two faces
    lungs: dict[str, list[Solid]]  # by side: the lung is where the cage and all of them meet
    domes: dict[str, Solid]
    heart: list[Solid]
    middle: list[Solid]  # mediastinum, aorta, tissue around the spine
    bones: list[tuple[Solid, float]]
    gas: list[Solid]  # windpipe and stomach
    arms: Mapping[bool, list[Solid]]  # shoulders and arms; frontal (True): down, lateral: raised
    arm_bones: list[tuple[Solid, float]]
    clouds: list[Cloud]
    collapsed: dict[str, Solid] = field(default_factory=dict)  # what is left of a lung, by side
    opacities: list[tuple[Solid, float]] = field(default_factory=list)  # share of soft tissue
    metal: list[tuple[Solid, float]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)  # kinds of what was put in
    recline: float = 0.0  # radians from upright, for fluid

    def chest_width(self) -> float:
        """Inner width of the rib cage, cm."""
        return 2 * float(self.cage[1].reach[0])

    def heart_ratio(self) -> float:
        """Transverse heart over inner chest: the cardiothoracic ratio in space."""
        left = max(float(part.center[0] + part.reach[0]) for part in self.heart)
        right = min(float(part.center[0] - part.reach[0]) for part in self.heart)
        return (left - right) / self.chest_width()

    def aerated(self, points: Array) -> NDArray[np.bool_]:
        """Which points [N, 3] lie in aerated lung."""
        inside = np.zeros(len(points), bool)
        for side, parts in self.lungs.items():
            here = ~self.domes[side].contains(points)
            for part in [*parts, *([self.collapsed[side]] if side in self.collapsed else [])]:
                here &= part.contains(points)
            inside |= here
        inside &= self.cage[1].contains(points)
        for part in [*self.heart, *self.middle]:
            inside &= ~part.contains(points)
        return inside

    def settle(self) -> None:
        """Drop small matter from where a finding has left no lung."""
        clouds = [cloud for cloud in self.clouds if cloud.aired]
        kept = self.aerated(np.concatenate([cloud.points for cloud in clouds]))
        ends = np.cumsum([len(cloud.points) for cloud in clouds])[:-1]
        for cloud, keep in zip(clouds, np.split(kept, ends), strict=True):
            cloud.points, cloud.masses = cloud.points[keep], cloud.masses[keep]


def draw_person(rng: np.random.Generator) -> Person:
    """Invent a person."""
    age = int(rng.integers(20, 91))
    sex = "F" if rng.random() < 0.5 else "M"
    old = (age - 20) / 70
    return Person(
        age=age,
        sex=sex,
        size=float(np.clip(rng.normal(0.94 if sex == "F" else 1.02, 0.04), 0.85, 1.12)),
        depth=float(np.clip(rng.normal(0.98 + 0.1 * old, 0.05), 0.85, 1.2)),
        fat=float(np.clip(rng.gamma(2.0, 0.7), 0.2, 4.5)),
        heart=float(np.clip(rng.normal(0.43 + 0.02 * old, 0.02), 0.38, 0.48)),
        bend=float(np.clip(rng.normal(0.2 + 0.6 * old, 0.15), 0, 1.2)),
        slope=float(rng.uniform(0.32, 0.5)),
        aorta=float(1.1 + 0.5 * old + rng.normal(0, 0.08)),
        lift=float(np.clip(rng.normal(1.0, 0.5), -0.3, 2.0)),
        vessels=int(rng.integers(2**32)),
    )


def build_chest(person: Person, breath: float, arms_wide: float = 1.0) -> Chest:
    """A chest without findings.

    Args:
        breath: cm that the diaphragm stands above a deep breath's place, 0 to 4.
        arms_wide: 1 with shoulder blades turned out of the lungs, 0 with them over the lungs.
    """
    wide, deep = 13.9, 10.0 * person.depth
    lean = (0, 0.10, 1)  # the chest's long axis: the breast bone runs forward on its way down
    cage_in = ellipsoid((0, 0.4, -7), (20, wide, deep), lean)
    cage_out = ellipsoid((0, 0.4, -7), (20.6, wide + 0.55, deep + 0.55), lean)
    domes = {side: _dome(person, side, breath) for side in SIDES}
    lungs = {
        side: [ellipsoid((sign * 6.3, 0.6, -7), (19.6, 7.9, deep + 0.4), lean)]
        for side, sign in SIDES.items()
    }
    heart = _heart(person, breath, 2 * wide)
    chest = Chest(
        person=person,
        body=_body(person, deep),
        cage=(cage_out, cage_in),
        ribs=_ribs(person, wide, deep),
        lungs=lungs,
        domes=domes,
        heart=heart,
        middle=_middle(person, breath),
        bones=[*_spine(person), *_front_bones(person, deep, arms_wide)],
        gas=[
            *_airways(),
            ellipsoid((6.8, -2.5, float(domes["left"].center[2]) + 8.6), (2.8, 2.4, 1.6)),
        ],
        arms={True: _arms_down(person), False: _arms_raised(person)},
        arm_bones=_arm_bones(),
        clouds=draw_vessels(np.random.default_rng(person.vessels)),
    )
    chest.opacities = [
        (ellipsoid((s * 3.7, 0.6, -1.0 + 0.4 * s), (1.6, 1.9, 2.6)), 0.45) for s in (-1, 1)
    ]
    return chest


def _body(person: Person, deep: float) -> list[Solid]:
    fat = person.fat
    # flat in front and behind: a plain ellipsoid would be too thin there, seen from the side
    torso = ellipsoid((0, 0.9, -15), (46, 17.0 + fat, deep + 7 + fat), (0, 0.07, 1))
    torso = torso.cut((0, -1, 0.10), deep + 2.0 + 0.8 * fat)
    torso = torso.cut((0, 1, 0.06), deep + 3.0 + 0.6 * fat)
    neck = ellipsoid((0, 2.2 - person.bend, 18), (5.4 + 0.5 * fat, 6.2, 10))
    parts = [torso, neck]
    if person.sex == "F":
        breast = (6.0, 2.6 + 0.6 * fat, 6.2)
        parts += [ellipsoid((s * 7.6, -deep - 0.9, -7.0), breast) for s in (-1, 1)]
    return parts


def _arms_down(person: Person) -> list[Solid]:
    fat = 0.5 * person.fat
    parts = []
    for s in (-1, 1):
        parts.append(ellipsoid((s * 11.5, 2.0, 9.0), (9.5 + fat, 6.0, 5.0), (1, 0, -0.42 * s)))
        parts.append(ellipsoid((s * (19.8 + fat), 1, -6), (4.0 + fat, 4.5, 18)))
    return parts


def _arms_raised(person: Person) -> list[Solid]:
    fat = 0.5 * person.fat
    return [ellipsoid((s * 11, -1.0, 17.5), (6, 8.5, 9 + fat), (1, 0, 0.4 * s)) for s in (-1, 1)]


def _dome(person: Person, side: str, breath: float) -> Solid:
    sign = SIDES[side]
    lift = person.lift if side == "right" else 0.0
    reach = (10.6, 12.0 * person.depth, 11.5)
    return ellipsoid((sign * 6.2, -3.0, -23.5 + breath + lift), reach)


def _heart(person: Person, breath: float, width: float) -> list[Solid]:
    raised = 0.75 * breath
    ventricles = ellipsoid((2.3, -3.6, -8.0 + raised), (6.4, 4.9, 5.2), (0.76, -0.34, -0.55))
    atrium = ellipsoid((-1.7, -2.6, -6.6 + raised), (3.0, 4.4, 4.9))
    base = ellipsoid((1.2, -1.0, -3.4 + raised), (3.5, 4.0, 4.0))
    left = ventricles.center[0] + ventricles.reach[0]
    now = (left - atrium.center[0] + atrium.reach[0]) / width
    anchor = (0.5, -7.0, -9.0 + raised)
    return [part.scaled(person.heart / now, anchor) for part in (ventricles, atrium, base)]


def _middle(person: Person, breath: float) -> list[Solid]:
    r = person.aorta
    return [
        ellipsoid((0.1, -0.6, 6), (3.0, 4.3, 13)),  # great vessels
        ellipsoid((-2.0, -1.6, 1 + breath / 2), (1.7, 1.7, 7)),  # superior vena cava
        ellipsoid((1.2 + 0.6 * r, 1.2, 3.4), (1.5 * r, 4.4, 1.5 * r)),  # arch
        ellipsoid((1.3 + 0.7 * r, 5.4, -7), (r, r, 12)),  # descending aorta
        ellipsoid((0, 7.6, -6), (2.3, 3.6, 34)),  # around the spine
        ellipsoid((0, 2.5, -9), (1.6, 4.5, 14)),  # behind the heart: gullet and ligaments
    ]


def _spine(person: Person) -> list[tuple[Solid, float]]:
    bones: list[tuple[Solid, float]] = []
    for k in range(15):
        z = 12.5 - 2.45 * k - 0.012 * k * k
        y = 6.7 - person.bend * 0.016 * (z + 5) ** 2
        tilt = person.bend * 0.032 * (z + 5)  # slope of the spine's curve
        normal = np.array([0, tilt, 1.0])
        wide = 1.45 + 0.035 * k
        body = ellipsoid((0, y, z), (wide * 1.25, wide * 1.15, 2.6))
        height = 0.88 + 0.014 * k
        level = float(normal @ (0, y, z))
        bones.append((body.cut(normal, level + height).cut(-normal, height - level), 0.3 * BONE))
        bones.append((ellipsoid((0, y + 3.4, z - 1.0), (0.35, 1.7, 0.8)), 0.4 * BONE))
    return bones


def _front_bones(person: Person, deep: float, wide: float) -> list[tuple[Solid, float]]:
    bones = [(ellipsoid((0, -deep * 0.86, 0.2), (8.5, 1.9, 0.55), (0, 0.2, 1)), BONE)]
    for s in (-1, 1):
        bones.append(
            (ellipsoid((s * 6.2, -6.6, 8.9), (5.8, 0.72, 0.7), (1, 0.3 * s, 0.18 * s)), BONE)
        )
        bones.append((ellipsoid((s * 13.3, -3.2, 10.1), (4.4, 0.6, 0.8), (1, 0.5 * s, 0)), BONE))
        x = s * (11.6 + 2.2 * wide)
        blade = ellipsoid((x, 8.6, 3.6), (7.2, 3.4, 0.38), (-0.25 * s, 0.1, 1))
        bones.append((blade.cut((-s, 0, -0.35), -s * x + 0.9), 0.4 * BONE))
        bones.append(
            (ellipsoid((s * 13.8, 8.6, 7.8), (4.2, 0.7, 0.7), (1, -0.4 * s, 0.3 * s)), BONE)
        )
    return bones


def _arm_bones() -> list[tuple[Solid, float]]:
    bones = []
    for s in (-1, 1):
        bones.append((ellipsoid((s * 18.2, 1.5, 8.2), (2.2, 2.1, 2.3)), 0.8 * BONE))
        bones.append((ellipsoid((s * 19.6, 1.2, -4), (12, 1.1, 1.1), (0.13 * s, 0, -1)), BONE))
    return bones


def _ribs(person: Person, wide: float, deep: float) -> list[Solid]:
    """Slabs in a box that holds them: they run down to the front, and a little to the side."""
    ribs = []
    for k in range(12):
        slope, level = person.slope * (0.75 + 0.035 * k), 10.3 - 2.45 * k
        for sign in SIDES.values():
            half = slope * deep + 2.4
            box = ellipsoid((sign * wide / 2, 0.4, level - 1), (wide / 2 + 1, deep + 1.2, half))
            normal = np.array([0.14 * sign, -slope, 1.0])
            rib = box.cut(normal, level + 0.5).cut(-normal, 0.5 - level)
            rib = rib.cut((-sign, 0, 0), -1.6)
            ribs.append(rib.cut((-sign, -0.6, 0), 0.8))  # gristle before the breast bone
    return ribs


def _airways() -> list[Solid]:
    windpipe = ellipsoid((0, -0.2, 9.8), (8.6, 0.95, 0.95), (0, -0.16, 1))
    return [
        windpipe.cut((0, 0, -1), -2.2),
        ellipsoid((-1.9, 1.4, 0.9), (2.6, 0.65, 0.65), (-0.75, 0.1, -0.6)),
        ellipsoid((2.2, 1.5, 0.8), (2.9, 0.6, 0.6), (0.85, 0.1, -0.5)),
    ]
