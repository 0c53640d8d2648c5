"""Changes of a report that say nothing new leave its labels as they are.

`EXCEPTIONS` lists every report of the sample that a change still moves, with the reason; a report
that is not listed fails, and so does one that is listed and no longer moves.
"""

import re
import textwrap
from collections.abc import Callable
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

MARK = re.compile(r"\[\*\*.*?\*\*\]|\bX{3,}\b|_{2,}")
HEADING = re.compile(r"[A-Z][A-Za-z/ ]+:|\d\.\s|[-*]\s")
INDICATION = "INDICATION: Cough and fever, evaluate for pneumonia or pneumothorax."
MAX_SHARE_MOVED = 0.01


def unwrapped(report: str) -> list[str]:
    """The lines of a report as they were before it was wrapped."""
    lines: list[str] = []
    for line in report.split("\n"):
        goes_on = bool(lines and lines[-1] and line.strip()) and (
            line.startswith(" ")
            or (len(lines[-1]) > 40 and lines[-1][-1] not in ".:!?" and not HEADING.match(line))
        )
        if goes_on:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def wrapped(width: int) -> Callable[[str], str]:
    def wrap(line: str) -> str:
        return "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False))

    return lambda report: "\n".join(map(wrap, unwrapped(report)))


def remarked(mark: str) -> Callable[[str], str]:
    return lambda report: MARK.sub(mark, report)


def with_indication_before(report: str) -> str:
    heading = "" if re.match(r"[A-Z][A-Za-z/ ]+:", report) else "FINDINGS: "
    return f"{INDICATION}\n{heading}{report}"


CHANGES: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "wrapped at 40": wrapped(40),
    "wrapped at 60": wrapped(60),
    "wrapped at 80": wrapped(80),
    "wrapped at 120": wrapped(120),
    "unwrapped": lambda report: "\n".join(unwrapped(report)),
    "doubled spaces": lambda report: report.replace(" ", "  "),
    "non-breaking spaces": lambda report: report.replace(" ", "\u00a0"),
    "CRLF": lambda report: report.replace("\n", "\r\n"),
    "mark XXXX": remarked("XXXX"),
    "mark ___": remarked("___"),
    "mark [**…**]": remarked("[**Known lastname 12**]"),
    "mark <NAME>": remarked("<NAME>"),
    "no final stop": lambda report: report.rstrip().rstrip("."),
    "blanks around": lambda report: f"\n \n{report} \n\n",
    "indication before": with_indication_before,
    "indication before a paragraph": lambda report: f"{INDICATION}\n\n{report}",
    "indication behind": lambda report: f"{report}\n{INDICATION}",
}

# change -> study -> reason
EXCEPTIONS: dict[str, dict[str, str]] = {}


def labels(labeler: "Labeler", report: str) -> dict[str, str]:
    return dict(labeler.label(report).labels)


@pytest.mark.parametrize("change", CHANGES)
def test_change_that_says_nothing_new_moves_no_label(
    labeler: "Labeler", sample_reports: dict[str, str], change: str
) -> None:
    moved = {
        study
        for study, report in sample_reports.items()
        if labels(labeler, CHANGES[change](report)) != labels(labeler, report)
    }

    assert moved == set(EXCEPTIONS.get(change, {}))


@pytest.mark.parametrize("change", CHANGES)
def test_known_exceptions_are_few(change: str, sample_reports: dict[str, str]) -> None:
    assert len(EXCEPTIONS.get(change, {})) <= MAX_SHARE_MOVED * len(sample_reports)


FINDINGS = ("effusion", "pneumothorax", "focal consolidation")
LISTS = {
    "No {}, {}, or {}.": "negative",
    "No {}, {} or {} is seen.": "negative",
    "There is no evidence of {}, {}, or {}.": "negative",
    "{}, {} and {} are not seen.": "negative",
    "Without {}, {} and {}.": "negative",
    "There are {}, {} and {}.": "positive",
    "Possible {}, {} and {}.": "uncertain",
    "History of {}, {} and {}.": "blank",
    "Evaluate for {}, {}, or {}.": "blank",
}


@pytest.mark.parametrize("items", list(permutations(FINDINGS)), ids=", ".join)
@pytest.mark.parametrize(("sentence", "state"), list(LISTS.items()))
def test_order_of_a_list_moves_no_label(
    labeler: "Labeler", sentence: str, state: str, items: tuple[str, ...]
) -> None:
    found = labels(labeler, sentence.format(*items))

    assert [found[f] for f in ("Pleural Effusion", "Pneumothorax", "Consolidation")] == [state] * 3


@settings(max_examples=40)
@given(data=st.data())
def test_order_of_independent_sentences_moves_no_label(
    labeler: "Labeler", data: st.DataObject
) -> None:
    sentences = [
        "No pneumothorax.", "Small left effusion.", "Heart size is normal.", "Possible edema.",
        "A pacemaker is present.", "The ribs are intact.", "Nodule in the right apex.",
    ]  # fmt: skip
    shuffled = data.draw(st.permutations(sentences))

    assert labels(labeler, " ".join(shuffled)) == labels(labeler, " ".join(sentences))
