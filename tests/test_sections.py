import re
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlabel import sections as sections_module
from cxrlabel.accents import AccentFolder
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import languages
from cxrlabel.rulerecords import Section
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


@pytest.mark.parametrize(
    "report",
    [
        "PORTABLE CHEST\n\nCOMPARISON: Two priors.\n\nThe lungs are clear.",
        "ICU DAY 3. INDICATION: Fever.\nThe lungs are clear.",
        "WET READ: Clear.\n\nFINAL REPORT\nREASON FOR EXAM: Fever.\n\nThe lungs are clear.",
        "INDICATION: Fall.\n\nThe lungs are clear.\n\nNOTIFICATION: Paged at noon.",
        "ADDENDUM  A rib fracture is seen.\nFINAL REPORT\nTWO VIEWS\n\nHISTORY: Fall.\n\n"
        "The lungs are clear.\n\nIMPRESSION: No fracture.",
    ],
)
def test_body_is_found_behind_titles_and_other_readings(
    split_sections: SectionSplitter, report: str
) -> None:
    assert ("report", "The lungs are clear.") in sections(split_sections, report)


def test_body_may_follow_in_the_line_of_the_reason(split_sections: SectionSplitter) -> None:
    report = "REASON: Fever, cough. The lungs are clear. No effusion."

    assert sections(split_sections, report) == [
        ("indication", "Fever, cough."),
        ("report", "The lungs are clear. No effusion."),
    ]


def test_column_of_an_unlabeled_section_has_no_body(split_sections: SectionSplitter) -> None:
    indication = split_sections.section("indication")

    parts = split_sections("Pneumonia. Edema. Fever.\n\nEffusion.", indication)

    assert [part.section.name for part in parts] == ["indication"]


def test_reading_in_capitals_needs_no_colon(split_sections: SectionSplitter) -> None:
    assert sections(split_sections, "Edema.\nADDENDUM  No edema.") == [
        ("report", "Edema."),
        ("addendum", "No edema."),
    ]


def test_comparison_within_a_title_opens_no_section(split_sections: SectionSplitter) -> None:
    report = "IMPRESSION: AP chest compared to ___:\n\nEdema."

    assert {name for name, _ in sections(split_sections, report)} == {"impression"}


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


def test_line_with_a_heading_is_as_wide_as_it_was_written(
    split_sentences: SentenceSplitter,
) -> None:
    text = "FINDINGS: Cardiac and Hilar Contours\nUnremarkable and Unchanged in Appearance."
    start = text.index("Cardiac")

    assert split_sentences(text, start, len(text)) == [(start, len(text))]


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


# Short cuts

RULEBOOKS = {lang: load_rulebook(lang=lang) for lang in languages()}
LANGUAGES = pytest.mark.parametrize("lang", RULEBOOKS)
NEVER = re.compile(r"(?!)")


def sentence_splitters(lang: str) -> tuple[SentenceSplitter, SentenceSplitter]:
    """The splitter, and one that looks at every mark."""
    rulebook = RULEBOOKS[lang]
    quick, slow = (
        SentenceSplitter(rulebook.text, AccentFolder(rulebook.words.accents)) for _ in range(2)
    )
    slow._plain = NEVER
    return quick, slow


def section_splitters(lang: str) -> tuple[SectionSplitter, SectionSplitter]:
    """The splitter, and one that tries every word before a colon as a heading's first."""
    rulebook = RULEBOOKS[lang]
    quick, slow = (
        SectionSplitter(rulebook.sections, AccentFolder(rulebook.words.accents)) for _ in range(2)
    )

    def ending(stretch: str) -> tuple[Section, int] | None:
        stretch = sections_module._NOTE.sub("", stretch).rstrip(sections_module._MARKS)
        for word in sections_module._WORD.finditer(stretch):
            name = stretch[word.start() :]
            section = slow._by_heading.get(slow._fold(name))
            if section is not None:
                before = stretch[: word.start()].rstrip(sections_module._MARKS)[-1:]
                begins = before in sections_module._STARTS
                begins |= len(name) >= sections_module._INLINE_HEADING
                return (section, word.start()) if begins else None
        return None

    slow._ending = ending
    return quick, slow


SPLITTERS = {lang: (sentence_splitters(lang), section_splitters(lang)) for lang in RULEBOOKS}


def fragments(lang: str) -> list[str]:
    """Words that a splitter may stumble over: those of its rules, and some of reports."""
    rulebook = RULEBOOKS[lang]
    lists = ("abbreviations", "numbering", "unfinished", "unbegun")
    ruled = chain.from_iterable(rulebook.text[name] for name in lists)
    headings = chain.from_iterable(section.headings for section in rulebook.sections)
    words = [
        "Edema", "edema", "EDEMA", "mass", "No", "is", "a", "X", "2", "12", "1.4", "cm", "e.g",
        "corazón", "AÑO", "más", "Übersicht", "Kerley\u017f", "Heart is normal", "approximate",
        "[**2120-8-30**]", "3/4/2019", "(prior)", "<NAME>", "XXXX", "xxx", "Xerosis", "___",
    ]  # fmt: skip
    return [*dict.fromkeys([*words, *ruled, *headings])]


SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "", "\n "])
STOPS = st.sampled_from(
    ["", "", ".", ".", ".", ". ", ".\n", ":", ": ", ":\n", "?", "!", ")", ".)", '."', "...", ";"]
)
OPENINGS = st.sampled_from(["", "", "", "", "(", '"', "'", "]", "- ", "1. ", "2) ", "** ", "? "])
LONG = st.sampled_from(["", "", "", " " * 36, "*" * 36, "_" * 40, " word" * 320])
CASES = st.sampled_from([str, str, str.upper, str.title])


def pieces(lang: str) -> st.SearchStrategy[str]:
    word = st.builds(lambda case, text: case(text), CASES, st.sampled_from(fragments(lang)))
    return st.builds("".join, st.tuples(OPENINGS, word, LONG, STOPS, SPACES))


TEXTS = {lang: st.lists(pieces(lang), max_size=8).map("".join) for lang in RULEBOOKS}


@LANGUAGES
@settings(max_examples=300)
@given(data=st.data())
def test_plain_sentence_is_that_of_all_marks(lang: str, data: st.DataObject) -> None:
    text = data.draw(TEXTS[lang])
    (quick, slow), _ = SPLITTERS[lang]

    assert sentences(quick, text) == sentences(slow, text)


@LANGUAGES
@settings(max_examples=300)
@given(data=st.data())
def test_word_that_is_passed_over_is_no_heading(lang: str, data: st.DataObject) -> None:
    text = data.draw(TEXTS[lang])
    _, (quick, slow) = SPLITTERS[lang]

    assert quick(text) == slow(text)


@LANGUAGES
def test_short_cuts_change_nothing_in_the_sample(lang: str, sample_reports: dict[str, str]) -> None:
    (sentence, all_marks), (section, all_words) = SPLITTERS[lang]

    for text in sample_reports.values():
        assert sentences(sentence, text) == sentences(all_marks, text)
        assert section(text) == all_words(text)


@pytest.mark.parametrize(
    "text",
    [
        'No edema.\n"Heart" is normal.',
        "No edema. \n'Heart' is normal.",
        "Seen approx. 2 cm of fluid incl. blood.",
        " Clear lungs" + " and clear lungs" * 200 + ".",
        "The year is 2012. Heart is normal.",
    ],
)
def test_sentence_with_a_trap_is_that_of_all_marks(text: str) -> None:
    (quick, slow), _ = SPLITTERS["en"]

    assert sentences(quick, text) == sentences(slow, text)


def test_long_abbreviation_does_not_end_a_sentence() -> None:
    lists = {"abbreviations": ("including",), "numbering": ("figure",)}
    split = SentenceSplitter({**lists, "unfinished": (), "unbegun": ()})

    found = sentences(
        split, "Lines including. tubes. See Figure. 2 for edema. No such figure. Mass."
    )

    assert found == [
        "Lines including. tubes.",
        "See Figure. 2 for edema.",
        "No such figure.",
        "Mass.",
    ]


@LANGUAGES
def test_heading_of_the_most_words_is_found_alone_in_its_line(lang: str) -> None:
    (split, _) = SPLITTERS[lang][1]
    headings = [h for s in RULEBOOKS[lang].sections if not s.organ for h in s.headings]
    longest = max(headings, key=lambda heading: len(heading.split()))

    assert split(f"{longest.upper()}\nEdema.")[-1].section.name == split.section(longest).name


@pytest.mark.parametrize("between", [" " * 36, "*" * 36, " " + "_" * 38, " XXXX", " xxxxx"])
def test_heading_far_before_its_colon_is_found(
    split_sections: SectionSplitter, between: str
) -> None:
    report = f"Effusion.\nADDENDUM{between}: No effusion."

    assert sections(split_sections, report)[-1] == ("addendum", "No effusion.")


def test_most_sentences_of_the_sample_take_the_short_cut(
    sample_reports: dict[str, str],
) -> None:
    (quick, _), _ = SPLITTERS["en"]
    report = "\n".join(sample_reports.values())

    assert len(quick._plain.findall(report)) > len(sentences(quick, report)) / 2
