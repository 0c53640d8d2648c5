"""Subjects and predicates, paired within a clause."""

from typing import TYPE_CHECKING

import pytest

from cxrlabel.clauses import ClauseSplitter
from cxrlabel.rulebook import Anatomy
from cxrlabel.statements import StatementFinder

if TYPE_CHECKING:
    from cxrlabel.assertions import SentenceAnalyzer
    from cxrlabel.rulebook import Rulebook

NORMAL = ("normal", "unremarkable", "not enlarged", "within normal limit")
HEART = Anatomy(
    "cardiomegaly/heart",
    ("Cardiomegaly",),
    ("heart", "heart size"),
    {
        "positive": ("enlarged", "large"),
        "uncertain": ("upper limit of normal",),
        "negative": NORMAL,
    },
)
MEDIASTINUM = Anatomy(
    "mediastinum/contour",
    ("Enlarged Cardiomediastinum",),
    ("mediastinum",),
    {"positive": ("wide",), "uncertain": (), "negative": NORMAL},
)
LUNG = Anatomy(
    "lung/clear",
    ("Lung Opacity",),
    ("lung",),
    {"positive": (), "uncertain": (), "negative": ("clear",)},
)


@pytest.fixture(scope="module")
def pairs(analyzer: "SentenceAnalyzer", rulebook: "Rulebook"):  # type: ignore[no-untyped-def]
    """Sentence -> (rule and assertion, predicate, subject) of each statement."""
    nlp = analyzer.nlp
    denials = ["no", "clear of"]
    split = ClauseSplitter(
        nlp, rulebook.clauses, before_cues=denials, after_cues=[], denials=denials, abbreviations=[]
    )
    find = StatementFinder(nlp, [HEART, MEDIASTINUM, LUNG], rulebook.clauses, denials=denials)

    def found(sentence: str) -> list[tuple[str, str, str]]:
        doc = split(nlp.make_doc(sentence))
        return [(key, doc[p[0] : p[1]].text, doc[s[0] : s[1]].text) for key, p, s in find(doc)]

    return found


@pytest.mark.parametrize(
    ("sentence", "key", "predicate", "subject"),
    [
        ("heart size is normal", "heart:negative", "normal", "heart size"),
        ("The heart is large", "heart:positive", "large", "heart"),
        ("heart enlarged", "heart:positive", "enlarged", "heart"),
        ("Heart: normal", "heart:negative", "normal", "Heart"),
        ("large heart", "heart:positive", "large", "heart"),
        ("normal sized heart", "heart:negative", "normal", "heart"),
        ("heart at upper limits of normal", "heart:uncertain", "upper limits of normal", "heart"),
        ("the heart remains not enlarged", "heart:negative", "not enlarged", "heart"),
        ("heart size within normal limits", "heart:negative", "within normal limits", "heart size"),
        ("clear lungs", "clear:negative", "clear", "lungs"),
    ],
)  # fmt: skip
def test_subject_is_paired_with_its_predicate(  # type: ignore[no-untyped-def]
    pairs, sentence: str, key: str, predicate: str, subject: str
) -> None:
    ((rule, *words),) = pairs(sentence)

    assert rule.endswith(key)
    assert words == [predicate, subject]


@pytest.mark.parametrize(
    "sentence",
    [
        "heart and mediastinum are normal",
        "heart , lungs and mediastinum are unremarkable",
        "normal heart and mediastinum",
        "normal heart size , mediastinum",
        "the heart / mediastinum normal",
        "heart , lungs , mediastinum are normal",  # a clause begins at the last comma
        "the heart , the lungs , the mediastinum are normal",
        "heart , lungs , mediastinum and hila are today as on the films of last week normal",
    ],
)
def test_predicate_is_shared_by_a_list_of_subjects(pairs, sentence: str) -> None:  # type: ignore[no-untyped-def]
    assert {rule for rule, _, _ in pairs(sentence)} == {
        "cardiomegaly/heart:negative",
        "mediastinum/contour:negative",
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "the heart is seen",
        "heart but large nodule",
        "normal; heart",
        "the heart , previously enlarged ,",
        "lungs normal",  # not a predicate of the lungs
        "enlarged node , the heart",
        "clear of any lung",  # denies it
        "nodule near the heart , lungs are normal",
        "heart , large mediastinal lungs",
        "",
    ],
)
def test_subject_without_a_predicate_of_its_own_says_nothing(pairs, sentence: str) -> None:  # type: ignore[no-untyped-def]
    assert pairs(sentence) == []


def test_each_subject_takes_the_predicate_next_to_it(pairs) -> None:  # type: ignore[no-untyped-def]
    assert pairs("enlarged heart , lungs clear") == [
        ("cardiomegaly/heart:positive", "enlarged", "heart"),
        ("lung/clear:negative", "clear", "lungs"),
    ]


def test_predicate_that_is_no_longer_true_is_skipped(pairs) -> None:  # type: ignore[no-untyped-def]
    ((rule, *_),) = pairs("the heart previously enlarged is normal")

    assert rule == "cardiomegaly/heart:negative"
