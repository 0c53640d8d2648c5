"""Checking rules: the examples of all rule files are labeled; and what a finding matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cxrlabel.checks import Phrase
from cxrlabel.errors import InputError
from cxrlabel.findings import require
from cxrlabel.labeler import Labeler
from cxrlabel.options import load_options
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import DEFAULT_LANGUAGE, languages
from cxrlabel.rulerecords import Anatomy, Example, FindingRules, Rule


@dataclass(frozen=True, slots=True)
class ExampleFailure:
    """An example that got another label than it expects."""

    example: Example
    found: str
    because: str  # the rules and reasons of its mentions


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """What `cxr rules check` found in one language."""

    lang: str
    findings: int
    rules: int
    examples: int
    failures: tuple[ExampleFailure, ...]


def check_rules(rules: Sequence[Path | str] = (), *, lang: str = DEFAULT_LANGUAGE) -> RuleCheck:
    """Load and validate the rules of a language and run their examples.

    Raises:
        InputError: a rule file is wrong.
    """
    shipped = {name: option.default for name, option in load_options().items()}
    # the examples are written for these options
    labeler = Labeler.load(rules=rules, options=shipped, lang=lang)
    book = labeler.rulebook
    examples = list(book.examples())
    failures = [failure for e in examples if (failure := _run(labeler, e)) is not None]
    count = sum(1 for _ in book.rules()) + sum(1 for _ in book.anatomy())
    return RuleCheck(lang, len(book.findings), count, len(examples), tuple(failures))


def check_languages(rules: Sequence[Path | str] = (), *, lang: str = "") -> list[RuleCheck]:
    """Check one language, or all; folders of a user's own lie over one, English by default."""
    chosen = [lang] if lang else [DEFAULT_LANGUAGE] if rules else languages()
    return [check_rules(rules, lang=name) for name in chosen]


def _run(labeler: Labeler, example: Example) -> ExampleFailure | None:
    result = labeler.label(example.text)
    found = result.labels[example.finding]
    if found == example.expect:
        return None
    own = [m for m in result.mentions if m.finding == example.finding]
    because = "; ".join(f"{m.rule} {m.assertion} ({m.reason} {m.cue!r})" for m in own)
    return ExampleFailure(example, found, because or "no mention")


def show_finding(
    name: str, rules: Sequence[Path | str] = (), *, lang: str = DEFAULT_LANGUAGE
) -> RenderableType:
    """What a finding's rules of a language match, for the terminal."""
    finding = require(name, place="rules show", rules=rules)
    entry = load_rulebook(rules, lang=lang).findings.get(finding)
    if entry is None:
        raise InputError(f"rules show: {finding!r} has no rules in language {lang!r}")
    parts: list[RenderableType] = [Text(finding, "bold"), Text(entry.source, "dim"), Text()]
    parts += [_rules_table(entry), Text()]
    if entry.exclusions:
        parts += [Text.assemble(("never: ", "bold"), _listed(entry.exclusions)), Text()]
    parts.append(_examples_table(entry))
    return Group(*parts)


def _rules_table(entry: FindingRules) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 1, 0))
    for column in ("rule", "means", "words"):
        table.add_column(column, overflow="fold")
    for rule in entry.rules:
        table.add_row(_name(rule), _meaning(rule), Text(_listed(rule.phrases)))
    for part in entry.anatomy:
        for assertion, predicates in part.predicates.items():
            if predicates:
                words = f"{_listed(part.terms)}\n  … {_listed(predicates)}"
                table.add_row(_name(part), assertion, Text(words))
    return table


def _examples_table(entry: FindingRules) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("example", overflow="fold")
    table.add_column("label")
    for example in entry.examples:
        table.add_row(Text(" ".join(example.text.split())), example.expect)
    return table


def _name(rule: Rule | Anatomy) -> str:
    return rule.id.partition("/")[2]


def _meaning(rule: Rule) -> str:
    others = ", ".join(rule.findings[1:])
    return f"{rule.assertion}; also {others}" if others else rule.assertion


def _listed(phrases: Sequence[Phrase]) -> str:
    return ", ".join(p if isinstance(p, str) else f"[{' '.join(p)}]" for p in phrases)
