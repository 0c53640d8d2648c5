"""A contact sheet: many images side by side, to be looked at before anything is trained on them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.writers import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.data.cache import Cache

_GAP: Final = 3
_GAP_GRAY: Final = 90


def contact_sheet(
    squares: NDArray[np.uint8], *, columns: int | None = None, tile: int = 160, numbers: bool = True
) -> NDArray[np.uint8]:
    """Images in rows from the top left.

    Args:
        squares: [n, S, S].
        columns: images in a row; by default the sheet is some 16 : 10.
        tile: side of an image on the sheet.
        numbers: write the place of each image, from 0, into its lower left corner.

    Returns:
        [H, W].
    """
    from PIL import Image, ImageDraw

    count = len(squares)
    columns = columns or max(1, math.ceil(math.sqrt(1.6 * count)))
    pitch = tile + _GAP
    size = (pitch * columns + _GAP, pitch * math.ceil(count / columns) + _GAP)
    sheet = Image.new("L", size, _GAP_GRAY)
    draw = ImageDraw.Draw(sheet)
    for number, square in enumerate(squares):
        row, column = divmod(number, columns)
        left, top = _GAP + column * pitch, _GAP + row * pitch
        image = Image.fromarray(square).resize((tile, tile), Image.Resampling.BICUBIC)
        sheet.paste(image, (left, top))
        if numbers:
            corner = (left + 2, top + tile - 13)
            box = draw.textbbox(corner, str(number))
            draw.rectangle((left, box[1] - 2, box[2] + 2, top + tile - 1), fill=0)
            draw.text(corner, str(number), fill=255)
    return np.asarray(sheet)


def write_sheet(
    path: Path | str, cache: Cache, *, most: int = 144, force: bool = False
) -> list[str]:
    """Write images of a cache, evenly drawn from all of them, as a PNG.

    Returns:
        The image ids in the order of the sheet, which go with its numbers.
    """
    from PIL import Image

    usable = cache.index.index[cache.index["row"] >= 0]
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(most, len(usable))).round().astype(int))
    ids = [str(image_id) for image_id in usable[chosen]] if len(usable) else []
    sheet = contact_sheet(cache.read(cache.find(ids)))
    with atomic_path(path, force=force) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    return ids
