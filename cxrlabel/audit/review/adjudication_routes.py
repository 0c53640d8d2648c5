"""The routes of an adjudicator: what waits, a study with its readings, and every decision on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from cxrlabel.audit.review import adjudication
from cxrlabel.audit.review.models import Adjudication, Study
from cxrlabel.audit.review.reading import RefusedError
from cxrlabel.audit.review.security import Person
from cxrlabel.audit.review.site import Form, Here, Site, Who, go, reviewer_of
from cxrlabel.audit.review.study_page import head_context, shown_study

router = APIRouter(prefix="/adjudicate")


@router.get("")
def start(request: Request, site: Here, person: Who) -> Response:
    """The next study that waits, or what was decided."""
    with site.store.read() as session:
        reviewer = reviewer_of(session, person)
        waiting = adjudication.queue(session, reviewer, now=site.clock())
        decided = adjudication.decided_by(session, reviewer)
        names = {number: session.get_one(Study, number).study_id for number in decided}
        context = head_context(site, session, person)
    if waiting:
        return go(request, f"/adjudicate/{waiting[0]}")
    return site.page(request, "decided", person, decided=names, **context)


@router.get("/{number}")
def study(request: Request, site: Here, person: Who, number: int) -> Response:
    """A study whose readings differ."""
    with site.store.read() as session:
        reviewer = reviewer_of(session, person)
        if not adjudication.may_adjudicate(session, reviewer, number):
            raise RefusedError("You have no such study to adjudicate.")
        context = _context(site, session, person, number)
    return site.page(request, "adjudicate", person, **context)


@router.put("/{number}/finding/{key}")
def decide(
    request: Request, site: Here, person: Who, form: Form, number: int, key: str
) -> Response:
    """Save one decision."""
    states = site.chosen(form)
    if key not in states:
        raise RefusedError("There is no such finding in this review.")
    with _begun(site, person, number) as (session, row):
        adjudication.decide(session, row, {key: states[key]}, note=None, now=site.clock())
        context = _answers_context(session, number)
    return site.page(request, "_answers", person, **context)


@router.put("/{number}/note")
def note(request: Request, site: Here, person: Who, form: Form, number: int) -> Response:
    """Save the note."""
    with _begun(site, person, number) as (session, row):
        adjudication.decide(session, row, {}, note=str(form.get("note", "")), now=site.clock())
        context = _answers_context(session, number)
    return site.page(request, "_answers", person, **context)


@router.post("/{number}/commit")
def commit(request: Request, site: Here, person: Who, form: Form, number: int) -> Response:
    """Finish a study with all that its page holds, and go on."""
    states = site.chosen(form)
    with _begun(site, person, number) as (session, row):
        now = site.clock()
        if row.committed_at is None:
            written = str(form.get("note", ""))
            adjudication.decide(session, row, states, note=written, now=now)
            adjudication.commit_decision(session, row, now=now)
    return go(request, "/adjudicate")


@router.post("/{number}/reopen")
def reopen(request: Request, site: Here, person: Who, number: int) -> Response:
    """Make a finished adjudication changeable again."""
    with _begun(site, person, number) as (_, row):
        adjudication.reopen_decision(row, now=site.clock())
    return go(request, f"/adjudicate/{number}")


@contextmanager
def _begun(site: Site, person: Person, number: int) -> Iterator[tuple[Session, Adjudication]]:
    with site.store.write() as session:
        reviewer = reviewer_of(session, person)
        yield session, adjudication.begin(session, number, reviewer, now=site.clock())


def _context(site: Site, session: Session, person: Person, number: int) -> dict[str, Any]:
    study = session.get_one(Study, number)
    readings = adjudication.readings(session, site.review, number)
    disputed = adjudication.disputes(session)[number]
    decided = adjudication.decisions(session, number)
    row = session.get(Adjudication, number)
    rows = [
        {
            "key": key,
            "name": name,
            "state": decided.get(key),
            "label": None,
            "readings": [(reading.letter, reading.states[key]) for reading in readings],
        }
        for key, name in site.finding_names.items()
    ]
    head = head_context(site, session, person)
    foot = _answers_context(session, number) | {
        "base": f"/adjudicate/{number}",
        "committed": row is not None and row.committed_at is not None,
        "final": False,
        "can_reveal": False,
        "undoes": False,
    }
    return (
        head
        | foot
        | shown_study(site, study, labels=False, report=False)
        | {
            "rows": [row for row in rows if row["key"] in disputed],
            "agreed": [row for row in rows if row["key"] not in disputed],
            "readings": readings,
            "note": row.note if row else "",
            "current": next(
                (k for k in site.finding_names if k in disputed and k not in decided), ""
            ),
        }
    )


def _answers_context(session: Session, number: int) -> dict[str, Any]:
    session.flush()
    disputed = adjudication.disputes(session).get(number, frozenset())
    answered = disputed & adjudication.decisions(session, number).keys()
    return {"answered": len(answered), "total": len(disputed), "asks": 0}
