"""The review's database: SQLite in WAL mode by default, PostgreSQL by URL.

A change is on the disk before the reviewer's browser hears that it is saved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from cxrlabel.audit.review.models import SCHEMA, Review
from cxrlabel.errors import InputError

_BUSY_SECONDS: Final = 30  # a writer waits so long for another one
_WRITES: Final = "cxr_writes"  # execution option: the transaction will write


class Store:
    """An open database; sessions of it are short, one for each request."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{_WRITES: True})
        # SQLite has one writer at a time, and those that wait look only now and then whether it
        # is free, which leaves some waiting for long; here they take turns.
        self._turn = Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self.place = place  # for messages, without a password

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed when the block ends well.

        In SQLite it takes the lock at once: readers that become writers would lock each other out.
        """
        opened = Session(self._writing, expire_on_commit=False)
        with self._turn, opened as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_store(db: str | Path) -> Store:
    """Open the database of a review.

    Args:
        db: a file, or a URL such as "postgresql://reviewer@host/reviews".

    Raises:
        InputError: there is no review, its schema is of another version, or no connection.
    """
    store = connect(db)
    try:
        with store.read() as session:
            _check_schema(session, store.place)
    except BaseException:
        store.close()
        raise
    return store


def has_review(db: str | Path) -> bool:
    """Whether a database is there and holds a review."""
    if not _is_url(db) and not Path(db).exists():
        return False
    store = connect(db)
    try:
        with store.read() as session:
            tables = inspect(session.connection()).has_table(Review.__tablename__)
            return tables and session.scalar(select(Review.id)) is not None
    finally:
        store.close()


def connect(db: str | Path, *, create: bool = False) -> Store:
    """Connect to a database whatever it holds.

    Args:
        create: make the file where it is missing, readable by its owner alone.

    Raises:
        InputError: a file that is missing or no database, an unknown kind of URL, no connection.
    """
    url, place = _url(db)
    if url.get_backend_name() == "sqlite":
        _check_file(Path(str(db)), create=create)
    try:
        engine = create_engine(url, hide_parameters=True, **_pool(url))
        _set_up(engine)
        with engine.connect():
            pass
    except ModuleNotFoundError as error:
        raise InputError(
            f"{place}: needs the package {error.name}: pip install 'cxr[postgresql]'"
        ) from error
    except OperationalError as error:
        raise InputError(f"{place}: cannot be opened: {_first_line(error)}") from error
    except DatabaseError as error:
        raise InputError(f"{place}: not a database") from error
    return Store(engine, place)


def place_of(db: str | Path) -> str:
    """A database as messages name it: without a password."""
    return _url(db)[1]


def the_review(session: Session) -> Review:
    """The review of this database."""
    return session.scalars(select(Review)).one()


def _url(db: str | Path) -> tuple[URL, str]:
    if not _is_url(db):
        return URL.create("sqlite", database=str(db)), str(db)
    try:
        url = make_url(str(db))
    except (ArgumentError, ValueError):  # whose message may hold the password
        raise InputError("--db: not a database URL; expected postgresql://…") from None
    place = url.render_as_string(hide_password=True)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "postgresql":
        raise InputError(f"{place}: unknown kind of database; expected a file or postgresql://…")
    return url, place


def _is_url(db: str | Path) -> bool:
    return isinstance(db, str) and "://" in db


def _pool(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _BUSY_SECONDS}}
    return {"pool_pre_ping": True, "pool_size": 20, "max_overflow": 20}


def _check_file(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path}: this is a folder, expected a file name")
    if path.exists():
        return
    if not create:
        raise InputError(f"{path}: no such file; expected the database of a review")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise InputError(f"{path}: cannot write here: {error.strerror or error}") from error


def _set_up(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not inside the driver
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_schema(session: Session, place: str) -> None:
    if not inspect(session.connection()).has_table(Review.__tablename__):
        raise InputError(f"{place}: holds no review; create one from a sample first")
    version = session.scalar(select(Review.schema))
    if version is None:
        raise InputError(f"{place}: holds no review; create one from a sample first")
    if version != SCHEMA:
        raise InputError(f"{place}: the review has schema {version}, expected {SCHEMA}")


def _first_line(error: DatabaseError) -> str:
    return str(error.orig).strip().partition("\n")[0]
