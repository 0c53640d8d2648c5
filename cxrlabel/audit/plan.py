"""Planning: how many studies to review for intervals of a wanted width, and what stays unknown.

The number that an audit estimates is P(truth | state), the share of studies with a label state that
truly have the finding. Its interval is Wilson's (1927), for as many studies as the reviewed ones
are worth: with unequal weights they are worth less than their number (Kish 1965, sec. 11.7). There
is no correction for reviewing most of a small state, because the table of error is used for other
studies as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.design import FLOOR, Partition, inclusion_rates, partition
from cxrlabel.audit.sampling import state_cells
from cxrlabel.errors import InputError
from cxrlabel.findings import POSITIVE, STATES, UNCERTAIN, suggest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Guesses = Mapping[str, Mapping[str, float]]  # finding -> state -> P(truth | state)

EVERY: Final = "*"  # in guesses: the findings that have none of their own
HALF_WIDTH: Final = 0.1
PACE: Final = 2.0  # minutes per study, for some 14 findings
FEW: Final = 5  # studies; below, no estimate means much
# cautious for a labeler of reports; an uncertain label says least
GUESSES: Final = {POSITIVE: 0.85, UNCERTAIN: 0.5}
MISSED: Final = 0.1  # of the truths, those with a negative or blank label

YES: Final = "yes"  # reached with n
MORE: Final = "more"  # reached with a larger sample
WIDE: Final = "wide"  # all studies of this state give a wider interval
TOO_FEW: Final = "few"  # fewer than 5 studies have this state
NONE: Final = "none"  # no study has it

_Z: Final = 1.959964  # 97.5th percentile of the normal distribution


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One label state of one finding."""

    finding: str
    state: str
    studies: int  # that have it
    guess: float  # P(truth | state), in [0, 1]
    needed: int  # reviewed studies of equal weight for the wanted half-width
    minutes: float  # for reading as many
    expected: float  # studies of this state in a sample of n
    effective: float  # as many of equal weight they are worth
    lo: float  # the expected 95 % interval with n
    hi: float
    best_half_width: float  # with every study of the state reviewed
    reach: str  # "yes", "more", "wide", "few" or "none"


@dataclass(frozen=True, slots=True)
class FindingPlan:
    """What the states' guesses amount to for a finding; uncertain is read as negative.

    The sensitivity hangs on the few truths among many negative and blank labels, so its interval is
    the widest of all.
    """

    finding: str
    prevalence: float
    sensitivity: float  # NaN where no truth is expected
    lo: float  # the expected 95 % interval with n
    hi: float


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """A plan for the design "states"."""

    studies: int
    n: int
    minutes: float  # for n
    half_width: float
    # the smallest sample in which each state of enough studies has the half-width, or all studies
    n_wanted: int
    minutes_wanted: float
    cells: tuple[CellPlan, ...]
    findings: tuple[FindingPlan, ...]

    @property
    def unmeasurable(self) -> tuple[CellPlan, ...]:
        """The states that have too few studies for the half-width, however many are reviewed."""
        return tuple(cell for cell in self.cells if cell.reach in (WIDE, TOO_FEW, NONE))


def plan_audit(
    labels: pd.DataFrame,
    *,
    n: int | None = None,
    half_width: float = HALF_WIDTH,
    pace: float = PACE,
    guesses: Guesses | None = None,
    prevalence: Mapping[str, float] | None = None,
    floor: float = FLOOR,
) -> AuditPlan:
    """Plan an audit of a table of labels.

    Args:
        labels: index: id; a column per finding: 1, 0, -1, NaN.
        n: studies to review; None takes as many as the half-width asks for.
        half_width: wanted, of P(truth | state), in (0, 0.5).
        pace: minutes per study.
        guesses: P(truth | state) by finding and state, "*" for all findings; else `GUESSES`, and
            for negative and blank what amounts to `MISSED`.
        prevalence: share of studies that truly have a finding: then negative and blank have, where
            no guess is given, what the other states leave of it.
        floor: as in `draw_sample`.

    Raises:
        InputError: a number out of its range, an unknown finding or state, no studies, or a
            prevalence that the guesses rule out.
    """
    _check(labels, n, half_width, pace)
    _check_share(floor, "--floor")
    for name, share in (prevalence or {}).items():
        _check_share(share, f"prevalence of {name}")
    parts = partition(state_cells(labels))
    table = _guess_table(labels, parts, guesses or {}, prevalence or {})
    wanted = _smallest(parts, table, half_width, floor)
    total = min(n, len(labels)) if n is not None else wanted
    expected, effective = expected_reviews(parts, inclusion_rates(parts, total, floor=floor))
    seen = dict(zip(parts.cells, zip(parts.sizes, expected, effective, strict=True), strict=True))
    cells = [
        _cell(finding, state, guess, seen.get((finding, state), (0, 0, 0)), half_width, pace)
        for finding, states in table.items()
        for state, guess in states.items()
    ]
    return AuditPlan(
        studies=len(labels),
        n=total,
        minutes=total * pace,
        half_width=half_width,
        n_wanted=wanted,
        minutes_wanted=wanted * pace,
        cells=tuple(cells),
        findings=tuple(
            _finding([c for c in cells if c.finding == name], len(labels)) for name in table
        ),
    )


def expected_reviews(
    parts: Partition, rates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a sample holds of each cell, before the numbers of the strata are rounded.

    Args:
        rates: [C] from `inclusion_rates`.

    Returns:
        [C] expected studies; [C] how many of equal weight they are worth.
    """
    return rates @ parts.together, parts.sizes**2 / ((1 / rates) @ parts.together)


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share that is expected of n studies, n no whole number."""
    if n <= 0:
        return 0.0, 1.0
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = wilson_half_width(share, n)
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_half_width(share: float, n: float) -> float:
    """Half of the length of that interval; 0.5 for n = 0."""
    return _Z * math.sqrt(n * share * (1 - share) + _Z**2 / 4) / (n + _Z**2)


def needed_reviews(share: float, half_width: float) -> int:
    """The smallest n whose Wilson interval is as short as wanted."""
    # half_width**2 (n + z**2)**2 = z**2 (n share (1 - share) + z**2 / 4), solved for n
    a = half_width**2
    b = _Z**2 * (2 * a - share * (1 - share))
    c = _Z**4 * (a - 0.25)
    return math.ceil((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a) - 1e-9)


def _smallest(parts: Partition, table: Guesses, half_width: float, floor: float) -> int:
    """The smallest n with which each state that has enough studies is worth what it needs.

    All studies where no state has enough.
    """
    needed = np.array([needed_reviews(table[f][state], half_width) for f, state in parts.cells])
    enough = parts.sizes >= needed
    low, high = 1, len(parts.rarest)
    if not enough.any():
        return high
    while high - low > 1:
        middle = (low + high) // 2
        effective = expected_reviews(parts, inclusion_rates(parts, middle, floor=floor))[1]
        if (effective >= needed - 1e-6)[enough].all():
            high = middle
        else:
            low = middle
    return high


def _cell(
    finding: str,
    state: str,
    guess: float,
    seen: tuple[float, float, float],
    half_width: float,
    pace: float,
) -> CellPlan:
    """Args: seen: studies with this state, how many the sample has, and what they are worth."""
    studies, expected, effective = int(seen[0]), float(seen[1]), float(seen[2])
    needed = needed_reviews(guess, half_width)
    lo, hi = wilson(guess, effective)
    return CellPlan(
        finding,
        state,
        studies,
        guess,
        needed,
        minutes=needed * pace,
        expected=expected,
        effective=effective,
        lo=lo,
        hi=hi,
        best_half_width=wilson_half_width(guess, studies),
        reach=_reach(studies, effective, needed),
    )


def _reach(studies: int, effective: float, needed: int) -> str:
    if studies < FEW:
        return TOO_FEW if studies else NONE
    if studies < needed:
        return WIDE
    return YES if effective >= needed - 1e-6 else MORE


def _finding(cells: list[CellPlan], total: int) -> FindingPlan:
    """The sensitivity by the delta method on the logit scale; the states are independent."""
    found = missed = found_variance = missed_variance = 0.0
    for cell in cells:
        if not cell.studies:
            continue
        true = cell.studies * cell.guess
        unseen = max(0.0, 1 - cell.effective / cell.studies)  # no error is left in a census
        variance = true * cell.studies * (1 - cell.guess) / cell.effective * unseen
        if cell.state == POSITIVE:
            found, found_variance = true, variance
        else:
            missed, missed_variance = missed + true, missed_variance + variance
    prevalence = (found + missed) / total
    if not found or not missed:
        share = found / (found + missed) if found + missed else math.nan
        return FindingPlan(cells[0].finding, prevalence, share, 0.0, 1.0)
    # logit(sensitivity) = log(found / missed)
    half = _Z * math.sqrt(found_variance / found**2 + missed_variance / missed**2)
    middle = math.log(found / missed)
    return FindingPlan(
        cells[0].finding, prevalence, _expit(middle), _expit(middle - half), _expit(middle + half)
    )


def _expit(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def _guess_table(
    labels: pd.DataFrame, parts: Partition, guesses: Guesses, prevalence: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """P(truth | state) of every finding, in the order of its states."""
    findings = [str(name) for name in labels.columns]
    for name in [*guesses, *prevalence]:
        if name not in findings and name != EVERY:
            raise InputError(f"guesses: unknown finding {name!r}; {suggest(name, findings)}")
    for given in guesses.values():
        for state, share in given.items():
            if state not in STATES:
                raise InputError(f"guesses: unknown state {state!r}; {suggest(state, STATES)}")
            _check_share(share, f"guesses: {state}")
    sizes = dict(zip(parts.cells, parts.sizes.tolist(), strict=True))
    table = {}
    for name in findings:
        known = {**GUESSES, **guesses.get(EVERY, {}), **guesses.get(name, {})}
        counts = {state: sizes.get((name, state), 0) for state in STATES}
        given_share = prevalence[name] if name in prevalence else prevalence.get(EVERY)
        truths = None if given_share is None else given_share * len(labels)
        rest = _rest(name, counts, known, truths)
        table[name] = {**dict.fromkeys(STATES, rest), **known}
    return table


def _rest(
    name: str, counts: Mapping[str, int], known: Mapping[str, float], truths: float | None
) -> float:
    """P(truth | state) of the states without a guess.

    Args:
        counts: studies by state.
        truths: studies that truly have the finding, None where that is not known.
    """
    found = sum(counts[state] * share for state, share in known.items())
    studies = sum(count for state, count in counts.items() if state not in known)
    if truths is None:
        return min(0.5, found * MISSED / (1 - MISSED) / studies) if studies else MISSED
    if not found - 1e-6 <= truths <= found + studies + 1e-6:
        total = sum(counts.values())
        raise InputError(
            f"prevalence of {name}: {truths / total:.4g}; the guesses for its states leave "
            f"{found / total:.4g} to {(found + studies) / total:.4g}"
        )
    return min(1.0, max(0.0, (truths - found) / studies)) if studies else MISSED


def _check(labels: pd.DataFrame, n: int | None, half_width: float, pace: float) -> None:
    if labels.empty:
        raise InputError("labels: no studies or no findings; expected at least one of each")
    if n is not None and n < 2:
        raise InputError(f"--n: {n}; expected 2 or more studies")
    if not 0 < half_width < 0.5:
        raise InputError(f"--half-width: {half_width}; expected a number between 0 and 0.5")
    if not pace > 0:
        raise InputError(f"--pace: {pace}; expected minutes above 0")


def _check_share(share: float, place: str) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"{place}: {share}; expected a share from 0 to 1")
