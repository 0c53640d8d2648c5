"""The one truth that the readings of a study amount to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from cxrlabel.audit.reviews import ADJUDICATED, Reviews

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["majority", "any", "all", "first"]
Blank = Literal["absent", "open"]
Uncertain = Literal["open", "positive", "negative"]

RULES: Final[tuple[Rule, ...]] = ("majority", "any", "all", "first")


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """One truth for each study."""

    id_name: str
    reference: str
    rule: Rule
    reviewers: tuple[str, ...]
    truth: pd.DataFrame  # index: id, sorted; 1 or 0, NaN where it is left open
    states: pd.DataFrame  # the same rows: 1, 0, -1, NaN for blank; open where `agreed` is False
    agreed: pd.DataFrame  # the same rows: whether the readings amount to one of the four states
    four_states: bool
    several: int  # studies that more than one reviewer read
    ties: int  # cells left open because as many readings say 1 as 0
    not_evaluable: int


def truth_values(
    reviews: Reviews,
    *,
    blank: Blank = "absent",
    uncertain: Uncertain = "open",
    open_ambiguous: bool = False,
) -> pd.DataFrame:
    """Read the states of each reading as truth.

    Args:
        blank: what a blank cell is: the finding is absent (not mentioned), or nobody knows.
        uncertain: what an uncertain one is; "open" leaves it out of what needs a truth.
        open_ambiguous: leave open the cells that the file marks as ambiguous.

    Returns:
        The rows of `reviews.states`: 1, 0 or NaN where it is left open.
    """
    states = reviews.states.to_numpy()
    codes = {"open": math.nan, "absent": 0.0, "negative": 0.0, "positive": 1.0}
    values = np.where(np.isnan(states), codes[blank], states)
    values = np.where(states == -1, codes[uncertain], values)
    if open_ambiguous:
        values = np.where(reviews.ambiguous, math.nan, values)
    return pd.DataFrame(values, index=reviews.states.index, columns=reviews.states.columns)


def make_consensus(
    reviews: Reviews,
    *,
    rule: Rule = "majority",
    blank: Blank = "absent",
    uncertain: Uncertain = "open",
    open_ambiguous: bool = False,
) -> Consensus:
    """One truth for each study from all its readings.

    Open readings do not vote; a cell without a vote, and a tie, stay open. Where a study has a row
    of the reviewer "adjudicated", that row decides alone.

    Args:
        rule: what readings that differ amount to: what more than half say; 1 if any says so; 1 if
            all say so; or what the first row of the file says.
        blank, uncertain, open_ambiguous: as in `truth_values`.
    """
    values = truth_values(reviews, blank=blank, uncertain=uncertain, open_ambiguous=open_ambiguous)
    states = reviews.states
    ids = states.index.get_level_values(0)
    by = states.index.get_level_values(1)
    several = pd.Series(ids[by != ADJUDICATED]).value_counts()
    decided = ids[by == ADJUDICATED]
    votes = np.asarray((by == ADJUDICATED) | ~ids.isin(decided))  # adjudicated: the others are mute
    if rule == "first":
        votes &= ~pd.Series(np.where(votes, ids, "")).where(votes).duplicated().to_numpy()
    codes, order = pd.factorize(ids, sort=True)
    truth, ties = _vote(values.to_numpy(), codes, len(order), votes, rule)
    index = pd.Index(order, name=reviews.id_name)
    four, agreed = _common_state(states.to_numpy(), codes, len(order), votes)
    columns = states.columns
    return Consensus(
        id_name=reviews.id_name,
        reference=reviews.reference,
        rule=rule,
        reviewers=reviews.reviewers,
        truth=pd.DataFrame(truth, index=index, columns=columns),
        states=pd.DataFrame(four, index=index, columns=columns),
        agreed=pd.DataFrame(agreed, index=index, columns=columns),
        four_states=reviews.four_states,
        several=int((several > 1).sum()),
        ties=ties,
        not_evaluable=reviews.not_evaluable,
    )


def _vote(
    values: NDArray[np.float64],
    codes: NDArray[np.intp],
    studies: int,
    votes: NDArray[np.bool_],
    rule: Rule,
) -> tuple[NDArray[np.float64], int]:
    """Truth by study, and how many cells are tied.

    Args:
        values: [rows, F] 1, 0 or NaN.
        codes: [rows] the index of each row's study.
        votes: [rows] whether the row counts.
    """
    yes = _count((values == 1) & votes[:, None], codes, studies)
    no = _count((values == 0) & votes[:, None], codes, studies)
    if rule == "any":
        truth = (yes > 0).astype(float)
    elif rule == "all":
        truth = (no == 0).astype(float)
    else:
        truth = np.where(yes == no, math.nan, (yes > no).astype(float))
    truth[(yes == 0) & (no == 0)] = math.nan
    return truth, int(((yes == no) & (yes > 0) & np.isnan(truth)).sum())


def _common_state(
    states: NDArray[np.float64],
    codes: NDArray[np.intp],
    studies: int,
    votes: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The one of the four states that most readings have, and whether one is ahead."""
    kinds = np.array([1.0, 0.0, -1.0, math.nan])
    cells = [states == kind for kind in kinds[:3]] + [np.isnan(states)]
    counts = np.stack([_count(cell & votes[:, None], codes, studies) for cell in cells])
    ahead = (counts == counts.max(axis=0)).sum(axis=0) == 1
    return np.where(ahead, kinds[counts.argmax(axis=0)], math.nan), ahead


def _count(cells: NDArray[np.bool_], codes: NDArray[np.intp], studies: int) -> NDArray[np.int64]:
    """How many rows of each study have it, [studies, F]."""
    counts = np.zeros((studies, cells.shape[1]), dtype=np.int64)
    np.add.at(counts, codes, cells)
    return counts
