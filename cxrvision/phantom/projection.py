"""Projection: how long each ray of a beam runs inside ellipsoids, in closed form.

Space is in cm: x to the patient's left, y to the back, z up; the origin lies in the middle of the
chest, a hand below the collar bones. A beam is a cone: a point source and a square detector. Along
one ray, places are given as t: 0 at the source, 1 at the detector; every solid is convex, so a ray
runs inside it from `lo` to `hi`. Lengths in t are multiplied by the ray's length at the very end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Span = tuple[Array, Array]  # lo, hi [S, S]; equal where the ray misses
Box = tuple[slice, slice]

_CORNERS: Final = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])


@dataclass(frozen=True, slots=True)
class Solid:
    """An ellipsoid, perhaps cut by planes: |shape (p - center)| <= 1 and normal . p <= limit."""

    center: Array  # [3]
    shape: Array  # [3, 3]
    reach: Array  # [3] half the size of the box around it, without its cuts
    planes: tuple[tuple[Array, float], ...] = ()

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """Which points [N, 3] are inside."""
        inside: NDArray[np.bool_] = (((points - self.center) @ self.shape.T) ** 2).sum(1) <= 1
        for normal, limit in self.planes:
            inside &= points @ normal <= limit
        return inside

    def scaled(self, factor: float, anchor: ArrayLike) -> Solid:
        """The ellipsoid scaled about a point."""
        fixed = np.asarray(anchor, float)
        center = fixed + factor * (self.center - fixed)
        return replace(self, center=center, shape=self.shape / factor, reach=self.reach * factor)

    def moved(self, by: ArrayLike) -> Solid:
        """The ellipsoid at another place."""
        return replace(self, center=self.center + np.asarray(by, float))

    def cut(self, normal: ArrayLike, limit: float) -> Solid:
        """Only the part where normal . p <= limit."""
        planes = (*self.planes, (np.asarray(normal, float), limit))
        return Solid(self.center, self.shape, self.reach, planes)


def ellipsoid(center: ArrayLike, radii: ArrayLike, along: ArrayLike | None = None) -> Solid:
    """An ellipsoid; with `along` the first radius points there, and the other two across it."""
    axes = np.eye(3) if along is None else _frame(np.asarray(along, float))
    sizes = np.asarray(radii, float)[:, None]
    reach = np.sqrt(((axes * sizes) ** 2).sum(0))
    return Solid(np.asarray(center, float), axes / sizes, reach)


def _frame(first: Array) -> Array:
    """Three axes as rows; for a first near z the second is x, for a first near x it is z."""
    first = first / math.sqrt(first @ first)
    helper = np.array([0.0, 0.0, 1.0]) if abs(first[0]) > 0.7 else np.array([1.0, 0.0, 0.0])
    third = _cross(first, helper)
    third /= math.sqrt(third @ third)
    return np.stack([first, _cross(third, first), third])


def _cross(a: Array, b: Array) -> Array:
    """As np.cross, which takes 30 times as long for a single pair."""
    (a0, a1, a2), (b0, b1, b2) = a.tolist(), b.tolist()
    return np.array([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0])


@dataclass(frozen=True, slots=True)
class Beam:
    """A source and a square detector of `size` pixels."""

    source: Array  # [3]
    axes: Array  # [3, 3], columns: from the source to the detector's middle; unit vectors towards
    # the last column and the last row
    pixel: float  # cm
    places: Array  # [S] where columns, and rows, are from the middle of the detector, cm

    def lengths(self) -> Array:
        """The rays' lengths [S, S] from source to detector, cm."""
        ahead = self.axes[:, 0]
        across = self.places[None, :] ** 2 + self.places[:, None] ** 2
        return np.sqrt(ahead @ ahead + across)

    def pixels_of(self, points: Array) -> tuple[Array, Array, Array]:
        """Rows, columns (in pixels, fractional) and t of points [N, 3]."""
        ahead, right, down = ((points - self.source) @ self.axes).T
        distance = self.axes[:, 0] @ self.axes[:, 0]
        t = ahead / distance
        middle = (len(self.places) - 1) / 2
        return down / t / self.pixel + middle, right / t / self.pixel + middle, t

    def boxes(self, solids: Sequence[Solid]) -> list[Box]:
        """The parts of the detector that the shadows of some solids lie in."""
        if not solids:
            return []
        centers = np.stack([solid.center for solid in solids])
        reaches = np.stack([solid.reach for solid in solids])
        corners = centers[:, None] + _CORNERS * reaches[:, None]
        rows, columns, _ = self.pixels_of(corners.reshape(-1, 3))
        size = len(self.places)
        ranges = np.stack([rows, columns]).reshape(2, -1, 8)
        first = np.clip(np.floor(ranges.min(2)), 0, size).astype(int)
        last = np.maximum(np.clip(np.ceil(ranges.max(2)) + 1, 0, size).astype(int), first)
        edges = zip(*first.tolist(), *last.tolist(), strict=True)
        return [(slice(top, low), slice(left, right)) for top, left, low, right in edges]

    def spans(self, solids: Sequence[Solid]) -> list[Span]:
        """Where the rays enter and leave each solid."""
        size = len(self.places)
        spans = []
        for box, solid in zip(self.boxes(solids), solids, strict=True):
            lo, hi = np.zeros((size, size)), np.zeros((size, size))
            lo[box], hi[box] = self.span_in(box, solid)
            spans.append((lo, hi))
        return spans

    def span_in(self, box: Box, solid: Solid) -> Span:
        """Where the rays of a part of the detector enter and leave a solid."""
        v, u = self.places[box[0], None], self.places[None, box[1]]
        # |start + t (ahead + u right + v down)| = 1 in the solid's space: a t^2 + 2 b t + c = 0
        axes = solid.shape @ self.axes
        start = solid.shape @ (self.source - solid.center)
        (aa, ar, ad), (_, rr, rd), (_, _, dd) = (axes.T @ axes).tolist()
        sa, sr, sd = (axes.T @ start).tolist()
        a = (rr * u + 2 * ar) * u + ((dd * v + 2 * ad) * v + aa) + (2 * rd * v) * u
        b = sr * u + (sd * v + sa)
        root = np.sqrt(np.maximum(b * b - (float(start @ start) - 1) * a, 0))
        lo, hi = (-b - root) / a, (root - b) / a
        for normal, limit in solid.planes:
            lo, hi = self.cut_in(box, (lo, hi), normal, limit)
        return lo, hi

    def cut_in(self, box: Box, span: Span, normal: Array, limit: float) -> Span:
        """The part of a span where normal . p <= limit."""
        v, u = self.places[box[0], None], self.places[None, box[1]]
        lo, hi = span
        if not v.size or not u.size:
            return lo, hi
        ahead, right, down = (normal @ self.axes).tolist()
        slope = right * u + (down * v + ahead)
        t = (limit - float(normal @ self.source)) / np.where(slope == 0, 1e-12, slope)
        corners = slope[:: max(len(v) - 1, 1), :: max(u.size - 1, 1)]
        if corners.min() > 0:  # all rays leave through the plane
            return lo, np.maximum(np.minimum(hi, t), lo)
        if corners.max() <= 0:  # all enter
            lo = np.maximum(lo, t)
            return lo, np.maximum(hi, lo)
        hi = np.where(slope > 0, np.minimum(hi, t), hi)
        lo = np.where(slope > 0, lo, np.maximum(lo, t))
        return lo, np.maximum(hi, lo)

    def add(self, image: Array, solids: Sequence[tuple[Solid, float]]) -> None:
        """Add, for each solid, amount times the length inside it to an image [S, S]."""
        boxes = self.boxes([solid for solid, _ in solids])
        for box, (solid, amount) in zip(boxes, solids, strict=True):
            lo, hi = self.span_in(box, solid)
            image[box] += amount * (hi - lo)

    def splat(self, points: Array, masses: Array) -> Array:
        """The column density [S, S] per cm2 of points [N, 3] with masses [N]."""
        size = len(self.places)
        rows, columns, t = self.pixels_of(points)
        density = masses / (self.pixel * t) ** 2
        keep = (rows >= 0) & (rows < size - 1) & (columns >= 0) & (columns < size - 1)
        rows, columns, density = rows[keep], columns[keep], density[keep]
        first = rows.astype(np.int64) * size + columns.astype(np.int64)
        below, beside = rows % 1, columns % 1
        image = np.zeros(size * size)
        for step, weight in (
            (0, (1 - below) * (1 - beside)),
            (1, (1 - below) * beside),
            (size, below * (1 - beside)),
            (size + 1, below * beside),
        ):
            image += np.bincount(first + step, weight * density, minlength=size * size)
        return image.reshape(size, size)


def aim(
    size: int, field: float, *, towards: ArrayLike, right: ArrayLike, middle: ArrayLike,
    behind: float, distance: float,
) -> Beam:  # fmt: skip
    """A beam.

    Args:
        size: pixels of an edge.
        field: the detector's edge, cm.
        towards: the direction of the central ray; `right` the image's right hand, across it.
        middle: the point of the body that the central ray goes through.
        behind: from there to the detector, cm; `distance` from source to detector, cm.
    """
    forward, across = np.asarray(towards, float), np.asarray(right, float)
    forward = forward / np.linalg.norm(forward)
    across = across - (across @ forward) * forward
    across /= np.linalg.norm(across)
    down = _cross(forward, across)
    if down[2] > 0:
        down = -down
    pixel = field / size
    places = np.arange(size, dtype=np.float64) * pixel
    places -= places.mean()
    source = np.asarray(middle, float) + forward * (behind - distance)
    axes: Array = np.stack([forward * distance, across, down], 1)
    return Beam(source, axes, pixel, places)


def meet(span: Span, other: Span) -> Span:
    """The part of each ray that is inside both."""
    lo = np.maximum(span[0], other[0])
    return lo, np.maximum(np.minimum(span[1], other[1]), lo)


def remainder(whole: Span, without: Sequence[Span]) -> Span:
    """What is left of each ray's way through `whole` outside of some solids, which may overlap.

    Returns:
        lo, hi [K + 1, S, S]: the pieces, many of them empty.
    """
    spans = np.empty((*whole[0].shape, len(without)), np.complex128)
    for k, (start, end) in enumerate(without):
        spans.real[..., k], spans.imag[..., k] = start, end
    spans.sort(-1)  # complex numbers go by their real part: one sort moves both ends
    lo = np.empty((len(without) + 1, *whole[0].shape))
    hi = np.empty_like(lo)
    lo[0], hi[-1] = whole
    for k in range(len(without)):
        np.maximum(lo[k], spans.imag[..., k], out=lo[k + 1])  # the farthest end so far
        np.minimum(spans.real[..., k], whole[1], out=hi[k])
    return lo, np.maximum(hi, lo, out=hi)


def blur(image: Array, sigma: float) -> Array:
    """A Gaussian blur by direct sums, the same to the bit on every run; edges are repeated."""
    reach = math.ceil(3 * sigma)
    if sigma < 0.2:
        return image
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        wide = np.pad(image, [(reach, reach) if axis == k else (0, 0) for k in (0, 1)], "edge")
        length = image.shape[axis]
        parts = (
            weight * (wide[k : k + length] if axis == 0 else wide[:, k : k + length])
            for k, weight in enumerate(weights)
        )
        image = sum(parts, np.zeros_like(image))
    return image
