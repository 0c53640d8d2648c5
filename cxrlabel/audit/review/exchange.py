"""Readings from outside: a sheet that a reviewer fills in, and what comes back.

Whatever was read elsewhere becomes a committed reading of the review, so that it can be adjudicated
and exported like the others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review import reading
from cxrlabel.audit.review.creation import check_names
from cxrlabel.audit.review.labelstudio import GivenReading, read_tasks, shown_text
from cxrlabel.audit.review.models import Adjudication, Assignment, Review, Reviewer, Study
from cxrlabel.audit.review.store import open_store, the_review
from cxrlabel.audit.review.words import STATE_OF
from cxrlabel.audit.reviews import ADJUDICATED, read_reviews
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve
from cxrlabel.formats import open_table
from cxrlabel.writers import open_rows, table_kind


@dataclass(frozen=True, slots=True)
class SheetExport:
    """What was written for a reviewer to fill in."""

    studies: int
    written: Path


@dataclass(frozen=True, slots=True)
class ReadingImport:
    """What an import added, and what it left out."""

    added: int
    reviewers: tuple[str, ...]  # whose readings were added
    known: int  # the review has the same reading already
    unread: int  # rows of a sheet that nobody has filled in
    elsewhere: int  # readings of studies that the review does not have


def export_sheet(db: str | Path, out: Path, *, reviewer: str, force: bool = False) -> SheetExport:
    """Write a reviewer's studies in their order, with the text and empty cells to fill in.

    Cells take 1 present, 0 absent, -1 uncertain, or stay blank; `import_readings` reads it back.

    Raises:
        InputError: no such reviewer, or the file exists and `force` is not set.
    """
    table_kind(out)
    store = open_store(db)
    try:
        with store.read() as session:
            review = the_review(session)
            person = _reviewer(session, reviewer)
            if person is None:
                raise InputError(f"--reviewer: {reviewer!r} is not a reviewer of {store.place}")
            names = [name for name, _ in review.findings]
            columns = dict.fromkeys([review.id_column, "reviewer", "reference"], str)
            query = (
                select(Study)
                .join(Assignment, Assignment.study == Study.id)
                .where(Assignment.reviewer == person.id, Assignment.committed_at.is_(None))
                .order_by(Assignment.position)
            )
            blank = (None,) * len(names)
            rows = [
                (study.study_id, reviewer, review.reference, *blank, shown_text(study))
                for study in session.scalars(query)
            ]
            kinds = columns | dict.fromkeys(names, int) | {"text": str}
            with open_rows(out, kinds, force=force) as file:
                file.write(rows)
    finally:
        store.close()
    return SheetExport(len(rows), out)


def import_readings(
    db: str | Path, file: Path, *, reviewer: str = "", rules: tuple[Path, ...] = ()
) -> ReadingImport:
    """Add readings of a filled-in table, or of Label Studio's export (.json), to a review.

    A table has the columns of manual.csv. A blank cell of a row that is filled in is "not
    mentioned", in a review of images "absent"; adjudicated rows are not read.

    Args:
        db: a file or a URL.
        file: .json from Label Studio, else a table.
        reviewer: whose readings they are, where the file does not say.
        rules: as for `findings.resolve`.

    Raises:
        InputError: the file is wrong, lacks a finding of the review, or the review has another
            reading of a study by the same reviewer. Nothing is added then.
    """
    store = open_store(db)
    try:
        with store.write() as session:
            review = the_review(session)
            if file.suffix.lower() == ".json":
                given, unread = list(read_tasks(file, review)), 0
            else:
                given, unread = _read_table(file, review, rules)
            return _add(session, review, given, unread=unread, reviewer=reviewer)
    finally:
        store.close()


def _read_table(
    path: Path, review: Review, rules: tuple[Path, ...]
) -> tuple[list[GivenReading], int]:
    """The rows that somebody has filled in, and how many nobody has."""
    id_column = review.id_column if review.id_column in open_table(path).columns else None
    table = read_reviews(
        path,
        id_column=id_column,
        reference=review.reference,
        resolve=partial(resolve, rules=rules),
    )
    missing = [name for name, _ in review.findings if name not in table.states.columns]
    if missing:
        raise InputError(f"{path}: no column for {missing[0]!r}; expected all of the review's")
    given = []
    filled = table.states[table.states.notna().any(axis=1)]
    rest = reading.rest_of(review)
    keys = dict(review.findings)
    for index, row in zip(filled.index, filled.to_dict("records"), strict=True):
        study_id, name = map(str, index)
        if name != ADJUDICATED:
            states = {key: STATE_OF.get(row[finding], rest) for finding, key in keys.items()}
            given.append(GivenReading(study_id, name, states, f"{path}: {study_id!r}"))
    return given, len(table.states) - len(filled)


def _add(
    session: Session,
    review: Review,
    given: list[GivenReading],
    *,
    unread: int,
    reviewer: str,
) -> ReadingImport:
    studies = dict(session.execute(select(Study.study_id, Study.id)).all())
    keys = [key for _, key in review.findings]
    added, known, elsewhere = [], 0, 0
    for item in given:
        missing = [key for key in keys if key not in item.states]
        name = item.reviewer or reviewer
        if missing:
            raise InputError(f"{item.place}: no answer for {missing[0]!r}; expected all findings")
        if not name:
            raise InputError(f"{item.place}: no reviewer; name whose readings these are")
        if item.study_id not in studies:
            elsewhere += 1
            continue
        person = _reviewer(session, name) or _new_reviewer(session, name)
        assignment = _assignment(session, person, studies[item.study_id])
        if assignment.committed_at is None:
            _reopen_adjudication(session, assignment.study)
            reading.choose(session, assignment, item.states, now=time.time())
            session.flush()
            reading.commit(session, assignment, keys, now=time.time())
            added.append(name)
        elif reading.chosen(session, assignment) == dict(item.states):
            known += 1
        else:
            raise InputError(
                f"{item.place}: the review has another reading of it by {name!r}; "
                "expected new ones, or the same"
            )
    return ReadingImport(len(added), tuple(sorted(set(added))), known, unread, elsewhere)


def _reopen_adjudication(session: Session, study: int) -> None:
    """Another reading may differ in what was decided without it."""
    row = session.get(Adjudication, study)
    if row is not None:
        row.committed_at = None


def _reviewer(session: Session, name: str) -> Reviewer | None:
    return session.scalar(select(Reviewer).where(Reviewer.name == name))


def _new_reviewer(session: Session, name: str) -> Reviewer:
    check_names([name])
    person = Reviewer(name=name, reads=True, adjudicates=False, oversees=False)
    session.add(person)
    session.flush()
    return person


def _assignment(session: Session, person: Reviewer, study: int) -> Assignment:
    own = Assignment.reviewer == person.id
    row = session.scalar(select(Assignment).where(own, Assignment.study == study))
    if row is None:
        last = session.scalar(select(func.max(Assignment.position)).where(own)) or 0
        row = Assignment(reviewer=person.id, study=study, position=last + 1)
        session.add(row)
        session.flush()
    return row
