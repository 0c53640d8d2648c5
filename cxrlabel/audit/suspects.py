"""Suspects: labels that a model's predictions contradict, ranked and drawn for review.

Confident learning (Northcutt, Jiang and Chuang 2021, sec. 3) with two classes for each finding: a
label is doubted where the probability of the other class is at least what it is on average in the
studies that have the other label. The predictions should come from a model that was not trained on
these labels, or by cross-validation; a model that has learned an error repeats it.

Doubted labels alone say nothing of the rest, so the sample that is drawn has studies of all kinds
with known probabilities, and estimates from it are as honest as from any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.design import SampleTable, inclusion_rates, partition, require_id
from cxrlabel.audit.sampling import draw_sample
from cxrlabel.columns import listed
from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.tables import Resolve, match_finding_columns
from cxrlabel.writers import open_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR: Final = 0.25  # a quarter of the sample could go to studies without any doubted label
METHODS: Final = ("margin", "cleanlab")
_GIVEN: Final = {1.0: 1.0, 0.0: 0.0}  # label -> class; an uncertain one cannot be contradicted
# from the end for the negative indices
_CELLS: Final = np.array(
    [
        "not doubted",
        "doubted positive",
        "most doubted positive",
        "most doubted negative",
        "doubted negative",
    ],
    dtype=object,
)


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """Doubted labels, the most doubted first."""

    # index: id; columns: finding, label (a state), probability of the finding in [0, 1], and
    # margin in (-2, 2): how far the other class is ahead of the given one
    table: pd.DataFrame
    findings: tuple[str, ...]  # compared
    left_out: Mapping[str, str]  # finding -> why it could not be compared
    studies: int  # with a label table row and at least one prediction
    unpredicted: int  # with a label table row alone


def read_predictions(
    path: Path | str, *, id_column: str | None = None, resolve: Resolve
) -> pd.DataFrame:
    """Read a model's probabilities: an id and a column per finding, `prob_Edema` or `Edema`.

    Returns:
        Index: id as text; a column per finding with values in [0, 1], NaN where blank.

    Raises:
        InputError: no id or finding column, an id empty or twice, a value that is no probability.
    """
    table = open_table(Path(path), names=() if id_column is None else (id_column,))
    id_name = require_id(table, id_column)
    rest = [column for column in table.columns if column != id_name]
    used = match_finding_columns(rest, resolve=resolve, place=str(path)).used
    if not used:
        raise InputError(f"{path}: no column is a finding (columns: {listed(table.columns)})")
    rows: dict[str, list[float]] = {}
    for place, (cell, *values) in table.read([id_name, *used]):
        study_id = read_id(cell, place)
        if study_id in rows:
            raise InputError(f"{place}: id {study_id!r} comes twice; expected distinct ids")
        pairs = zip(values, used, strict=True)
        rows[study_id] = [_probability(value, place, column) for value, column in pairs]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(used.values()), dtype=float)
    return frame.rename_axis(id_name)


def find_suspects(
    labels: pd.DataFrame, predictions: pd.DataFrame, *, method: str = "margin"
) -> Suspects:
    """Find the labels that the predictions contradict.

    Positive is one class, negative and blank are the other; uncertain is neither. With t1 the mean
    probability of the studies labeled positive and t0 the mean of 1 - probability of the others, a
    label is doubted where the other class has a probability of at least its t, and

        margin = (p of the other class - its t) - (p of the given class - its t)

    Args:
        labels: index: id; a column per finding: 1, 0, -1, NaN.
        predictions: index: id; a column per finding in [0, 1] or NaN.
        method: "margin"; or "cleanlab", where that package says which labels are doubted ("prune
            by noise rate", which takes as many as it estimates to be wrong).

    Raises:
        InputError: no common finding or study, or cleanlab is asked for and not installed.
    """
    if method not in METHODS:
        raise InputError(f"--method: {method!r}; expected one of {', '.join(METHODS)}")
    issues = _cleanlab() if method == "cleanlab" else None
    common = [name for name in labels.columns if name in predictions.columns]
    if not common:
        raise InputError(
            f"predictions: no finding of the labels; found {', '.join(predictions.columns)}"
        )
    known = predictions.reindex(labels.index)[common]
    predicted = known.notna().any(axis=1)
    if not predicted.any():
        raise InputError("predictions: no study of the labels; expected the same ids")
    tables: list[pd.DataFrame] = []
    left_out: dict[str, str] = {}
    for finding in common:
        table = _doubted(labels[finding], known[finding], issues)
        if isinstance(table, str):
            left_out[finding] = table
        else:
            tables.append(table.assign(finding=finding))
    return Suspects(
        _ranked(tables, str(labels.index.name)),
        tuple(name for name in common if name not in left_out),
        left_out,
        studies=int(predicted.sum()),
        unpredicted=int((~predicted).sum()),
    )


def draw_suspects(
    suspects: Suspects, ids: pd.Index, *, n: int, seed: int, floor: float = FLOOR
) -> SampleTable:
    """Draw studies for review: the most doubted for certain, others at random.

    For each finding, the doubted positives and the doubted others are each split into the most
    doubted and the rest. As many are "most doubted" as can all be taken; as many again of the rest
    are drawn, and more where the floor asks for it.

    Args:
        ids: all studies, those without a doubted label or without a prediction too.
        floor: as in `draw_sample`.

    Raises:
        InputError: as `draw_sample`.
    """
    ranks = _ranks(suspects, ids)
    low, high = 1, max(2, n)  # at least one, and fewer than are drawn
    while high - low > 1:
        top = (low + high) // 2
        if _takes_all(_cells(ranks, top), n, floor):
            low = top
        else:
            high = top
    return draw_sample(_cells(ranks, low), n=n, seed=seed, floor=floor)


def suspect_cells(suspects: Suspects, ids: pd.Index, *, top: int) -> pd.DataFrame:
    """The cells of the design "suspects".

    Args:
        ids: all studies.
        top: how many of each finding's doubted positives, and others, are the most doubted.
    """
    return _cells(_ranks(suspects, ids), top)


def _ranks(suspects: Suspects, ids: pd.Index) -> pd.DataFrame:
    """By finding: 1, 2, ... for doubted positives, -1, -2, ... for doubted others, 0 elsewhere."""
    columns = {}
    for finding in suspects.findings:
        rows = suspects.table[suspects.table["finding"] == finding]
        positive = (rows["label"] == POSITIVE).to_numpy()
        places = ids.get_indexer(rows.index)
        if (places < 0).any():
            raise ValueError("ids: expected all studies of the labels")
        column = np.zeros(len(ids), dtype=np.int64)
        column[places] = np.where(
            positive, np.cumsum(positive), -np.cumsum(np.logical_not(positive))
        )
        columns[finding] = column
    return pd.DataFrame(columns, index=ids)


def _cells(ranks: pd.DataFrame, top: int) -> pd.DataFrame:
    rank = ranks.to_numpy(dtype=np.int64)
    code = np.sign(rank) * (1 + (np.abs(rank) <= top))
    return pd.DataFrame(_CELLS[code], index=ranks.index, columns=ranks.columns)


def write_suspects(path: Path | str, suspects: Suspects, *, force: bool = False) -> None:
    """Write the doubted labels, the most doubted first: id, finding, label, probability, margin.

    It is no list for a reviewer, whom it would tell the label; that is the sample.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    table = suspects.table
    names = {"finding": str, "label": str, "probability": float, "margin": float}
    with open_rows(path, {str(table.index.name): str, **names}, force=force) as writer:
        writer.write(list(table[list(names)].itertuples(name=None)))


def _doubted(label: pd.Series, probability: pd.Series, issues: Any) -> pd.DataFrame | str:
    """The doubted labels of a finding, or why there is nothing to compare."""
    given = label.fillna(0.0).map(_GIVEN)
    kept = given.notna() & probability.notna()
    p = probability[kept].to_numpy(np.float64)
    positive = given[kept].to_numpy(np.float64) == 1
    if positive.all() or not positive.any():
        return "its labels are all of one class"
    # Northcutt et al. 2021, eq. 2
    mean_positive, mean_other = p[positive].mean(), (1 - p[~positive]).mean()
    if mean_positive + mean_other <= 1:
        return "the model gives studies labeled positive no higher probability"
    other = np.where(positive, 1 - p, p)
    ahead = other - np.where(positive, mean_other, mean_positive)
    behind = 1 - other - np.where(positive, mean_positive, mean_other)
    doubted = ahead >= 0 if issues is None else _issues(issues, positive, p)
    table = pd.DataFrame(
        {
            "label": np.where(positive, POSITIVE, np.where(label[kept] == 0, NEGATIVE, BLANK)),
            "probability": p,
            "margin": ahead - behind,
        },
        index=label.index[kept],
    )
    return table[doubted]


def _ranked(tables: list[pd.DataFrame], id_name: str) -> pd.DataFrame:
    columns = ["finding", "label", "probability", "margin"]
    if not tables:
        return pd.DataFrame(columns=columns, index=pd.Index([], name=id_name))
    table = pd.concat(tables).rename_axis(id_name).reset_index()
    order = ["margin", id_name, "finding"]
    table = table.sort_values(order, ascending=[False, True, True], ignore_index=True)
    return table.set_index(id_name)[columns]


def _takes_all(cells: pd.DataFrame, n: int, floor: float) -> bool:
    parts = partition(cells)
    rates = inclusion_rates(parts, n, floor=floor)
    top = [number for number, (_, name) in enumerate(parts.cells) if name.startswith("most")]
    return all(rates[top] >= 1)


def _probability(cell: object, place: str, column: str) -> float:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    try:
        number = float(cell)  # type: ignore[arg-type]  # that is what is tried
    except (TypeError, ValueError):
        number = math.inf
    if math.isnan(number) or 0 <= number <= 1:
        return number
    raise InputError(
        f"{place}: column {column!r}: {str(cell)[:30]!r} is no probability; expected 0 to 1 or "
        "blank"
    )


def _cleanlab() -> Any:
    try:
        return import_module("cleanlab.filter").find_label_issues
    except ImportError as error:
        raise InputError(
            "--method cleanlab: cleanlab is missing; install cxr with its extra 'cleanlab', "
            "or take --method margin"
        ) from error


def _issues(find: Any, positive: NDArray[np.bool_], p: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = find(positive.astype(int), np.column_stack([1 - p, p]), n_jobs=1)
    return mask
