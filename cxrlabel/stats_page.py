"""The page of label statistics: one html file with its plots inside, for screen and print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.figures import COLORS, INK, MUTED, svg
from cxrlabel.findings import NEGATIVE, NO_FINDING, POSITIVE, STATES
from cxrlabel.stats import (
    NOT_COUNTED,
    NOT_STATED,
    FindingStatistics,
    LabelStatistics,
    one_to,
    percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS: Final = 16  # of the histogram; the last one takes what is above
_TOP_RULES: Final = 4
_TOP_SECTIONS: Final = 15
_TOP_CUES: Final = 12
_SHOWN_APART: Final = frozenset({"inputs", "outputs", "statistics"})  # keys of the run record


def stats_page(
    statistics: LabelStatistics,
    *,
    record: Mapping[str, Any],
    title: str = "Label statistics",
) -> str:
    """A self-contained html page: no script, nothing is loaded from elsewhere.

    Args:
        statistics: what was counted.
        record: how the labels were made: the run record or any part of it, "inputs" being a list of
            {"path", "sha256", "bytes"}. Of a path only the file's name is shown.
        title: the heading.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=percent, one_to=one_to, number=_number, weight=_weight)
    return templates.get_template("stats.html.j2").render(
        title=title,
        statistics=statistics,
        headlines=_headlines(statistics),
        colors=COLORS,
        states=STATES,
        plots=_plots(statistics),
        cues={name: _bars(rows, limit=_TOP_CUES) for name, rows in statistics.cues.items() if rows},
        lists=_lists(statistics),
        rules=_rules(statistics),
        record=_record_rows(record),
        not_counted=sorted(NOT_COUNTED),
    )


def _plots(statistics: LabelStatistics) -> dict[str, str]:
    """Name of the plot -> svg; without those that have nothing to show."""
    from markupsafe import Markup

    rows = statistics.findings
    seen = [index for index, row in enumerate(rows) if row.counts[POSITIVE]]
    plots: dict[str, str] = {}
    if statistics.labeled and rows:
        height = 0.6 + 0.25 * len(rows)
        plots["states"] = svg("states", height, lambda f: _states(f.add_subplot(), rows))
        counts = _tail_added(statistics.findings_per_study)
        plots["per_study"] = svg("per-study", 2.6, lambda f: _histogram(f.add_subplot(), counts))
    if len(seen) > 1:
        height = 1.5 + 0.3 * len(seen)
        plots["together"] = svg(
            "together", height, lambda f: _together(f.add_subplot(), statistics, seen)
        )
    return {name: Markup(plot) for name, plot in plots.items()}  # matplotlib escapes its text


def _states(axes: Axes, rows: Sequence[FindingStatistics]) -> None:
    """A bar of the four shares for each finding, first on top."""
    places = range(len(rows))
    left = [0.0] * len(rows)
    for state in STATES:
        widths = [row.shares[state] or 0.0 for row in rows]
        axes.barh(places, widths, left=left, height=0.74, color=COLORS[state])
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, row in zip(places, rows, strict=True):
        share = percent(row.shares[POSITIVE])
        axes.text(1.065, place, share, ha="right", va="center", color=COLORS[POSITIVE])
    axes.set_yticks(places, [row.finding for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.07)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    axes.spines["bottom"].set_visible(False)


def _tail_added(counts: Sequence[int]) -> list[tuple[str, int]]:
    """(number of findings, studies); numbers that get no bar of their own go into the last one."""
    named = [(str(i), count) for i, count in enumerate(counts)]
    if len(named) <= _MOST_BARS:
        return named
    last = _MOST_BARS - 1
    return [*named[:last], (f"{last}+", sum(counts[last:]))]


def _histogram(axes: Axes, counts: Sequence[tuple[str, int]]) -> None:
    places = range(len(counts))
    total = sum(count for _, count in counts)
    axes.bar(places, [count for _, count in counts], width=0.74, color=COLORS[POSITIVE])
    for place, (_, count) in zip(places, counts, strict=True):
        label = f"{count:,}\n{count / total:.0%}"
        axes.text(place, count, label, ha="center", va="bottom", linespacing=1.3)
    axes.set_xticks(places, [name for name, _ in counts])
    # few bars stay narrow
    axes.set_xlim(-0.6, max(len(counts), 8) - 0.4)
    axes.set_ylim(0, 1.28 * max(count for _, count in counts))
    axes.set_yticks([])
    axes.set_xlabel("positive findings in a study")


def _together(axes: Axes, statistics: LabelStatistics, seen: Sequence[int]) -> None:
    """Rows and columns are the findings `seen`; a cell is the share of its row's positives."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list(
        "cxr", ["#ffffff", COLORS[NEGATIVE], COLORS[POSITIVE]]
    )
    shares = [[statistics.share_together[i][j] or 0.0 for j in seen] for i in seen]
    for index in range(len(seen)):
        shares[index][index] = float("nan")  # the diagonal is always 100%
    axes.pcolormesh(shares, cmap=shades, vmin=0, vmax=1, edgecolor="white", linewidth=1)
    for place, row in enumerate(shares):
        for column, share in enumerate(row):
            _cell(axes, column, place, share)
    names = [statistics.findings[i].finding for i in seen]
    sizes = [statistics.findings[i].counts[POSITIVE] for i in seen]
    centres = [place + 0.5 for place in range(len(seen))]
    rows = [f"{name}  (n = {n:,})" for name, n in zip(names, sizes, strict=True)]
    axes.set_yticks(centres, rows)
    axes.set_xticks(centres, names, rotation=45, ha="left", rotation_mode="anchor", color=INK)
    axes.xaxis.tick_top()
    axes.invert_yaxis()
    axes.spines["bottom"].set_visible(False)


def _cell(axes: Axes, column: int, row: int, share: float) -> None:
    if not share > 0:  # nan: the diagonal
        mark = "·" if share == 0 else "–"
        axes.text(column + 0.5, row + 0.5, mark, ha="center", va="center", color=MUTED)
        return
    label = f"{100 * share:.0f}" if share >= 0.005 else "<1"
    color = "white" if share > 0.79 else "black"  # at least 4.5 : 1 on every shade
    axes.text(column + 0.5, row + 0.5, label, ha="center", va="center", color=color)


def _headlines(statistics: LabelStatistics) -> list[tuple[str, str]]:
    """(value, what it is), the numbers at the top of the page."""
    labeled = statistics.labeled
    unusable = statistics.reports - labeled
    findings = sum(i * count for i, count in enumerate(statistics.findings_per_study))
    normal = [row.shares[POSITIVE] for row in statistics.findings if row.finding == NO_FINDING]
    numbers = [
        (f"{statistics.reports:,}", "reports"),
        (f"{labeled:,}", f"labeled, {unusable:,} not"),
        (f"{findings / labeled:.2f}" if labeled else "–", "positive findings per study"),
        (f"{sum(statistics.mentions.values()):,}", "mentions read"),
    ]
    return numbers + [(percent(share), "of studies with No Finding") for share in normal]


def _lists(statistics: LabelStatistics) -> dict[str, list[tuple[str, int, float]]]:
    """Heading -> rows of `_bars`."""
    lists = {
        "Status of the reports": _bars(statistics.statuses.items()),
        "Sections found": _bars(statistics.sections.items(), limit=_TOP_SECTIONS),
        "Mentions by assertion": _bars(statistics.mentions.items()),
        "Reasons for no label": _bars(statistics.reasons.items()),
    }
    for name, counts in statistics.attributes.items():
        stated = {value: count for value, count in counts.items() if value != NOT_STATED}
        lists[f"{name.capitalize()} of mentions"] = _bars(stated.items())
    return lists


def _bars(
    rows: Iterable[tuple[str, int]], *, limit: int | None = None
) -> list[tuple[str, int, float]]:
    """(name, count, length of its bar in percent of the longest one)."""
    shown = list(rows)[:limit]
    longest = max((count for _, count in shown), default=0)
    return [(name, count, 100 * count / longest if longest else 0.0) for name, count in shown]


def _rules(statistics: LabelStatistics) -> list[tuple[str, int, list[tuple[str, int]], int]]:
    """(finding, mentions, its most frequent rules, how many more rules matched)."""
    order = {row.finding: place for place, row in enumerate(statistics.findings)}
    names = sorted(statistics.rules, key=lambda name: (order.get(name, len(order)), name))
    return [
        (
            name,
            sum(rules.values()),
            list(rules.items())[:_TOP_RULES],
            max(len(rules) - _TOP_RULES, 0),
        )
        for name, rules in ((name, statistics.rules[name]) for name in names)
    ]


def _record_rows(record: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(what, lines) of the run record."""
    rows = [
        (key.replace("_", " "), _lines(value))
        for key, value in record.items()
        if key not in _SHOWN_APART
    ]
    inputs = [
        f"{Path(file['path']).name}, {file['bytes']:,} bytes, SHA-256 {file['sha256']}"
        for file in record.get("inputs", ())
    ]
    return [row for row in [*rows, ("inputs", inputs)] if row[1]]


def _lines(value: object) -> list[str]:
    """A value of the run record as text; empty ones give no line."""
    if isinstance(value, Mapping):
        parts = ((key.replace("_", " "), ", ".join(_lines(item))) for key, item in value.items())
        return [f"{key}: {text}" for key, text in parts if text]
    if isinstance(value, (list, tuple)):
        joined = ", ".join(text for item in value for text in _lines(item))
        return [joined] if joined else []
    return [] if value is None or value == "" else [str(value)]


def _number(value: int) -> str:
    return f"{value:,}"


def _weight(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"
