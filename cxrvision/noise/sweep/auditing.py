"""A simulated audit, as the tool does it: drawn by label states, read without error, tabulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.compare import compare
from cxrlabel.audit.consensus import Consensus
from cxrlabel.audit.observe import observe
from cxrlabel.audit.sampling import draw_sample, state_cells

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cxrlabel.audit.observation import Observation

_DRAWS: Final = 100  # of intervals, which nothing here reads


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """What was found out, and on which studies."""

    observation: Observation
    # [N] of each labeled study: 1 / its inclusion probability, scaled to a mean of 1 over those
    # that were read; 0 for all others
    weights: NDArray[np.float64]


def simulate_audit(
    labels: pd.DataFrame, truth: pd.DataFrame, patients: pd.Series[str], *, n: int, seed: int
) -> Audit:
    """Draw n studies as `cxr audit sample` does, read their truths, make the observation table.

    Args:
        labels: index: id; 1, 0, -1, NaN.
        truth: the same rows and columns: 1, 0.
        patients: of each study, by id.
    """
    sample = draw_sample(state_cells(labels), n=n, seed=seed)
    read = truth.loc[sample.table.index]
    comparison = compare(labels, _review(read), sample=sample, patients=patients)
    weights = sample.table["weight"].reindex(labels.index).fillna(0.0).to_numpy(np.float64)
    return Audit(observe(comparison, draws=_DRAWS), weights / weights[weights > 0].mean())


def _review(truth: pd.DataFrame) -> Consensus:
    """A review by one reader who is never wrong."""
    return Consensus(
        id_name=str(truth.index.name),
        reference="image",
        rule="first",
        reviewers=("",),
        truth=truth,
        states=truth,
        agreed=truth.notna(),
        four_states=False,
        several=0,
        ties=0,
        not_evaluable=0,
    )
