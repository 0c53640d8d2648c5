"""The rulebook: rule files checked and turned into records that the pipeline is built from.

Everything that is wrong with a rule file is found here, before a report is read, and named by file,
rule and key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import OTHER_ABNORMALITY, STATES, load_findings, require
from cxrlabel.rulefiles import RuleFile, RuleFiles, Table, read_rule_files

Phrase = str | tuple[str, ...]  # "pleural effusion", or a token pattern ("fluid", "..3", "pleural")

RULE_ASSERTIONS: Final = ("positive", "uncertain", "hint", "negative", "absence")
CUE_ASSERTIONS: Final = ("positive", "uncertain", "negative", "none")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of naming a finding.

    `assertion` is what naming it means before any cue: "positive"; "uncertain"; "hint", uncertain
    as well but nothing when denied; "negative" for a statement of normality; "absence" for words
    that count only when they are negated.
    """

    id: str  # "pleural_effusion/effusion"
    findings: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    assertion: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Statements of a subject and a predicate: "heart size is normal", "clear lungs"."""

    id: str
    findings: tuple[str, ...]
    terms: tuple[Phrase, ...]
    predicates: Mapping[str, tuple[Phrase, ...]]  # assertion -> phrases


@dataclass(frozen=True, slots=True)
class Example:
    """A report of a sentence or two and the label that it must get."""

    finding: str
    text: str
    expect: str
    place: str


@dataclass(frozen=True, slots=True)
class FindingRules:
    """What one rule file says about its finding."""

    finding: str
    path: Path
    source: str
    exclusions: tuple[Phrase, ...]
    rules: tuple[Rule, ...]
    anatomy: tuple[Anatomy, ...]
    misspellings: Mapping[str, str]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class CueSet:
    """The words of one kind that decide about the mentions they reach.

    `before` cues stand before the mention, `after` cues behind it; `pseudo` phrases hold such words
    and mean nothing. Among kinds that reach one mention the lowest `priority` decides.
    """

    kind: str
    assertion: str
    reason: str
    priority: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    pseudo: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """A convention on which readings differ."""

    name: str
    default: str
    choices: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: its headings, and whether its statements make labels."""

    name: str
    headings: tuple[str, ...]
    labels: bool
    rank: int  # a higher rank corrects a lower one: preliminary 0, body 1, addendum 2
    organ: bool  # "Lungs:" is no section of its own; it ends one that makes no labels


@dataclass(frozen=True)
class Rulebook:
    """All rules, checked."""

    findings: Mapping[str, FindingRules]
    cues: tuple[CueSet, ...]
    sections: tuple[Section, ...]
    words: Table  # normalisation of words, rules/words.toml
    clauses: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Mapping[str, tuple[str, ...]]]  # "laterality" -> "left" -> phrases
    text: Table  # sentences, enumerations, de-identification marks, rules/text.toml
    options: Mapping[str, str]
    hash: str

    def rules(self) -> Iterator[Rule]:
        """All rules of all findings."""
        for finding in self.findings.values():
            yield from finding.rules

    def anatomy(self) -> Iterator[Anatomy]:
        """All subject-predicate statements of all findings."""
        for finding in self.findings.values():
            yield from finding.anatomy

    def examples(self) -> Iterator[Example]:
        """All examples of all findings."""
        for finding in self.findings.values():
            yield from finding.examples


def load_rulebook(
    rules: Sequence[Path | str] = (), *, options: Mapping[str, str] | None = None
) -> Rulebook:
    """Read and check the rules.

    Args:
        rules: folders of a user's own rules, laid over the project's in this order.
        options: values of named conventions ("likely" -> "uncertain") in place of the defaults.

    Raises:
        InputError: naming file, rule and key of what is wrong, or the unknown option.
    """
    chosen = tuple(sorted((options or {}).items()))
    return _load_rulebook(tuple(Path(folder) for folder in rules), chosen)


@lru_cache(maxsize=8)
def _load_rulebook(rules: tuple[Path, ...], chosen: tuple[tuple[str, str], ...]) -> Rulebook:
    files = read_rule_files(rules)
    values = _choose(load_options(rules), dict(chosen))
    predicates = _predicates(files.single("predicates.toml"))
    readers = [_FindingReader(file, rules, predicates) for file in files.folder("findings")]
    by_name = {reader.finding: reader.read() for reader in readers}
    order = [f.name for f in load_findings(rules)]
    return Rulebook(
        findings={name: by_name[name] for name in order},
        cues=_cue_sets(files, values),
        sections=tuple(_sections(files.single("sections.toml"))),
        words=files.single("words.toml").table,
        clauses=_string_lists(files.single("clauses.toml")),
        attributes={file.stem: _string_lists(file) for file in files.folder("attributes")},
        text=files.single("text.toml").table,
        options=values,
        hash=files.hash,
    )


def load_options(rules: Sequence[Path | str] = ()) -> Mapping[str, Option]:
    """The named conventions with their defaults and choices."""
    file = read_rule_files(rules).single("options.toml")
    return {name: _option(file, name, table) for name, table in file.table.items()}


def _option(file: RuleFile, name: str, table: Any) -> Option:
    place = f"{file.path}: option {name!r}"
    choices = tuple(_strings(place, table, "choices"))
    option = Option(name, _string(place, table, "default"), choices, _string(place, table, "about"))
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
        self, file: RuleFile, rules: Sequence[Path], predicates: Mapping[str, tuple[Phrase, ...]]
    ) -> None:
        self.file = file
        self.finding: str = file.table["name"]  # checked by load_findings
        self._rules = rules
        self._predicates = predicates
        self._ids: set[str] = set()

    def read(self) -> FindingRules:
        table, place = self.file.table, str(self.file.path)
        _reject_unknown(place, table, self._KEYS)
        blockers = [self._rule(entry, OTHER_ABNORMALITY) for entry in table.get("blockers", [])]
        return FindingRules(
            finding=self.finding,
            path=self.file.path,
            source=_string(place, table, "source"),
            exclusions=_phrases(place, table, "exclusions", default=()),
            rules=(*(self._rule(e, self.finding) for e in table.get("rules", [])), *blockers),
            anatomy=tuple(self._anatomy(entry) for entry in table.get("anatomy", [])),
            misspellings=table.get("misspellings", {}),
            examples=tuple(self._examples(table.get("examples", []))),
        )

    def _rule(self, entry: Table, finding: str) -> Rule:
        place = self._place(entry)
        _reject_unknown(place, entry, {"id", "phrases", "patterns", "assertion", "also"})
        phrases = (
            *_phrases(place, entry, "phrases", default=()),
            *_phrases(place, entry, "patterns", default=()),
        )
        if not phrases:
            raise InputError(f"{place}: no 'phrases' and no 'patterns'; expected at least one")
        assertion = entry.get("assertion", "positive")
        _one_of(place, "assertion", assertion, RULE_ASSERTIONS)
        return Rule(self._id(entry), self._targets(place, entry, finding), phrases, assertion)

    def _anatomy(self, entry: Table) -> Anatomy:
        place = self._place(entry)
        _reject_unknown(place, entry, {"id", "terms", "abnormal", "uncertain", "normal", "also"})
        keys = {"abnormal": "positive", "uncertain": "uncertain", "normal": "negative"}
        found = {
            assertion: self._expand(place, key, _phrases(place, entry, key, default=()))
            for key, assertion in keys.items()
        }
        finding = OTHER_ABNORMALITY if "blockers" in self.file.table else self.finding
        terms = _phrases(place, entry, "terms")
        return Anatomy(self._id(entry), self._targets(place, entry, finding), terms, found)

    def _expand(self, place: str, key: str, phrases: tuple[Phrase, ...]) -> tuple[Phrase, ...]:
        expanded: list[Phrase] = []
        for phrase in phrases:
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
            _reject_unknown(place, entry, {"text", "expect"})
            expect = _string(place, entry, "expect")
            _one_of(place, "expect", expect, STATES)
            yield Example(self.finding, _string(place, entry, "text"), expect, place)

    def _place(self, entry: Table) -> str:
        return f"{self.file.path}: rule {entry.get('id', '(without id)')!r}"

    def _id(self, entry: Table) -> str:
        name = _string(self._place(entry), entry, "id")
        if name in self._ids:
            raise InputError(f"{self.file.path}: rule {name!r} stands twice; expected unique ids")
        self._ids.add(name)
        return f"{self.file.stem}/{name}"

    def _targets(self, place: str, entry: Table, finding: str) -> tuple[str, ...]:
        also = _strings(place, entry, "also", default=[])
        where = f"{place}: key 'also'"
        return (finding, *(require(name, place=where, rules=self._rules) for name in also))


def _predicates(file: RuleFile) -> dict[str, tuple[Phrase, ...]]:
    return {key: _phrases(str(file.path), file.table, key) for key in file.table}


def _cue_sets(files: RuleFiles, options: Mapping[str, str]) -> tuple[CueSet, ...]:
    shared = _shared_pseudo(files.single("cues/pseudo.toml"))
    sets = [
        _cue_set(file, options, shared) for file in files.folder("cues") if file.stem != "pseudo"
    ]
    return tuple(sorted(sets, key=lambda cues: cues.priority))


def _shared_pseudo(file: RuleFile) -> list[str]:
    """The phrases that decide nothing whatever the kind of cue: listed, and combined from parts."""
    place = f"{file.path}: table 'combine'"
    _reject_unknown(str(file.path), file.table, {"pseudo", "combine"})
    parts = file.table.get("combine", {"first": [], "middle": [], "last": []})
    lists = [
        [word.strip() for word in _strings(place, parts, key, blank=True)]
        for key in ("first", "middle", "last")
    ]
    combined = [" ".join(word for word in words if word) for words in product(*lists)]
    return [*_strings(str(file.path), file.table, "pseudo"), *combined]


def _cue_set(file: RuleFile, options: Mapping[str, str], shared: Sequence[str]) -> CueSet:
    place, table = str(file.path), file.table
    keys = {"assertion", "option", "reason", "priority", "before", "after", "pseudo", "optional"}
    _reject_unknown(place, table, keys)
    before = _strings(place, table, "before", default=[])
    after = _strings(place, table, "after", default=[])
    for entry in table.get("optional", []):
        if options[_known_option(place, entry, options)] == _string(place, entry, "value"):
            before = [*before, *_strings(place, entry, "before", default=[])]
            after = [*after, *_strings(place, entry, "after", default=[])]
    if "option" in table:
        assertion = options[_known_option(place, table, options)]
    else:
        assertion = _string(place, table, "assertion")
    _one_of(place, "assertion", assertion, CUE_ASSERTIONS)
    priority = table.get("priority")
    if not isinstance(priority, int):
        raise InputError(f"{place}: key 'priority': expected a whole number, found {priority!r}")
    own = {*before, *after}
    pseudo = tuple(
        p for p in (*_strings(place, table, "pseudo", default=[]), *shared) if p not in own
    )
    reason = _string(place, table, "reason")
    return CueSet(file.stem, assertion, reason, priority, tuple(before), tuple(after), pseudo)


def _known_option(place: str, table: Table, options: Mapping[str, str]) -> str:
    name = _string(place, table, "option")
    _one_of(place, "option", name, tuple(options))
    return name


def _sections(file: RuleFile) -> Iterator[Section]:
    for entry in file.table.get("sections", []):
        place = f"{file.path}: section {entry.get('name', '(without name)')!r}"
        _reject_unknown(place, entry, {"name", "headings", "labels", "rank", "organ"})
        name = _string(place, entry, "name")
        headings = tuple(_strings(place, entry, "headings"))
        yield Section(
            name,
            headings,
            labels=bool(entry.get("labels", True)),
            rank=int(entry.get("rank", 1)),
            organ=bool(entry.get("organ", False)),
        )


def _string_lists(file: RuleFile) -> dict[str, tuple[str, ...]]:
    return {key: tuple(_strings(str(file.path), file.table, key)) for key in file.table}


def _phrases(
    place: str, table: Table, key: str, default: tuple[Phrase, ...] | None = None
) -> tuple[Phrase, ...]:
    value = table.get(key, default)
    if not isinstance(value, list | tuple):
        raise InputError(f"{place}: key {key!r}: expected a list, found {value!r}")
    return tuple(_phrase(f"{place}: key {key!r}", item) for item in value)


def _phrase(place: str, item: Any) -> Phrase:
    if isinstance(item, str) and item.strip():
        return item
    is_list = isinstance(item, list | tuple) and len(item) > 0
    if is_list and all(isinstance(part, str) and part.strip() for part in item):
        return tuple(item)
    raise InputError(f"{place}: expected a phrase or a list of words, found {item!r}")


def _strings(
    place: str, table: Any, key: str, default: list[str] | None = None, *, blank: bool = False
) -> list[str]:
    value = table.get(key, default) if isinstance(table, dict) else None
    strings = isinstance(value, list) and all(isinstance(v, str) for v in value)
    if not strings or not (blank or all(v.strip() for v in value)):
        raise InputError(f"{place}: key {key!r}: expected a list of strings, found {value!r}")
    return value


def _string(place: str, table: Any, key: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: key {key!r}: expected a string, found {value!r}")
    return value


def _one_of(place: str, key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(
            f"{place}: key {key!r}: expected one of {', '.join(choices)}; found {value!r}"
        )


def _reject_unknown(place: str, table: Table, known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(
            f"{place}: unknown key {unknown[0]!r}; expected some of {', '.join(sorted(known))}"
        )
