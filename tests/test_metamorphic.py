"""Changes of a report that say nothing new leave its labels as they are.

The reports are those of the bundled sample, the examples of the rules and, where they are at hand,
1,931 real ones of Open-i (`CXR_DATA`, or `../shared/data` from the project's root). `EXCEPTIONS`
and `EXCEPTIONS_OF_REAL` list every report that a change still moves, with the reason; a report that
is not listed fails, and so does one that is listed and no longer moves. Of real reports only ids
may be seen, here and in what a failure prints.
"""

import csv
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler
    from cxrlabel.rulebook import Rulebook

MARK = re.compile(r"\[\*\*.*?\*\*\]|\bX{3,}\b|_{2,}")
HEADING = re.compile(r"[A-Z][A-Za-z/ ]+:|\d\.\s|[-*]\s")
INDICATION = "INDICATION: Cough and fever, evaluate for pneumonia or pneumothorax."
MAX_SHARE_MOVED = 0.002

DATA = os.environ.get("CXR_DATA") or Path(__file__).parents[2] / "shared" / "data"
REAL_REPORTS = Path(DATA) / "openi" / "reports.csv"

# the items of a list, as far as they can be moved without a change of sense
FINDING = r"""(?:(?:
    acute|airspace|air\ space|alveolar|bony|definite|displaced|focal|interstitial|large|lobar|lung|
    osseous|pericardial|pleural|pulmonary|rib|small|suspicious|vascular
)\ )*(?:
    airspace\ disease|air\ space\ disease|atelectasis|cardiomegaly|congestion|consolidations?|edema|
    effusions?|fractures?|free\ air|infiltrates?|lymphadenopathy|mass(?:es)?|nodules?|
    opacit(?:y|ies)|pneumonia|pneumothora(?:x|ces)
)"""
SUBJECT = r"""(?:(?:
    the|bony|cardiac|cardiomediastinal|hilar|mediastinal|osseous|pulmonary|soft
)\ )*(?:
    aorta|contours?|heart|heart\ size|hila|lungs|mediastinum|pleural\ spaces|silhouettes?|spine|
    structures|tissues|trachea|vascularity|vasculature
)"""
SEPARATOR = r"(?:,\ (?:and|or|nor)\ |,\ |\ (?:and|or|nor|and/or)\ )"
AFTER = (
    r"(?=\ ?(?:[.;\n]|\Z)|\ (?:is|are|was|were|appears?|remains?|seen|noted|identified|present)\b)"
)
BEFORE_FINDING = r"(?:\A|(?<=[,:.]\ )|(?<=\bno\ )|(?<=\bof\ )|(?<=\bfor\ )|(?<=\bany\ ))"
BEFORE_SUBJECT = r"(?:\A|(?<=[:.]\ ))"
LISTS_IN_TEXT = [
    re.compile(f"{before}{item}(?:{SEPARATOR}{item})+{AFTER}", re.IGNORECASE | re.VERBOSE)
    for before, item in ((BEFORE_FINDING, FINDING), (BEFORE_SUBJECT, SUBJECT))
]


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


def reordered(order: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """The items of each list in another order; what stands between them stays."""

    def reorder(match: re.Match[str]) -> str:
        parts = re.split(f"({SEPARATOR})", match.group(), flags=re.IGNORECASE | re.VERBOSE)
        first, *others = parts[::2]
        titled = first[0].isupper() and not first.isupper()
        items = order([first[0].lower() + first[1:] if titled else first, *others])
        if titled:
            items[0] = items[0][0].upper() + items[0][1:]
        parts[::2] = items
        return "".join(parts)

    def change(report: str) -> str:
        text = "\n".join(unwrapped(report))
        for pattern in LISTS_IN_TEXT:
            text = pattern.sub(reorder, text)
        return text

    return change


def one_of(changes: Iterable[Callable[[str], str]]) -> Callable[[str], str]:
    """One of these for each report, chosen by its length."""
    some = list(changes)
    return lambda report: some[len(report) % len(some)](report)


WRAPPED = {f"wrapped at {width}": wrapped(width) for width in (40, 60, 80, 120)}
REMARKED = {
    f"mark {mark}": remarked(mark)
    for mark in ("XXXX", "___", "[**Known lastname 12**]", "<NAME>", "[REDACTED]")
}
OTHERS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "unwrapped": lambda report: "\n".join(unwrapped(report)),
    "doubled spaces": lambda report: report.replace(" ", "  "),
    "non-breaking spaces": lambda report: report.replace(" ", "\u00a0"),
    "CRLF": lambda report: report.replace("\n", "\r\n"),
    "no final stop": lambda report: report.rstrip().rstrip("."),
    "blanks around": lambda report: f"\n \n{report} \n\n",
    "indication before": with_indication_before,
    "indication before a paragraph": lambda report: f"{INDICATION}\n\n{report}",
    "indication behind": lambda report: f"{report}\n{INDICATION}",
    "lists turned round": reordered(lambda items: items[::-1]),
    "lists rotated": reordered(lambda items: items[1:] + items[:1]),
}
CHANGES = OTHERS | WRAPPED | REMARKED
# each of the many real reports gets one width and one mark, to save time
CHANGES_OF_REAL = OTHERS | {
    "wrapped": one_of(map(wrapped, range(40, 121, 8))),
    "another mark": one_of(REMARKED.values()),
}

# change -> study -> reason
EXCEPTIONS: dict[str, dict[str, str]] = {}
EXCEPTIONS_OF_REAL: dict[str, dict[str, str]] = {}


class Reports(dict[str, str]):
    """Reports by id, shown as their count: no patient's words get into a log of tests."""

    def __repr__(self) -> str:
        return f"<{len(self)} reports>"


Labels = Mapping[str, Mapping[str, str]]  # study -> finding -> state


@pytest.fixture(scope="module")
def invented_reports(sample_reports: dict[str, str], rulebook: "Rulebook") -> Reports:
    """The sample, and the examples of the rules by their place."""
    return Reports(sample_reports | {e.place: e.text for e in rulebook.examples()})


@pytest.fixture(scope="module")
def real_rows() -> list[Reports]:
    """Each real report with findings or an impression as section -> text, its id included."""
    if not REAL_REPORTS.is_file():
        pytest.skip(f"no real reports at {REAL_REPORTS}")
    with REAL_REPORTS.open(encoding="utf-8", newline="") as file:
        rows = map(Reports, csv.DictReader(file))
        return [row for row in rows if row["findings"].strip() or row["impression"].strip()]


@pytest.fixture(scope="module")
def real_reports(real_rows: list[Reports]) -> Reports:
    """Findings and impression of the real reports, by id."""
    return composed(real_rows, "findings", "impression")


@pytest.fixture(scope="module")
def invented_labels(labeler: "Labeler", invented_reports: Reports) -> Labels:
    return {study: labels(labeler, report) for study, report in invented_reports.items()}


@pytest.fixture(scope="module")
def real_labels(labeler: "Labeler", real_reports: Reports) -> Labels:
    with unseen():
        return {study: labels(labeler, report) for study, report in real_reports.items()}


def composed(rows: Iterable[Mapping[str, str]], *sections: str) -> Reports:
    """Some sections of each report as one text, by id."""
    return Reports({
        row["uid"]: "\n".join(
            f"{name.upper()}: {row[name].strip()}" for name in sections if row[name].strip()
        )
        for row in rows
    })  # fmt: skip


def labels(labeler: "Labeler", report: str) -> dict[str, str]:
    return dict(labeler.label(report).labels)


def moved(labeler: "Labeler", before: Labels, after: Reports) -> set[str]:
    """The ids of the reports whose labels a change moves."""
    return {study for study, report in after.items() if labels(labeler, report) != before[study]}


def changed(reports: Reports, change: Callable[[str], str]) -> Reports:
    return Reports({study: change(report) for study, report in reports.items()})


@contextmanager
def unseen() -> Iterator[None]:
    """Tell an error without its traceback, which would show report text."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        message = f"{type(error).__name__} while labeling real reports"
        raise pytest.fail.Exception(message, pytrace=False) from None


@pytest.mark.parametrize("name", CHANGES)
def test_change_that_says_nothing_new_moves_no_label(
    labeler: "Labeler", invented_reports: Reports, invented_labels: Labels, name: str
) -> None:
    ids = moved(labeler, invented_labels, changed(invented_reports, CHANGES[name]))

    assert ids == set(EXCEPTIONS.get(name, {}))


@pytest.mark.parametrize("name", CHANGES_OF_REAL)
def test_change_that_says_nothing_new_moves_no_label_of_real_reports(
    labeler: "Labeler", real_reports: Reports, real_labels: Labels, name: str
) -> None:
    with unseen():
        ids = moved(labeler, real_labels, changed(real_reports, CHANGES_OF_REAL[name]))

    assert ids == set(EXCEPTIONS_OF_REAL.get(name, {}))


def test_indication_of_its_own_moves_no_label_of_real_reports(
    labeler: "Labeler", real_rows: list[Reports], real_labels: Labels
) -> None:
    with unseen():
        whole = composed(real_rows, "indication", "comparison", "findings", "impression")
        ids = moved(labeler, real_labels, whole)

    assert ids == set()


def test_failure_shows_no_report_text() -> None:
    with pytest.raises(pytest.fail.Exception) as caught, unseen():
        raise KeyError("No effusion.")

    assert str(caught.value) == "KeyError while labeling real reports"
    assert repr(Reports({"1": "No effusion."})) == "<1 reports>"


def test_known_exceptions_are_few(invented_reports: Reports) -> None:
    for listed in EXCEPTIONS.values():
        assert len(listed) <= MAX_SHARE_MOVED * len(invented_reports)


def test_known_exceptions_of_real_reports_are_few(real_reports: Reports) -> None:
    for listed in EXCEPTIONS_OF_REAL.values():
        assert len(listed) <= MAX_SHARE_MOVED * len(real_reports)


def with_reordered_lists(reports: Reports) -> int:
    one_line = changed(reports, CHANGES["unwrapped"])
    turned = changed(reports, CHANGES["lists turned round"])
    return sum(one_line[study] != turned[study] for study in reports)


def test_invented_reports_have_lists_to_reorder(invented_reports: Reports) -> None:
    assert with_reordered_lists(invented_reports) >= 40


def test_real_reports_have_lists_to_reorder(real_reports: Reports) -> None:
    with unseen():
        count = with_reordered_lists(real_reports)

    assert count >= 1000


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
