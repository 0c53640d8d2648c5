"""The page's plots: panels side by side over the same findings, with several marks a finding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxrlabel.findings import STATES
from cxrvision.evaluate.estimates import NAN, Measure
from cxrvision.evaluate.figures import AMBER, BLUE, INK, RULE, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrvision.demo.story import ErrorRow

COLORS: Final = (AMBER, BLUE)  # of the models, in order
_ROW: Final = 0.36  # inches
_HEAD: Final = 1.1


@dataclass(frozen=True, slots=True)
class Marks:
    """One mark for each finding in each panel."""

    name: str
    measures: Sequence[Sequence[Measure]]  # [panel][finding]; NaN for none
    color: str
    marker: str = "o"
    offset: float = 0.0  # of a row's height, downwards


def panels(
    name: str,
    titles: Sequence[str],
    findings: Sequence[str],
    marks: Sequence[Marks],
    *,
    unit: str,
    limits: tuple[float, float],
    rule: float = NAN,
) -> str:
    """Panels side by side, findings downwards, as an svg.

    Args:
        limits: of the x axis of all panels.
        rule: where a vertical line is drawn; NaN: nowhere.
    """

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for place, (axes, title) in enumerate(zip(grid, titles, strict=True)):
            _panel(axes, place, marks)
            axes.set_title(title, fontsize=9.5, fontweight="bold", loc="left")
            axes.set_xlim(*limits)
            axes.set_xlabel(unit)
            if math.isfinite(rule):
                axes.axvline(rule, color=RULE, linewidth=1, zorder=0)
        grid[0].set_yticks(range(len(findings)), findings, color=INK, fontsize=9.5)
        grid[0].set_ylim(len(findings) - 0.45, -0.55)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9)

    return svg(name, _HEAD + _ROW * len(findings), draw)


def _panel(axes: Axes, place: int, marks: Sequence[Marks]) -> None:
    for edge in range(len(marks[0].measures[place]) - 1):
        axes.axhline(edge + 0.5, color=RULE, linewidth=0.6, zorder=0)
    for one in marks:
        for row, (value, low, high) in enumerate(one.measures[place]):
            y = row + one.offset
            if math.isfinite(low) and high > low:
                axes.plot([low, high], [y, y], color=one.color, linewidth=2, solid_capstyle="butt")
            label = one.name if row == 0 else None
            axes.plot(
                [value], [y], one.marker, color=one.color, label=label,
                markersize=16 if one.marker == "|" else 6.5,
                markeredgewidth=2 if one.marker == "|" else 1,
                markeredgecolor=one.color if one.marker == "|" else "white",
            )  # fmt: skip
    axes.spines["left"].set_visible(False)


def error_figure(rows: Sequence[ErrorRow]) -> str:
    """P(there | label state) by the audit, and the truth."""
    audit = [[row.estimated[state] for row in rows] for state in STATES]
    true = [[point(row.true[state]) for row in rows] for state in STATES]
    return panels(
        "errors",
        [f"label {state}" for state in STATES],
        [row.finding for row in rows],
        [
            Marks("all studies: the truth", true, AMBER, "D"),
            Marks("the audit, 95 % interval", audit, BLUE),
        ],
        unit="share that has the finding",
        limits=(-0.03, 1.03),
    )


def point(value: float) -> Measure:
    """A number without an interval."""
    return Measure(value, NAN, NAN)


def prevalence_figure(
    findings: Sequence[str], true: Sequence[float], models: Sequence[tuple[str, Sequence[float]]]
) -> str:
    """Mean probability of each model beside the true share."""
    marks = [
        Marks(name, [[point(value) for value in values]], color)
        for (name, values), color in zip(models, COLORS, strict=True)
    ]
    top = max([*true, *(value for _, values in models for value in values)])
    true_marks = Marks("the truth", [[point(value) for value in true]], INK, "|")
    return panels(
        "prevalence", [""], findings, [*marks, true_marks],
        unit="share of the test studies", limits=(0.0, 1.15 * top),
    )  # fmt: skip
