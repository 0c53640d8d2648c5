"""Options: the named conventions of rules/options.toml, and the rule keys that they decide.

`when` in a rule: it counts only where options have certain values. `option` in place of an
assertion: the option's value is what the words mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cxrlabel.checks import one_of, string, string_map, strings
from cxrlabel.errors import InputError
from cxrlabel.rulefiles import RuleFile, Table, read_rule_files
from cxrlabel.rulerecords import Option

# Named in Python: "or" and "versus" join two mentions; No Finding is not made of words.
_IN_CODE: Final = ("alternatives", "other_abnormalities")


def load_options(rules: Sequence[Path | str] = ()) -> Mapping[str, Option]:
    """The named conventions with their defaults and choices."""
    file = read_rule_files(rules).single("options.toml")
    for name in _IN_CODE:
        if name not in file.table:
            raise InputError(f"{file.path}: option {name!r} is missing; the labeler asks for it")
    return {name: _option(file, name, table) for name, table in file.table.items()}


def _option(file: RuleFile, name: str, table: Any) -> Option:
    place = f"{file.path}: option {name!r}"
    choices = tuple(strings(place, table, "choices"))
    default, about = string(place, table, "default"), string(place, table, "about")
    if default not in choices:
        raise InputError(f"{place}: default {default!r} is not among {', '.join(choices)}")
    return Option(name, default, choices, about, value=default)


def choose(known: Mapping[str, Option], chosen: Mapping[str, str]) -> dict[str, Option]:
    """The options with the values that a user has chosen."""
    options = dict(known)
    for name, value in chosen.items():
        if name not in known:
            raise InputError(f"--option: unknown option {name!r}; known: {', '.join(known)}")
        if value not in known[name].choices:
            raise InputError(
                f"--option: {name}={value!r}; expected one of {', '.join(known[name].choices)}"
            )
        options[name] = replace(known[name], value=value)
    return options


def named_option(place: str, table: Table, options: Mapping[str, Option]) -> Option:
    """The option that the key `option` names."""
    name = string(place, table, "option")
    one_of(place, "option", name, tuple(options))
    return options[name]


def holds(place: str, table: Table, options: Mapping[str, Option]) -> bool:
    """Whether all options of the key `when` have the value, or one of the values, given there."""
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise InputError(f"{place}: key 'when': expected a table of options, found {when!r}")
    met = [_has_value(place, name, when, options) for name in when]  # each is checked
    return all(met)


def _has_value(place: str, name: str, when: Table, options: Mapping[str, Option]) -> bool:
    one_of(place, "when", name, tuple(options))
    where, given = f"{place}: key 'when'", when[name]
    wanted = [given] if isinstance(given, str) else strings(where, when, name)
    for value in wanted:
        one_of(where, name, value, options[name].choices)
    return options[name].value in wanted


def decided_assertion(
    place: str, table: Table, options: Mapping[str, Option], known: Sequence[str]
) -> str:
    """What words mean by the value of the key `option`.

    The value is the assertion, and "none" is `other`; where the values are other words, or mean
    something else, `assertion` is a table of value = assertion. Every value of the option has to
    mean something, not only the chosen one.
    """
    option = named_option(place, table, options)
    given = string_map(place, table, "assertion")
    for value in given:
        one_of(place, "assertion", value, option.choices)
    meanings = {"none": "other", **given}
    for value in option.choices:
        if meanings.get(value, value) not in known:
            raise InputError(
                f"{place}: key 'assertion': option {option.name!r} has the value {value!r}; "
                f"expected {value} = one of {', '.join(known)}"
            )
    return meanings.get(option.value, option.value)
