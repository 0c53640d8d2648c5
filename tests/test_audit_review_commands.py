"""The commands `cxr audit review`, `export` and `import`, as a user calls them."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from review_site import (
    FINDINGS,
    ROOT,
    SECRET_WORDS,
    make_review,
    read_rows,
    sources,
    visited,
    write_rows,
)
from typer.testing import CliRunner, Result

from cli import app
from cxrlabel.audit.review import commands, server
from cxrlabel.audit.review.server import Link

ALL_ABSENT = ("negative",) * 3


def cxr(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, args)])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` says where it would listen and comes back."""

    def announce_only(db: str, *, announce, host: str, port: int, **_: object) -> None:  # type: ignore[no-untyped-def]
        announce([Link("reader", "reads", f"http://{host}:{port}/login?token=t")])

    monkeypatch.setattr(server, "serve", announce_only)


@pytest.fixture
def asked(tmp_path: Path) -> list[str | Path]:
    """The command that creates a review of four studies."""
    given = sources(tmp_path)
    wanted = ["review", given.sample, "--reports", given.reports[0], "--id", "uid"]
    return [*wanted, "--findings", ",".join(FINDINGS), "--db", tmp_path / "review.sqlite"]


def one_line_error(result: Result) -> str:
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


@contextmanager
def running(*args: str | Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command in a process of its own; yields it and the links that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from cli import app; app()", "audit", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, [process.stdout.readline().strip() for _ in range(3)]
    finally:
        process.kill()
        process.communicate()


# review


def test_review_is_created_served_and_goes_on_by_the_same_command(
    asked: list[str | Path], tmp_path: Path
) -> None:
    command = [*asked, "--reviewer", "Ann", "--reviewer", "Bob", "--double", "0.5", "--port", "0"]
    with running(*command) as (process, urls):
        assert [re.sub(r":\d+/", "/", url.partition("=")[0]) for url in urls] == [
            "http://127.0.0.1/login?token"
        ] * 3
        with httpx2.Client(follow_redirects=True) as client:
            assert SECRET_WORDS in client.get(urls[0]).text
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.splitlines() == [
        f"{tmp_path}/review.sqlite: added 4 studies, 2 of them for two readers; "
        "a reading is of the report",
        "Ann (reads, adjudicates):",
        "Bob (reads, adjudicates):",
        "overview (oversees):",
        "whoever has a link is that person; Ctrl-C ends the server, nothing is lost",
        f"0 of 6 readings are done -> {tmp_path}/review.sqlite",
    ]
    with running(*command) as (_, again):
        assert [url.partition("=")[2] for url in again] == [url.partition("=")[2] for url in urls]


def test_review_goes_on_by_its_database_alone(
    asked: list[str | Path], tmp_path: Path, quick: None
) -> None:
    assert cxr(*asked).exit_code == 0

    result = cxr("review", "--db", tmp_path / "review.sqlite", "--port", "9000")

    assert result.exit_code == 0
    assert result.stdout == "http://127.0.0.1:9000/login?token=t\n"
    assert "0 of 4 readings are done" in result.stderr


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--reference", "image"], "--reference: 'image'; the review in"),
        (["--double", "1"], "--double: 1.0;"),
        (["--unblind"], "--unblind: True;"),
        (["--labelset", "nih14"], "was created with others, which stay: Edema, Pneumonia"),
        (["--reviewer", "Zoe"], "--reviewer: 'Zoe' is none of"),
        (["--adjudicator", "Zoe"], "--adjudicator: 'Zoe' is none of"),
    ],
)
def test_review_that_was_created_otherwise_is_not_served(
    asked: list[str | Path], quick: None, options: list[str], found: str
) -> None:
    cxr(*asked)
    if "--labelset" in options:
        asked = asked[: asked.index("--findings")] + asked[asked.index("--db") :]

    result = cxr(*asked, *options)

    assert found in one_line_error(result)
    assert result.stdout == ""


def test_larger_sample_needs_extend(asked: list[str | Path], tmp_path: Path, quick: None) -> None:
    cxr(*asked)
    sources(tmp_path, studies=7)

    assert "3 studies that the review" in one_line_error(cxr(*asked))
    assert "--extend adds them" in one_line_error(cxr(*asked))
    assert "added 3 studies" in cxr(*asked, "--extend").stderr
    assert "0 of 7 readings" in cxr(*asked).stderr


def test_review_without_a_sample_names_what_is_missing(tmp_path: Path) -> None:
    result = cxr("review", "--db", tmp_path / "none.sqlite")

    assert "none.sqlite: holds no review; name the SAMPLE" in one_line_error(result)
    assert not (tmp_path / "none.sqlite").exists()
    assert "expected the larger one" in one_line_error(cxr("review", "--db", "x", "--extend"))


def test_other_interface_is_said_to_be_open(asked: list[str | Path], quick: None) -> None:
    assert "other machines" not in cxr(*asked).stderr

    result = cxr(*asked, "--host", "0.0.0.0")

    assert "--host 0.0.0.0: other machines reach this review" in result.stderr
    assert "reads along" in result.stderr


def test_certificate_needs_its_key(asked: list[str | Path]) -> None:
    assert cxr(*asked, "--certificate", "x.pem").exit_code == 2


def test_missing_extra_is_named(
    asked: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name == "uvicorn" else name)

    for result in (
        cxr(*asked),
        cxr("export", "--db", "x", "-o", tmp_path / "manual.csv"),
        cxr("import", "x.csv", "--db", "x"),
    ):
        assert "uvicorn: pip install 'cxr[review]'" in one_line_error(result)


def test_missing_postgresql_driver_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    found = one_line_error(cxr("review", "--db", "postgresql://cxr:secret@127.0.0.1/none"))

    assert "pip install 'cxr[postgresql]'" in found
    assert "secret" not in found


def test_port_in_use_is_one_line(asked: list[str | Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        result = cxr(*asked, "--port", str(taken.getsockname()[1]))

    assert result.stderr.splitlines()[-1].startswith("error: --host 127.0.0.1 --port")


# export and import


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Four studies, the first of Ann's list is read."""
    db = make_review(tmp_path, reviewers=["Ann"])
    with visited(db) as visit:
        visit("Ann").commit(1, ALL_ABSENT, note="apex")
    return db


def test_export_writes_readings_and_says_what_is_missing(db: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "manual.csv", tmp_path / "notes.csv"

    result = cxr("export", "--db", db, "-o", out, "--notes", notes)

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "without a reading: 3 studies",
        f"wrote {notes}",
        f"1 reading of 1 study -> {out}",
    ]
    assert [row["Edema"] for row in read_rows(out)] == ["0"]
    assert read_rows(notes)[0]["note"] == "apex"


def test_export_of_a_sheet_and_import_of_what_was_filled_in(db: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    result = cxr("export", "--db", db, "-o", sheet, "--format", "sheet", "--reviewer", "Ann")
    assert result.stderr == f"3 studies for Ann to fill in -> {sheet}\n"
    rows = read_rows(sheet)
    write_rows(sheet, [rows[0] | {"Edema": "1"}, *rows[1:]])

    result = cxr("import", sheet, "--db", db)

    assert result.stderr.splitlines() == [
        "left out: 2 rows that nobody filled in",
        f"added 1 reading by Ann -> {db}",
    ]


def test_export_of_tasks_for_label_studio(db: Path, tmp_path: Path) -> None:
    out = tmp_path / "tasks.json"

    result = cxr("export", "--db", db, "-o", out, "--format", "label-studio", "--readings")

    assert result.stderr.splitlines() == [
        f"wrote {out}.config.xml",
        f"4 tasks with 1 annotation -> {out}",
    ]


@pytest.mark.parametrize(
    "options", [["--reviewer", "Ann"], ["--readings"], ["--format", "sheet", "--which", "final"]]
)
def test_export_refuses_an_option_of_another_format(
    db: Path, tmp_path: Path, options: list[str]
) -> None:
    assert cxr("export", "--db", db, "-o", tmp_path / "out.csv", *options).exit_code == 2


def test_export_of_an_unknown_format_is_refused(db: Path, tmp_path: Path) -> None:
    result = cxr("export", "--db", db, "-o", tmp_path / "out.csv", "--format", "pdf")

    assert "expected one of table, sheet, label-studio" in one_line_error(result)
