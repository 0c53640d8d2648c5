"""Adjudication: where committed readings of a study differ, and who decides between them.

The adjudicator sees the readings side by side without names, in an order that says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review.models import (
    Adjudication,
    Assignment,
    Decision,
    Reading,
    Review,
    Reviewer,
)
from cxrlabel.audit.review.reading import MAX_NOTE, RefusedError

_CLAIM: Final = 1_800.0  # seconds for which a study that somebody opened is not given to others


@dataclass(frozen=True, slots=True)
class NamelessReading:
    """What one reviewer chose, without saying who."""

    letter: str  # "A", "B" …
    states: Mapping[str, str]  # finding key -> state
    note: str
    unsure: bool


def disputes(session: Session) -> dict[int, frozenset[str]]:
    """Study -> keys of the findings in which its readings differ, once all are committed."""
    finished = (
        select(Assignment.study)
        .group_by(Assignment.study)
        .having(
            func.count() > 1,
            func.sum(case((Assignment.committed_at.is_(None), 1), else_=0)) == 0,
        )
    )
    query = (
        select(Assignment.study, Reading.finding)
        .join(Reading, Reading.assignment == Assignment.id)
        .where(Assignment.study.in_(finished))
        .group_by(Assignment.study, Reading.finding)
        .having(func.count(Reading.state.distinct()) > 1)
    )
    found: dict[int, set[str]] = {}
    for study, key in session.execute(query):
        found.setdefault(study, set()).add(key)
    return {study: frozenset(keys) for study, keys in found.items()}


def queue(session: Session, adjudicator: Reviewer, *, now: float) -> list[int]:
    """The studies that wait for this adjudicator, in order.

    Readers do not adjudicate their own studies while somebody else can, and a study that another
    one has opened is left to them for half an hour.
    """
    begun = {row.study: row for row in session.scalars(select(Adjudication))}
    readers = _readers(session)
    able = _able(session)
    return [
        study
        for study in sorted(disputes(session))
        if adjudicator.id in (able - readers[study] or able)
        and not (study in begun and _taken(begun[study], adjudicator, now))
    ]


def may_adjudicate(session: Session, adjudicator: Reviewer, study: int) -> bool:
    """Whether the readings of a study differ and this adjudicator may decide between them."""
    if not adjudicator.adjudicates or study not in disputes(session):
        return False
    able = _able(session)
    return adjudicator.id in (able - _readers(session)[study] or able)


def decided_by(session: Session, adjudicator: Reviewer) -> list[int]:
    """The studies that this adjudicator has decided, the latest first."""
    query = select(Adjudication.study).where(
        Adjudication.reviewer == adjudicator.id, Adjudication.committed_at.is_not(None)
    )
    return list(session.scalars(query.order_by(Adjudication.committed_at.desc())))


def readings(session: Session, review: Review, study: int) -> list[NamelessReading]:
    """The readings of a study in an order that is always the same and tells nothing."""
    assignments = session.scalars(
        select(Assignment).where(Assignment.study == study, Assignment.committed_at.is_not(None))
    ).all()
    states: dict[int, dict[str, str]] = {item.id: {} for item in assignments}
    for row in session.scalars(select(Reading).where(Reading.assignment.in_(states))):
        states[row.assignment][row.finding] = row.state
    ordered = sorted(assignments, key=lambda item: _shuffled(review.secret, item.id))
    return [
        NamelessReading(chr(ord("A") + number), states[item.id], item.note, item.unsure)
        for number, item in enumerate(ordered)
    ]


def begin(session: Session, study: int, adjudicator: Reviewer, *, now: float) -> Adjudication:
    """Take a study for adjudication; its readings are final from here.

    Raises:
        RefusedError: its readings do not differ, or somebody else decides it.
    """
    if not may_adjudicate(session, adjudicator, study):
        raise RefusedError("You have no such study to adjudicate.")
    row = session.get(Adjudication, study, with_for_update=True)
    if row is None:
        row = Adjudication(study=study, reviewer=adjudicator.id, touched_at=now)
        session.add(row)
    elif row.committed_at is None and not _claimed(row, adjudicator, now):
        row.reviewer, row.touched_at = adjudicator.id, now
    elif row.reviewer != adjudicator.id:
        raise RefusedError("Somebody else decides this study.")
    session.flush()
    return row


def decide(
    session: Session, row: Adjudication, states: Mapping[str, str], *, note: str | None, now: float
) -> None:
    """Decide findings.

    Raises:
        RefusedError: the adjudication is committed.
    """
    if row.committed_at is not None:
        raise RefusedError("This study is decided; reopen it to change it.")
    for key, state in states.items():
        decision = session.get(Decision, (row.study, key))
        if decision is None:
            session.add(Decision(study=row.study, finding=key, state=state, at=now))
        else:
            decision.state, decision.at = state, now
    if note is not None:
        row.note = note.replace("\0", " ").strip()[:MAX_NOTE]
    row.touched_at = now


def decisions(session: Session, study: int) -> dict[str, str]:
    """Finding key -> state, of those that are decided."""
    rows = session.scalars(select(Decision).where(Decision.study == study))
    return {row.finding: row.state for row in rows}


def commit_decision(session: Session, row: Adjudication, *, now: float) -> None:
    """Finish an adjudication.

    Raises:
        RefusedError: a finding in dispute is not decided.
    """
    session.flush()
    missing = disputes(session).get(row.study, frozenset()) - decisions(session, row.study).keys()
    if missing:
        raise RefusedError(f"{len(missing)} findings are not decided yet.")
    row.committed_at = row.touched_at = now


def reopen_decision(row: Adjudication, *, now: float) -> None:
    """Make a finished adjudication changeable again."""
    row.committed_at, row.touched_at = None, now


def _able(session: Session) -> set[int]:
    return set(session.scalars(select(Reviewer.id).where(Reviewer.adjudicates)))


def _taken(row: Adjudication, adjudicator: Reviewer, now: float) -> bool:
    return row.committed_at is not None or _claimed(row, adjudicator, now)


def _claimed(row: Adjudication, adjudicator: Reviewer, now: float) -> bool:
    """Whether somebody else is at it."""
    return row.reviewer != adjudicator.id and now - row.touched_at < _CLAIM


def _readers(session: Session) -> dict[int, set[int]]:
    readers: dict[int, set[int]] = {}
    rows: Iterable[tuple[int, int]] = session.execute(select(Assignment.study, Assignment.reviewer))
    for study, reviewer in rows:
        readers.setdefault(study, set()).add(reviewer)
    return readers


def _shuffled(secret: str, assignment: int) -> bytes:
    return hashlib.sha256(f"{secret}/{assignment}".encode()).digest()
