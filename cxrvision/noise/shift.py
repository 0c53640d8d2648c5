"""Another prevalence: how frequent a finding is among studies of which only the labels are known.

P(truth | state) moves with the prevalence and P(state | truth) does so less. The shares of the four
states at a site are a mixture of the two columns of P(state | truth); the weight of the mixture is
the prevalence there, found by maximum likelihood (EM: Saerens, Latinne and Decaestecker 2002).
There are three free shares for one unknown, so that the fit can fail, which says that P(state |
truth) is another one too. (For two states this is the estimator of Rogan and Gladen 1978.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrvision.noise.tables import ABSENT, PRESENT, ErrorTables, state_codes

if TYPE_CHECKING:
    from cxrlabel.audit.observation import Interval, Observation
    from cxrvision.noise.tables import Floats

LEAST_DISTANCE: Final = 0.1  # between the states' shares of the two truths, in total variation
MOST_ERROR: Final = 0.1  # standard error of a prevalence that is still used
MOST_MISFIT: Final = 0.05  # total variation between the states' shares and the best mixture

_STEPS: Final = 500
_TOLERANCE: Final = 1e-10
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Shift:
    """The prevalence of a finding among some studies, from their label states."""

    prevalence: float
    error: float  # standard error, of the states' shares alone
    n: int
    problem: str  # why it cannot be relied on, or ""


def estimate_prevalence(counts: Floats, state_given_truth: Floats) -> Shift:
    """The prevalence under which these counts of states are most likely.

    Args:
        counts: [4] studies with each state, in the order of STATES.
        state_given_truth: [2, 4] for truth 1 and 0.
    """
    n = float(counts.sum())
    present, absent = state_given_truth[PRESENT], state_given_truth[ABSENT]
    distance = 0.5 * float(np.abs(present - absent).sum())
    share = 0.5
    for _ in range(_STEPS):  # EM; the likelihood is concave in the share
        mixture = share * present + (1 - share) * absent
        posterior = share * present / np.where(mixture > 0, mixture, 1)
        last, share = share, float((counts * posterior).sum() / max(n, 1))
        if abs(share - last) < _TOLERANCE:
            break
    mixture = share * present + (1 - share) * absent
    slope = (present - absent) / np.where(mixture > 0, mixture, 1)
    information = float((counts * slope**2).sum())
    error = 1 / math.sqrt(information) if information > 0 else math.inf
    misfit = 0.5 * float(np.abs(counts / max(n, 1) - mixture).sum())
    return Shift(share, error, int(n), _problem(distance, error, misfit))


def shift_tables(
    tables: ErrorTables, observation: Observation, states: Floats, *, place: str
) -> tuple[ErrorTables, dict[str, Shift], list[str]]:
    """The tables at the prevalence of some studies, where it differs from that of the audit.

    It differs where the two are further apart than their standard errors explain. What cannot be
    told keeps the audit's prevalence.

    Args:
        observation: that the tables' prevalences come from.
        states: [N, F] label states of the studies: 1, 0, -1 or NaN.
        place: what the studies are, for the warnings.

    Returns:
        The tables, what was estimated for each finding, and warnings.
    """
    codes = state_codes(states)
    found: dict[str, Shift] = {}
    moved = np.full(len(tables.findings), np.nan)
    warnings = []
    for column, name in enumerate(tables.findings):
        if name in tables.without:
            continue
        counts = np.bincount(codes[:, column], minlength=4).astype(np.float64)
        shift = estimate_prevalence(counts, tables.state_given_truth[column])
        found[name] = shift
        if shift.problem:
            warnings.append(f"{place}: the prevalence of {name} is not known: {shift.problem}")
        elif _differs(shift, tables.prevalence[column], observation.findings[name].prevalence):
            moved[column] = shift.prevalence
    return tables.at(moved), found, warnings


def _differs(shift: Shift, prevalence: float, measured: Interval) -> bool:
    error = math.hypot(shift.error, (measured.hi - measured.lo) / (2 * _Z))
    return abs(shift.prevalence - prevalence) > _Z * error


def _problem(distance: float, error: float, misfit: float) -> str:
    if distance < LEAST_DISTANCE:
        return "studies with and without it have nearly the same labels"
    if not error <= MOST_ERROR:
        return f"too few studies (standard error {error:.2f})"
    if misfit > MOST_MISFIT:
        return (
            f"no mixture of the table's states gives these labels ({100 * misfit:.0f} % would have "
            "another), so that the labels' errors differ here too"
        )
    return ""


def prevalences(shifts: Mapping[str, Shift]) -> dict[str, dict[str, float | int | str]]:
    """What run.json says of estimated prevalences."""
    return {
        name: {
            "prevalence": round(shift.prevalence, 5),
            "error": round(shift.error, 5) if math.isfinite(shift.error) else "",
            "n": shift.n,
            "problem": shift.problem,
        }
        for name, shift in shifts.items()
    }
