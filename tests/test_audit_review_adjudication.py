"""Two readings that differ: who decides, what they see, and what comes out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from review_site import KEYS, Clock, Person, make_review, sources, visited

SAME = ("negative", "blank", "blank")
ONE = ("positive", "blank", "uncertain")
OTHER = ("positive", "blank", "negative")


class Team:
    """Two readers of the same two studies, and a judge."""

    def __init__(self, visit: Any, clock: Clock) -> None:
        self.visit, self.clock = visit, clock
        self.ann, self.bob, self.judge = (visit(name) for name in ("Ann", "Bob", "Judge"))

    def read(self, person: Person, study: str, states: tuple[str, ...], **data: str) -> Any:
        return person.commit(person.position(study), states, **data)

    def differ(self, study: str = "s1") -> None:
        self.read(self.ann, study, ONE, note="Costophrenic angle?")
        self.read(self.bob, study, OTHER)

    def number(self) -> int:
        """The study that the judge is led to."""
        return int(self.judge.get("/adjudicate").url.path.rpartition("/")[2])

    def decide(self, number: int, key: str, state: str) -> Any:
        return self.judge.put(f"/adjudicate/{number}/finding/{key}", **{f"f-{key}": state})


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    clock = Clock()
    db = make_review(
        tmp_path,
        sources(tmp_path, studies=2),
        reviewers=["Ann", "Bob"],
        adjudicators=["Judge"],
        double=1,
    )
    with visited(db, clock=clock) as visit:
        yield Team(visit, clock)


def test_nothing_waits_until_both_readings_are_committed(team: Team) -> None:
    team.read(team.ann, "s1", ONE)
    assert "No study waits for you" in team.judge.get("/adjudicate").text

    team.read(team.bob, "s1", OTHER)
    assert team.judge.get("/adjudicate").url.path.startswith("/adjudicate/")


def test_readings_that_agree_do_not_come_up(team: Team) -> None:
    team.read(team.ann, "s1", SAME)
    team.read(team.bob, "s1", SAME)

    assert "No study waits for you" in team.judge.get("/adjudicate").text


def test_page_shows_both_readings_without_names(team: Team) -> None:
    team.differ()

    page = team.judge.get("/adjudicate").text

    assert "Ann" not in page
    assert "Bob" not in page
    assert re.findall(r'data-key="(\w+)"', page) == ["pleural_effusion"]
    shown = dict(re.findall(r"<b>([AB])</b> (\w+)</small>", page))
    assert sorted(shown.values()) == ["absent", "uncertain"]
    assert "Costophrenic angle?" in page
    assert "2 findings are read alike" in page


def test_letters_do_not_follow_the_reviewers(tmp_path: Path) -> None:
    """Over many studies either reader is A about as often."""
    db = make_review(
        tmp_path,
        sources(tmp_path, studies=24),
        reviewers=["Ann", "Bob"],
        adjudicators=["Judge"],
        double=1,
    )
    with visited(db) as visit:
        ann, bob, judge = visit("Ann"), visit("Bob"), visit("Judge")
        for position in range(1, 25):
            ann.commit(position, ONE)
            bob.commit(position, OTHER)
        first = []
        for number in range(1, 25):
            page = judge.get(f"/adjudicate/{number}").text
            first.append(re.search(r"<b>A</b> (\w+)</small>", page).group(1))  # type: ignore[union-attr]

    assert 4 <= first.count("uncertain") <= 20


def test_decision_is_saved_and_committed(team: Team) -> None:
    team.differ()
    number = team.number()
    path = f"/adjudicate/{number}"

    assert team.judge.post(f"{path}/commit").status_code == 409  # nothing is decided
    assert "<b>1</b> of 1 answered" in team.decide(number, "pleural_effusion", "negative").text
    team.judge.put(f"{path}/note", note="Clear on the lateral.")
    page = team.judge.get(path).text
    assert re.search(r'id="f-pleural_effusion-negative"[^>]* checked', page)
    assert team.judge.post(f"{path}/commit").headers["hx-redirect"] == "/adjudicate"

    assert "Decided by you" in team.judge.get("/adjudicate").text
    assert team.decide(number, "pleural_effusion", "positive").status_code == 409
    team.judge.post(f"{path}/reopen")
    assert team.decide(number, "pleural_effusion", "positive").status_code == 200


def test_reading_is_final_once_somebody_adjudicates_it(team: Team) -> None:
    team.differ()
    ann_path = f"/study/{team.ann.position('s1')}"
    team.decide(team.number(), "pleural_effusion", "negative")

    answer = team.ann.post(f"{ann_path}/reopen")

    assert answer.status_code == 409
    assert "being adjudicated" in answer.text


def test_readers_do_not_adjudicate(team: Team) -> None:
    team.differ()

    number = team.number()

    for person in (team.ann, team.visit("overview")):
        assert person.get(f"/adjudicate/{number}").status_code == 409
        answer = person.put(f"/adjudicate/{number}/finding/edema", **{"f-edema": "positive"})
        assert answer.status_code == 409


def test_adjudicator_sees_no_study_that_is_not_in_dispute(team: Team) -> None:
    team.differ("s1")
    number = team.number()

    assert team.judge.get(f"/adjudicate/{3 - number}").status_code == 409


def test_without_adjudicators_a_reviewer_who_did_not_read_a_study_decides(tmp_path: Path) -> None:
    names = ["Ann", "Bob", "Cid"]
    db = make_review(tmp_path, sources(tmp_path, studies=3), reviewers=names, double=1)
    with visited(db) as visit:
        people = {name: visit(name) for name in names}
        for name, person in people.items():
            for position in range(1, 3):
                person.commit(position, ONE if name == "Ann" else OTHER)
        waiting = {
            name: re.search(r'class="count"[^>]*>(\d+)', person.get("/studies").text)
            for name, person in people.items()
        }

    # each pair shares a study; Bob and Cid agree on theirs
    assert waiting["Ann"] is None
    assert [waiting[name].group(1) for name in ("Bob", "Cid")] == ["1", "1"]  # type: ignore[union-attr]


def test_two_reviewers_alone_adjudicate_together(tmp_path: Path) -> None:
    db = make_review(tmp_path, sources(tmp_path, studies=1), reviewers=["Ann", "Bob"], double=1)
    with visited(db) as visit:
        ann, bob = visit("Ann"), visit("Bob")
        ann.commit(1, ONE)
        bob.commit(1, OTHER)

        assert ann.get("/adjudicate").url.path == "/adjudicate/1"
        assert bob.get("/adjudicate").url.path == "/adjudicate/1"


def test_study_that_somebody_decides_is_left_to_them_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    db = make_review(
        tmp_path,
        sources(tmp_path, studies=1),
        reviewers=["Ann", "Bob"],
        adjudicators=["J1", "J2"],
        double=1,
    )
    with visited(db, clock=clock) as visit:
        visit("Ann").commit(1, ONE)
        visit("Bob").commit(1, OTHER)
        one, other = visit("J1"), visit("J2")
        choice = {"f-pleural_effusion": "negative"}
        path = "/adjudicate/1/finding/pleural_effusion"
        assert one.put(path, **choice).status_code == 200

        assert other.put(path, **choice).status_code == 409
        assert "No study waits" in other.get("/adjudicate").text
        clock.now += 3_600
        assert other.put(path, **choice).status_code == 200


def test_summary_counts_progress_and_agreement(team: Team) -> None:
    team.differ("s1")
    team.read(team.ann, "s2", SAME)
    team.read(team.bob, "s2", SAME)
    team.decide(team.number(), "pleural_effusion", "negative")
    overseer = team.visit("overview")

    page = overseer.get("/summary").text

    numbers = re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", page)
    assert dict(numbers) == {
        "Studies": "2",
        "Finished": "2",
        "Read twice, planned": "2",
        "In dispute": "1",
        "Adjudicated": "0",
    }
    agreement = re.findall(r"<td>(\d)</td><td>(\d)</td><td>(\d+) %</td>", page)
    assert agreement == [("2", "2", "100"), ("2", "2", "100"), ("1", "2", "50")]
    assert len(agreement) == len(KEYS)
    table = overseer.get("/summary/manual.csv")
    assert table.text.splitlines()[0] == "uid,reviewer,reference,Edema,Pneumonia,Pleural Effusion"
    assert len(table.text.splitlines()) == 5
