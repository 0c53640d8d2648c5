"""The page of data statistics: one html file with its plots inside, for screen and print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES, UNCERTAIN
from cxrvision.data.plots import COLORS, INK, MUTED, svg
from cxrvision.data.stats import NOT_COUNTED, NOT_STATED, DataStatistics, one_to, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS: Final = 16  # of a histogram; the last one takes what is above
_HEADINGS: Final = {
    "views": "Views of the study",
    "view_position": "View position",
    "sex": "Sex",
    "age": "Age in years",
    "site": "Site",
    "scanner": "Scanner",
    "split": "Split",
}


def stats_page(
    statistics: DataStatistics, *, inputs: Sequence[str] = (), title: str = "Data statistics"
) -> str:
    """A self-contained html page: no script, nothing is loaded from elsewhere."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=percent, one_to=one_to, number=lambda value: f"{value:,}")
    return templates.get_template("data_stats.html.j2").render(
        title=title,
        statistics=statistics,
        inputs=list(inputs),
        headlines=_headlines(statistics),
        colors=COLORS,
        states=STATES,
        plots=_plots(statistics),
        groups=_shown_groups(statistics),
        headings=_HEADINGS,
        not_counted=NOT_COUNTED,
    )


def _headlines(statistics: DataStatistics) -> list[tuple[str, str]]:
    """(value, what it is), the numbers at the top of the page."""
    both = next((g.studies for g in statistics.groups["views"] if "+" in g.name), 0)
    numbers = [
        (f"{statistics.patients:,}", "patients"),
        (f"{statistics.studies:,}", "studies"),
        (f"{statistics.images:,}", "images"),
        (percent(both / statistics.studies), "of studies with both views"),
    ]
    if statistics.cardinality is not None:
        numbers.append((f"{statistics.cardinality:.2f}", "positive findings per study"))
    return numbers


def _shown_groups(statistics: DataStatistics) -> dict[str, Any]:
    """Kinds of group in which something is known."""
    return {
        kind: groups
        for kind, groups in statistics.groups.items()
        if [group.name for group in groups] != [NOT_STATED]
    }


def _plots(statistics: DataStatistics) -> dict[str, str]:
    """Name of the plot -> svg; without those that have nothing to show."""
    from markupsafe import Markup

    rows = statistics.findings
    plots: dict[str, str] = {}
    ages = [group for group in statistics.groups["age"] if group.name != NOT_STATED]
    if ages:
        bars = [(group.name, group.studies) for group in ages]
        plots["ages"] = svg("ages", 2.6, lambda axes: _histogram(axes, bars, "age in years"))
    if statistics.labeled and rows:
        plots["states"] = svg("states", 0.6 + 0.25 * len(rows), lambda axes: _states(axes, rows))
        counts = _tail_added(statistics.findings_per_study)
        label = "positive findings in a study"
        plots["per_study"] = svg("per-study", 2.6, lambda axes: _histogram(axes, counts, label))
    seen = [index for index, row in enumerate(rows) if row.counts[POSITIVE]]
    if len(seen) > 1:
        height = 1.5 + 0.3 * len(seen)
        plots["together"] = svg("together", height, lambda axes: _together(axes, statistics, seen))
    return {name: Markup(plot) for name, plot in plots.items()}  # matplotlib escapes its text


def _states(axes: Axes, rows: Sequence[Any]) -> None:
    """A bar of the four shares for each finding, first on top."""
    places = range(len(rows))
    left = [0.0] * len(rows)
    for state in (POSITIVE, UNCERTAIN, NEGATIVE, BLANK):
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


def _histogram(axes: Axes, counts: Sequence[tuple[str, int]], label: str) -> None:
    places = range(len(counts))
    total = sum(count for _, count in counts)
    axes.bar(places, [count for _, count in counts], width=0.74, color=COLORS[POSITIVE])
    for place, (_, count) in zip(places, counts, strict=True):
        text = f"{count:,}\n{count / total:.0%}"
        axes.text(place, count, text, ha="center", va="bottom", linespacing=1.3)
    axes.set_xticks(places, [name for name, _ in counts])
    axes.set_xlim(-0.6, max(len(counts), 8) - 0.4)  # few bars stay narrow
    axes.set_ylim(0, 1.28 * max(count for _, count in counts))
    axes.set_yticks([])
    axes.set_xlabel(label)


def _together(axes: Axes, statistics: DataStatistics, seen: Sequence[int]) -> None:
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
