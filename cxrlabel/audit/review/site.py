"""The site: what all routes share, and how they answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from cxrlabel.audit.review.models import Assignment, Review, Reviewer
from cxrlabel.audit.review.reading import RefusedError, find, rest_of, states_of
from cxrlabel.audit.review.security import CSRF_HEADER, STATIC, Doorkeeper, Person
from cxrlabel.audit.review.store import Store
from cxrlabel.audit.review.words import CHOICES, duration, plural

FOLDER: Final = Path(__file__).parent
THEME: Final = "cxr_theme"  # the cookie of the page's colors

_THEMES: Final = ("light", "dark")
_FIELD: Final = "f-"  # before a finding's key in a form


@dataclass(frozen=True)
class Site:
    """A review that is served."""

    store: Store
    review: Review
    cookie: str  # the name of the one that says who a browser belongs to
    clock: Callable[[], float]  # seconds since 1970
    secure: bool  # whether cookies go over TLS only

    @cached_property
    def finding_names(self) -> dict[str, str]:
        """Key -> name of the findings, in the order of the page."""
        return {key: name for name, key in self.review.findings}

    @cached_property
    def states(self) -> tuple[str, ...]:
        """What can be chosen."""
        return states_of(self.review)

    @cached_property
    def templates(self) -> Environment:
        """The pages; they escape what they show."""
        templates = Environment(
            loader=FileSystemLoader(FOLDER / "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters.update(duration=duration, plural=plural)
        version = _version(FOLDER / "static")
        templates.globals.update(
            static=lambda name: f"{STATIC}{name}?v={version}",
            review=self.review,
            findings=self.finding_names,
            choices=[(state, CHOICES[state]) for state in self.states],
            briefs={state: choice.brief for state, choice in CHOICES.items()},
            words={state: choice.word for state, choice in CHOICES.items()},
            rest=CHOICES[rest_of(self.review)].word.lower(),
            csrf_header=CSRF_HEADER,
        )
        return templates

    def page(
        self, request: Request, name: str, person: Person, *, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """A page, or a part of one, from the template `name`."""
        theme = request.cookies.get(THEME, "")
        template = self.templates.get_template(f"{name}.html.j2")
        shown = template.render(
            person=person,
            who=f"{self.cookie}:{person.id}",
            theme=theme if theme in _THEMES else "auto",
            **context,
        )
        return HTMLResponse(shown, status)

    def chosen(self, form: FormData) -> dict[str, str]:
        """The states in a form: key -> state, of the findings of the review alone.

        Raises:
            RefusedError: a state that cannot be chosen.
        """
        states: dict[str, str] = {}
        for key in self.finding_names:
            state = form.get(f"{_FIELD}{key}")
            if state is None or state == "":
                continue
            if state not in self.states:
                raise RefusedError("That is not a choice of this review.")
            states[key] = str(state)
        return states


def _version(folder: Path) -> str:
    """What changes whenever a file does: browsers may keep a file for as long as it stays."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def site_of(request: Request) -> Site:
    """The site that a request is for."""
    site: Site = request.app.state.site
    return site


def person_of(request: Request) -> Person:
    """Who asks; the guard lets nobody else through."""
    person: Person = request.state.person
    return person


def gate_of(request: Request) -> Doorkeeper:
    """Who knows the tokens."""
    gate: Doorkeeper = request.app.state.gate
    return gate


async def form_of(request: Request) -> FormData:
    """What a form sends."""
    return await request.form()


Here = Annotated[Site, Depends(site_of)]
Who = Annotated[Person, Depends(person_of)]
Gate = Annotated[Doorkeeper, Depends(gate_of)]
Form = Annotated[FormData, Depends(form_of)]


@contextmanager
def own_study(site: Site, person: Person, position: int) -> Iterator[tuple[Session, Assignment]]:
    """A session that may change the study at a position of a person's list.

    Raises:
        RefusedError: the list has no such position.
    """
    with site.store.write() as session:
        assignment = find(session, person.id, position, lock=True)
        if assignment is None:
            raise RefusedError("There is no such study in your list.")
        yield session, assignment


def reviewer_of(session: Session, person: Person) -> Reviewer:
    """A person's row."""
    return session.get_one(Reviewer, person.id)


def go(request: Request, path: str) -> Response:
    """Lead the browser to another page, whether htmx asks or the browser itself."""
    if request.headers.get("HX-Request"):
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)
