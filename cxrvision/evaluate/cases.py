"""Predictions and labels joined by study, with the label policy applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel import findings
from cxrlabel.columns import listed
from cxrlabel.errors import InputError
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id
from cxrlabel.tables import Resolve, read_labels
from cxrvision.evaluate.predictions import Predictions, known_columns, text_of, with_own

if TYPE_CHECKING:
    import pandas as pd

    from cxrvision.evaluate.estimates import Floats, Integers

PATIENT: Final = "patient_id"
TEST: Final = "test"
VALIDATION: Final = "val"
ALL: Final = "all"
UNCERTAIN: Final = ("ignore", "zeros", "ones")
BLANK: Final = ("ignore", "zeros")


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels by study, after the policy, with what else the table says of a study."""

    path: Path
    table: pd.DataFrame  # index: id; a column per finding: 1, 0, NaN where it does not count
    states: pd.DataFrame  # the same before the policy: 1, 0, -1, NaN for blank
    known: pd.DataFrame  # index: id; text, "" for unknown
    silent: Mapping[str, str]  # id -> status of a report that was not labeled; not in the table


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Studies with probabilities and labels."""

    ids: tuple[str, ...]  # [n]
    findings: tuple[str, ...]  # F
    probs: Floats  # [n, F] in [0, 1]
    truth: Floats  # [n, F] 1, 0; NaN: left out for this finding
    states: Floats  # [n, F] label before the policy: 1, 0, -1, NaN for blank
    patients: Integers | None  # [n] code of each study's patient; None: not known
    known: pd.DataFrame  # [n, ...] text, "" for unknown

    @property
    def clusters(self) -> Integers:
        """[n] code of each study's patient; where patients are not known, of each study."""
        return np.arange(len(self.ids)) if self.patients is None else self.patients

    @property
    def number_of_patients(self) -> int:
        """How many patients there are; where they are not known, studies."""
        return len(np.unique(self.clusters))

    def take(self, rows: Any) -> Cases:
        """The cases at these rows: indices, or a mask."""
        at = np.arange(len(self.ids))[rows]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in at),
            probs=self.probs[at],
            truth=self.truth[at],
            states=self.states[at],
            patients=None if self.patients is None else self.patients[at],
            known=self.known.iloc[at].reset_index(drop=True),
        )

    def labelled(self, finding: int) -> Any:
        """[n] whether each study counts for this finding."""
        return ~np.isnan(self.truth[:, finding])


def load_labels(
    path: Path | str,
    *,
    predictions: Sequence[Predictions],
    id_column: str | None = None,
    columns: Sequence[str] = (),
    uncertain: str = "ignore",
    blank: str = "ignore",
    resolve: Resolve = findings.resolve,
) -> Labels:
    """Read labels and apply the policy; studies whose report was not labeled have none.

    Args:
        predictions: what is to be compared with them; a finding that only a column `prob_X` names
            may be a column of the labels.
        id_column: the column with the id; None takes the first with a usual name.
        columns: further columns to read into `known`.
        uncertain: what an uncertain label becomes, of `UNCERTAIN`.
        blank: what a blank one becomes, of `BLANK`. No Finding fills some of them before, see
            `cxrvision.targets`.

    Raises:
        InputError: the table cannot be read, or has no finding of the predictions.
    """
    from cxrvision.targets import make_targets

    for one in predictions:
        resolve = with_own([f"prob_{name}" for name in one.findings], resolve)
    path = Path(path)
    read = read_labels(path, id_column=id_column, resolve=resolve)
    table = read.labeled
    shared = [f for f in predictions[0].findings if f in table.columns]
    for one in predictions[1:]:
        shared = [f for f in shared if f in one.findings]
    if not shared:
        raise InputError(
            f"{path}: no finding of {predictions[0].path} (labels: {listed(list(table.columns))}; "
            f"predictions: {listed(predictions[0].findings)})"
        )
    for option, value, choices in (("uncertain", uncertain, UNCERTAIN), ("blank", blank, BLANK)):
        if value not in choices:
            raise InputError(f"--{option}: {value!r}; expected one of {', '.join(choices)}")
    states = table[shared].to_numpy(dtype=np.float64)
    targets = make_targets(states, findings=shared, uncertain=uncertain, blank=blank)
    values = np.where(targets.mask > 0, targets.values.astype(np.float64), np.nan)
    policy = type(table)(values, index=table.index, columns=shared)
    known = _read_known(path, table.index, columns)
    return Labels(path, policy, table[shared], known, read.silent)


def _read_known(path: Path, ids: pd.Index, columns: Sequence[str]) -> pd.DataFrame:
    """What the table of labels says of a study besides labels, in the order of `ids`."""
    import pandas as pd

    name = str(ids.name)
    table = open_table(path, names=(name,))
    known = known_columns([c for c in table.columns if c != name], columns)
    if not known or name not in table.columns:
        return pd.DataFrame(index=ids)
    rows = {
        read_id(cell, where): [text_of(value) for value in cells]
        for where, (cell, *cells) in table.read([name, *known.values()])
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(known), dtype=str)
    return frame.reindex(ids)


def join(
    predictions: Predictions,
    labels: Labels,
    *,
    rows: Mapping[str, int] | None = None,
    patient: str | None = None,
) -> Cases:
    """The studies that have both, in the order of the predictions.

    Args:
        rows: id -> row of the predictions; None: one row for each study, with all its views.
        patient: the column with the patient, of the predictions or else of the labels; None: one
            with a usual name, where there is one.

    Raises:
        InputError: no common study, no such column, or a study without a patient.
    """
    chosen = predictions.rows_of() if rows is None else rows
    position = {study_id: place for place, study_id in enumerate(labels.table.index)}
    ids = [study_id for study_id in chosen if study_id in position]
    if not ids:
        raise InputError(
            f"{predictions.path}: no id of {labels.path}; expected the same ids (found "
            f"{_first(chosen)} here, {_first(position)} there)"
        )
    at = [chosen[study_id] for study_id in ids]
    there = [position[study_id] for study_id in ids]
    names = list(labels.table.columns)
    known = predictions.known.iloc[at].reset_index(drop=True)
    others = labels.known.iloc[there].reset_index(drop=True)
    known = known.join(others[[c for c in others if c not in known]])
    return Cases(
        tuple(ids),
        tuple(names),
        predictions.probs[np.ix_(at, [predictions.findings.index(n) for n in names])],
        labels.table.to_numpy()[there],
        labels.states.to_numpy(dtype=np.float64)[there],
        _patients(known, patient, ids, f"{predictions.path}, {labels.path}"),
        known,
    )


def take_split(cases: Cases, split: str) -> tuple[Cases, str]:
    """The cases of a split, and its name.

    Args:
        split: "" takes "test" where there are such cases, else all; "all" takes all.

    Raises:
        InputError: there is no case of the split.
    """
    if split == ALL:
        return cases, ""
    wanted = split or TEST
    if "split" not in cases.known:
        found: list[str] = []
    else:
        values = cases.known["split"].str.lower()
        inside = (values == wanted.lower()).to_numpy()
        if inside.any():
            return cases.take(inside), wanted
        found = sorted(set(values) - {""})
    if not split:
        return cases, ""
    there = f"splits: {', '.join(found)}" if found else "there is no column split"
    raise InputError(f"--split {split}: no study with predictions and labels ({there})")


def _patients(
    known: pd.DataFrame, patient: str | None, ids: Sequence[str], place: str
) -> Integers | None:
    """A code for each study's patient."""
    name = patient or PATIENT
    if patient is not None and patient not in known:
        # a column with a usual name is kept under that
        usual = known_columns([patient])
        name = PATIENT if PATIENT in usual and PATIENT in known else patient
    if name not in known:
        if patient is None:
            return None
        raise InputError(f"{place}: no column {patient!r}, which --patient names")
    values = known[name]
    missing = np.flatnonzero(values == "")
    if len(missing):
        raise InputError(
            f"{place}: study {ids[missing[0]]!r} has no patient in column {name!r}; expected one"
        )
    return np.unique(values.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def _first(ids: Iterable[str]) -> str:
    return repr(next(iter(ids), ""))
