"""The layout of the files: which columns, under which names, in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import CODES, NO_FINDING, POSITIVE, STATES, Dialect, LabelSet
from cxrlabel.studies import Mention
from cxrlabel.writers import Coded, Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INTEGERS: Final = frozenset({"sentence", "start", "end", "cue_start", "cue_end"})
PROBABILITY_DIGITS: Final = 5
_NUMBERS: Final = [float(CODES[state]) if CODES[state] else None for state in STATES]


@dataclass(frozen=True)
class Layout:
    """The columns of the labels file."""

    label_set: LabelSet
    dialect: Dialect
    id_name: str
    keep: tuple[str, ...]
    status: bool

    def columns(self) -> dict[str, type]:
        """Column name -> type of its cells, in order."""
        named: dict[str, type] = dict.fromkeys(self.dialect.keep, str)
        named[self.id_name] = str
        named.update(dict.fromkeys((k for k in self.keep if k not in self.dialect.keep), str))
        if self.dialect.form == "string":
            named[self.dialect.column] = str
        else:
            named.update(dict.fromkeys(self.finding_columns.values(), float))
        if self.status:
            named["status"] = str
        return named

    @cached_property
    def finding_columns(self) -> dict[str, str]:
        """Finding -> column name, in the dialect's order."""
        columns = self.label_set.columns
        names = sorted(columns) if self.dialect.order == "alphabetical" else list(columns)
        return {name: columns[name] for name in names}

    def check(self) -> None:
        """Refuse two columns of one name."""
        names = [*self.dialect.keep, self.id_name]
        names += [name for name in self.keep if name not in self.dialect.keep]
        names += [self.dialect.column] if self.dialect.form == "string" else self._titles()
        names += ["status"] if self.status else []
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            place = "--id" if twice[0] == self.id_name else "labels file"
            raise InputError(
                f"{place}: {twice[0]!r} would be the name of two columns; expected distinct names "
                "of id, kept columns and findings"
            )

    def cells(
        self,
        ids: list[str],
        kept: Sequence[Sequence[str]],
        statuses: Sequence[str],
        labels: NDArray[np.uint8],
        findings: Sequence[str],
    ) -> list[Column]:
        """The columns of some studies.

        Args:
            ids: N of them.
            kept: for each study the cells of `keep`.
            statuses: one for each.
            labels: [N, F], each an index into `STATES`.
            findings: the names of the labels' columns.
        """
        by_name = dict(zip(findings, labels.T, strict=True))
        columns = [list(column) for column in zip(*kept, strict=True)] or [[] for _ in self.keep]
        columns.insert(len(self.dialect.keep), ids)
        if self.dialect.form == "string":
            found = zip(*(by_name[name].tolist() for name in self.finding_columns), strict=True)
            healthy = by_name[NO_FINDING].tolist()
            cells = [self._positives(*pair) for pair in zip(found, healthy, strict=True)]
            return [*columns, cells, *([list(statuses)] if self.status else [])]
        coded = [Coded(_NUMBERS, by_name[name]) for name in self.finding_columns]
        return [*columns, *coded, *([list(statuses)] if self.status else [])]

    def _titles(self) -> list[str]:
        return list(self.finding_columns.values())

    def _positives(self, codes: Sequence[int], healthy: int) -> str:
        """The cell of the NIH layout: positive names joined by "|", or "No Finding"."""
        positive = STATES.index(POSITIVE)
        found = [n for n, code in zip(self._titles(), codes, strict=True) if code == positive]
        if found:
            return "|".join(found)
        return NO_FINDING if healthy == positive else ""


def mention_columns(id_name: str) -> dict[str, type]:
    """The columns of the mentions file: name -> type of its cells, in order.

    Raises:
        InputError: the id has the name of another column.
    """
    if id_name in Mention._fields:
        raise InputError(
            f"--id: {id_name!r} is a column of the mentions file; rename the id column"
        )
    names: dict[str, type] = {id_name: str}
    names.update({name: int if name in _INTEGERS else str for name in Mention._fields})
    return names


def probability_columns(id_name: str, label_set: LabelSet) -> dict[str, type]:
    """The columns of a file of probabilities: name -> type of its cells, in order."""
    names: dict[str, type] = {id_name: str}
    names.update(
        {f"{column} {state}": float for column in label_set.columns.values() for state in STATES}
    )
    return names


def probability_cells(ids: list[str], probs: NDArray[np.float64]) -> list[Column]:
    """The columns of some studies.

    Args:
        ids: N of them.
        probs: [N, F, 4] of each of STATES, for the findings of the label set.
    """
    flat = probs.reshape(len(ids), -1).round(PROBABILITY_DIGITS)
    return [ids, *(column.tolist() for column in flat.T)]
