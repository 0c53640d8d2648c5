from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.sections import BODY, MAX_SENTENCE, SectionSplitter, SentenceSplitter

if TYPE_CHECKING:
    from cxrlabel.rulebook import Rulebook


@pytest.fixture(scope="module")
def split_sections(rulebook: "Rulebook") -> SectionSplitter:
    return SectionSplitter(rulebook.sections)


@pytest.fixture(scope="module")
def split_sentences(rulebook: "Rulebook") -> SentenceSplitter:
    return SentenceSplitter(rulebook.text)


def sections(split: SectionSplitter, report: str) -> list[tuple[str, str]]:
    return [(part.section.name, report[part.start : part.end].strip()) for part in split(report)]


def sentences(split: SentenceSplitter, text: str) -> list[str]:
    return [text[start:end] for start, end in split(text, 0, len(text))]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("Clear lungs.", [("report", "Clear lungs.")]),
        ("FINDINGS: Clear lungs.", [("findings", "Clear lungs.")]),
        ("Findings:\nClear lungs.", [("findings", "Clear lungs.")]),
        ("FINDINGS\nClear lungs.", [("findings", "Clear lungs.")]),
        ("IMPRESSION (PRELIMINARY): Edema.", [("impression", "Edema.")]),
        ("INDICATION: Cough. FINDINGS: Edema.", [("indication", "Cough."), ("findings", "Edema.")]),
        ("Edema. IMPRESSION: Edema.", [("report", "Edema."), ("impression", "Edema.")]),
        ("FINDINGS: IMPRESSION: Edema.", [("impression", "Edema.")]),
        ("FINDINGS/IMPRESSION: Edema.", [("impression", "Edema.")]),
        ("Findings: \r\nEdema.\r\nImpression:\r\nEdema.\r\n",
         [("findings", "Edema."), ("impression", "Edema.")]),
        ("WET READ: Edema.\nADDENDUM: No edema.",
         [("preliminary", "Edema."), ("addendum", "No edema.")]),
        ("REASON_FOR_EXAM: cough\nFINDINGS: Edema.",
         [("indication", "cough"), ("findings", "Edema.")]),
    ],
)  # fmt: skip
def test_report_is_cut_at_its_headings(
    split_sections: SectionSplitter, report: str, expected: list[tuple[str, str]]
) -> None:
    assert sections(split_sections, report) == expected


@pytest.mark.parametrize(
    "heading", ["**Findings:**", "**FINDINGS**:", "*Findings:*", "## Findings:", "## Findings\n"]
)
def test_heading_may_be_marked_up(split_sections: SectionSplitter, heading: str) -> None:
    report = f"INDICATION: Cough.\n\n{heading} Clear lungs."

    assert [name for name, _ in sections(split_sections, report)] == ["indication", "findings"]


@pytest.mark.parametrize(
    "report",
    [
        "The findings are unchanged.",
        "Findings of edema: none.",
        "No change in impression\nof the lungs.",
        "Compared with the prior: smaller effusion.",
        "Heart: Normal.\nLungs: Clear.",
    ],
)
def test_word_inside_a_statement_is_no_heading(
    split_sections: SectionSplitter, report: str
) -> None:
    assert sections(split_sections, report) == [("report", report)]


@pytest.mark.parametrize(
    "heading",
    [
        "ADDENDUM 3/4/2019:", "ADDENDUM [**2120-8-30**]:", "ADDENDUM ___:", "ADDENDUM XXXX:",
        "ADDENDUM\u00a0[**2120-8-30**]:",
    ],
)  # fmt: skip
def test_dated_addendum_is_an_addendum(split_sections: SectionSplitter, heading: str) -> None:
    report = f"FINDINGS: Edema.\n\n{heading} No edema."

    assert sections(split_sections, report)[-1] == ("addendum", "No edema.")


def test_organ_heading_ends_a_section_that_makes_no_labels(split_sections: SectionSplitter) -> None:
    report = "COMPARISON: None.\nLungs: Clear.\nHeart: Enlarged."

    assert sections(split_sections, report) == [
        ("comparison", "None."),
        ("report", "Lungs: Clear.\nHeart: Enlarged."),
    ]


def test_paragraph_behind_an_unlabeled_section_is_the_body(split_sections: SectionSplitter) -> None:
    report = "INDICATION: Cough.\n\nThe lungs are clear."

    assert sections(split_sections, report) == [
        ("indication", "Cough."),
        ("report", "The lungs are clear."),
    ]


def test_paragraph_behind_an_unlabeled_section_is_the_body_before_an_impression(
    split_sections: SectionSplitter,
) -> None:
    report = "INDICATION: Cough.\n\nThe lungs are clear.\n\nIMPRESSION: No pneumonia."

    assert ("report", "The lungs are clear.") in sections(split_sections, report)


def test_text_before_the_first_heading_belongs_to_the_column(
    split_sections: SectionSplitter,
) -> None:
    default = split_sections.section("impression")

    (part,) = split_sections("Edema.", default)

    assert part.section.name == "impression"


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("findings", "findings"),
        ("IMPRESSION", "impression"),
        ("clinical_history", "indication"),
        ("notes", BODY.name),
    ],
)
def test_column_name_is_a_section(split_sections: SectionSplitter, name: str, section: str) -> None:
    assert split_sections.section(name).name == section


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("findings", True), ("impression", True), ("addendum", True), ("preliminary", True),
        ("indication", False), ("comparison", False), ("technique", False),
        ("recommendation", False),
    ],
)  # fmt: skip
def test_section_makes_labels(split_sections: SectionSplitter, name: str, labels: bool) -> None:
    assert split_sections.section(name).labels is labels


@pytest.mark.parametrize("report", ["", " \n ", "FINDINGS:", "FINDINGS:\n\nIMPRESSION:\n"])
def test_report_without_text_has_no_parts(split_sections: SectionSplitter, report: str) -> None:
    assert split_sections(report) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No edema. No mass.", ["No edema.", "No mass."]),
        ("no edema. no mass.", ["no edema.", "no mass."]),
        ("No edema.No mass.", ["No edema.", "No mass."]),
        ("Is there edema? No.", ["Is there edema?", "No."]),
        ("A 1.4 cm nodule.", ["A 1.4 cm nodule."]),
        ("Edema vs. pneumonia.", ["Edema vs. pneumonia."]),
        ("Dr. Who was told of edema.", ["Dr. Who was told of edema."]),
        ("Mass, e.g. tumor. No edema.", ["Mass, e.g. tumor.", "No edema."]),
        ("Pneumothorax: No. Heart: Large.", ["Pneumothorax: No.", "Heart: Large."]),
        ("Image no. 2 shows edema.", ["Image no. 2 shows edema."]),
        ("1. Edema. 2. No mass.", ["Edema.", "No mass."]),
        ("1) Edema\n2) No mass", ["Edema", "No mass"]),
        ("- Edema\n- No mass", ["- Edema", "- No mass"]),
        ("Edema!\nNo mass", ["Edema!", "No mass"]),
        ("No edema.)  No mass", ["No edema.)", "No mass"]),
        ("...", []),
        ("", []),
        ("   Edema  ", ["Edema"]),
    ],
)
def test_text_is_cut_into_sentences(
    split_sentences: SentenceSplitter, text: str, expected: list[str]
) -> None:
    assert sentences(split_sentences, text) == expected


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_wrapped_line_does_not_end_a_sentence(
    split_sentences: SentenceSplitter, line_break: str
) -> None:
    text = f"There is no evidence of a large{line_break}Pleural effusion today"

    assert sentences(split_sentences, text) == [text]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\n\n", "\n \n"])
def test_short_line_ends_a_sentence(split_sentences: SentenceSplitter, line_break: str) -> None:
    text = f"Lungs clear{line_break}Heart large{line_break}There is a left pleural effusion"

    assert len(sentences(split_sentences, text)) == 3


def test_lower_case_goes_on_in_the_next_line(split_sentences: SentenceSplitter) -> None:
    text = "No edema\nor mass\nThe heart and the mediastinum are of normal size"

    assert sentences(split_sentences, text)[0] == "No edema\nor mass"


@pytest.mark.parametrize("text", ["a" * 5000, "no edema " * 600])
def test_endless_sentence_is_cut(split_sentences: SentenceSplitter, text: str) -> None:
    found = sentences(split_sentences, text)

    assert all(len(sentence) <= MAX_SENTENCE for sentence in found)
    assert "".join("".join(found).split()) == "".join(text.split())


@given(text=st.text(st.sampled_from("Ab1. ,:;?!-\n\r\t()é\u00a0"), max_size=80))
def test_every_letter_is_in_one_sentence(split_sentences: SentenceSplitter, text: str) -> None:
    bounds = split_sentences(text, 0, len(text))

    ends = [0, *(end for _, end in bounds)]
    assert all(before <= start < end for before, (start, end) in zip(ends, bounds, strict=False))
    inside = sum(map(str.isalpha, "".join(text[start:end] for start, end in bounds)))
    assert inside == sum(map(str.isalpha, text))


@given(
    report=st.lists(
        st.sampled_from(["Findings:", "IMPRESSION", "Indication: ", "Edema.", "\n", " ", "\n\n"])
    ).map("".join)
)
def test_parts_stand_in_order_without_overlap(split_sections: SectionSplitter, report: str) -> None:
    parts = split_sections(report)

    ends = [0, *(part.end for part in parts)]
    assert all(end <= part.start < part.end for end, part in zip(ends, parts, strict=False))
