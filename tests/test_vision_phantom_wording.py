"""Every sentence that a phantom's report may hold is labeled as the list says that it stands in."""

from collections.abc import Callable, Iterator
from string import Formatter

import pytest

from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.looks import GRADES, ZONES
from cxrvision.phantom.wording import PLACES, load_wording

WORDS = load_wording()
FIELDS = {"side", "where", "size", "cm", "change"}
SECTION_FIELDS = {"age", "person", "complaint", "Complaint", "date", "position"}
# Findings that are never drawn, so that no truth says anything of them.
UNDRAWN = {
    "Enlarged Cardiomediastinum", "Fracture", "No Finding", "Pleural Other", "Pleural Thickening",
    "Pneumonia",
}  # fmt: skip
PARENT = {"Nodule": {"Lung Lesion"}, "Mass": {"Lung Lesion"}}


def fields(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}


def sentences() -> Iterator[tuple[str, str, str, set[str]]]:
    """(finding, expected state, text, findings that may be named besides)."""
    for name, words in WORDS.findings.items():
        for state, texts, also in (
            ("positive", words.stated + words.short_stated, set()),
            ("uncertain", words.hedged + words.short_hedged, set()),
            ("negative", words.denied + words.resolved, set()),
            ("positive", words.opacity_stated, {"Lung Opacity"}),
            ("uncertain", words.opacity_hedged, {"Lung Opacity"}),
        ):
            for text in texts:
                yield name, state, text, also | PARENT.get(name, set())
        for named in words.names:
            for frame in WORDS.lists:
                yield name, "negative", frame.format(names=named), PARENT.get(name, set())
    for texts in WORDS.devices.values():
        for text in texts:
            yield "Support Devices", "positive", text, set()


def filled(name: str, text: str) -> Iterator[str]:
    """The text with every size, every place and every change that it may get, one at a time."""
    wanted = fields(text)
    usual = {"side": "left", "where": "in the left mid lung", "cm": "2.4", "change": ""}
    usual["size"] = WORDS.findings[name].sizes[0]
    others = {
        "size": WORDS.findings[name].sizes,
        "where": [zone.format(side="right") for zone in WORDS.zones.values()],
        "change": [change for texts in WORDS.changes.values() for change in texts],
    }
    yield text.format(**usual)
    for field in wanted & set(others):
        for value in others[field]:
            yield text.format(**{**usual, field: value})


@pytest.mark.parametrize(("name", "expected", "text", "also"), list(sentences()))
def test_sentence_gives_its_finding_the_state_of_its_list_and_names_no_other(
    name: str, expected: str, text: str, also: set[str], labeler
) -> None:
    for line in filled(name, text):
        labels = labeler.label(f"{line[0].upper()}{line[1:]}.").labels
        named = {finding for finding, state in labels.items() if state != "blank"}
        assert labels[name] == expected, line
        assert named <= {name} | also | UNDRAWN, line


@pytest.mark.parametrize("remark", WORDS.normal, ids=lambda remark: remark.texts[0])
def test_normal_sentence_denies_what_it_says(remark, state: Callable[[str, str], str]) -> None:
    for text in remark.texts:
        found = {name: state(f"{text.capitalize()}.", name) for name in DRAWN}
        assert {name for name, value in found.items() if value == "negative"} == set(remark.denies)
        assert set(found.values()) <= {"negative", "blank"}


@pytest.mark.parametrize("remark", WORDS.incidental, ids=lambda remark: remark.place)
def test_incidental_sentence_blocks_no_finding_and_names_nothing_drawn(
    remark, state: Callable[[str, str], str]
) -> None:
    for text in remark.texts:
        line = text.format(side="left", where="in the left lower lung").capitalize()
        assert state(line, "No Finding") == "blank"
        assert {state(line, name) for name in DRAWN} == {"blank"}


def test_impression_without_findings_and_advice_name_nothing_drawn(
    state: Callable[[str, str], str],
) -> None:
    for texts in WORDS.impression.values():
        for text in texts:
            assert {state(text, name) for name in DRAWN} == {"blank"}


def test_every_finding_that_is_drawn_has_words() -> None:
    assert set(WORDS.findings) == set(DRAWN)
    for words in WORDS.findings.values():
        assert words.place in PLACES and len(words.sizes) == GRADES
    assert set(WORDS.zones) == set(ZONES)


def test_placeholders_are_known() -> None:
    for _, _, text, _ in sentences():
        assert fields(text) <= FIELDS, text
    for texts in WORDS.sections.values():
        for text in texts:
            assert fields(text) <= SECTION_FIELDS, text
