"""Labels from truth through P(state | truth), so that a clean set becomes a test bench.

Each cell has a permanent random number, a hash of seed, study and finding: a study's labels do not
depend on which other studies or findings there are. As the rates change, labels change in as few
cells as can be: the errors of a better labeler are among those of a worse one.

With scores, errors depend on the image. Among the studies of one truth let x be the normal score of
the rank of a model's score (van der Waerden's, so that x is standard normal), e a standard normal
number of the cell, and d the dependence, in (-1, 1):

    L = d x + sqrt(1 - d^2) e

L is standard normal whatever d is, and cut at the quantiles of P(state | truth), from the top:
positive, uncertain, negative, blank. So the shares of the states given truth stay what they are,
and with d > 0 findings are missed where the image shows little of them and called where it shows
something like them. It is the Gaussian random effect of Qu, Tan and Kutner (1996, Biometrics 52) on
the errors of a test, with the image's score as the subject's effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.sampling import permanent_random_numbers
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, require, resolve
from cxrlabel.tables import read_labels
from cxrlabel.writers import atomic_path, open_rows
from cxrvision.evaluate.predictions import read_predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CODES: Final = np.array([1.0, -1.0, 0.0, np.nan])  # of STATES
TRUTHS: Final = (1.0, 0.0)  # rows of P(state | truth)
_BITS: Final = 53  # of a float64 in [0, 1)


def draw_labels(
    truth: pd.DataFrame,
    tables: Mapping[str, Floats],
    *,
    seed: int,
    scores: pd.DataFrame | None = None,
    dependence: float = 0.0,
) -> pd.DataFrame:
    """Draw the label of every cell.

    Args:
        truth: index: id as text; a column per finding with 1 and 0 alone.
        tables: finding -> P(state | truth), [2, 4] for truth 1 and 0, of each column.
        scores: the same rows and columns: a model's score, higher for the finding.
        dependence: of the errors on the scores given truth, in (-1, 1); 0 needs no scores.

    Returns:
        The same rows and columns: 1, -1, 0, NaN.
    """
    if not -1 < dependence < 1:
        raise InputError(f"--dependence: {dependence:g}; expected more than -1 and less than 1")
    columns = {}
    for finding in truth.columns:
        is_so = _values(truth[finding])
        draws = uniform_numbers(truth.index, str(finding), seed)
        if dependence and scores is not None:
            draws = _with_scores(draws, is_so, _values(scores[finding]), dependence)
        labels = np.empty(len(truth))
        for value, shares in zip(TRUTHS, tables[finding], strict=True):
            rows = is_so == value
            places = np.searchsorted(np.cumsum(shares)[:-1], draws[rows], side="right")
            labels[rows] = CODES[places]
        columns[finding] = labels
    return pd.DataFrame(columns, index=truth.index)


def uniform_numbers(ids: pd.Index, finding: str, seed: int) -> Floats:
    """[N] in (0, 1): a number for each study that depends on seed, study and finding alone."""
    whole = permanent_random_numbers((f"{finding}\t{study}" for study in ids), seed)
    parts = (whole >> np.uint64(64 - _BITS)).astype(np.float64)
    numbers: Floats = (parts + 0.5) / 2.0**_BITS
    return np.minimum(numbers, np.nextafter(1.0, 0.0))


def _values(column: pd.Series[float]) -> Floats:
    return np.asarray(column, dtype=np.float64)


def _with_scores(draws: Floats, truth: Floats, scores: Floats, dependence: float) -> Floats:
    """Uniform numbers again, smaller where the score is high among the studies of one truth."""
    normal = NormalDist()
    effect = np.zeros_like(draws)
    for value in TRUTHS:
        rows = truth == value
        effect[rows] = _normal_scores(scores[rows])
    own = -np.array([normal.inv_cdf(draw) for draw in draws])  # a small draw is a positive label
    latent = dependence * effect + np.sqrt(1 - dependence**2) * own
    return np.array([normal.cdf(-value) for value in latent])


def _normal_scores(scores: Floats) -> Floats:
    """The normal quantile of each rank / (n + 1), scaled to variance 1; equal scores share it."""
    ranks = pd.Series(scores).rank(method="average").tolist()
    inverse = NormalDist().inv_cdf
    quantiles = np.array([inverse(rank / (len(scores) + 1)) for rank in ranks])
    spread = quantiles.std()
    normal: Floats = quantiles / spread if spread > 0 else quantiles
    return normal


# files


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A truth table as it was read."""

    id_name: str
    table: pd.DataFrame  # index: id, sorted; a column per finding: 1, 0


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """Labels that were drawn."""

    id_name: str
    labels: pd.DataFrame  # index: id, sorted; 1, -1, 0, NaN
    record: Mapping[str, Any]  # for labels.csv.run.json


def read_truth(path: Path, *, id_column: str | None = None, findings: Sequence[str] = ()) -> Truth:
    """Read a label table that is taken for the truth.

    Args:
        findings: those to read; none means all columns.

    Raises:
        InputError: as `cxrlabel.tables.read_labels`, a finding that it does not have, or a cell
            that is neither 1 nor 0.
    """
    table = read_labels(path, id_column=id_column, resolve=resolve).table.sort_index()
    names = [require(name, place="--findings") for name in findings] or list(table.columns)
    for name in names:
        if name not in table.columns:
            known = ", ".join(table.columns)
            raise InputError(f"--findings: {name!r} is not in {path}; expected some of {known}")
    table = table[list(dict.fromkeys(names))]
    values = table.to_numpy(np.float64)
    open_cells = ~np.isin(values, TRUTHS)
    if open_cells.any():
        row, column = np.argwhere(open_cells)[0].tolist()
        value = float(values[row, column])
        raise InputError(
            f"{path}: study {table.index[row]!r}, {table.columns[column]!r}: "
            f"{'blank' if np.isnan(value) else f'{value:g}'} is no truth; expected 1 or 0 "
            f"({int(open_cells.sum()):,} such cells)"
        )
    return Truth(str(table.index.name), table)


def read_scores(path: Path, truth: pd.DataFrame) -> tuple[pd.DataFrame, Path]:
    """A model's probabilities for the cells of a truth table, and the file that they came from.

    Args:
        path: a table of predictions, or a run folder.

    Raises:
        InputError: as `read_predictions`, or a study or finding without a prediction.
    """
    found = read_predictions(path)
    rows = found.rows_of()
    studies = [study for study in truth.index if study not in rows]
    names = [name for name in truth.columns if name not in found.findings]
    if studies or names:
        what = f"study {studies[0]!r}" if studies else f"finding {names[0]!r}"
        raise InputError(f"{path}: no score for the {what}; expected all of the truth")
    columns = [found.findings.index(str(name)) for name in truth.columns]
    values = found.probs[[rows[study] for study in truth.index]][:, columns]
    return pd.DataFrame(values, index=truth.index, columns=truth.columns), found.path


def simulate(
    truth: Truth,
    tables: Mapping[str, Floats],
    *,
    seed: int,
    scores: pd.DataFrame | None = None,
    dependence: float = 0.0,
    inputs: Mapping[str, Path],
) -> Simulated:
    """Draw labels and say what came of it.

    Args:
        tables, seed, scores, dependence: as in `draw_labels`.
        inputs: what the files that were read are -> their paths, for the record.
    """
    labels = draw_labels(truth.table, tables, seed=seed, scores=scores, dependence=dependence)
    record = {
        "version": version("cxr"),
        "made": "simulated labels",
        "seed": seed,
        "dependence": dependence,
        "inputs": {name: _described(path) for name, path in inputs.items()},
        "studies": len(labels),
        "findings": {
            str(name): realised_rates(truth.table[name], labels[name], tables[name])
            for name in labels.columns
        },
    }
    return Simulated(truth.id_name, labels, record)


def realised_rates(
    truth: pd.Series[float], labels: pd.Series[float], table: Floats
) -> dict[str, Any]:
    """What was asked for and what was drawn, for one finding; a rate of no study is None."""
    rates: dict[str, Any] = {}
    counts = count_cells(_values(truth), _values(labels))
    for key, asked, row in zip(("1", "0"), table, counts, strict=True):
        n = int(row.sum())
        rates[key] = {
            "studies": n,
            "wanted": dict(zip(STATES, map(float, asked.round(8)), strict=True)),
            "realised": {
                state: round(int(count) / n, 6) if n else None
                for state, count in zip(STATES, row, strict=True)
            },
        }
    (hit, *_), (false, *_) = counts
    absent = int(counts[1].sum())
    return {
        "given_truth": rates,
        "sensitivity": rates["1"]["realised"][STATES[0]],
        "specificity": round(1 - int(false) / absent, 6) if absent else None,
        "ppv": round(int(hit) / int(hit + false), 6) if hit + false else None,
    }


def count_cells(truth: Floats, labels: Floats) -> NDArray[np.int64]:
    """[2, 4] studies by truth 1 and 0 and label state, in the order of `STATES`."""
    states = [labels == 1, labels == -1, labels == 0, np.isnan(labels)]
    return np.array([[int((state & (truth == y)).sum()) for state in states] for y in TRUTHS])


def record_path(labels: Path) -> Path:
    """The run record beside a label file."""
    return labels.with_name(f"{labels.name}.run.json")


def write_simulated(path: Path, simulated: Simulated, *, force: bool = False) -> None:
    """Write the labels and, beside them, the run record.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    names = [str(name) for name in simulated.labels.columns]
    columns = {simulated.id_name: str, **dict.fromkeys(names, float)}
    with open_rows(path, columns, force=force) as writer:
        writer.write(
            [
                (study, *(None if np.isnan(value) else value for value in row))
                for study, row in zip(
                    simulated.labels.index, simulated.labels.to_numpy().tolist(), strict=True
                )
            ]
        )
    with atomic_path(record_path(path), force=force) as temporary:
        temporary.write_text(json.dumps(simulated.record, indent=2) + "\n", encoding="utf-8")


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "path": str(path),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
