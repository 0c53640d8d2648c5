"""A sheet of phantoms: every finding in both views, with what it changes beside each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cxrlabel.writers import atomic_path
from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.studies import make_phantom

_GRAYS: Final = 40  # enough for a cartoon, and a small file


def phantom_sheet(*, size: int, seed: int, strength: float = 1.0) -> NDArray[np.uint8]:
    """Gray values [H, W]: two panels of rows; frontal, its change, lateral, its change."""
    names = ("normal, PA", "normal, AP", *DRAWN)
    rows = [_row(name, size, seed + index, strength) for index, name in enumerate(names)]
    rows += [np.zeros_like(rows[0])] * (len(rows) % 2)
    half = len(rows) // 2
    sheet = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1)
    steps = np.rint(sheet * (_GRAYS - 1))
    grays: NDArray[np.uint8] = np.rint(steps * (255 / (_GRAYS - 1))).astype(np.uint8)
    return grays


def _row(name: str, size: int, seed: int, strength: float) -> NDArray[np.float64]:
    finding = [name] if name in DRAWN else []
    ap = name == "normal, AP"
    without = make_phantom(np.random.default_rng(seed), size=size, ap=ap)
    phantom = make_phantom(
        np.random.default_rng(seed), findings=finding, size=size, strength=strength, ap=ap
    )
    tiles: list[NDArray[np.floating]] = []
    for view in ("frontal", "lateral"):
        image = getattr(phantom, view)
        change = image - getattr(without, view)
        tiles += [image] if not finding else [image, np.clip(0.5 + 2 * change, 0, 1)]
    if not finding:  # no change to show: another person
        other = make_phantom(np.random.default_rng(seed + 1000), size=size, ap=ap)
        tiles += [other.frontal, other.lateral]
    return np.concatenate([_title(name, 4 * size), np.concatenate(tiles, 1)])


def _title(text: str, width: int) -> NDArray[np.float64]:
    from PIL import Image, ImageDraw

    strip = Image.new("L", (width, 14), 0)
    ImageDraw.Draw(strip).text((3, 1), text, fill=255)
    return np.asarray(strip) / 255


def write_phantom_sheet(
    path: Path | str, *, size: int, seed: int, strength: float = 1.0, force: bool = False
) -> None:
    """Write the sheet as a PNG.

    Raises:
        InputError: as `cxrlabel.writers.atomic_path`, or a size or strength out of range.
    """
    from PIL import Image

    from cxrvision.phantom.files import check_range

    check_range("size", size, 32, 2048)
    check_range("strength", strength, 0.05, 20)
    check_range("seed", seed, 0, 2**63)
    sheet = phantom_sheet(size=size, seed=seed, strength=strength)
    with atomic_path(path, force=force) as temporary:
        Image.fromarray(sheet).quantize(_GRAYS, dither=Image.Dither.NONE).save(
            temporary, format="PNG", optimize=True
        )
