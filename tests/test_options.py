"""The named options: each value gives a label of its own, in every language."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cxrlabel.errors import InputError
from cxrlabel.labeler import Labeler
from cxrlabel.options import load_options
from cxrlabel.rulebook import load_rulebook
from cxrlabel.states import as_codes

WriteRules = Callable[[dict[str, str]], Path]
Labels = Mapping[str, str]

OPTIONS = load_options()
NEITHER: Labels = {"Consolidation": "blank", "Pneumonia": "blank"}
OPACITY: Labels = {"Consolidation": "negative", "Pneumonia": "blank"}
LUNG: Labels = {"Consolidation": "negative", "Pneumonia": "negative"}


def only(finding: str, **states: str) -> dict[str, Labels]:
    """The labels of a sentence about one finding, by the option's value."""
    return {value: {finding: state} for value, state in states.items()}


# option -> what its values make of a sentence in English and in Spanish
EFFECTS: dict[str, tuple[dict[str, Labels], str, str]] = {
    "likely": (
        only("Edema", positive="positive", uncertain="uncertain"),
        "Likely edema.",
        "Hallazgos compatibles con edema.",
    ),
    "no_new": (
        only("Pleural Effusion", none="blank", negative="negative", uncertain="uncertain"),
        "No new effusion.",
        "Sin nuevo derrame pleural.",
    ),
    "alternatives": (
        only("Pneumonia", uncertain="uncertain", positive="positive"),
        "Edema or pneumonia.",
        "Edema o neumonía.",
    ),
    "old_fracture": (
        only("Fracture", positive="positive", none="blank"),
        "Healed rib fracture.",
        "Fractura antigua de clavícula.",
    ),
    "surgical_material": (
        only("Support Devices", device="positive", none="blank"),
        "Sternal wires.",
        "Suturas de esternotomía.",
    ),
    "monitor_leads": (
        only("Support Devices", device="positive", none="blank"),
        "EKG electrodes lie over the chest.",
        "Electrodos de monitorización.",
    ),
    "congestion": (
        only("Edema", uncertain="uncertain", positive="positive", none="blank"),
        "The pulmonary vessels are engorged.",
        "Redistribución vascular.",
    ),
    "heart_failure_edema": (
        only("Edema", positive="positive", uncertain="uncertain", none="blank"),
        "Congestive heart failure.",
        "Insuficiencia cardiaca.",
    ),
    "heart_failure_cardiomegaly": (
        only("Cardiomegaly", uncertain="uncertain", none="blank"),
        "Congestive heart failure.",
        "Insuficiencia cardiaca.",
    ),
    "borderline_heart": (
        only("Cardiomegaly", uncertain="uncertain", positive="positive", negative="negative"),
        "Heart size is at the upper limits of normal.",
        "Corazón en el límite alto de la normalidad.",
    ),
    "cardiomediastinal_silhouette": (
        only("Cardiomegaly", heart_and_mediastinum="negative", mediastinum="blank"),
        "The cardiomediastinal silhouette is normal.",
        "Silueta cardiomediastínica normal.",
    ),
    "blunted_angle": (
        only("Pleural Effusion", uncertain="uncertain", positive="positive", none="blank"),
        "The left costophrenic angle is blunted.",
        "Pinzamiento del seno costofrénico izquierdo.",
    ),
    "clear_lungs": (
        {"opacity_and_consolidation": OPACITY, "lung_findings": LUNG, "none": NEITHER},
        "The lungs are clear.",
        "Campos pulmonares libres.",
    ),
    "infiltrate": (
        only("Lung Opacity", infiltration_and_opacity="positive", infiltration="blank"),
        "Infiltrate at the left base.",
        "Infiltrado en base izquierda.",
    ),
    "interstitial_changes": (
        only("Lung Opacity", positive="positive", none="blank"),
        "The interstitial markings are prominent.",
        "Patrón intersticial.",
    ),
    "scar": (
        only("Lung Opacity", positive="positive", none="blank"),
        "Linear scar at the left base.",
        "Tractos cicatriciales apicales.",
    ),
    "granuloma": (
        only("Nodule", none="blank", positive="positive"),
        "Calcified granuloma of the left lung.",
        "Granuloma calcificado en LSD.",
    ),
    "copd": (
        only("Emphysema", none="blank", uncertain="uncertain", positive="positive"),
        "Hyperinflated lungs.",
        "Signos de EPOC.",
    ),
    "other_abnormalities": (
        only("No Finding", block="blank", ignore="positive"),
        "Thoracic scoliosis.",
        "Escoliosis dorsal.",
    ),
}  # fmt: skip

CASES = [
    (lang, option, value, sentence, labels[value])
    for option, (labels, english, spanish) in EFFECTS.items()
    for lang, sentence in (("en", english), ("es", spanish))
    for value in OPTIONS[option].choices
]


@cache
def few_cues(lang: str, **options: str) -> Labeler:
    """A labeler without the cues that no option decides: they take four fifths of its loading."""
    book = load_rulebook(options=options, lang=lang)
    cues = tuple(cues for cues in book.cues if cues.kind in ("no_new", "uncertainty"))
    return Labeler(replace(book, cues=cues), findings=list(book.findings))


@cache
def with_options(**options: str) -> Labeler:
    return Labeler.load(options=options)


@pytest.mark.parametrize(
    ("lang", "option", "value", "sentence", "expected"),
    CASES,
    ids=[f"{option}={value}-{lang}" for lang, option, value, _, _ in CASES],
)
def test_option_value_makes_its_label(
    lang: str, option: str, value: str, sentence: str, expected: Labels
) -> None:
    options = {} if value == OPTIONS[option].default else {option: value}

    labels = few_cues(lang, **options).label(sentence).labels

    assert {finding: labels[finding] for finding in expected} == expected


def test_every_option_has_a_sentence() -> None:
    assert set(EFFECTS) == set(OPTIONS)


@pytest.mark.parametrize("option", EFFECTS)
def test_no_two_values_of_an_option_make_the_same_labels(option: str) -> None:
    labels = EFFECTS[option][0]

    assert set(labels) == set(OPTIONS[option].choices)
    assert len({tuple(states.items()) for states in labels.values()}) == len(labels)


# option with the value "none" -> a sentence that states its sign, one that denies it, the finding
SIGNS = {
    "congestion": ("Vascular congestion.", "No vascular congestion.", "Edema"),
    "heart_failure_edema": ("Heart failure.", "No heart failure.", "Edema"),
    "blunted_angle": (
        "Blunted left costophrenic angle.",
        "No blunting of the costophrenic angles.",
        "Pleural Effusion",
    ),
    "interstitial_changes": ("Interstitial disease.", "No interstitial disease.", "Lung Opacity"),
    "scar": ("Apical scarring.", "No scarring.", "Lung Opacity"),
    "old_fracture": ("Healed rib fracture.", "No healed rib fracture.", "Fracture"),
}


@pytest.mark.parametrize("option", SIGNS)
def test_sign_of_no_finding_is_another_abnormality(option: str) -> None:
    stated, denied, finding = SIGNS[option]
    labeler = with_options(**{option: "none"})

    labels = labeler.label(stated).labels

    assert (labels[finding], labels["No Finding"]) == ("blank", "blank")
    assert "Other Abnormality" in {mention.finding for mention in labeler.label(stated).mentions}
    assert labeler.label(denied).labels[finding] == "negative"


def test_sign_of_no_finding_may_be_ignored_like_other_abnormalities() -> None:
    labeler = with_options(congestion="none", other_abnormalities="ignore")

    assert labeler.label("Vascular congestion.").labels["No Finding"] == "positive"
    assert labeler.label("Vascular congestion. Edema.").labels["No Finding"] == "blank"


def test_words_of_two_rules_are_one_other_abnormality() -> None:
    report = "Peribronchial thickening."
    mentions = with_options(interstitial_changes="none").label(report).mentions

    assert [(m.finding, m.text) for m in mentions] == [
        ("Other Abnormality", "Peribronchial thickening")
    ]


def test_leads_on_the_skin_hide_no_other_device() -> None:
    labels = with_options(monitor_leads="none").label("ECG leads. Left pacemaker.").labels

    assert labels["Support Devices"] == "positive"


@pytest.mark.parametrize("words", ["Splenic granuloma.", "Calcified granulomas in the liver."])
def test_granuloma_outside_the_lung_is_no_nodule(words: str) -> None:
    assert with_options(granuloma="positive").label(words).labels["Nodule"] == "blank"


@pytest.mark.parametrize("value", ["block", "ignore"])
def test_reports_labeled_together_heed_other_abnormalities(value: str) -> None:
    labeler = with_options(other_abnormalities=value)
    reading = labeler.read("Thoracic scoliosis.")

    labels = labeler.bits.labels([reading.bits], np.array([False]), "positive-first")

    assert (labels == as_codes([labeler.conclude(reading).labels])).all()


# ---- the files ----


def test_unknown_option_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown option 'lucky'; known: .*likely"):
        load_rulebook(options={"lucky": "yes"})


def test_wrong_option_value_lists_the_choices() -> None:
    with pytest.raises(InputError, match="likely='no'; expected one of positive, uncertain"):
        load_rulebook(options={"likely": "no"})


def test_options_hold_their_defaults() -> None:
    assert load_rulebook().options == {name: option.default for name, option in OPTIONS.items()}


def test_option_that_the_labeler_asks_for_must_be_there(rules_folder: WriteRules) -> None:
    own = '[odd]\ndefault = "a"\nchoices = ["a", "b"]\nabout = "a test"\n'
    folder = rules_folder({"options.toml": own})

    with pytest.raises(InputError, match=r"options.toml: option 'alternatives' is missing"):
        load_options([folder])


OWN_OPTION = """
extend = true

[wet_lung]
default = "uncertain"
choices = ["uncertain", "certain", "none"]
about = "a wet lung as Edema"
"""
OWN_RULES = """
extend = true

[[rules]]
id = "wet-lung"
phrases = ["@wet"]
option = "wet_lung"
assertion = { certain = "positive", none = "ignore" }
also = [{ when = { wet_lung = ["certain", "uncertain"] }, findings = ["Lung Opacity"] }]

[[anatomy]]
id = "lung-wetness"
when = { wet_lung = ["certain", "uncertain"] }
terms = ["lung"]
option = "wet_lung"
assertion = { certain = "positive" }
disputed = ["soaked"]
"""


@pytest.mark.parametrize(
    ("value", "state", "opacity"),
    [
        ("uncertain", "uncertain", "uncertain"),
        ("certain", "positive", "positive"),
        ("none", "blank", "blank"),
    ],
)
def test_own_option_decides_own_rules(
    rules_folder: WriteRules, value: str, state: str, opacity: str
) -> None:
    folder = rules_folder(
        {
            "options.toml": OWN_OPTION,
            "phrases.toml": 'extend = true\nwet = ["wet lung"]\n',
            "findings/edema.toml": OWN_RULES,
        }
    )
    labeler = Labeler.load(rules=[folder], options={"wet_lung": value})

    wet = labeler.label("Wet lung on the left.").labels
    soaked = labeler.label("The lungs are soaked.").labels

    assert (wet["Edema"], wet["Lung Opacity"], soaked["Edema"]) == (state, opacity, state)
