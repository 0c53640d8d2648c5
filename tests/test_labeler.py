"""The labeler's interface: reports in, study labels and their evidence out."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from cxrlabel.assertions import SentenceAnalyzer
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, load_findings
from cxrlabel.labeler import MAX_CHARACTERS, Labeler

if TYPE_CHECKING:
    from cxrlabel.studies import Mention, StudyLabels

REPORT = """INDICATION: Rule out pneumonia.

FINDINGS: Small left
pleural effusion. No pneumothorax.

IMPRESSION: Effusion, possibly edema."""


@pytest.fixture(scope="module")
def result(labeler: Labeler) -> "StudyLabels":
    return labeler.label(REPORT)


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sentences that are analysed from now on."""
    sentences: list[str] = []
    analyze = SentenceAnalyzer.__call__

    def spy(self: SentenceAnalyzer, sentence: str):  # type: ignore[no-untyped-def]
        sentences.append(sentence)
        return analyze(self, sentence)

    monkeypatch.setattr(SentenceAnalyzer, "__call__", spy)
    return sentences


def mention(result: "StudyLabels", finding: str) -> "Mention":
    (found,) = [m for m in result.mentions if m.finding == finding]
    return found


def test_labels_hold_one_state_for_each_finding(result: "StudyLabels") -> None:
    assert list(result.labels) == [finding.name for finding in load_findings()]
    assert set(result.labels.values()) <= set(STATES)


def test_labels_are_those_of_the_report(result: "StudyLabels") -> None:
    said = {finding: state for finding, state in result.labels.items() if state != "blank"}

    assert said == {
        "Pleural Effusion": "positive", "Pneumothorax": "negative", "Edema": "uncertain",
    }  # fmt: skip


def test_sections_are_those_found_in_order(result: "StudyLabels") -> None:
    assert result.sections == ("indication", "findings", "impression")


def test_mention_slices_back_to_the_report(result: "StudyLabels") -> None:
    assert [m.text for m in result.mentions] == [REPORT[m.start : m.end] for m in result.mentions]


def test_mention_across_a_line_break_keeps_it(labeler: Labeler) -> None:
    (found,) = labeler.label("There is a small left pleural\neffusion.").mentions

    assert found.text == "pleural\neffusion"


def test_cue_slices_back_to_the_report(result: "StudyLabels") -> None:
    found = mention(result, "Pneumothorax")

    assert REPORT[found.cue_start : found.cue_end] == found.cue == "No"


def test_mention_without_a_cue_has_none(result: "StudyLabels") -> None:
    found = next(m for m in result.mentions if m.finding == "Pleural Effusion")

    assert (found.cue, found.cue_start, found.cue_end) == ("", None, None)


def test_mention_carries_its_place_and_rule(result: "StudyLabels") -> None:
    found = mention(result, "Pneumothorax")

    assert (found.section, found.sentence) == ("findings", 2)
    assert found.rule.startswith("pneumothorax/")


def test_mention_of_an_unlabeled_section_is_kept_without_a_label(result: "StudyLabels") -> None:
    found = mention(result, "Pneumonia")

    assert (found.section, found.assertion, found.reason) == ("indication", "none", "section")
    assert result.labels["Pneumonia"] == "blank"


def test_label_many_gives_one_result_for_each_report_in_order(labeler: Labeler) -> None:
    reports = ["Edema.", "", "No edema."]

    states = [result.labels["Edema"] for result in labeler.label_many(reports)]

    assert states == ["positive", "blank", "negative"]


def test_label_many_is_a_stream(labeler: Labeler) -> None:
    def reports() -> Iterator[str]:
        yield "Edema."
        raise AssertionError("read ahead")

    assert next(labeler.label_many(reports())).labels["Edema"] == "positive"


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ("Edema.", "labeled"),
        ("The patient is rotated.", "labeled"),
        ("", "empty"),
        (" \r\n\t\u00a0", "empty"),
        ("INDICATION: Cough.", "no usable section"),
        ("FINDINGS:", "no usable section"),
        ("...", "no usable section"),
        ("x" * (MAX_CHARACTERS + 1), "too long"),
    ],
    ids=["finding", "no finding", "empty", "blanks", "indication", "heading", "marks", "long"],
)
def test_status_says_what_became_of_the_report(labeler: Labeler, report: str, status: str) -> None:
    assert labeler.label(report).status == status


@pytest.mark.parametrize("report", ["", "INDICATION: Edema.", "x" * (MAX_CHARACTERS + 1)])
def test_report_that_is_not_labeled_is_blank_throughout(labeler: Labeler, report: str) -> None:
    assert set(labeler.label(report).labels.values()) == {"blank"}


def test_report_of_the_largest_size_is_labeled(labeler: Labeler) -> None:
    report = "Edema." + " " * (MAX_CHARACTERS - 6)

    assert labeler.label(report).labels["Edema"] == "positive"


def test_null_byte_does_not_disturb(labeler: Labeler) -> None:
    assert labeler.label("No\0 edema.\0").labels["Edema"] == "negative"


def test_columns_are_sections(labeler: Labeler) -> None:
    columns = [("indication", "Edema?"), ("findings", "No nodule."), ("impression", "Pneumonia.")]

    result = labeler.label(columns)

    assert result.mentions[0].section == "indication"
    assert result.sections == ("indication", "findings", "impression")
    assert [result.labels[f] for f in ("Edema", "Nodule", "Pneumonia")] == [
        "blank", "negative", "positive",
    ]  # fmt: skip


def test_offsets_refer_to_the_column(labeler: Labeler) -> None:
    columns = [("findings", "No nodule is seen."), ("impression", "Left basal pneumonia.")]

    for found in labeler.label(columns).mentions:
        assert dict(columns)[found.section][found.start : found.end] == found.text


def test_columns_count_their_sentences_through(labeler: Labeler) -> None:
    columns = [("findings", "No mass. No nodule."), ("impression", "Pneumonia.")]

    assert mention(labeler.label(columns), "Pneumonia").sentence == 2


def test_column_of_another_name_is_body_text(labeler: Labeler) -> None:
    result = labeler.label([("notes", "Edema.")])

    assert (result.sections, result.labels["Edema"]) == (("report",), "positive")


def test_empty_columns_are_an_empty_report(labeler: Labeler) -> None:
    assert labeler.label([("findings", ""), ("impression", " ")]).status == "empty"


def test_chosen_sections_alone_make_labels() -> None:
    chosen = Labeler.load(sections=["impression"])

    labels = chosen.label("FINDINGS: Edema.\nIMPRESSION: Pneumonia.").labels

    assert (labels["Edema"], labels["Pneumonia"]) == ("blank", "positive")


def test_unknown_section_is_refused() -> None:
    with pytest.raises(InputError, match="impresion"):
        Labeler.load(sections=["impresion"])


def test_aggregate_of_the_public_labeler_changes_the_label(labeler: Labeler) -> None:
    report = "Edema. Possible edema. No edema."
    public = Labeler.load(aggregate="chexpert-code")

    assert labeler.label(report).labels["Edema"] == "positive"
    assert public.label(report).labels["Edema"] == "uncertain"


@pytest.mark.parametrize(
    ("report", "finding", "state_"),
    [
        ("Left basal opacity. It has resolved.", "Lung Opacity", "negative"),
        ("Small effusion on the prior. This is no longer seen.", "Pleural Effusion", "negative"),
        ("Is there a pneumothorax? None is seen.", "Pneumothorax", "negative"),
        ("Is there a pneumothorax? No.", "Pneumothorax", "negative"),
        ("Is there an effusion? Yes.", "Pleural Effusion", "positive"),
        ("Right apical nodule. This is questionable.", "Nodule", "uncertain"),
        ("Opacity at the left base. This is most consistent with atelectasis.", "Atelectasis",
         "positive"),
        ("Opacity at the left base. This may represent pneumonia.", "Lung Opacity", "positive"),
        ("Opacity at the left base. This may represent pneumonia.", "Pneumonia", "uncertain"),
        ("Left effusion. The tube is in place. It has resolved.", "Pleural Effusion", "positive"),
        ("FINDINGS: Left effusion.\nIMPRESSION: It has resolved.", "Pleural Effusion", "positive"),
        ("No nodule. It has resolved.", "Nodule", "negative"),
    ],
)  # fmt: skip
def test_sentence_may_speak_of_the_finding_before(
    state: Callable[[str, str], str], report: str, finding: str, state_: str
) -> None:
    assert state(report, finding) == state_


def test_mention_decided_by_the_next_sentence_shows_its_cue(labeler: Labeler) -> None:
    report = "Left basal opacity. It has resolved."
    found = mention(labeler.label(report), "Lung Opacity")

    assert (found.reason, found.cue) == ("resolved", "has resolved")
    assert report[found.cue_start : found.cue_end] == "has resolved"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("FINDINGS: Left effusion.\nADDENDUM: There is no effusion.", "negative"),
        ("FINDINGS: No effusion.\nADDENDUM: A small effusion is present.", "positive"),
        ("FINDINGS: Left effusion.\nADDENDUM: Heart size is normal.", "positive"),
        ("WET READ: Left effusion.\nFINAL REPORT: No effusion.", "negative"),
        ("PRELIMINARY REPORT: No effusion.\nFINDINGS: Possible effusion.", "uncertain"),
        ("WET READ: Left effusion.", "positive"),
        ("ADDENDUM: No effusion.\nFINDINGS: Left effusion.", "negative"),
        ("FINDINGS: Left effusion.\nIMPRESSION: No effusion.", "positive"),
    ],
)
def test_later_reading_corrects_an_earlier_one(
    state: Callable[[str, str], str], report: str, expected: str
) -> None:
    assert state(report, "Pleural Effusion") == expected


def test_corrected_mention_is_kept_as_evidence(labeler: Labeler) -> None:
    result = labeler.label("FINDINGS: Left effusion.\nADDENDUM: There is no effusion.")

    assert [(m.assertion, m.reason) for m in result.mentions] == [
        ("none", "corrected"),
        ("negative", "negated"),
    ]


@pytest.mark.parametrize(
    ("report", "state_"),
    [
        ("The lungs are clear.", "positive"),
        ("Normal chest.", "positive"),
        ("Left pacemaker. The lungs are clear.", "positive"),
        ("Edema.", "blank"),
        ("Possible edema.", "blank"),
        ("Scoliosis. The lungs are clear.", "blank"),
        ("Calcified granuloma.", "blank"),
        ("No scoliosis.", "positive"),
    ],
)
def test_no_finding_is_positive_or_blank(
    state: Callable[[str, str], str], report: str, state_: str
) -> None:
    assert state(report, "No Finding") == state_


def test_sentence_is_analysed_once(labeler: Labeler, analysed: list[str]) -> None:
    labeler.label("Septal lines of the seventh kind. Septal lines of the seventh kind.")
    labeler.label("FINDINGS: Septal lines of the seventh kind.")

    assert analysed == ["Septal lines of the seventh kind."]


def test_sentence_of_another_section_keeps_its_own_place(labeler: Labeler) -> None:
    first, second = labeler.label("INDICATION: Edema.\nFINDINGS: Edema.").mentions

    assert (first.section, first.assertion) == ("indication", "none")
    assert (second.section, second.assertion) == ("findings", "positive")


def test_full_cache_is_emptied_and_labels_stay(
    labeler: Labeler, analysed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlabel.labeler._CACHED_SENTENCES", 1)

    states = [labeler.label("Edema of the eighth kind.").labels["Edema"] for _ in range(2)]
    labeler.label("Another sentence of the eighth kind.")
    labeler.label("Edema of the eighth kind.")

    assert states == ["positive", "positive"]
    assert analysed.count("Edema of the eighth kind.") == 2


def test_cache_is_bounded_by_characters_as_well(
    labeler: Labeler, analysed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labeler.label("Edema of the ninth kind.")
    monkeypatch.setattr("cxrlabel.labeler._CACHED_CHARACTERS", 1)

    labeler.label("Another sentence of the ninth kind.")
    labeler.label("Edema of the ninth kind.")

    assert analysed.count("Edema of the ninth kind.") == 2


def test_full_cache_forgets_the_words_too(
    labeler: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeler.label("Zyzzogeton of the tenth kind.")
    before = "Zyzzogeton" in labeler._analyze.nlp.vocab.strings
    monkeypatch.setattr("cxrlabel.labeler._CACHED_SENTENCES", 1)

    labeler.label("Another sentence of the tenth kind.")

    assert (before, "Zyzzogeton" in labeler._analyze.nlp.vocab.strings) == (True, False)
