"""The findings: their names, their aliases in tables, label sets and export dialects.

The one place that knows what a finding is called. Everything is read from the rule files, so that a
finding that a user adds has its name and its aliases everywhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cxrlabel.errors import InputError
from cxrlabel.rulefiles import RuleFile, read_rule_file, read_rule_files

POSITIVE: Final = "positive"
UNCERTAIN: Final = "uncertain"
NEGATIVE: Final = "negative"
BLANK: Final = "blank"
STATES: Final = (POSITIVE, UNCERTAIN, NEGATIVE, BLANK)

# CheXpert coding: Irvin et al. 2019, sec. 2.1; a blank cell is "not mentioned"
CODES: Final[Mapping[str, str]] = {POSITIVE: "1.0", NEGATIVE: "0.0", UNCERTAIN: "-1.0", BLANK: ""}

NO_FINDING: Final = "No Finding"
SUPPORT_DEVICES: Final = "Support Devices"  # does not block No Finding
OTHER_ABNORMALITY: Final = "Other Abnormality"  # blocks No Finding, never a label of its own


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing that labels are about."""

    name: str  # CheXpert or NIH spelling, "Pleural Effusion"
    key: str  # snake_case, the rule file's name, "pleural_effusion"
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A choice of findings in order, each with the column name that the set gives it."""

    name: str
    columns: Mapping[str, str]  # finding -> column name


@dataclass(frozen=True, slots=True)
class Dialect:
    """The layout of a labels file that another project reads.

    `form` is "columns" (one per finding) or "string" (positive names joined by "|" in `column`).
    """

    name: str
    label_set: str
    form: str
    column: str
    order: str  # "set" or "alphabetical"
    id_name: str  # "" keeps the id column's own name
    id_prefix: str  # letters that the layout leaves out before the digits of an id
    keep: tuple[str, ...]  # columns of the input that the layout needs before the id
    keep_behind: tuple[str, ...]  # and behind it


def fold(name: str) -> str:
    """A name as it is compared: lower case without spaces, underscores and other marks."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@lru_cache(maxsize=8)
def _findings(rules: tuple[Path, ...]) -> tuple[Finding, ...]:
    files = read_rule_files(rules)
    found: dict[str, Finding] = {}
    for file in files.folder("findings"):
        finding = _finding(file)
        if finding.name in found:
            raise InputError(
                f"{file.path}: key 'name': {finding.name!r} is the finding of "
                f"{found[finding.name].key}.toml as well; expected one file per finding"
            )
        found[finding.name] = finding
    order = _string_list(files.single("labelsets/all.toml"), "findings")
    missing = [name for name in order if name not in found]
    if missing:
        raise InputError(f"rules: labelsets/all.toml names {missing[0]!r}, which no file defines")
    own = [name for name in sorted(found) if name not in order]
    return tuple(found[name] for name in [*order, *own])


def _finding(file: RuleFile) -> Finding:
    name = file.table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{file.path}: key 'name': expected the finding's name, found {name!r}")
    return Finding(name, file.stem, tuple(_string_list(file, "aliases", default=[])))


def load_findings(rules: Sequence[Path | str] = ()) -> tuple[Finding, ...]:
    """All findings: the 21 of CheXpert and NIH in the order of the set "all", then a user's own."""
    return _findings(tuple(Path(folder) for folder in rules))


@lru_cache(maxsize=8)
def _aliases(rules: tuple[Path, ...]) -> Mapping[str, str]:
    table: dict[str, str] = {}
    for finding in _findings(rules):
        for name in (finding.name, *finding.aliases):
            owner = table.setdefault(fold(name), finding.name)
            if owner != finding.name:
                raise InputError(
                    f"rules: {name!r} is a name of {owner!r} and of {finding.name!r}; "
                    "expected one owner per name"
                )
    return table


def resolve(name: str, *, rules: Sequence[Path | str] = ()) -> str | None:
    """The finding that a column name or alias means, or None; case and separators do not count."""
    return _aliases(tuple(Path(folder) for folder in rules)).get(fold(name))


def require(name: str, *, place: str, rules: Sequence[Path | str] = ()) -> str:
    """`resolve`, or an `InputError` that suggests the nearest finding."""
    finding = resolve(name, rules=rules)
    if finding is None:
        known = [f.name for f in load_findings(rules)]
        raise InputError(f"{place}: unknown finding {name!r}; {suggest(name, known)}")
    return finding


def load_label_set(name: str, *, rules: Sequence[Path | str] = ()) -> LabelSet:
    """A label set by name ("chexpert", "nih14", "all") or from a TOML file of the same form."""
    if name == "all":  # a user's own findings belong to it as well
        return LabelSet("all", {f.name: f.name for f in load_findings(rules)})
    if name.endswith(".toml"):
        return _label_set(read_rule_file(Path(name)), rules)
    files = read_rule_files(rules)
    known = [file.stem for file in files.folder("labelsets")]
    if name not in known:
        raise InputError(f"--labelset: unknown label set {name!r}; {suggest(name, known)}")
    return _label_set(files.single(f"labelsets/{name}.toml"), rules)


def _label_set(file: RuleFile, rules: Sequence[Path | str]) -> LabelSet:
    names = _string_list(file, "findings")
    place = str(file.path)
    renamed = file.table.get("rename", {})
    if not isinstance(renamed, dict):
        raise InputError(f"{place}: key 'rename': expected a table, found {renamed!r}")
    columns = {require(name, place=place, rules=rules): renamed.get(name, name) for name in names}
    return LabelSet(file.stem, columns)


def load_dialect(name: str, *, rules: Sequence[Path | str] = ()) -> Dialect:
    """An export dialect by name: "cxr" (our own), "chexpert", "mimic", "nih" and others."""
    files = read_rule_files(rules)
    known = [file.stem for file in files.folder("dialects")]
    if name not in known:
        raise InputError(f"--dialect: unknown dialect {name!r}; {suggest(name, known)}")
    table = files.single(f"dialects/{name}.toml").table
    return Dialect(
        name=name,
        label_set=table.get("label_set", ""),
        form=table.get("form", "columns"),
        column=table.get("column", ""),
        order=table.get("order", "set"),
        id_name=table.get("id_name", ""),
        id_prefix=table.get("id_prefix", ""),
        keep=tuple(table.get("keep", ())),
        keep_behind=tuple(table.get("keep_behind", ())),
    )


def _string_list(file: RuleFile, key: str, default: list[str] | None = None) -> list[str]:
    value = file.table.get(key, default)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{file.path}: key {key!r}: expected a list of strings, found {value!r}")
    return value


def suggest(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest that is known, and all of them."""
    folded = {fold(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(fold(name), folded, n=1, cutoff=0.6)
    listed = ", ".join(known)
    return f"did you mean {folded[near[0]]!r}? (known: {listed})" if near else f"known: {listed}"
