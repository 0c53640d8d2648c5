"""How good labels are against reviews: precision, recall, F1 and calibration, with intervals.

A label counts as positive where the state is; uncertain ones do not. Intervals are percentiles
of a bootstrap over groups of reports, which keeps reports of one patient or one text together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.findings import NO_FINDING, POSITIVE, STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cxrlabel.learned.reviewed import Reviewed

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

MICRO: Final = "micro"  # over all findings but No Finding
MACRO: Final = "macro"
RESAMPLES: Final = 2_000
_POSITIVE: Final = STATES.index(POSITIVE)


@dataclass(frozen=True, slots=True)
class Score:
    """One labeler on one finding, or "micro" or "macro" over findings."""

    labeler: str
    finding: str
    n: int  # reports
    positives: int  # by the reviews
    tp: int
    fp: int
    fn: int
    precision: float  # NaN where nothing was found
    recall: float
    f1: float
    f1_lo: float
    f1_hi: float
    agreement: float  # share of reports with the reviewed state, of those that reviews tell apart
    brier: float  # of the probability of positive, in [0, 1]; NaN for the rules


@dataclass(frozen=True, slots=True)
class Difference:
    """Micro-F1 of one labeler less that of another on the same reports."""

    labeler: str
    other: str
    value: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Labelers on the same reviewed reports."""

    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]  # of each labeler from the first

    def micro(self, labeler: str) -> Score:
        """The score over all findings."""
        return next(s for s in self.scores if (s.labeler, s.finding) == (labeler, MICRO))


def judge(
    reviewed: Reviewed,
    states: Mapping[str, NDArray[np.uint8]],
    probs: Mapping[str, Floats],
    *,
    seed: int = 0,
) -> Judged:
    """Judge labelers by reviews.

    Args:
        states: labeler -> [N, F] its states of the reviewed findings, each an index into STATES.
        probs: labeler -> [N, F] its probability of positive, where it has one.
        seed: of the bootstrap.
    """
    truth = reviewed.shares.argmax(axis=-1)
    weights = _resamples(reviewed.groups, np.random.default_rng(seed))
    pooled = [name != NO_FINDING for name in reviewed.findings]
    scores: list[Score] = []
    resampled = {}
    for name, own in states.items():
        errors = count_errors(own == _POSITIVE, truth == _POSITIVE)
        summed = np.stack([_by_group(one, reviewed.groups) for one in errors])  # [3, G, F]
        drawn = np.tensordot(weights, summed, axes=(1, 1))  # [B, 3, F]
        agree = _agreement(reviewed, own)
        brier = _brier(probs.get(name), truth == _POSITIVE, own.shape)
        for column, finding in enumerate(reviewed.findings):
            some = [one[:, column] for one in errors]
            found = f1_of(drawn[..., column])
            scores.append(_score(name, finding, some, found, agree[column], brier[column]))
        micro = f1_of(drawn[..., pooled].sum(axis=-1))
        whole = [one[:, pooled] for one in errors]
        inner = float(np.mean(agree[pooled])), float(np.mean(brier[pooled]))
        scores.append(_score(name, MICRO, whole, micro, *inner))
        macro = np.nan_to_num(f1_of(np.moveaxis(drawn[..., pooled], 1, -1))).mean(axis=-1)
        scores.append(_macro(scores[-1], macro, reviewed, scores))
        resampled[name] = micro
    return Judged(tuple(scores), _differences(scores, resampled))


def count_errors(found: Bools, truth: Bools) -> tuple[Bools, Bools, Bools]:
    """True and false positives, and false negatives, cell by cell."""
    return found & truth, found & ~truth, ~found & truth


def f1_of(counts: Floats) -> Floats:
    """F1 of counts of true positives, false positives and false negatives.

    Args:
        counts: [..., 3].

    Returns:
        [...], NaN where there is nothing to find and nothing was found.
    """
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    total = 2 * tp + fp + fn
    f1: Floats = np.divide(2 * tp, total, out=np.full(total.shape, np.nan), where=total > 0)
    return f1


def micro_f1(found: Bools, truth: Bools) -> float:
    """F1 over all cells."""
    counts = [one.sum() for one in count_errors(found, truth)]
    return float(f1_of(np.array(counts, np.float64)))


def _score(
    labeler: str,
    finding: str,
    errors: Sequence[Bools],
    resampled: Floats,
    agreement: float,
    brier: float,
) -> Score:
    tp, fp, fn = (int(one.sum()) for one in errors)
    return Score(
        labeler,
        finding,
        len(errors[0]),
        tp + fn,
        tp,
        fp,
        fn,
        tp / (tp + fp) if tp + fp else np.nan,
        tp / (tp + fn) if tp + fn else np.nan,
        float(f1_of(np.array([tp, fp, fn], np.float64))),
        *limits(resampled),
        float(agreement),
        float(brier),
    )


def _macro(micro: Score, resampled: Floats, reviewed: Reviewed, scores: Sequence[Score]) -> Score:
    """The mean over the findings; one without a positive counts 0, as F1 does."""
    own = [
        score
        for score in scores
        if score.labeler == micro.labeler and score.finding in reviewed.findings
        and score.finding != NO_FINDING
    ]  # fmt: skip
    precision, recall, f1 = (
        float(np.mean([np.nan_to_num(getattr(score, name)) for score in own]))
        for name in ("precision", "recall", "f1")
    )
    low, high = limits(resampled)
    return replace(
        micro, finding=MACRO, precision=precision, recall=recall, f1=f1, f1_lo=low, f1_hi=high
    )


def plain_row(record: Any) -> dict[str, Any]:
    """A record of numbers for a table or JSON, which has no NaN: None where there is no value."""
    return {name: None if value != value else value for name, value in asdict(record).items()}


def limits(resampled: Floats) -> tuple[float, float]:
    """The 95 % percentile interval; NaN where no resample has a value."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _differences(
    scores: Sequence[Score], resampled: Mapping[str, Floats]
) -> tuple[Difference, ...]:
    micro = {score.labeler: score.f1 for score in scores if score.finding == MICRO}
    first, *others = micro
    return tuple(
        Difference(
            name, first, micro[name] - micro[first], *limits(resampled[name] - resampled[first])
        )
        for name in others
    )


def _resamples(groups: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """[B, G] how often each group is drawn."""
    count = len(np.unique(groups))
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def _by_group(values: Bools, groups: NDArray[np.int64]) -> Floats:
    """[G, F] sums over the reports of each group."""
    names, members = np.unique(groups, return_inverse=True)
    summed = np.zeros((len(names), values.shape[1]))
    np.add.at(summed, members, values)
    return summed


def _agreement(reviewed: Reviewed, states: NDArray[np.uint8]) -> Floats:
    """[F] share of reports with the reviewed state; what reviews do not tell apart is alike."""
    from cxrlabel.learned.classes import told_apart

    often = np.full(len(STATES), np.inf)
    classes = told_apart(often, reviewed.used)
    if classes is None:  # cannot be: no state is rare
        raise ValueError("no classes")
    of_state = np.array(classes.of_state)
    share = classes.merge(reviewed.shares)  # [N, F, K]
    said = np.take_along_axis(share, of_state[states][..., None], axis=-1)[..., 0]
    agreement: Floats = said.mean(axis=0)
    return agreement


def _brier(probs: Floats | None, truth: Bools, shape: tuple[int, ...]) -> Floats:
    if probs is None:
        return np.full(shape[1], np.nan)
    brier: Floats = ((probs - truth) ** 2).mean(axis=0)
    return brier
