"""What the tests of the review share: a small review of invented reports, and people at it."""

import csv
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from cxrlabel.audit.review.app import make_app
from cxrlabel.audit.review.creation import create_review
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.audit.review.server import links
from cxrlabel.audit.review.store import open_store

ROOT = Path(__file__).parent.parent
FINDINGS = ("Edema", "Pneumonia", "Pleural Effusion")
KEYS = ("edema", "pneumonia", "pleural_effusion")
CSRF = "X-CSRF-Token"
SECRET_WORDS = "Zebrafish opacity at the left base"  # no log may hold them


def report(number: int) -> str:
    return (
        f"INDICATION: Cough, visit {number}.\n\n"
        f"FINDINGS: {SECRET_WORDS}, number {number}.\n"
        "No pleural effusion.\n\nIMPRESSION: Possible pneumonia."
    )


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sources(folder: Path, *, studies: int = 4, reports: dict[str, str] | None = None) -> Sources:
    texts = reports or {f"s{n}": report(n) for n in range(1, studies + 1)}
    rows = [{"uid": study, "report": text} for study, text in texts.items()]
    sample = [{"uid": study, "stratum": "x", "inclusion_probability": 0.5} for study in texts]
    return Sources(
        sample=write_rows(folder / "sample.csv", sample),
        reports=[str(write_rows(folder / "reports.csv", rows))],
        id_column="uid",
    )


def make_review(folder: Path, given: Sources | None = None, **options: Any) -> Path:
    db = folder / "review.sqlite"
    create_review(db, given or sources(folder), **{"findings": FINDINGS, **options})
    return db


class Person:
    """Somebody in a browser of their own."""

    def __init__(self, client: TestClient, url: str) -> None:
        self.client = client
        home = client.get(url.replace(re.match(r"https?://[^/]+", url).group(), ""))
        found = re.search(rf'"{CSRF}": "([^"]+)"', home.text)
        self.headers = {CSRF: found.group(1) if found else "", "HX-Request": "true"}
        self.home = home

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def put(self, path: str, **data: str) -> Any:
        return self.client.put(path, data=data, headers=self.headers)

    def post(self, path: str, **data: str) -> Any:
        return self.client.post(path, data=data, headers=self.headers)

    def choose(self, position: int, key: str, state: str) -> Any:
        return self.put(f"/study/{position}/finding/{key}", **{f"f-{key}": state})

    def commit(self, position: int, states: Sequence[str] = (), **data: str) -> Any:
        chosen = {f"f-{key}": state for key, state in zip(KEYS, states, strict=False)}
        return self.post(f"/study/{position}/commit", **chosen, **data)

    def checked(self, position: int) -> dict[str, str]:
        """What the page of a study shows as chosen."""
        page = self.get(f"/study/{position}").text
        inputs = re.findall(r'<input type="radio" name="f-(\w+)"[^>]*value="(\w+)"[^>]*>', page)
        marked = re.findall(r'name="f-(\w+)"[^>]*value="(\w+)"[^>]* checked', page)
        assert inputs
        return dict(marked)

    def ids(self) -> list[str]:
        """The reviewer's studies in their order."""
        return re.findall(r'<span class="id">([^<]+)</span>', self.get("/studies").text)

    def position(self, study_id: str) -> int:
        return self.ids().index(study_id) + 1


class Clock:
    """Time that stands still until it is moved."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def visited(db: Path | str, *, clock: Clock | None = None) -> Iterator[Any]:
    """Serve a review in this process; yields a function from a name to somebody at it."""
    store = open_store(db)
    app = make_app(store, clock=clock or Clock())
    urls = {link.name: link.url for link in links(store, host="127.0.0.1", port=80)}

    clients = ExitStack()

    def visit(name: str = "reviewer") -> Person:
        client = TestClient(app, base_url="http://127.0.0.1")
        return Person(clients.enter_context(client), urls[name])

    visit.app = app  # type: ignore[attr-defined]
    visit.urls = urls  # type: ignore[attr-defined]
    visit.store = store  # type: ignore[attr-defined]
    with closing(store), clients:
        yield visit


@contextmanager
def served_here(db: Path) -> Iterator[dict[str, str]]:
    """Serve a review from a thread, which starts sooner than a process; yields name -> link."""
    store = open_store(db)
    app = make_app(store)
    with closing(store), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            port = listener.getsockname()[1]
            yield {link.name: link.url for link in links(store, host="127.0.0.1", port=port)}
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


SERVE = """
import sys
from pathlib import Path
from cxrlabel.audit.review.server import serve
tls = dict(zip(("certificate", "key"), map(Path, sys.argv[3:])))
serve(
    sys.argv[1],
    port=int(sys.argv[2]),
    announce=lambda links: print(*(link.url for link in links), flush=True),
    **tls,
)
"""


class Served:
    """A server in a process of its own."""

    def __init__(self, db: Path, port: int = 0, *tls: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(db), str(port), *map(str, tls)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.urls = self.process.stdout.readline().split()

    def stop(self) -> str:
        """Kill it; what it printed since it began to listen."""
        self.process.kill()
        return self.process.communicate(timeout=30)[0]


@contextmanager
def servers() -> Iterator[Any]:
    """Yields a function that starts a server; all of them are stopped at the end."""
    running: list[Served] = []

    def start(*args: Any) -> Served:
        running.append(Served(*args))
        return running[-1]

    try:
        yield start
    finally:
        for served in running:
            served.stop()
