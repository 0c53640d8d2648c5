"""Any text: no crash, offsets that slice back, one state per finding, no blow-up of time."""

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlabel.findings import STATES

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

SIZE = 1_000_000  # characters
WORDS = 5_000  # unknown ones; each is compared with the words that it may be a misspelling of
MAX_SECONDS = 10.0  # of CPU time; most take less than one
FRAGMENTS = [
    "no ", "not ", "effusion", "pneumothorax", "edema ", "heart ", "normal ", "is ", "the ", "and ",
    "or ", ", ", ". ", ": ", "; ", "? ", "\n", "\r\n", " - ", "(", ")", "may represent ", "it ",
    "FINDINGS: ", "IMPRESSION\n", "INDICATION: ", "ADDENDUM: ", "XXXX", "[**", "**]", "___", "1. ",
    "vs ", "cannot be excluded", "has resolved", "\u00a0", "\0", "é", "😀", "left ", "opacity ",
]  # fmt: skip


def any_report() -> st.SearchStrategy[str]:
    """Arbitrary characters, and pieces of reports in any order."""
    return st.one_of(st.text(max_size=300), st.lists(st.sampled_from(FRAGMENTS)).map("".join))


def check(labeler: "Labeler", report: str) -> None:
    result = labeler.label(report)

    assert set(result.labels) == set(labeler.findings)
    assert set(result.labels.values()) <= set(STATES)
    for mention in result.mentions:
        assert report[mention.start : mention.end] == mention.text != ""
        if mention.cue_start is None:
            assert mention.cue == ""
        else:
            assert report[mention.cue_start : mention.cue_end] == mention.cue != ""


@settings(max_examples=250)
@given(report=any_report())
def test_any_text_is_labeled_with_offsets_that_slice_back(labeler: "Labeler", report: str) -> None:
    check(labeler, report)


@settings(max_examples=50)
@given(report=any_report())
def test_any_text_gets_the_same_labels_twice(labeler: "Labeler", report: str) -> None:
    assert labeler.label(report) == labeler.label(report)


@settings(max_examples=50)
@given(columns=st.lists(st.tuples(st.sampled_from(["findings", "history", ""]), any_report())))
def test_any_columns_are_labeled(labeler: "Labeler", columns: list[tuple[str, str]]) -> None:
    assert set(labeler.label(columns).labels) == set(labeler.findings)


def distinct_words() -> str:
    """Words that no rule knows, each another."""
    letters = str.maketrans("0123456789", "abcdefghij")
    return " ".join(str(10**8 + 7919 * n).translate(letters) for n in range(WORDS))


SHAPES = {
    "one letter": "x" * SIZE,
    "one word without spaces": "effusion" * (SIZE // 8),
    "one word": "effusion " * (SIZE // 9),
    "stops": "." * SIZE,
    "spaces": " " * SIZE,
    "line breaks": "\n" * SIZE,
    "negations": "no " * (SIZE // 3),
    "list": "effusion, " * (SIZE // 10),
    "alternatives": "mass or nodule or " * (SIZE // 18),
    "subjects": "the heart and lungs and " * (SIZE // 24),
    "statements": "heart normal " * (SIZE // 13),
    "short lines": "a\nb\n" * (SIZE // 4),
    "lower-case lines": "no effusion\nor mass and\n" * (SIZE // 24),
    "headings": "findings: " * (SIZE // 10),
    "headings without an end": "\nimpression (a" * (SIZE // 14),
    "brackets": "[**" * (SIZE // 3),
    "brackets that mark nothing": "(" * SIZE,
    "unknown words": distinct_words(),
    "emoji": "😀" * SIZE,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_report_of_an_odd_shape_is_labeled_in_time(labeler: "Labeler", shape: str) -> None:
    began = time.process_time()
    check(labeler, SHAPES[shape])

    assert time.process_time() - began < MAX_SECONDS
