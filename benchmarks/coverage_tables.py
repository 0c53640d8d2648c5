"""The tables of `audit_coverage.py`, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from audit_population import COMPARED, Setting, rates
from rival_intervals import SHARES

from cxrlabel.audit.intervals import MEASURES
from cxrlabel.audit.observation import ENOUGH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = dict[str, Floats]

OWN: Final = 10.0  # events from which a state's share does not lean on the other findings
EPS: Final = 1e-12
BOUNDS: Final = (0.0, 1.0, 5.0, 10.0, 30.0, np.inf)  # of the classes of events
CLASSES: Final = ("below 1", "1–5", "5–10", "10–30", "30 or more")


def tables(found: Mapping[Setting, Numbers]) -> str:
    """All tables, in Markdown."""
    for numbers in found.values():
        inside = (numbers["low"] <= numbers["true"] + EPS) & (
            numbers["true"] - EPS <= numbers["high"]
        )
        numbers["covered"] = np.where(np.isnan(numbers["values"]), np.nan, inside)
    weighted = [x for setting, x in found.items() if setting.design != "patients"]
    parts = [
        "Coverage of 95 % intervals in %, by how many effective events of the rarer kind an audit "
        "has on average (misses or hits for sensitivity, false or right labels for PPV …). In "
        "brackets the lowest of any design and finding, then the mean width.",
        by_class(weighted),
        "By design: all measures.",
        by_design(found),
        "The observation table: the shares by the rates that all populations are made with, the "
        "prevalence by the population that was sampled.",
        by_state(found),
    ]
    if COMPARED in found:
        parts += [
            f"Other intervals, and estimates without weights, in {COMPARED.name}: coverage in %, "
            "for findings with fewer and with more than five events of the rarer kind.",
            rivals(found[COMPARED]),
            "Bias of the estimates, as a share of their own standard deviation: the largest of any "
            "finding with five events or more.",
            biases(found[COMPARED]),
        ]
    return "\n\n".join(parts) + "\n\n"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all but the first column to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pooled(cells: Sequence[tuple[Floats, Floats]]) -> str:
    """Mean and lowest coverage of cells, "95.2 (93.8)".

    Args:
        cells: coverage of each, and which of them count.
    """
    values = np.concatenate([cover[chosen] for cover, chosen in cells])
    return f"{100 * values.mean():.1f} ({100 * values.min():.1f})" if len(values) else ""


def by_class(weighted: Sequence[Numbers]) -> str:
    """Measure by class of events."""
    rows = []
    for place, name in enumerate(MEASURES):
        row = [name]
        for low, high in pairwise(BOUNDS):
            cells, widths = [], []
            for numbers in weighted:
                events = numbers["rarer"].mean(axis=0)[..., place]
                chosen = (events >= low) & (events < high)
                cells.append((np.nanmean(numbers["covered"], axis=0)[..., place], chosen))
                width = np.nanmean(numbers["high"] - numbers["low"], axis=0)[..., place]
                widths.append(width[chosen])
            width = np.concatenate(widths)
            row.append(f"{pooled(cells)} {width.mean():.3f}" if len(width) else "")
        rows.append(row)
    return markdown(["measure", *CLASSES], rows)


def by_design(found: Mapping[Setting, Numbers]) -> str:
    """Design by fewer and more than five events, and whether the tool warned."""
    rows = []
    for setting, numbers in found.items():
        events = numbers["rarer"].mean(axis=0)
        covered = np.nanmean(numbers["covered"], axis=0)
        known = ~np.isnan(numbers["events"])
        warned = numbers["events"] < ENOUGH
        rows.append(
            [
                setting.name,
                pooled([(covered, events < ENOUGH)]),
                pooled([(covered, events >= ENOUGH)]),
                *(
                    f"{100 * np.nanmean(numbers['covered'][known & which]):.1f}"
                    for which in (warned, ~warned)
                ),
            ]
        )
    header = ["design", "below 5 events", "5 or more", "the tool warns", "it does not"]
    return markdown(header, rows)


def by_state(found: Mapping[Setting, Numbers]) -> str:
    """Design by what the observation table says."""
    rows = []
    for setting, numbers in found.items():
        true = rates().truth_given_state
        states = ((numbers["lo"] <= true) & (true <= numbers["hi"])).mean(axis=0)
        events = numbers["effective_n"].mean(axis=0) * np.minimum(true, 1 - true)
        true = rates().state_given_truth
        given = ((numbers["given_low"] <= true) & (true <= numbers["given_high"])).mean(axis=0)
        enough = numbers["table_events"].mean(axis=0) >= ENOUGH
        true = numbers["true_share"]
        share = ((numbers["share_low"] <= true) & (true <= numbers["share_high"])).mean(axis=0)
        rows.append(
            [
                setting.name,
                pooled([(states, events < ENOUGH)]),
                pooled([(states, (events >= ENOUGH) & (events < OWN))]),
                pooled([(states, events >= OWN)]),
                pooled([(given, ~enough)]),
                pooled([(given, enough)]),
                pooled([(share, ~enough)]),
                pooled([(share, enough)]),
            ]
        )
    header = ["design", "P(truth given state), below 5 events", "5–10", "10 or more"]
    header += [
        "P(state given truth), not `enough`",
        "`enough`",
        "prevalence, not `enough`",
        "`enough`",
    ]
    return markdown(header, rows)


def rivals(numbers: Numbers) -> str:
    """Coverage of other intervals."""
    rows = []
    true = numbers["true"]
    events = numbers["rarer"].mean(axis=0)
    for name in SHARES:
        place = MEASURES.index(name)
        row = [name]
        for method in ("", "unweighted_", "linearised_", "bootstrap_"):
            low, high = (numbers[f"{method}{end}"][..., place] for end in ("low", "high"))
            truth = true[..., place]
            inside = np.where(np.isnan(low), np.nan, (low <= truth + EPS) & (truth - EPS <= high))
            covered = np.nanmean(inside, axis=0)
            few = events[..., place] < ENOUGH
            shown = [f"{100 * covered[c].mean():.0f}" if c.any() else "–" for c in (few, ~few)]
            row.append(" / ".join(shown))
        rows.append(row)
    return markdown(["measure", "cxr", "unweighted", "linearised", "bootstrap"], rows)


def biases(numbers: Numbers) -> str:
    """Bias with and without weights."""
    rows = []
    events = numbers["rarer"].mean(axis=0)
    for place, name in enumerate(MEASURES):
        chosen = events[..., place] >= ENOUGH
        row = [name]
        for which in ("values", "naive"):
            error = np.nanmean(numbers[which] - numbers["true"], axis=0)[..., place]
            spread = np.nanstd(numbers[which] - numbers["true"], axis=0)[..., place]
            ratio = (error / spread)[chosen]
            row.append(f"{ratio[np.abs(ratio).argmax()]:+.2f}" if len(ratio) else "–")
        rows.append(row)
    return markdown(["measure", "weighted", "unweighted"], rows)
