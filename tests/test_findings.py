from collections.abc import Callable
from pathlib import Path

import pytest

from cxrlabel.errors import InputError
from cxrlabel.findings import (
    CODES,
    STATES,
    fold,
    load_dialect,
    load_findings,
    load_label_set,
    require,
    resolve,
)

WriteRules = Callable[[dict[str, str]], Path]

SCAR = 'name = "Scar"\naliases = ["Cicatrix"]\nsource = "a test"\n'

CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
NIH14 = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip


def test_codes_are_chexperts() -> None:
    assert [CODES[state] for state in STATES] == ["1.0", "-1.0", "0.0", ""]


def test_findings_are_chexperts_then_nihs() -> None:
    names = [finding.name for finding in load_findings()]

    assert tuple(names[:14]) == CHEXPERT
    assert len(names) == 21


def test_finding_key_is_its_name_in_snake_case() -> None:
    keys = {finding.name: finding.key for finding in load_findings()}

    assert all(key == name.lower().replace(" ", "_") for name, key in keys.items())


def test_user_finding_stands_behind_ours(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": SCAR})

    assert [f.name for f in load_findings([folder])][-1] == "Scar"


def test_user_finding_without_a_name_names_file_and_key(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": 'source = "a test"'})

    with pytest.raises(InputError, match=r"scar\.toml: key 'name'"):
        load_findings([folder])


def test_second_file_of_the_same_finding_is_refused(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/swelling.toml": 'name = "Edema"\nsource = "a test"\n'})

    with pytest.raises(InputError, match="Edema"):
        load_findings([folder])


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Pleural_Thickening", "pleuralthickening"),
        (" Pleural-Effusion ", "pleuraleffusion"),
        ("EDEMA", "edema"),
        ("", ""),
    ],
)
def test_fold_ignores_case_and_separators(name: str, folded: str) -> None:
    assert fold(name) == folded


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("Pleural Effusion", "Pleural Effusion"),
        ("Effusion", "Pleural Effusion"),
        ("pleural_effusion", "Pleural Effusion"),
        ("Airspace Opacity", "Lung Opacity"),
        ("lung-opacity", "Lung Opacity"),
        ("Pleural_Thickening", "Pleural Thickening"),
        ("CARDIOMEGALY", "Cardiomegaly"),
        ("age", None),
        ("", None),
    ],
)
def test_resolve_finds_the_finding_of_a_column(name: str, finding: str | None) -> None:
    assert resolve(name) == finding


def test_resolve_knows_the_aliases_of_a_user_finding(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": SCAR})

    assert resolve("cicatrix", rules=[folder]) == "Scar"
    assert resolve("cicatrix") is None


def test_name_with_two_owners_is_refused(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": SCAR.replace("Cicatrix", "Edema")})

    with pytest.raises(InputError, match="'Edema' is a name of"):
        resolve("Scar", rules=[folder])


def test_require_suggests_the_near_finding_and_names_the_place() -> None:
    with pytest.raises(InputError, match=r"^my\.csv: unknown finding 'Oedemas'.*Edema"):
        require("Oedemas", place="my.csv")


def test_require_lists_all_findings_when_none_is_near() -> None:
    with pytest.raises(InputError, match=r"known: No Finding, .*Hernia"):
        require("zzz", place="my.csv")


@pytest.mark.parametrize(("name", "columns"), [("chexpert", CHEXPERT), ("nih14", NIH14)])
def test_label_set_has_its_columns_in_order(name: str, columns: tuple[str, ...]) -> None:
    assert tuple(load_label_set(name).columns.values()) == columns


def test_label_set_renames_without_changing_the_finding() -> None:
    assert load_label_set("nih14").columns["Pleural Effusion"] == "Effusion"


def test_label_set_all_holds_user_findings(rules_folder: WriteRules) -> None:
    folder = rules_folder({"findings/scar.toml": SCAR})

    assert "Scar" in load_label_set("all", rules=[folder]).columns


def test_label_set_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('findings = ["effusion", "Edema"]\n[rename]\n"effusion" = "Fluid"\n')

    label_set = load_label_set(str(path))

    assert label_set.name == "mine"
    assert label_set.columns == {"Pleural Effusion": "Fluid", "Edema": "Edema"}


def test_label_set_file_with_an_unknown_finding_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('findings = ["Atelectasys"]')

    with pytest.raises(InputError, match=r"mine\.toml: unknown finding 'Atelectasys'.*Atelectasis"):
        load_label_set(str(path))


@pytest.mark.parametrize("content", ["", "findings = 3", "findings = [3]"])
def test_label_set_file_without_a_list_names_the_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)

    with pytest.raises(InputError, match=r"mine\.toml: key 'findings': expected a list of strings"):
        load_label_set(str(path))


def test_label_set_file_with_a_wrong_rename_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('findings = ["Edema"]\nrename = ["Edema"]\n')

    with pytest.raises(InputError, match=r"mine\.toml: key 'rename'"):
        load_label_set(str(path))


def test_unknown_label_set_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match=r"--labelset: unknown label set 'nih'.*'nih14'"):
        load_label_set("nih")


@pytest.mark.parametrize(
    ("name", "form", "label_set", "order"),
    [
        ("cxr", "columns", "", "set"),
        ("chexpert", "columns", "chexpert", "set"),
        ("mimic", "columns", "chexpert", "alphabetical"),
        ("nih", "string", "nih14", "set"),
    ],
)
def test_dialect_has_its_layout(name: str, form: str, label_set: str, order: str) -> None:
    dialect = load_dialect(name)

    assert (dialect.form, dialect.label_set, dialect.order) == (form, label_set, order)


def test_mimic_dialect_keeps_the_subject_before_the_study() -> None:
    dialect = load_dialect("mimic")

    assert (dialect.keep, dialect.id_name) == (("subject_id",), "study_id")


def test_unknown_dialect_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match=r"--dialect: unknown dialect 'mimiic'.*'mimic'"):
        load_dialect("mimiic")
