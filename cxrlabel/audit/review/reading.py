"""Reading a study: what a reviewer can do to one of their assignments, and how far they are.

Every function works in the session of its caller, who commits. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review.models import (
    IMAGE,
    Adjudication,
    Assignment,
    Change,
    Reading,
    Review,
    Reviewer,
)
from cxrlabel.findings import BLANK, NEGATIVE, POSITIVE, STATES, UNCERTAIN

_CHOICES: Final = (POSITIVE, NEGATIVE, UNCERTAIN, BLANK)  # in the order of the page
MAX_NOTE: Final = 4_000  # characters
_BREAK: Final = 120.0  # seconds without a choice that still count as work
_PACE: Final = 20  # studies read last that the pace is taken from
_NOTHING: Final = ""  # the state of a finding for which nothing is chosen


class RefusedError(Exception):
    """The reviewer cannot do this now; the message is for them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reviewer is."""

    total: int
    done: int
    unsure: int
    pace: float | None  # seconds a study, median of those read last

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; None where there is no rest or no pace."""
        rest = self.total - self.done
        return self.pace * rest if self.pace is not None and rest else None


def states_of(review: Review) -> tuple[str, ...]:
    """What can be chosen: an image does not leave a finding unmentioned."""
    return _CHOICES[:-1] if review.reference == IMAGE else _CHOICES


def rest_of(review: Review) -> str:
    """What the findings become that a reviewer leaves out."""
    return NEGATIVE if review.reference == IMAGE else BLANK


def find(
    session: Session, reviewer: int, position: int, *, lock: bool = False
) -> Assignment | None:
    """The study at a position of a reviewer's list.

    Args:
        lock: keep other writers from it until the session ends.
    """
    query = select(Assignment).where(
        Assignment.reviewer == reviewer, Assignment.position == position
    )
    return session.scalar(query.with_for_update() if lock else query)


def chosen(session: Session, assignment: Assignment) -> dict[str, str]:
    """Finding key -> state, of those for which something is chosen."""
    rows = session.scalars(select(Reading).where(Reading.assignment == assignment.id))
    return {row.finding: row.state for row in rows}


def open_study(assignment: Assignment, *, now: float) -> None:
    """Note that the reviewer looks at a study: the time on it runs from here."""
    if assignment.committed_at is None:
        assignment.touched_at = now


def choose(
    session: Session, assignment: Assignment, states: Mapping[str, str], *, now: float
) -> None:
    """Choose states of findings in one action; "" takes a choice back.

    Raises:
        RefusedError: the study is committed.
    """
    _require_open(assignment)
    before = chosen(session, assignment)
    changes = {k: state for k, state in states.items() if state != before.get(k, _NOTHING)}
    if not changes:
        return
    batch = 1 + (_last_batch(session, assignment) or 0)
    for key, state in changes.items():
        _set(session, assignment, key, state, now)
        session.add(
            Change(
                assignment=assignment.id,
                batch=batch,
                finding=key,
                before=before.get(key, _NOTHING),
                after=state,
                at=now,
            )
        )
    _touch(assignment, now)


def undo(session: Session, assignment: Assignment, *, now: float) -> list[str]:
    """Take the last action back; returns the findings that it changed, none where there is none.

    Raises:
        RefusedError: the study is committed.
    """
    _require_open(assignment)
    batch = _last_batch(session, assignment, undone=False)
    if batch is None:
        return []
    query = select(Change).where(
        Change.assignment == assignment.id, Change.batch == batch, ~Change.undone
    )
    changes = session.scalars(query.order_by(Change.id)).all()
    for change in changes:
        _set(session, assignment, change.finding, change.before, now)
        change.undone = True
    _touch(assignment, now)
    return [change.finding for change in changes]


def annotate(
    assignment: Assignment, *, note: str | None = None, unsure: bool | None = None, now: float
) -> None:
    """Set the note or the flag.

    Raises:
        RefusedError: the study is committed.
    """
    _require_open(assignment)
    if note is not None:
        assignment.note = note.replace("\0", " ").replace("\r\n", "\n").strip()[:MAX_NOTE]
    if unsure is not None:
        assignment.unsure = unsure
    _touch(assignment, now)


def unanswered(session: Session, assignment: Assignment, keys: Sequence[str]) -> list[str]:
    """The findings for which nothing is chosen."""
    done = chosen(session, assignment)
    return [key for key in keys if key not in done]


def commit(session: Session, assignment: Assignment, keys: Sequence[str], *, now: float) -> None:
    """Finish a study.

    Raises:
        RefusedError: it is committed already, or a finding has no state.
    """
    _require_open(assignment)
    missing = unanswered(session, assignment, keys)
    if missing:
        raise RefusedError(f"{len(missing)} findings have no answer yet.")
    _touch(assignment, now)
    assignment.committed_at = now


def reopen(session: Session, assignment: Assignment, *, now: float) -> None:
    """Make a committed study changeable again.

    Raises:
        RefusedError: the reviewer has seen the labels, or somebody adjudicates it.
    """
    if assignment.committed_at is None:
        return
    if assignment.revealed_at is not None:
        raise RefusedError("The labels were shown for this study: its reading is final.")
    if session.get(Adjudication, assignment.study) is not None:
        raise RefusedError("This study is being adjudicated: its reading is final.")
    assignment.committed_at = None
    assignment.touched_at = now


def reveal(review: Review, assignment: Assignment, *, now: float) -> None:
    """Show the labels of a committed study, which makes its reading final.

    Raises:
        RefusedError: the study is not committed, or there are no labels.
    """
    if not has_hidden(review):
        raise RefusedError("This review has no labels to show.")
    if assignment.committed_at is None:
        raise RefusedError("Labels are shown when the study is committed.")
    if assignment.revealed_at is None:
        assignment.revealed_at = now


def has_hidden(review: Review) -> bool:
    """Whether there is something that a reviewer sees only behind a committed reading."""
    return not review.unblind and (review.has_labels or review.reference == IMAGE)


def next_position(session: Session, reviewer: int, after: int = 0) -> int | None:
    """The first study behind a position that is not committed, else the first of all; or None."""
    query = select(Assignment.position).where(
        Assignment.reviewer == reviewer, Assignment.committed_at.is_(None)
    )
    following = session.scalar(
        query.where(Assignment.position > after).order_by(Assignment.position).limit(1)
    )
    return following or session.scalar(query.order_by(Assignment.position).limit(1))


def progress(session: Session, reviewer: Reviewer) -> Progress:
    """How far a reviewer is, and how fast."""
    own = Assignment.reviewer == reviewer.id
    committed = Assignment.committed_at.is_not(None)
    total = session.scalar(select(func.count()).where(own)) or 0
    done = session.scalar(select(func.count()).where(own, committed)) or 0
    unsure = session.scalar(select(func.count()).where(own, Assignment.unsure)) or 0
    query = select(Assignment.seconds).where(own, committed)
    latest = session.scalars(query.order_by(Assignment.committed_at.desc()).limit(_PACE)).all()
    return Progress(total, done, unsure, median(latest) if latest else None)


def _require_open(assignment: Assignment) -> None:
    if assignment.committed_at is not None:
        raise RefusedError("This study is committed; reopen it to change it.")


def _touch(assignment: Assignment, now: float) -> None:
    if assignment.touched_at is not None:
        assignment.seconds += min(max(now - assignment.touched_at, 0.0), _BREAK)
    assignment.touched_at = now


def _set(session: Session, assignment: Assignment, key: str, state: str, now: float) -> None:
    row = session.get(Reading, (assignment.id, key))
    if state == _NOTHING:
        if row is not None:
            session.delete(row)
            session.flush()
        return
    if state not in STATES:
        raise ValueError(f"state {state!r}; expected one of {', '.join(STATES)}")
    if row is None:
        session.add(Reading(assignment=assignment.id, finding=key, state=state, at=now))
    else:
        row.state, row.at = state, now


def _last_batch(
    session: Session, assignment: Assignment, *, undone: bool | None = None
) -> int | None:
    query = select(func.max(Change.batch)).where(Change.assignment == assignment.id)
    if undone is not None:
        query = query.where(Change.undone.is_(undone))
    return session.scalar(query)
