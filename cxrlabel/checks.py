"""Checks of rule files: values of the right kind, or an error that names file, rule and key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxrlabel.errors import InputError
from cxrlabel.rulefiles import RuleFile, Table

Phrase = str | tuple[str, ...]  # "pleural effusion", or a token pattern ("fluid", "..3", "pleural")


def string(place: str, table: Any, key: str) -> str:
    """A string that is not blank."""
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: key {key!r}: expected a string, found {value!r}")
    return value


def strings(
    place: str, table: Any, key: str, default: list[str] | None = None, *, blank: bool = False
) -> list[str]:
    """A list of strings, none of them blank unless that is allowed."""
    value = table.get(key, default) if isinstance(table, dict) else None
    if isinstance(value, list) and all(isinstance(v, str) and (blank or v.strip()) for v in value):
        return value
    raise InputError(f"{place}: key {key!r}: expected a list of strings, found {value!r}")


def string_rows(place: str, table: Table, key: str, *, blank: bool = False) -> list[list[str]]:
    """A list of lists of strings."""
    value = table.get(key)
    if not isinstance(value, list):
        raise InputError(f"{place}: key {key!r}: expected lists of strings, found {value!r}")
    return [strings(place, {key: row}, key, blank=blank) for row in value]


def string_lists(file: RuleFile) -> dict[str, tuple[str, ...]]:
    """All keys of a file that holds nothing but lists of strings."""
    return {key: tuple(strings(str(file.path), file.table, key)) for key in file.table}


def pairs(
    place: str, table: Any, key: str, default: list[tuple[str, str]] | None = None
) -> list[tuple[str, str]]:
    """A list of two strings each; the second may be empty."""
    value = table.get(key, default) if isinstance(table, dict) else None
    if isinstance(value, list) and all(_is_pair(item) for item in value):
        return [(first, second) for first, second in value]
    raise InputError(f"{place}: key {key!r}: expected a list of two strings each, found {value!r}")


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(v, str) for v in item)


def string_map(place: str, table: Any, key: str) -> dict[str, str]:
    """A table of strings, empty where the key is missing."""
    value = table.get(key, {}) if isinstance(table, dict) else None
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return value
    raise InputError(f"{place}: key {key!r}: expected a table of strings, found {value!r}")


def tables(place: str, table: Table, key: str) -> list[Table]:
    """A list of tables, empty where the key is missing."""
    value = table.get(key, [])
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise InputError(f"{place}: key {key!r}: expected tables ([[{key}]]), found {value!r}")


def integer(place: str, table: Table, key: str, default: int | None = None) -> int:
    """A whole number."""
    value = table.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InputError(f"{place}: key {key!r}: expected a whole number, found {value!r}")


def boolean(place: str, table: Table, key: str, default: bool) -> bool:
    """True or false."""
    value = table.get(key, default)
    if isinstance(value, bool):
        return value
    raise InputError(f"{place}: key {key!r}: expected true or false, found {value!r}")


def phrases(
    place: str, table: Table, key: str, default: tuple[Phrase, ...] | None = None
) -> tuple[Phrase, ...]:
    """A list of phrases (strings) and token patterns (lists of words)."""
    value = table.get(key, default)
    if not isinstance(value, list | tuple):
        raise InputError(f"{place}: key {key!r}: expected a list, found {value!r}")
    return tuple(_phrase(f"{place}: key {key!r}", item) for item in value)


def _phrase(place: str, item: Any) -> Phrase:
    if isinstance(item, str) and item.strip():
        return item
    is_list = isinstance(item, list | tuple) and len(item) > 0
    if not is_list or not all(isinstance(part, str) and part.strip() for part in item):
        raise InputError(f"{place}: expected a phrase or a list of words, found {item!r}")
    if item[0].startswith(".."):
        raise InputError(f"{place}: a pattern begins with words, found {item!r}")
    for part in item:
        if part.startswith("..") and not part[2:].isdigit():
            raise InputError(f"{place}: expected a gap such as '..3', found {part!r}")
    return tuple(item)


def one_of(place: str, key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise InputError(
            f"{place}: key {key!r}: expected one of {', '.join(choices)}; found {value!r}"
        )


def reject_unknown(place: str, table: Table, known: set[str]) -> None:
    """Refuse a key that nothing reads."""
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(
            f"{place}: unknown key {unknown[0]!r}; expected some of {', '.join(sorted(known))}"
        )
