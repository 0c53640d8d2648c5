"""Every example of every rule file is a test, as `cxr rules check` runs them."""

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cxrlabel.rulebook import Example, load_rulebook

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

RULEBOOK = load_rulebook()
EXAMPLES = list(RULEBOOK.examples())
MIN_EXAMPLES = 8


def place(example: Example) -> str:
    return example.place.rpartition("/")[2]


@pytest.mark.parametrize("example", EXAMPLES, ids=place)
def test_example_gets_the_label_that_it_expects(labeler: "Labeler", example: Example) -> None:
    assert labeler.label(example.text).labels[example.finding] == example.expect, example.text


@pytest.mark.parametrize("finding", RULEBOOK.findings)
def test_finding_has_enough_examples(finding: str) -> None:
    assert Counter(e.finding for e in EXAMPLES)[finding] >= MIN_EXAMPLES


@pytest.mark.parametrize("finding", [name for name in RULEBOOK.findings if name != "No Finding"])
def test_finding_has_examples_of_more_than_one_state(finding: str) -> None:
    states = {e.expect for e in EXAMPLES if e.finding == finding}

    assert {"positive", "negative", "uncertain"} <= states


def test_no_example_stands_twice() -> None:
    counts = Counter((e.finding, e.text) for e in EXAMPLES)

    assert [key for key, count in counts.items() if count > 1] == []
