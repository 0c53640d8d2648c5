"""From labels to what is learned from them: a number for each cell, and the loss that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from cxrvision.noise.correction import FORWARD, correct, pick, values_by_state
from cxrvision.noise.sweep.settings import BOTH, CLEAN, GCE, NONE, SUBSET
from cxrvision.noise.tables import make_tables
from cxrvision.targets import make_targets
from cxrvision.train.losses import masked_bce
from cxrvision.train.noise_losses import corrected_loss, generalized_cross_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.noise.sweep.auditing import Audit

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

CPU: Final = torch.device("cpu")

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, numbers, mask -> mean


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """What a method learns from."""

    values: NDArray[np.floating]  # [N, F] as the loss reads them
    mask: NDArray[np.floating]  # [N, F] the weight of each cell, 0 where it does not count
    loss: Loss
    refused: Bools  # [F] findings whose audit is too small, so that the policy stands


@dataclass(frozen=True, slots=True, eq=False)
class Labeled:
    """N studies with the labels and truths of F findings."""

    findings: tuple[str, ...]
    states: Floats  # [N, F] 1, -1, 0, NaN
    truth: Floats  # [N, F] 1, 0
    uncertain: str = "ignore"  # the policies, as in `make_targets`
    blank: str = "zeros"


def learn(
    method: str,
    labeled: Labeled,
    audit: Audit | None = None,
    *,
    device: torch.device = CPU,
) -> Learning:
    """What a method makes of labels and, where it needs one, an audit.

    Args:
        method: of `METHODS`. `clean` and `clean-subset` see truths, the latter those of the audited
            studies alone, weighed by their inclusion probabilities; `forward-truth` is `forward`
            with the truths of the audited studies in the place of their labels.
        device: of the logits.
    """
    whole = np.ones_like(labeled.truth)
    nothing = np.zeros(len(labeled.findings), dtype=bool)
    if method == CLEAN:
        return Learning(labeled.truth, whole, masked_bce, nothing)
    policy = make_targets(
        labeled.states,
        findings=labeled.findings,
        uncertain=labeled.uncertain,
        blank=labeled.blank,
    )
    if method in (NONE, GCE):
        plain: Loss = masked_bce if method == NONE else generalized_cross_entropy
        return Learning(policy.values, policy.mask, plain, nothing)
    if audit is None:
        raise ValueError(f"audit: None; expected one for the method {method!r}")
    if method == SUBSET:
        return Learning(labeled.truth, whole * audit.weights[:, None], masked_bce, nothing)
    form = FORWARD if method == BOTH else method
    seen = (audit.weights > 0)[:, None]
    tables = make_tables(audit.observation, labeled.findings)
    targets = correct(
        policy,
        pick(values_by_state(tables, form), labeled.states),
        form,
        truth=np.where(seen, labeled.truth, np.nan) if method == BOTH else None,
    )
    values, mask, known = targets.values, targets.mask, ~nothing & tables.known
    if targets.corrected is not None:
        known &= targets.corrected
    if method == BOTH:  # a truth is a target wherever the policy stands
        inside = seen & ~known
        values, mask = np.where(inside, labeled.truth, values), np.where(inside, 1, mask)
    loss = corrected_loss(targets, masked_bce, device)
    return Learning(values, mask, loss, ~known)
