"""The bundled sample: its labels are known, so that a loss of accuracy fails here."""

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cxrlabel.findings import CODES, load_findings

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

SAID = ("positive", "uncertain", "negative")
STATE_OF = {code: state for state, code in CODES.items()}

Pairs = Counter[tuple[str, str]]  # (expected state, our state) -> count of cells


@pytest.fixture(scope="module")
def pairs(
    labeler: "Labeler",
    sample_reports: dict[str, str],
    sample_expected: dict[str, dict[str, str]],
) -> Pairs:
    """All cells of the sample."""
    ours = {study: labeler.label(report).labels for study, report in sample_reports.items()}
    return Counter(
        (STATE_OF[code], ours[study][finding])
        for study, row in sample_expected.items()
        for finding, code in row.items()
    )


def f1(pairs: Pairs, state: str) -> float:
    both = pairs[state, state]
    expected = sum(count for (truth, _), count in pairs.items() if truth == state)
    found = sum(count for (_, ours), count in pairs.items() if ours == state)
    return 2 * both / (expected + found)


def test_sample_is_large_enough(sample_reports: dict[str, str]) -> None:
    assert len(sample_reports) >= 150


def test_every_report_of_the_sample_is_unlike_the_others(sample_reports: dict[str, str]) -> None:
    assert len(set(sample_reports.values())) == len(sample_reports)


def test_every_report_has_its_expected_labels(
    sample_reports: dict[str, str], sample_expected: dict[str, dict[str, str]]
) -> None:
    assert list(sample_expected) == list(sample_reports)


def test_expected_labels_are_those_of_all_findings(
    sample_expected: dict[str, dict[str, str]],
) -> None:
    columns = {tuple(row) for row in sample_expected.values()}

    assert columns == {tuple(finding.name for finding in load_findings())}


def test_every_report_is_labeled(labeler: "Labeler", sample_reports: dict[str, str]) -> None:
    statuses = {labeler.label(report).status for report in sample_reports.values()}

    assert statuses == {"labeled"}


def test_labels_agree_with_the_expected(pairs: Pairs) -> None:
    weights = {state: sum(n for (truth, _), n in pairs.items() if truth == state) for state in SAID}
    weighted = sum(weights[state] * f1(pairs, state) for state in SAID) / sum(weights.values())

    assert weighted >= 0.95


@pytest.mark.parametrize("state", SAID)
def test_each_state_agrees_with_the_expected(pairs: Pairs, state: str) -> None:
    assert f1(pairs, state) >= 0.9


def test_mentions_of_the_sample_slice_back(
    labeler: "Labeler", sample_reports: dict[str, str]
) -> None:
    wrong = [
        mention
        for report in sample_reports.values()
        for mention in labeler.label(report).mentions
        if report[mention.start : mention.end] != mention.text
    ]

    assert wrong == []
