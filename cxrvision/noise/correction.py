"""From label states and error tables to one number for each cell, which the loss compares with.

Each method turns a state z of a finding into a number that stands in the place of a target, and has
a form of the loss that reads it. With x a logit, p = sigmoid(x) and y the truth:

forward   the likelihood of the observed state, -log(p P(z | 1) + (1 - p) P(z | 0)) (Patrini et al.
          2017, for two classes and four states). Only the ratio of the two matters, so that the
          number is log P(z | 1) - log P(z | 0): what the state is worth as evidence.
soft      cross-entropy with the target P(y = 1 | z).
backward  cross-entropy weighed so that its mean over the states is that over the truths (the same
          paper): weights W with T W = 1, of T = P(z | y) with two rows and four columns. Of the
          many such W the one is taken whose sum of squares, weighed by P(z), is least. Its two
          columns add up to 1 for each state, so that one number says both; it may lie outside
          [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES
from cxrvision.noise.tables import ABSENT, PRESENT, state_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.noise.tables import Bools, ErrorTables, Floats
    from cxrvision.targets import Targets

FORWARD: Final = "forward"
SOFT: Final = "soft"
BACKWARD: Final = "backward"
BY_TABLE: Final = (SOFT, FORWARD, BACKWARD)  # methods that cannot do without a table

UNKNOWN_ERROR: Final = 0.2  # share of wrong labels that is taken on where it was not measured

_LEAST: Final = 1e-6  # of a probability: no state proves or excludes a finding
_PROOF: Final = -math.log(_LEAST)  # what a known truth is worth as evidence
_SAYS: Final = STATES.index(POSITIVE)
_SAYS_NOT: Final = [STATES.index(NEGATIVE), STATES.index(BLANK)]


def values_by_state(tables: ErrorTables, method: str) -> Floats:
    """[F, 4] the number that stands for each state; NaN for findings without a table.

    Raises:
        ValueError: a method that uses no table.
    """
    if method == FORWARD:
        return likelihood_ratios(tables.state_given_truth)
    if method == SOFT:
        return tables.truth_given_state
    if method == BACKWARD:
        return backward_weights(tables.state_given_truth, tables.prevalence)
    raise ValueError(f"method {method!r}: expected one of {', '.join(BY_TABLE)}")


def likelihood_ratios(state_given_truth: Floats) -> Floats:
    """[..., 4] log P(state | 1) - log P(state | 0) from [..., 2, 4]."""
    logs = np.log(np.maximum(state_given_truth, _LEAST))
    ratios: Floats = logs[..., PRESENT, :] - logs[..., ABSENT, :]
    return ratios


def backward_weights(state_given_truth: Floats, prevalence: Floats) -> Floats:
    """The weight of the loss for truth 1 by state; that for truth 0 is 1 minus it.

    Args:
        state_given_truth: [..., 2, 4].
        prevalence: [...] in (0, 1).

    Returns:
        [..., 4]; NaN where both truths give the same states, so that no weights exist.
    """
    rows = np.maximum(state_given_truth, _LEAST)
    share = np.stack([prevalence, 1 - prevalence], axis=-1)
    state = (share[..., None] * rows).sum(axis=-2)  # P(z)
    scaled = rows / state[..., None, :]
    gram = scaled @ np.swapaxes(rows, -1, -2)  # [..., 2, 2] T D^-1 T'
    (a, b), (c, d) = np.moveaxis(gram, (-2, -1), (0, 1))
    determinant = a * d - b * c
    with np.errstate(invalid="ignore", divide="ignore"):
        # the first column of the inverse, by which D^-1 T' becomes the weights of truth 1
        first = d[..., None] * scaled[..., PRESENT, :] - c[..., None] * scaled[..., ABSENT, :]
        weights: Floats = np.where(
            determinant[..., None] > _LEAST, first / determinant[..., None], np.nan
        )
    return weights


def wrong_shares(tables: ErrorTables) -> Floats:
    """[2, F] share of the negative or blank labels, and of the positive ones, that are wrong."""
    present = tables.prevalence[:, None] * tables.state_given_truth[:, PRESENT]
    absent = (1 - tables.prevalence)[:, None] * tables.state_given_truth[:, ABSENT]
    whole = present + absent
    missed = present[:, _SAYS_NOT].sum(axis=1) / whole[:, _SAYS_NOT].sum(axis=1)
    overcalled = absent[:, _SAYS] / whole[:, _SAYS]
    shares: Floats = np.nan_to_num(np.stack([missed, overcalled]), nan=UNKNOWN_ERROR)
    return shares


def pick(values: Floats, states: NDArray[np.floating]) -> Floats:
    """[N, F] the number that stands for each label.

    Args:
        values: [F, 4] by state, or [N, F, 4].
        states: [N, F] 1, 0, -1 or NaN.
    """
    codes = state_codes(states)
    each = np.broadcast_to(values, (*codes.shape, values.shape[-1]))
    picked: Floats = np.take_along_axis(each, codes[..., None], axis=-1)[..., 0]
    return picked


def mix(tables: ErrorTables, method: str, probs: Floats) -> Floats:
    """[N, F] the number that stands for each label of which there are probabilities alone.

    A label that is certain gives what `pick` gives. "soft" and "backward" take the mean over the
    states. "forward" takes the likelihood of the uncertain label under each truth (virtual
    evidence: Pearl 1988, sec. 2.2.2), the mean of P(state | truth) over the states.

    Args:
        probs: [N, F, 4] of each of STATES.
    """
    if method == FORWARD:
        each = np.einsum("nfz,fyz->nfy", probs, tables.state_given_truth)
        return likelihood_ratios(each[..., None])[..., 0]
    mixed: Floats = np.einsum("nfz,fz->nf", probs, values_by_state(tables, method))
    return mixed


def correct(
    targets: Targets,
    numbers: Floats,
    method: str,
    *,
    evidence: Floats | None = None,
    truth: Floats | None = None,
) -> Targets:
    """Targets in which the findings that have a table are corrected; the others keep the policy.

    A blank or an uncertain state is evidence like the others: every cell of these findings counts.

    Args:
        targets: of the policy.
        numbers: [N, F] that stand for the labels, by `pick` or `mix`; NaN for findings without a
            table.
        method: of `BY_TABLE`.
        evidence: [N, F] what is known of a label besides its state, in log odds of the truth; not
            for "backward".
        truth: [N, F] 1, 0 where it was looked up, in the place of the state; else NaN.
    """
    known: Bools = np.asarray(~np.isnan(numbers).any(axis=0))
    chosen = numbers
    if evidence is not None:
        chosen = chosen + evidence if method == FORWARD else _moved(chosen, evidence)
    if truth is not None:
        proof = np.where(truth == 1, _PROOF, -_PROOF) if method == FORWARD else truth
        chosen = np.where(np.isnan(truth), chosen, proof)
    return replace(
        targets,
        values=np.where(known, chosen, targets.values).astype(np.float32),
        mask=np.where(known, 1, targets.mask).astype(np.float32),
        corrected=known,
        method=method,
    )


def _moved(probs: Floats, evidence: Floats) -> Floats:
    """Probabilities whose log odds are moved by the evidence."""
    inside = np.clip(probs, _LEAST, 1 - _LEAST)
    odds = np.log(inside) - np.log1p(-inside) + evidence
    moved: Floats = 1 / (1 + np.exp(-odds))
    return moved
