"""Labels of many studies at once: the same as those of each by itself."""

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np
import pytest
from drawn import ASSERTIONS, mention
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.findings import STATES
from cxrlabel.states import FindingBits, as_codes, fill_parents
from cxrlabel.studies import AGGREGATES, Mention, blank_labels, study_labels

FINDINGS = ("No Finding", "Edema", "Support Devices", "Pneumonia")
OTHERS = ("Edema", "Other Abnormality")
PARENTS = {"Pneumonia": "Consolidation", "Consolidation": "Lung Opacity", "Edema": "Lung Opacity"}
CHILD_AND_PARENT = ("Edema", "Lung Opacity")

NAMED = st.sampled_from([*FINDINGS, "Other Abnormality"])
SPEAKING = st.lists(st.builds(mention, NAMED, st.sampled_from(ASSERTIONS)), max_size=6)
SILENT = st.lists(st.builds(mention, NAMED, st.just("none")), max_size=2)
STUDIES = st.lists(
    st.one_of(st.tuples(SPEAKING, st.just(False)), st.tuples(SILENT, st.just(True))), max_size=5
)


def states(codes: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> list[list[str]]:
    return [[STATES[code] for code in row] for row in codes.tolist()]


def one_study(
    mentions: Sequence[Mention], silent: bool, findings: Sequence[str], aggregate: str
) -> list[str]:
    if silent:
        return list(blank_labels(findings).values())
    return list(study_labels(mentions, findings, aggregate=aggregate).values())


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("findings", [FINDINGS, FINDINGS[1:], FINDINGS[::-1]])
@given(studies=STUDIES, flags=st.integers(0, 255))
def test_studies_have_the_labels_that_each_has_by_itself(
    aggregate: str, findings: tuple[str, ...], studies: list[tuple[list[Mention], bool]], flags: int
) -> None:
    bits = FindingBits(findings, [*OTHERS, "No Finding"])
    said = [
        reduce(or_, (bits.of([m]) for m in mentions), flags << 8 * bits.width)
        for mentions, _ in studies
    ]

    labels = bits.labels(said, np.array([silent for _, silent in studies], bool), aggregate)

    assert labels.shape == (len(studies), len(findings))
    assert states(labels) == [one_study(*study, findings, aggregate) for study in studies]


def test_bits_of_mentions_are_those_of_each_together() -> None:
    bits = FindingBits(FINDINGS, OTHERS)
    mentions = [mention("Edema"), mention("Edema", "negative"), mention("Other Abnormality")]

    assert bits.of(mentions) == reduce(or_, (bits.of([m]) for m in mentions))
    assert len({bits.of([m]) for m in mentions}) == 3
    assert bits.of([mention("Pneumonia", "none")]) == 0


FILLED = {
    ("positive", "uncertain"): "positive",
    ("positive", "negative"): "positive",
    ("positive", "blank"): "positive",
    ("uncertain", "blank"): "uncertain",
}


@pytest.mark.parametrize("parent", STATES)
@pytest.mark.parametrize("child", STATES)
def test_parent_is_filled_from_its_child(child: str, parent: str) -> None:
    labels = as_codes([{"Edema": child, "Lung Opacity": parent}])

    changed = fill_parents(labels, CHILD_AND_PARENT, PARENTS)

    assert states(labels) == [[child, FILLED.get((child, parent), parent)]]
    assert changed == ((child, parent) in FILLED)


def test_grandparent_is_filled_from_the_grandchild() -> None:
    labels = as_codes(
        [{"Pneumonia": "positive", "Consolidation": "blank", "Lung Opacity": "blank"}]
    )

    assert fill_parents(labels, ["Pneumonia", "Consolidation", "Lung Opacity"], PARENTS) == 2
    assert states(labels) == [["positive"] * 3]


@pytest.mark.parametrize("finding", ["Edema", "Lung Opacity"])
def test_parent_or_child_outside_the_label_set_is_not_added(finding: str) -> None:
    labels = as_codes([{finding: "positive"}])

    assert fill_parents(labels, [finding], PARENTS) == 0
    assert states(labels) == [["positive"]]


FAMILY = ("Lung Opacity", "Edema", "Consolidation", "Pneumonia")


@given(st.lists(st.lists(st.sampled_from(STATES), min_size=4, max_size=4), min_size=1, max_size=6))
def test_parents_of_studies_are_filled_as_those_of_each_by_itself(rows: list[list[str]]) -> None:
    labels = as_codes([dict(zip(FAMILY, row, strict=True)) for row in rows])
    alone = [labels[[index]] for index in range(len(rows))]

    changed = fill_parents(labels, FAMILY, PARENTS)

    assert changed == sum(fill_parents(row, FAMILY, PARENTS) for row in alone)
    assert states(labels) == states(np.concatenate(alone))
