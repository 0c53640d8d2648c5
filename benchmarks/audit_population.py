"""Populations with known truth, and simulated audits of them, drawn by our own designs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.compare import Comparison, compare
from cxrlabel.audit.consensus import Consensus
from cxrlabel.audit.design import (
    DRAWN,
    PROBABILITY,
    SIZE,
    STRATUM,
    WEIGHT,
    SampleTable,
    partition,
    strata_from_sizes,
)
from cxrlabel.audit.intervals import measures
from cxrlabel.audit.sampling import (
    draw_sample,
    extend_sample,
    one_cell,
    permanent_random_numbers,
    score_cells,
    state_cells,
)
from cxrlabel.findings import STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

STUDIES: Final = 20_000
PREVALENCE: Final = np.geomspace(0.004, 0.3, 14)
CODES: Final = (1.0, -1.0, 0.0, np.nan)  # in the order of STATES
FINDINGS: Final = tuple(f"F{number:02}" for number in range(1, 15))


@dataclass(frozen=True, slots=True)
class Setting:
    """How the audits of one row are drawn."""

    name: str
    design: str  # "states", "scores", "simple" or "patients"
    n: int  # studies, or patients
    first: int = 0  # studies of the sample that was extended to n
    reviewed: float = 1.0  # share that was read before the review stopped


SETTINGS: Final = (
    Setting("states, n = 200", "states", 200),
    Setting("states, n = 400", "states", 400),
    Setting("states, n = 1,000", "states", 1_000),
    Setting("states, 200 extended to 400", "states", 400, first=200),
    Setting("states, n = 400, stopped at 60 %", "states", 400, reviewed=0.6),
    Setting("scores, n = 400", "scores", 400),
    Setting("simple, n = 400", "simple", 400),
    Setting("unweighted, all studies of 160 patients", "patients", 160),
)
COMPARED: Final = SETTINGS[1]  # with other intervals


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """What all populations are made with; states in the order of STATES."""

    state_given_truth: Floats  # [F, 2, 4] for truth 1 and 0
    truth_given_state: Floats  # [F, 4]


@cache
def rates() -> Rates:
    """Labels of rather different quality: PPV .70 to .95, found .70 to .92 of truths."""
    rng = np.random.default_rng(20261121)
    given = np.empty((len(FINDINGS), 2, len(STATES)))
    for row, prevalence in zip(given, PREVALENCE, strict=True):
        ppv, doubt_ppv = rng.uniform(0.7, 0.95), rng.uniform(0.3, 0.6)
        found, doubt = rng.uniform(0.7, 0.92), rng.uniform(0.02, 0.06)
        missed = 1 - found - doubt
        odds = prevalence / (1 - prevalence)
        false, doubtful = found * odds * (1 - ppv) / ppv, doubt * odds * (1 - doubt_ppv) / doubt_ppv
        denied = rng.uniform(0.1, 0.5)
        row[0] = found, doubt, missed / 3, missed * 2 / 3
        row[1] = false, doubtful, denied, 1 - false - doubtful - denied
    both = np.stack([PREVALENCE, 1 - PREVALENCE], axis=1)[..., None] * given
    return Rates(given, both[:, 0] / both.sum(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Labels and truth of N studies, and whose they are."""

    truth: pd.DataFrame  # 1, 0
    labels: pd.DataFrame  # 1, -1, 0, NaN
    scores: pd.DataFrame  # in [0, 1]
    patients: pd.Series

    @property
    def measures(self) -> Floats:
        """[F, 2, 7] what is to be estimated, by reading of uncertain labels."""
        truth, labels = self.truth.to_numpy() == 1, self.labels.to_numpy()
        cells = []
        for label in (labels == 1, (labels == 1) | (labels == -1)):
            parts = (label & truth, label & ~truth, ~label & truth, ~label & ~truth)
            cells.append(np.stack([part.sum(axis=0) for part in parts], axis=-1))
        return measures(np.stack(cells, axis=1))


@cache
def population(number: int, *, hard_patients: bool = False) -> Population:
    """Sick patients have more findings, and more studies of them.

    Args:
        hard_patients: whether the labels of some patients are worse than those of others.
    """
    rng = np.random.default_rng([20261121, number])
    patient = np.repeat(np.arange(STUDIES), rng.geometric(0.4, STUDIES))[:STUDIES]
    shape = STUDIES, len(FINDINGS)

    def alike(within: float, across: float) -> Floats:
        """[N, F] normal numbers that go together by patient, and across findings."""
        by_patient, common = rng.normal(size=shape)[patient], rng.normal(size=STUDIES)[patient]
        rest = np.sqrt(1 - within - across) * rng.normal(size=shape)
        both: Floats = np.sqrt(within) * by_patient + np.sqrt(across) * common[:, None] + rest
        return both

    normal = NormalDist().inv_cdf
    sick, hard = alike(0.4, 0.15), alike(0.3 if hard_patients else 0.0, 0.0)
    truth = sick > [-normal(prevalence) for prevalence in PREVALENCE]
    labels = np.empty(shape)
    for column, given in enumerate(rates().state_given_truth):
        for value, shares in zip((True, False), given, strict=True):
            ends = [normal(end) for end in np.cumsum(shares)[:-1]]
            rows = truth[:, column] == value
            labels[rows, column] = np.array(CODES)[np.searchsorted(ends, hard[rows, column])]
    scores = 1 / (1 + np.exp(2 - 1.8 * truth - rng.normal(size=shape)))
    ids = pd.Index([f"s{study:05}" for study in range(STUDIES)], dtype=object, name="uid")
    truth_table, label_table, score_table = (
        pd.DataFrame(values, index=ids, columns=FINDINGS)
        for values in (truth.astype(float), labels, scores)
    )
    people = pd.Series([f"p{one}" for one in patient], index=ids)
    return Population(truth_table, label_table, score_table, people)


# the draw


def drawn_publicly(people: Population, setting: Setting) -> tuple[pd.DataFrame, SampleTable]:
    """The cells of a design, and the sample of seed 0 as `cxr audit sample` draws it."""
    ids = people.labels.index
    cells = {
        "states": lambda: state_cells(people.labels),
        "scores": lambda: score_cells(people.scores, ids),
        "simple": lambda: one_cell(ids),
    }[setting.design]()
    sample = draw_sample(cells, n=setting.first or setting.n, seed=0)
    if setting.first:
        sample = extend_sample(cells, sample, n=setting.n, seed=0)
    return cells, sample


def strata_of(people: Population, setting: Setting) -> tuple[Integers, pd.DataFrame]:
    """[N] the index of each study's stratum, and the strata: the same for all seeds."""
    cells, sample = drawn_publicly(people, setting)
    strata = strata_from_sizes(partition(cells), sample.strata[SIZE].tolist())
    if strata is None:
        raise RuntimeError(f"{setting.name}: the strata were not found again")
    again = drawn(strata.members, sample.strata, permanent_random_numbers(cells.index, 0))
    if not np.array_equal(cells.index[again], sample.table.index):
        raise RuntimeError(f"{setting.name}: the draw is not that of cxrlabel.audit.sampling")
    return strata.members, sample.strata


def drawn(members: Integers, strata: pd.DataFrame, numbers: NDArray[np.uint64]) -> Integers:
    """The places of the studies that `draw_sample` takes, without finding the strata again."""
    sizes, taken = strata[SIZE].to_numpy(), strata[DRAWN].to_numpy()
    order = np.lexsort((numbers, members))
    place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[members[order]]
    return np.sort(order[place < taken[members[order]]])


def as_sample(
    chosen: Integers, members: Integers, strata: pd.DataFrame, ids: pd.Index
) -> SampleTable:
    """The table that is written for a draw."""
    stratum = members[chosen]
    probability = strata[PROBABILITY].to_numpy()[stratum]
    names = strata.index.to_numpy(dtype=object)[stratum]
    columns = {STRATUM: names, PROBABILITY: probability, WEIGHT: 1 / probability}
    return SampleTable("uid", pd.DataFrame(columns, index=ids[chosen]), strata)


def reviewed(people: Population, ids: pd.Index) -> Consensus:
    """A review that finds the truth."""
    truth = people.truth.loc[ids]
    return Consensus(
        id_name="uid",
        reference="report",
        rule="majority",
        reviewers=("",),
        truth=truth,
        states=truth,
        agreed=truth.notna(),
        four_states=False,
        several=0,
        ties=0,
        not_evaluable=0,
    )


def audit(
    people: Population,
    setting: Setting,
    strata: tuple[Integers, pd.DataFrame] | None,
    numbers: NDArray[np.uint64],
) -> Comparison:
    """One simulated audit.

    Args:
        numbers: [N] the permanent random numbers of the audit's seed.
    """
    rng = np.random.default_rng(int(numbers[0]))
    ids = people.labels.index
    if strata is None:
        codes = pd.factorize(people.patients)[0]
        theirs = rng.choice(codes.max() + 1, setting.n, replace=False)
        ids = ids[np.isin(codes, theirs)]
        # labels of the reviewed alone: the others are not known
        return compare(people.labels.loc[ids], reviewed(people, ids), patients=people.patients)
    sample = as_sample(drawn(*strata, numbers), *strata, ids)
    ids = sample.table.index
    if setting.reviewed < 1:
        ids = ids[rng.permutation(len(ids))[: round(setting.reviewed * len(ids))]]
    return compare(people.labels, reviewed(people, ids), sample=sample)
