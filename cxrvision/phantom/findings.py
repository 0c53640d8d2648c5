"""Findings: what each one changes in a chest. All of them have a place in space.

Every function takes a generator, the chest that it changes and a strength: 1 is ordinary, more is
easier to see. It returns where the finding is: an ellipsoid, or None where it is everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from cxrvision.phantom.anatomy import SIDES, Chest
from cxrvision.phantom.matter import METAL, Cloud
from cxrvision.phantom.projection import Array, Solid, ellipsoid

Draw = Callable[[np.random.Generator, Chest, float], Solid | None]

BEHIND_HEART: Final = 0.6  # share of opacities and nodules that the heart or a dome hides


def _side(rng: np.random.Generator) -> tuple[str, float]:
    side = "right" if rng.random() < 0.5 else "left"
    return side, SIDES[side]


def _cardiomegaly(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A heart wider than half of the chest; it grows to the left and to the back."""
    ratio = min(0.5 + (0.03 + 0.11 * rng.random()) * strength, 0.8)
    factor = ratio / chest.heart_ratio()
    anchor = chest.heart[0].center * (0.2, 1, 1) + (0, -4.2, -1.0)
    chest.heart = [part.scaled(factor, anchor) for part in chest.heart]
    return chest.heart[0]


def _edema(rng: np.random.Generator, chest: Chest, strength: float) -> None:
    """Clouds around both hila, wide vessels, septal lines at the bases."""
    amount = strength * rng.uniform(0.6, 1.3)
    for sign in SIDES.values():
        center = np.array([sign * 5.5, 0.8, -3.0])
        points = center + rng.normal(0, 1, (350, 3)) * (2.8, 3.8, 4.6)
        masses = rng.gamma(0.5, 1, 350) * 0.17 * amount
        chest.clouds.append(Cloud(points, masses, 0.55))
        haze = [ellipsoid(center, np.array([4.6, 5.5, 8.0]) * k) for k in (0.55, 0.8, 1.0)]
        chest.opacities += [(part, 0.045 * amount) for part in haze]
        lines = np.array([sign * 12.6, 0, -10]) + rng.normal(0, 1, (14, 1, 3)) * (0.3, 4, 2)
        runs = lines + np.linspace(-0.8, 0.8, 9)[None, :, None] * (1, 0.2, 0.1)
        chest.clouds.append(Cloud(runs.reshape(-1, 3), np.full(14 * 9, 0.006 * amount), 0.07))
    for cloud in chest.clouds[:2]:
        cloud.masses = cloud.masses * (1 + 0.5 * amount)


def _effusion(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """Fluid that fills the lowest place first: the angle behind the dome, seen from the side.

    The air's lower end is a bowl, so that fluid stands higher at the wall: a meniscus. In a patient
    who leans back the bowl turns, and fluid runs up the back.
    """
    side, sign = _side(rng)
    height = strength * (rng.uniform(1.2, 3.0) if rng.random() < 0.5 else rng.uniform(3.0, 9.0))
    lowest = float(chest.domes[side].center[2]) + 5.2  # of the angle behind, near enough
    deep = float(chest.cage[1].reach[1])
    radius = np.array([14.0, 1.6 * deep, 26.0])
    along = np.array([0, -np.sin(chest.recline), np.cos(chest.recline)])
    bottom = np.array([sign * 6.0, -0.5, lowest + height])
    bowl = ellipsoid(bottom + along * radius[2], (radius[2], radius[0], radius[1]), along)
    chest.lungs[side] = [*chest.lungs[side], bowl]
    return ellipsoid((sign * 8, 3, lowest + height / 2), (5.5, 6.5, height / 2 + 1.5))


def _pneumothorax(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A lung that has come off the wall, most at the top; beside it only air, with no vessels."""
    side, sign = _side(rng)
    gap = strength * rng.uniform(1.0, 4.0)
    cage, lobe = chest.cage[1], chest.lungs[side][0]
    shrink = 1 - gap / 16
    left = ellipsoid(
        cage.center + np.array([sign * (5.6 - 0.25 * gap), 0, -0.75 * gap]),
        (19.6 * shrink, 7.7 - 0.65 * gap, lobe.reach[1] * (1 - gap / 30)),
        (0, 0.1, 1),
    )
    chest.collapsed[side] = left
    return ellipsoid((sign * 9, 0, 7 - gap), (4, 6, 4 + gap))


def _hidden_place(rng: np.random.Generator, chest: Chest) -> Array:
    """A place in the left lower lobe behind the heart, or low in the back behind a dome."""
    if rng.random() < 0.65:
        return np.array([rng.uniform(3.4, 6.0), rng.uniform(4.2, 7.0), rng.uniform(-10.5, -5)])
    side, sign = _side(rng)
    low = float(chest.domes[side].center[2]) + 9.0
    return np.array([sign * rng.uniform(4, 8), rng.uniform(6.0, 8.0), low + rng.uniform(-1, 0.5)])


def _open_place(rng: np.random.Generator) -> Array:
    _, sign = _side(rng)
    x, y = sign * rng.uniform(5, 10.5), rng.uniform(-4, 6)
    return np.array([x, y, rng.uniform(-7, 8) - 0.3 * abs(x)])


def _place(rng: np.random.Generator, chest: Chest) -> Array:
    hidden, shown = _hidden_place(rng, chest), _open_place(rng)
    return hidden if rng.random() < BEHIND_HEART else shown


def _patch(rng: np.random.Generator, chest: Chest, size: float, share: float, blobs: int) -> Solid:
    """Lumps around one place."""
    center = _place(rng, chest)
    for _ in range(blobs):
        where = center + rng.normal(0, 0.45, 3) * size
        chest.opacities.append((ellipsoid(where, size * rng.uniform(0.45, 0.9, 3)), share))
    points = center + rng.normal(0, 0.6, (260, 3)) * size
    masses = rng.gamma(0.4, 1, 260) * share * 0.010 * size**3
    chest.clouds.append(Cloud(points, masses, 0.4))
    return ellipsoid(center, np.full(3, 1.2 * size))


def _consolidation(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A dense patch, more often than not behind the heart or a dome."""
    size = rng.uniform(2.4, 3.8) * strength**0.5
    return _patch(rng, chest, size, 0.42 * min(strength, 2.0), 6)


def _lung_opacity(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A thin patch."""
    size = rng.uniform(2.4, 3.8) * strength**0.5
    return _patch(rng, chest, size, 0.24 * min(strength, 3.0), 6)


def _ball(rng: np.random.Generator, chest: Chest, radius: float) -> Solid:
    ball = ellipsoid(_place(rng, chest), radius * rng.uniform(0.85, 1.15, 3))
    chest.opacities.append((ball, 1.7))  # denser than water: some lime
    return ball


def _nodule(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A ball of up to 3 cm."""
    return _ball(rng, chest, min(rng.uniform(1.15, 1.5) * strength**0.5, 1.5))


def _mass(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A ball of more than 3 cm."""
    return _ball(rng, chest, max(rng.uniform(1.9, 3.0) * strength**0.5, 1.5))


def _lung_lesion(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A nodule or a mass."""
    return (_nodule if rng.random() < 0.6 else _mass)(rng, chest, strength)


def _atelectasis(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """Plates above a dome that has risen."""
    side, sign = _side(rng)
    chest.domes[side] = chest.domes[side].moved((0, 0, rng.uniform(0.8, 2.2) * strength**0.5))
    top = float(chest.domes[side].center[2] + chest.domes[side].reach[2])
    where = np.array([sign * rng.uniform(7, 9), rng.uniform(-2, 4), top + rng.uniform(0.8, 2.5)])
    thick = 0.20 * strength
    for k in range(int(rng.integers(1, 4))):
        lean = (1, rng.normal(0, 0.15), sign * rng.normal(0.15, 0.2))
        plate = ellipsoid(
            where + np.array([0, 0, 1.1 * k]), (rng.uniform(2.8, 4.2), thick, 3.0), lean
        )
        chest.opacities.append((plate, 0.9))
    return ellipsoid(where + np.array([0, 0, 0.8]), (4.0, 3.2, 2.0))


def _support_devices(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    """A pacemaker, wires of a sternotomy or a port; tubes and a line in one who leans back."""
    kinds = ("pacemaker", "wires", "port") if chest.recline == 0 else ("tube", "line", "both")
    kind = kinds[int(rng.integers(3))]
    chest.devices += ["tube", "line"] if kind == "both" else [kind]
    if kind == "pacemaker":
        return _pacemaker(rng, chest, strength)
    if kind == "wires":
        return _wires(chest, strength)
    if kind in ("port", "line", "both"):
        _vein(rng, chest, strength, port=kind == "port")
    if kind in ("tube", "both"):
        _tubes(rng, chest, strength)
    return ellipsoid((-1.5, -2, 4), (5, 4, 9))


def _pacemaker(rng: np.random.Generator, chest: Chest, strength: float) -> Solid:
    front = -float(chest.cage[0].reach[1]) - 0.2
    place = np.array([rng.uniform(7.5, 9.5), 0.75 * front, rng.uniform(5.0, 7.0)])
    case = ellipsoid(place, (2.3, 0.45, 1.9))
    chest.metal.append((case, METAL * strength))
    vein: list[ArrayLike] = [
        place + np.array([-1, 0.4, 1.6]),
        (4.5, -5, 8.3),
        (0, -4, 6.5),
        (-1.9, -2.2, 2.5),
    ]
    tip = chest.heart[0].center + np.array([2.6, -1.6, -2.4])
    _wire(chest, [*vein, (-2.2, -2.4, -3.0), (-2.6, -3.6, -4.5)], 0.1 * strength)
    _wire(
        chest,
        [*vein, (-2.0, -2.4, -5.0), (0.5, -4, -8.2), tip],
        0.12 * strength,
    )
    return case


def _wires(chest: Chest, strength: float) -> Solid:
    front = -float(chest.cage[1].reach[1])
    turn = np.linspace(0, 2 * np.pi, 15)
    for k in range(6):
        z = 6.0 - 2.3 * k
        y = front * (0.80 + 0.02 * k) - 0.1 * z
        ring = np.stack([0.95 * np.cos(turn), y + 0.7 * np.sin(turn), z + 0.45 * np.cos(turn)], 1)
        _wire(chest, list(ring), 0.35 * strength)
    return ellipsoid((0, 0.85 * front, 0), (1.2, 1.5, 7))


def _vein(rng: np.random.Generator, chest: Chest, strength: float, *, port: bool) -> None:
    tip = (-2.1, -2.2, rng.uniform(-3, 0))
    front = -float(chest.cage[1].reach[1])
    if port:
        place = np.array([-8.0, 0.8 * front, 4.5])
        chest.metal.append((ellipsoid(place, (1.3, 0.6, 1.3)), 0.8 * METAL * strength))
        path: list[ArrayLike] = [place, (-6.5, -6, 8.5), (-3, -4.5, 8.8), (-1.8, -2.6, 5), tip]
    else:
        path = [(-4.5, -2, 17), (-3.6, -3, 12), (-2.2, -2.8, 7), tip]
    _wire(chest, path, 0.25 * strength)


def _tubes(rng: np.random.Generator, chest: Chest, strength: float) -> None:
    end = rng.uniform(3.5, 6)
    _wire(chest, [(0.3, -1.6, 19), (0.1, -1.0, 12), (0, -0.2, end)], 0.28 * strength)
    down = [(0.8, 0.6, 19), (0.4, 2.4, 8), (0.3, 3.6, -4), (1.2, 1.0, -13), (5, -1, -17)]
    _wire(chest, down, 0.2 * strength)


def _wire(chest: Chest, path: Sequence[ArrayLike], amount: float) -> None:
    """A smooth line through places; amount is attenuation x cross-section, cm."""
    knots = np.array([np.asarray(place, float) for place in path])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    steps = np.arange(0, along[-1], 0.1)
    line = np.stack([np.interp(steps, along, knots[:, k]) for k in range(3)], 1)
    width = min(25, len(line) // 4 * 2 + 1)  # rounds the corners
    wide = np.pad(line, [(width // 2, width // 2), (0, 0)], "edge")
    sums = np.cumsum(np.concatenate([np.zeros((1, 3)), wide]), 0)
    line = (sums[width:] - sums[:-width]) / width
    chest.clouds.append(Cloud(line, np.full(len(line), amount * 0.1), 0.12, aired=False))


# The order in which they are drawn: what moves heart, domes and fluid goes before what lies there.
DRAWINGS: Final[Mapping[str, Draw]] = {
    "Cardiomegaly": _cardiomegaly,
    "Atelectasis": _atelectasis,
    "Edema": _edema,
    "Pleural Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Lung Opacity": _lung_opacity,
    "Lung Lesion": _lung_lesion,
    "Nodule": _nodule,
    "Mass": _mass,
    "Support Devices": _support_devices,
}
DRAWN: Final = tuple(DRAWINGS)
