"""The labeler: a report in, its study labels and their evidence out.

Sentences repeat across reports, so the analysis of each is kept: a sentence seen before is only
looked up (two thirds of the sentences of a hospital's reports are exact repeats).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cxrlabel.assertions import Anaphor, Asserted, SentenceAnalyzer
from cxrlabel.findings import OTHER_ABNORMALITY, load_findings
from cxrlabel.outline import Outliner
from cxrlabel.reading import Answer, Reading, Said
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import DEFAULT_LANGUAGE
from cxrlabel.rulerecords import Rulebook
from cxrlabel.sections import BODY, check_choices
from cxrlabel.states import FindingBits
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
        self.aggregate = aggregate
        self._others_block = rulebook.options["other_abnormalities"] == "block"
        self.bits = FindingBits(findings, _named(rulebook), others_block=self._others_block)
        self._analyze = SentenceAnalyzer(rulebook)
        self._outline = Outliner(rulebook, sections=sections)
        self._ranks = {section.name: section.rank for section in (BODY, *rulebook.sections)}
        # behind the bits of the findings: whether sections of a rank name one, and the anaphora
        flags = sorted(set(self._ranks.values()))
        self._ranked = {
            name: 1 << 8 * self.bits.width + flags.index(rank) for name, rank in self._ranks.items()
        }
        self._answers = 1 << 8 * self.bits.width + len(flags)
        self._known: dict[bool, dict[str, Said]] = {True: {}, False: {}}
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
        return self.conclude(self.read(report))

    def read(self, report: Texts) -> Reading:
        """Read one report; `label` is this and `conclude`."""
        texts = [("", report)] if isinstance(report, str) else report
        if sum(len(text) for _, text in texts) > MAX_CHARACTERS:
            return Reading(TOO_LONG, (), [], 0)
        if not any(text.strip() for _, text in texts):
            return Reading(EMPTY, (), [], 0)
        sections: list[str] = []
        sentences: list[tuple[Said, str, int]] = []
        bits = 0
        status = NO_SECTION
        for stretch in self._outline.stretches(texts):
            section = stretch.section
            sections.append(section)
            text = texts[stretch.text][1]
            known = self._known[stretch.labels]
            said_here = 0
            for start, end in stretch.sentences:
                sentence = text[start:end]
                said = known.get(sentence) or self._learn(sentence, labels=stretch.labels)
                sentences.append((said, section, start))
                said_here |= said.bits
            if said_here:
                bits |= said_here | self._ranked[section]
            if stretch.labels and stretch.sentences:
                status = LABELED
        return Reading(status, tuple(sections), sentences, bits)

    def without(self, reading: Reading, index: int) -> Reading:
        """A reading as if one of its sentences were not there."""
        sentences = [said for place, said in enumerate(reading.sentences) if place != index]
        bits = 0
        for said, section, _ in sentences:
            bits |= said.bits | self._ranked[section] if said.bits else 0
        return reading._replace(sentences=sentences, bits=bits)

    def is_plain(self, reading: Reading) -> bool:
        """Whether its sentences stand for themselves.

        They do where none answers for one before it and no section corrects another: then the
        bits of the reading are those of its mentions.
        """
        flags = reading.bits >> 8 * self.bits.width
        return flags & (flags - 1) == 0  # an answer comes with the rank of its section

    def conclude(self, reading: Reading) -> StudyLabels:
        """The labels of a report that has been read, with their evidence."""
        mentions = tuple(correct(_placed(reading.sentences), self._ranks))
        if reading.status != LABELED:
            labels = blank_labels(self.findings)
        else:
            labels = study_labels(
                mentions,
                self.findings,
                aggregate=self.aggregate,
                others_block=self._others_block,
            )
        return StudyLabels(reading.status, labels, mentions, reading.sections)

    def label_many(self, reports: Iterable[Texts]) -> Iterator[StudyLabels]:
        """Label a stream of reports, one result for each, in order."""
        return map(self.label, reports)

    def _learn(self, sentence: str, *, labels: bool) -> Said:
        """Analyse a sentence that is not known."""
        known = sum(map(len, self._known.values()))
        if known >= _CACHED_SENTENCES or self._characters >= _CACHED_CHARACTERS:
            self._forget()
        self._characters += len(sentence)
        analysis = self._analyze(sentence)
        mentions = tuple(_mention(m, sentence, labels=labels) for m in analysis.mentions)
        bits = self.bits.of(mentions)
        answer = _answer(analysis.anaphor, sentence) if labels else None
        if answer is not None:
            bits |= self._answers
        said = self._known[labels][sentence] = Said(mentions, bits, answer, sentence, labels)
        return said

    def _forget(self) -> None:
        """Start anew with no sentence known; the analyzer too, as spaCy keeps every word it saw."""
        for known in self._known.values():
            known.clear()
        self._characters = 0
        self._analyze = SentenceAnalyzer(self.rulebook)


def _named(rulebook: Rulebook) -> list[str]:
    """All that mentions may name."""
    rules = [name for rule in rulebook.rules() for name in rule.findings]
    parts = [name for part in rulebook.anatomy() for name in part.findings]
    return list(dict.fromkeys([OTHER_ABNORMALITY, *rules, *parts]))


def _mention(asserted: Asserted, sentence: str, *, labels: bool) -> Mention:
    """A mention whose place is its sentence's start."""
    cue = asserted.cue
    return Mention(
        finding=asserted.finding,
        assertion=asserted.assertion if labels else NONE,
        reason=asserted.reason if labels else "section",
        section="",
        sentence=0,
        start=asserted.start,
        end=asserted.end,
        text=sentence[asserted.start : asserted.end],
        rule=asserted.rule,
        cue=sentence[cue[0] : cue[1]] if cue else "",
        cue_start=cue[0] if cue else None,
        cue_end=cue[1] if cue else None,
        laterality=asserted.laterality,
        severity=asserted.severity,
        temporality=asserted.temporality,
        location=asserted.location,
    )


def _answer(anaphor: Anaphor | None, sentence: str) -> Answer | None:
    if anaphor is None or anaphor.assertion == NONE:
        return None
    cue = anaphor.cue
    if cue is None:
        says_nothing = anaphor.assertion == "positive"
        return None if says_nothing else Answer(anaphor.assertion, anaphor.reason, "", None, None)
    return Answer(anaphor.assertion, anaphor.reason, sentence[cue[0] : cue[1]], *cue)


def _placed(sentences: Iterable[tuple[Said, str, int]]) -> list[Mention]:
    """The mentions of a report in their places."""
    mentions: list[Mention] = []
    before = 0  # where the mentions of the sentence before begin
    for index, (said, section, start) in enumerate(sentences):
        if said.answer is not None:
            _look_back(mentions, before, said.answer, index, section, start)
        if said.mentions:
            before = len(mentions)
            mentions += [_at(mention, section, index, start) for mention in said.mentions]
    return mentions


def _at(mention: Mention, section: str, sentence: int, start: int) -> Mention:
    """A mention where its sentence stands."""
    return mention._replace(
        section=section,
        sentence=sentence,
        start=start + mention.start,
        end=start + mention.end,
        cue_start=_shifted(mention.cue_start, start),
        cue_end=_shifted(mention.cue_end, start),
    )


def _shifted(offset: int | None, start: int) -> int | None:
    return None if offset is None else start + offset


def _look_back(
    mentions: list[Mention], before: int, answer: Answer, sentence: int, section: str, start: int
) -> None:
    """Let "It has resolved." decide about what the sentence before named last."""
    open_ = [
        index
        for index in range(before, len(mentions))
        if mentions[index].assertion in ("positive", "uncertain")
        or mentions[index].reason in ("historical", "question")
    ]
    if not open_:
        return
    last = mentions[open_[-1]]
    if last.sentence != sentence - 1 or last.section != section:
        return
    for index in open_:
        if mentions[index].start == last.start:
            mentions[index] = mentions[index]._replace(
                assertion=answer.assertion,
                reason=answer.reason,
                cue=answer.cue,
                cue_start=_shifted(answer.cue_start, start),
                cue_end=_shifted(answer.cue_end, start),
            )
