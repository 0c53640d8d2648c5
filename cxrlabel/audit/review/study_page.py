"""What the pages of a reviewer show: the head, a study, the panel of findings and its foot."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxrlabel.audit.review import reading
from cxrlabel.audit.review.adjudication import queue
from cxrlabel.audit.review.document import Block, Highlight, pieces
from cxrlabel.audit.review.models import REPORT, Assignment, Reading, Study
from cxrlabel.audit.review.security import Person
from cxrlabel.audit.review.site import Site, reviewer_of
from cxrlabel.findings import BLANK

_ASIDE: Final = frozenset({"indication", "history", "comparison", "technique", "examination"})


def head_context(site: Site, session: Session, person: Person) -> dict[str, Any]:
    """What the head of every page shows."""
    reviewer = reviewer_of(session, person)
    waiting = len(queue(session, reviewer, now=site.clock())) if reviewer.adjudicates else 0
    return {
        "reviewer": reviewer,
        "progress": reading.progress(session, reviewer),
        "waiting": waiting,
        "position": None,
    }


def study_context(
    site: Site, session: Session, person: Person, assignment: Assignment
) -> dict[str, Any]:
    """A study's page."""
    study = session.get_one(Study, assignment.study)
    unhidden = _unhidden(site, assignment)
    head = head_context(site, session, person)
    shown = shown_study(site, study, labels=unhidden, report=unhidden)
    return head | shown | panel_context(site, session, assignment)


def shown_study(site: Site, study: Study, *, labels: bool, report: bool) -> dict[str, Any]:
    """The sections and images of a study.

    Args:
        labels: mark the words that made labels.
        report: show the report even where the images are what is read.
    """
    visible = report or site.review.reference == REPORT
    marks = [Highlight(*mark) for mark in study.mentions] if labels else []
    blocks = [Block(*block) for block in study.blocks] if visible else []
    return {
        "study_id": study.study_id,
        "blocks": [
            {"title": b.title, "aside": b.section in _ASIDE, "pieces": pieces(b, marks)}
            for b in blocks
        ],
        "images": list(study.images),
    }


def panel_context(site: Site, session: Session, assignment: Assignment) -> dict[str, Any]:
    """The findings of a study with what is chosen for them."""
    states = reading.chosen(session, assignment)
    labels: dict[str, str] = {}
    if _unhidden(site, assignment) and site.review.has_labels:
        by_name = session.get_one(Study, assignment.study).labels
        labels = {key: by_name.get(name, BLANK) for key, name in site.finding_names.items()}
    return _foot_context(site, session, assignment) | {
        "rows": [
            {
                "key": key,
                "name": name,
                "state": states.get(key),
                "label": None if labels.get(key) == states.get(key) else labels.get(key),
            }
            for key, name in site.finding_names.items()
        ],
        "differing": sum(state != states[key] for key, state in labels.items() if key in states),
        "labels_shown": bool(labels),
        "note": assignment.note,
        "unsure": assignment.unsure,
        "current": next((key for key in site.finding_names if key not in states), ""),
    }


def _foot_context(site: Site, session: Session, assignment: Assignment) -> dict[str, Any]:
    """What stands under the findings."""
    final = assignment.revealed_at is not None
    return answers_context(site, session, assignment) | {
        "position": assignment.position,
        "base": f"/study/{assignment.position}",
        "committed": assignment.committed_at is not None,
        "final": final,
        "can_reveal": reading.has_hidden(site.review) and not final,
        "undoes": True,
    }


def answers_context(
    site: Site, session: Session, assignment: Assignment, *, asks: int = 0
) -> dict[str, Any]:
    """How many findings have an answer, or that some have none."""
    session.flush()
    answered = len(reading.chosen(session, assignment))
    return {"answered": answered, "total": len(site.finding_names), "asks": asks}


def listed_studies(session: Session, person: Person) -> list[dict[str, Any]]:
    """The reviewer's studies in their order."""
    query = (
        select(Assignment, Study.study_id)
        .join(Study, Study.id == Assignment.study)
        .where(Assignment.reviewer == person.id)
        .order_by(Assignment.position)
    )
    counts = (
        select(Reading.assignment, func.count())
        .join(Assignment, Assignment.id == Reading.assignment)
        .where(Assignment.reviewer == person.id)
        .group_by(Reading.assignment)
    )
    answered = dict(session.execute(counts).all())
    return [
        {
            "position": row.position,
            "study_id": study_id,
            "committed": row.committed_at is not None,
            "begun": row.id in answered,
            "unsure": row.unsure,
            "noted": bool(row.note),
        }
        for row, study_id in session.execute(query)
    ]


def _unhidden(site: Site, assignment: Assignment) -> bool:
    """Whether the labels, and the report in a review of images, may be seen."""
    return site.review.unblind or assignment.revealed_at is not None
