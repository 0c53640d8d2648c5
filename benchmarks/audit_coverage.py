"""Do the intervals of a label audit hold the truth? Simulated audits, drawn by our own designs.

Populations of 20,000 studies with 14 findings of prevalence 0.4 to 30 %, labeled with errors, are
audited many times: drawn by `cxrlabel.audit.sampling`, compared, estimated, observed. Their true
measures are known, so that coverage, bias and width can be counted. The measures are those of the
population that was sampled; the observation table is used elsewhere too, so that it is judged by
the rates that all populations are made with.

    uv run python benchmarks/audit_coverage.py --workers 2 --page docs/audit_statistics.md
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from audit_population import (
    COMPARED,
    FINDINGS,
    SETTINGS,
    Setting,
    audit,
    population,
    strata_of,
)
from coverage_tables import tables
from pages import renew_part
from rival_intervals import bootstrap, linearised, unweighted

from cxrlabel.audit.compare import READINGS, Comparison, study_weights
from cxrlabel.audit.estimates import estimate_findings
from cxrlabel.audit.intervals import MEASURES, add_up, measures, weighted_limits
from cxrlabel.audit.observation import TRUTHS
from cxrlabel.audit.observe import observe
from cxrlabel.audit.sampling import permanent_random_numbers
from cxrlabel.findings import STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Numbers = dict[str, Floats]

AUDITS_EACH: Final = 20  # audits of one population
CHECKED: Final = 10  # one audit in so many goes through `estimate_findings`
MARK: Final = "<!-- made by benchmarks/audit_coverage.py -->"


def main() -> None:
    """Audit, count, print the tables and write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=int, default=1_000)
    parser.add_argument("--draws", type=int, default=1_000, help="of each interval")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--settings", nargs="*", default=[], help="parts of names; none means all")
    parser.add_argument("--page", type=Path, help="the page to write the tables into, at its mark")
    args = parser.parse_args()
    chosen = [
        setting
        for setting in SETTINGS
        if not args.settings or any(part in setting.name for part in args.settings)
    ]
    start = time.perf_counter()
    found = run(chosen, args.audits, args.draws, args.workers)
    minutes = (time.perf_counter() - start) / 60
    text = tables(dict(zip(chosen, found, strict=True)))
    text += (
        f"{args.audits:,} audits of each design, {args.draws:,} draws for an interval; "
        f"{minutes:.0f} min with {args.workers} process(es); Python {platform.python_version()}, "
        f"numpy {np.__version__}, pandas {pd.__version__}.\n"
    )
    print(text)
    if args.page:
        renew_part(args.page, MARK, text)


# what one audit finds


def measure(comparison: Comparison, draws: int, seed: int) -> Numbers:
    """All that is estimated from one audit."""
    found = list(observe(comparison, draws=draws, seed=seed).findings.values())

    def rows(name: str) -> Floats:
        return np.array([[getattr(t.states[state], name) for state in STATES] for t in found])

    limits = [
        [[t.state_given_truth_limits[truth][state] for state in STATES] for truth in TRUTHS]
        for t in found
    ]
    given_low, given_high = np.moveaxis(np.array(limits), -1, 0)
    if comparison.strata is None:
        numbers = one_by_one(comparison, draws, seed)
    else:
        numbers = at_once(comparison, draws, seed)
    return numbers | {
        "rarer": rarer(comparison),
        **{name: rows(name) for name in ("p_truth", "lo", "hi", "effective_n")},
        "given_low": given_low,
        "given_high": given_high,
        "share": np.array([t.prevalence.mean for t in found]),
        "share_low": np.array([t.prevalence.lo for t in found]),
        "share_high": np.array([t.prevalence.hi for t in found]),
        "table_events": np.array([t.events for t in found]),
    }


def one_by_one(comparison: Comparison, draws: int, seed: int) -> Numbers:
    """The measures as `cxr audit report` makes them, [F, 2, 7]."""
    estimates = list(estimate_findings(comparison, draws=draws, seed=seed).values())
    shape = len(FINDINGS), len(READINGS), len(MEASURES)
    names = "values", "low", "high", "events"
    return {
        name: np.stack([getattr(found, name) for found in estimates]).reshape(shape)
        for name in names
    }


def at_once(comparison: Comparison, draws: int, seed: int) -> Numbers:
    """The same for all findings in one array, which is faster; every tenth is made both ways."""
    counts, sizes = counted(comparison)
    totals = add_up(counts, sizes)
    low, high = weighted_limits(totals, draws=draws, seed=seed)
    events = np.full(low.shape, np.nan)
    values = measures(totals.total)
    if seed % CHECKED == 0:
        again = one_by_one(comparison, draws, seed)
        if not np.allclose(again["values"], values, equal_nan=True):
            raise RuntimeError("the measures are not those of estimate_findings")
        low, high, events = again["low"], again["high"], again["events"]
    naive = measures(counts.sum(axis=-2))
    return {"values": values, "low": low, "high": high, "events": events, "naive": naive}


def counted(comparison: Comparison) -> tuple[Floats, Integers]:
    """[F, 2, H, 4] studies by stratum that has any, and cell; and the strata's sizes [H]."""
    if comparison.strata is None or comparison.sizes is None:
        raise ValueError("the comparison has no strata")
    present, strata = np.unique(comparison.strata, return_inverse=True)
    cell = cells_by_reading(comparison)
    inside = (cell[..., None] == np.arange(4)).reshape(len(cell), -1)
    by_stratum = (strata == np.arange(len(present))[:, None]) @ inside.astype(np.float64)
    shaped = by_stratum.reshape(-1, len(FINDINGS), len(READINGS), 4)
    return np.moveaxis(shaped, 0, 2), comparison.sizes[present]


def rarer(comparison: Comparison) -> Floats:
    """[F, 2, 7] effective events of the rarer kind: misses for a sensitivity of more than half."""
    cell = cells_by_reading(comparison)
    weights = study_weights(comparison, np.ones(len(cell), dtype=bool))
    inside = (cell[..., None] == np.arange(4)).reshape(len(cell), -1)
    sums, squares = (
        (power @ inside).reshape(len(FINDINGS), len(READINGS), 4) for power in (weights, weights**2)
    )

    def worth(*kinds: int) -> Floats:
        with np.errstate(invalid="ignore"):
            kish: Floats = sums[..., kinds].sum(axis=-1) ** 2 / squares[..., kinds].sum(axis=-1)
        return np.nan_to_num(kish)

    tp, fp, fn, tn, wrong = worth(0), worth(1), worth(2), worth(3), worth(1, 2)
    pairs = (tp, fn), (tn, fp), (tp, fp), (tn, fn), (tp, wrong), (worth(0, 2), worth(1, 3))
    found: Floats = np.stack([np.minimum(*pair) for pair in (*pairs, (tp, wrong))], axis=-1)
    return found


def cells_by_reading(comparison: Comparison) -> Integers:
    """[n, F, 2] the cell of each study, in the order of CELLS."""
    labels, truth = comparison.labels.to_numpy(), comparison.truth.to_numpy() == 1
    positive = np.stack([labels == 1, (labels == 1) | (labels == -1)], axis=-1)
    found: Integers = np.where(positive, 0, 2) + ~truth[..., None]
    return found


def others(comparison: Comparison, seed: int) -> Numbers:
    """Other intervals: Wilson's without weights, the linearised on the logit, the bootstrap."""
    rng = np.random.default_rng(seed)
    counts, sizes = counted(comparison)
    methods: dict[str, Callable[[Floats, Integers], tuple[Floats, Floats]]] = {
        "unweighted": unweighted,
        "linearised": linearised,
        "bootstrap": partial(bootstrap, rng=rng),
    }
    found: Numbers = {}
    for name, method in methods.items():
        ends = np.array([[method(table, sizes) for table in both] for both in counts])
        found[f"{name}_low"], found[f"{name}_high"] = np.moveaxis(ends, 2, 0)
    return found


# all audits


def audits(number: int, settings: Sequence[Setting], count: int, draws: int) -> list[Numbers]:
    """The audits of one population, stacked along the first axis, for each setting."""
    people = population(number)
    hard = population(number, hard_patients=True)
    strata = [None if s.design == "patients" else strata_of(people, s) for s in settings]
    measured = [people.measures if found else hard.measures for found in strata]
    found: list[list[Numbers]] = [[] for _ in settings]
    first = number * AUDITS_EACH
    for seed in range(first, min(first + AUDITS_EACH, count)):
        numbers = permanent_random_numbers(people.labels.index, seed)
        for place, setting in enumerate(settings):
            audited = people if strata[place] else hard
            comparison = audit(audited, setting, strata[place], numbers)
            row = measure(comparison, draws, seed)
            row |= {"true": measured[place], "true_share": audited.truth.to_numpy().mean(axis=0)}
            if setting == COMPARED:
                row |= others(comparison, seed)
            found[place].append(row)
    population.cache_clear()
    return [{name: np.stack([row[name] for row in rows]) for name in rows[0]} for rows in found]


def run(settings: Sequence[Setting], count: int, draws: int, workers: int) -> list[Numbers]:
    """For each setting the numbers of all audits, stacked along the first axis."""
    numbers = range(-(-count // AUDITS_EACH))
    work = partial(audits, settings=settings, count=count, draws=draws)
    if workers == 1:
        parts = list(map(work, numbers))
    else:
        with ProcessPoolExecutor(workers) as pool:
            parts = list(pool.map(work, numbers))
    return [
        {name: np.concatenate([part[place][name] for part in parts]) for name in parts[0][place]}
        for place in range(len(settings))
    ]


if __name__ == "__main__":
    main()
