"""What a review is made of, and who reads what."""

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_site import (
    FINDINGS,
    KEYS,
    make_review,
    read_rows,
    report,
    sources,
    visited,
    write_rows,
)
from sqlalchemy import select

from cxrlabel.audit.review.assigning import assign
from cxrlabel.audit.review.creation import create_review, extend_review
from cxrlabel.audit.review.document import DocumentMaker, Highlight, pieces
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.audit.review.models import Image, Study
from cxrlabel.audit.review.store import has_review, open_store
from cxrlabel.audit.reviews import ADJUDICATED
from cxrlabel.errors import InputError
from cxrlabel.rulebook import Rulebook

IDS = [f"s{n}" for n in range(100)]


# who reads what


def test_assign_gives_every_study_to_one_reviewer() -> None:
    lists = assign(IDS, ["a", "b", "c"], double=0, seed=1)

    assert sorted(chain(*lists.values())) == sorted(IDS)
    assert sorted(map(len, lists.values())) == [33, 33, 34]


def test_assign_gives_the_double_share_to_two_reviewers() -> None:
    lists = assign(IDS, ["a", "b", "c"], double=0.3, seed=1)

    readers = Counter(chain(*lists.values()))
    assert Counter(readers.values()) == {1: 70, 2: 30}
    assert all(len(set(listed)) == len(listed) for listed in lists.values())
    pairs = Counter(
        tuple(name for name in lists if study in lists[name])
        for study, count in readers.items()
        if count == 2
    )
    assert set(pairs.values()) == {10}


def test_assign_orders_each_list_on_its_own() -> None:
    lists = assign(IDS, ["a", "b"], double=1, seed=1)

    assert set(lists["a"]) == set(lists["b"])
    assert lists["a"] != lists["b"]
    assert lists["a"] != sorted(lists["a"])


def test_assign_hides_which_studies_are_read_twice() -> None:
    lists = assign(IDS, ["a", "b"], double=0.5, seed=3)

    shared = set(lists["a"]) & set(lists["b"])
    places = [n for n, study in enumerate(lists["a"]) if study in shared]
    assert 25 < sum(places) / len(places) < 50  # spread over 75 places, not at the front


def test_assign_depends_on_the_seed_alone() -> None:
    once = assign(IDS, ["a", "b"], double=0.5, seed=1)

    assert assign(IDS[::-1], ["a", "b"], double=0.5, seed=1) == once
    assert assign(IDS, ["a", "b"], double=0.5, seed=2) != once


@pytest.mark.parametrize(
    ("reviewers", "double", "found"),
    [
        ([], 0, "no name"),
        (["a", "a"], 0, "given twice"),
        (["a"], 0.5, "two or more reviewers"),
        (["a", "b"], 1.5, "not a share"),
    ],
)
def test_assign_refuses_what_cannot_be(reviewers: list[str], double: float, found: str) -> None:
    with pytest.raises(InputError, match=found):
        assign(IDS, reviewers, double=double, seed=1)


# the report on the page


@pytest.fixture(scope="module")
def make(rulebook: Rulebook) -> DocumentMaker:
    return DocumentMaker(rulebook)


def test_document_shows_every_word_of_the_sample(
    make: DocumentMaker, sample_reports: dict[str, str]
) -> None:
    for text in sample_reports.values():
        blocks = make([("", text)], ["report"])
        shown = "".join(block.title + block.shown for block in blocks)
        assert re.sub(r"\W", "", shown) == re.sub(r"\W", "", text)


@given(st.text(alphabet="ab:.\n FINDGSIMPREO", max_size=120))
def test_document_shows_every_word_of_any_text(make: DocumentMaker, text: str) -> None:
    blocks = make([("", text)], ["report"])

    shown = "".join(block.title + block.shown for block in blocks)
    assert re.sub(r"\W", "", shown) == re.sub(r"\W", "", text)


def test_document_joins_wrapped_lines_and_keeps_offsets(make: DocumentMaker) -> None:
    text = "FINDINGS: The heart is\nenlarged and the lungs are clear.\n\nIMPRESSION: Normal."

    findings, impression = make([("", text)], ["report"])

    assert findings.title == "FINDINGS"
    assert findings.shown == "The heart is enlarged and the lungs are clear."
    assert len(findings.shown) == findings.end - findings.start
    assert (impression.title, impression.shown) == ("IMPRESSION", "Normal.")


def test_document_names_a_section_column_after_itself(make: DocumentMaker) -> None:
    blocks = make([("findings", "Clear."), ("impression", "")], ["findings", "impression"])

    assert [(block.title, block.shown) for block in blocks] == [("findings", "Clear.")]


def test_pieces_cut_where_highlights_overlap(make: DocumentMaker) -> None:
    (block,) = make([("", "No left pleural effusion.")], ["report"])
    marks = [
        Highlight(0, 0, 2, "pleural_effusion", "cue"),
        Highlight(0, 8, 24, "pleural_effusion", "negative"),
        Highlight(0, 16, 24, "edema", "positive"),
        Highlight(1, 0, 25, "edema", "positive"),  # of another text
    ]

    cut = pieces(block, marks)

    assert [(p.text, p.assertion, p.cue) for p in cut] == [
        ("No", "", True),
        (" left ", "", False),
        ("pleural ", "negative", False),
        ("effusion", "positive", False),
        (".", "", False),
    ]
    assert cut[3].findings == ("pleural_effusion", "edema")


def test_a_sentence_that_a_learned_label_went_by_decides_its_words(make: DocumentMaker) -> None:
    (block,) = make([("", "Calcified nodule.")], ["report"])
    marks = [
        Highlight(0, 10, 16, "nodule", "positive"),
        Highlight(0, 0, 17, "nodule", "negative", "hybrid/+2.1 log odds"),
    ]

    cut = pieces(block, marks)

    assert {piece.assertion for piece in cut} == {"negative"}
    assert {piece.why for piece in cut} == {"negative: hybrid/+2.1 log odds"}


# creating a review


def test_review_holds_the_sample_with_reports_labels_and_mentions(tmp_path: Path) -> None:
    given = sources(tmp_path, studies=2)
    labels = write_rows(tmp_path / "labels.csv", [{"uid": "s1", "Edema": 1, "Pneumonia": -1}])
    start = report(1).index("pneumonia")
    mention = {"uid": "s1", "finding": "Pneumonia", "assertion": "uncertain", "reason": "hedged"}
    mention |= {"section": "impression", "sentence": 3, "start": start, "end": start + 9}
    mention |= {"text": "pneumonia", "rule": "r", "cue": "Possible", "cue_start": start - 9}
    mention |= {"cue_end": start - 1, "laterality": "", "severity": "", "temporality": ""}
    mentions = write_rows(tmp_path / "mentions.csv", [mention | {"location": ""}])

    db = make_review(
        tmp_path,
        Sources(
            sample=given.sample,
            reports=given.reports,
            labels=labels,
            mentions=mentions,
            id_column="uid",
        ),
    )

    store = open_store(db)
    with store.read() as session:
        study = session.scalars(select(Study).where(Study.study_id == "s1")).one()
        assert study.labels == {"Edema": "positive", "Pneumonia": "uncertain"}
        assert [tuple(mark[1:]) for mark in study.mentions] == [
            (start, start + 9, "pneumonia", "uncertain", ""),
            (start - 9, start - 1, "pneumonia", "cue", ""),
        ]
        assert [block[0] for block in study.blocks] == ["INDICATION", "FINDINGS", "IMPRESSION"]
    store.close()


def test_review_file_is_its_owners_alone(tmp_path: Path) -> None:
    assert make_review(tmp_path).stat().st_mode & 0o077 == 0


def test_review_is_not_created_twice(tmp_path: Path) -> None:
    db = make_review(tmp_path)

    with pytest.raises(InputError, match="expected an empty database"):
        make_review(tmp_path)
    assert has_review(db)


def test_failed_creation_leaves_no_review(tmp_path: Path) -> None:
    given = sources(tmp_path)
    write_rows(tmp_path / "sample.csv", [{"uid": "s1"}, {"uid": "nowhere"}])

    with pytest.raises(InputError, match=r"no report of 1 of 2 studies of the sample, 'nowhere'"):
        make_review(tmp_path, given)
    assert not has_review(tmp_path / "review.sqlite")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"reference": "both"}, "expected one of report, image"),
        ({"reference": "image"}, "--images: not given"),
        ({"reviewers": [" a"]}, "is not a name"),
        ({"reviewers": ["Overview"]}, "is taken"),
        ({"adjudicators": [ADJUDICATED]}, "is taken"),
        ({"findings": ["Edemaa"]}, "did you mean 'Edema'"),
    ],
)
def test_create_review_refuses_wrong_options(
    tmp_path: Path, options: dict[str, object], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        make_review(tmp_path, **options)


def test_create_review_refuses_an_id_column_that_the_export_needs(tmp_path: Path) -> None:
    sample = write_rows(tmp_path / "sample.csv", [{"reviewer": "s1"}])
    reports = write_rows(tmp_path / "reports.csv", [{"reviewer": "s1", "report": "Clear."}])

    with pytest.raises(InputError, match="is a column of the exported readings"):
        create_review(
            tmp_path / "db",
            Sources(sample=sample, reports=[str(reports)], id_column="reviewer"),
            findings=FINDINGS,
        )


def test_reports_without_the_text_column_option_never_quote_text(tmp_path: Path) -> None:
    given = sources(tmp_path)
    rows = read_rows(tmp_path / "reports.csv")
    write_rows(tmp_path / "reports.csv", [{"uid": row["uid"], "x": row["report"]} for row in rows])

    with pytest.raises(InputError) as caught:
        make_review(tmp_path, given)
    assert "Zebrafish" not in str(caught.value)


def _images(folder: Path, rows: list[dict[str, str]]) -> Sources:
    given = sources(folder, studies=1)
    return Sources(
        sample=given.sample,
        reports=given.reports,
        id_column="uid",
        images=write_rows(folder / "studies.csv", rows),
    )


def test_images_are_sorted_frontal_first(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    rows = [{"uid": "s1", "path": "a.png", "view_position": "LL"}]
    rows.append({"uid": "s1", "path": "b.png", "view_position": "PA"})

    db = make_review(tmp_path, _images(tmp_path, rows))

    store = open_store(db)
    with store.read() as session:
        images = session.scalars(select(Image).order_by(Image.id)).all()
        assert [(Path(i.path).name, i.view) for i in images] == [
            ("b.png", "frontal"),
            ("a.png", "lateral"),
        ]
    store.close()


@pytest.mark.parametrize(
    ("path", "found"),
    [("../secret.png", "leads out of"), ("none.png", "no image"), ("/etc/passwd", "leads out of")],
)
def test_images_stay_inside_their_folder(tmp_path: Path, path: str, found: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")

    with pytest.raises(InputError, match=found):
        make_review(folder, _images(folder, [{"uid": "s1", "path": path, "view": "frontal"}]))


def test_extension_adds_the_new_studies_behind_the_old(tmp_path: Path) -> None:
    db = make_review(tmp_path, sources(tmp_path, studies=4), reviewers=["a", "b"], double=0.5)
    with visited(db) as visit:
        before = visit("a").ids()
        visit("a").commit(1, ("positive",) * 3)

    added = extend_review(db, sources(tmp_path, studies=10))

    assert (added.studies, added.double_read) == (6, 3)
    with visited(db) as visit:
        one, other = visit("a").ids(), visit("b").ids()
        assert one[: len(before)] == before
        assert visit("a").checked(1) == dict.fromkeys(KEYS, "positive")
    assert set(one) | set(other) == {f"s{n}" for n in range(1, 11)}
    assert len(set(one) & set(other)) == 5
    assert extend_review(db, sources(tmp_path, studies=10)).studies == 0


def test_extension_by_a_stranger_is_refused(tmp_path: Path) -> None:
    db = make_review(tmp_path)

    with pytest.raises(InputError, match="'x' is not a reviewer"):
        extend_review(db, sources(tmp_path, studies=10), reviewers=["x"])
