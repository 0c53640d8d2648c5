"""Load on `cxr audit review`: simulated reviewers at once, a server that is killed, no lost write.

Every reviewer has a list of their own and chooses, commits and reopens as fast as the server
answers, from another process over HTTP. A write that was answered has to be in the database at the
end, whatever happened to the server meanwhile; one that was not is sent again, as the page does.

    uv run python benchmarks/review_load.py --reviewers 20 --seconds 60 --kills 2
    uv run python benchmarks/review_load.py --db postgresql://user@host/empty
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import httpx2
from sqlalchemy import select

from cxrlabel.audit.review.creation import create_review
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.audit.review.models import Assignment, Reading, Reviewer
from cxrlabel.audit.review.server import Link, links, serve
from cxrlabel.audit.review.store import open_store
from cxrlabel.demo import REPORTS

LIBRARIES = ("fastapi", "starlette", "uvicorn", "sqlalchemy")
STATES = ("positive", "negative", "uncertain", "blank")
RETRY = 0.2  # seconds
START = 60.0  # seconds that a server may take until it answers


@dataclass
class Outcome:
    """What one simulated reviewer did."""

    name: str
    states: dict[tuple[int, str], str] = field(default_factory=dict)  # answered last
    committed: dict[int, bool] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)  # of answered writes
    refused: int = 0  # writes that were sent again


def main() -> None:
    """Make a review, run the reviewers, compare, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=0, help="times that the server is killed")
    parser.add_argument("--studies", type=int, default=180)
    parser.add_argument("--db", default="", help="an empty PostgreSQL database; else SQLite")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = args.db or str(Path(folder) / "review.sqlite")
        make_review(db, Path(folder), reviewers=args.reviewers, studies=args.studies)
        outcomes = run(db, seconds=args.seconds, kills=args.kills)
        lost = lost_writes(db, outcomes)
    kind = "PostgreSQL" if args.db else "SQLite (WAL, synchronous=FULL)"
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print(f"{kind}, {args.reviewers} reviewers, {args.seconds:g} s, {args.kills} kills\n")
    for name, value in table(outcomes, args.seconds, lost):
        print(f"{name:32}{value:>12}")
    if lost:
        sys.exit(1)


def make_review(db: str, folder: Path, *, reviewers: int, studies: int) -> None:
    """A review of the bundled sample that everybody reads in part."""
    with REPORTS.open(encoding="utf-8", newline="") as file:
        ids = [row["study_id"] for row in csv.DictReader(file)][:studies]
    sample = folder / "sample.csv"
    sample.write_text("study_id\n" + "\n".join(ids) + "\n", encoding="utf-8")
    names = [f"reviewer {number}" for number in range(reviewers)]
    sources = Sources(sample=sample, reports=[str(REPORTS)])
    create_review(db, sources, reviewers=names, double=0.5, seed=1)


def run(db: str, *, seconds: float, kills: int = 0) -> list[Outcome]:
    """Let all reviewers work for a while, the server being killed and started again."""
    port = free_port()
    store = open_store(db)
    people = [link for link in links(store, host="127.0.0.1", port=port) if "reads" in link.role]
    store.close()
    with serving(db, port) as server, ThreadPoolExecutor(len(people)) as pool:
        until = time.monotonic() + seconds
        work = [pool.submit(review, link, until) for link in people]
        for _ in range(kills):
            time.sleep(seconds / (kills + 1))
            server.restart()
        return [item.result() for item in work]


def review(link: Link, until: float) -> Outcome:
    """One reviewer: open a study, choose at random, commit or go on."""
    rng = random.Random(link.name)
    outcome = Outcome(link.name)
    with httpx2.Client(timeout=30, follow_redirects=True) as client:
        home = _insist(lambda: client.get(link.url), outcome)
        base = link.url.partition("/login")[0]
        headers = {"X-CSRF-Token": _found(r'"X-CSRF-Token": "([^"]+)"', home.text)}
        headers["HX-Request"] = "true"
        total = int(_found(r'max="(\d+)"', home.text))

        def write(method: str, path: str, **data: str) -> httpx2.Response:
            began = time.monotonic()
            answer = _insist(
                lambda: client.request(method, base + path, data=data, headers=headers), outcome
            )
            outcome.seconds.append(time.monotonic() - began)
            return answer

        while time.monotonic() < until or not outcome.states:  # a server may be slow to start
            number = rng.randint(1, total)
            page = _insist(lambda: client.get(f"{base}/study/{number}"), outcome)  # noqa: B023
            keys = re.findall(r'data-key="([^"]+)"', page.text)
            if outcome.committed.get(number):
                write("POST", f"/study/{number}/reopen")
                outcome.committed[number] = False
            for key in rng.sample(keys, k=5):
                state = rng.choice(STATES)
                write("PUT", f"/study/{number}/finding/{key}", **{f"f-{key}": state})
                outcome.states[number, key] = state
            if rng.random() < 0.3:
                write("POST", f"/study/{number}/commit", rest="1")
                outcome.committed[number] = True
                for key in keys:
                    outcome.states.setdefault((number, key), "blank")
    return outcome


def lost_writes(db: str, outcomes: Sequence[Outcome]) -> int:
    """Answered writes that the database does not have."""
    store = open_store(db)
    with store.read() as session:
        query = select(Reviewer.name, Assignment.position, Reading.finding, Reading.state)
        query = query.join(Assignment, Assignment.reviewer == Reviewer.id)
        query = query.join(Reading, Reading.assignment == Assignment.id)
        kept = {(name, at, key): state for name, at, key, state in session.execute(query)}
        rows = select(Reviewer.name, Assignment.position, Assignment.committed_at)
        rows = rows.join(Assignment, Assignment.reviewer == Reviewer.id)
        committed = {(name, at): when is not None for name, at, when in session.execute(rows)}
    store.close()
    lost = 0
    for outcome in outcomes:
        lost += sum(
            kept.get((outcome.name, *place)) != state for place, state in outcome.states.items()
        )
        lost += sum(
            committed[outcome.name, place] != done for place, done in outcome.committed.items()
        )
    return lost


def table(outcomes: Sequence[Outcome], seconds: float, lost: int) -> list[tuple[str, str]]:
    """What is printed."""
    times = sorted(time for outcome in outcomes for time in outcome.seconds)
    middle, most, last = (times[int(share * (len(times) - 1))] for share in (0.5, 0.95, 1))
    return [
        ("answered writes", f"{len(times):,}"),
        ("answered writes per second", f"{len(times) / seconds:,.0f}"),
        ("median answer", f"{1000 * middle:.0f} ms"),
        ("95 % of answers within", f"{1000 * most:.0f} ms"),
        ("slowest answer", f"{1000 * last:.0f} ms"),
        ("sent again", f"{sum(outcome.refused for outcome in outcomes):,}"),
        ("lost", f"{lost:,}"),
    ]


class Server:
    """The server as a process of its own, which can be killed."""

    def __init__(self, db: str, port: int) -> None:
        self._command = [sys.executable, __file__, "--serve", db, str(port)]
        self._port = port
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command)
        until = time.monotonic() + START
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Kill it in the middle of its work and start it again."""
        self.kill()
        self._start()


@contextmanager
def serving(db: str, port: int) -> Iterator[Server]:
    """A server that is gone at the end."""
    server = Server(db, port)
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _insist(ask, outcome: Outcome) -> httpx2.Response:  # type: ignore[no-untyped-def]
    """Ask until there is an answer."""
    while True:
        try:
            answer: httpx2.Response = ask()
        except httpx2.TransportError:
            outcome.refused += 1
            time.sleep(RETRY)
            continue
        if answer.status_code >= 400:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")
        return answer


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError("this is not a page of the review")
    return found.group(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], port=int(sys.argv[3]), announce=lambda _: None)
    else:
        main()
