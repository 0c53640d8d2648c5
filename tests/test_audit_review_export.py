"""What goes out of a review and comes into it: manual.csv, sheets, Label Studio."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_site import (
    FINDINGS,
    KEYS,
    Person,
    make_review,
    read_rows,
    sources,
    visited,
    write_rows,
)

from cxrlabel.audit import reviews
from cxrlabel.audit.review.exchange import export_sheet, import_readings
from cxrlabel.audit.review.export import export_review
from cxrlabel.audit.review.labelstudio import export_tasks
from cxrlabel.errors import InputError
from cxrlabel.findings import resolve

STATES = ("positive", "negative", "uncertain")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Four studies; Ann and Bob have both to read all, a judge decides."""
    return make_review(
        tmp_path,
        sources(tmp_path),
        reviewers=["Ann", "Bob"],
        adjudicators=["Judge"],
        double=1,
    )


@pytest.fixture
def read(db: Path) -> Iterator[Callable[..., Any]]:
    """Read a study as somebody."""
    with visited(db) as visit:
        people: dict[str, Person] = {}

        def read(name: str, study: str, *states: str, **data: str) -> Person:
            person = people.setdefault(name, visit(name))
            person.commit(person.position(study), states, **data)
            return person

        read.visit = visit  # type: ignore[attr-defined]
        yield read


@pytest.fixture
def done(db: Path, read: Any) -> Path:
    """s1 agreed, s2 adjudicated, s3 in dispute, s4 read once."""
    for name in ("Ann", "Bob"):
        read(name, "s1", "positive", "blank", "uncertain")
    for study in ("s2", "s3"):
        read("Ann", study, "positive", "blank", "blank")
        read("Bob", study, "negative", "blank", "uncertain")
    read("Ann", "s4", *STATES, note="apex", unsure="1")
    judge = read.visit("Judge")
    path = "/adjudicate/2"
    for key, state in (("edema", "negative"), ("pleural_effusion", "positive")):
        judge.put(f"{path}/finding/{key}", **{f"f-{key}": state})
    assert judge.post(f"{path}/commit").status_code == 204
    return db


# manual.csv


def test_export_writes_every_reading_and_the_adjudicated_study(done: Path, tmp_path: Path) -> None:
    run = export_review(done, tmp_path / "manual.csv")

    rows = read_rows(tmp_path / "manual.csv")
    assert list(rows[0]) == ["uid", "reviewer", "reference", *FINDINGS]
    assert [tuple(row.values()) for row in rows] == [
        ("s1", "Ann", "report", "1", "", "-1"),
        ("s1", "Bob", "report", "1", "", "-1"),
        ("s2", "Ann", "report", "1", "", ""),
        ("s2", "Bob", "report", "0", "", "-1"),
        ("s2", "adjudicated", "report", "0", "", "1"),
        ("s3", "Ann", "report", "1", "", ""),
        ("s3", "Bob", "report", "0", "", "-1"),
        ("s4", "Ann", "report", "1", "0", "-1"),
    ]
    assert (run.rows, run.studies, run.unread, run.waiting) == (8, 4, 0, 0)


def test_export_of_readings_leaves_decisions_out(done: Path, tmp_path: Path) -> None:
    export_review(done, tmp_path / "manual.csv", which="readings")

    assert {row["reviewer"] for row in read_rows(tmp_path / "manual.csv")} == {"Ann", "Bob"}


def test_final_export_has_a_row_for_each_finished_study(done: Path, tmp_path: Path) -> None:
    run = export_review(done, tmp_path / "manual.csv", which="final")

    rows = [tuple(row.values()) for row in read_rows(tmp_path / "manual.csv")]
    assert rows == [
        ("s1", "Ann + Bob", "report", "1", "", "-1"),
        ("s2", "adjudicated", "report", "0", "", "1"),
    ]
    assert (run.studies, run.waiting) == (2, 2)


def test_export_leaves_uncommitted_readings_out(db: Path, read: Any, tmp_path: Path) -> None:
    person = read("Ann", "s1", *STATES)
    person.choose(person.position("s2"), "edema", "positive")

    run = export_review(db, tmp_path / "manual.csv")

    assert [row["uid"] for row in read_rows(tmp_path / "manual.csv")] == ["s1"]
    assert run.unread == 3


def test_export_is_what_the_report_reads(done: Path, tmp_path: Path) -> None:
    export_review(done, tmp_path / "manual.csv")

    table = reviews.read_reviews(tmp_path / "manual.csv", id_column="uid", resolve=resolve)

    assert table.reference == "report"
    assert table.reviewers == ("Ann", "Bob")
    assert table.four_states
    np.testing.assert_array_equal(table.states.loc[("s4", "Ann")], [1, 0, -1])


def test_notes_go_to_a_table_of_their_own(done: Path, tmp_path: Path) -> None:
    run = export_review(done, tmp_path / "manual.csv", notes=tmp_path / "notes.csv")

    notes = {(row["uid"], row["reviewer"]): row for row in read_rows(tmp_path / "notes.csv")}
    row = notes["s4", "Ann"]
    assert (row["note"], row["unsure"], row["committed_at"]) == (
        "apex",
        "True",
        "2027-01-15T08:00:00+00:00",
    )
    assert run.written == (tmp_path / "manual.csv", tmp_path / "notes.csv")


def test_note_that_looks_like_a_formula_is_neutralised(db: Path, read: Any, tmp_path: Path) -> None:
    read("Ann", "s1", *STATES, note="=HYPERLINK(1)")

    export_review(db, tmp_path / "manual.csv", notes=tmp_path / "notes.csv")

    assert read_rows(tmp_path / "notes.csv")[0]["note"] == "'=HYPERLINK(1)"


def test_export_overwrites_only_when_forced(done: Path, tmp_path: Path) -> None:
    (tmp_path / "manual.csv").write_text("mine")

    with pytest.raises(InputError, match="--force"):
        export_review(done, tmp_path / "manual.csv")
    assert (tmp_path / "manual.csv").read_text() == "mine"
    export_review(done, tmp_path / "manual.csv", force=True)


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "no such file"), (b"", "holds no review"), (b"x" * 5000, "not a database")],
)
def test_export_of_something_else_is_refused(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=found):
        export_review(path, tmp_path / "manual.csv")


# a sheet to fill in


def test_sheet_that_is_filled_in_comes_back_as_readings(db: Path, tmp_path: Path) -> None:
    run = export_sheet(db, tmp_path / "sheet.csv", reviewer="Ann")
    rows = read_rows(tmp_path / "sheet.csv")
    assert run.studies == 4
    assert list(rows[0]) == ["uid", "reviewer", "reference", *FINDINGS, "text"]
    assert "FINDINGS:\nZebrafish" in rows[0]["text"]
    rows[0] |= {"Edema": "1", "Pneumonia": "-1"}
    write_rows(tmp_path / "sheet.csv", rows)

    done = import_readings(db, tmp_path / "sheet.csv")

    assert (done.added, done.reviewers, done.unread) == (1, ("Ann",), 3)
    export_review(db, tmp_path / "manual.csv")
    (row,) = read_rows(tmp_path / "manual.csv")
    assert tuple(row.values()) == (rows[0]["uid"], "Ann", "report", "1", "-1", "")


def test_import_round_trip_is_the_same_table(done: Path, tmp_path: Path) -> None:
    export_review(done, tmp_path / "manual.csv", which="readings")
    (tmp_path / "other").mkdir()
    other = make_review(tmp_path / "other", sources(tmp_path / "other"), reviewers=["X"])

    run = import_readings(other, tmp_path / "manual.csv")

    assert run.reviewers == ("Ann", "Bob")
    export_review(other, tmp_path / "again.csv", which="readings")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "manual.csv").read_text()


def test_import_again_adds_nothing(done: Path, tmp_path: Path) -> None:
    export_review(done, tmp_path / "manual.csv")

    run = import_readings(done, tmp_path / "manual.csv")

    assert (run.added, run.known) == (0, 7)


def test_import_of_another_reading_by_the_same_person_changes_nothing(
    done: Path, tmp_path: Path
) -> None:
    export_review(done, tmp_path / "before.csv")
    row = {"uid": "s4", "reviewer": "Ann"}
    new = {"uid": "s4", "reviewer": "New"}
    given = [r | dict.fromkeys(FINDINGS, 1) for r in (new, row)]

    with pytest.raises(InputError, match="another reading of it by 'Ann'"):
        import_readings(done, write_rows(tmp_path / "new.csv", given))

    export_review(done, tmp_path / "after.csv")
    assert (tmp_path / "after.csv").read_text() == (tmp_path / "before.csv").read_text()


def test_third_reading_reopens_an_adjudication(done: Path, tmp_path: Path) -> None:
    row = {"uid": "s2", "reviewer": "Cid", **dict.fromkeys(FINDINGS, 1)}

    import_readings(done, write_rows(tmp_path / "new.csv", [row]))

    export_review(done, tmp_path / "manual.csv")
    readers = [r["reviewer"] for r in read_rows(tmp_path / "manual.csv") if r["uid"] == "s2"]
    assert readers == ["Ann", "Bob", "Cid"]


def test_import_counts_studies_of_elsewhere(db: Path, tmp_path: Path) -> None:
    rows = [{"uid": study, **dict.fromkeys(FINDINGS, 0)} for study in ("s1", "zz")]

    run = import_readings(db, write_rows(tmp_path / "new.csv", rows), reviewer="Dee")

    assert (run.added, run.elsewhere) == (1, 1)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"uid": "s1", "Edema": 1}, "no column for 'Pneumonia'"),
        ({"uid": "s1", **dict.fromkeys(FINDINGS, 1)}, "no reviewer"),
        ({"uid": "s1", **dict.fromkeys(FINDINGS, 2)}, "is no state"),
    ],
)
def test_import_refuses_a_wrong_table(
    db: Path, tmp_path: Path, row: dict[str, object], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        import_readings(db, write_rows(tmp_path / "new.csv", [row]))


def test_blank_cells_are_absent_in_a_review_of_images(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    given = sources(tmp_path, studies=1)
    images = write_rows(tmp_path / "studies.csv", [{"uid": "s1", "path": "x.png"}])
    db = make_review(
        tmp_path,
        type(given)(sample=given.sample, images=images, id_column="uid"),
        reference="image",
    )
    row = {"uid": "s1", "reviewer": "Ann", "Edema": "1", "Pneumonia": "", "Pleural Effusion": ""}

    import_readings(db, write_rows(tmp_path / "new.csv", [row]))

    export_review(db, tmp_path / "manual.csv")
    assert tuple(read_rows(tmp_path / "manual.csv")[0].values())[2:] == ("image", "1", "0", "0")


# Label Studio


def test_tasks_hold_the_report_and_the_configuration_every_finding(
    db: Path, tmp_path: Path
) -> None:
    run = export_tasks(db, tmp_path / "tasks.json")

    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert (run.tasks, run.annotations) == (4, 0)
    assert tasks[0]["data"]["report_id"] == "s1"
    assert tasks[0]["data"]["text"].startswith("INDICATION:\nCough")
    config = ET.fromstring((tmp_path / "tasks.json.config.xml").read_text())
    assert config.find("Text").get("value") == "$text"  # type: ignore[union-attr]
    assert [item.get("name") for item in config.iter("Choices")] == list(KEYS)
    first = next(config.iter("Choices"))
    words = [(choice.get("value"), choice.get("selected")) for choice in first]
    assert words == [
        ("Present", None),
        ("Absent", None),
        ("Uncertain", None),
        ("Not mentioned", "true"),
    ]


def test_annotations_round_trip(done: Path, tmp_path: Path) -> None:
    run = export_tasks(done, tmp_path / "tasks.json", readings=True)
    (tmp_path / "other").mkdir()
    other = make_review(tmp_path / "other", sources(tmp_path / "other"), reviewers=["X"])

    import_readings(other, tmp_path / "tasks.json")

    assert run.annotations == 7
    write = partial(export_review, which="readings")
    write(done, tmp_path / "one.csv")
    write(other, tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_text() == (tmp_path / "one.csv").read_text()


def _task(study: str, words: tuple[str, ...], **annotation: object) -> dict[str, Any]:
    result = [
        {"from_name": key, "to_name": "text", "type": "choices", "value": {"choices": [word]}}
        for key, word in zip(KEYS, words, strict=False)
    ]
    return {"data": {"report_id": study}, "annotations": [{"result": result, **annotation}]}


WORDS = ("Present", "absent", "Not mentioned")


def test_annotations_as_label_studio_writes_them_are_read(db: Path, tmp_path: Path) -> None:
    tasks = [
        _task("s1", WORDS, completed_by={"id": 3, "email": "ann@example.org"}),
        _task("s2", WORDS, completed_by=7, was_cancelled=False, id=12, lead_time=3.5),
        _task("s3", WORDS, completed_by=7, was_cancelled=True),
        {"data": {"report_id": "s4"}, "annotations": []},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))

    run = import_readings(db, tmp_path / "tasks.json")

    assert (run.added, run.reviewers) == (2, ("7", "ann@example.org"))
    export_review(db, tmp_path / "manual.csv")
    assert [tuple(row.values())[3:] for row in read_rows(tmp_path / "manual.csv")] == [
        ("1", "0", ""),
        ("1", "0", ""),
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("nonsense", "not JSON"),
        ("{}", "expected a list of tasks"),
        ('[{"data": {}}]', "task 1: not as Label Studio exports it"),
        (json.dumps([_task("s1", ("Present", "Perhaps"), reviewer="A")]), "unknown choice"),
        (json.dumps([_task("s1", ("Present",), reviewer="A")]), "no answer for 'pneumonia'"),
        (json.dumps([_task("s1", WORDS)]), "no reviewer"),
    ],
)
def test_wrong_tasks_are_refused(db: Path, tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "tasks.json").write_text(content)

    with pytest.raises(InputError, match=found):
        import_readings(db, tmp_path / "tasks.json")
