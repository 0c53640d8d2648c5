"""Where a sentence is cut: what a cue says ends there."""

from typing import TYPE_CHECKING

import pytest

from cxrlabel.clauses import ClauseSplitter

if TYPE_CHECKING:
    from cxrlabel.assertions import SentenceAnalyzer
    from cxrlabel.rulebook import Rulebook


@pytest.fixture(scope="module")
def split(analyzer: "SentenceAnalyzer", rulebook: "Rulebook") -> ClauseSplitter:
    """The project's clause words with a handful of cues."""
    denials = ["no", "without", "not", "no evidence of"]
    cues = [*denials, "possible", "may represent", "cannot exclude"]
    return ClauseSplitter(
        analyzer.nlp,
        rulebook.clauses,
        before_cues=cues,
        after_cues=["not seen"],
        denials=denials,
        abbreviations=["vs"],
    )


def clauses(analyzer: "SentenceAnalyzer", split: ClauseSplitter, sentence: str) -> list[str]:
    return [span.text for span in split(analyzer.nlp.make_doc(sentence)).sents]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no edema", "but a large effusion"),
        ("no edema", "however effusion"),
        ("lungs clear", "except for a nodule"),
        ("no effusion", "although edema is seen"),
        ("no effusion and", "there is edema"),
        ("the heart is normal", "and the lungs are clear"),
        ("no effusion ;", "edema"),
        ("no effusion .", "edema"),
        ("no effusion ,", "heart is large"),
        ("no edema ,", "possible effusion"),
        ("edema ,", "no effusion"),
        ("no pneumothorax", "after removal of the tube"),
        ("no fracture", "despite the trauma"),
        ("no effusion is seen ,", "small left nodule"),
        ("no edema", "and a small effusion"),
        ("pacemaker unchanged", "the remaining bones are normal"),
    ],
)
def test_statement_begins_a_clause(
    analyzer: "SentenceAnalyzer", split: ClauseSplitter, first: str, second: str
) -> None:
    assert clauses(analyzer, split, f"{first} {second}")[:2] == [first, second]


@pytest.mark.parametrize(
    "sentence",
    [
        "no effusion , edema , or mass",
        "no effusion , edema and mass",
        "no effusion or edema is seen",
        "no effusion , consolidation , or edema is seen",
        "no large effusion , small nodule , or mass",
        "edema in the left and right lung",
        "opacity consistent with edema",
        "no findings consistent with edema",
        "effusion , likely small",
        "nodule , measuring 4 mm",
        "if there is edema",
        "heart , lungs and mediastinum are normal",
        "lungs and the Heart are normal",
        "unchanged the heart is",
        "lungs clear both apices",
        "edema",
        "",
    ],
)
def test_list_item_or_description_begins_none(
    analyzer: "SentenceAnalyzer", split: ClauseSplitter, sentence: str
) -> None:
    assert len(clauses(analyzer, split, sentence)) <= 1


def test_capital_begins_a_clause_where_the_stop_is_missing(
    analyzer: "SentenceAnalyzer", split: ClauseSplitter
) -> None:
    assert clauses(analyzer, split, "Lungs are clear No effusion Heart large") == [
        "Lungs are clear", "No effusion", "Heart large",
    ]  # fmt: skip


def test_every_sentence_begins_with_a_clause(
    analyzer: "SentenceAnalyzer", split: ClauseSplitter
) -> None:
    doc = split(analyzer.nlp.make_doc("but no edema"))

    assert doc[0].is_sent_start
