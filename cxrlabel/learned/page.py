"""The pages of labelers: how good they are, and how far they agree; one html file each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.figures import COLORS, INK, MUTED, RULE, svg
from cxrlabel.findings import BLANK, POSITIVE, UNCERTAIN
from cxrlabel.learned.judging import MACRO, MICRO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrlabel.learned.comparing import Comparison
    from cxrlabel.learned.crossval import CurvePoint
    from cxrlabel.learned.evaluation import CalibrationBin, Evaluation
    from cxrlabel.learned.judging import Score

_TEMPLATES: Final = (Path(__file__).parent / "templates", Path(__file__).parents[1] / "templates")
_STYLES: Final[Sequence[Mapping[str, Any]]] = (  # told apart without color, too
    {"color": MUTED, "marker": "o"},
    {"color": COLORS[POSITIVE], "marker": "^"},
    {"color": COLORS[UNCERTAIN], "marker": "s"},
    {"color": "#a3402a", "marker": "D"},
    {"color": INK, "marker": "v"},
)


def evaluation_page(found: Evaluation) -> str:
    """The page of an evaluation as html."""
    from markupsafe import Markup

    labelers = list(dict.fromkeys(score.labeler for score in found.judged.scores))
    findings = list(dict.fromkeys(score.finding for score in found.judged.scores))
    plots = {"f1": _f1_plot(found, labelers, findings)}
    if found.curve:
        plots["curve"] = _curve_plot(found.curve, labelers)
    if found.calibration:
        plots["calibration"] = _calibration_plot(found.calibration, labelers)
    return _render(
        "evaluation.html.j2",
        title="Labelers against reviews",
        found=found,
        labelers=labelers,
        findings=findings,
        summaries=(MICRO, MACRO),
        plots={name: Markup(plot) for name, plot in plots.items()},  # matplotlib escapes its text
        headlines=_headlines(found, labelers),
    )


def comparison_page(found: Comparison) -> str:
    """The page of a comparison as html."""
    return _render("comparison.html.j2", title="Agreement of labelers", found=found, blank=BLANK)


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=lambda count: f"{count:,}", three=three, percent=lambda share: f"{share:.1%}"
    )
    return environment.get_template(template).render(**values)


def three(value: float | None) -> str:
    """A number with three digits, or a dash."""
    return "–" if value is None or value != value else f"{value:.3f}"


def _headlines(found: Evaluation, labelers: Sequence[str]) -> list[tuple[str, str]]:
    micro = {name: found.judged.micro(name) for name in labelers}
    first = next(iter(micro.values()))
    return [
        (f"{first.n:,}", "reviewed reports"),
        *((f"{score.f1:.3f}", f"micro-F1 of {name}") for name, score in micro.items()),
    ]


def _style(labelers: Sequence[str], name: str) -> Mapping[str, Any]:
    return _STYLES[labelers.index(name) % len(_STYLES)]


def _f1_plot(found: Evaluation, labelers: Sequence[str], findings: Sequence[str]) -> str:
    """A row for each finding, a mark with its interval for each labeler."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, finding in enumerate(findings):
            for number, name in enumerate(labelers):
                shift = 0.22 * (number - (len(labelers) - 1) / 2)
                _mark(axes, place + shift, found.score(name, finding), _style(labelers, name))
        axes.set_yticks(range(len(findings)), findings)
        axes.set_ylim(len(findings) - 0.4, -0.6)
        axes.set_xlim(0, 1.01)
        axes.set_xlabel("F1 of positive labels")
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        _legend(axes, labelers)

    return svg("f1", 1.1 + 0.3 * len(findings), draw)


def _mark(axes: Axes, y: float, score: Score, style: Mapping[str, Any]) -> None:
    if score.f1 != score.f1:  # NaN alone differs from itself
        return
    axes.plot([score.f1_lo, score.f1_hi], [y, y], color=style["color"], linewidth=1.6)
    axes.plot(score.f1, y, markersize=4.5, linestyle="", **style)


def _curve_plot(curve: Sequence[CurvePoint], labelers: Sequence[str]) -> str:
    """F1 by the number of reviewed reports, and the difference from the rules beside it."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for name in labelers[1:]:
            own = [point for point in curve if point.labeler == name]
            style = _style(labelers, name)
            x = [point.reports for point in own]
            _band(left, x, [(p.f1, p.lo, p.hi) for p in own], style)
            _band(right, x, [(p.less_rules, p.less_lo, p.less_hi) for p in own], style)
        rules = curve[0].f1 - curve[0].less_rules
        left.axhline(rules, label=labelers[0], linewidth=1.4, color=MUTED)
        right.axhline(0, linewidth=1.4, color=MUTED)
        for axes, title in ((left, "micro-F1"), (right, "micro-F1 less that of the rules")):
            axes.set_xscale("log")
            sizes = sorted({point.reports for point in curve})
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes.minorticks_off()
            axes.set_xlabel("reviewed reports that it was fitted on")
            axes.set_ylabel(title)
            axes.grid(axis="y", color=RULE, linewidth=0.6)
        _legend(left, labelers)

    return svg("curve", 3.6, draw)


def _band(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[tuple[float, float, float]],
    style: Mapping[str, Any],
) -> None:
    middle, low, high = zip(*values, strict=True)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(x, middle, markersize=4.5, linewidth=1.4, **style)


def _calibration_plot(bins: Sequence[CalibrationBin], labelers: Sequence[str]) -> str:
    """The share that reviewers call positive by the probability that a labeler gave."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
        for name in labelers[1:]:
            own = [one for one in bins if one.labeler == name]
            x, y = [one.predicted for one in own], [one.observed for one in own]
            axes.plot(x, y, markersize=4.5, linewidth=1.2, **_style(labelers, name))
        axes.set_xlabel("probability of positive")
        axes.set_ylabel("share that reviewers call positive")
        axes.set_box_aspect(1)
        _legend(axes, labelers[1:], labelers)

    return svg("calibration", 3.6, draw)


def _legend(axes: Axes, shown: Sequence[str], labelers: Sequence[str] | None = None) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=name, markersize=4.5, **_style(labelers or shown, name))
        for name in shown
    ]
    axes.legend(handles=handles, loc="best", frameon=False)
