"""Who may ask what: links with tokens, requests from other sites, headers, errors without text.

A reviewer's link holds a token, which becomes a cookie. What changes something needs a second token
in a header, which no other site can send. Pages run only scripts of this server, so that a report
that holds a script shows it. An error is logged by its kind and path: its message could hold text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSRF_HEADER: Final = "X-CSRF-Token"
LOGIN: Final = "/login"
STATIC: Final = "/static/"
STRANGER: Final = "Open the link that you were given for this review; it says who you are."

_BACK: Final = '<p><a href="/">To the review</a></p>'
_SAFE: Final = frozenset({"GET", "HEAD"})
_MAX_BODY: Final = 64 * 1024  # bytes; the longest form is a note and a choice per finding
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chest X-ray review</title>
<link rel="stylesheet" href="/static/review.css">
<main class="message"><h1>Chest X-ray review</h1><p>$why</p>$back</main>
</html>
"""

log = logging.getLogger("cxrlabel.audit.review")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has come by a link."""

    id: int
    name: str
    csrf: str


class Keys:
    """The tokens of a review; all follow from its secret, so that links can be shown again."""

    def __init__(self, secret: str) -> None:
        self._secret = bytes.fromhex(secret)
        self.cookie = f"cxr_{self._token('cookie')[:8]}"  # two reviews on one machine, two cookies

    def link(self, name: str) -> str:
        """The token of a person's link."""
        return self._token(f"link/{name}")

    def person(self, id: int, name: str) -> Person:
        """A person with the token that their changes need."""
        return Person(id, name, self._token(f"csrf/{name}"))

    def _token(self, purpose: str) -> str:
        digest = hmac.digest(self._secret, purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Doorkeeper:
    """Knows who a token belongs to."""

    def __init__(self, keys: Keys, people: Iterable[tuple[int, str]]) -> None:
        self.cookie = keys.cookie
        # looked up by hash, so that the time of a comparison tells nothing about a token
        self._people = {
            _hash(keys.link(name)): keys.person(number, name) for number, name in people
        }

    def person(self, token: str) -> Person | None:
        """The owner of a token."""
        return self._people.get(_hash(token))


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, doorkeeper: Doorkeeper, hosts: frozenset[str]) -> None:
        """`hosts`: the names under which the server is asked; none allows any."""
        self._app = app
        self._doorkeeper = doorkeeper
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        request = Request(scope)
        refused = self._refused(request)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:  # noqa: BLE001 — nothing may print it: it could hold text
            kind = type(error).__name__
            log.error("%s %s: %s", scope["method"], quote(scope["path"]), kind)
            if not started:
                failed = refusal(request, 500, "Something went wrong here. Nothing saved was lost.")
                await failed(scope, receive, send_guarded)

    def _refused(self, request: Request) -> Response | None:
        """Why a request goes no further, or None; notes who asks."""
        # a page of another name could have led the browser here (DNS rebinding)
        if (
            self._hosts
            and _split(f"//{request.headers.get('host', '')}").hostname not in self._hosts
        ):
            return refusal(request, 400, "This server does not answer under that name.")
        person = self._doorkeeper.person(request.cookies.get(self._doorkeeper.cookie, ""))
        request.state.person = person
        if request.method not in _SAFE:
            return self._unsafe_refused(request, person)
        path = request.scope["path"]
        public = path == LOGIN or path.startswith(STATIC)
        if person is None and not public:
            return refusal(request, 401, STRANGER)
        return None

    def _unsafe_refused(self, request: Request, person: Person | None) -> Response | None:
        if person is None:
            return refusal(request, 401, STRANGER)
        token = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(token.encode(), person.csrf.encode()) or not _own(request):
            return refusal(request, 403, "This request did not come from the review's page.")
        if not 0 <= _length(request) <= _MAX_BODY:
            return refusal(request, 413, "That is too long.")
        return None


def _own(request: Request) -> bool:
    """Whether the browser says that a page of this server asks; old ones say nothing."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    return site == "same-origin" and (
        origin is None or _split(origin).netloc == request.headers.get("host")
    )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as "http://["
        return SplitResult("", "", "", "", "")


def _length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    chunked = "transfer-encoding" in request.headers
    return int(length) if length.isdecimal() and not chunked else -1


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    if not scope["path"].startswith(STATIC):
        headers["Cache-Control"] = "no-store"
    elif scope["query_string"].startswith(b"v="):  # an address that changes with its file
        headers["Cache-Control"] = "max-age=31536000, immutable"
    else:
        headers["Cache-Control"] = "no-cache"


def refusal(request: Request, status: int, why: str) -> Response:
    """An answer of one sentence: text for htmx, which shows it in the page, else a page."""
    if request.headers.get("HX-Request"):
        return PlainTextResponse(f"{why}\n", status)
    back = "" if status == 401 else _BACK  # it would lead here again
    page = Template(_PAGE).substitute(why=escape(why), back=back)
    return HTMLResponse(page, status)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
