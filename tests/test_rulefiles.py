from collections.abc import Callable
from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrlabel.rulefiles import read_rule_file, read_rule_files, rules_dir

WriteRules = Callable[[dict[str, str]], Path]


def test_rules_dir_holds_findings() -> None:
    assert (rules_dir() / "findings" / "edema.toml").is_file()


def test_folder_lists_its_files_sorted_by_name() -> None:
    names = [file.stem for file in read_rule_files().folder("labelsets")]

    assert names == ["all", "chexpert-dataset", "chexpert", "nih14"]


def test_folder_of_unknown_name_is_empty() -> None:
    assert read_rule_files().folder("nothing") == []


def test_single_file_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"nothing\.toml is missing"):
        read_rule_files().single("nothing.toml")


def test_stem_is_the_name_without_folder_and_ending() -> None:
    assert read_rule_files().single("findings/edema.toml").stem == "edema"


def test_user_file_of_the_same_name_replaces_ours(rules_folder: WriteRules) -> None:
    folder = rules_folder({"hierarchy.toml": "[parents]\n'Edema' = 'Lung Opacity'\n"})

    parents = read_rule_files([folder]).single("hierarchy.toml").table["parents"]

    assert parents == {"Edema": "Lung Opacity"}


def test_user_file_with_extend_is_merged_into_ours(rules_folder: WriteRules) -> None:
    folder = rules_folder({"hierarchy.toml": "extend = true\n[parents]\n'Hernia' = 'Mass'\n"})

    parents = read_rule_files([folder]).single("hierarchy.toml").table["parents"]

    assert parents["Hernia"] == "Mass"
    assert parents["Edema"] == "Lung Opacity"


def test_extend_appends_to_lists(rules_folder: WriteRules) -> None:
    ours = read_rule_files().single("clauses.toml").table["openers"]
    folder = rules_folder({"clauses.toml": 'extend = true\nopeners = ["meanwhile"]\n'})

    merged = read_rule_files([folder]).single("clauses.toml").table["openers"]

    assert merged == [*ours, "meanwhile"]


def test_extend_replaces_the_entry_of_the_same_id(rules_folder: WriteRules) -> None:
    first = rules_folder({"findings/x.toml": '[[rules]]\nid = "a"\nphrases = ["one"]\n'})
    second = first.parent / "second"
    (second / "findings").mkdir(parents=True)
    content = 'extend = true\n[[rules]]\nid = "a"\nphrases = ["two"]\n'
    (second / "findings" / "x.toml").write_text(content)

    table = read_rule_files([first, second]).single("findings/x.toml").table

    assert table["rules"] == [{"id": "a", "phrases": ["two"]}]


def test_extend_of_a_file_that_we_lack_is_a_new_file(rules_folder: WriteRules) -> None:
    folder = rules_folder({"cues/own.toml": 'extend = true\nreason = "own"\n'})

    assert read_rule_files([folder]).single("cues/own.toml").table == {"reason": "own"}


def test_later_folder_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.toml").write_text(f'value = "{name}"')

    table = read_rule_files([tmp_path / "one", tmp_path / "two"]).single("x.toml").table

    assert table == {"value": "two"}


def test_hash_is_that_of_the_content(rules_folder: WriteRules) -> None:
    plain = read_rule_files().hash
    folder = rules_folder({"x.toml": "a = 1"})

    assert plain == read_rule_files(()).hash
    assert read_rule_files([folder]).hash != plain
    assert len(plain) == 16


def test_hash_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.toml").write_text("a = 1")

    assert read_rule_files([tmp_path / "one"]).hash == read_rule_files([tmp_path / "two"]).hash


def test_user_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no such folder"):
        read_rule_files([tmp_path / "absent"])


def test_user_folder_without_rules_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.toml file found"):
        read_rule_files([tmp_path])


def test_invalid_toml_names_file_and_line(rules_folder: WriteRules) -> None:
    folder = rules_folder({"cues/own.toml": 'reason = "a"\nbefore = none\n'})

    with pytest.raises(InputError, match=r"own\.toml: not valid TOML: .*line 2"):
        read_rule_files([folder])


def test_invalid_utf8_names_file_and_byte(rules_folder: WriteRules) -> None:
    folder = rules_folder({"x.toml": ""})
    (folder / "x.toml").write_bytes(b'a = "\xff"')

    with pytest.raises(InputError, match=r"x\.toml: not UTF-8 at byte 5"):
        read_rule_files([folder])


def test_lone_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('findings = ["Edema"]')

    assert read_rule_file(path).table == {"findings": ["Edema"]}


def test_lone_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.toml: no such file"):
        read_rule_file(tmp_path / "mine.toml")
