"""Invented test sets with label errors, and audits of them drawn by our own design."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.design import allocate, inclusion_rates, make_strata, partition
from cxrvision.evaluate.sampled import Sampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

STUDIES: Final = 8_000
AUC: Final = 0.88  # true
FOUND: Final = 0.8  # share of those with the finding whose label is positive
PPV: Final = 0.8  # of a positive label
ALIKE: Final = 0.5  # correlation of truth, and of score given truth, of a patient's studies
THRESHOLD: Final = 0.6  # of the score, which is normal with mean 0 without the finding

_normal = NormalDist()
DISTANCE: Final = _normal.inv_cdf(AUC) * 2**0.5


@dataclass(frozen=True, slots=True)
class Setting:
    """How the data sets of one row are made."""

    prevalence: float
    n: int  # audited studies
    design: str  # "states" or "simple"
    slope: float = 0.0  # of a positive label by the score given truth, in logits; 0: independent
    patients: bool = False  # whether they have several studies

    @property
    def error(self) -> str:
        """The kind of label error in words."""
        return "class-conditional" if not self.slope else f"score-dependent, {self.slope:g}"


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """One invented test set."""

    probs: Floats  # [n]
    states: Floats  # [n] 1, -1, 0, NaN
    truth: Bools  # [n]
    patients: Integers | None
    sampled: Sampled

    @property
    def label(self) -> Floats:
        """[n] with uncertain labels left out, blank ones negative."""
        return np.where(self.states == -1, np.nan, np.nan_to_num(self.states))


def simulate(setting: Setting, rng: np.random.Generator, studies: int = STUDIES) -> Data:
    """One test set and its audit."""
    patients = None
    people = np.arange(studies)
    alike = 0.0
    if setting.patients:
        patients = people = np.repeat(people, rng.geometric(0.4, studies))[:studies]
        alike = ALIKE

    def normal(share: float) -> Floats:
        own = rng.normal(size=studies)
        common = rng.normal(size=studies)[people] if share else 0.0
        both: Floats = np.sqrt(share) * common + np.sqrt(1 - share) * own
        return both

    truth = normal(alike) > -_normal.inv_cdf(setting.prevalence)
    noise = normal(alike)
    states = label(truth, noise, setting, rng)
    probs = 1 / (1 + np.exp(-(noise + DISTANCE * truth)))
    other = np.where(rng.random(studies) < 0.1, 1.0, np.nan)  # another finding shapes the strata
    other[rng.random(studies) < 0.03] = -1.0
    return Data(probs, states, truth, patients, audit(states, other, truth, setting, rng))


def label(truth: Bools, noise: Floats, setting: Setting, rng: np.random.Generator) -> Floats:
    """Label states: `FOUND` found, `PPV` right, a few uncertain, a third of the rest denied."""
    odds = setting.prevalence / (1 - setting.prevalence)
    false = FOUND * odds * (1 - PPV) / PPV
    offsets = np.where(truth, _offset(FOUND, setting.slope), _offset(false, setting.slope))
    positive = rng.random(len(truth)) < 1 / (1 + np.exp(-(offsets + setting.slope * noise)))
    rest = rng.random(len(truth))
    uncertain = np.where(truth, 0.2, min(0.3 * false, 0.05))
    negative = np.where(rest < uncertain, -1.0, np.where(rest < uncertain + 0.3, 0.0, np.nan))
    return np.where(positive, 1.0, negative)


@cache
def _offset(share: float, slope: float) -> float:
    """The intercept that gives this share over normal scores."""
    grid = np.linspace(-6, 6, 1001)
    mass = np.exp(-(grid**2) / 2)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        found = float((mass / (1 + np.exp(-(middle + slope * grid)))).sum() / mass.sum())
        low, high = (middle, high) if found < share else (low, middle)
    return low


def audit(
    states: Floats, other: Floats, truth: Bools, setting: Setting, rng: np.random.Generator
) -> Sampled:
    """An audit that finds the truth, drawn as `cxr audit sample` draws it."""
    import pandas as pd

    studies = len(truth)
    if setting.design == "simple":
        rows = np.sort(rng.choice(studies, setting.n, replace=False))
        strata = np.zeros(setting.n, dtype=np.int64)
        weights = np.full(setting.n, studies / setting.n)
    else:
        codes = np.nan_to_num(np.stack([states, other], axis=1), nan=-2).astype(np.int64)
        parts = partition(pd.DataFrame(codes, columns=["A", "B"]))
        rates = inclusion_rates(parts, setting.n)
        made = make_strata(parts, rates)
        taken = allocate(parts, made, rates, setting.n)
        order = np.lexsort((rng.random(studies), made.members))
        place = np.arange(studies) - (np.cumsum(made.sizes) - made.sizes)[made.members[order]]
        rows = np.sort(order[place < taken[made.members[order]]])
        strata = made.members[rows]
        weights = (made.sizes / taken)[strata]
    return Sampled(rows, truth[rows], weights, strata, np.bincount(strata)[strata], float(studies))


def true_values(setting: Setting) -> dict[str, float]:
    """What is to be estimated, of all studies that could be met."""
    found = 1 - _normal.cdf(THRESHOLD - DISTANCE)
    spared = _normal.cdf(THRESHOLD)
    p = setting.prevalence
    return {
        "auc": AUC,
        "sensitivity": found,
        "specificity": spared,
        "ppv": found * p / (found * p + (1 - spared) * (1 - p)),
        "npv": spared * (1 - p) / (spared * (1 - p) + (1 - found) * p),
        "prevalence": p,
    }
