"""Observation tables for tests, written by hand."""

from collections.abc import Mapping

import numpy as np

from cxrlabel.audit.observation import (
    TRUTHS,
    FindingTable,
    Interval,
    Observation,
    Posterior,
    StateRow,
    at_prevalence,
)
from cxrlabel.findings import STATES

# a labeler that misses four of ten and calls one of twenty, P(state | truth 1) and (truth 0)
COMMON = ((0.6, 0.05, 0.15, 0.2), (0.05, 0.02, 0.53, 0.4))


def make_finding_table(
    given: tuple[tuple[float, ...], tuple[float, ...]] = COMMON,
    *,
    prevalence: float = 0.2,
    n: float = 400.0,
    events: float = 50.0,
) -> FindingTable:
    """A table whose posterior is that of n studies."""
    both = np.array(given)
    state = prevalence * both[0] + (1 - prevalence) * both[1]
    truth = at_prevalence(both, prevalence)
    spread = 1.96 * np.sqrt(prevalence * (1 - prevalence) / n)
    betas = {
        name: (max(n * state[i] * truth[i], 1e-3), max(n * state[i] * (1 - truth[i]), 1e-3))
        for i, name in enumerate(STATES)
    }
    return FindingTable(
        prevalence=Interval(prevalence, prevalence - spread, prevalence + spread),
        states={
            name: StateRow(10, 10, 5, 5, 10, float(truth[i]), 0, 1, True)
            for i, name in enumerate(STATES)
        },
        state_given_truth={
            t: dict(zip(STATES, map(float, both[i]), strict=True)) for i, t in enumerate(TRUTHS)
        },
        state_given_truth_limits={t: dict.fromkeys(STATES, (0.0, 1.0)) for t in TRUTHS},
        effective_n=n,
        events=events,
        posterior=Posterior(betas, {name: float(n * state[i]) for i, name in enumerate(STATES)}),
    )


def make_observation(
    tables: Mapping[str, FindingTable], *, reference: str = "image"
) -> Observation:
    """An observation table of these findings."""
    return Observation(reference, "a simple random sample", 400, dict(tables))
