"""Reviewed reports: what labelers learn from, and are judged by.

Reports are joined with the reviews by id. Reports of one patient, and reports whose words are the
same, are a group that never stands on both sides of a fold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.audit.reviews import ADJUDICATED, read_reviews
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, resolve
from cxrlabel.readers import ReportRow, open_reports

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.audit.reviews import Reviews

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_WORDS: Final = re.compile(r"\w+")
_VALUES: Final = (1.0, -1.0, 0.0, np.nan)  # of STATES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reviewed:
    """N reports with what reviewers said of F findings."""

    rows: list[ReportRow]
    findings: tuple[str, ...]
    shares: Floats  # [N, F, 4] of the readings that say each of STATES; rows add to 1
    groups: Integers  # [N] equal for reports of one patient or of equal words
    texts: tuple[str, ...]  # [N] a hash of each report's words
    used: tuple[str, ...]  # the states that the reviewers use for any finding
    reference: str  # "report", "image" or "" where the file does not say
    without_report: int  # reviewed studies that the reports lack

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Integers | NDArray[np.bool_]) -> Reviewed:
        """Some of the reports, by their places or by a mask."""
        places = np.arange(len(self))[chosen]
        return replace(
            self,
            rows=[self.rows[i] for i in places],
            shares=self.shares[places],
            groups=self.groups[places],
            texts=tuple(self.texts[i] for i in places),
        )


def read_reviewed(
    reports: Sequence[str],
    manual: Path | str,
    *,
    id_column: str | None = None,
    text_columns: Sequence[str] = (),
    patient: str | None = None,
    reference: str | None = None,
    findings: Sequence[str] = (),
) -> Reviewed:
    """Join reports with manual reviews of them.

    Where a study has several readings each counts its share, unless one is adjudicated.

    Args:
        reports: files, folders or patterns, as `cxr label` reads them.
        manual: reviews, as `cxr audit report` reads them.
        id_column: of both tables; None takes the usual names.
        text_columns: as of `cxr label`.
        patient: a column of the reports; its reports stay together.
        reference: as of `read_reviews`.
        findings: those to take; none means all that were reviewed.

    Raises:
        InputError: a file is wrong, a finding was not reviewed, or no reviewed study has a report.
    """
    reviews = read_reviews(manual, id_column=id_column, reference=reference, resolve=resolve)
    source = open_reports(
        reports,
        id_column=id_column,
        text_columns=text_columns,
        keep=[] if patient is None else [patient],
    )
    ids = dict.fromkeys(reviews.states.index.get_level_values(0))
    rows = [row for row in source.rows() if row.study_id in ids]
    if not rows:
        raise InputError(
            f"{manual}: none of its {len(ids)} studies is among the reports; expected the ids of "
            f"column {source.id_column!r}"
        )
    rows.sort(key=lambda row: row.study_id)
    texts = tuple(hash_words(row.texts) for row in rows)
    patients = [row.kept[0] if patient else "" for row in rows]
    reviewed = tuple(map(str, reviews.states.columns))
    chosen = tuple(_reviewed(name, reviewed, manual) for name in findings) or reviewed
    shares = _shares(reviews, [row.study_id for row in rows])
    return Reviewed(
        rows,
        chosen,
        shares[:, [reviewed.index(name) for name in chosen]],
        _groups(texts, patients),
        texts,
        _used(reviews),
        reviews.reference,
        len(ids) - len(rows),
    )


def hash_words(texts: Sequence[tuple[str, str]]) -> str:
    """A hash of a report's words in their order; case and marks do not count."""
    words = _WORDS.findall(" ".join(text for _, text in texts).casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def grouped_folds(groups: Integers, folds: int, rng: np.random.Generator) -> Integers:
    """[N] the fold of each report, in [0, `folds`); a group is in one fold, folds of equal sizes.

    Raises:
        InputError: there are fewer groups than folds.
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise InputError(
            f"{len(names)} reports or patients that differ; expected {folds} or more, one for "
            "each fold"
        )
    filled = np.zeros(folds, np.int64)
    fold_of = np.zeros(len(names), np.int64)
    order = rng.permutation(len(names))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold = int(filled.argmin())
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return fold_of[members]


def some_groups(groups: Integers, reports: int, rng: np.random.Generator) -> Integers:
    """Places of whole groups drawn at random, of about so many reports together."""
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), reports)) + 1]
    places: Integers = np.flatnonzero(np.isin(members, taken))
    return places


def _reviewed(name: str, reviewed: Sequence[str], manual: Path | str) -> str:
    finding = resolve(name)
    if finding is None or finding not in reviewed:
        raise InputError(f"--findings: {name!r}: {manual} has {', '.join(reviewed)}")
    return finding


def _shares(reviews: Reviews, ids: Sequence[str]) -> Floats:
    """[N, F, 4] of the readings that say each of STATES."""
    index = reviews.states.index
    study = index.get_level_values(0)
    adjudicated = set(study[index.get_level_values(1) == ADJUDICATED])
    decides = (index.get_level_values(1) == ADJUDICATED) | ~study.isin(adjudicated)
    values = reviews.states.to_numpy()[decides]
    places = {name: place for place, name in enumerate(ids)}
    rows = np.array([places.get(name, -1) for name in study[decides]])
    said = np.stack([_equal(values, value) for value in _VALUES], axis=-1).astype(np.float64)
    shares = np.zeros((len(ids), values.shape[1], len(STATES)))
    np.add.at(shares, rows[rows >= 0], said[rows >= 0])
    scaled: Floats = shares / shares.sum(axis=-1, keepdims=True)
    return scaled


def _equal(values: Floats, value: float) -> NDArray[np.bool_]:
    return np.isnan(values) if np.isnan(value) else values == value


def _used(reviews: Reviews) -> tuple[str, ...]:
    values = reviews.states.to_numpy()
    return tuple(
        state for state, value in zip(STATES, _VALUES, strict=True) if _equal(values, value).any()
    )


def _groups(texts: Sequence[str], patients: Sequence[str]) -> Integers:
    """[N] numbers of what hangs together by equal texts or patients."""
    owner: dict[tuple[str, str], int] = {}
    parent = list(range(len(texts)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for place, (text, patient) in enumerate(zip(texts, patients, strict=True)):
        for key in (("text", text), *([("patient", patient)] if patient else [])):
            first = owner.setdefault(key, place)
            parent[root(place)] = root(first)
    return np.array([root(place) for place in range(len(texts))], np.int64)
