"""Backends: what `cxr label --backend` labels with, alone or several together.

Each gives probabilities of the four states. A finding that no model has learned is labeled by the
rules; a report that says nothing is blank, whatever a model thinks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, NO_FINDING, POSITIVE, STATES, SUPPORT_DEVICES, UNCERTAIN
from cxrlabel.studies import LABELED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler
    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]

RULES: Final = "rules"
COMBINATIONS: Final = ("average", "vote")
_P, _U, _B = (STATES.index(state) for state in (POSITIVE, UNCERTAIN, BLANK))


class Model(Protocol):
    """A learned labeler."""

    @property
    def kind(self) -> str:
        """Such as "hybrid"."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Those that it has learned."""

    def probs(self, readings: Sequence[Reading], rules: Codes) -> Floats:
        """[N, findings, 4] probability of each of STATES; `rules` is [N, F], what they found."""


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """The rules and models that label together."""

    labeler: Labeler
    models: tuple[Model, ...]
    with_rules: bool  # whether the rules are one of those that are combined
    combine: str  # of COMBINATIONS
    table: Floats  # [4, 4] P(state | state that the rules found), what the rules are worth

    def __post_init__(self) -> None:
        check_combination(self.combine)

    @property
    def name(self) -> str:
        """The kinds that label, such as "rules+hybrid"."""
        return "+".join([*([RULES] if self.with_rules else []), *(m.kind for m in self.models)])

    @property
    def by_rules(self) -> tuple[str, ...]:
        """The findings that no model has learned."""
        learned = {name for model in self.models for name in model.findings}
        return tuple(name for name in self.labeler.findings if name not in learned)

    def probs(self, readings: Sequence[Reading], rules: Codes) -> Floats:
        """[N, F, 4] probability of each of STATES, for all findings of the labeler.

        Args:
            rules: [N, F] what the rules found, each an index into STATES.
        """
        own = self.table[rules]
        found = [own] if self.with_rules else []
        for model in self.models:
            one = np.full(own.shape, np.nan)
            if model.findings:
                columns = [self.labeler.findings.index(name) for name in model.findings]
                one[:, columns] = model.probs(readings, rules)
            found.append(one)
        known = ~np.isnan(np.stack(found)[:, :, :, :1])
        counts = known.sum(axis=0)
        mean = np.where(known, np.stack(found), 0).sum(axis=0) / np.maximum(counts, 1)
        probs = np.where(counts > 0, mean, own)
        if self.combine == "vote":
            probs = _votes(np.stack(found), known, probs)
        columns = [self.labeler.findings.index(name) for name in self.by_rules]
        probs[:, columns] = _led_by(probs[:, columns], rules[:, columns])
        silent = np.array([reading.status != LABELED for reading in readings], dtype=bool)
        probs[silent] = np.eye(len(STATES))[_B]
        return self._with_no_finding(probs, silent)

    def _with_no_finding(self, probs: Floats, silent: NDArray[np.bool_]) -> Floats:
        """No Finding is blank where an abnormality is positive or uncertain: its definition."""
        findings = self.labeler.findings
        if NO_FINDING not in findings:
            return probs
        own = findings.index(NO_FINDING)
        others = [i for i, name in enumerate(findings) if name not in (NO_FINDING, SUPPORT_DEVICES)]
        states = probs[:, others].argmax(axis=-1)
        blocked = silent | np.isin(states, (_P, _U)).any(axis=1)
        probs[blocked, own] = np.eye(len(STATES))[_B]
        healthy = probs[:, own, _P].copy()  # it has two states
        probs[:, own] = 0
        probs[:, own, _P], probs[:, own, _B] = healthy, 1 - healthy
        return probs


def check_combination(combine: str) -> None:
    """Raise an `InputError` where several labelers cannot be combined so."""
    if combine not in COMBINATIONS:
        raise InputError(f"--combine: {combine!r}; expected one of {', '.join(COMBINATIONS)}")


def states_of(probs: Floats) -> Codes:
    """[..., 4] probabilities to the likeliest state, an index into STATES."""
    codes: Codes = probs.argmax(axis=-1).astype(np.uint8)
    return codes


def _votes(found: Floats, known: NDArray[np.bool_], mean: Floats) -> Floats:
    """[N, F, 4] shares of the votes for each state; the mean probability decides a tie."""
    votes = np.eye(len(STATES))[np.nan_to_num(found).argmax(axis=-1)] * known
    shares = votes.sum(axis=0) + 1e-3 * mean
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _led_by(probs: Floats, rules: Codes) -> Floats:
    """Probabilities in which the state that the rules found is the likeliest."""
    leading = np.take_along_axis(probs, rules[..., None].astype(np.int64), axis=-1)
    wrong = states_of(probs) != rules
    certain = np.eye(len(STATES))[rules]
    return np.where(wrong[..., None] & (leading < 1), certain, probs)
