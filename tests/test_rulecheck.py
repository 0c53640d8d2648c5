"""`cxr rules`: the examples of a user's own rules are run, and a finding's rules are shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cxrlabel.errors import InputError
from cxrlabel.options import load_options
from cxrlabel.rulecheck import check_rules, show_finding

Cxr = Callable[..., Result]

SCAR = """
name = "Lung Scar"
aliases = ["Cicatrix"]
source = "Words for a test."
exclusions = ["skin scar"]
[[rules]]
id = "scar"
phrases = ["lung scar"]
patterns = [["scar|scarring", "of", "..2", "lung"]]
[[anatomy]]
id = "lung-surface"
terms = ["lung surface"]
abnormal = ["puckered"]
[[examples]]
text = "No lung scar."
expect = "negative"
"""
WRONG = '[[examples]]\ntext = "A lung scar."\nexpect = "negative"\n'


@pytest.fixture
def scar(rules_folder: Callable[..., Path]) -> Path:
    return rules_folder({"findings/lung_scar.toml": SCAR})


def test_own_rules_that_hold_pass(cxr: Cxr, scar: Path) -> None:
    done = cxr("rules", "check", "--rules", scar)

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("22 findings, ")
    assert done.stdout.endswith(" examples: all as expected\n")


def test_example_that_fails_is_named_with_its_reason(
    cxr: Cxr, rules_folder: Callable[..., Path]
) -> None:
    rules = rules_folder({"findings/lung_scar.toml": SCAR + WRONG})

    done = cxr("rules", "check", "--rules", rules)

    line, last = done.stderr.splitlines()
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "lung_scar.toml: example 2: Lung Scar: expected negative, found positive" in line
    assert "'A lung scar.'" in line
    assert "lung_scar/scar positive" in line
    assert last.endswith("examples: 1 examples failed")


def test_check_counts_findings_rules_and_failures(rules_folder: Callable[..., Path]) -> None:
    check = check_rules([rules_folder({"findings/lung_scar.toml": SCAR + WRONG})])

    (failure,) = check.failures
    assert check.findings == 22
    assert (failure.example.finding, failure.example.expect) == ("Lung Scar", "negative")
    assert failure.found == "positive"


def test_check_of_a_broken_file_names_file_rule_and_key(rules_folder: Callable[..., Path]) -> None:
    wrong = SCAR.replace('phrases = ["lung scar"]', 'phrases = "lung scar"')
    rules = rules_folder({"findings/lung_scar.toml": wrong})

    with pytest.raises(InputError, match=r"lung_scar\.toml: rule 'scar': key 'phrases'"):
        check_rules([rules])


def test_check_of_a_missing_folder_exits_with_1(cxr: Cxr, tmp_path: Path) -> None:
    done = cxr("rules", "check", "--rules", tmp_path / "none")

    assert (done.exit_code, done.stdout) == (1, "")
    assert (
        done.stderr == f"error: {tmp_path / 'none'}: no such folder; expected a folder of rules\n"
    )


@pytest.mark.parametrize("name", ["lung_scar", "Cicatrix"])
def test_finding_is_shown_by_any_of_its_names(cxr: Cxr, scar: Path, name: str) -> None:
    done = cxr("rules", "show", name, "--rules", scar)

    assert done.exit_code == 0
    assert done.stdout.splitlines()[:2] == ["Lung Scar", "Words for a test."]


@pytest.fixture(scope="module")
def shown(cxr: Cxr, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a finding with a rule of each kind."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "findings").mkdir()
    (folder / "findings" / "lung_scar.toml").write_text(SCAR)
    return cxr("rules", "show", "Lung Scar", "--rules", folder).stdout.splitlines()


def test_rule_is_shown_with_phrases_and_patterns(shown: list[str]) -> None:
    (line,) = [line for line in shown if line.startswith("scar ")]

    assert line.strip().split(maxsplit=2) == [
        "scar", "positive", "lung scar, [scar|scarring of ..2 lung]",
    ]  # fmt: skip


def test_rule_is_shown_with_exclusions_anatomy_and_examples(shown: list[str]) -> None:
    text = " ".join(" ".join(shown).split())

    assert "never: skin scar" in text
    assert "lung-surface positive lung surface … puckered" in text
    assert "No lung scar. negative" in text


def test_finding_of_ours_is_shown_by_its_alias(cxr: Cxr) -> None:
    done = cxr("rules", "show", "effusion")

    assert done.stdout.startswith("Pleural Effusion\n")
    assert "parapneumonic effusion" in done.stdout


def test_unknown_finding_suggests_the_near_one(cxr: Cxr) -> None:
    done = cxr("rules", "show", "Pnuemothorax")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "unknown finding 'Pnuemothorax'; did you mean 'Pneumothorax'?" in done.stderr


def test_unknown_finding_raises() -> None:
    with pytest.raises(InputError, match="did you mean 'Edema'"):
        show_finding("Edma")


def test_options_are_listed_with_default_and_choices(cxr: Cxr) -> None:
    done = cxr("rules", "options")

    assert done.exit_code == 0
    assert "likely=positive  (positive | uncertain)\n" in done.stdout
    names = [line.partition("=")[0] for line in done.stdout.splitlines() if line[:1] != " "]
    assert names == list(load_options())


def test_own_default_of_an_option_is_listed(cxr: Cxr, rules_folder: Callable[..., Path]) -> None:
    rules = rules_folder({"options.toml": 'extend = true\n[likely]\ndefault = "uncertain"\n'})

    done = cxr("rules", "options", "--rules", rules)

    assert "likely=uncertain  (positive | uncertain)\n" in done.stdout
