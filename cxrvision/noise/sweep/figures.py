"""The plots of a sweep as svg, in the style of the evaluation's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cxrvision.evaluate.figures import AMBER, BLUE, INK, MUTED, PALE, RULE, svg
from cxrvision.noise.correction import BACKWARD, FORWARD, SOFT
from cxrvision.noise.sweep.rows import MEAN
from cxrvision.noise.sweep.settings import AUDITED, BOTH, CLEAN, GCE, NONE, SUBSET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrvision.noise.sweep.summary import Summary

Level = tuple[float, float]
T = TypeVar("T")

# color, line and marker: told apart without color, too
STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    CLEAN: {"color": INK, "linestyle": (0, (1, 1.5))},
    NONE: {"color": MUTED, "linestyle": "-", "marker": "o"},
    GCE: {"color": MUTED, "linestyle": (0, (4, 2)), "marker": "x"},
    SOFT: {"color": PALE, "linestyle": "-", "marker": "s"},
    FORWARD: {"color": BLUE, "linestyle": "-", "marker": "^"},
    BACKWARD: {"color": "#a3402a", "linestyle": "-", "marker": "v"},
    SUBSET: {"color": AMBER, "linestyle": "-", "marker": "D"},
    BOTH: {"color": BLUE, "linestyle": (0, (4, 2)), "marker": "*"},
}
NAMES: Final[Mapping[str, str]] = {
    CLEAN: "clean labels", NONE: "labels as they are", GCE: "GCE", SOFT: "soft", FORWARD: "forward",
    BACKWARD: "backward", SUBSET: "clean subset alone", BOTH: "forward + audited truths",
}  # fmt: skip
_METRICS: Final = (
    ("auc", "AUC"),
    ("brier", "Brier score"),
    ("prevalence_bias", "prevalence bias"),
    ("calibration_slope", "calibration slope"),
)
_RIGHT: Final = {"prevalence_bias": 0.0, "calibration_slope": 1.0}
_MOST: Final = 4  # panels in a row
_PANEL: Final = 2.05  # inches


def noise_panels(summary: Sequence[Summary], *, audit: int) -> str:
    """Each measure by sensitivity, a column for each specificity, at one size of the audit."""
    rows = [row for row in summary if row.finding == MEAN and row.audit in (0, audit)]
    levels = sorted({row.specificity for row in rows if not math.isnan(row.specificity)})
    shown = _some(levels, _MOST)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(_METRICS), len(shown), squeeze=False, sharex=True, sharey="row")
        for axes_row, (metric, title) in zip(grid, _METRICS, strict=True):
            for axes, specificity in zip(axes_row, shown, strict=True):
                own = [row for row in rows if row.specificity == specificity]
                _noise_panel(axes, own, rows, metric)
            axes_row[0].set_ylabel(title)
        for axes, specificity in zip(grid[0], shown, strict=True):
            _title(axes, f"specificity {specificity:g}")
        for axes in grid[-1]:
            axes.set_xlabel("sensitivity of the labels", fontsize=7.5)
        _legend(figure, rows)

    return svg("noise", _PANEL * len(_METRICS) + 0.4, draw)


def audit_panels(summary: Sequence[Summary]) -> str:
    """AUC and Brier score by the size of the audit, at the worst, a middle and the best level."""
    rows = [row for row in summary if row.finding == MEAN]
    known = {row.level for row in rows if not math.isnan(row.sensitivity)}
    shown = _some(sorted(known, key=lambda level: (sum(level), level)), 3)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey="row")
        for axes_row, (metric, title) in zip(grid, _METRICS, strict=False):
            for axes, level in zip(axes_row, shown, strict=True):
                _audit_panel(axes, rows, level, metric)
            axes_row[0].set_ylabel(title)
        for axes, (sensitivity, specificity) in zip(grid[0], shown, strict=True):
            _title(axes, f"sensitivity {sensitivity:g}, specificity {specificity:g}")
        for axes in grid[-1]:
            axes.set_xlabel("audited studies", fontsize=7.5)
        _legend(figure, rows)

    return svg("audit", 2 * 2.5 + 0.4, draw)


def _noise_panel(
    axes: Axes, rows: Sequence[Summary], everything: Sequence[Summary], metric: str
) -> None:
    if metric in _RIGHT:
        axes.axhline(_RIGHT[metric], color=RULE, linewidth=1, zorder=0)
    _ceiling(axes, everything, metric)
    for method in STYLES:
        own = sorted((r for r in rows if r.method == method), key=lambda r: r.sensitivity)
        if method != CLEAN and own:
            _line(axes, method, [row.sensitivity for row in own], own, metric)
    axes.set_xticks(sorted({row.sensitivity for row in rows}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.08)
    axes.tick_params(labelsize=7.5)


def _audit_panel(axes: Axes, rows: Sequence[Summary], level: Level, metric: str) -> None:
    _ceiling(axes, rows, metric)
    here = [row for row in rows if row.level == level]
    sizes = sorted({row.audit for row in here if row.audit})
    for method in STYLES:
        own = sorted((r for r in here if r.method == method), key=lambda r: r.audit)
        if not own or method == CLEAN:
            continue
        if method in AUDITED:
            _line(axes, method, [row.audit for row in own], own, metric)
        else:
            style = {key: value for key, value in STYLES[method].items() if key != "marker"}
            axes.axhline(getattr(own[0], metric).value, linewidth=1.3, **style)
    if sizes:
        if len(sizes) > 1:
            axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
    axes.margins(x=0.08)
    axes.tick_params(labelsize=7.5)


def _ceiling(axes: Axes, rows: Sequence[Summary], metric: str) -> None:
    clean = [row for row in rows if row.method == CLEAN]
    if clean:
        axes.axhline(getattr(clean[0], metric).value, linewidth=1.3, **STYLES[CLEAN])


def _line(
    axes: Axes, method: str, places: Sequence[float], rows: Sequence[Summary], metric: str
) -> None:
    style = STYLES[method]
    found = [getattr(row, metric) for row in rows]
    axes.plot(
        places,
        [measure.value for measure in found],
        linewidth=1.4,
        markersize=4.5,
        markeredgecolor="white" if style["marker"] != "x" else style["color"],
        markeredgewidth=0.5 if style["marker"] != "x" else 1.2,
        **style,
    )
    for place, measure in zip(places, found, strict=True):
        if math.isfinite(measure.low):
            ends = [measure.low, measure.high]
            axes.plot([place, place], ends, color=style["color"], linewidth=0.8, alpha=0.7)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=8.5, fontweight="bold", loc="left")


def _legend(figure: Figure, rows: Sequence[Summary]) -> None:
    from matplotlib.lines import Line2D

    shown = [method for method in STYLES if any(row.method == method for row in rows)]
    lines = [
        Line2D([], [], label=NAMES[method], linewidth=1.4, markersize=4.5, **STYLES[method])
        for method in shown
    ]
    figure.legend(
        handles=lines, loc="outside upper left", ncols=4, frameon=False, fontsize=7.5,
        handlelength=3,
    )  # fmt: skip


def _some(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly from the first to the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]
