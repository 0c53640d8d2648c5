"""Readings out: manual.csv, one row for each committed reading and each adjudicated study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxrlabel.audit.review.adjudication import decisions, disputes
from cxrlabel.audit.review.models import (
    Adjudication,
    Assignment,
    Reading,
    Review,
    Reviewer,
    Study,
)
from cxrlabel.audit.review.store import open_store, the_review
from cxrlabel.audit.review.words import NUMBERS
from cxrlabel.checks import one_of
from cxrlabel.writers import open_rows, table_kind

ALL: Final = "all"  # every reading, and a row "adjudicated" where somebody decided
READINGS: Final = "readings"  # every reading, as its reviewer left it
FINAL: Final = "final"  # one row a study: the reading, what all agree on, or what was decided
KINDS: Final = (ALL, READINGS, FINAL)


@dataclass(frozen=True, slots=True)
class StudyReadings:
    """The committed readings of a study."""

    study_id: str
    readings: tuple[tuple[str, Mapping[str, str]], ...]  # reviewer, finding key -> state
    decided: Mapping[str, str] | None  # all findings as they were adjudicated
    planned: int  # reviewers who were to read it
    disputed: bool


@dataclass(frozen=True, slots=True)
class ReviewExport:
    """What an export wrote and what it left out."""

    rows: int
    studies: int  # that have a row
    unread: int  # without a committed reading
    waiting: int  # left out of `final`: a reading is missing, or nobody has adjudicated
    written: tuple[Path, ...]


def export_review(
    db: str | Path,
    out: Path,
    *,
    which: str = ALL,
    notes: Path | None = None,
    force: bool = False,
) -> ReviewExport:
    """Write the committed readings as a table: id, reviewer, reference, then the findings.

    Cells are 1 present, 0 absent, -1 uncertain, blank not mentioned.

    Args:
        db: a file or a URL.
        out: .csv, .tsv, .jsonl or .parquet.
        which: "all", "readings" or "final", see above.
        notes: also write note, flag, time and seconds of every committed reading.

    Raises:
        InputError: no review, or a file exists and `force` is not set.
    """
    one_of("--which", "value", which, KINDS)
    for path in (out, *([notes] if notes else [])):
        table_kind(path)
    store = open_store(db)
    try:
        with store.read() as session:
            run = export_rows(session, out, which=which, force=force)
            if notes is None:
                return run
            _write_notes(session, notes, force=force)
    finally:
        store.close()
    return replace(run, written=(out, notes))


def export_rows(
    session: Session, out: Path, *, which: str = ALL, force: bool = False
) -> ReviewExport:
    """As `export_review`, of an open database and without notes."""
    review = the_review(session)
    keys: dict[str, str] = dict(review.findings)
    columns: dict[str, type] = {review.id_column: str, "reviewer": str, "reference": str}
    columns |= dict.fromkeys(keys, int)
    rows: list[tuple[object, ...]] = []
    studies = unread = waiting = 0
    for study in read_back(session, review):
        chosen = list(_chosen(study, which, list(keys.values())))
        studies += bool(chosen)
        unread += not study.readings
        waiting += bool(study.readings) and not chosen
        for reviewer, states in chosen:
            cells = [NUMBERS[states[key]] for key in keys.values()]
            rows.append((study.study_id, reviewer, review.reference, *cells))
    with open_rows(out, columns, force=force) as file:
        file.write(rows)
    return ReviewExport(len(rows), studies, unread, waiting, (out,))


def read_back(session: Session, review: Review) -> Iterator[StudyReadings]:
    """The studies with their committed readings, sorted by id; those without any as well."""
    keys = [key for _, key in review.findings]
    planned: dict[int, int] = {}
    committed: dict[int, list[tuple[str, int]]] = {}
    query = select(Assignment, Reviewer.name).join(Reviewer, Reviewer.id == Assignment.reviewer)
    for assignment, name in session.execute(query.order_by(Reviewer.name)):
        planned[assignment.study] = planned.get(assignment.study, 0) + 1
        if assignment.committed_at is not None:
            committed.setdefault(assignment.study, []).append((name, assignment.id))
    states: dict[int, dict[str, str]] = {}
    for row in session.scalars(select(Reading)):
        states.setdefault(row.assignment, {})[row.finding] = row.state
    in_dispute = disputes(session)
    done = set(
        session.scalars(select(Adjudication.study).where(Adjudication.committed_at.is_not(None)))
    )
    studies = session.execute(select(Study.id, Study.study_id)).all()
    for number, study_id in sorted(studies, key=lambda row: row[1]):
        readings = tuple((name, states[row]) for name, row in committed.get(number, ()))
        decided = None
        if number in done:
            decided = _agreed(readings, keys) | decisions(session, number)
        disputed = number in in_dispute
        yield StudyReadings(study_id, readings, decided, planned.get(number, 0), disputed)


def _chosen(
    study: StudyReadings, which: str, keys: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The rows of a study: reviewer, finding key -> state."""
    from cxrlabel.audit.reviews import ADJUDICATED  # with pandas, which the server starts without

    if which != FINAL:
        yield from study.readings
        if which == ALL and study.decided is not None:
            yield ADJUDICATED, study.decided
    elif study.decided is not None:
        yield ADJUDICATED, study.decided
    elif study.readings and len(study.readings) == study.planned and not study.disputed:
        names = " + ".join(name for name, _ in study.readings)
        yield names, _agreed(study.readings, keys)


def _agreed(
    readings: Sequence[tuple[str, Mapping[str, str]]], keys: Sequence[str]
) -> dict[str, str]:
    """The states that all readings have in common."""
    first = readings[0][1]
    return {
        key: first[key] for key in keys if all(states[key] == first[key] for _, states in readings)
    }


def _write_notes(session: Session, path: Path, *, force: bool) -> None:
    review = the_review(session)
    columns: dict[str, type] = {review.id_column: str, "reviewer": str, "unsure": bool}
    columns |= {"note": str, "seconds": float, "committed_at": str}
    query = (
        select(Assignment, Study.study_id, Reviewer.name)
        .join(Study, Study.id == Assignment.study)
        .join(Reviewer, Reviewer.id == Assignment.reviewer)
        .where(Assignment.committed_at.is_not(None))
    )
    rows = [
        (study_id, name, row.unsure, row.note, round(row.seconds, 1), _time(row.committed_at))
        for row, study_id, name in session.execute(query)
    ]
    with open_rows(path, columns, force=force) as file:
        file.write(sorted(rows, key=lambda row: row[:2]))


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
