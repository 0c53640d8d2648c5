"""The application: its routes, behind the guard."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import select
from starlette.exceptions import HTTPException

from cxrlabel.audit.review import adjudication_routes, study_routes, summary_routes
from cxrlabel.audit.review.models import Reviewer
from cxrlabel.audit.review.reading import RefusedError
from cxrlabel.audit.review.security import Doorkeeper, Guard, Keys, refusal
from cxrlabel.audit.review.site import FOLDER, Site
from cxrlabel.audit.review.store import Store, the_review

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def make_app(
    store: Store,
    *,
    hosts: Collection[str] = LOOPBACK,
    secure: bool = False,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The application of an open review.

    Args:
        store: stays open as long as the application.
        hosts: the names under which it answers; none allows any.
        secure: it is served over TLS.
        clock: seconds since 1970.
    """
    with store.read() as session:
        review = the_review(session)
        people = session.execute(select(Reviewer.id, Reviewer.name)).all()
        session.expunge_all()
    gate = Doorkeeper(Keys(review.secret), people)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.site = Site(store, review, gate.cookie, clock, secure)
    app.state.gate = gate
    for module in (study_routes, adjudication_routes, summary_routes):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _invalid)
    app.add_middleware(Guard, doorkeeper=gate, hosts=frozenset(hosts))
    return app


def _refused(request: Request, error: Exception) -> Response:
    return refusal(request, 409, str(error))


def _invalid(request: Request, _error: Exception) -> Response:
    """Not the framework's own answer, which repeats what was sent."""
    return refusal(request, 404, "There is no such page.")
