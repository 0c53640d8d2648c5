"""The labeler inside spaCy: any pipeline, saved and loaded, in other processes, drawn."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import spacy
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import compile_infix_regex

from cxrlabel.errors import InputError
from cxrlabel.labeler import Labeler
from cxrlabel.spacy_component import LabelerComponent, Settings, displacy_options

REPORT = "FINDINGS: No infiltrate. Small left pleural effusion is unchanged."
OWN_RULES = {
    "findings/rib_notching.toml": """
name = "Rib Notching"
source = "A test."

[[rules]]
id = "notching"
phrases = ["rib notching"]
"""
}


@pytest.fixture(scope="module")
def nlp() -> Language:
    """A blank pipeline with the component."""
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler")
    return nlp


@pytest.fixture
def with_own_rules(rules_folder: Callable[[dict[str, str]], Path]) -> Iterator[Language]:
    """A pipeline with a finding of the user's own, whose folder is gone afterwards."""
    folder = rules_folder(OWN_RULES)
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler", config={"rules": [str(folder)], "options": {"likely": "uncertain"}})
    shutil.rmtree(folder)
    yield nlp


def unloaded() -> LabelerComponent:
    """A component whose rules are still to come."""
    return LabelerComponent(Settings(rules=["gone"]))


def spans(doc: Doc) -> list[tuple[str, str, str]]:
    return [(span.text, span.label_, span._.cxr_assertion) for span in doc.spans["cxr"]]


def test_spans_are_the_mentions(nlp: Language) -> None:
    assert spans(nlp(REPORT)) == [
        ("infiltrate", "Infiltration", "negative"),
        ("infiltrate", "Lung Opacity", "negative"),
        ("pleural effusion", "Pleural Effusion", "positive"),
    ]


def test_labels_are_the_labelers(
    nlp: Language, labeler: Labeler, sample_reports: dict[str, str]
) -> None:
    reports = [*sample_reports.values()][:40]
    expected = [labeler.label(report).labels for report in reports]

    assert [doc._.cxr_labels for doc in nlp.pipe(reports)] == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reason", "asserted"),
        ("cue", ""),
        ("rule", "pleural_effusion/effusion"),
        ("section", "findings"),
        ("laterality", "left"),
        ("severity", "mild"),
        ("temporality", "unchanged"),
    ],
)
def test_span_says_why(nlp: Language, field: str, value: str) -> None:
    doc = nlp(REPORT)

    assert getattr(doc.spans["cxr"][-1]._, f"cxr_{field}") == value


def test_span_of_somebody_else_says_nothing(nlp: Language) -> None:
    assert nlp(REPORT)[0:2]._.cxr_assertion is None


@pytest.mark.parametrize(
    ("report", "status"),
    [("", "empty"), (" \n", "empty"), ("INDICATION: cough", "no usable section")],
)
def test_status_of_a_report_that_says_nothing(nlp: Language, report: str, status: str) -> None:
    doc = nlp(report)

    assert doc._.cxr_status == status
    assert set(doc._.cxr_labels.values()) == {"blank"}


@pytest.mark.parametrize("lang", ["de", "xx"])
def test_any_language_class_will_do(lang: str) -> None:
    nlp = spacy.blank(lang)
    nlp.add_pipe("cxr_labeler")

    assert nlp(REPORT)._.cxr_labels["Pleural Effusion"] == "positive"


def test_span_reaches_to_whole_tokens_of_a_coarse_tokenizer() -> None:
    nlp = spacy.blank("en")
    nlp.tokenizer.suffix_search = None
    nlp.tokenizer.infix_finditer = compile_infix_regex([r"(?!)"]).finditer
    nlp.add_pipe("cxr_labeler")

    assert spans(nlp("Effusion/pneumothorax.")) == [
        ("Effusion/pneumothorax.", "Pleural Effusion", "positive"),
        ("Effusion/pneumothorax.", "Pneumothorax", "positive"),
    ]


def test_other_components_stay_as_they_are() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "SIDE", "pattern": "left"}])
    nlp.add_pipe("cxr_labeler")
    doc = nlp(REPORT)

    assert [ent.text for ent in doc.ents] == ["left"]
    assert len(list(doc.sents)) == 2
    assert len(doc.spans["cxr"]) == 3


def test_two_labelers_keep_apart() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler")
    config = {"spans_key": "strict", "options": {"likely": "uncertain"}}
    nlp.add_pipe("cxr_labeler", name="strict", config=config)
    doc = nlp("Likely pneumonia.")

    assert [doc.spans[key][0]._.cxr_assertion for key in ("cxr", "strict")] == [
        "positive",
        "uncertain",
    ]


def test_sections_choose_what_makes_labels() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler", config={"sections": ["impression"]})

    assert nlp("FINDINGS: Edema.\nIMPRESSION: No edema.")._.cxr_labels["Edema"] == "negative"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sections": ["impresion"]}, "impression"),
        ({"options": {"likly": "uncertain"}}, "likely"),
        ({"aggregate": "best"}, "positive-first"),
    ],
)
def test_wrong_config_is_told_at_once(config: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spacy.blank("en").add_pipe("cxr_labeler", config=config)


def test_wrong_rule_names_the_users_file(rules_folder: Callable[[dict[str, str]], Path]) -> None:
    folder = rules_folder({"findings/edema.toml": "extend = true\nnonsense = 1\n"})

    with pytest.raises(InputError, match=str(folder)):
        spacy.blank("en").add_pipe("cxr_labeler", config={"rules": [str(folder)]})


def test_missing_rules_are_told_at_the_first_report(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler", config={"rules": [str(tmp_path / "gone")]})

    with pytest.raises(InputError, match="gone"):
        nlp(REPORT)


def test_pipeline_on_disk_holds_the_users_rules(with_own_rules: Language, tmp_path: Path) -> None:
    with_own_rules.to_disk(tmp_path / "pipeline")
    labels = spacy.load(tmp_path / "pipeline")("Rib notching. Likely edema.")._.cxr_labels

    assert (labels["Rib Notching"], labels["Edema"]) == ("positive", "uncertain")


def test_pipeline_as_bytes_holds_the_users_rules(with_own_rules: Language) -> None:
    loaded = spacy.blank("en").from_config(with_own_rules.config)
    loaded.from_bytes(with_own_rules.to_bytes())

    assert loaded("No rib notching.")._.cxr_labels["Rib Notching"] == "negative"


def test_loaded_pipeline_can_be_saved_again(with_own_rules: Language, tmp_path: Path) -> None:
    with_own_rules.to_disk(tmp_path / "first")
    spacy.load(tmp_path / "first").to_disk(tmp_path / "second")
    files = [tmp_path / name / "cxr_labeler" / "labeler.json" for name in ("first", "second")]

    assert files[0].read_bytes() == files[1].read_bytes()


def test_component_can_be_pickled(nlp: Language) -> None:
    component = pickle.loads(pickle.dumps(nlp.get_pipe("cxr_labeler")))

    assert spans(component(nlp.make_doc(REPORT))) == spans(nlp(REPORT))


def test_other_rules_than_those_saved_are_warned_of(nlp: Language) -> None:
    state = json.loads(nlp.get_pipe("cxr_labeler").to_bytes())
    state["rules_hash"] = "0" * 16

    with pytest.warns(UserWarning, match="other rules"):
        unloaded().from_bytes(json.dumps(state).encode())


@pytest.mark.parametrize(
    "name", ["../outside.toml", "findings/../../outside.toml", "/outside.toml"]
)
def test_saved_rules_stay_in_their_folder(nlp: Language, name: str) -> None:
    state = json.loads(nlp.get_pipe("cxr_labeler").to_bytes())
    state["folders"] = [{name: ""}]

    with pytest.raises(InputError, match="leads out"):
        unloaded().from_bytes(json.dumps(state).encode())


def test_doc_as_bytes_keeps_spans_and_what_they_say(nlp: Language) -> None:
    doc = nlp(REPORT)
    copy = Doc(spacy.blank("en").vocab).from_bytes(doc.to_bytes())

    assert spans(copy) == spans(doc)
    assert copy._.cxr_labels == doc._.cxr_labels


def test_pipe_keeps_order_and_context(nlp: Language) -> None:
    pairs = [("Edema.", "a"), ("No edema.", "b"), ("Possible edema.", "c")]
    done = [(doc._.cxr_labels["Edema"], c) for doc, c in nlp.pipe(pairs, as_tuples=True)]

    assert done == [("positive", "a"), ("negative", "b"), ("uncertain", "c")]


# A program of its own that imports nothing of ours.
PROCESSES = """
import sys
sys.modules["torch"] = None
import spacy

if __name__ == "__main__":
    nlp = spacy.blank("en")
    nlp.add_pipe("cxr_labeler")
    texts = ["Edema.", "No edema."] * 3
    for doc in nlp.pipe(texts, n_process=2, batch_size=2):
        print(doc._.cxr_labels["Edema"], doc.spans["cxr"][0]._.cxr_assertion)
"""


def test_processes_give_the_same(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROCESSES)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["positive positive", "negative negative"] * 3


@pytest.mark.parametrize(
    ("by", "shown", "color"), [("assertion", "negative", "#a8d8a8"), ("finding", "Edema", "hsl(")]
)
def test_displacy_draws_the_spans(nlp: Language, by: str, shown: str, color: str) -> None:
    options = displacy_options(by=by)
    drawn = displacy.render(nlp("No edema."), style="span", options=options, jupyter=False)

    assert shown in drawn
    assert color in drawn


def test_displacy_options_refuse_another_way() -> None:
    with pytest.raises(ValueError, match="assertion"):
        displacy_options(by="side")
