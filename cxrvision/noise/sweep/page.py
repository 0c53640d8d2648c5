"""The page of a sweep: one html file, for screen and print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrvision.evaluate.figures import AMBER, BLUE
from cxrvision.evaluate.page import decimals, measure_text
from cxrvision.noise.sweep.figures import NAMES, audit_panels, noise_panels
from cxrvision.noise.sweep.rows import MEAN
from cxrvision.noise.sweep.settings import AUDITED, BOTH, CLEAN, METHODS, NONE, SUBSET

if TYPE_CHECKING:
    from cxrvision.evaluate.estimates import Measure
    from cxrvision.noise.sweep.material import Material
    from cxrvision.noise.sweep.settings import SweepSettings
    from cxrvision.noise.sweep.summary import Summary

Level = tuple[float, float]

_TEMPLATES: Final = (
    Path(__file__).parent / "templates",
    Path(__file__).parents[2] / "evaluate" / "templates",
)


def sweep_page(
    settings: SweepSettings,
    material: Material,
    summary: Sequence[Summary],
    *,
    title: str = "Label error and what an audit buys",
) -> str:
    """A self-contained html page: no script, nothing is loaded from elsewhere."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(list(_TEMPLATES)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(decimals=decimals, measure=measure_text, number=_number)
    means = [row for row in summary if row.finding == MEAN]
    size = reference_size(settings)
    plots = {"noise": noise_panels(summary, audit=size)}
    if any(row.audit for row in means):
        plots["audit"] = audit_panels(summary)
    return templates.get_template("sweep.html.j2").render(
        title=title,
        colors={"blue": BLUE, "amber": AMBER},
        settings=settings,
        material=material,
        positives=material.test_truth.sum(axis=0).astype(int).tolist(),
        names=NAMES,
        plots=plots,
        size=size,
        verdicts=verdicts(means),
        table=_table(means),
        methods=[method for method in METHODS if any(row.method == method for row in means)],
        clean=next((row for row in means if row.method == CLEAN), None),
        record=[(key.replace("_", " "), _text(value)) for key, value in asdict(settings).items()],
    )


def reference_size(settings: SweepSettings) -> int:
    """The audit that plots over noise show: the middle one."""
    sizes = sorted(settings.audits)
    return sizes[len(sizes) // 2]


def verdicts(means: Sequence[Summary]) -> list[str]:
    """What helps, and where nothing does, in sentences.

    Args:
        means: over the findings.
    """
    levels = sorted({row.level for row in means if not math.isnan(row.sensitivity)})
    if not levels:
        return []
    found = [_helped(means, levels, what, gain) for what, gain in _GAINS]
    found += [_subset_sentence(means, levels), _both_sentence(means, levels)]
    return [sentence for sentence in found if sentence]


_GAINS: Final[tuple[tuple[str, Callable[[Summary], Measure]], ...]] = (
    ("AUC", lambda row: row.auc_gain),
    ("Brier score", lambda row: row.brier_gain),
)


def _helped(
    means: Sequence[Summary],
    levels: Sequence[Level],
    what: str,
    gain: Callable[[Summary], Measure],
) -> str:
    """At which levels of noise some method is better than labels as they are."""
    others = [row for row in means if row.method not in (CLEAN, NONE)]
    if not others:
        return ""
    if all(math.isnan(gain(row).low) for row in others):
        return f"{what}: one repeat, so that no difference has an interval (--repeats)."
    better: dict[Level, list[Summary]] = {
        level: [row for row in others if row.level == level and gain(row).low > 0]
        for level in levels
    }
    without = [level for level in levels if not better[level]]
    head = (
        f"{what}: at {len(levels) - len(without)} of {len(levels)} levels of noise some method is "
        "better than labels as they are, by an interval over the repeats that excludes 0"
    )
    tail = f"; none is at {_levels(without)}." if without else "."
    best = max((row for rows in better.values() for row in rows), key=_value(gain), default=None)
    if best is None:
        return head + tail
    audit = f" with {best.audit:,} audited studies" if best.audit else ""
    return (
        f"{head}{tail} The largest gain is {gain(best).value:.3f}, of {NAMES[best.method]}{audit} "
        f"at {_levels([best.level])}."
    )


def _value(gain: Callable[[Summary], Measure]) -> Callable[[Summary], float]:
    return lambda row: gain(row).value


def _subset_sentence(means: Sequence[Summary], levels: Sequence[Level]) -> str:
    """From how many readings on clean labels alone beat all that learn from the noisy ones."""
    rows = {(row.level, row.audit): row for row in means if row.method == SUBSET}
    if not rows:
        return ""
    wins = []
    for level in levels:
        for size in sorted({size for at, size in rows if at == level}):
            others = [row for row in _at(means, level, size) if row.method not in (SUBSET, BOTH)]
            if rows[level, size].auc.value > max(row.auc.value for row in others):
                wins.append((level, size))
                break
    head = (
        "The same readings as the only labels (clean subset alone) have a higher mean AUC than the "
        "noisy labels by any method that spends the readings on a table alone"
    )
    if not wins:
        return f"{head} at no level of noise and no size here."
    places = "; ".join(f"from {size:,} studies on at {_levels([level])}" for level, size in wins)
    return f"{head} {places}. Elsewhere they have not."


def _both_sentence(means: Sequence[Summary], levels: Sequence[Level]) -> str:
    """How often readings that serve twice, as table and as truths, come out on top."""
    rows = [row for row in means if row.method == BOTH]
    if not rows or not levels:
        return ""
    best = sum(
        row.auc.value >= max(other.auc.value for other in _at(means, row.level, row.audit))
        for row in rows
    )
    return (
        f"Readings can serve twice: forward with the audited truths in the place of their labels "
        f"has the highest mean AUC in {best} of {len(rows)} combinations of noise and audit size."
    )


def _at(means: Sequence[Summary], level: Level, size: int) -> list[Summary]:
    """All methods at a level of noise, those with an audit at this size."""
    return [row for row in means if row.level == level and row.audit in (0, size)]


def _levels(levels: Sequence[Level]) -> str:
    return ", ".join(
        f"sensitivity {sensitivity:g} and specificity {specificity:g}"
        for sensitivity, specificity in levels
    )


def _table(means: Sequence[Summary]) -> list[dict[str, Any]]:
    """A line for each level of noise and size of the audit: the AUC and gain of every method."""
    levels = sorted({row.level for row in means if not math.isnan(row.sensitivity)})
    clean = {row.method: row for row in means if row.method == CLEAN}
    lines = []
    for level in levels:
        here = [row for row in means if row.level == level]
        plain = clean | {row.method: row for row in here if row.method not in AUDITED}
        for size in sorted({row.audit for row in here if row.audit}) or [0]:
            audited = {row.method: row for row in here if row.audit == size and size}
            cells = plain | audited
            lines.append(
                {
                    "level": level,
                    "size": size,
                    "cells": cells,
                    "refused": max((row.refused for row in cells.values()), default=0.0),
                    "best": max(
                        (m for m in cells if m != CLEAN), key=lambda name: cells[name].auc.value
                    ),
                }
            )
    return lines


def _number(value: int) -> str:
    return f"{value:,}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    return "" if value == "" else str(value)
