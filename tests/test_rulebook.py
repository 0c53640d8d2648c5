"""The rules are checked as a whole: what is wrong is named by file, rule and key."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrlabel.labeler import Labeler
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import rules_dir

WriteRules = Callable[[dict[str, str]], Path]

HEAD = 'name = "Scar"\nsource = "a test"\n'
RULE = '[[rules]]\nid = "scar"\nphrases = ["lung scar"]\n'
SCAR = HEAD + RULE
EXAMPLE = '[[examples]]\ntext = "A."\nexpect = "blank"\n'
CUE = 'assertion = "negative"\nreason = "own"\npriority = 9\nbefore = ["zero sign of"]\n'


@pytest.fixture
def few_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the project have one finding only: reading all rules for each error takes its time."""
    base = tmp_path / "base"
    shutil.copytree(rules_dir(), base, ignore=shutil.ignore_patterns("findings", "labelsets"))
    for folder in ("findings", "labelsets"):
        (base / folder).mkdir()
    (base / "labelsets" / "all.toml").write_text('findings = ["Edema"]')
    (base / "findings" / "edema.toml").write_text('name = "Edema"\nsource = "a test"\n')
    monkeypatch.setattr("cxrlabel.rulefiles.rules_dir", lambda: base)


# What the finding's file says beyond its head -> parts that the message must have
WRONG_FINDINGS = {
    "unknown key": (HEAD + "sauce = 1", ["unknown key 'sauce'"]),
    "no source": ('name = "Scar"', ["key 'source'"]),
    "empty source": ('name = "Scar"\nsource = " "', ["key 'source'"]),
    "exclusions no list": (HEAD + 'exclusions = "scar"', ["key 'exclusions'", "expected a list"]),
    "exclusion no phrase": (HEAD + "exclusions = [3]", ["key 'exclusions'", "found 3"]),
    "rules no tables": ('rules = ["scar"]\n' + HEAD, ["'rules'"]),
    "misspellings no table": ('misspellings = ["skar"]\n' + HEAD, ["key 'misspellings'"]),
    "misspelling no word": (HEAD + "[misspellings]\nskar = 3", ["'misspellings'"]),
    "rule: unknown key": (SCAR + "phrase = []", ["rule 'scar'", "unknown key 'phrase'"]),
    "rule: no id": (HEAD + '[[rules]]\nphrases = ["scar"]', ["(without id)", "key 'id'"]),
    "rule: id twice": (SCAR + RULE, ["rule 'scar'", "stands twice"]),
    "rule: no phrases": (HEAD + '[[rules]]\nid = "scar"', ["rule 'scar'", "'phrases'"]),
    "rule: phrases no list": (
        HEAD + '[[rules]]\nid = "scar"\nphrases = "scar"',
        ["rule 'scar'", "key 'phrases'", "expected a list"],
    ),
    "rule: empty phrase": (
        HEAD + '[[rules]]\nid = "scar"\nphrases = [" "]',
        ["rule 'scar'", "key 'phrases'", "found ' '"],
    ),
    "rule: pattern of numbers": (
        HEAD + '[[rules]]\nid = "scar"\npatterns = [["lung", 3]]',
        ["rule 'scar'", "key 'patterns'", "found ['lung', 3]"],
    ),
    "rule: empty pattern": (
        HEAD + '[[rules]]\nid = "scar"\npatterns = [[]]',
        ["rule 'scar'", "key 'patterns'", "found []"],
    ),
    "rule: gap without a number": (
        HEAD + '[[rules]]\nid = "scar"\npatterns = [["lung", "..x", "scar"]]',
        ["rule 'scar'", "key 'patterns'", "..x"],
    ),
    "rule: assertion": (SCAR + 'assertion = "maybe"', ["rule 'scar'", "'assertion'", "'maybe'"]),
    "rule: also: unknown key": (
        SCAR + 'also = [{ finding = "Edema" }]',
        ["rule 'scar'", "key 'also'", "unknown key 'finding'", "findings, when"],
    ),
    "rule: also: optional finding": (
        SCAR + 'also = [{ when = { likely = "uncertain" }, findings = ["Edemma"] }]',
        ["rule 'scar'", "'also'", "mean 'Edema'"],
    ),
    "rule: also: value of an option": (
        SCAR + 'also = [{ when = { likely = "yes" }, findings = ["Edema"] }]',
        ["rule 'scar'", "'also'", "'likely'", "positive, uncertain", "'yes'"],
    ),
    "rule: unknown list": (
        SCAR.replace('"lung scar"', '"@scar"'),
        ["rule 'scar'", "key 'phrases'", "unknown set '@scar'", "known: granuloma"],
    ),
    "rule: when no table": (
        SCAR + 'when = "likely"',
        ["rule 'scar'", "key 'when'", "expected a table of options"],
    ),
    "rule: when of an unknown option": (
        SCAR + 'when = { lucky = "yes" }',
        ["rule 'scar'", "key 'when'", "one of likely", "'lucky'"],
    ),
    "rule: when with an unknown value": (
        SCAR + 'when = { likely = ["positive", "yes"] }',
        ["rule 'scar'", "key 'when'", "'likely'", "positive, uncertain", "'yes'"],
    ),
    "rule: when without a value": (
        SCAR + "when = { likely = 1 }",
        ["rule 'scar'", "key 'when'", "'likely'", "list of strings"],
    ),
    "rule: unknown option": (
        SCAR + 'option = "lucky"',
        ["rule 'scar'", "key 'option'", "one of likely", "'lucky'"],
    ),
    "rule: option and an assertion": (
        SCAR + 'option = "likely"\nassertion = "positive"',
        ["rule 'scar'", "key 'assertion'", "a table of strings", "'positive'"],
    ),
    "rule: option of which a value means nothing": (
        SCAR + 'option = "monitor_leads"',
        ["rule 'scar'", "key 'assertion'", "'monitor_leads'", "'device'", "device = one of"],
    ),
    "rule: meaning of an unknown value": (
        SCAR + 'option = "likely"\nassertion = { yes = "positive" }',
        ["rule 'scar'", "key 'assertion'", "one of positive, uncertain", "'yes'"],
    ),
    "rule: meaning that is none": (
        SCAR + 'option = "monitor_leads"\nassertion = { device = "yes" }',
        ["rule 'scar'", "key 'assertion'", "'device'", "expected device = one of positive"],
    ),
    "rule: meanings without an option": (
        SCAR + 'assertion = { positive = "hint" }',
        ["rule 'scar'", "'assertion'", "expected one of positive"],
    ),
    "rule: also": (SCAR + 'also = ["Edemma"]', ["rule 'scar'", "'also'", "mean 'Edema'"]),
    "rule: also no list": (SCAR + 'also = "Edema"', ["rule 'scar'", "'also'", "list of strings"]),
    "anatomy: no terms": (HEAD + '[[anatomy]]\nid = "lung"', ["rule 'lung'", "key 'terms'"]),
    "anatomy: unknown key": (
        HEAD + '[[anatomy]]\nid = "lung"\nterms = ["lung"]\nodd = []',
        ["rule 'lung'", "unknown key 'odd'"],
    ),
    "anatomy: option without disputed": (
        HEAD + '[[anatomy]]\nid = "lung"\nterms = ["lung"]\noption = "likely"',
        ["rule 'lung'", "key 'disputed'", "expected a list"],
    ),
    "anatomy: disputed without option": (
        HEAD + '[[anatomy]]\nid = "lung"\nterms = ["lung"]\ndisputed = ["odd"]',
        ["rule 'lung'", "key 'option'", "expected a string"],
    ),
    "anatomy: when with an unknown value": (
        HEAD + '[[anatomy]]\nid = "lung"\nterms = ["lung"]\nwhen = { likely = "yes" }',
        ["rule 'lung'", "key 'when'", "'likely'", "'yes'"],
    ),
    "anatomy: unknown set": (
        HEAD + '[[anatomy]]\nid = "lung"\nterms = ["lung"]\nnormal = ["@fine"]',
        ["rule 'lung'", "key 'normal'", "unknown set '@fine'", "known: normal"],
    ),
    "anatomy: id of a rule": (
        SCAR + '[[anatomy]]\nid = "scar"\nterms = ["lung"]',
        ["rule 'scar'", "stands twice"],
    ),
    "example: no text": (HEAD + '[[examples]]\nexpect = "blank"', ["example 1", "key 'text'"]),
    "example: expect": (
        HEAD + EXAMPLE + EXAMPLE.replace("blank", "yes"),
        ["example 2", "key 'expect'", "'yes'"],
    ),
    "example: unknown key": (
        HEAD + EXAMPLE + 'why = ""',
        ["example 1", "unknown key 'why'"],
    ),
}  # fmt: skip


@pytest.mark.usefixtures("few_rules")
@pytest.mark.parametrize(
    ("content", "parts"), list(WRONG_FINDINGS.values()), ids=list(WRONG_FINDINGS)
)
def test_wrong_finding_file_names_file_rule_and_key(
    rules_folder: WriteRules, content: str, parts: list[str]
) -> None:
    folder = rules_folder({"findings/scar.toml": content})

    with pytest.raises(InputError) as caught:
        load_rulebook([folder])

    message = str(caught.value)
    assert all(part in message for part in ["scar.toml", *parts]), message


WRONG_FILES = {
    "cue: unknown key": ("cues/own.toml", CUE + "first = []", ["unknown key 'first'"]),
    "cue: no reason": ("cues/own.toml", CUE.replace("reason", "#"), ["key 'reason'"]),
    "cue: no assertion": ("cues/own.toml", CUE.replace("assertion", "#"), ["key 'assertion'"]),
    "cue: assertion": ("cues/own.toml", CUE.replace("negative", "no"), ["'assertion'", "'no'"]),
    "cue: priority": ("cues/own.toml", CUE.replace("9", '"9"'), ["key 'priority'", "'9'"]),
    "cue: before no list": (
        "cues/own.toml",
        CUE.replace('["zero sign of"]', '"zero"'),
        ["key 'before'", "'zero'"],
    ),
    "cue: unknown option": (
        "cues/own.toml",
        'option = "lucky"\nreason = "own"\npriority = 9',
        ["key 'option'", "'lucky'"],
    ),
    "cue: optional without value": (
        "cues/own.toml",
        CUE + '[[optional]]\noption = "likely"',
        ["key 'value'"],
    ),
    "cue: optional with an unknown value": (
        "cues/own.toml",
        CUE + '[[optional]]\noption = "likely"\nvalue = "yes"',
        ["key 'value'", "positive, uncertain", "'yes'"],
    ),
    "cue: option of other values": (
        "cues/own.toml",
        'option = "infiltrate"\nreason = "own"\npriority = 9',
        ["option 'infiltrate'", "key 'choices'", "'infiltration_and_opacity'"],
    ),
    "phrases": ("phrases.toml", 'copd = "copd"', ["key 'copd'"]),
    "section: no headings": (
        "sections.toml",
        '[[sections]]\nname = "odd"',
        ["section 'odd'", "key 'headings'"],
    ),
    "section: no name": (
        "sections.toml",
        '[[sections]]\nheadings = ["odd"]',
        ["(without name)", "key 'name'"],
    ),
    "section: unknown key": (
        "sections.toml",
        '[[sections]]\nname = "odd"\nheadings = ["odd"]\nlabel = false',
        ["section 'odd'", "unknown key 'label'"],
    ),
    "section: rank no number": (
        "sections.toml",
        '[[sections]]\nname = "odd"\nheadings = ["odd"]\nrank = "first"',
        ["section 'odd'", "'rank'"],
    ),
    "section: labels no truth value": (
        "sections.toml",
        '[[sections]]\nname = "odd"\nheadings = ["odd"]\nlabels = "no"',
        ["section 'odd'", "'labels'"],
    ),
    "option: default": (
        "options.toml",
        'extend = true\n[odd]\ndefault = "c"\nchoices = ["a", "b"]\nabout = "a test"',
        ["option 'odd'", "'c'", "a, b"],
    ),
    "option: no about": (
        "options.toml",
        'extend = true\n[odd]\ndefault = "a"\nchoices = ["a", "b"]',
        ["option 'odd'", "key 'about'"],
    ),
    "option: no table": ("options.toml", "extend = true\nodd = 3", ["option 'odd'"]),
    "predicates": ("predicates.toml", 'normal = "normal"', ["key 'normal'"]),
    "clauses: no list": ("clauses.toml", 'extend = true\nowners = "but"', ["key 'owners'"]),
    "clauses: list missing": ("clauses.toml", 'openers = ["but"]', []),
    "words: list missing": ("words.toml", "keep = []", []),
    "text: list missing": ("text.toml", "questions = []", []),
    "attributes": ("attributes/severity.toml", "mild = 3", ["key 'mild'"]),
}  # fmt: skip


@pytest.mark.usefixtures("few_rules")
@pytest.mark.parametrize(
    ("name", "content", "parts"), list(WRONG_FILES.values()), ids=list(WRONG_FILES)
)
def test_wrong_file_of_another_kind_names_file_entry_and_key(
    rules_folder: WriteRules, name: str, content: str, parts: list[str]
) -> None:
    folder = rules_folder({name: content})

    with pytest.raises(InputError) as caught:
        Labeler.load(rules=[folder])

    message = str(caught.value)
    assert all(part in message for part in [Path(name).name, *parts]), message


def test_user_finding_is_labeled(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": SCAR + 'also = ["Lung Opacity"]\n'})

    labels = Labeler.load(rules=[folder]).label("There is no lung scar.").labels

    assert labels["Scar"] == labels["Lung Opacity"] == "negative"


def test_user_file_overrides_ours(rules_folder: WriteRules) -> None:
    content = SCAR.replace("Scar", "Edema").replace("lung scar", "wet lung")
    folder = rules_folder({"findings/edema.toml": content})

    (rule,) = load_rulebook([folder]).findings["Edema"].rules

    assert (rule.id, rule.phrases) == ("edema/scar", ("wet lung",))


def test_user_file_extends_ours(rules_folder: WriteRules, state: Callable[[str, str], str]) -> None:
    content = 'extend = true\n[[rules]]\nid = "own"\nphrases = ["soggy lung"]\n'
    folder = rules_folder({"findings/edema.toml": content})
    extended = Labeler.load(rules=[folder])

    labels = extended.label("Soggy lungs. No interstitial edema.").labels

    assert labels["Edema"] == "positive"
    assert state("Soggy lungs. No interstitial edema.", "Edema") == "negative"


def test_user_cue_decides(rules_folder: WriteRules) -> None:
    folder = rules_folder({"cues/own.toml": CUE})

    (mention,) = Labeler.load(rules=[folder]).label("Zero sign of emphysema.").mentions

    assert (mention.assertion, mention.reason, mention.cue) == ("negative", "own", "Zero sign of")


def test_rules_of_a_finding_carry_their_file_in_their_id() -> None:
    ids = [rule.id for rule in load_rulebook().findings["Pleural Effusion"].rules]

    assert all(id_.startswith("pleural_effusion/") for id_ in ids)


def test_also_adds_findings_to_a_rule() -> None:
    targets = {rule.findings for rule in load_rulebook().findings["Nodule"].rules}

    assert ("Nodule", "Lung Lesion") in targets


def test_shared_predicates_are_expanded() -> None:
    phrases = [
        phrase
        for part in load_rulebook().anatomy()
        for group in part.predicates.values()
        for phrase in group
    ]

    assert "within normal limit" in phrases
    assert not any(isinstance(phrase, str) and phrase.startswith("@") for phrase in phrases)


def test_cue_sets_stand_in_order_of_priority() -> None:
    priorities = [cues.priority for cues in load_rulebook().cues]

    assert priorities == sorted(priorities)


def test_every_finding_names_its_source() -> None:
    assert all(entry.source.strip() for entry in load_rulebook().findings.values())
