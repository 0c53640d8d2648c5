"""Reading the rule files that are not about one finding: cues, sections, words, word lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from cxrlabel.checks import (
    boolean,
    integer,
    one_of,
    pairs,
    reject_unknown,
    string,
    string_map,
    string_rows,
    strings,
    tables,
)
from cxrlabel.options import named_option
from cxrlabel.rulefiles import RuleFile, RuleFiles, Table
from cxrlabel.rulerecords import CUE_ASSERTIONS, CueSet, Option, Section, Words

_CUE_KEYS: Final = {
    "assertion", "option", "reason", "priority", "before", "after", "either", "pseudo", "optional",
    "combine",
}  # fmt: skip
_PHRASE_KEYS: Final = ("before", "after", "either", "pseudo")


def read_cue_sets(files: RuleFiles, options: Mapping[str, Option]) -> tuple[CueSet, ...]:
    """All kinds of cues, by priority."""
    shared = _shared_pseudo(files.single("cues/pseudo.toml"))
    sets = [
        _cue_set(file, options, shared) for file in files.folder("cues") if file.stem != "pseudo"
    ]
    return tuple(sorted(sets, key=lambda cues: cues.priority))


def _shared_pseudo(file: RuleFile) -> list[str]:
    """The phrases that decide nothing whatever the kind of cue: listed, and combined from parts."""
    place = f"{file.path}: table 'combine'"
    reject_unknown(str(file.path), file.table, {"pseudo", "combine"})
    parts = file.table.get("combine", {"first": [], "middle": [], "last": []})
    lists = [strings(place, parts, key, blank=True) for key in ("first", "middle", "last")]
    return [*strings(str(file.path), file.table, "pseudo"), *_combined(lists)]


def _listed(place: str, table: Table, key: str) -> list[str]:
    """The phrases of a key: those listed, and those that `[[combine]]` makes of parts."""
    listed = list(strings(place, table, key, default=[]))
    for entry in tables(place, table, "combine"):
        where = f"{place}: table 'combine'"
        reject_unknown(where, entry, {"as", "parts"})
        name = string(where, entry, "as")
        one_of(where, "as", name, _PHRASE_KEYS)
        if name == key:
            listed += _combined(string_rows(where, entry, "parts", blank=True))
    return listed


def _combined(lists: Sequence[Sequence[str]]) -> list[str]:
    """All phrases of one word of each list; a blank word leaves its place out."""
    return [" ".join(word.strip() for word in words if word.strip()) for words in product(*lists)]


def _cue_set(file: RuleFile, options: Mapping[str, Option], shared: Sequence[str]) -> CueSet:
    place, table = str(file.path), file.table
    reject_unknown(place, table, _CUE_KEYS)
    either = _listed(place, table, "either")
    before = [*_listed(place, table, "before"), *either]
    after = [*_listed(place, table, "after"), *either]
    for entry in tables(place, table, "optional"):
        option, value = named_option(place, entry, options), string(place, entry, "value")
        one_of(place, "value", value, option.choices)
        if option.value == value:
            before = [*before, *strings(place, entry, "before", default=[])]
            after = [*after, *strings(place, entry, "after", default=[])]
    assertion = _cue_assertion(place, table, options)
    priority = integer(place, table, "priority")
    own = {*before, *after}
    pseudo = tuple(p for p in (*_listed(place, table, "pseudo"), *shared) if p not in own)
    return CueSet(
        kind=file.stem,
        assertion=assertion,
        reason=string(place, table, "reason"),
        priority=priority,
        before=tuple(before),
        after=tuple(after),
        pseudo=pseudo,
        either=tuple(either),
    )


def _cue_assertion(place: str, table: Table, options: Mapping[str, Option]) -> str:
    """What the cues make of a mention: `assertion`, or the value of an option."""
    if "option" not in table:
        assertion = string(place, table, "assertion")
        one_of(place, "assertion", assertion, CUE_ASSERTIONS)
        return assertion
    option = named_option(place, table, options)
    for choice in option.choices:
        one_of(f"{place}: option {option.name!r}", "choices", choice, CUE_ASSERTIONS)
    return option.value


def read_sections(file: RuleFile) -> Iterator[Section]:
    """The sections of rules/sections.toml."""
    for entry in tables(str(file.path), file.table, "sections"):
        place = f"{file.path}: section {entry.get('name', '(without name)')!r}"
        reject_unknown(place, entry, {"name", "headings", "labels", "body", "rank", "organ"})
        yield Section(
            string(place, entry, "name"),
            tuple(strings(place, entry, "headings")),
            labels=boolean(place, entry, "labels", True),
            body=boolean(place, entry, "body", False),
            rank=integer(place, entry, "rank", 1),
            organ=boolean(place, entry, "organ", False),
        )


def read_words(file: RuleFile) -> Words:
    """The folding of words, rules/words.toml."""
    place, table = str(file.path), file.table
    reject_unknown(place, table, {"plurals", "spellings", "keep", "misspellings", "accents"})
    return Words(
        plurals=tuple(pairs(place, table, "plurals")),
        spellings=tuple(pairs(place, table, "spellings")),
        keep=tuple(strings(place, table, "keep")),
        misspellings=string_map(place, table, "misspellings"),
        accents=tuple(pairs(place, table, "accents", default=[])),
    )


def read_lists(file: RuleFile, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """A file of word lists that has all of some keys and no others."""
    reject_unknown(str(file.path), file.table, set(keys))
    return {key: tuple(strings(str(file.path), file.table, key)) for key in keys}
