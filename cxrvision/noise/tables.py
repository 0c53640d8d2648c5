"""Error tables: P(state | truth) and P(truth | state) of the findings of a run.

They come from observation tables (`noise.json`). Two audits may be composed: one that says how the
labeler reads reports, and one that says how reports tell of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.observation import (
    JointDraws,
    Observation,
    at_prevalence,
    draw_table,
    given_truth,
)
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

PRESENT, ABSENT = 0, 1  # rows of P(state | truth), as in the observation table
REPORT: Final = "report"
IMAGE: Final = "image"

_CODES: Final = (1.0, -1.0, 0.0)  # of the first of STATES; the last one is blank


@dataclass(frozen=True, slots=True, eq=False)
class ErrorTables:
    """The error tables of F findings; those without one have NaN."""

    findings: tuple[str, ...]
    state_given_truth: Floats  # [F, 2, 4] truth 1 and 0, states in the order of STATES
    prevalence: Floats  # [F] P(truth = 1) where the tables are used
    without: Mapping[str, str]  # finding -> why it has no table
    reference: str  # "report", "image", or "" where the audit does not say
    shifted: Bools  # [F] whether the prevalence is another one than the audit's

    @property
    def known(self) -> Bools:
        """[F] whether each finding has a table."""
        return np.array([name not in self.without for name in self.findings])

    @property
    def truth_given_state(self) -> Floats:
        """[F, 4] P(truth = 1 | state)."""
        return at_prevalence(self.state_given_truth, self.prevalence)

    def at(self, prevalence: Floats) -> ErrorTables:
        """The same errors where the findings are as frequent as this.

        Args:
            prevalence: [F]; NaN keeps what is there.
        """
        moved = ~np.isnan(prevalence)
        return replace(
            self,
            prevalence=np.where(moved, prevalence, self.prevalence),
            shifted=self.shifted | moved,
        )


def state_codes(states: NDArray[np.floating]) -> Integers:
    """Label states as places in STATES.

    Args:
        states: [...] 1, 0, -1 or NaN.

    Returns:
        [...] 0 positive, 1 uncertain, 2 negative, 3 blank.
    """
    codes = np.full(np.shape(states), len(_CODES), dtype=np.int64)
    for place, value in enumerate(_CODES):
        codes[states == value] = place
    return codes


def make_tables(
    observation: Observation, findings: Sequence[str], *, image: Observation | None = None
) -> ErrorTables:
    """The tables of a run's findings.

    Args:
        observation: of the labels. With `image`, one whose truth is what the report says.
        image: of report readings (as labels) against readings of the image; its "positive" is a
            report that says the finding is there, "negative" and "blank" one that does not.

    Raises:
        InputError: the references are not those of two such audits.
    """
    if image is not None:
        _check_references(observation, image)
    without: dict[str, str] = {}
    given = np.full((len(findings), 2, len(STATES)), np.nan)
    prevalence = np.full(len(findings), np.nan)
    for place, name in enumerate(findings):
        reason = _reason(observation, name, "") or (image and _reason(image, name, " of the image"))
        if reason:
            without[name] = reason
            continue
        own = given_truth(observation.findings[name])
        if image is None:
            given[place], prevalence[place] = own, observation.findings[name].prevalence.mean
        else:
            second = image.findings[name]
            given[place] = compose(own, said_given_truth(given_truth(second)))
            prevalence[place] = second.prevalence.mean
    reference = observation.reference if image is None else IMAGE
    unmoved = np.zeros(len(findings), dtype=bool)
    return ErrorTables(tuple(findings), given, prevalence, without, reference, unmoved)


def draw_tables(
    observation: Observation,
    findings: Sequence[str],
    rng: np.random.Generator,
    k: int,
    *,
    image: Observation | None = None,
) -> list[ErrorTables]:
    """K draws of `make_tables` from the posterior of the audits: how uncertain they are."""
    mean = make_tables(observation, findings, image=image)
    given = np.repeat(mean.state_given_truth[None], k, axis=0)
    prevalence = np.repeat(mean.prevalence[None], k, axis=0)
    for place, name in enumerate(findings):
        if name in mean.without:
            continue
        own = _draw(observation, name, rng, k)
        if image is None:
            given[:, place], prevalence[:, place] = own.state_given_truth, own.prevalence
        else:
            second = _draw(image, name, rng, k)
            given[:, place] = compose(
                own.state_given_truth, said_given_truth(second.state_given_truth)
            )
            prevalence[:, place] = second.prevalence
    return [
        replace(mean, state_given_truth=one, prevalence=shares)
        for one, shares in zip(given, prevalence, strict=True)
    ]


def compose(state_given_said: Floats, said_given_truth: Floats) -> Floats:
    """P(state | truth of the image) from two errors in a row.

    It holds where the labeler's error depends on what the report says alone.

    Args:
        state_given_said: [..., 2, 4] P(state | the report says so, or not).
        said_given_truth: [..., 2, 2] P(the report says so, or not | truth 1 and 0).
    """
    return said_given_truth @ state_given_said


def said_given_truth(state_given_truth: Floats) -> Floats:
    """P(the report says so, or not | truth), from the states of report readings.

    Readings that leave it open do not count.

    Args:
        state_given_truth: [..., 2, 4].

    Returns:
        [..., 2, 2].
    """
    says = state_given_truth[..., STATES.index("positive")]
    not_so = state_given_truth[..., [STATES.index("negative"), STATES.index("blank")]].sum(axis=-1)
    both = np.stack([says, not_so], axis=-1)
    shares: Floats = both / both.sum(axis=-1, keepdims=True)
    return shares


def _draw(observation: Observation, finding: str, rng: np.random.Generator, k: int) -> JointDraws:
    posterior = observation.findings[finding].posterior
    return draw_table(posterior.truth_given_state, posterior.state, rng, k)


def _reason(observation: Observation, finding: str, which: str) -> str:
    """Why a finding's table is not used; "" where it is."""
    table = observation.findings.get(finding)
    if table is None:
        return f"not in the table{which}"
    if not table.enough:
        return f"too few reviewed studies with or without it ({table.events:.1f}){which}"
    return ""


def _check_references(report: Observation, image: Observation) -> None:
    for option, table, wanted in (
        ("--noise-report", report, REPORT),
        ("--noise-image", image, IMAGE),
    ):
        if table.reference not in ("", wanted):
            raise InputError(
                f"{option}: an audit whose reference is {table.reference!r}; expected {wanted!r}"
            )
