"""Images of a manifest at the size in which a view or a copy is recognised."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.images import fit_square, read_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.data.cache import Cache
    from cxrvision.data.manifest import Manifest

SIDE: Final = 32


def read_small(
    manifest: Manifest,
    rows: NDArray[np.int64],
    *,
    cache: Cache | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images of a manifest at 32 × 32 pixels, padded.

    Args:
        manifest: the images.
        rows: which of them.
        cache: made of the same images with the fit "pad"; what it lacks is read from the files.
        workers: threads that read files at the same time.
        progress: called with a number of images that are done.

    Returns:
        [n, 32, 32], and [n] whether an image could be read; those that could not are black.

    Raises:
        InputError: the cache was made with another fit.
    """
    if cache is not None and cache.fit != "pad":
        raise InputError(f"{cache.path}: made with fit {cache.fit!r}; views need 'pad'")
    files = manifest.files()
    ids = manifest.table["image_id"].to_numpy(dtype=object)
    places = np.full(len(ids), -1) if cache is None else cache.find(ids)
    broken = set() if cache is None else set(cache.failures().index)

    def read(row: int) -> NDArray[np.uint8] | None:
        if cache is not None and places[row] >= 0:
            return fit_square(cache.read(places[row : row + 1])[0], SIDE)
        if ids[row] in broken:
            return None
        try:
            return read_square(files[row], SIDE)
        except InputError:
            return None

    squares = np.zeros((len(rows), SIDE, SIDE), np.uint8)
    usable = np.zeros(len(rows), bool)
    with ThreadPoolExecutor(workers) as pool:
        for number, square in enumerate(pool.map(read, rows.tolist())):
            if square is not None:
                squares[number], usable[number] = square, True
            if progress is not None:
                progress(1)
    return squares, usable
