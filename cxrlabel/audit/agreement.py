"""How far reviewers agree, what truth they amount to, and the three tasks of the CheXpert paper.

Rows of plain tables; the statistics are in `kappa` and `dawid_skene`.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.compare import select_cells
from cxrlabel.audit.dawid_skene import NO_READING, Truths, dawid_skene
from cxrlabel.audit.estimates import estimate_cells
from cxrlabel.audit.intervals import CELLS, MEASURES
from cxrlabel.audit.kappa import (
    Kappa,
    cohen_kappa,
    fleiss_kappa,
    pooled_cohen,
    pooled_kappa,
)
from cxrlabel.audit.reviews import ADJUDICATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cxrlabel.audit.compare import Comparison

ALL: Final = "all findings"
TASKS: Final = ("mention", "negation", "uncertainty")
PRESENT: Final = (0.0, 1.0)
STATES: Final = (1.0, -1.0, 0.0, np.nan)  # positive, uncertain, negative, blank

_F1_PARTS: Final = {"precision": "ppv", "recall": "sensitivity", "f1": "f1"}
_KAPPA_COLUMNS: Final = ("kappa", "kappa_lo", "kappa_hi")


def reviewer_agreement(
    readings: pd.DataFrame, categories: tuple[float, ...] = PRESENT
) -> pd.DataFrame:
    """Agreement of every two reviewers (Cohen's kappa) and of all (Fleiss').

    Args:
        readings: index: (id, reviewer); one column per finding, from `truth_values`, or
            `Reviews.states` with the categories `STATES`. Cells of no category were not read; the
            reviewer "adjudicated" does not count.
        categories: the values that are told apart.

    Returns:
        Columns finding, kind ("cohen" or "fleiss"), reviewer_a, reviewer_b (blank for Fleiss), n,
        agreement, kappa, kappa_lo, kappa_hi; findings in order and then "all findings" pooled. NaN
        where kappa is not defined. No rows where no study was read twice.
    """
    by_reader = _codes(readings, categories)
    findings = [str(name) for name in readings.columns]
    rows: list[tuple[Any, ...]] = []
    for (a, one), (b, two) in combinations(by_reader.items(), 2):
        both = (one >= 0) & (two >= 0)
        if not both.any():
            continue
        for column, finding in enumerate(findings):
            read = both[:, column]
            found = cohen_kappa(one[read, column], two[read, column], len(categories))
            rows.append((finding, "cohen", a, b, *_kappa_cells(found)))
        pooled = pooled_cohen(one, two, len(categories))
        rows.append((ALL, "cohen", a, b, *_kappa_cells(pooled)))
    if rows:
        tables = _tables(list(by_reader.values()), len(categories))
        for finding, table in zip(findings, tables, strict=True):
            rows.append((finding, "fleiss", "", "", *_kappa_cells(fleiss_kappa(table))))
        rows.append((ALL, "fleiss", "", "", *_kappa_cells(pooled_kappa(tables))))
    columns = ["finding", "kind", "reviewer_a", "reviewer_b", "n", "agreement", *_KAPPA_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def _codes(readings: pd.DataFrame, categories: tuple[float, ...]) -> dict[str, NDArray[np.int64]]:
    """Reviewer -> [n, F] index of the category, or -1; all over the same studies."""
    studies = readings.index.get_level_values(0).unique()
    by = readings.index.get_level_values(1)
    codes = {}
    for reader in sorted(set(by) - {ADJUDICATED}):
        own = readings[by == reader]
        values = own.to_numpy()
        code = np.full(values.shape, NO_READING, dtype=np.int64)
        for number, category in enumerate(categories):
            same = np.isnan(values) if np.isnan(category) else values == category
            code[same] = number
        rows = np.full((len(studies), values.shape[1]), NO_READING, dtype=np.int64)
        rows[studies.get_indexer(own.index.get_level_values(0))] = code
        codes[str(reader)] = rows
    return codes


def _tables(readers: list[NDArray[np.int64]], categories: int) -> list[NDArray[np.float64]]:
    """For each finding [n, K] readers of each category."""
    stacked = np.stack(readers)  # [R, n, F]
    counts = np.stack([(stacked == k).sum(axis=0) for k in range(categories)], axis=-1)
    return [counts[:, column].astype(np.float64) for column in range(counts.shape[1])]


def _kappa_cells(found: Kappa) -> tuple[float, ...]:
    return found.n, found.agreement, found.value, found.low, found.high


def reader_errors(
    readings: pd.DataFrame, labelers: Mapping[str, pd.DataFrame] | None = None, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dawid–Skene for each finding, over the reviewers and perhaps labelers.

    Args:
        readings: index: (id, reviewer); 1, 0, NaN where it was not read or is open, as
            `truth_values` gives them. The reviewer "adjudicated" does not count.
        labelers: name -> labels of the same studies, 1, 0, -1, NaN; positive counts as 1, all else
            as 0.

    Returns:
        The error rates: columns finding, reader, n, sensitivity, specificity, each with _lo and
        _hi, and a note. And P(the finding is there) by study, index id, one column per finding.
    """
    by_reader = _codes(readings, PRESENT)
    studies = readings.index.get_level_values(0).unique()
    findings = [str(name) for name in readings.columns]
    rows: list[tuple[Any, ...]] = []
    truth = {}
    for column, finding in enumerate(findings):
        sources = {name: codes[:, column] for name, codes in by_reader.items()}
        for name, labels in (labelers or {}).items():
            if finding in labels.columns:
                states = labels[finding].reindex(studies).to_numpy()
                known = studies.isin(labels.index)
                sources[name] = np.where(known, states == 1, NO_READING).astype(np.int64)
        table = np.stack(list(sources.values()), axis=1)
        if not (table >= 0).any():
            continue
        found = dawid_skene(table, 2, seed=seed)
        rows += _error_rows(finding, list(sources), (table >= 0).sum(axis=0), found)
        truth[finding] = np.where((table >= 0).any(axis=1), found.posterior[:, 1], np.nan)
    ends = ("", "_lo", "_hi")
    columns = [f"{name}{end}" for name in ("sensitivity", "specificity") for end in ends]
    rates = pd.DataFrame(rows, columns=["finding", "reader", "n", *columns, "note"])
    return rates, pd.DataFrame(truth, index=studies).sort_index()


def _error_rows(
    finding: str, names: list[str], read: NDArray[np.int64], found: Truths
) -> list[tuple[Any, ...]]:
    note = "; ".join(
        text
        for text, said in (
            ("two readers do not identify their errors", not found.identified),
            ("readers are worse than chance", found.switched),
            ("EM did not come to rest", not found.converged),
        )
        if said
    )
    return [
        (
            finding,
            name,
            int(read[reader]),
            *(float(table[reader, 1, 1]) for table in (found.confusion, found.low, found.high)),
            *(float(table[reader, 0, 0]) for table in (found.confusion, found.low, found.high)),
            note,
        )
        for reader, name in enumerate(names)
    ]


def chexpert_tasks(comparison: Comparison, *, seed: int = 0) -> pd.DataFrame:
    """Mention, negation and uncertainty, as the CheXpert paper scores a labeler.

    A label or reading counts as positive where it is not blank, where it is negative, and where it
    is uncertain (Irvin et al. 2019, labeler results). Weighted where the sample is.

    Returns:
        Columns finding, task, n, tp, fp, fn, tn, then precision, recall and f1, each with _lo and
        _hi, and a note. No rows unless the review has the four states.
    """
    ends = ("", "_lo", "_hi")
    columns = [f"{name}{end}" for name in _F1_PARTS for end in ends]
    rows: list[tuple[Any, ...]] = []
    review = comparison.review
    for finding in comparison.findings if review.four_states else ():
        ids = comparison.labels.index
        label = comparison.labels[finding].to_numpy()
        reading = review.states.loc[ids, finding].to_numpy()
        agreed = review.agreed.loc[ids, finding].to_numpy()
        for task in TASKS:
            truth = np.where(agreed, _task(reading, task), np.nan)
            found = estimate_cells(select_cells(comparison, _task(label, task), truth), seed=seed)
            cells: list[Any] = [int(found.counts.sum()), *map(int, found.counts)]
            for name in _F1_PARTS.values():
                place = MEASURES.index(name)
                cells += [float(x[place]) for x in (found.values, found.low, found.high)]
            rows.append((finding, task, *cells, found.warning(_F1_PARTS)))
    return pd.DataFrame(rows, columns=["finding", "task", "n", *CELLS, *columns, "note"])


def _task(states: NDArray[np.float64], task: str) -> NDArray[np.bool_]:
    blank: NDArray[np.bool_] = np.isnan(states)
    return ~blank if task == "mention" else states == (0 if task == "negation" else -1)
