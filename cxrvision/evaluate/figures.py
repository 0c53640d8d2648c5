"""Plots of an evaluation as svg, in the house style: forest, ROC, precision-recall, calibration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrvision.evaluate.calibration import calibration_curve
from cxrvision.evaluate.curves import thin, trace_curve
from cxrvision.evaluate.estimates import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrvision.evaluate.cases import Cases
    from cxrvision.evaluate.estimates import Bools, Floats, Integers
    from cxrvision.evaluate.measuring import FindingMeasures, Measured

BLUE: Final = "#1f4e79"
AMBER: Final = "#e0a030"
PALE: Final = "#8fb3cf"
INK: Final = "#1a1f24"
MUTED: Final = "#4d5761"  # 7.4 : 1 on white
RULE: Final = "#cfd5da"
WIDTH: Final = 10.0  # inches of 72 units; the page scales it to the width of the column

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "cxr",  # equal evaluations give equal files
    "text.parse_math": False,  # a "$" in a finding's name is a "$"
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_ACROSS: Final = 5  # panels in a row
_PANEL: Final = 2.2  # inches


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A line of a forest plot."""

    name: str
    measure: Measure
    note: str = ""  # at the right
    summary: bool = False  # drawn as a diamond
    color: str = ""  # "": that of its kind


def forest(name: str, rows: Sequence[ForestRow], *, mark: float, unit: str) -> str:
    """A line with an interval for each row, first on top; a vertical rule at `mark`."""
    return svg(name, 0.75 + 0.27 * len(rows), lambda figure: _forest(figure, rows, mark, unit))


def roc_panels(cases: Cases, measured: Measured) -> str:
    """The ROC curve of each finding with its operating point."""
    return _panels("roc", cases, measured, _roc)


def precision_panels(cases: Cases, measured: Measured) -> str:
    """The precision-recall curve of each finding with its prevalence."""
    return _panels("precision", cases, measured, _precision)


def calibration_panels(cases: Cases, measured: Measured) -> str:
    """Observed against predicted in ten bins of each finding."""
    return _panels("calibration", cases, measured, _calibration)


def svg(name: str, height: float, draw: Callable[[Figure], None]) -> str:
    """A plot as an svg element that fits the page and shares no ids with other plots of it."""
    from markupsafe import Markup
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    buffer = StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        draw(figure)
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]  # without the declaration of a document
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    box = f"0 0 {72 * WIDTH:g} {72 * height:g}"
    return Markup(f'<svg viewBox="{box}" role="img" aria-labelledby="{name}-caption">{body}')


def _forest(figure: Figure, rows: Sequence[ForestRow], mark: float, unit: str) -> None:
    axes = figure.add_subplot()
    known = [x for row in rows for x in row.measure if math.isfinite(x)]
    low, high = min([mark, *known]), max([mark, *known])
    pad = 0.04 * (high - low or 1)
    axes.axvline(mark, color=RULE, linewidth=1, zorder=0)
    for place, row in enumerate(rows):
        _forest_row(axes, place, row)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(low - pad, high + pad)
    axes.set_xlabel(unit)
    axes.spines["left"].set_visible(False)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [row.note for row in rows], color=INK)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _forest_row(axes: Axes, place: int, row: ForestRow) -> None:
    value, low, high = row.measure
    color = row.color or (AMBER if row.summary else BLUE)
    if math.isfinite(low):
        axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
    if math.isfinite(value):
        shape = "D" if row.summary else "o"
        axes.plot([value], [place], shape, color=color, markersize=5.5, markeredgecolor="white")


Panel = Callable[["Axes", "FindingMeasures", "Floats", "Bools", "Integers"], None]


def _panels(name: str, cases: Cases, measured: Measured, draw: Panel) -> str:
    """A small plot for each finding that has both kinds of study; "" without one."""
    shown = [
        (place, finding)
        for place, finding in enumerate(cases.findings)
        if 0 < measured.findings[finding].positives < measured.findings[finding].n
    ]
    if not shown:
        return ""
    down = math.ceil(len(shown) / _ACROSS)

    def draw_all(figure: Figure) -> None:
        grid = figure.subplots(down, _ACROSS, squeeze=False)
        for axes in grid.flat[len(shown) :]:
            axes.axis("off")  # it keeps its place, so that panels have one size
        for axes, (place, finding) in zip(grid.flat, shown, strict=False):
            inside = cases.labelled(place)
            axes.set_title(finding, fontsize=8.5, fontweight="bold", loc="left")
            positive = cases.truth[inside, place] == 1
            row = measured.findings[finding]
            draw(axes, row, cases.probs[inside, place], positive, cases.clusters[inside])

    return svg(name, _PANEL * down + 0.2, draw_all)


def _roc(
    axes: Axes, row: FindingMeasures, probs: Floats, positive: Bools, patients: Integers
) -> None:
    curve = trace_curve(probs, positive)
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    axes.plot(*thin(curve.false_positive_rate, curve.sensitivity), color=BLUE, linewidth=1.4)
    if math.isfinite(row.sensitivity.value):
        at = 1 - row.specificity.value, row.sensitivity.value
        axes.plot(*at, "o", color=AMBER, markersize=5, markeredgecolor="white")
    _say(axes, 0.97, 0.05, [f"AUC {row.auc_labels.value:.3f}", _between(row.auc_labels)])
    _unit_axes(axes, "1 − specificity", "sensitivity")


def _precision(
    axes: Axes, row: FindingMeasures, probs: Floats, positive: Bools, patients: Integers
) -> None:
    curve = trace_curve(probs, positive)
    axes.axhline(row.prevalence, color=AMBER, linewidth=1)
    x, y = thin(curve.sensitivity[1:], curve.precision[1:])
    axes.plot(x, y, color=BLUE, linewidth=1.4)
    _say(axes, 0.97, 0.86, [f"AUPRC {row.auprc.value:.3f}", f"prevalence {row.prevalence:.3f}"])
    _unit_axes(axes, "sensitivity", "PPV")


def _calibration(
    axes: Axes, row: FindingMeasures, probs: Floats, positive: Bools, patients: Integers
) -> None:
    curve = calibration_curve(probs, positive, patients=patients)
    top = min(1.05 * max(curve.predicted.max(), curve.high.max(), 0.02), 1.0)
    axes.plot([0, top], [0, top], color=RULE, linewidth=1)
    errors = np.stack([curve.observed - curve.low, curve.high - curve.observed])
    axes.errorbar(
        curve.predicted,
        curve.observed,
        np.maximum(errors, 0),
        fmt="o",
        color=BLUE,
        ecolor=PALE,
        markersize=3.5,
        elinewidth=1.4,
    )
    _say(axes, 0.97, 0.05, [f"slope {row.calibration_slope.value:.2f}", f"ECE {row.ece:.3f}"])
    _unit_axes(axes, "predicted", "observed", top)


def _unit_axes(axes: Axes, x: str, y: str, top: float = 1.0) -> None:
    margin = 0.03 * top
    axes.set_xlim(-margin, top + margin)
    axes.set_ylim(-margin, top + margin)
    axes.set_aspect("equal")
    axes.set_xlabel(x, fontsize=7.5)
    axes.set_ylabel(y, fontsize=7.5)
    if top == 1:
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    else:
        axes.locator_params(nbins=3)
    axes.tick_params(labelsize=7.5)


def _say(axes: Axes, x: float, y: float, lines: Sequence[str]) -> None:
    """A few words in a corner, of which the first line stands above."""
    for place, line in enumerate(reversed(lines)):
        height = y + 0.105 * place
        axes.text(
            x,
            height,
            line,
            transform=axes.transAxes,
            ha="right",
            fontsize=7.5,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5},
        )


def _between(measure: Measure) -> str:
    if not math.isfinite(measure.low):
        return ""
    return f"[{measure.low:.3f}, {measure.high:.3f}]"


def forest_of(measured: Measured) -> list[ForestRow]:
    """The AUCs of an evaluation with their averages, best on top."""
    rows: Mapping[str, FindingMeasures] = measured.findings
    known = {n: r for n, r in rows.items() if math.isfinite(r.auc_labels.value)}
    order = sorted(known, key=lambda name: -known[name].auc_labels.value)
    lines = [
        ForestRow(
            name,
            known[name].auc_labels,
            f"{known[name].auc_labels.value:.3f} {_between(known[name].auc_labels)}"
            f" · {known[name].positives:,} of {known[name].n:,}",
        )
        for name in order
    ]
    for name, measure in (
        ("macro average", measured.averages.macro_auc_labels),
        ("micro average", measured.averages.micro_auc_labels),
    ):
        if lines and math.isfinite(measure.value):
            lines.append(ForestRow(name, measure, f"{measure.value:.3f} {_between(measure)}", True))
    return lines
