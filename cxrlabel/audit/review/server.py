"""Serving a review: on loopback unless another interface is asked for, and quietly."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sqlalchemy import select

from cxrlabel.audit.review.models import Reviewer
from cxrlabel.audit.review.security import LOGIN, Keys
from cxrlabel.audit.review.store import Store, open_store, the_review
from cxrlabel.errors import InputError

PORT: Final = 8642

_ANY: Final = ("0.0.0.0", "::")  # all interfaces: no address that a browser could ask


@dataclass(frozen=True, slots=True)
class Link:
    """The way in for one person; whoever has it is that person."""

    name: str
    role: str  # "reads", "adjudicates", "reads, adjudicates" or "oversees"
    url: str


def serve(
    db: str | Path,
    *,
    announce: Callable[[Sequence[Link]], None],
    host: str = "127.0.0.1",
    port: int = PORT,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve a review until the process is interrupted.

    Args:
        db: a file or a URL.
        announce: is given every person's link once the server listens; nothing else shows them.
        host: the address to listen at; another one than loopback is reached from other machines.
        port: 0 takes a free one.
        certificate, key: PEM files for TLS, which another interface than loopback needs unless a
            proxy before it has it.

    Raises:
        InputError: no review, or the address cannot be listened at.
    """
    import uvicorn

    from cxrlabel.audit.review.app import LOOPBACK, make_app

    secure = certificate is not None
    store = open_store(db)
    try:
        with _listen(host, port) as listener:
            hosts = LOOPBACK | {host} if is_loopback(host) else ()
            app = make_app(store, hosts=hosts, secure=secure)
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # who read what when is nobody's but the database's
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=3,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
            bound = listener.getsockname()[1]
            announce(links(store, host=host, port=bound, secure=secure))
            with suppress(KeyboardInterrupt):  # the usual end
                uvicorn.Server(config).run(sockets=[listener])
    finally:
        store.close()


def links(store: Store, *, host: str, port: int, secure: bool = False) -> list[Link]:
    """Every person's link."""
    name = socket.gethostname() if host in _ANY else host
    shown = f"[{name}]" if ":" in name else name
    base = f"{'https' if secure else 'http'}://{shown}:{port}{LOGIN}?token="
    with store.read() as session:
        keys = Keys(the_review(session).secret)
        people = session.scalars(select(Reviewer).order_by(Reviewer.oversees, Reviewer.id)).all()
        return [
            Link(person.name, _role(person), base + keys.link(person.name))
            for person in people
            if person.reads or person.adjudicates or person.oversees
        ]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _role(person: Reviewer) -> str:
    roles = {"reads": person.reads, "adjudicates": person.adjudicates, "oversees": person.oversees}
    return ", ".join(name for name, has in roles.items() if has)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {error.strerror or error}"
        ) from error
    return listener
