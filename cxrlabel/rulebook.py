"""The rulebook: rule files checked and turned into the records that the pipeline is built from.

Everything that is wrong with a rule file is found here, before a report is read, and named by file,
rule and key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

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
from cxrlabel.options import choose, decided_assertion, holds, load_options
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
    "continuing", "run_on", "former", "articles", "accompanying", "mimics", "quantities",
    "participles",
)  # fmt: skip
TEXT_LISTS: Final = (
    "deidentification", "abbreviations", "numbering", "unfinished", "unbegun", "questions",
    "anaphora", "denying", "confirming", "answers_alone", "substitutes",
)  # fmt: skip

_Lists = Mapping[str, tuple[Phrase, ...]]  # name -> phrases of predicates.toml or phrases.toml


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
    options = choose(load_options(rules), dict(chosen))
    predicates = _lists(files.single("predicates.toml"))
    shared = _lists(files.files["phrases.toml"]) if "phrases.toml" in files.files else {}
    readers = [
        _FindingReader(file, rules, predicates, shared, options)
        for file in files.folder("findings")
    ]
    by_name = {reader.finding: reader.read() for reader in readers}
    order = [f.name for f in load_findings(rules)]
    words = _words(files, by_name.values())
    return Rulebook(
        lang=lang,
        findings={name: by_name[name] for name in order if name in by_name},
        cues=read_cue_sets(files, options),
        sections=tuple(read_sections(files.single("sections.toml"))),
        words=words,
        clauses=_unaccented(read_lists(files.single("clauses.toml"), CLAUSE_LISTS), words),
        attributes={file.stem: string_lists(file) for file in files.folder("attributes")},
        text=_unaccented(read_lists(files.single("text.toml"), TEXT_LISTS), words),
        options={name: option.value for name, option in options.items()},
        hash=files.hash,
    )


class _FindingReader:
    """Reads one finding file; every error names file, rule and key."""

    _KEYS: Final = {
        "name", "aliases", "source", "exclusions", "misspellings", "rules", "blockers", "anatomy",
        "examples",
    }  # fmt: skip
    _RULE_KEYS: Final = {"id", "when", "phrases", "patterns", "option", "assertion", "also"}
    _ANATOMY_KEYS: Final = {
        "id", "when", "terms", "abnormal", "uncertain", "normal", "disputed", "option", "assertion",
        "also",
    }  # fmt: skip

    def __init__(
        self,
        file: RuleFile,
        rules: Sequence[Path],
        predicates: _Lists,
        shared: _Lists,
        options: Mapping[str, Option],
    ) -> None:
        self.file = file
        self.finding = require(
            string(str(file.path), file.table, "name"), place=str(file.path), rules=rules
        )
        self._rules = rules
        self._predicates = predicates
        self._phrases = shared
        self._options = options
        self._ids: set[str] = set()

    def read(self) -> FindingRules:
        table, place = self.file.table, str(self.file.path)
        reject_unknown(place, table, self._KEYS)
        rules = [self._rule(entry, self.finding) for entry in tables(place, table, "rules")]
        rules += [
            self._rule(entry, OTHER_ABNORMALITY) for entry in tables(place, table, "blockers")
        ]
        anatomy = [self._anatomy(entry) for entry in tables(place, table, "anatomy")]
        return FindingRules(
            finding=self.finding,
            path=self.file.path,
            source=string(place, table, "source"),
            exclusions=phrases(place, table, "exclusions", default=()),
            rules=tuple(rule for rule in rules if rule is not None),
            anatomy=tuple(part for part in anatomy if part is not None),
            misspellings=string_map(place, table, "misspellings"),
            examples=tuple(self._examples(tables(place, table, "examples"))),
        )

    def _rule(self, entry: Table, finding: str) -> Rule | None:
        """One rule; None where an option of `when` has another value."""
        place = self._place(entry)
        reject_unknown(place, entry, self._RULE_KEYS)
        named = (
            *self._listed(place, entry, "phrases", self._phrases),
            *phrases(place, entry, "patterns", default=()),
        )
        if not named:
            raise InputError(f"{place}: no 'phrases' and no 'patterns'; expected at least one")
        assertion = self._assertion(place, entry)
        rule = Rule(self._id(entry), self._targets(place, entry, finding), named, assertion)
        return rule if holds(place, entry, self._options) else None

    def _assertion(self, place: str, entry: Table) -> str:
        if "option" in entry:
            return decided_assertion(place, entry, self._options, RULE_ASSERTIONS)
        assertion: str = entry.get("assertion", "positive")
        one_of(place, "assertion", assertion, RULE_ASSERTIONS)
        return assertion

    def _anatomy(self, entry: Table) -> Anatomy | None:
        """One kind of statement; None where an option of `when` has another value."""
        place = self._place(entry)
        reject_unknown(place, entry, self._ANATOMY_KEYS)
        keys = {"abnormal": "positive", "uncertain": "uncertain", "normal": "negative"}
        if {"option", "assertion", "disputed"} & set(entry):
            phrases(place, entry, "disputed")  # they need each other
            keys["disputed"] = decided_assertion(place, entry, self._options, RULE_ASSERTIONS)
        found: dict[str, tuple[Phrase, ...]] = {}
        for key, assertion in keys.items():
            more = self._listed(place, entry, key, self._predicates)
            found[assertion] = (*found.get(assertion, ()), *more)
        finding = OTHER_ABNORMALITY if "blockers" in self.file.table else self.finding
        terms = phrases(place, entry, "terms")
        part = Anatomy(self._id(entry), self._targets(place, entry, finding), terms, found)
        return part if holds(place, entry, self._options) else None

    def _listed(self, place: str, entry: Table, key: str, shared: _Lists) -> tuple[Phrase, ...]:
        """The phrases of a key, with the shared lists that "@name" stands for."""
        expanded: list[Phrase] = []
        for phrase in phrases(place, entry, key, default=()):
            if isinstance(phrase, str) and phrase.startswith("@"):
                if phrase[1:] not in shared:
                    raise InputError(
                        f"{place}: key {key!r}: unknown set {phrase!r}; known: {', '.join(shared)}"
                    )
                expanded.extend(shared[phrase[1:]])
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
        """The rule's own finding and those of `also`, some of them only where an option says so."""
        listed = entry.get("also", [])
        if not isinstance(listed, list):
            raise InputError(f"{place}: key 'also': expected a list of strings, found {listed!r}")
        names = strings(place, {"also": [n for n in listed if not isinstance(n, dict)]}, "also")
        targets = [finding, *self._known(place, names)]
        for item in listed:
            if isinstance(item, dict):
                where = f"{place}: key 'also'"
                reject_unknown(where, item, {"findings", "when"})
                optional = self._known(place, strings(where, item, "findings"))
                targets += optional if holds(where, item, self._options) else []
        return tuple(targets)

    def _known(self, place: str, names: Sequence[str]) -> list[str]:
        return [require(name, place=f"{place}: key 'also'", rules=self._rules) for name in names]


def _lists(file: RuleFile) -> _Lists:
    """The lists of a file that rules name as "@normal"."""
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
