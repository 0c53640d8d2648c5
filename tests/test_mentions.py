"""Which words name a finding."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cxrlabel.assertions import SentenceAnalyzer


def named(analyzer: "SentenceAnalyzer", sentence: str) -> set[str]:
    return {mention.finding for mention in analyzer(sentence).mentions}


@pytest.mark.parametrize(
    ("sentence", "findings"),
    [
        ("Pleural effusion", {"Pleural Effusion"}),
        ("Effusions", {"Pleural Effusion"}),
        ("PTX", {"Pneumothorax"}),
        ("PNA", {"Pneumonia"}),
        ("Infiltrate", {"Infiltration", "Lung Opacity"}),
        ("Nodule", {"Nodule", "Lung Lesion"}),
        ("Lung mass", {"Mass", "Lung Lesion"}),
        ("Pleural thickening", {"Pleural Thickening", "Pleural Other"}),
        ("Pleural plaque", {"Pleural Other"}),
        ("Airspace disease", {"Lung Opacity"}),
        ("Consolidation", {"Consolidation"}),
        ("Rib fractures", {"Fracture"}),
        ("ETT", {"Support Devices"}),
        ("Sternal wires", {"Support Devices"}),
        ("Hiatal hernia", {"Hernia"}),
        ("Emphysematous change", {"Emphysema"}),
        ("Pulmonary fibrosis", {"Fibrosis"}),
        ("Lungs are clear", {"Lung Opacity", "Consolidation"}),
        ("Heart size is normal", {"Cardiomegaly"}),
        ("Cardiomediastinal silhouette is normal", {"Cardiomegaly", "Enlarged Cardiomediastinum"}),
        ("Costophrenic angles are sharp", {"Pleural Effusion"}),
        ("Scoliosis", {"Other Abnormality"}),
        ("Two views were obtained", set()),
    ],
)
def test_words_name_their_findings(
    analyzer: "SentenceAnalyzer", sentence: str, findings: set[str]
) -> None:
    assert named(analyzer, sentence) == findings


@pytest.mark.parametrize(
    ("sentence", "finding"),
    [
        ("Pericardial effusion", "Pleural Effusion"),
        ("Shoulder joint effusion", "Pleural Effusion"),
        ("Calcified granuloma", "Nodule"),
        ("Lung scar", "Fibrosis"),
        ("Inguinal hernia", "Hernia"),
    ],
)
def test_excluded_words_name_no_finding(
    analyzer: "SentenceAnalyzer", sentence: str, finding: str
) -> None:
    assert finding not in named(analyzer, sentence)


@pytest.mark.parametrize(
    ("sentence", "finding", "text"),
    [
        ("No large pleural effusion.", "Pleural Effusion", "pleural effusion"),
        ("Fluid in the left pleural space.", "Pleural Effusion", "Fluid in the left pleural space"),
        ("Left-sided pneumo-thorax.", "Pneumothorax", "pneumo-thorax"),
        ("The heart is not enlarged.", "Cardiomegaly", "heart is not enlarged"),
        ("Enlarged heart.", "Cardiomegaly", "Enlarged heart"),
    ],
)
def test_mention_covers_the_words_that_name(
    analyzer: "SentenceAnalyzer", sentence: str, finding: str, text: str
) -> None:
    texts = [sentence[m.start : m.end] for m in analyzer(sentence).mentions if m.finding == finding]

    assert texts == [text]


def test_longer_of_two_overlapping_names_wins(analyzer: "SentenceAnalyzer") -> None:
    (mention,) = analyzer("Left pleural effusion").mentions

    assert mention.rule == "pleural_effusion/effusion"
    assert (mention.start, mention.end) == (5, 21)


def test_same_words_of_two_findings_are_two_mentions(analyzer: "SentenceAnalyzer") -> None:
    found = analyzer("Nodule").mentions

    assert [m.finding for m in found] == ["Nodule", "Lung Lesion"]
    assert {(m.start, m.end, m.rule) for m in found} == {(0, 6, found[0].rule)}


def test_sentence_without_a_finding_has_no_mentions(analyzer: "SentenceAnalyzer") -> None:
    analysis = analyzer("The patient was rotated.")

    assert analysis.mentions == ()
    assert analysis.anaphor is None
