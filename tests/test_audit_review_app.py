"""The application as a browser meets it: who gets in, what is saved, what is hidden."""

import base64
import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from review_site import (
    CSRF,
    FINDINGS,
    KEYS,
    SECRET_WORDS,
    Clock,
    Person,
    make_review,
    report,
    sources,
    visited,
    write_rows,
)

from cxrlabel.audit.review import study_routes
from cxrlabel.audit.review.inputs import Sources
from cxrlabel.audit.review.site import FOLDER

ALL_ABSENT = ("negative",) * 3


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Any]:
    """One reviewer, four studies."""
    with visited(make_review(tmp_path)) as opened:
        yield opened


@pytest.fixture
def person(visit: Any) -> Person:
    return visit()


# who gets in


def test_pages_need_a_link(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="http://127.0.0.1")

    for path in ("/", "/study/1", "/studies", "/summary", "/adjudicate", "/image/1", "/nowhere"):
        answer = stranger.get(path)
        assert answer.status_code == 401, path
        assert SECRET_WORDS not in answer.text


def test_wrong_token_is_refused(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="http://127.0.0.1")

    assert stranger.get("/login?token=wrong").status_code == 401
    assert stranger.get("/").status_code == 401


def test_cookie_is_out_of_reach_of_scripts(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="http://127.0.0.1", follow_redirects=False)

    cookie = stranger.get(visit.urls["reviewer"]).headers["set-cookie"].lower()

    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_links_differ_between_people_and_reviews(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        with visited(make_review(folder, reviewers=["a", "b"])) as visit:
            tokens += [url.partition("token=")[2] for url in visit.urls.values()]

    assert len(set(tokens)) == 6
    assert min(map(len, tokens)) >= 43  # 256 bits


def test_signing_out_ends_it(person: Person) -> None:
    person.post("/logout")

    assert person.get("/").status_code == 401
    assert "Open the link that you were given" in person.get("/login").text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (CSRF, ""),
        (CSRF, "wrong"),
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ],
)
def test_change_from_another_site_is_refused(person: Person, name: str, value: str) -> None:
    person.headers[name] = value

    assert person.choose(1, "edema", "positive").status_code == 403
    assert person.commit(1, ALL_ABSENT).status_code == 403
    assert person.checked(1) == {}


def test_token_of_one_reviewer_does_not_serve_another(tmp_path: Path) -> None:
    with visited(make_review(tmp_path, reviewers=["a", "b"])) as visit:
        one, other = visit("a"), visit("b")
        one.headers[CSRF] = other.headers[CSRF]

        assert one.choose(1, "edema", "positive").status_code == 403


def test_change_by_get_is_not_possible(person: Person) -> None:
    for path in ("/study/1/commit", "/study/1/undo", "/study/1/finding/edema", "/logout"):
        assert person.get(path).status_code == 404
    assert person.checked(1) == {}


def test_other_host_names_are_refused(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="http://evil.example")

    assert stranger.get("/").status_code == 400


@pytest.mark.parametrize("host", ["[", "[::1", "127.0.0.1.evil.example", "evil.example:8642", ""])
def test_host_header_that_is_no_name_of_ours_is_refused(visit: Any, host: str) -> None:
    stranger = TestClient(visit.app, base_url="http://127.0.0.1")

    assert stranger.get("/", headers={"host": host}).status_code == 400


def test_malformed_origin_is_another_site(person: Person) -> None:
    person.headers["Origin"] = "http://["

    assert person.choose(1, "edema", "positive").status_code == 403


def test_cookie_goes_over_tls_alone_where_it_came_by_it(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="https://127.0.0.1", follow_redirects=False)
    path = visit.urls["reviewer"].removeprefix("http://127.0.0.1:80")

    assert "secure" in stranger.get(path).headers["set-cookie"].lower()


def test_token_leaves_the_address_at_once(visit: Any) -> None:
    stranger = TestClient(visit.app, base_url="http://127.0.0.1", follow_redirects=False)

    answer = stranger.get(visit.urls["reviewer"])

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_body_that_is_too_long_is_refused(person: Person) -> None:
    assert person.put("/study/1/note", note="x" * 70_000).status_code == 413


def test_reviewer_sees_no_other_list_and_no_summary(tmp_path: Path) -> None:
    with visited(make_review(tmp_path, reviewers=["a", "b"])) as visit:
        one, other, overseer = visit("a"), visit("b"), visit("overview")

        assert not set(one.ids()) & set(other.ids())
        assert one.get("/study/3").status_code == 409  # four studies, two each
        assert one.get("/summary").status_code == 409
        assert overseer.get("/summary").status_code == 200
        assert overseer.get("/study/1").status_code == 409


# what a page may do


def test_every_answer_carries_the_headers(person: Person) -> None:
    for path in ("/study/1", "/studies", "/static/keys.js", "/nowhere"):
        headers = person.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
    assert person.get("/study/1").headers["cache-control"] == "no-store"


def test_scripts_and_styles_are_asked_for_once(person: Person) -> None:
    page = person.get("/study/1").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)

    assert len(addresses) == 8
    for address in addresses:
        answer = person.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert person.get("/static/keys.js").headers["cache-control"] == "no-cache"


def test_pages_hold_no_inline_script_and_load_nothing_from_elsewhere(person: Person) -> None:
    person.commit(1, ALL_ABSENT)
    for path in ("/study/1", "/study/2", "/studies", "/done", "/nowhere"):
        page = person.get(path).text
        assert not re.findall(r"<script(?![^>]*\bsrc=)", page)
        assert not re.findall(r"\son\w+=|javascript:|<style|\sstyle=", page)
        assert not re.findall(r'(?:src|href)="(?!/)', page.replace('href="#content"', ""))
    for path in (FOLDER / "static").glob("*.*"):
        found = set(re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, path


def test_vendored_htmx_is_the_published_file() -> None:
    folder = FOLDER / "static" / "vendor"
    content = (folder / "htmx-4.0.1.min.js").read_bytes()

    digest = base64.b64encode(hashlib.sha384(content).digest()).decode()

    assert f"sha384-{digest}" in (folder / "README.md").read_text()
    assert "Zero-Clause BSD" in (folder / "htmx-LICENSE.txt").read_text()


def test_script_in_a_report_is_shown_not_run(tmp_path: Path) -> None:
    attack = 'Clear <script>alert("x")</script> lungs. "><img src=x onerror=alert(1)>'
    db = make_review(tmp_path, sources(tmp_path, reports={"<b>s1</b>": attack}))
    with visited(db) as visit:
        person = visit()
        person.put("/study/1/note", note='</textarea><script>alert("note")</script>')

        page = person.get("/study/1").text

        assert "&lt;script&gt;alert" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;b&gt;s1&lt;/b&gt;" in page


def test_reviewer_name_cannot_be_markup(tmp_path: Path) -> None:
    db = make_review(tmp_path, reviewers=['<i>"A"</i>'], title="<u>x</u>")
    with visited(db) as visit:
        page = visit('<i>"A"</i>').get("/study/1").text

    assert "<i>" not in page
    assert "<u>" not in page


# reading


def test_start_goes_to_the_first_study_that_is_not_read(person: Person) -> None:
    assert person.home.url.path == "/study/1"

    person.commit(1, ALL_ABSENT)

    assert person.get("/").url.path == "/study/2"


def test_page_shows_the_report_by_section_and_the_reference(person: Person) -> None:
    page = person.get("/study/1").text

    assert re.findall(r"<h2>(\w+)</h2>", page)[:3] == ["INDICATION", "FINDINGS", "IMPRESSION"]
    assert SECRET_WORDS in page
    assert "Reference: report" in page


def test_choice_is_saved_at_once_and_there_when_the_page_comes_back(person: Person) -> None:
    assert "<b>1</b> of 3 answered" in person.choose(1, "edema", "positive").text
    person.choose(1, "pneumonia", "blank")
    person.choose(1, "edema", "uncertain")

    assert person.checked(1) == {"edema": "uncertain", "pneumonia": "blank"}
    assert person.checked(2) == {}


def test_choice_can_be_taken_back(person: Person) -> None:
    person.choose(1, "edema", "positive")
    person.put("/study/1/finding/edema")

    assert person.checked(1) == {}


@pytest.mark.parametrize(("key", "state"), [("edema", "maybe"), ("cancer", "positive")])
def test_unknown_choice_is_refused(person: Person, key: str, state: str) -> None:
    assert person.choose(1, key, state).status_code == 409
    assert person.checked(1) == {}


def test_undo_takes_back_one_action_at_a_time(person: Person) -> None:
    person.choose(1, "edema", "positive")
    person.choose(1, "edema", "negative")
    person.post("/study/1/rest")
    assert person.checked(1) == {
        "edema": "negative", "pneumonia": "blank", "pleural_effusion": "blank",
    }  # fmt: skip

    person.post("/study/1/undo")
    assert person.checked(1) == {"edema": "negative"}
    answer = person.post("/study/1/undo")
    assert person.checked(1) == {"edema": "positive"}
    assert 'data-current="edema"' in answer.text
    person.post("/study/1/undo")
    person.post("/study/1/undo")  # nothing is left

    assert person.checked(1) == {}


def test_undo_works_after_an_undone_action(person: Person) -> None:
    person.choose(1, "edema", "positive")
    person.post("/study/1/undo")
    person.choose(1, "edema", "negative")
    person.post("/study/1/undo")

    assert person.checked(1) == {}


def test_commit_asks_about_findings_without_an_answer(person: Person) -> None:
    answer = person.commit(1, ["positive"])

    assert "2 findings have no answer" in answer.text
    assert person.checked(1) == {"edema": "positive"}  # saved all the same
    assert "Commit, next" in person.get("/study/1").text

    assert person.commit(1, ["positive"], rest="1").headers["hx-redirect"] == "/study/2"
    assert person.checked(1) == {
        "edema": "positive", "pneumonia": "blank", "pleural_effusion": "blank",
    }  # fmt: skip


def test_commit_saves_all_that_the_page_holds(person: Person) -> None:
    """Choices that never reached the server alone, as when it was down."""
    person.commit(1, ["positive", "negative", "uncertain"], note="apex cut off", unsure="1")

    assert list(person.checked(1).values()) == ["positive", "negative", "uncertain"]
    page = person.get("/study/1").text
    assert "apex cut off" in page
    assert re.search(r'id="unsure"[^>]* checked', page)
    assert "unsure · note" in person.get("/studies").text


def test_committed_study_cannot_be_changed_until_it_is_reopened(person: Person) -> None:
    person.commit(1, ALL_ABSENT)

    assert person.choose(1, "edema", "positive").status_code == 409
    assert person.post("/study/1/undo").status_code == 409
    assert person.put("/study/1/note", note="x").status_code == 409
    person.post("/study/1/reopen")
    person.choose(1, "edema", "positive")

    assert person.checked(1)["edema"] == "positive"


def test_commit_goes_on_to_what_is_open_and_then_to_the_end(person: Person) -> None:
    person.commit(2, ALL_ABSENT)
    person.commit(4, ALL_ABSENT, unsure="1")

    assert person.commit(3, ALL_ABSENT).headers["hx-redirect"] == "/study/1"
    assert person.commit(1, ALL_ABSENT).headers["hx-redirect"] == "/done"
    page = person.get("/done").text
    assert "All 4 studies are read" in page
    assert '<a href="/study/4">4</a>' in page


def test_note_is_kept_as_written_within_its_length(person: Person) -> None:
    person.put("/study/1/note", note="  a\nb\0c  ")
    assert ">a\nb c</textarea>" in person.get("/study/1").text

    person.put("/study/1/note", note="é" * 5_000)
    assert f">{'é' * 4_000}</textarea>" in person.get("/study/1").text


def test_two_reviewers_do_not_touch_each_other(tmp_path: Path) -> None:
    with visited(make_review(tmp_path, reviewers=["a", "b"], double=1)) as visit:
        one, other = visit("a"), visit("b")
        one.choose(one.position("s1"), "edema", "positive")
        other.choose(other.position("s1"), "edema", "negative")

        assert one.checked(one.position("s1")) == {"edema": "positive"}
        assert other.checked(other.position("s1")) == {"edema": "negative"}


def test_orders_differ_between_reviewers(tmp_path: Path) -> None:
    db = make_review(tmp_path, sources(tmp_path, studies=12), reviewers=["a", "b"], double=1)
    with visited(db) as visit:
        one, other = visit("a").ids(), visit("b").ids()

    assert sorted(one) == sorted(other)
    assert one != other


# pace


def test_pace_counts_work_and_leaves_breaks_out(tmp_path: Path) -> None:
    clock = Clock()
    with visited(make_review(tmp_path), clock=clock) as visit:
        person = visit()
        person.get("/study/1")
        clock.now += 30
        person.choose(1, "edema", "positive")
        clock.now += 3_600  # lunch counts as two minutes at most
        person.commit(1, ["positive", "blank", "blank"])

        page = person.get("/study/2").text

    assert "2 min a study · about 8 min left" in page
    assert re.search(r'<progress value="1" max="4"', page)


def test_time_away_between_visits_is_not_counted(tmp_path: Path) -> None:
    clock = Clock()
    with visited(make_review(tmp_path), clock=clock) as visit:
        person = visit()
        person.get("/study/1")
        clock.now += 100_000
        person.get("/study/1")
        clock.now += 20
        person.commit(1, ALL_ABSENT)

        assert "20 s a study" in person.get("/study/2").text


# blind


@pytest.fixture
def labeled(tmp_path: Path) -> Sources:
    given = sources(tmp_path, studies=2)
    rows = [{"uid": f"s{n}", "Edema": 1, "Pneumonia": -1, "Pleural Effusion": 0} for n in (1, 2)]
    labels = write_rows(tmp_path / "labels.csv", rows)
    mentions = []
    for n in (1, 2):
        start = report(n).index("pleural effusion")
        row = {"uid": f"s{n}", "finding": "Pleural Effusion", "assertion": "negative"}
        row |= {"reason": "negated", "section": "findings", "sentence": "2", "start": str(start)}
        row |= {"end": str(start + 16), "text": "pleural effusion", "rule": "r", "cue": "No"}
        row |= {"cue_start": str(start - 3), "cue_end": str(start - 1), "laterality": ""}
        mentions.append(row | {"severity": "", "temporality": "", "location": ""})
    return Sources(
        sample=given.sample,
        reports=given.reports,
        labels=labels,
        mentions=write_rows(tmp_path / "mentions.csv", mentions),
        id_column="uid",
    )


@pytest.fixture
def blind(tmp_path: Path, labeled: Sources) -> Iterator[Person]:
    with visited(make_review(tmp_path, labeled)) as visit:
        yield visit()


def _shows_labels(page: str) -> bool:
    return "<mark" in page or "Labeler:" in page or "labeler" in page.lower()


def test_labels_are_hidden_until_a_study_is_committed(blind: Person) -> None:
    blind.choose(1, "edema", "negative")
    assert not _shows_labels(blind.get("/study/1").text)
    assert blind.post("/study/1/reveal").status_code == 409
    assert not _shows_labels(blind.get("/study/1").text)


def test_committing_alone_does_not_show_labels(blind: Person) -> None:
    blind.commit(1, ALL_ABSENT)

    assert not _shows_labels(blind.get("/study/1").text)


def test_labels_shown_after_commit_make_the_reading_final(blind: Person) -> None:
    blind.commit(1, ALL_ABSENT)
    blind.post("/study/1/reveal")

    page = blind.get("/study/1").text
    assert '<mark class="negative" data-findings="pleural_effusion">pleural effusion</mark>' in page
    assert '<mark class=" cue" data-findings="pleural_effusion">No</mark>' in page
    assert re.findall(r"Labeler: (\w+)", page) == ["present", "uncertain"]  # where they differ
    assert blind.post("/study/1/reopen").status_code == 409
    assert blind.choose(1, "edema", "positive").status_code == 409
    assert not _shows_labels(blind.get("/study/2").text)


def test_unblind_shows_labels_from_the_start(tmp_path: Path, labeled: Sources) -> None:
    with visited(make_review(tmp_path, labeled, unblind=True)) as visit:
        page = visit().get("/study/1").text

    assert "<mark" in page
    assert "Unblinded" in page


def test_strata_of_the_sample_are_nowhere(tmp_path: Path) -> None:
    given = sources(tmp_path, studies=1)
    write_rows(given.sample, [{"uid": "s1", "stratum": "edema-pos", "inclusion_probability": 1}])
    db = make_review(tmp_path, given)

    assert b"edema-pos" not in db.read_bytes()


def test_image_review_hides_the_report_and_has_three_choices(
    tmp_path: Path, labeled: Sources
) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    rows = [{"uid": f"s{n}", "path": "x.png", "view": "frontal"} for n in (1, 2)]
    given = Sources(
        sample=labeled.sample,
        reports=labeled.reports,
        labels=labeled.labels,
        images=write_rows(tmp_path / "studies.csv", rows),
        id_column="uid",
    )
    with visited(make_review(tmp_path, given, reference="image")) as visit:
        person = visit()
        page = person.get("/study/1").text
        assert SECRET_WORDS not in page
        assert "Reference: image" in page
        assert 'value="blank"' not in page
        assert person.choose(1, "edema", "blank").status_code == 409

        person.commit(1, ["positive"], rest="1")
        assert person.checked(1)["pneumonia"] == "negative"
        assert SECRET_WORDS not in person.get("/study/1").text
        person.post("/study/1/reveal")
        assert SECRET_WORDS in person.get("/study/1").text


# logs


class _BrokenError(Exception):
    pass


def test_no_log_holds_report_text_notes_or_ids(
    visit: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    person = visit()
    person.put("/study/1/note", note=SECRET_WORDS)
    person.commit(1, ALL_ABSENT)

    def broken(*_: object, **__: object) -> None:
        raise _BrokenError(f"cannot {SECRET_WORDS}")

    monkeypatch.setattr(study_routes, "study_context", broken)
    answer = person.get("/study/1")

    assert answer.status_code == 500
    logged = [r.getMessage() for r in caplog.records if r.name != "httpx2"]  # the test's client
    shown = "\n".join([*logged, answer.text, *capfd.readouterr()])
    assert "GET /study/1: _BrokenError" in logged
    assert SECRET_WORDS not in shown
    assert "Traceback" not in shown
    assert visit.urls["reviewer"].partition("token=")[2] not in shown


def test_findings_are_in_the_order_asked_for(person: Person) -> None:
    page = person.get("/study/1").text

    assert tuple(re.findall(r'data-key="(\w+)"', page)) == KEYS
    assert [page.index(name) for name in FINDINGS] == sorted(page.index(n) for n in FINDINGS)
