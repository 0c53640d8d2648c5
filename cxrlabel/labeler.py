"""The labeler: a report in, its study labels and their evidence out.

Sentences repeat across reports, so the analysis of each is kept: a sentence seen before is only
looked up (two thirds of the sentences of a hospital's reports are exact repeats).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cxrlabel.assertions import Anaphor, Asserted, SentenceAnalysis, SentenceAnalyzer
from cxrlabel.findings import load_findings
from cxrlabel.outline import Outliner
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import DEFAULT_LANGUAGE
from cxrlabel.rulerecords import Rulebook
from cxrlabel.sections import BODY, check_choices
from cxrlabel.studies import (
    EMPTY,
    LABELED,
    MAX_CHARACTERS,
    NO_SECTION,
    NONE,
    TOO_LONG,
    Mention,
    StudyLabels,
    blank_labels,
    correct,
    study_labels,
)

# What is kept of sentences, dropped as a whole when full: some 400 MB of ordinary ones; a sentence
# without an end is bounded by its characters, of which each costs 8 to 28 bytes.
_CACHED_SENTENCES: Final = 200_000
_CACHED_CHARACTERS: Final = 20_000_000

Texts = str | Sequence[tuple[str, str]]  # a report, or its (section name, text) pairs


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence in its place."""

    text: str  # the whole text that the offsets refer to
    start: int
    end: int
    section: str
    index: int
    labels: bool  # whether its section makes labels


class Labeler:
    """Labels reports by the rules.

    Use `Labeler.load()`; the object keeps what it learned about sentences and may be used for any
    number of reports. It is not thread-safe; use one for each process.
    """

    def __init__(
        self,
        rulebook: Rulebook,
        *,
        findings: Sequence[str],
        sections: Sequence[str] = (),
        aggregate: str = "positive-first",
    ) -> None:
        self.rulebook = rulebook
        self.findings = tuple(findings)
        self._aggregate = aggregate
        self._analyze = SentenceAnalyzer(rulebook)
        self._outline = Outliner(rulebook, sections=sections)
        self._ranks = {section.name: section.rank for section in (BODY, *rulebook.sections)}
        self._known: dict[str, SentenceAnalysis] = {}
        self._characters = 0  # of the sentences that are known

    @classmethod
    def load(
        cls,
        *,
        rules: Sequence[Path | str] = (),
        sections: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        aggregate: str = "positive-first",
        lang: str = DEFAULT_LANGUAGE,
    ) -> Labeler:
        """Load the project's rules and make a labeler.

        Args:
            rules: folders of a user's own rules, laid over the project's.
            sections: names of the sections that make labels; by default all but indication,
                comparison, technique and recommendation.
            options: named conventions in place of their defaults, such as {"likely": "uncertain"}.
            aggregate: "positive-first", or "chexpert-code" for the public labeler's order.
            lang: the reports' language, "en" or "es".

        Raises:
            InputError: a rule file is wrong, or an option, section, aggregate or language is
                unknown.
        """
        rulebook = load_rulebook(rules, options=options, lang=lang)
        check_choices(rulebook, sections=sections, aggregate=aggregate)
        names = [finding.name for finding in load_findings(rules)]
        return cls(rulebook, findings=names, sections=sections, aggregate=aggregate)

    def label(self, report: Texts) -> StudyLabels:
        """Label one report.

        Args:
            report: the text, or (section name, text) pairs where a table has section columns.
        """
        texts = [("", report)] if isinstance(report, str) else list(report)
        size = sum(len(text) for _, text in texts)
        if size > MAX_CHARACTERS:
            return self._blank(TOO_LONG)
        if not any(text.strip() for _, text in texts):
            return self._blank(EMPTY)
        sections: list[str] = []
        sentences = [
            _Sentence(texts[s.text][1], s.start, s.end, s.section, index, s.labels)
            for index, s in enumerate(self._outline(texts, sections))
        ]
        mentions = correct(self._mentions(sentences), self._ranks)
        if not any(sentence.labels for sentence in sentences):
            labels = blank_labels(self.findings)
            return StudyLabels(NO_SECTION, labels, tuple(mentions), tuple(sections))
        labels = study_labels(mentions, self.findings, aggregate=self._aggregate)
        return StudyLabels(LABELED, labels, tuple(mentions), tuple(sections))

    def label_many(self, reports: Iterable[Texts]) -> Iterator[StudyLabels]:
        """Label a stream of reports, one result for each, in order."""
        return map(self.label, reports)

    def differs(self, result: StudyLabels) -> bool:
        """Whether the default order of states would have given other labels than this one."""
        if result.status != LABELED:
            return False
        return study_labels(result.mentions, self.findings) != result.labels

    def _blank(self, status: str) -> StudyLabels:
        return StudyLabels(status, blank_labels(self.findings), (), ())

    def _mentions(self, sentences: Iterable[_Sentence]) -> list[Mention]:
        mentions: list[Mention] = []
        before = 0  # where the mentions of the sentence before begin
        for sentence in sentences:
            analysis = self._analysis(sentence.text[sentence.start : sentence.end])
            if analysis.anaphor is not None and sentence.labels:
                _look_back(mentions, before, analysis.anaphor, sentence)
            if analysis.mentions:
                before = len(mentions)
                mentions += [_mention(asserted, sentence) for asserted in analysis.mentions]
        return mentions

    def _analysis(self, sentence: str) -> SentenceAnalysis:
        analysis = self._known.get(sentence)
        if analysis is None:
            if len(self._known) >= _CACHED_SENTENCES or self._characters >= _CACHED_CHARACTERS:
                self._forget()
            self._characters += len(sentence)
            analysis = self._known[sentence] = self._analyze(sentence)
        return analysis

    def _forget(self) -> None:
        """Start anew with no sentence known; the analyzer too, as spaCy keeps every word it saw."""
        self._known.clear()
        self._characters = 0
        self._analyze = SentenceAnalyzer(self.rulebook)


def _mention(asserted: Asserted, sentence: _Sentence) -> Mention:
    start, end = sentence.start + asserted.start, sentence.start + asserted.end
    cue = asserted.cue
    return Mention(
        finding=asserted.finding,
        assertion=asserted.assertion if sentence.labels else NONE,
        reason=asserted.reason if sentence.labels else "section",
        section=sentence.section,
        sentence=sentence.index,
        start=start,
        end=end,
        text=sentence.text[start:end],
        rule=asserted.rule,
        cue=sentence.text[sentence.start + cue[0] : sentence.start + cue[1]] if cue else "",
        cue_start=sentence.start + cue[0] if cue else None,
        cue_end=sentence.start + cue[1] if cue else None,
        laterality=asserted.laterality,
        severity=asserted.severity,
        temporality=asserted.temporality,
        location=asserted.location,
    )


def _look_back(mentions: list[Mention], before: int, anaphor: Anaphor, sentence: _Sentence) -> None:
    """Let "It has resolved." decide about what the sentence before named last."""
    if anaphor.assertion == NONE or (anaphor.assertion == "positive" and not anaphor.cue):
        return
    open_ = [
        index
        for index in range(before, len(mentions))
        if mentions[index].assertion in ("positive", "uncertain")
        or mentions[index].reason in ("historical", "question")
    ]
    if not open_:
        return
    last = mentions[open_[-1]]
    if last.sentence != sentence.index - 1 or last.section != sentence.section:
        return
    cue = anaphor.cue
    for index in open_:
        if mentions[index].start == last.start:
            mentions[index] = mentions[index]._replace(
                assertion=anaphor.assertion,
                reason=anaphor.reason,
                cue=sentence.text[sentence.start + cue[0] : sentence.start + cue[1]] if cue else "",
                cue_start=sentence.start + cue[0] if cue else None,
                cue_end=sentence.start + cue[1] if cue else None,
            )
