"""Film: from the chest to two gray images.

Attenuation along each ray, Beer-Lambert, scatter, noise, and a display curve set by the histogram
as digital machines do it; then shutters and a lead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cxrvision.phantom.anatomy import SIDES, Chest
from cxrvision.phantom.matter import BONE, LUNG, SOFT
from cxrvision.phantom.projection import Array, Beam, Box, Span, aim, blur, meet, remainder

_EVERYWHERE: Final = (np.array(-np.inf), np.array(np.inf))
_LETTERS: Final = {  # rows of 5 dots
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "P": ("11110", "10001", "10001", "11110", "10000", "10000", "10000"),
}


@dataclass(frozen=True, slots=True)
class Technique:
    """How one image is taken."""

    beam: Beam
    scatter: float  # share of what reaches the detector
    noise: float  # of the logarithm, in open air
    contrast: float  # gain of the display curve
    bright: float  # shift of the display curve
    shutters: tuple[float, float, float, float]  # top, bottom, left, right: share of the edge
    letters: str
    corner: tuple[float, float]  # row and column of the letters, share of the edge
    frontal: bool


def frontal_technique(rng: np.random.Generator, size: int, *, ap: bool) -> Technique:
    """PA on a stand; AP with a mobile machine: near source, no grid, crooked, less exposure."""
    loose = 1.0 if ap else 0.35
    turn, tilt = rng.normal(0, (0.07 * loose, 0.06 * loose))
    back = 1.0 if ap else -1.0  # where the beam goes: to the back, or from it
    towards = (np.sin(turn), back * np.cos(turn), np.sin(tilt))
    middle = rng.normal((0, 0, -2.5 if ap else -3.5), 0.7 * loose)
    field = rng.uniform(41, 46) if ap else rng.uniform(37, 42)
    beam = aim(
        size, field, towards=towards, right=(1, 0, rng.normal(0, 0.03 * loose)), middle=middle,
        behind=14.0, distance=rng.uniform(100, 130) if ap else 180.0,
    )  # fmt: skip
    letters = ("AP" if rng.random() < 0.5 else "L") if ap else ("L" if rng.random() < 0.7 else "R")
    column = 0.06 if letters == "R" else 0.86
    return Technique(
        beam=beam,
        scatter=rng.uniform(0.4, 0.6) if ap else rng.uniform(0.25, 0.4),
        noise=rng.uniform(0.004, 0.007) if ap else rng.uniform(0.003, 0.006),
        contrast=rng.uniform(0.7, 0.95) if ap else rng.uniform(0.85, 1.15),
        bright=rng.normal(0, 0.2),
        shutters=_shutters(rng),
        letters=letters,
        corner=(rng.uniform(0.05, 0.14), column + rng.uniform(-0.02, 0.02)),
        frontal=True,
    )


def lateral_technique(rng: np.random.Generator, size: int) -> Technique:
    """A left lateral: the left side at the detector, shown with the front to the left."""
    turn = rng.normal(0, 0.035)
    beam = aim(
        size, rng.uniform(34, 38), towards=(1, np.sin(turn), rng.normal(0, 0.02)), right=(0, 1, 0),
        middle=rng.normal((0, 0.8, -4), 0.5), behind=18.0, distance=180.0,
    )  # fmt: skip
    return Technique(
        beam=beam,
        scatter=rng.uniform(0.4, 0.55),
        noise=rng.uniform(0.0015, 0.003),
        contrast=rng.uniform(0.85, 1.15),
        bright=rng.normal(0, 0.2),
        shutters=_shutters(rng),
        letters="L",
        corner=(rng.uniform(0.05, 0.12), rng.choice([0.08, 0.86])),
        frontal=False,
    )


def _shutters(rng: np.random.Generator) -> tuple[float, float, float, float]:
    widths = np.maximum(rng.normal(0, 0.025, 4), 0).round(3)
    return float(widths[0]), float(widths[1]), float(widths[2]), float(widths[3])


def expose(rng: np.random.Generator, chest: Chest, technique: Technique) -> NDArray[np.float32]:
    """The image [S, S] in [0, 1]; bone is white."""
    beam = technique.beam
    size = len(beam.places)
    depth = attenuation(chest, beam, frontal=technique.frontal)
    light = np.exp(-depth)
    veil = _veil(light)
    light = (1 - technique.scatter) * light + technique.scatter * veil
    grain = technique.noise * np.sqrt(size / 128) / np.sqrt(light)
    film = blur(-np.log(light), 0.28 * size / 128)
    film += grain * rng.standard_normal((size, size), np.float32)
    image = _display(film, technique)
    _mark(image, technique)
    top, bottom, left, right = (round(width * size) for width in technique.shutters)
    open_field = np.zeros_like(image)
    inner = (slice(top, size - bottom), slice(left, size - right))
    open_field[inner] = image[inner]
    return open_field.astype(np.float32)


def attenuation(chest: Chest, beam: Beam, *, frontal: bool) -> Array:
    """The line integral [S, S] of attenuation along each ray."""
    depth = np.zeros((len(beam.places),) * 2)
    _add_body(depth, chest, beam, frontal)
    _add_lungs(depth, chest, beam)
    _add_ribs(depth, chest, beam)
    beam.add(depth, [(part, -0.8 * SOFT) for part in chest.gas])
    beam.add(depth, [*chest.bones, *(chest.arm_bones if frontal else ()), *chest.metal])
    depth *= beam.lengths()
    for cloud in chest.clouds:
        size = cloud.radius / beam.pixel * 1.1  # magnified by about that on the detector
        depth += blur(beam.splat(cloud.points, cloud.masses), size)
    return np.maximum(depth, 0)


def _add_body(depth: Array, chest: Chest, beam: Beam, frontal: bool) -> None:
    """Soft tissue; what overlaps the torso counts once."""
    (torso,) = beam.spans(chest.body[:1])
    depth += SOFT * (torso[1] - torso[0])
    parts = [*chest.body[1:], *chest.arms[frontal]]
    for box, part in zip(beam.boxes(parts), parts, strict=True):
        lo, hi = beam.span_in(box, part)
        common = np.minimum(hi, torso[1][box]) - np.maximum(lo, torso[0][box])
        depth[box] += SOFT * (hi - lo - np.maximum(common, 0))


def _add_lungs(depth: Array, chest: Chest, beam: Beam) -> None:
    cage, *shared = beam.spans([chest.cage[1], *chest.heart, *chest.middle])
    for side, parts in chest.lungs.items():
        (box,) = beam.boxes(parts[-1:])
        whole = _part(cage, box)
        for part in parts:
            whole = meet(whole, beam.span_in(box, part))
        dome = beam.span_in(box, chest.domes[side])
        free = remainder(whole, [*(_part(span, box) for span in shared), dome])
        change = depth[box]
        if side in chest.collapsed:
            change -= SOFT * (free[1] - free[0]).sum(0)
            free = meet(free, beam.span_in(box, chest.collapsed[side]))
            change += 1.3 * LUNG * (free[1] - free[0]).sum(0)
        else:
            change -= (SOFT - LUNG) * (free[1] - free[0]).sum(0)
        here = [part for part in chest.opacities if part[0].center[0] * SIDES[side] > 0]
        for shadow, (solid, share) in zip(
            beam.boxes([part[0] for part in here]), here, strict=True
        ):
            inner, seen = _overlap(box, shadow)
            pieces = free[0][:, *inner], free[1][:, *inner]
            lo, hi = meet(pieces, beam.span_in(seen, solid))
            change[inner] += share * (SOFT - LUNG) * (hi - lo).sum(0)


def _overlap(outer: Box, box: Box) -> tuple[Box, Box]:
    """What of a box lies in another one: as a part of that one, and of the detector."""
    inner, seen = [], []
    for whole, part in zip(outer, box, strict=True):
        first = min(max(part.start, whole.start), whole.stop)
        last = max(min(part.stop, whole.stop), first)
        seen.append(slice(first, last))
        inner.append(slice(first - whole.start, last - whole.start))
    return (inner[0], inner[1]), (seen[0], seen[1])


def _part(span: Span, box: Box) -> Span:
    return span[0][box], span[1][box]


def _add_ribs(depth: Array, chest: Chest, beam: Beam) -> None:
    """Slanted bands of the shell between the cage's two faces; none beside the breast bone."""
    outer, inner = beam.spans(chest.cage)
    missed = inner[1] <= inner[0]
    middle = (outer[0] + outer[1]) / 2
    near = (outer[0], np.where(missed, middle, inner[0]))
    far = (np.where(missed, middle, inner[1]), outer[1])
    for box, rib in zip(beam.boxes(chest.ribs), chest.ribs, strict=True):
        slab = _EVERYWHERE
        for normal, limit in rib.planes:
            slab = beam.cut_in(box, slab, normal, limit)
        for face in (near, far):
            lo, hi = meet(_part(face, box), slab)
            depth[box] += BONE * (hi - lo)


def _veil(light: Array) -> Array:
    """Scattered light: the image so blurred that a coarse grid holds it."""
    size = len(light)
    cells = min(16, size)
    edges = np.linspace(0, size, cells + 1).astype(int)
    counts = np.diff(edges)
    coarse = np.add.reduceat(np.add.reduceat(light, edges[:-1], 0), edges[:-1], 1)
    coarse = blur(coarse / counts[:, None] / counts[None, :], 1.5)
    centers = (edges[:-1] + edges[1:] - 1) / 2
    pixels = np.arange(size)
    rows = np.stack([np.interp(pixels, centers, column) for column in coarse.T], 1)
    return np.stack([np.interp(pixels, centers, row) for row in rows])


def _display(film: Array, technique: Technique) -> Array:
    """A sigmoid curve whose toe and shoulder follow the dark and the light parts of the body."""
    size = len(film)
    top, left = size // 5, size // 5 if technique.frontal else size * 3 // 10
    inner = film[top : size - top : 2, left : size - left : 2]
    dark, light = np.quantile(inner, (0.06, 0.82 if technique.frontal else 0.90))
    narrow, wide = (1.1, 1.9) if technique.frontal else (1.6, 2.2)
    width = min(max(light - dark, narrow), wide)
    gain, middle = technique.contrast * 3.6 / width, dark + width / 2
    image: Array = 1 / (1 + np.exp(-gain * (film - middle) - 0.2 - technique.bright))
    return image


def _mark(image: Array, technique: Technique) -> None:
    size = len(image)
    scale = max(1, round(size / 128))
    width = 6 * scale * len(technique.letters)
    row = round(technique.corner[0] * size)
    column = min(round(technique.corner[1] * size), size - width)
    for letter in technique.letters:
        dots = np.array([[int(dot) for dot in line] for line in _LETTERS[letter]], bool)
        dots = dots.repeat(scale, 0).repeat(scale, 1)
        image[row : row + 7 * scale, column : column + 5 * scale][dots] = 0.97
        column += 6 * scale
