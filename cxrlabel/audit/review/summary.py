"""The summary of a review: who has read how much, how fast, and where two readings differ."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from cxrlabel.audit.review.adjudication import disputes
from cxrlabel.audit.review.models import Adjudication, Assignment, Reading, Reviewer, Study
from cxrlabel.audit.review.reading import Progress, progress


@dataclass(frozen=True, slots=True)
class ReviewerSummary:
    """One reviewer."""

    name: str
    progress: Progress
    seconds: float  # spent on all studies
    last_at: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two committed readings of a study chose the same state."""

    same: int
    pairs: int


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """How far a review is."""

    studies: int
    finished: int  # with all their readings
    double_read: int  # with two readings or more, in the plan
    disputed: int
    adjudicated: int
    reviewers: tuple[ReviewerSummary, ...]
    agreements: dict[str, Agreement]  # by finding key, of those that two people have read


def summarise(session: Session) -> ReviewSummary:
    """Count what is done."""
    per_study = session.execute(
        select(func.count(), func.count(Assignment.committed_at)).group_by(Assignment.study)
    ).all()
    adjudicated = select(func.count()).where(Adjudication.committed_at.is_not(None))
    return ReviewSummary(
        studies=session.scalar(select(func.count(Study.id))) or 0,
        finished=sum(total == done for total, done in per_study),
        double_read=sum(total > 1 for total, _ in per_study),
        disputed=len(disputes(session)),
        adjudicated=session.scalar(adjudicated) or 0,
        reviewers=tuple(_reviewers(session)),
        agreements=_agreements(session),
    )


def _reviewers(session: Session) -> list[ReviewerSummary]:
    query = select(Reviewer).where(Reviewer.reads).order_by(Reviewer.name)
    found = []
    for reviewer in session.scalars(query).all():
        seconds, last = session.execute(
            select(func.sum(Assignment.seconds), func.max(Assignment.touched_at)).where(
                Assignment.reviewer == reviewer.id
            )
        ).one()
        found.append(
            ReviewerSummary(reviewer.name, progress(session, reviewer), seconds or 0.0, last)
        )
    return found


def _agreements(session: Session) -> dict[str, Agreement]:
    """Every pair of committed readings of a study counts once."""
    one, other = aliased(Assignment), aliased(Assignment)
    first, second = aliased(Reading), aliased(Reading)
    query = (
        select(first.finding, first.state == second.state, func.count())
        .select_from(one)
        .join(other, (other.study == one.study) & (other.id > one.id))
        .join(first, first.assignment == one.id)
        .join(second, (second.assignment == other.id) & (second.finding == first.finding))
        .where(one.committed_at.is_not(None), other.committed_at.is_not(None))
        .group_by(first.finding, first.state == second.state)
    )
    counts: dict[str, list[int]] = {}
    for key, same, count in session.execute(query):
        counts.setdefault(key, [0, 0])[bool(same)] += count
    return {key: Agreement(same, differ + same) for key, (differ, same) in counts.items()}
