"""The figure of an audit's report: PPV and sensitivity of every finding with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxrlabel.figures import COLORS, INK, MUTED, RULE, svg
from cxrlabel.findings import POSITIVE, UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KNOWN: Final = COLORS[POSITIVE]
WIDE: Final = "#a86a00"  # amber, dark enough for text


@dataclass(frozen=True, slots=True)
class Estimated:
    """A measure of one finding, as it is drawn."""

    value: float
    lo: float
    hi: float
    text: str  # "0.874 [0.810, 0.921]"
    count: str  # "52/60"
    wide: bool
    other: float  # with uncertain labels as positive; NaN draws nothing


def forest(names: Sequence[str], panels: Sequence[tuple[str, Sequence[Estimated]]]) -> str:
    """A row for each finding, a panel for each measure.

    Args:
        panels: (title, one for each finding); those without a value have an empty row.
    """

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(panels), sharey=True)
        for axes, (title, row) in zip(grid, panels, strict=True):
            _panel(axes, title, row)
        grid[0].set_yticks(range(len(names)), names)
        grid[0].set_ylim(len(names) - 0.4, -0.6)

    return svg("forest", 0.9 + 0.27 * len(names), draw)


def _panel(axes: Axes, title: str, row: Sequence[Estimated]) -> None:
    for end in (0, 0.25, 0.5, 0.75, 1):
        axes.axvline(end, color=RULE, linewidth=0.6, zorder=0)
    for place, found in enumerate(row):
        if found.value != found.value:  # NaN alone differs from itself
            axes.text(1.06, place, f"–  {found.count}", va="center", color=MUTED)
            continue
        color = WIDE if found.wide else KNOWN
        axes.plot(
            [found.lo, found.hi],
            [place, place],
            color=color,
            linewidth=1.6,
            linestyle=(0, (3, 2)) if found.wide else "solid",
        )
        if found.other == found.other:
            axes.plot(
                found.other, place, "D", color="white", markeredgecolor=COLORS[UNCERTAIN],
                markersize=4,
            )  # fmt: skip
        axes.plot(
            found.value, place, "o", color="white" if found.wide else color,
            markeredgecolor=color, markersize=5,
        )  # fmt: skip
        axes.text(1.06, place, found.text, va="center", color=color if found.wide else INK)
        axes.text(1.94, place, found.count, va="center", ha="right", color=MUTED)
    axes.set_xlim(-0.02, 1.95)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", ".5", "", "1"])
    axes.xaxis.tick_top()
    axes.spines["bottom"].set_visible(False)
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", color=INK)
