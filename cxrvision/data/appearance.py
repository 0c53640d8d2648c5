"""What an image itself says about how it was written: inverted, or with next to no contrast.

A radiograph of the chest has dark air in its upper corners, or dark collimated edges, and the
bright spine in its middle. On 126 films of four collections (24 of them lateral) the corners were
never lighter than the middle column by more than a hundredth of the range of the gray values; of
the same films inverted, 94 % had corners lighter by more than a tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INVERTED: Final = "looks inverted"
LOW_CONTRAST: Final = "low contrast"

_GRID: Final = 64  # rows and columns that are looked at
_CORNER: Final = 8
_MIDDLE: Final = (slice(8, 56), slice(24, 40))
_LIGHTER: Final = 0.1
_LEAST_RANGE: Final = 0.25  # of all gray values, from the 1st to the 99th percentile


def appearance_notes(values: NDArray[Any]) -> tuple[str, ...]:
    """Notes on gray values, [H, W], uint8 or float32 in [0, 1]; none for a flat image."""
    height, width = values.shape
    if min(height, width) < _GRID:
        return ()
    rows = np.linspace(0, height - 1, _GRID).astype(int)
    columns = np.linspace(0, width - 1, _GRID).astype(int)
    seen = values[np.ix_(rows, columns)].astype(np.float32)
    if values.dtype == np.uint8:
        seen /= 255
    low, high = np.percentile(seen, (1, 99))
    if high <= low:
        return ()
    notes = (LOW_CONTRAST,) if high - low < _LEAST_RANGE else ()
    return (*notes, INVERTED) if corner_excess(seen) > _LIGHTER else notes


def corner_excess(seen: NDArray[np.float32]) -> float:
    """How much lighter the corners are than the middle, as a share of the range of gray values.

    Args:
        seen: [64, 64].
    """
    low, high = np.percentile(seen, (1, 99))
    ends = (slice(None, _CORNER), slice(-_CORNER, None))
    corners = np.mean([seen[row, column].mean() for row in ends for column in ends])
    return float((corners - seen[_MIDDLE].mean()) / (high - low))
