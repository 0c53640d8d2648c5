"""The observation table: how likely each truth is for each label state, and how sure that is.

`noise.json` is written by an audit and read by training and evaluation, on machines that may have
neither spaCy nor scipy. P(truth | state) belongs to the site that was audited and moves with the
prevalence; P(state | truth) does so less, and gives the first for another prevalence.

What is drawn from the table says how uncertain the audit is. It is not a truth: labels that are
drawn from P(truth | state) know nothing of the image, and an AUC against them is wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.writers import atomic_path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SCHEMA: Final = 1
ENOUGH: Final = (
    5.0  # effective studies with, and without, the finding; below, nothing is to be used
)
TRUTHS: Final = ("1", "0")  # present, absent

_DIGITS: Final = 8
_SMALLEST: Final = 1e-12  # a parameter of a distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """A posterior mean with the central 95 %."""

    mean: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class StateRow:
    """The reviewed studies with one label state."""

    n: int  # studies
    weight: float  # studies that they stand for
    truth_positive: int  # studies that have the finding
    truth_weight: float  # studies that these stand for
    effective_n: float  # studies of equal weight and unrelated patients that they are worth
    p_truth: float  # posterior mean of P(truth | state)
    lo: float
    hi: float
    observed: bool  # False: no study was reviewed, the values are what the other findings predict

    @property
    def events(self) -> float:
        """Effective studies with the finding, or without where they are fewer.

        Below some ten of them the values lean on the other findings.
        """
        share = self.truth_weight / self.weight if self.weight else 0.0
        return self.effective_n * min(share, 1 - share)


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is needed to draw: independent distributions, from which all else follows."""

    truth_given_state: Mapping[str, tuple[float, float]]  # state -> Beta alpha, beta
    state: Mapping[str, float]  # Dirichlet of the states' shares


@dataclass(frozen=True, slots=True)
class FindingTable:
    """The observation table of one finding."""

    prevalence: Interval
    states: Mapping[str, StateRow]
    # truth "1" and "0" -> state -> P(state | truth)
    state_given_truth: Mapping[str, Mapping[str, float]]
    state_given_truth_limits: Mapping[str, Mapping[str, tuple[float, float]]]  # central 95 %
    effective_n: float  # studies of equal weight that all reviewed ones are worth
    # the same of those with the finding, or of those without where they are fewer; patients count
    # once where they are known
    events: float
    posterior: Posterior

    @property
    def enough(self) -> bool:
        """Whether there are enough events for the table to be used."""
        return self.events >= ENOUGH


@dataclass(frozen=True, slots=True)
class Observation:
    """The observation tables of an audit."""

    reference: str  # "report", "image" or "" where the review does not say
    design: str
    n: int  # studies that were labeled and reviewed
    findings: Mapping[str, FindingTable]


@dataclass(frozen=True, slots=True, eq=False)
class JointDraws:
    """k draws of all that one table says; states in the order of `STATES`."""

    truth_given_state: Floats  # [k, 4]
    state_given_truth: Floats  # [k, 2, 4] for truth 1 and 0
    prevalence: Floats  # [k]


def draw(observation: Observation, rng: np.random.Generator, k: int) -> dict[str, Floats]:
    """K posterior draws of P(truth | state) for each finding.

    Returns:
        Finding -> [k, 4], states in the order of `STATES`: positive, uncertain, negative, blank.
    """
    drawn = draw_jointly(observation, rng, k)
    return {finding: draws.truth_given_state for finding, draws in drawn.items()}


def draw_jointly(
    observation: Observation, rng: np.random.Generator, k: int
) -> dict[str, JointDraws]:
    """K posterior draws of P(truth | state), P(state | truth) and prevalence that go together."""
    return {
        finding: draw_table(table.posterior.truth_given_state, table.posterior.state, rng, k)
        for finding, table in observation.findings.items()
    }


def draw_table(
    truth_given_state: Mapping[str, tuple[float, float]],
    state: Mapping[str, float],
    rng: np.random.Generator,
    k: int,
) -> JointDraws:
    """Draws of one table, from `Posterior`."""
    parameters = np.array([truth_given_state[name] for name in STATES])
    truth = rng.beta(parameters[:, 0], parameters[:, 1], (k, len(STATES)))
    shares = rng.dirichlet([state[name] for name in STATES], k)
    given, prevalence = turn_round(truth, shares)
    return JointDraws(truth, given, prevalence)


def turn_round(truth_given_state: ArrayLike, state: ArrayLike) -> tuple[Floats, Floats]:
    """P(state | truth) and the prevalence, from P(truth | state) and P(state).

    Args:
        truth_given_state, state: [..., 4]

    Returns:
        [..., 2, 4] for truth 1 and 0, and [...]. P(state | truth) is P(state) for a truth that does
        not occur.
    """
    truth, share = np.asarray(truth_given_state, np.float64), np.asarray(state, np.float64)
    joint = np.stack([share * truth, share * (1 - truth)], axis=-2)
    sums = joint.sum(axis=-1, keepdims=True)
    given = np.where(sums > 0, joint / np.where(sums > 0, sums, 1), share[..., None, :])
    return given, sums[..., 0, 0]


def at_prevalence(state_given_truth: ArrayLike, prevalence: ArrayLike) -> Floats:
    """P(truth | state) where the finding is as frequent as this, by Bayes' theorem.

    It holds where P(state | truth) is the same: the same labeler, and reports that speak alike.

    Args:
        state_given_truth: [..., 2, 4] for truth 1 and 0, as `JointDraws` and `given_truth` have it.
        prevalence: [...] in [0, 1].

    Returns:
        [..., 4]; the prevalence for a state that no truth gives.
    """
    given, share = np.asarray(state_given_truth, np.float64), np.asarray(prevalence, np.float64)
    yes = given[..., 0, :] * share[..., None]
    both = yes + given[..., 1, :] * (1 - share[..., None])
    return np.where(both > 0, yes / np.where(both > 0, both, 1), share[..., None])


def given_truth(table: FindingTable) -> Floats:
    """P(state | truth) of a table as [2, 4]: truth 1 and 0, states in the order of `STATES`."""
    return np.array([[table.state_given_truth[t][name] for name in STATES] for t in TRUTHS])


# the file


def write_observation(path: Path | str, observation: Observation, *, force: bool = False) -> None:
    """Write noise.json.

    Raises:
        InputError: as `cxrlabel.writers.atomic_path`.
    """
    content = json.dumps(_plain({"schema": SCHEMA, **asdict(observation)}), indent=1)
    with atomic_path(path, force=force) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")


def read_observation(path: Path | str) -> Observation:
    """Read noise.json and look at every value.

    Raises:
        InputError: no such file, not JSON, another schema, or a value that is missing or impossible
            (its place in the file is named).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # malformed, or nested without end
        raise InputError(f"{path}: not JSON, expected an observation table (noise.json)") from error
    node = _Node(content, f"{path}: $")
    schema = node.value("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{path}: schema {str(schema)[:20]}; expected {SCHEMA}"
            f"{' (a later version of cxr wrote it?)' if isinstance(schema, int) else ''}"
        )
    findings = node.child("findings")
    names = list(findings.table())
    if not names:
        raise InputError(f"{path}: no finding; expected one or more")
    return Observation(
        reference=node.text("reference"),
        design=node.text("design"),
        n=int(node.number("n")),
        findings={name: _finding(findings.child(name)) for name in names},
    )


def _finding(node: _Node) -> FindingTable:
    states, posterior = node.child("states"), node.child("posterior")
    betas = posterior.child("truth_given_state")
    given, limits = node.child("state_given_truth"), node.child("state_given_truth_limits")
    return FindingTable(
        prevalence=Interval(**node.child("prevalence").shares("mean", "lo", "hi")),
        states={name: _row(states.child(name)) for name in STATES},
        state_given_truth={truth: given.child(truth).shares(*STATES) for truth in TRUTHS},
        state_given_truth_limits={
            truth: {name: limits.child(truth).pair(name, high=1.0) for name in STATES}
            for truth in TRUTHS
        },
        effective_n=node.number("effective_n"),
        events=node.number("events"),
        posterior=Posterior(
            truth_given_state={name: betas.pair(name, low=_SMALLEST) for name in STATES},
            state=posterior.child("state").positive(*STATES),
        ),
    )


def _row(node: _Node) -> StateRow:
    observed = node.value("observed")
    if not isinstance(observed, bool):
        raise InputError(f"{node.place}.observed: expected true or false")
    return StateRow(
        n=int(node.number("n")),
        weight=node.number("weight"),
        truth_positive=int(node.number("truth_positive")),
        truth_weight=node.number("truth_weight"),
        effective_n=node.number("effective_n"),
        observed=observed,
        **node.shares("p_truth", "lo", "hi"),
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """A JSON object with its place in the file ("noise.json: $.findings.Edema")."""

    content: Any
    place: str

    def table(self) -> Mapping[str, Any]:
        if not isinstance(self.content, dict):
            raise InputError(f"{self.place}: expected an object with named values")
        return self.content

    def value(self, key: str) -> Any:
        table = self.table()
        if key not in table:
            raise InputError(f"{self.place}: no {key!r}; expected it in an observation table")
        return table[key]

    def child(self, key: str) -> _Node:
        return _Node(self.value(key), f"{self.place}.{key}")

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            raise InputError(f"{self.place}.{key}: expected a text")
        return value

    def number(self, key: str, *, low: float = 0.0, high: float = math.inf) -> float:
        return self._check(self.value(key), key, low, high)

    def shares(self, *keys: str) -> dict[str, float]:
        return {key: self.number(key, high=1.0) for key in keys}

    def positive(self, *keys: str) -> dict[str, float]:
        return {key: self.number(key, low=_SMALLEST) for key in keys}

    def pair(self, key: str, *, low: float = 0.0, high: float = math.inf) -> tuple[float, float]:
        value = self.value(key)
        if not isinstance(value, list) or len(value) != 2:
            raise InputError(f"{self.place}.{key}: expected two numbers")
        first, second = (self._check(item, key, low, high) for item in value)
        return first, second

    def _check(self, value: Any, key: str, low: float, high: float) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not (fits and math.isfinite(value) and low <= value <= high):
            wanted = f"in [{low:g}, {high:g}]" if high < math.inf else f"of {low:g} or more"
            raise InputError(f"{self.place}.{key}: {str(value)[:20]}; expected a number {wanted}")
        return float(value)


def _plain(value: Any) -> Any:
    """Dicts, lists and numbers of some digits, ready for JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
