"""The routes of a reviewer: their list, a study, and every choice on it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from cxrlabel.audit.review import reading
from cxrlabel.audit.review.adjudication import may_adjudicate
from cxrlabel.audit.review.images import read_image
from cxrlabel.audit.review.models import Assignment, Image
from cxrlabel.audit.review.reading import RefusedError
from cxrlabel.audit.review.security import Person, refusal
from cxrlabel.audit.review.site import Form, Here, Site, Who, go, own_study, reviewer_of
from cxrlabel.audit.review.study_page import (
    answers_context,
    head_context,
    listed_studies,
    panel_context,
    study_context,
)
from cxrlabel.errors import InputError

router = APIRouter()


@router.get("/")
def start(request: Request, site: Here, person: Who) -> Response:
    """Go on where the reviewer was."""
    with site.store.read() as session:
        reviewer = reviewer_of(session, person)
        if reviewer.oversees:
            return go(request, "/summary")
        if not reviewer.reads:
            return go(request, "/adjudicate")
        position = reading.next_position(session, person.id)
    return go(request, "/done" if position is None else f"/study/{position}")


@router.get("/study/{position}")
def study(request: Request, site: Here, person: Who, position: int) -> Response:
    """One study."""
    with own_study(site, person, position) as (session, assignment):
        reading.open_study(assignment, now=site.clock())
        session.flush()
        context = study_context(site, session, person, assignment)
    return site.page(request, "study", person, **context)


@router.put("/study/{position}/finding/{key}")
def choose(
    request: Request, site: Here, person: Who, form: Form, position: int, key: str
) -> Response:
    """Save one choice."""
    states = site.chosen(form)
    if key not in site.finding_names:
        raise RefusedError("There is no such finding in this review.")
    with own_study(site, person, position) as (session, assignment):
        reading.choose(session, assignment, {key: states.get(key, "")}, now=site.clock())
        context = answers_context(site, session, assignment)
    return site.page(request, "_answers", person, **context)


@router.post("/study/{position}/rest")
def rest(request: Request, site: Here, person: Who, position: int) -> Response:
    """Choose what is left out for all findings without an answer."""
    with own_study(site, person, position) as (session, assignment):
        _fill(site, session, assignment)
        context = panel_context(site, session, assignment)
    return site.page(request, "_panel", person, **context)


@router.post("/study/{position}/undo")
def undo(request: Request, site: Here, person: Who, position: int) -> Response:
    """Take the last action back."""
    with own_study(site, person, position) as (session, assignment):
        keys = reading.undo(session, assignment, now=site.clock())
        context = panel_context(site, session, assignment)
    current = keys[0] if keys else ""
    return site.page(request, "_panel", person, **context | {"current": current})


@router.put("/study/{position}/note")
def note(request: Request, site: Here, person: Who, form: Form, position: int) -> Response:
    """Save the note and the flag."""
    with own_study(site, person, position) as (session, assignment):
        _annotate(assignment, form, now=site.clock())
        context = answers_context(site, session, assignment)
    return site.page(request, "_answers", person, **context)


@router.post("/study/{position}/commit")
def commit(request: Request, site: Here, person: Who, form: Form, position: int) -> Response:
    """Finish a study with all that its page holds, and go on; asks about findings left out."""
    states = site.chosen(form)
    with own_study(site, person, position) as (session, assignment):
        now = site.clock()
        if assignment.committed_at is None:
            reading.choose(session, assignment, states, now=now)
            _annotate(assignment, form, now=now)
            session.flush()
            if form.get("rest"):
                _fill(site, session, assignment)
            missing = reading.unanswered(session, assignment, list(site.finding_names))
            if missing:
                context = answers_context(site, session, assignment, asks=len(missing))
                answer = site.page(request, "_answers", person, **context)
                answer.headers["HX-Trigger"] = "cxr:asks"
                return answer
            reading.commit(session, assignment, list(site.finding_names), now=now)
            session.flush()
        following = reading.next_position(session, person.id, position)
    return go(request, "/done" if following is None else f"/study/{following}")


@router.post("/study/{position}/reopen")
def reopen(request: Request, site: Here, person: Who, position: int) -> Response:
    """Make a committed study changeable again."""
    with own_study(site, person, position) as (session, assignment):
        reading.reopen(session, assignment, now=site.clock())
    return go(request, f"/study/{position}")


@router.post("/study/{position}/reveal")
def reveal(request: Request, site: Here, person: Who, position: int) -> Response:
    """Show what the labeler said."""
    with own_study(site, person, position) as (_, assignment):
        reading.reveal(site.review, assignment, now=site.clock())
    return go(request, f"/study/{position}")


@router.get("/studies")
def studies(request: Request, site: Here, person: Who) -> Response:
    """The reviewer's list."""
    with site.store.read() as session:
        listed = listed_studies(session, person)
        context = head_context(site, session, person)
    return site.page(request, "studies", person, listed=listed, **context)


@router.get("/done")
def done(request: Request, site: Here, person: Who) -> Response:
    """What is left when every study is read."""
    with site.store.read() as session:
        query = select(Assignment.position).where(
            Assignment.reviewer == person.id, Assignment.unsure
        )
        unsure = session.scalars(query.order_by(Assignment.position)).all()
        context = head_context(site, session, person)
    return site.page(request, "done", person, unsure=unsure, **context)


@router.get("/image/{number}")
def image(request: Request, site: Here, person: Who, number: int) -> Response:
    """The gray levels of an image, for somebody who has its study to read or to adjudicate."""
    with site.store.read() as session:
        row = session.get(Image, number)
        if row is None or not _may_see(session, person, row.study):
            return refusal(request, 404, "There is no such image in your list.")
        path = row.path
    try:
        gray = read_image(Path(path))
    except InputError:
        return refusal(request, 415, "This image cannot be read.")
    facts = {"Width": gray.width, "Height": gray.height, "Bits": gray.bits}
    facts |= {"Low": gray.low, "High": gray.high}
    headers = {f"X-Image-{name}": str(value) for name, value in facts.items()}
    return Response(gray.levels, media_type="application/octet-stream", headers=headers)


def _annotate(assignment: Assignment, form: FormData, *, now: float) -> None:
    """Take the note and the flag from a form; a box that is not ticked is not in it."""
    written = form.get("note")
    reading.annotate(
        assignment,
        note=written if isinstance(written, str) else None,
        unsure="unsure" in form,
        now=now,
    )


def _fill(site: Site, session: Session, assignment: Assignment) -> None:
    keys = reading.unanswered(session, assignment, list(site.finding_names))
    state = reading.rest_of(site.review)
    reading.choose(session, assignment, dict.fromkeys(keys, state), now=site.clock())


def _may_see(session: Session, person: Person, study: int) -> bool:
    query = select(Assignment.id).where(Assignment.reviewer == person.id, Assignment.study == study)
    return session.scalar(query) is not None or may_adjudicate(
        session, reviewer_of(session, person), study
    )
