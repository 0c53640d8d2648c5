"""Where the errors come from: which sections, cues, rules, lengths, hospitals err more than others.

Two kinds of rows. What decided a label (its reason, section, cue and rule) is compared over the
labels: of the positive ones, how many are wrong; of the negative and blank ones, how many hide a
finding; of the uncertain ones, how many are true. Groups of studies (a column of the user, the
report's length) are compared over the truths: how often is a finding that is there missed, and one
that is not there labeled. These rates do not depend on how frequent a finding is in a hospital.

No Finding is left out, being made of the other labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cxrlabel.audit.deciding import FALSE_POSITIVE, KINDS, MISSED, UNDECIDED, Deciding, Label
from cxrlabel.audit.heterogeneity import differ, excess, holm
from cxrlabel.audit.intervals import wilson
from cxrlabel.audit.patients import design_effect
from cxrlabel.audit.pooling import effective_number
from cxrlabel.findings import BLANK, NEGATIVE, NO_FINDING, POSITIVE, UNCERTAIN
from cxrlabel.writers import open_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Integers = NDArray[np.int64]

REASON: Final = "reason"
SECTION: Final = "section"
CUE: Final = "cue"
RULE: Final = "rule"
DECIDED_BY: Final[Mapping[str, Callable[[Deciding], str]]] = {
    REASON: lambda deciding: deciding.reason,
    SECTION: lambda deciding: deciding.section,
    CUE: lambda deciding: deciding.cue,
    RULE: lambda deciding: deciding.rule,
}
TESTED: Final = 5  # labels below which a value is not tested
NOT_STATED: Final = "not stated"
GROUPS: Final = 12  # groups of one column; rarer values are put together
_QUARTERS: Final = (0.25, 0.5, 0.75)

# the label states that can be an error of a kind
_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    FALSE_POSITIVE: (POSITIVE,),
    MISSED: (NEGATIVE, BLANK),
    UNDECIDED: (UNCERTAIN,),
}


@dataclass(frozen=True, slots=True)
class SourceRow:
    """How often labels of one kind are wrong where something has one value."""

    source: str  # reason, section, cue, rule; or a column's name
    value: str
    kind: str  # fp, fn; uncertain: `cases` are those that are there
    n: int  # labels that could have been a case
    cases: int
    share: float  # weighted
    lo: float
    hi: float
    expected: float  # weighted share, were each finding's rate the same everywhere
    p: float  # adjusted by Holm; NaN where nothing was tested
    grouped: bool  # of a column: p is of all its values together


def by_decision(labels: Sequence[Label], patients: Integers | None = None) -> list[SourceRow]:
    """Rows by what decided the labels, for values that are not empty; those with most cases first.

    Args:
        labels: with what decided them.
        patients: [n] of the studies compared.
    """
    labels = [label for label in labels if label.finding != NO_FINDING]
    rows = [
        row
        for kind in KINDS
        for row in _rows_of_kind([x for x in labels if x.state in _STATES[kind]], kind, patients)
    ]
    adjusted = holm([row.p for row in rows])
    rows = [dataclasses.replace(row, p=p) for row, p in zip(rows, adjusted, strict=True)]
    order = list(DECIDED_BY)
    return sorted(
        rows,
        key=lambda r: (order.index(r.source), KINDS.index(r.kind), -r.cases, -r.n, r.value),
    )


def _rows_of_kind(
    labels: Sequence[Label], kind: str, patients: Integers | None
) -> Iterable[SourceRow]:
    findings = sorted({label.finding for label in labels})
    finding = np.array([findings.index(label.finding) for label in labels], dtype=np.int64)
    case = np.array([_is_case(label, kind) for label in labels], dtype=bool)
    weight = np.array([label.weight for label in labels])
    study = np.array([label.study for label in labels], dtype=np.int64)
    clusters = study if patients is None else patients[study]
    rates = _rates(finding, case, weight, len(findings))
    for source, value_of in DECIDED_BY.items():
        values = np.array([value_of(label.deciding) for label in labels], dtype=object)
        for value in sorted(set(values) - {""}):
            here = values == value
            row = _row(source, value, kind, here, case, weight, clusters, rates[finding])
            if row.n >= TESTED and kind != UNDECIDED:
                counts = (case & here, here, case, np.ones_like(here))
                p = excess(*(np.bincount(finding[mask], minlength=len(rates)) for mask in counts))
                row = dataclasses.replace(row, p=p)
            yield row


def _is_case(label: Label, kind: str) -> bool:
    return label.present if kind in (MISSED, UNDECIDED) else not label.present


def _rates(
    finding: Integers, case: Bools, weight: NDArray[np.float64], findings: int
) -> NDArray[np.float64]:
    """The weighted share of cases of each finding."""
    whole = np.bincount(finding, weight, minlength=findings)
    return np.bincount(finding, weight * case, minlength=findings) / np.where(whole > 0, whole, 1)


def _row(
    source: str,
    value: str,
    kind: str,
    here: Bools,
    case: Bools,
    weight: NDArray[np.float64],
    clusters: Integers,
    rate: NDArray[np.float64],
) -> SourceRow:
    """Args: the arrays are over labels; rate: the share of cases of each label's finding."""
    n = int(here.sum())
    if not n:
        nan = math.nan
        return SourceRow(source, value, kind, 0, 0, nan, nan, nan, nan, nan, grouped=False)
    share = float(np.average(case[here], weights=weight[here]))
    effective = effective_number(weight[here]) / design_effect(case, here, clusters)
    low, high = wilson(share, effective)
    expected = float(np.average(rate[here], weights=weight[here]))
    cases = int((case & here).sum())
    return SourceRow(
        source, value, kind, n, cases, share, float(low), float(high), expected, math.nan, False
    )


# groups of studies


def by_group(
    labels: Sequence[Label],
    groups: Mapping[str, pd.Series],
    patients: Integers | None = None,
    *,
    seed: int = 0,
) -> list[SourceRow]:
    """Rows by groups of studies, in the order of the groups.

    Args:
        groups: name -> the group of each study compared, in their order, as `make_groups` makes it.
        patients: [n] of the studies compared.
        seed: of the permutations.
    """
    labels = [label for label in labels if label.finding != NO_FINDING]
    rows: list[SourceRow] = []
    tested: list[float] = []
    for name, group in groups.items():
        for kind in (FALSE_POSITIVE, MISSED):
            # cells that could be an error of the kind, by the truth
            cells = [label for label in labels if label.present == (kind == MISSED)]
            found, p = _rows_of_group(name, group, cells, kind, patients, seed)
            rows += found
            tested.append(p)
    adjusted = iter(holm(tested))
    by_test = {(name, kind): next(adjusted) for name in groups for kind in (FALSE_POSITIVE, MISSED)}
    return [dataclasses.replace(row, p=by_test[row.source, row.kind]) for row in rows]


def _rows_of_group(
    name: str,
    group: pd.Series,
    cells: Sequence[Label],
    kind: str,
    patients: Integers | None,
    seed: int,
) -> tuple[list[SourceRow], float]:
    names = list(group.cat.categories)
    codes = group.cat.codes.to_numpy().astype(np.int64)  # [n]
    findings = sorted({label.finding for label in cells})
    study = np.array([label.study for label in cells], dtype=np.int64)
    finding = np.array([findings.index(label.finding) for label in cells], dtype=np.int64)
    case = np.array([label.kind == kind for label in cells], dtype=bool)
    weight = np.array([label.weight for label in cells])
    clusters = study if patients is None else patients[study]
    rates = _rates(finding, case, weight, len(findings))
    rows = [
        _row(name, value, kind, codes[study] == code, case, weight, clusters, rates[finding])
        for code, value in enumerate(names)
    ]
    shape = len(codes), len(findings)
    wrong, counted, weights = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    wrong[study, finding], counted[study, finding], weights[study, finding] = case, True, weight
    p = differ(wrong, counted, weights, codes, patients=patients, seed=seed)
    return [dataclasses.replace(row, grouped=True) for row in rows], p


def make_groups(values: pd.Series) -> pd.Series:
    """Studies in a few groups: numbers in quarters, texts by value, the rarest put together.

    Args:
        values: text by study; blank where it is not known.

    Returns:
        The same index, a categorical.
    """
    text = values.fillna("").astype(str).str.strip()
    known = text[text != ""]
    numbers = pd.to_numeric(known, errors="coerce")
    if len(known) and numbers.notna().all() and numbers.nunique() > GROUPS:
        named, order = _quarters(numbers)
    else:
        counts = known.value_counts()
        frequent = sorted(counts.index, key=lambda value: (-counts[value], value))
        rest = frequent[GROUPS - 1 :] if len(frequent) > GROUPS else []
        others = f"{len(rest)} others"
        named = known.where(~known.isin(rest), others)
        order = [value for value in frequent if value not in rest] + [others] * bool(rest)
    whole = named.reindex(values.index, fill_value=NOT_STATED)
    order += [NOT_STATED] * bool(len(known) < len(text))
    return whole.astype(pd.CategoricalDtype(order))


def _quarters(numbers: pd.Series) -> tuple[pd.Series, list[str]]:
    ends = sorted({float(end) for end in numbers.quantile(list(_QUARTERS))} | {numbers.max()})
    place = np.searchsorted(ends, numbers.to_numpy())
    names = []
    for number in range(len(ends)):
        inside = numbers[place == number]
        low, high = f"{inside.min():g}", f"{inside.max():g}"
        names.append(low if low == high else f"{low} to {high}")
    return pd.Series([names[i] for i in place], index=numbers.index), names


def write_sources(path: Path | str, rows: Sequence[SourceRow], *, force: bool = False) -> None:
    """Write error_sources.csv.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    columns: dict[str, type] = dict.fromkeys(("source", "value", "kind"), str)
    columns |= dict.fromkeys(("n", "cases"), int)
    columns |= dict.fromkeys(("share", "lo", "hi", "expected", "p"), float)
    cells = [
        tuple(
            None if isinstance(cell, float) and math.isnan(cell) else cell
            for cell in (getattr(row, name) for name in columns)
        )
        for row in rows
    ]
    with open_rows(path, columns, force=force) as writer:
        writer.write(cells)
