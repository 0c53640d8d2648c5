"""The rulebook: rule files checked and turned into the records that the pipeline is built from.

Everything that is wrong with a rule file is found here, before a report is read, and named by file,
rule and key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cxrlabel.accents import AccentFolder
from cxrlabel.checks import (
    Phrase,
    one_of,
    phrases,
    reject_unknown,
    string,
    string_lists,
    string_map,
    strings,
    tables,
)
from cxrlabel.cuefiles import read_cue_sets, read_lists, read_sections, read_words
from cxrlabel.errors import InputError
from cxrlabel.findings import OTHER_ABNORMALITY, STATES, load_findings, require
from cxrlabel.rulefiles import DEFAULT_LANGUAGE, RuleFile, RuleFiles, Table, read_rule_files
from cxrlabel.rulerecords import (
    RULE_ASSERTIONS,
    Anatomy,
    Example,
    FindingRules,
    Option,
    Rule,
    Rulebook,
    Words,
)

CLAUSE_LISTS: Final = (
    "openers", "subordinators", "verbs", "predicatives", "joiners", "alternatives", "conjunctions",
    "determiners", "enders", "ender_exceptions", "adjoining", "asserting", "attributive",
    "continuing", "run_on", "former", "articles", "accompanying",
)  # fmt: skip
TEXT_LISTS: Final = (
    "deidentification", "abbreviations", "numbering", "unfinished", "unbegun", "questions",
    "anaphora", "denying", "confirming", "answers_alone",
)  # fmt: skip


def load_rulebook(
    rules: Sequence[Path | str] = (),
    *,
    options: Mapping[str, str] | None = None,
    lang: str = DEFAULT_LANGUAGE,
) -> Rulebook:
    """Read and check the rules of a language.

    Args:
        rules: folders of a user's own rules, laid over the project's in this order.
        options: values of named conventions ("likely" -> "uncertain") in place of the defaults.
        lang: "en", or the name of a language's folder, "es".

    Raises:
        InputError: naming file, rule and key of what is wrong, or the unknown option or language.
    """
    chosen = tuple(sorted((options or {}).items()))
    return _load_rulebook(tuple(Path(folder) for folder in rules), chosen, lang)


@lru_cache(maxsize=8)
def _load_rulebook(
    rules: tuple[Path, ...], chosen: tuple[tuple[str, str], ...], lang: str
) -> Rulebook:
    files = read_rule_files(rules, lang=lang)
    values = _choose(load_options(rules), dict(chosen))
    predicates = _predicates(files.single("predicates.toml"))
    readers = [_FindingReader(file, rules, predicates, values) for file in files.folder("findings")]
    by_name = {reader.finding: reader.read() for reader in readers}
    order = [f.name for f in load_findings(rules)]
    words = _words(files, by_name.values())
    return Rulebook(
        lang=lang,
        findings={name: by_name[name] for name in order if name in by_name},
        cues=read_cue_sets(files, values),
        sections=tuple(read_sections(files.single("sections.toml"))),
        words=words,
        clauses=_unaccented(read_lists(files.single("clauses.toml"), CLAUSE_LISTS), words),
        attributes={file.stem: string_lists(file) for file in files.folder("attributes")},
        text=_unaccented(read_lists(files.single("text.toml"), TEXT_LISTS), words),
        options=values,
        hash=files.hash,
    )


def load_options(rules: Sequence[Path | str] = ()) -> Mapping[str, Option]:
    """The named conventions with their defaults and choices."""
    file = read_rule_files(rules).single("options.toml")
    return {name: _option(file, name, table) for name, table in file.table.items()}


def _option(file: RuleFile, name: str, table: Any) -> Option:
    place = f"{file.path}: option {name!r}"
    choices = tuple(strings(place, table, "choices"))
    option = Option(name, string(place, table, "default"), choices, string(place, table, "about"))
    if option.default not in choices:
        raise InputError(f"{place}: default {option.default!r} is not among {', '.join(choices)}")
    return option


def _choose(known: Mapping[str, Option], chosen: Mapping[str, str]) -> dict[str, str]:
    values = {name: option.default for name, option in known.items()}
    for name, value in chosen.items():
        if name not in known:
            raise InputError(f"--option: unknown option {name!r}; known: {', '.join(known)}")
        if value not in known[name].choices:
            raise InputError(
                f"--option: {name}={value!r}; expected one of {', '.join(known[name].choices)}"
            )
        values[name] = value
    return values


class _FindingReader:
    """Reads one finding file; every error names file, rule and key."""

    _KEYS: Final = {
        "name", "aliases", "source", "exclusions", "misspellings", "rules", "blockers", "anatomy",
        "examples",
    }  # fmt: skip

    def __init__(
        self,
        file: RuleFile,
        rules: Sequence[Path],
        predicates: Mapping[str, tuple[Phrase, ...]],
        options: Mapping[str, str],
    ) -> None:
        self.file = file
        self.finding = require(
            string(str(file.path), file.table, "name"), place=str(file.path), rules=rules
        )
        self._rules = rules
        self._predicates = predicates
        self._options = options
        self._ids: set[str] = set()

    def read(self) -> FindingRules:
        table, place = self.file.table, str(self.file.path)
        reject_unknown(place, table, self._KEYS)
        rules = [self._rule(entry, self.finding) for entry in tables(place, table, "rules")]
        rules += [
            self._rule(entry, OTHER_ABNORMALITY) for entry in tables(place, table, "blockers")
        ]
        return FindingRules(
            finding=self.finding,
            path=self.file.path,
            source=string(place, table, "source"),
            exclusions=phrases(place, table, "exclusions", default=()),
            rules=tuple(rule for rule in rules if rule is not None),
            anatomy=tuple(self._anatomy(entry) for entry in tables(place, table, "anatomy")),
            misspellings=string_map(place, table, "misspellings"),
            examples=tuple(self._examples(tables(place, table, "examples"))),
        )

    def _rule(self, entry: Table, finding: str) -> Rule | None:
        """One rule; None where an option of `when` has another value."""
        place = self._place(entry)
        reject_unknown(place, entry, {"id", "when", "phrases", "patterns", "assertion", "also"})
        named = (
            *phrases(place, entry, "phrases", default=()),
            *phrases(place, entry, "patterns", default=()),
        )
        if not named:
            raise InputError(f"{place}: no 'phrases' and no 'patterns'; expected at least one")
        assertion = entry.get("assertion", "positive")
        one_of(place, "assertion", assertion, RULE_ASSERTIONS)
        rule = Rule(self._id(entry), self._targets(place, entry, finding), named, assertion)
        wanted = string_map(place, entry, "when")
        for option in wanted:
            one_of(place, "when", option, tuple(self._options))
        return rule if wanted.items() <= self._options.items() else None

    def _anatomy(self, entry: Table) -> Anatomy:
        place = self._place(entry)
        reject_unknown(place, entry, {"id", "terms", "abnormal", "uncertain", "normal", "also"})
        keys = {"abnormal": "positive", "uncertain": "uncertain", "normal": "negative"}
        found = {
            assertion: self._expand(place, key, phrases(place, entry, key, default=()))
            for key, assertion in keys.items()
        }
        finding = OTHER_ABNORMALITY if "blockers" in self.file.table else self.finding
        terms = phrases(place, entry, "terms")
        return Anatomy(self._id(entry), self._targets(place, entry, finding), terms, found)

    def _expand(self, place: str, key: str, listed: tuple[Phrase, ...]) -> tuple[Phrase, ...]:
        expanded: list[Phrase] = []
        for phrase in listed:
            if isinstance(phrase, str) and phrase.startswith("@"):
                if phrase[1:] not in self._predicates:
                    known = ", ".join(self._predicates)
                    raise InputError(
                        f"{place}: key {key!r}: unknown set {phrase!r}; known: {known}"
                    )
                expanded.extend(self._predicates[phrase[1:]])
            else:
                expanded.append(phrase)
        return tuple(expanded)

    def _examples(self, entries: list[Table]) -> Iterator[Example]:
        for number, entry in enumerate(entries, 1):
            place = f"{self.file.path}: example {number}"
            reject_unknown(place, entry, {"text", "expect"})
            expect = string(place, entry, "expect")
            one_of(place, "expect", expect, STATES)
            yield Example(self.finding, string(place, entry, "text"), expect, place)

    def _place(self, entry: Table) -> str:
        return f"{self.file.path}: rule {entry.get('id', '(without id)')!r}"

    def _id(self, entry: Table) -> str:
        name = string(self._place(entry), entry, "id")
        if name in self._ids:
            raise InputError(f"{self.file.path}: rule {name!r} stands twice; expected unique ids")
        self._ids.add(name)
        return f"{self.file.stem}/{name}"

    def _targets(self, place: str, entry: Table, finding: str) -> tuple[str, ...]:
        also = strings(place, entry, "also", default=[])
        where = f"{place}: key 'also'"
        return (finding, *(require(name, place=where, rules=self._rules) for name in also))


def _predicates(file: RuleFile) -> dict[str, tuple[Phrase, ...]]:
    return {key: phrases(str(file.path), file.table, key) for key in file.table}


def _unaccented(lists: Mapping[str, tuple[str, ...]], words: Words) -> dict[str, tuple[str, ...]]:
    """Word lists as the words of a text are compared with them."""
    fold = AccentFolder(words.accents)
    return {key: tuple(fold(entry) for entry in entries) for key, entries in lists.items()}


def _words(files: RuleFiles, findings: Iterable[FindingRules]) -> Words:
    """The folding of words, with the misspellings of every finding."""
    words = read_words(files.single("words.toml"))
    misspellings = dict(words.misspellings)
    for entry in findings:
        misspellings.update(entry.misspellings)
    return replace(words, misspellings=misspellings)
