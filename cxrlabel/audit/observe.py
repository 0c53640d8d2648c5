"""Making the observation table: what the audit says about truth and label state of each finding.

For each state, P(truth | state) is the weighted share of truths among the reviewed studies with it,
worth as many studies as Kish's effective number (and fewer where patients' studies are alike), and
partially pooled over the findings by `cxrlabel.audit.pooling`. Among positive and uncertain labels
the findings are alike; among negative and blank ones the odds of a truth are proportional to those
of a positive label, since what is rare is rarely missed: with shares that are alike the prevalence
of a finding of 0.4 % came out at 0.7 % in simulation, so at 0.47 %. "No Finding" is pooled with
none, being no finding. There is no correction for a state of which all studies were reviewed: the
table is used for other studies too.

P(state) comes from all labeled studies where the sample was drawn from them, else from the reviewed
ones. P(state | truth) and the prevalence follow from the two, so that all parts fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.compare import study_weights
from cxrlabel.audit.observation import (
    TRUTHS,
    FindingTable,
    Interval,
    Observation,
    Posterior,
    StateRow,
    draw_table,
    turn_round,
)
from cxrlabel.audit.patients import design_effect, effective_patients
from cxrlabel.audit.pooling import effective_number, pooled_posteriors
from cxrlabel.findings import BLANK, NEGATIVE, NO_FINDING, STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.audit.compare import Comparison

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

DRAWS: Final = 20_000  # of which intervals and variances are taken
_TAILS: Final = (0.025, 0.975)
_ABSENT: Final = (NEGATIVE, BLANK)
_UNSEEN: Final = 0.5  # studies added to each state, so that none is impossible


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """The reviewed studies of a finding; arrays are [4], in the order of `STATES`."""

    n: NDArray[np.int64]
    positive: NDArray[np.int64]  # with the finding
    weight: Floats
    positive_weight: Floats
    effective: Floats
    whole: float  # effective number of all
    alike: float  # how many times more a share of the states varies as patients' studies are alike
    events: float  # effective number with the finding, or without where these are fewer

    @property
    def effective_positive(self) -> Floats:
        """The effective number with the finding."""
        share = self.positive_weight / np.where(self.weight > 0, self.weight, 1)
        return share * self.effective


def observe(comparison: Comparison, *, draws: int = DRAWS, seed: int = 0) -> Observation:
    """The observation tables of all findings of which some truth is known.

    Args:
        draws: that intervals are taken from.
        seed: of these draws.
    """
    counted = {name: _count(comparison, name) for name in comparison.findings}
    counted = {name: found for name, found in counted.items() if found.n.sum()}
    states = {name: _state_shares(comparison, name, found) for name, found in counted.items()}
    frequency = {name: float(state[0] / state.sum()) for name, state in states.items()}
    tables = {}
    for name, (alpha, beta) in _pool(counted, frequency).items():
        # a generator of its own: a finding's numbers do not depend on which others there are
        rng = np.random.default_rng([seed, *name.encode()])
        tables[name] = _table(counted[name], alpha, beta, states[name], rng, draws)
    order = [name for name in comparison.findings if name in tables]
    return Observation(
        reference=comparison.reference,
        design=comparison.design,
        n=len(comparison.labels),
        findings={name: tables[name] for name in order},
    )


def _count(comparison: Comparison, finding: str) -> _Counts:
    labels = comparison.labels[finding].to_numpy()
    truths = comparison.truth[finding].to_numpy()
    known = ~np.isnan(truths)
    truth = truths[known] == 1
    weights = study_weights(comparison, known)
    patients = None if comparison.patients is None else comparison.patients[known]
    states = [labels == 1, labels == -1, labels == 0, np.isnan(labels)]  # as in STATES
    members = [state[known] for state in states]
    return _Counts(
        n=np.array([inside.sum() for inside in members]),
        positive=np.array([(inside & truth).sum() for inside in members]),
        weight=np.array([weights[inside].sum() for inside in members]),
        positive_weight=np.array([weights[inside & truth].sum() for inside in members]),
        effective=np.array(
            [
                effective_number(weights[inside]) / design_effect(truth, inside, patients)
                for inside in members
            ]
        ),
        whole=effective_number(weights),
        alike=max(design_effect(inside, np.ones_like(truth), patients) for inside in members),
        events=min(
            effective_patients(weights[is_so], None if patients is None else patients[is_so])
            for is_so in (truth, ~truth)
        ),
    )


def _pool(
    counted: dict[str, _Counts], frequency: dict[str, float]
) -> dict[str, tuple[Floats, Floats]]:
    """Alpha and beta, [4] each, of every finding's P(truth | state).

    Args:
        frequency: the share of positive labels, above 0.
    """
    groups = [
        [name for name in counted if name != NO_FINDING],
        [name for name in counted if name == NO_FINDING],
    ]
    betas: dict[str, tuple[Floats, Floats]] = {}
    for names in filter(None, groups):
        share = np.array([frequency[name] for name in names])
        parameters = [
            pooled_posteriors(
                [counted[name].effective_positive[place] for name in names],
                [counted[name].effective[place] for name in names],
                odds=share / (1 - share) if state in _ABSENT else None,
            )
            for place, state in enumerate(STATES)
        ]
        stacked = np.array(parameters)  # [4, 2, names]
        betas |= {name: (stacked[:, 0, i], stacked[:, 1, i]) for i, name in enumerate(names)}
    return betas


def _state_shares(comparison: Comparison, finding: str, found: _Counts) -> Floats:
    """[4] Dirichlet parameters of P(state)."""
    if comparison.population is not None:
        states: Floats = comparison.population.loc[list(STATES), finding].to_numpy(np.float64)
        return states + _UNSEEN
    shares: Floats = found.weight / found.weight.sum() * found.whole / found.alike
    return shares + _UNSEEN


def _table(
    found: _Counts,
    alpha: Floats,
    beta: Floats,
    state: Floats,
    rng: np.random.Generator,
    draws: int,
) -> FindingTable:
    p_truth = alpha / (alpha + beta)
    given, prevalence = turn_round(p_truth, state / state.sum())
    betas = {name: (float(alpha[i]), float(beta[i])) for i, name in enumerate(STATES)}
    shares = _by_state(state)
    drawn = draw_table(betas, shares, rng, draws)
    low, high = np.quantile(drawn.truth_given_state, _TAILS, axis=0)
    ends = np.quantile(drawn.prevalence, _TAILS)
    limits = np.quantile(drawn.state_given_truth, _TAILS, axis=0)  # [2, truths, states]
    return FindingTable(
        prevalence=Interval(float(prevalence), float(ends[0]), float(ends[1])),
        states={
            name: StateRow(
                n=int(found.n[i]),
                weight=float(found.weight[i]),
                truth_positive=int(found.positive[i]),
                truth_weight=float(found.positive_weight[i]),
                effective_n=float(found.effective[i]),
                p_truth=float(p_truth[i]),
                lo=float(low[i]),
                hi=float(high[i]),
                observed=bool(found.n[i]),
            )
            for i, name in enumerate(STATES)
        },
        state_given_truth={truth: _by_state(given[i]) for i, truth in enumerate(TRUTHS)},
        state_given_truth_limits={
            truth: {
                name: (float(limits[0, i, place]), float(limits[1, i, place]))
                for place, name in enumerate(STATES)
            }
            for i, truth in enumerate(TRUTHS)
        },
        effective_n=found.whole,
        events=found.events,
        posterior=Posterior(truth_given_state=betas, state=shares),
    )


def _by_state(values: Floats) -> dict[str, float]:
    return {name: float(values[i]) for i, name in enumerate(STATES)}
