"""The server as a process: quiet, killed, loaded, over TLS, and on PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import psycopg
import pytest
from review_site import (
    FINDINGS,
    ROOT,
    SECRET_WORDS,
    make_review,
    read_rows,
    servers,
    sources,
    visited,
)

from cxrlabel.audit.review.creation import create_review
from cxrlabel.audit.review.export import export_review
from cxrlabel.audit.review.server import is_loopback, links, serve
from cxrlabel.audit.review.store import has_review, open_store
from cxrlabel.errors import InputError

STATES = ("positive", "negative", "uncertain")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import review_load

    return review_load


@pytest.fixture
def serving() -> Iterator[Any]:
    with servers() as start:
        yield start


def browser(url: str) -> Any:
    """Somebody who came by a link: client, base of the paths, headers."""
    client = httpx2.Client(follow_redirects=True, timeout=30)
    home = client.get(url)
    token = home.text.partition('"X-CSRF-Token": "')[2].partition('"')[0]
    return client, url.partition("/login")[0], {"X-CSRF-Token": token, "HX-Request": "true"}


def test_server_is_quiet_and_answers_by_its_links(tmp_path: Path, serving: Any) -> None:
    served = serving(make_review(tmp_path))
    assert len(served.urls) == 2  # the reviewer, and who oversees
    assert served.urls[0].startswith("http://127.0.0.1:")

    client, base, headers = browser(served.urls[0])
    assert SECRET_WORDS in client.get(f"{base}/study/1").text
    client.put(f"{base}/study/1/note", data={"note": SECRET_WORDS}, headers=headers)
    assert client.get(f"{base}/study/99").status_code == 409
    assert client.get(f"{base}/study/x").status_code == 404
    assert httpx2.get(f"{base}/study/1").status_code == 401

    assert served.stop() == ""


def test_killed_server_loses_nothing_that_it_answered(tmp_path: Path, serving: Any) -> None:
    db = make_review(tmp_path)
    served = serving(db)
    client, base, headers = browser(served.urls[0])
    client.put(f"{base}/study/1/finding/edema", data={"f-edema": "positive"}, headers=headers)
    client.put(f"{base}/study/1/note", data={"note": "apex"}, headers=headers)
    data = dict(zip(("f-edema", "f-pneumonia", "f-pleural_effusion"), STATES, strict=True))
    client.post(f"{base}/study/2/commit", data=data, headers=headers)
    served.stop()

    again = serving(db, int(base.rpartition(":")[2]))
    assert again.urls == served.urls  # bookmarks stay
    page = client.get(f"{base}/").text  # and so does the cookie
    assert 'aria-labelledby="study-title"' in page
    assert 'value="positive" aria-label="Present" checked' in page
    assert ">apex</textarea>" in page
    again.stop()
    export_review(db, tmp_path / "manual.csv")
    assert list(read_rows(tmp_path / "manual.csv")[0].values())[3:] == ["1", "0", "-1"]


def test_load_of_reviewers_and_a_kill_loses_no_write(tmp_path: Path, load: ModuleType) -> None:
    db = str(tmp_path / "review.sqlite")
    load.make_review(db, tmp_path, reviewers=6, studies=24)

    outcomes = load.run(db, seconds=5, kills=1)

    assert load.lost_writes(db, outcomes) == 0
    written = sum(len(outcome.seconds) for outcome in outcomes)
    assert all(outcome.states for outcome in outcomes)
    assert dict(load.table(outcomes, 5, 0))["answered writes"] == f"{written:,}"
    # the comparison can fail: something that was never written is missed
    place = next(iter(outcomes[0].states))
    outcomes[0].states[place] = "other"
    outcomes[1].committed[1] = not outcomes[1].committed.get(1, False)
    assert load.lost_writes(db, outcomes) == 2


def test_sqlite_writes_ahead_and_waits(tmp_path: Path) -> None:
    store = open_store(make_review(tmp_path))
    with store.read() as session:
        settings = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    store.close()

    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


# where it listens


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.5", False),
        ("reading-room.example.org", False),
    ],
)
def test_loopback_is_told_from_other_interfaces(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "secure", "start"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8642/login?token="),
        ("::1", True, "https://[::1]:8642/login?token="),
        ("0.0.0.0", True, f"https://{socket.gethostname()}:8642/login?token="),
    ],
)
def test_links_can_be_opened(tmp_path: Path, host: str, secure: bool, start: str) -> None:
    store = open_store(make_review(tmp_path, reviewers=["a", "b"], adjudicators=["a", "j"]))
    found = links(store, host=host, port=8642, secure=secure)
    store.close()

    assert [(link.name, link.role) for link in found] == [
        ("a", "reads, adjudicates"),
        ("b", "reads"),
        ("j", "adjudicates"),
        ("overview", "oversees"),
    ]
    assert all(link.url.startswith(start) for link in found)


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(InputError, match=f"--port {port}: cannot listen there"):
            serve(make_review(tmp_path), port=port, announce=lambda _: None)


def test_tls_makes_the_cookie_secure(tmp_path: Path, serving: Any) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)

    served = serving(make_review(tmp_path), 0, certificate, key)

    assert served.urls[0].startswith("https://127.0.0.1:")
    answer = httpx2.get(served.urls[0], verify=False)
    assert "secure" in answer.headers["set-cookie"].lower()


# PostgreSQL


def _postgres_programs() -> Path | None:
    found = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return max(found, key=lambda path: float(path.parts[-3])).parent
    which = shutil.which("initdb")
    return Path(which).parent if which else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server on a folder of its own; yields the URL of its first database."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server (Debian: apt-get install postgresql)")
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="cxr-postgres-"))
    if os.geteuid() == 0:  # it refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        shutil.chown(folder, user)

    def run(program: str, *args: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *args]
        log = folder.with_suffix(".log")
        with log.open("w") as file:
            done = subprocess.run(command, cwd=folder, stdout=file, stderr=file, **as_user)
        assert done.returncode == 0, log.read_text()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run("initdb", "--username=cxr", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-k {folder} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-w", "-t", "180", "-o", options, "-l", str(folder / "server.log"), "start")
    try:
        yield f"postgresql://cxr@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)


@pytest.fixture
def database(postgres: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    name = f"db{abs(hash(request.node.name))}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return postgres.rpartition("/")[0] + f"/{name}"


def test_review_on_postgresql_from_sample_to_export(database: str, tmp_path: Path) -> None:
    options = {"findings": FINDINGS, "reviewers": ["Ann", "Bob"], "adjudicators": ["Judge"]}
    create_review(database, sources(tmp_path, studies=2), double=1, **options)
    assert has_review(database)
    with pytest.raises(InputError, match="expected an empty database"):
        create_review(database, sources(tmp_path), **options)

    with visited(database) as visit:
        ann, bob, judge = visit("Ann"), visit("Bob"), visit("Judge")
        ann.choose(1, "edema", "negative")
        ann.choose(1, "edema", "positive")
        ann.post("/study/1/undo")
        assert ann.checked(1) == {"edema": "negative"}
        for study in ("s1", "s2"):
            ann.commit(ann.position(study), STATES, note="Ünsure ☂")
        bob.commit(bob.position("s1"), STATES)
        bob.commit(bob.position("s2"), STATES[:2], rest="1")
        assert judge.get("/adjudicate").url.path == "/adjudicate/2"
        judge.put("/adjudicate/2/finding/pleural_effusion", **{"f-pleural_effusion": "positive"})
        assert judge.post("/adjudicate/2/commit").status_code == 204
        assert ">50 %<" in visit("overview").get("/summary").text

    export_review(database, tmp_path / "manual.csv", which="final")
    assert [tuple(row.values()) for row in read_rows(tmp_path / "manual.csv")] == [
        ("s1", "Ann + Bob", "report", "1", "0", "-1"),
        ("s2", "adjudicated", "report", "1", "0", "1"),
    ]


def test_load_on_postgresql_loses_no_write(database: str, tmp_path: Path, load: ModuleType) -> None:
    load.make_review(database, tmp_path, reviewers=6, studies=24)

    outcomes = load.run(database, seconds=4, kills=1)

    assert all(outcome.states for outcome in outcomes)
    assert load.lost_writes(database, outcomes) == 0


def test_failed_creation_leaves_postgresql_empty(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrlabel.audit.review import creation

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(creation, "_add_assignments", stop)
    with pytest.raises(KeyboardInterrupt):
        create_review(database, sources(tmp_path), findings=FINDINGS)

    assert not has_review(database)
    monkeypatch.undo()
    create_review(database, sources(tmp_path), findings=FINDINGS)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://cxr:pass-word@127.0.0.1:1/none", "cannot be opened"),
        ("mysql://cxr:pass-word@127.0.0.1/none", "unknown kind of database"),
        ("postgresql://[cxr:pass-word", "not a database URL"),
    ],
)
def test_wrong_url_is_named_without_its_password(url: str, found: str) -> None:
    with pytest.raises(InputError, match=found) as caught:
        open_store(url)

    assert "pass-word" not in str(caught.value)
