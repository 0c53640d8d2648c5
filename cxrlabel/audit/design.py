"""Sampling designs: the strata of the studies, how many of each are drawn, the file that says so.

Every finding puts a study into one cell (its label state, or a bin of a model's score), so that a
study lies in as many cells as there are findings. The design has to serve all cells at once and
still be a partition, whose inclusion probabilities and variances are those of textbook stratified
sampling (Cochran 1977, ch. 5):

- A study counts once, with the rarest of its cells; the strata are made of that.
- Its inclusion probability is the largest that any of its cells asks for, and never below a floor:

      p = max(floor * n / N, min(1, m / studies in its rarest cell))

  with m as large as n studies allow. So the estimate for any cell is at least as precise as from
  m of the cell's studies drawn at random, any estimate at least as precise as from floor * n of
  all studies, and no weight exceeds 1 / floor times that of a simple random sample.
- The strata of cells next to each other in rarity, whose p is nearly the same, are merged until
  two studies are drawn from each: with one, its variance could not be estimated. Cells of no more
  than m studies are one stratum, which is taken whole.
- Whole numbers are drawn, which can raise a weight by half (2 studies for 2.99 wanted). The
  probability that is written is n_h / N_h of what is drawn, not p. It is above zero for every
  study, so that estimates with the weights 1 / p are unbiased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.columns import find_id, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.files import InputTable
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.writers import open_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

FLOOR: Final = 0.5  # half of the sample could go to rare cells; no weight more than doubles
ALL: Final = "all studies"  # the one stratum where there are no cells
STRATUM: Final = "stratum"
PROBABILITY: Final = "inclusion_probability"
WEIGHT: Final = "weight"
SIZE: Final = "size"
DRAWN: Final = "n"
_MINIMUM: Final = 2  # studies drawn per stratum
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Studies by the rarest of their cells.

    Cells are in order of size, the rarest first; equal ones go by name, so that neither the order
    of the rows nor that of the findings matters.
    """

    cells: tuple[tuple[str, str], ...]  # (finding, category), C of them; none is empty
    sizes: Integers  # [C] studies in each cell
    rarest: Integers  # [N] the index of each study's rarest cell
    together: Integers  # [C, C] studies that lie in the column's cell, by their rarest cell

    @property
    def names(self) -> tuple[str, ...]:
        """The cells by name, "Edema uncertain"."""
        return tuple(" ".join(cell).strip() for cell in self.cells)

    @property
    def first(self) -> Integers:
        """[C] studies by their rarest cell; the sum is N."""
        return np.bincount(self.rarest, minlength=len(self.cells)).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """A partition of the studies into H strata, each a run of neighbouring cells."""

    names: tuple[str, ...]  # "s01", "s02" ...: the file must not tell a reviewer the label
    titles: tuple[str, ...]  # the rarest and the commonest cell, "Mass uncertain to Edema positive"
    members: Integers  # [N] the index of each study's stratum
    sizes: Integers  # [H] N_h


def partition(cells: pd.DataFrame) -> Partition:
    """Find the rarest cell of each study.

    Args:
        cells: one row per study and one column per finding, with the name of the cell that the
            study lies in ("uncertain"); without columns all studies lie in one cell. No blanks.
    """
    if not len(cells.columns):
        every = np.zeros((len(cells), 1), dtype=np.int64)
        return _partition([(ALL, "")], every)
    names: list[tuple[str, str]] = []
    codes = np.empty(cells.shape, dtype=np.int64)
    for column, finding in enumerate(cells.columns):
        code, found = pd.factorize(cells[finding])
        codes[:, column] = code + len(names)
        names += [(str(finding), str(name)) for name in found]
    return _partition(names, codes)


def _partition(names: Sequence[tuple[str, str]], codes: Integers) -> Partition:
    """Args: codes: [N, F] the index of each study's cell, for each finding."""
    count = len(names)
    sizes = np.bincount(codes.ravel(), minlength=count)
    order = sorted(range(count), key=lambda cell: (sizes[cell], names[cell]))
    ranks = np.empty(count, dtype=np.int64)
    ranks[order] = np.arange(count)
    ranked = ranks[codes]
    rarest = ranked.min(axis=1)
    together = np.zeros((count, count), dtype=np.int64)
    for column in ranked.T:
        together += np.bincount(rarest * count + column, minlength=count**2).reshape(count, count)
    return Partition(tuple(names[cell] for cell in order), sizes[order], rarest, together)


def inclusion_rates(parts: Partition, n: int, *, floor: float = FLOOR) -> Floats:
    """The wanted inclusion probability of a study, by its rarest cell.

    Args:
        n: studies to draw; N or more take all.
        floor: the smallest probability, as a share of n / N, in [0, 1].

    Returns:
        [C] in (0, 1], not increasing; their sum over the studies is n.
    """
    first = parts.first
    studies = int(first.sum())
    if n >= studies:
        return np.ones(len(first))
    # where this sum reaches n, m is found; it grows with m from floor * n to N
    low, high = 0.0, float(parts.sizes.max())
    for _ in range(100):
        middle = (low + high) / 2
        if first @ _rates(parts.sizes, middle, floor * n / studies) < n:
            low = middle
        else:
            high = middle
    return _rates(parts.sizes, high, floor * n / studies)


def _rates(sizes: Integers, m: float, lowest: float) -> Floats:
    return np.maximum(lowest, np.minimum(1.0, m / sizes))


def make_strata(parts: Partition, rates: Floats) -> Strata:
    """Merge neighbouring cells until each stratum is taken whole or expects two studies.

    Args:
        rates: [C] from `inclusion_rates`.
    """
    first = parts.first
    bounds: list[int] = []
    expected = 0.0
    present = np.flatnonzero(first)
    whole = present[rates[present] >= 1 - _ROUNDING]
    if len(whole):
        bounds.append(int(whole[-1]))
    for cell in present[len(whole) :]:
        expected += first[cell] * rates[cell]
        if expected >= _MINIMUM - _ROUNDING:
            bounds.append(int(cell))
            expected = 0.0
    if expected or not bounds:  # what is left of the commonest joins the stratum before it
        bounds[-1:] = [int(present[-1])]
    return strata_from_bounds(parts, bounds)


def strata_from_bounds(parts: Partition, bounds: Sequence[int]) -> Strata:
    """The strata of cells up to each of these, which grow; the last is the commonest."""
    members = np.searchsorted(np.array(bounds), parts.rarest).astype(np.int64)
    sizes = np.bincount(members, minlength=len(bounds)).astype(np.int64)
    digits = len(str(len(bounds)))
    return Strata(
        tuple(f"s{number:0{digits}}" for number in range(1, len(bounds) + 1)),
        tuple(_title(parts, members, stratum) for stratum in range(len(bounds))),
        members,
        sizes,
    )


def strata_from_sizes(parts: Partition, sizes: Sequence[int]) -> Strata | None:
    """The strata with these sizes, the rarest first, as they were made; None: there are none."""
    ends, wanted = np.cumsum(parts.first), np.cumsum(sizes)
    if wanted[-1] != ends[-1]:
        return None
    bounds = np.searchsorted(ends, wanted)
    if not np.array_equal(ends[bounds], wanted):
        return None
    return strata_from_bounds(parts, bounds.tolist())


def _title(parts: Partition, members: Integers, stratum: int) -> str:
    """The rarest and the commonest of the cells that a stratum is made of."""
    cells = parts.rarest[members == stratum]
    names = parts.names
    rarest, commonest = names[cells.min()], names[cells.max()]
    return rarest if rarest == commonest else f"{rarest} to {commonest}"


def allocate(parts: Partition, strata: Strata, rates: Floats, n: int) -> Integers:
    """Studies to draw from each stratum: as the rates say, in whole numbers with the sum n.

    Returns:
        [H] n_h, in 1 ... N_h; at least 2 where `make_strata` made strata of these rates and n > 1.
    """
    return whole_numbers(expected_in_strata(parts, strata, rates), min(n, int(strata.sizes.sum())))


def expected_in_strata(parts: Partition, strata: Strata, rates: Floats) -> Floats:
    """[H] the studies that the rates expect in each stratum."""
    weights = rates[parts.rarest]
    sums = np.bincount(strata.members, weights=weights, minlength=len(strata.sizes))
    return sums.astype(np.float64)


def whole_numbers(shares: Floats, total: int) -> Integers:
    """Shares that add up to `total`, each rounded up or down; the largest remainders go up."""
    down = np.floor(shares + _ROUNDING)
    order = np.argsort(down - shares, kind="stable")
    down[order[: total - int(down.sum())]] += 1
    return down.astype(np.int64)


# the file


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """A stratified sample without replacement, with what its estimates need."""

    id_name: str
    # index: id as text, sorted; columns: stratum, inclusion_probability in (0, 1], weight 1 / p
    table: pd.DataFrame
    # index: stratum, sorted; columns: size (N_h), n (n_h), inclusion_probability (n_h / N_h)
    strata: pd.DataFrame

    @property
    def studies(self) -> int:
        """N, the studies that the sample was drawn from."""
        return int(self.strata[SIZE].sum())


def make_sample(table: pd.DataFrame, *, place: str = "sample") -> SampleTable:
    """Complete a table of strata and inclusion probabilities.

    Args:
        table: index: id, under its own name; columns: stratum, inclusion_probability.
        place: the table's name in messages.

    Raises:
        InputError: a stratum's probabilities differ, or are not those of its whole sample.
    """
    table = table[[STRATUM, PROBABILITY]].sort_index()
    rows = table.groupby(STRATUM)[PROBABILITY].agg(["size", "min", "max"])
    uneven = rows.index[~np.isclose(rows["min"], rows["max"], rtol=1e-6, atol=0)]
    if len(uneven):
        raise InputError(
            f"{place}: stratum {uneven[0]!r} has different inclusion probabilities; "
            "expected one for each stratum"
        )
    exact = rows["size"] / rows["min"]
    sizes = exact.round()
    # 0.1 %: probabilities that somebody wrote with three digits
    broken = exact.index[(exact - sizes).abs() > np.maximum(1e-3 * exact, 1e-6)]
    if len(broken):
        name = broken[0]
        raise InputError(
            f"{place}: stratum {name!r} has {rows['size'][name]} rows of probability "
            f"{rows['min'][name]:g}, drawn from {exact[name]:.2f} studies; expected the rows as "
            "they were drawn and a whole number"
        )
    columns = {SIZE: sizes.astype("int64"), DRAWN: rows["size"], PROBABILITY: rows["min"]}
    table[WEIGHT] = 1 / table[PROBABILITY]
    return SampleTable(str(table.index.name), table, pd.DataFrame(columns))


def read_sample(path: Path | str, *, id_column: str | None = None) -> SampleTable:
    """Read a sample: an id, `stratum` and `inclusion_probability`; other columns are not read.

    A stratum's size is its number of rows divided by their probability, so the file has to hold all
    rows that were drawn, reviewed or not.

    Args:
        id_column: the column with the id; None takes the first with a usual name.

    Raises:
        InputError: a column is missing, an id empty or twice, a stratum empty, a probability no
            number in (0, 1], or as `make_sample`.
    """
    table = open_table(Path(path), names=() if id_column is None else (id_column,))
    id_name = require_id(table, id_column)
    columns = [id_name, STRATUM, PROBABILITY]
    for column in columns[1:]:
        require_column(column, table.columns, place=str(path))
    rows: dict[str, tuple[str, float]] = {}
    for place, (cell, stratum, probability) in table.read(columns):
        study_id = read_id(cell, place)
        if study_id in rows:
            raise InputError(f"{place}: id {study_id!r} comes twice; expected distinct ids")
        if not isinstance(stratum, str) or not stratum.strip():
            raise InputError(f"{place}: the stratum is empty, expected its name")
        rows[study_id] = (stratum, _probability(probability, place))
    if not rows:
        raise InputError(f"{path}: no rows; expected a study in each")
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[STRATUM, PROBABILITY])
    return make_sample(frame.rename_axis(id_name), place=str(path))


def require_id(table: InputTable, id_column: str | None) -> str:
    """The name of the id column: the one that is asked for, or the first with a usual name.

    Raises:
        InputError: there is none.
    """
    name = id_column or find_id(table.columns)
    if name is None:
        raise InputError(
            f"{table.path}: no id column found; name it with --id "
            f"(columns: {listed(table.columns)})"
        )
    require_column(name, table.columns, place=str(table.path))
    return name


def _probability(cell: object, place: str) -> float:
    try:
        number = float(cell)  # type: ignore[arg-type]  # that is what is tried
    except (TypeError, ValueError):
        number = 0.0
    if 0 < number <= 1:
        return number
    raise InputError(
        f"{place}: column {PROBABILITY!r}: {str(cell)[:30]!r}; expected a number above 0, at most 1"
    )


def write_sample(path: Path | str, sample: SampleTable, *, force: bool = False) -> None:
    """Write a sample: its id, `stratum` and `inclusion_probability`, sorted by id.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    columns = {sample.id_name: str, STRATUM: str, PROBABILITY: float}
    rows = sample.table[[STRATUM, PROBABILITY]].itertuples(name=None)
    with open_rows(path, columns, force=force) as writer:
        writer.write(list(rows))
