from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlabel.rulerecords import Words
from cxrlabel.tokens import OFFSETS, WordFolder, edit_distance

if TYPE_CHECKING:
    from cxrlabel.assertions import SentenceAnalyzer

VOCABULARY = (
    "effusion", "opacity", "pneumothorax", "edema", "tumor", "rib", "basis", "bulla", "apex",
    "pneumonia", "mediastinum", "consolidation", "mass", "hilum", "metastasis", "calcification",
)  # fmt: skip
WORDS = Words(
    plurals=(
        ("ies", "y"), ("aces", "ax"), ("ices", "ex"), ("ses", "sis"), ("es", ""), ("s", ""),
        ("ae", "a"), ("a", "um"),
    ),
    spellings=(("oe", "e"), ("our", "or")),
    keep=("pneumonic", "infusion"),
    misspellings={"effn": "effusion"},
)  # fmt: skip


@pytest.fixture(scope="module")
def fold() -> WordFolder:
    return WordFolder(VOCABULARY, WORDS)


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("Effusion", "effusion"),
        ("effusions", "effusion"),
        ("opacities", "opacity"),
        ("pneumothoraces", "pneumothorax"),
        ("apices", "apex"),
        ("metastases", "metastasis"),
        ("bullae", "bulla"),
        ("masses", "mass"),
        ("hila", "hilum"),
        ("ribs", "rib"),
        ("oedema", "edema"),
        ("tumours", "tumor"),
        ("effn", "effusion"),
    ],
)
def test_word_is_folded_to_the_form_of_the_rules(fold: WordFolder, word: str, folded: str) -> None:
    assert fold(word) == folded


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("effsuion", "effusion"),  # neighbours swapped
        ("efusion", "effusion"),  # one letter lost
        ("efffusion", "effusion"),  # one too many
        ("effuzion", "effusion"),
        ("pnuemothorax", "pneumothorax"),
        ("pneumothroaxs", "pneumothorax"),  # two edits in a long word
        ("consoldations", "consolidation"),
    ],
)
def test_misspelling_of_a_long_word_is_corrected(fold: WordFolder, wrong: str, right: str) -> None:
    assert fold(wrong) == right


@pytest.mark.parametrize(
    "word",
    [
        "pneumonic",  # on the list of words to keep
        "infusion",
        "mess",  # short words have too many neighbours
        "ribe",
        "edemas2",
        "diffusion",  # another initial letter
        "effluzion",  # two edits in a word of eight letters
        "house",
    ],
)
def test_other_word_stays_itself(fold: WordFolder, word: str) -> None:
    assert fold(word) == word


def test_plural_is_folded_only_where_the_rules_have_the_singular(fold: WordFolder) -> None:
    assert fold("views") == "views"


@given(st.text(max_size=40))
def test_folding_any_word_twice_changes_nothing(word: str) -> None:
    fold = WordFolder(VOCABULARY, WORDS)

    assert fold(fold(word)) == fold(word)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0),
        ("edema", "edema", 0),
        ("edema", "edma", 1),
        ("edema", "eedema", 1),
        ("edema", "adema", 1),
        ("edema", "edmea", 1),
        ("edema", "demae", 2),
        ("edema", "hernia", 3),  # the limit is 2: anything above it counts as 3
    ],
)
def test_edit_distance_counts_edits_and_swaps(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b, 2) == distance


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distance_is_symmetric(a: str, b: str) -> None:
    assert edit_distance(a, b, 8) == edit_distance(b, a, 8)


def norms(analyzer: "SentenceAnalyzer", sentence: str) -> str:
    return " ".join(token.norm_ for token in analyzer.nlp.make_doc(sentence))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Air-space disease", "air space disease"),
        ("left‑sided", "left sided"),  # non-breaking hyphen
        ("s/p", "s / p"),
        ("heart - normal", "heart - normal"),
        ("1.4 cm nodule", "1.4 cm nodule"),
        ("2,5 cm", "2,5 cm"),
        ("the patient's heart", "the patient's heart"),
        ("effusion,pneumothorax.", "effusion , pneumothorax ."),
        ("No\u00a0edema", "no edema"),
        ("T8-T9", "t 8 t 9"),
        ("", ""),
    ],
)
def test_sentence_is_cut_into_words_and_marks(
    analyzer: "SentenceAnalyzer", sentence: str, expected: str
) -> None:
    assert norms(analyzer, sentence) == expected


@pytest.mark.parametrize("mark", ["XXXX", "xxxx", "___", "[**2121-4-9**]", "<NAME>", "[NAME]"])
def test_deidentification_mark_vanishes(analyzer: "SentenceAnalyzer", mark: str) -> None:
    assert norms(analyzer, f"edema since {mark} .") == "edema since ."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pleural effusion", "Pleural Effusions"),
        ("pulmonary oedema", "pulmonary edema"),
        ("haemothorax", "hemothorax"),
        ("airspace opacities", "airspace opacity"),
        ("cardiomegally", "cardiomegaly"),
        ("atelectases", "atelectasis"),
        ("pleural tumour", "pleural tumor"),
    ],
)
def test_spellings_of_one_word_are_equal(
    analyzer: "SentenceAnalyzer", one: str, other: str
) -> None:
    assert norms(analyzer, one) == norms(analyzer, other)


@given(text=st.text(max_size=120))
def test_token_offsets_slice_back(analyzer: "SentenceAnalyzer", text: str) -> None:
    doc = analyzer.nlp.make_doc(text)

    assert [text[start:end] for start, end in doc.user_data[OFFSETS]] == [t.text for t in doc]


def test_phrase_is_tokenised_once_while_the_rules_are_read(analyzer: "SentenceAnalyzer") -> None:
    tokenizer = analyzer.nlp.tokenizer
    with tokenizer.remembering():
        first, again = tokenizer("no effusions"), tokenizer("no effusions")
    later = tokenizer("no effusions")

    assert again is first
    assert later is not first
    assert [token.norm_ for token in later] == [token.norm_ for token in first]


def test_sentence_is_not_remembered_by_the_tokenizer(analyzer: "SentenceAnalyzer") -> None:
    tokenizer = analyzer.nlp.tokenizer

    assert tokenizer("no effusions") is not tokenizer("no effusions")


def test_mistake_while_the_rules_are_read_ends_the_remembering(
    analyzer: "SentenceAnalyzer",
) -> None:
    tokenizer = analyzer.nlp.tokenizer
    with pytest.raises(ValueError, match="wrong"), tokenizer.remembering():
        raise ValueError("wrong")

    assert tokenizer("no effusions") is not tokenizer("no effusions")
