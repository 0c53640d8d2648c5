"""Matter: how much each kind weakens the beam, and what is too small to be an ellipsoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from cxrvision.phantom.projection import Array

# extra attenuation over soft tissue, per cm, at about 110 kV; soft tissue itself is SOFT
SOFT: Final = 0.19
LUNG: Final = 0.05
BONE: Final = 0.30
METAL: Final = 1.6


@dataclass(slots=True)
class Cloud:
    """Small matter: points with masses (attenuation x cm3) and one radius."""

    points: Array  # [N, 3]
    masses: Array  # [N]
    radius: float  # cm
    aired: bool = True  # only what lies in aerated lung counts


def draw_vessels(rng: np.random.Generator) -> list[Cloud]:
    """Branches from both hila outwards, wide at first."""
    trunks = 16
    starts = np.repeat([[-3.3, 0.7, -1.4], [3.5, 0.9, -0.6]], trunks, 0)
    starts = starts + rng.normal(0, 1, starts.shape) * (0.3, 0.9, 1.2)
    out = np.sign(starts[:, :1])
    ways = rng.normal(0, 1, (2 * trunks, 3)) * (0.45, 0.75, 0.9) + (0, 0.05, -0.35)
    ways[:, :1] = out * (np.abs(ways[:, :1]) + 0.35)
    first = _branches(rng, starts, ways, length=7.5)
    forks = first[:, [7, 12, 17]].reshape(-1, 3)
    sway = np.repeat(ways / np.linalg.norm(ways, axis=1, keepdims=True), 3, 0)
    second = _branches(rng, forks, sway + rng.normal(0, 0.55, sway.shape), length=5.5)
    return [_vessel_cloud(first, 0.46, 0.13), _vessel_cloud(second, 0.24, 0.07)]


def _branches(rng: np.random.Generator, starts: Array, ways: Array, length: float) -> Array:
    """Bent lines [N, 25, 3]."""
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    bends = rng.normal(0, 0.35, ways.shape)
    lengths = length * rng.uniform(0.6, 1.3, (len(starts), 1, 1))
    s = np.linspace(0, 1, 25)[None, :, None]
    path: Array = starts[:, None] + lengths * (s * ways[:, None] + s * s * bends[:, None])
    return path


def _vessel_cloud(paths: Array, start: float, end: float) -> Cloud:
    steps = np.linalg.norm(np.diff(paths, axis=1), axis=2)
    radii = np.linspace(start, end, paths.shape[1] - 1)
    masses = (SOFT - LUNG) * np.pi * radii**2 * steps
    middles = (paths[:, 1:] + paths[:, :-1]) / 2
    return Cloud(middles.reshape(-1, 3), masses.ravel(), (start + end) / 2)
