"""The labels that a data set ships, in our own form: a row per study, 1, 0, -1 or blank.

Names of findings are matched whole, by `cxrlabel.findings.resolve` and by what a data set's own
vocabulary says; never by a part of them, by which "pseudonodule" would be a nodule.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import fold, load_findings, resolve
from cxrlabel.writers import Column, open_rows
from cxrvision.data.files import named

if TYPE_CHECKING:
    import pandas as pd

_STATES: Final = {"1": 1.0, "0": 0.0, "-1": -1.0, "": math.nan}
# the strongest of several: positive > uncertain > negative, Irvin et al. 2019, sec. 2.2
_RANKS: Final = {1.0: 3.0, -1.0: 2.0, 0.0: 1.0}
_NAMES: Final = {rank: state for state, rank in _RANKS.items()}


def finding_columns(
    columns: Iterable[str], own: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Column -> finding for those that are one, and the others.

    Args:
        own: a data set's own names of findings; they go before ours. Names are folded.
    """
    folded = {fold(name): finding for name, finding in (own or {}).items()}
    used: dict[str, str] = {}
    others: list[str] = []
    for column in columns:
        finding = folded.get(fold(column)) or resolve(column)
        if finding is None:
            others.append(column)
        else:
            used[column] = finding
    return used, others


def states_from_columns(
    cells: pd.DataFrame, used: Mapping[str, str], *, place: Path
) -> pd.DataFrame:
    """Columns of text as states; columns of the same finding become one, the strongest.

    Args:
        cells: text of 1, 0, -1 (also as 1.0) or "".
        used: column -> finding.

    Raises:
        InputError: a cell is not a label.
    """
    import pandas as pd

    ranks: dict[str, pd.Series[float]] = {}
    for column, finding in used.items():
        texts = cells[column].str.removesuffix(".0")
        states = {text: _STATES.get(text) for text in texts.unique()}
        wrong = next((text for text, state in states.items() if state is None), None)
        if wrong is not None:
            raise InputError(
                f"{place}: column {column!r}: {wrong[:30]!r} is not a label; "
                "expected 1, 0, -1 or blank"
            )
        rank = texts.map(states).astype("float64").map(_RANKS)
        both = ranks.get(finding)
        ranks[finding] = rank if both is None else pd.concat([both, rank], axis=1).max(axis=1)
    return pd.DataFrame(
        {finding: ranks[finding].map(_NAMES).astype("float64") for finding in in_order(ranks)},
        index=cells.index,
    )


def states_from_names(
    names: pd.Series[str],
    *,
    findings: Sequence[str] = (),
    own: Mapping[str, str] | None = None,
    closed: bool = True,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Lists of positive names as states: 1 where a row names a finding, else 0.

    A row without a name is blank throughout.

    Args:
        names: joined by "|".
        findings: the columns; by default those that any row names.
        own: as for `finding_columns`.
        closed: a name that is no finding of ours is none of the columns, so these are 0; False
            leaves them blank in its row.

    Returns:
        The states, and how many rows have each name that is no finding.
    """
    import pandas as pd

    counts = names.value_counts()
    parts = {text: [p.strip() for p in text.split("|") if p.strip()] for text in counts.index}
    used, _ = finding_columns(dict.fromkeys(p for listed in parts.values() for p in listed), own)
    unknown: Counter[str] = Counter()
    for text, listed in parts.items():
        unknown.update(dict.fromkeys([p for p in listed if p not in used], int(counts[text])))
    positive = {text: {used[p] for p in listed if p in used} for text, listed in parts.items()}
    columns = list(findings) or in_order(set().union(*positive.values()))
    absent = {
        text: 0.0 if listed and (closed or all(p in used for p in listed)) else math.nan
        for text, listed in parts.items()
    }
    rows = [
        [1.0 if finding in positive[text] else absent[text] for finding in columns]
        for text in parts
    ]
    states = pd.DataFrame(rows, index=list(parts), columns=columns, dtype="float64")
    return states.loc[list(names)].set_axis(names.index), dict(unknown)


def gather(states: pd.DataFrame, studies: pd.Series[str]) -> tuple[pd.DataFrame, int]:
    """One row for the images of each study: for each finding the strongest state.

    Returns:
        index study_id, sorted; and the studies whose images differ.
    """
    ranks = states.apply(lambda column: column.map(_RANKS)).astype("float64")
    groups = ranks.fillna(0.0).groupby(studies.rename("study_id"))
    strongest, weakest = groups.max(), groups.min()
    differ = int((strongest != weakest).any(axis=1).sum())
    return strongest.apply(lambda column: column.map(_NAMES)).astype("float64"), differ


def in_order(findings: Iterable[str]) -> list[str]:
    """Findings in the order of the label set "all"."""
    wanted = set(findings)
    return [finding.name for finding in load_findings() if finding.name in wanted]


def unknown_note(unknown: Mapping[str, int] | Sequence[str]) -> list[str]:
    """A line about names that are no finding of ours; none where there is no such name."""
    if not unknown:
        return []
    if isinstance(unknown, Mapping):
        most = sorted(unknown, key=lambda name: (-unknown[name], name))
        listed = [f"{name} ({unknown[name]:,})" for name in most]
    else:
        listed = list(unknown)
    return [f"{len(unknown):,} label names are no finding of ours: {named(listed, first=5)}"]


def write_labels(path: Path | str, labels: pd.DataFrame, *, force: bool = False) -> None:
    """Write labels in our format: study_id, then the findings; text columns come last.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    from pandas.api.types import is_float_dtype

    table = labels.sort_index()
    kinds = {str(name): float if is_float_dtype(table[name]) else str for name in table}
    columns: list[Column] = [table.index.astype("str").tolist()]
    for name, kind in kinds.items():
        cells = table[name].tolist()
        columns.append([None if c != c else c for c in cells] if kind is float else cells)
    with open_rows(path, {"study_id": str, **kinds}, force=force) as writer:
        writer.write_columns(columns)
