"""Drawing: which studies are reviewed, by a design of `cxrlabel.audit.design` and a seed.

Each study has a permanent random number, a hash of the seed and its id, and a stratum gives the
n_h studies with the smallest: a simple random sample without replacement (Ohlsson 1995). So the
draw does not depend on the order of the rows; an extension takes the next ones, so that the whole
is again such a sample; and another design with the same seed overlaps the first as far as it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.design import (
    DRAWN,
    FLOOR,
    PROBABILITY,
    SIZE,
    STRATUM,
    WEIGHT,
    Partition,
    SampleTable,
    Strata,
    allocate,
    expected_in_strata,
    inclusion_rates,
    make_strata,
    partition,
    strata_from_sizes,
    whole_numbers,
)
from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, CODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS: Final = 5
NO_SCORE: Final = "score missing"
DISPUTED: Final = ", disputed"  # behind the state of a label that another labeler contradicts
_FINE_BINS: Final = 1_000
_STATES: Final = {float(code): state for state, code in CODES.items() if code}


def state_cells(labels: pd.DataFrame, findings: Sequence[str] = ()) -> pd.DataFrame:
    """The cells of the design "states": the label state of each finding.

    Args:
        labels: index: id; a column per finding: 1, 0, -1, NaN.
        findings: those that the sample is for; none means all columns.

    Returns:
        The same rows; a column per finding with "positive", "uncertain", "negative" or "blank".
    """
    table = _choose(labels, findings, "labels")
    columns = {name: table[name].map(_STATES).fillna(BLANK) for name in table.columns}
    return pd.DataFrame(columns, index=table.index)


def score_cells(
    predictions: pd.DataFrame, ids: pd.Index, findings: Sequence[str] = (), *, bins: int = BINS
) -> pd.DataFrame:
    """The cells of the design "scores": bins of a model's probability for each finding.

    The bins have equal sums of the square root of the scores' frequency, so that they are narrow
    where there are many studies and split the few high scores too (Dalenius and Hodges 1959).

    Args:
        predictions: index: id; a column per finding with a probability in [0, 1] or NaN.
        ids: the studies to draw from; those without a score are a cell of their own.
        findings: those that the sample is for; none means all columns.
        bins: at most this many for each finding; scores with few distinct values have fewer.
    """
    if bins < 1:
        raise InputError(f"--bins: {bins}; expected 1 or more")
    table = _choose(predictions, findings, "predictions").reindex(ids)
    columns = {name: _bin_names(table[name].to_numpy(np.float64), bins) for name in table.columns}
    return pd.DataFrame(columns, index=ids)


def agreement_cells(
    labels: pd.DataFrame, others: Sequence[pd.DataFrame], findings: Sequence[str] = ()
) -> pd.DataFrame:
    """The cells of the design "agreement": the label state, and whether other labelers say so too.

    Rare cells are drawn more often, and labels on which labelers differ are rare.

    Args:
        labels: as of `state_cells`.
        others: labels of the same studies; a study or a finding that one lacks does not count.
        findings: those that the sample is for; none means all columns.

    Returns:
        The same rows; a column per finding with "positive" or "positive, disputed" and so on.

    Raises:
        InputError: another table has none of the studies or findings.
    """
    own = state_cells(labels, findings)
    disputed = pd.DataFrame(False, index=own.index, columns=own.columns)
    for other in others:
        shared = [name for name in own.columns if name in other.columns]
        if not shared or not own.index.isin(other.index).any():
            raise InputError(
                "--other: no study or no finding of the labels; expected the same ones"
            )
        states = state_cells(other, shared).reindex(own.index)
        disputed[shared] |= states.notna() & (states != own[shared])
    return own.where(~disputed, own + DISPUTED)


def one_cell(ids: pd.Index) -> pd.DataFrame:
    """The cells of the design "simple": none, so that all studies are one stratum."""
    return pd.DataFrame(index=ids)


def draw_sample(
    cells: pd.DataFrame, *, n: int, seed: int, floor: float = FLOOR, place: str = "labels"
) -> SampleTable:
    """Draw n studies; all of them where there are no more.

    Args:
        cells: index: id; a column per finding, from `state_cells`, `score_cells` or `one_cell`.
        floor: the smallest inclusion probability as a share of n / N, in [0, 1]: 1 gives
            proportional allocation.
        place: the table's name in messages.

    Raises:
        InputError: n is below 2, `floor` outside [0, 1], or there is no study.
    """
    _check(cells, n, floor, place)
    cells = cells.sort_index()
    parts = partition(cells)
    rates = inclusion_rates(parts, n, floor=floor)
    strata = make_strata(parts, rates)
    return _take(cells.index, strata, allocate(parts, strata, rates, n), seed)


def extend_sample(
    cells: pd.DataFrame,
    earlier: SampleTable,
    *,
    n: int,
    seed: int,
    floor: float = FLOOR,
    place: str = "sample",
) -> SampleTable:
    """Draw more from the same studies: n in all, the earlier ones among them.

    The strata stay as they were and the next studies of each are taken, so that the inclusion
    probabilities of the whole are again exactly n_h / N_h. They replace the earlier ones. A small
    first sample has few strata: extended many times over, it stays less precise for rare cells than
    one draw of that size.

    Args:
        cells: as they were for the earlier sample.
        earlier: drawn by `draw_sample` or extended by this function.
        seed: that of the earlier sample.
        place: the earlier sample's name in messages.

    Raises:
        InputError: n is not above the earlier size, or the earlier sample is not one of these
            studies, by this design and seed.
    """
    _check(cells, n, floor, place)
    before = earlier.strata[DRAWN]
    if n <= before.sum():
        raise InputError(f"--n: {n}; expected more than the {before.sum()} studies of {place}")
    if before.sum() >= len(cells):
        raise InputError(f"{place}: it has all {len(cells)} studies; expected some to be left")
    cells = cells.sort_index()
    parts = partition(cells)
    strata = _find_strata(parts, earlier, place)
    taken = before.to_numpy()
    again = cells.index[_chosen(cells.index, strata, taken, seed)]
    other = len(earlier.table.index.difference(again))
    if other:
        raise InputError(
            f"{place}: {other} of its {len(earlier.table)} studies are not those that seed {seed} "
            "draws; expected the seed of the earlier sample"
        )
    total = min(n, len(cells))
    wanted = expected_in_strata(parts, strata, inclusion_rates(parts, total, floor=floor))
    missing = np.maximum(wanted - taken, 0)  # at least total - taken; rounding made some exceed it
    added = whole_numbers(missing * ((total - taken.sum()) / missing.sum()), total - taken.sum())
    return _take(cells.index, strata, taken + added, seed)


def describe_strata(
    cells: pd.DataFrame, sample: SampleTable, *, place: str = "sample"
) -> pd.Series[str]:
    """What the strata of a sample are made of, "Mass uncertain to Edema positive", by their names.

    It tells labels, so it is for the report, not for reviewers.

    Raises:
        InputError: the sample is not of these cells.
    """
    strata = _find_strata(partition(cells), sample, place)
    return pd.Series(strata.titles, index=sample.strata.index)


def permanent_random_numbers(ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """A number in [0, 2**64) for each id, the same wherever the id and the seed are the same."""
    key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
    digests = (hashlib.blake2b(name.encode(), key=key, digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def _take(ids: pd.Index, strata: Strata, taken: NDArray[np.int64], seed: int) -> SampleTable:
    """The n_h studies of each stratum with the smallest random numbers.

    Args:
        ids: of all studies, sorted.
        strata: of the studies in that order.
        taken: [H] n_h.
    """
    chosen = _chosen(ids, strata, taken, seed)
    stratum = strata.members[chosen]
    probabilities = taken / strata.sizes
    names = np.array(strata.names, dtype=object)
    table = pd.DataFrame(
        {
            STRATUM: names[stratum],
            PROBABILITY: probabilities[stratum],
            WEIGHT: 1 / probabilities[stratum],
        },
        index=ids[chosen],
    )
    sizes = {SIZE: strata.sizes, DRAWN: taken, PROBABILITY: probabilities}
    index = pd.Index(strata.names, name=STRATUM)
    return SampleTable(str(ids.name), table, pd.DataFrame(sizes, index=index))


def _chosen(
    ids: pd.Index, strata: Strata, taken: NDArray[np.int64], seed: int
) -> NDArray[np.bool_]:
    """[N] whether a study is among the first n_h of its stratum; equal numbers go by id."""
    order = np.lexsort((permanent_random_numbers(ids, seed), strata.members))
    members = strata.members[order]
    starts = np.cumsum(strata.sizes) - strata.sizes
    chosen = np.empty(len(ids), dtype=np.bool_)
    chosen[order] = np.arange(len(ids)) - starts[members] < taken[members]
    return chosen


def _find_strata(parts: Partition, earlier: SampleTable, place: str) -> Strata:
    """The strata of an earlier sample: each has studies in it, and their sizes tell where it ends.

    They come by name, that is the rarest first.
    """
    sizes = earlier.strata[SIZE].tolist()
    strata = strata_from_sizes(parts, sizes)
    if strata is None:
        raise InputError(
            f"{place}: its {len(sizes)} strata ({sum(sizes)} studies) are none of this table "
            f"({len(parts.rarest)} studies); expected the table and the options that it was drawn "
            "with"
        )
    return strata


def _bin_names(scores: NDArray[np.float64], bins: int) -> list[str]:
    """Args: scores: [N] in [0, 1] or NaN."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return [NO_SCORE] * len(scores)
    counts, edges = np.histogram(known, bins=_FINE_BINS)
    sums = np.cumsum(np.sqrt(counts))
    cuts = edges[1 + np.searchsorted(sums, sums[-1] * np.arange(1, bins) / bins)]
    numbers = np.unique(np.searchsorted(cuts, known, side="right"), return_inverse=True)[1]
    last = numbers.max() + 1
    names = np.full(len(scores), NO_SCORE, dtype=object)
    names[~np.isnan(scores)] = [f"score bin {number + 1} of {last}" for number in numbers]
    return list(names)


def _choose(table: pd.DataFrame, findings: Sequence[str], what: str) -> pd.DataFrame:
    missing = [name for name in findings if name not in table.columns]
    if missing:
        raise InputError(
            f"--findings: {missing[0]!r} is not in the {what}; "
            f"expected some of {', '.join(table.columns)}"
        )
    return table[list(dict.fromkeys(findings))] if findings else table


def _check(cells: pd.DataFrame, n: int, floor: float, place: str) -> None:
    if n < 2:
        raise InputError(f"--n: {n}; expected 2 or more studies")
    if not 0 <= floor <= 1:
        raise InputError(f"--floor: {floor}; expected a share from 0 to 1")
    if not len(cells):
        raise InputError(f"{place}: no studies; expected at least one")
    if cells.index.has_duplicates:
        raise ValueError("cells: expected distinct ids in the index")
