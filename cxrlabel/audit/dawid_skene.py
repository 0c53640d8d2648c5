"""The truth behind several readings, and how often each reader errs: Dawid and Skene (1979).

Each reader has a table P(reading | truth), the same for all studies, and readers err independently
given the truth. EM finds the tables and the posterior of each study's truth. Three guards:

- Priors. A Dirichlet prior on each row of a table is worth `weight` readings, `accuracy` of them
  right, so that a reader of few studies has no table of zeros and ones; one on the prevalence is
  worth one study. What is found is the mode of the posterior.
- Labels cannot switch: EM starts from the share of votes, and the prior favours the diagonal. Where
  the readers of a truth are right less often than chance all the same, `switched` says so.
- Two readers do not identify their tables (Hui and Walter 1980: two readers have three numbers and
  ask for five). It runs, leans on the prior, and `identified` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

NO_READING: Final = -1
ACCURACY: Final = 0.9
WEIGHT: Final = 2.0

_ROUNDS: Final = 1_000
_TOLERANCE: Final = 1e-6  # the largest change of a posterior probability that counts as none


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """What the readings of n studies by R readers say, with K categories."""

    posterior: Floats  # [n, K] of each study's truth, rows add to 1
    prevalence: Floats  # [K]
    confusion: Floats  # [R, K, K] P(reading | truth); rows are the truth
    low: Floats  # [R, K, K] 95 % limits of `confusion`
    high: Floats
    expected: Floats  # [R, K] readings of studies with each truth, expected
    converged: bool
    identified: bool  # three readers or more have read the same study
    switched: bool  # some truth is recognised less often than by chance

    @property
    def consensus(self) -> Integers:
        """[n] the likeliest category."""
        best: Integers = self.posterior.argmax(axis=1)
        return best


def dawid_skene(
    readings: ArrayLike,
    categories: int,
    *,
    accuracy: float = ACCURACY,
    weight: float = WEIGHT,
    resamples: int = 200,
    seed: int = 0,
) -> Truths:
    """Run EM until the posterior stands still.

    The limits are Wilson's, with as many readings as give the variance over resampled studies. In
    simulation (four readers, 150 or 400 studies, prevalence 5 or 30 %) they covered the rates in 88
    to 98 %, the least for the best reader, who leans on the prior.

    Args:
        readings: [n, R] category 0 ... `categories` - 1, or -1 where a reader did not read.
        accuracy: the prior share of right readings, in (0, 1).
        weight: how many readings the prior is worth, for each reader and truth; above 0.
        resamples: of the studies, at least 2.

    Raises:
        ValueError: there is no reading, or one is outside the categories.
    """
    read = np.asarray(readings, dtype=np.int64)
    if read.ndim != 2 or not (read >= 0).any():
        raise ValueError("readings: expected [n, R] with at least one reading")
    if read.max() >= categories or read.min() < NO_READING:
        raise ValueError(f"readings: expected -1 ... {categories - 1}")
    if not 0 < accuracy < 1 or weight <= 0:
        raise ValueError(f"accuracy {accuracy}, weight {weight}: expected (0, 1) and above 0")
    # studies that were read alike are one row with a count
    alike, row, counts = np.unique(read, axis=0, return_inverse=True, return_counts=True)
    votes = (alike[..., None] == np.arange(categories)).astype(np.float64)  # [P, R, K]
    prior = np.full((categories, categories), weight * (1 - accuracy) / max(categories - 1, 1))
    np.fill_diagonal(prior, weight * accuracy)
    posterior, prevalence, confusion, change = _run(votes, counts[None].astype(np.float64), prior)
    resampled = np.random.default_rng(seed).multinomial(
        len(read), counts / len(read), size=resamples
    )
    variance = _run(votes, resampled.astype(np.float64), prior)[2].var(axis=0)
    by_study = posterior[0][row.ravel()]
    expected = np.einsum("nk,nr->rk", by_study, (read >= 0).astype(np.float64))
    low, high = _limits(confusion[0], variance, expected)
    right = np.einsum("rkk->rk", confusion[0]).mean(axis=0)
    return Truths(
        posterior=by_study,
        prevalence=prevalence[0],
        confusion=confusion[0],
        low=low,
        high=high,
        expected=expected,
        converged=change <= _TOLERANCE,
        identified=bool(((read >= 0).sum(axis=1) >= 3).any()),
        switched=bool((right < 1 / categories).any()),
    )


def _run(votes: Floats, counts: Floats, prior: Floats) -> tuple[Floats, Floats, Floats, float]:
    """EM for B sets of studies at once.

    Args:
        votes: [P, R, K] 1 where a reader chose a category, for each pattern of readings.
        counts: [B, P] studies of each pattern.
        prior: [K, K] readings that the prior is worth, by truth.

    Returns:
        Posterior [B, P, K], prevalence [B, K], tables [B, R, K, K], last change.
    """
    start = _shares(votes.sum(axis=1))
    posterior = np.broadcast_to(start, (len(counts), *start.shape))
    change, left = np.inf, _ROUNDS
    while change > _TOLERANCE and left:
        prevalence, confusion = _maximise(posterior * counts[..., None], votes, prior)
        again = _expect(prevalence, confusion, votes)
        change = float(np.abs(again - posterior).max())
        posterior, left = again, left - 1
    prevalence, confusion = _maximise(posterior * counts[..., None], votes, prior)
    return posterior, prevalence, confusion, change


def _maximise(studies: Floats, votes: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Prevalence and tables that are likeliest for so many studies [B, P, K] of each truth."""
    by_truth = studies.sum(axis=1) + 1 / studies.shape[-1]
    counts = np.einsum("bpk,prj->brkj", studies, votes, optimize=True) + prior
    return (
        by_truth / by_truth.sum(axis=-1, keepdims=True),
        counts / counts.sum(axis=-1, keepdims=True),
    )


def _expect(prevalence: Floats, confusion: Floats, votes: Floats) -> Floats:
    """Posterior truths, [B, P, K]."""
    likelihood = np.einsum("prj,brkj->bpk", votes, np.log(confusion), optimize=True)
    logs = np.log(prevalence)[:, None] + likelihood
    return _shares(np.exp(logs - logs.max(axis=-1, keepdims=True)))


def _shares(values: Floats) -> Floats:
    """Rows that add to 1; equal shares where a row has nothing."""
    sums = values.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1), 1 / values.shape[-1])


def _limits(confusion: Floats, variance: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Args: variance: [R, K, K]; expected: [R, K] readings, the most that the limits may use."""
    with np.errstate(divide="ignore"):
        effective = confusion * (1 - confusion) / variance
    return wilson(confusion, np.minimum(effective, expected[..., None]))
