"""The ways in and out, and the routes of the person who oversees a review."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from cxrlabel.audit.review.export import ALL, export_rows
from cxrlabel.audit.review.reading import RefusedError
from cxrlabel.audit.review.security import LOGIN, STRANGER, Person, refusal
from cxrlabel.audit.review.site import Gate, Here, Who, go, reviewer_of
from cxrlabel.audit.review.study_page import head_context
from cxrlabel.audit.review.summary import summarise

router = APIRouter()

_YEAR: Final = 365 * 24 * 3600  # seconds for which a browser remembers who it is


@router.get(LOGIN)
def login(request: Request, site: Here, gate: Gate, token: str = "") -> Response:
    """Remember who came by a link."""
    if gate.person(token) is None:
        why = "This link is not one of this review." if token else STRANGER
        return refusal(request, 401, why)
    response = RedirectResponse("/", 303)
    secure = site.secure or request.scope["scheme"] == "https"  # a proxy's before us
    response.set_cookie(
        gate.cookie, token, max_age=_YEAR, httponly=True, samesite="lax", secure=secure
    )
    return response


@router.post("/logout")
def logout(request: Request, site: Here, gate: Gate) -> Response:
    """Forget who this browser belongs to."""
    response = go(request, LOGIN)
    response.delete_cookie(gate.cookie, httponly=True, samesite="lax", secure=site.secure)
    return response


@router.get("/summary")
def summary(request: Request, site: Here, person: Who) -> Response:
    """How far the review is."""
    with site.store.read() as session:
        _require_overseer(session, person)
        counted = summarise(session)
        context = head_context(site, session, person)
    return site.page(request, "summary", person, summary=counted, **context)


@router.get("/summary/manual.csv")
def manual(site: Here, person: Who) -> Response:
    """The readings that are committed by now."""
    with site.store.read() as session, TemporaryDirectory() as folder:
        _require_overseer(session, person)
        path = Path(folder) / "manual.csv"
        export_rows(session, path, which=ALL)
        content = path.read_bytes()
    headers = {"Content-Disposition": 'attachment; filename="manual.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def _require_overseer(session: Session, person: Person) -> None:
    if not reviewer_of(session, person).oversees:
        raise RefusedError("This page belongs to the person who runs the review.")
