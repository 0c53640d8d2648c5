"""What a sentence says of a finding, by the mechanism that decides it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cxrlabel.assertions import Asserted, SentenceAnalyzer

State = Callable[[str, str], str]

# (mechanism, report, finding -> state)
CASES: list[tuple[str, str, dict[str, str]]] = [
    ("plain", "Edema.", {"Edema": "positive"}),
    ("plain", "There is a moderate left pleural effusion.", {"Pleural Effusion": "positive"}),
    ("plain", "ETT tip 4 cm above the carina.", {"Support Devices": "positive"}),
    ("plain", "RLL PNA.", {"Pneumonia": "positive"}),
    ("abbreviation", "No PTX.", {"Pneumothorax": "negative"}),
    ("abbreviation", "CHF.", {"Edema": "positive"}),
    ("negation before", "No pneumothorax.", {"Pneumothorax": "negative"}),
    ("negation before", "No evidence of pneumonia.", {"Pneumonia": "negative"}),
    ("negation before", "Without focal consolidation.", {"Consolidation": "negative"}),
    ("negation before", "Negative for pneumothorax.", {"Pneumothorax": "negative"}),
    ("negation before", "The lungs are free of edema.", {"Edema": "negative"}),
    ("negation before", "No definite nodule.", {"Nodule": "negative"}),
    ("negation before", "Absence of effusion.", {"Pleural Effusion": "negative"}),
    ("negation after", "Pneumothorax is not seen.", {"Pneumothorax": "negative"}),
    ("negation after", "Effusion has been excluded.", {"Pleural Effusion": "negative"}),
    ("negation after", "Pneumothorax: None.", {"Pneumothorax": "negative"}),
    ("negation after", "Pneumothorax: no.", {"Pneumothorax": "negative"}),
    ("negation after", "Pneumonia is unlikely.", {"Pneumonia": "negative"}),
    ("negation after", "Fractures are absent.", {"Fracture": "negative"}),
    ("negation after", "Consolidation is not identified.", {"Consolidation": "negative"}),
    (
        "list",
        "No focal consolidation, pleural effusion or pneumothorax.",
        {"Consolidation": "negative", "Pleural Effusion": "negative", "Pneumothorax": "negative"},
    ),
    (
        "list",
        "Clear of airspace disease, pneumothorax or effusion.",
        {"Lung Opacity": "negative", "Pneumothorax": "negative", "Pleural Effusion": "negative"},
    ),
    (
        "list",
        "Neither edema nor effusion is seen.",
        {"Edema": "negative", "Pleural Effusion": "negative"},
    ),
    (
        "list",
        "No edema and no effusion.",
        {"Edema": "negative", "Pleural Effusion": "negative"},
    ),
    (
        "list",
        "Pneumothorax, effusion, and fracture are not seen.",
        {"Pneumothorax": "negative", "Pleural Effusion": "negative", "Fracture": "negative"},
    ),
    (
        "list",
        "Heart, lungs and mediastinum are normal.",
        {"Cardiomegaly": "negative", "Enlarged Cardiomediastinum": "negative"},
    ),
    (
        "list",
        "Edema, atelectasis and a nodule.",
        {"Edema": "positive", "Atelectasis": "positive", "Nodule": "positive"},
    ),
    (
        "scope",
        "No pneumothorax and there is a large effusion.",
        {"Pneumothorax": "negative", "Pleural Effusion": "positive"},
    ),
    (
        "scope",
        "No pneumothorax but a small effusion.",
        {"Pneumothorax": "negative", "Pleural Effusion": "positive"},
    ),
    (
        "scope",
        "Effusion without pneumothorax.",
        {"Pleural Effusion": "positive", "Pneumothorax": "negative"},
    ),
    (
        "scope",
        "No edema; left nodule.",
        {"Edema": "negative", "Nodule": "positive"},
    ),
    (
        "scope",
        "No pneumothorax after removal of the chest tube.",
        {"Pneumothorax": "negative"},
    ),
    (
        "scope",
        "Lungs clear except for a nodule.",
        {"Nodule": "positive"},
    ),
    (
        "scope",
        "No pneumothorax, the heart is enlarged.",
        {"Pneumothorax": "negative", "Cardiomegaly": "positive"},
    ),
    (
        "run-on",
        "Lungs are clear No effusion Heart is enlarged",
        {"Lung Opacity": "negative", "Pleural Effusion": "negative", "Cardiomegaly": "positive"},
    ),
    ("pseudo", "No change in the effusion.", {"Pleural Effusion": "positive"}),
    ("pseudo", "No significant interval change in edema.", {"Edema": "positive"}),
    ("pseudo", "The effusion has not changed.", {"Pleural Effusion": "positive"}),
    ("pseudo", "Atelectasis, not improved.", {"Atelectasis": "positive"}),
    ("double", "Not without edema.", {"Edema": "positive"}),
    ("double", "The effusion has not resolved.", {"Pleural Effusion": "positive"}),
    ("not excluded", "Cannot exclude pneumonia.", {"Pneumonia": "uncertain"}),
    ("not excluded", "Pneumonia cannot be excluded.", {"Pneumonia": "uncertain"}),
    ("not excluded", "Pneumothorax cannot be ruled out.", {"Pneumothorax": "uncertain"}),
    ("not excluded", "Small effusion is not excluded.", {"Pleural Effusion": "uncertain"}),
    ("not excluded", "It is difficult to exclude a nodule.", {"Nodule": "uncertain"}),
    ("hedge before", "Possible pneumonia.", {"Pneumonia": "uncertain"}),
    ("hedge before", "Opacity may represent pneumonia.",
     {"Lung Opacity": "positive", "Pneumonia": "uncertain"}),
    ("hedge before", "Findings suspicious for edema.", {"Edema": "uncertain"}),
    ("hedge before", "Concerning for a mass.", {"Mass": "uncertain"}),
    ("likely", "Probable atelectasis.", {"Atelectasis": "positive"}),
    ("hedge before", "Questionable nodule.", {"Nodule": "uncertain"}),
    ("hedge before", "This could reflect consolidation.", {"Consolidation": "uncertain"}),
    ("hedge before", "? pneumonia", {"Pneumonia": "uncertain"}),
    ("hedge after", "Pneumonia is possible.", {"Pneumonia": "uncertain"}),
    ("hedge after", "A fracture is suspected.", {"Fracture": "uncertain"}),
    ("hedge after", "Pneumonia should be considered.", {"Pneumonia": "uncertain"}),
    ("hedge after", "Emphysema is questioned.", {"Emphysema": "uncertain"}),
    ("likely", "Likely atelectasis.", {"Atelectasis": "positive"}),
    ("likely", "Opacity consistent with pneumonia.", {"Pneumonia": "positive"}),
    ("likely", "Compatible with edema.", {"Edema": "positive"}),
    ("alternatives", "Atelectasis versus pneumonia.",
     {"Atelectasis": "uncertain", "Pneumonia": "uncertain"}),
    ("alternatives", "Atelectasis vs. pneumonia.",
     {"Atelectasis": "uncertain", "Pneumonia": "uncertain"}),
    ("alternatives", "Left atelectasis or pneumonia.",
     {"Atelectasis": "uncertain", "Pneumonia": "uncertain"}),
    ("alternatives", "Effusion in the left or right chest.", {"Pleural Effusion": "positive"}),
    ("hypothetical", "If pneumonia is suspected, repeat the study.", {"Pneumonia": "blank"}),
    ("hypothetical", "CT is recommended to exclude a nodule.", {"Nodule": "blank"}),
    ("hypothetical", "Evaluate for edema.", {"Edema": "blank"}),
    ("hypothetical", "At risk for pneumothorax.", {"Pneumothorax": "blank"}),
    ("hypothetical", "Rule out fracture.", {"Fracture": "blank"}),
    ("question", "Is there a pneumothorax?", {"Pneumothorax": "blank"}),
    ("historical", "History of pneumonia.", {"Pneumonia": "blank"}),
    ("historical", "Patient with a history of emphysema.", {"Emphysema": "blank"}),
    ("resolved", "The effusion has resolved.", {"Pleural Effusion": "negative"}),
    ("resolved", "Pneumothorax is no longer seen.", {"Pneumothorax": "negative"}),
    ("resolved", "Interval resolution of edema.", {"Edema": "negative"}),
    ("resolved", "Consolidation has cleared.", {"Consolidation": "negative"}),
    ("partly resolved", "Near complete resolution of the effusion.",
     {"Pleural Effusion": "positive"}),
    ("partly resolved", "Edema has partially resolved.", {"Edema": "positive"}),
    ("partly resolved", "Decreasing left effusion.", {"Pleural Effusion": "positive"}),
    ("partly resolved", "Edema has improved.", {"Edema": "positive"}),
    ("no new", "No new consolidation.", {"Consolidation": "blank"}),
    ("device", "The endotracheal tube has been removed.", {"Support Devices": "negative"}),
    ("device", "No lines or tubes.", {"Support Devices": "negative"}),
    ("device", "Left pacemaker in good position.", {"Support Devices": "positive"}),
    ("device", "Interval removal of the tube, PICC remains.", {"Support Devices": "positive"}),
    ("normality", "Heart size is normal.", {"Cardiomegaly": "negative"}),
    ("normality", "The lungs are clear.",
     {"Lung Opacity": "negative", "Consolidation": "negative", "Pneumonia": "blank",
      "Edema": "blank"}),
    ("normality", "Costophrenic angles are sharp.", {"Pleural Effusion": "negative"}),
    ("normality", "Bones are intact.", {"Fracture": "negative"}),
    ("normality", "No acute osseous abnormality.", {"Fracture": "negative"}),
    ("normality", "The cardiomediastinal silhouette is unremarkable.",
     {"Cardiomegaly": "negative", "Enlarged Cardiomediastinum": "negative"}),
    ("abnormality", "The heart is enlarged.", {"Cardiomegaly": "positive"}),
    ("abnormality", "The heart is not enlarged.", {"Cardiomegaly": "negative"}),
    ("abnormality", "The heart may be enlarged.", {"Cardiomegaly": "uncertain"}),
    ("abnormality", "The mediastinum is widened.", {"Enlarged Cardiomediastinum": "positive"}),
    ("abnormality", "Heart: Enlarged.", {"Cardiomegaly": "positive"}),
    ("hint", "Blunted left costophrenic angle.", {"Pleural Effusion": "uncertain"}),
    ("hint", "Borderline heart size.", {"Cardiomegaly": "uncertain"}),
    ("hint", "Borderline size of the cardiac silhouette.", {"Cardiomegaly": "uncertain"}),
    ("hint", "Pulmonary vascular congestion.", {"Edema": "uncertain"}),
    ("misspelling", "Small left plueral efusion.", {"Pleural Effusion": "positive"}),
    ("misspelling", "No pnuemothorax.", {"Pneumothorax": "negative"}),
    ("misspelling", "Cardiomegally.", {"Cardiomegaly": "positive"}),
    ("precedence", "Possible pneumonia, no effusion.",
     {"Pneumonia": "uncertain", "Pleural Effusion": "negative"}),
    ("precedence", "No evidence of possible pneumonia.", {"Pneumonia": "negative"}),
    ("doubled word", "An effusion can not be be excluded.", {"Pleural Effusion": "uncertain"}),
    ("words between", "Pneumonia couldn't be entirely ruled out.", {"Pneumonia": "uncertain"}),
    ("words between", "We cannot reliably exclude edema.", {"Edema": "uncertain"}),
    ("substitute", "No effusion is seen, although a tiny one cannot be excluded.",
     {"Pleural Effusion": "uncertain"}),
    ("substitute", "No effusion, but this may be better seen on a decubitus view.",
     {"Pleural Effusion": "negative"}),
    ("answer", "Edema was suspected; none is present.", {"Edema": "negative"}),
    ("mimic", "Nodule or nipple shadow at the left base.", {"Nodule": "uncertain"}),
    ("mimic", "Skin fold or small pneumothorax.", {"Pneumothorax": "uncertain"}),
    ("mimic", "Nodule and nipple shadow.", {"Nodule": "positive"}),
    ("missing stop", "no effusion is seen a fracture is noted", {"Fracture": "positive"}),
    ("missing stop", "no edema small effusion", {"Pleural Effusion": "positive"}),
    ("missing stop", "no large effusion", {"Pleural Effusion": "negative"}),
    ("missing stop", "no pneumothorax mild to moderate edema", {"Edema": "positive"}),
    ("missing stop", "No moderate or large effusion.", {"Pleural Effusion": "negative"}),
    ("missing stop", "no effusion or edema heart size normal", {"Cardiomegaly": "negative"}),
    ("normality denied", "The heart is not normal in size.", {"Cardiomegaly": "blank"}),
    ("subjects", "Heart, mediastinum normal.", {"Cardiomegaly": "negative"}),
    ("background", "Possible edema superimposed on pulmonary fibrosis.",
     {"Edema": "uncertain", "Fibrosis": "positive"}),
    ("partly", "Incomplete interval clearing of the consolidation.", {"Consolidation": "positive"}),
    ("partly", "No interval resolution of the pneumothorax.", {"Pneumothorax": "positive"}),
    ("of uncertain age", "Rib fracture of uncertain chronicity.", {"Fracture": "positive"}),
    ("ruled out", "Cardiomegaly, pneumonia needs to be ruled out.",
     {"Cardiomegaly": "positive", "Pneumonia": "blank"}),
    ("refuted", "What was described as a nodule is a vessel.", {"Nodule": "negative"}),
    ("should read", 'CORRECTION: "There is edema" should read "There is no edema."',
     {"Edema": "negative"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("report", "expected"),
    [(report, expected) for _, report, expected in CASES],
    ids=[f"{mechanism}: {report}" for mechanism, report, _ in CASES],
)
def test_mechanism_decides_the_state(state: State, report: str, expected: dict[str, str]) -> None:
    assert {finding: state(report, finding) for finding in expected} == expected


def only(analyzer: "SentenceAnalyzer", sentence: str, finding: str) -> "Asserted":
    (mention,) = [m for m in analyzer(sentence).mentions if m.finding == finding]
    return mention


@pytest.mark.parametrize(
    ("sentence", "assertion", "reason", "cue"),
    [
        ("Edema.", "positive", "asserted", None),
        ("No edema.", "negative", "negated", "No"),
        ("No evidence of edema.", "negative", "negated", "No evidence of"),
        ("Edema is not seen.", "negative", "negated", "is not seen"),
        ("Possible edema.", "uncertain", "hedged", "Possible"),
        ("Edema cannot be excluded.", "uncertain", "not excluded", "cannot be excluded"),
        ("Not without edema.", "positive", "double negation", "Not without"),
        ("History of edema.", "none", "historical", "History of"),
        ("Evaluate for edema.", "none", "hypothetical", "Evaluate for"),
        ("Edema has resolved.", "negative", "resolved", "has resolved"),
        ("No new edema.", "none", "no new", "No new"),
        ("Edema or pneumonia.", "uncertain", "alternative", "or"),
        ("Is there edema?", "none", "question", None),
    ],
)
def test_mention_carries_reason_and_cue(
    analyzer: "SentenceAnalyzer", sentence: str, assertion: str, reason: str, cue: str | None
) -> None:
    mention = only(analyzer, sentence, "Edema")
    words = None if mention.cue is None else sentence[mention.cue[0] : mention.cue[1]]

    assert (mention.assertion, mention.reason, words) == (assertion, reason, cue)


def test_statement_of_normality_says_so(analyzer: "SentenceAnalyzer") -> None:
    mention = only(analyzer, "Heart size is normal.", "Cardiomegaly")

    assert (mention.assertion, mention.reason) == ("negative", "normal statement")


@pytest.mark.parametrize(
    ("sentence", "attribute", "value"),
    [
        ("Left effusion.", "laterality", "left"),
        ("Right-sided effusion.", "laterality", "right"),
        ("Bilateral effusions.", "laterality", "bilateral"),
        ("Effusion on the left.", "laterality", "left"),
        ("RLL effusion.", "laterality", "right"),
        ("Effusion.", "laterality", ""),
        ("Left and right effusions.", "laterality", "bilateral"),
        ("Nodule on the left, but effusion.", "laterality", ""),
        ("Effusion, edema and left nodule.", "laterality", ""),
        ("Small effusion.", "severity", "mild"),
        ("Effusion has slightly worsened.", "severity", ""),
        ("Trace effusion.", "severity", "trace"),
        ("Moderate effusion.", "severity", "moderate"),
        ("Massive effusion.", "severity", "severe"),
        ("Moderate to large effusion.", "severity", "severe"),
        ("Effusion.", "severity", ""),
        ("Effusion at the left base.", "location", "basal"),
        ("Apical effusion.", "location", "apical"),
        ("Effusion.", "location", ""),
        ("New effusion.", "temporality", "new"),
        ("Unchanged effusion.", "temporality", "unchanged"),
        ("Effusion, unchanged.", "temporality", "unchanged"),
        ("Increasing effusion.", "temporality", "worse"),
        ("Effusion has decreased.", "temporality", "improved"),
        ("Effusion has resolved.", "temporality", "resolved"),
        ("No change in the effusion.", "temporality", "unchanged"),
        ("Effusion.", "temporality", ""),
    ],
)
def test_mention_carries_attributes(
    analyzer: "SentenceAnalyzer", sentence: str, attribute: str, value: str
) -> None:
    assert getattr(only(analyzer, sentence, "Pleural Effusion"), attribute) == value


def test_nearest_side_belongs_to_each_mention(analyzer: "SentenceAnalyzer") -> None:
    sentence = "Left effusion and right pneumothorax."

    assert only(analyzer, sentence, "Pleural Effusion").laterality == "left"
    assert only(analyzer, sentence, "Pneumothorax").laterality == "right"


@pytest.mark.parametrize(
    ("sentence", "assertion"),
    [
        ("It has resolved.", "negative"),
        ("This has cleared.", "negative"),
        ("None is seen.", "negative"),
        ("No.", "negative"),
        ("Yes.", "positive"),
        ("This is questionable.", "uncertain"),
    ],
)
def test_sentence_without_a_finding_may_speak_of_the_one_before(
    analyzer: "SentenceAnalyzer", sentence: str, assertion: str
) -> None:
    anaphor = analyzer(sentence).anaphor

    assert anaphor is not None
    assert anaphor.assertion == assertion


@pytest.mark.parametrize(
    ("sentence", "assertion"),
    [
        ("Effusion on the earlier film; this has now cleared.", "negative"),
        ("There is an effusion, but it is no longer seen.", "negative"),
        ("There is an effusion, but it is unchanged.", "positive"),
        ("Effusion is present; no change is seen.", "positive"),
    ],
)
def test_clause_without_a_finding_may_speak_of_the_one_before(
    analyzer: "SentenceAnalyzer", sentence: str, assertion: str
) -> None:
    assert only(analyzer, sentence, "Pleural Effusion").assertion == assertion
