"""Corrections: spans that people corrected in a tool, back in as mentions and study labels.

Offsets are those of the report's columns again, and the study labels follow from the corrected
mentions by the same rules as from ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cxrlabel.annotation import (
    PlacedMention,
    check_targets,
    choose_form,
    read_mentions,
    span_labels,
    without_returns,
)
from cxrlabel.annotationfiles import Region, Task, check_assertion, short
from cxrlabel.checks import one_of
from cxrlabel.errors import InputError
from cxrlabel.findings import (
    NO_FINDING,
    OTHER_ABNORMALITY,
    load_dialect,
    load_findings,
    load_label_set,
    resolve,
)
from cxrlabel.layout import Layout, mention_columns
from cxrlabel.outline import Outliner, Sentence, sentence_at
from cxrlabel.rulebook import load_rulebook
from cxrlabel.states import as_codes
from cxrlabel.studies import (
    AGGREGATES,
    LABELED,
    NONE,
    Mention,
    StudyLabels,
    blank_labels,
    study_labels,
)
from cxrlabel.writers import neutralise, open_rows, table_kind

REVIEWED: Final = "reviewed"  # the reason of a mention that a person made or changed

_Key = tuple[str, int, int, int, str]  # finding, sentence, start, end, words


@dataclass(frozen=True, slots=True)
class ImportRun:
    """What an import did."""

    studies: int
    mentions: int
    unreviewed: int  # studies whose exported mentions were taken, for nobody has annotated them
    left_out: int  # tasks with neither
    written: tuple[Path, ...]


def import_annotations(
    file: Path,
    labels: Path,
    *,
    form: str,
    mentions: Path | None = None,
    original: Path | None = None,
    label_set: str = "all",
    aggregate: str = "positive-first",
    rules: Sequence[Path | str] = (),
    lang: str = "en",
    force: bool = False,
) -> ImportRun:
    """Read corrected tasks; write study labels and mentions.

    Args:
        file: the tool's export.
        labels: where the study labels go, one row for each task in its order.
        form: "label-studio" or "doccano".
        mentions: where the corrected mentions go.
        original: the mentions that were exported. What a tool does not keep, such as the cue and
            the side, is taken from there for a mention whose words and finding are the same.
        label_set: as for `label_files`, like `aggregate`, `rules` and `lang`.

    Raises:
        InputError: a task is not ours, an id is missing or there twice, a finding or assertion is
            unknown, or a span is outside of the report or marked twice with one finding.
    """
    chosen = choose_form(form)
    one_of("--aggregate", "value", aggregate, AGGREGATES)
    outputs = (labels,) if mentions is None else (labels, mentions)
    check_targets(outputs, (file, *([original] if original else [])), force=force)
    for path in outputs:
        table_kind(path)
    findings = load_label_set(label_set, rules=rules)
    reader = _Reader(rules, lang, aggregate)
    tasks = _distinct(chosen.read(file))
    done = [task for task in tasks if task.regions is not None]
    if not done:
        raise InputError(f"{file}: no task has an annotation")
    id_name = done[0].id_column
    known = read_mentions(original, id_name, span_labels(rules)) if original else {}
    layout = Layout(findings, load_dialect("cxr", rules=rules), id_name, (), False)
    layout.check()
    results = [reader(task, known.get(task.study_id, ())) for task in done]
    with ExitStack() as stack:
        label_rows = stack.enter_context(open_rows(labels, layout.columns(), force=force))
        if mentions is not None:
            columns = mention_columns(id_name)
            mention_rows = stack.enter_context(open_rows(mentions, columns, force=force))
        ids = [task.study_id for task in done]
        states = as_codes(result.labels for result in results)
        statuses = [result.status for result in results]
        kept = [()] * len(ids)
        label_rows.write_columns(layout.cells(ids, kept, statuses, states, reader.findings))
        if mentions is not None:
            pairs = zip(ids, results, strict=True)
            mention_rows.write(
                [(i, *mention) for i, result in pairs for mention in result.mentions]
            )
    unreviewed = sum(not task.reviewed for task in done)
    count = sum(len(result.mentions) for result in results)
    return ImportRun(len(done), count, unreviewed, len(tasks) - len(done), outputs)


def _distinct(tasks: Iterator[Task]) -> list[Task]:
    """All tasks; an `InputError` where an id comes twice or the ids are of different columns."""
    places: dict[str, str] = {}
    listed: list[Task] = []
    for task in tasks:
        if task.study_id in places:
            raise InputError(
                f"{task.place}: id {task.study_id!r} is also at {places[task.study_id]}; "
                "expected distinct ids"
            )
        if listed and task.id_column != listed[0].id_column:
            raise InputError(
                f"{task.place}: the id is of column {task.id_column!r}, "
                f"above of {listed[0].id_column!r}; expected tasks of one export"
            )
        places[task.study_id] = task.place
        listed.append(task)
    return listed


class _Reader:
    """Makes labels and mentions of a corrected task."""

    def __init__(self, rules: Sequence[Path | str], lang: str, aggregate: str) -> None:
        self._rules = rules
        self._aggregate = aggregate
        self.findings = [finding.name for finding in load_findings(rules)]
        rulebook = load_rulebook(rules, lang=lang)
        self._outliner = Outliner(rulebook)
        self._others_block = rulebook.options["other_abnormalities"] == "block"

    def __call__(self, task: Task, original: Iterable[PlacedMention]) -> StudyLabels:
        """Labels from the regions, by the rules that make labels of our own mentions."""
        known = {_key(item.mention): item.mention for item in original}
        outline = self._outliner([(b.section, task.text[b.start : b.end]) for b in task.blocks])
        mentions: dict[tuple[int, int, str], Mention] = {}
        for region in sorted(task.regions or (), key=lambda r: (r.start, r.end)):
            mention = self._mention(task, region, outline, known)
            key = (region.start, region.end, mention.finding)
            if key in mentions:
                raise InputError(f"{_place(task, region)}: marked twice with one finding")
            mentions[key] = mention
        return self._labels(task, tuple(mentions[key] for key in sorted(mentions)))

    def _labels(self, task: Task, mentions: tuple[Mention, ...]) -> StudyLabels:
        if task.status == LABELED or any(m.assertion != NONE for m in mentions):
            labels = study_labels(
                mentions,
                self.findings,
                aggregate=self._aggregate,
                others_block=self._others_block,
            )
            return StudyLabels(LABELED, labels, mentions, ())
        return StudyLabels(task.status, blank_labels(self.findings), mentions, ())

    def _mention(
        self,
        task: Task,
        region: Region,
        outline: Sequence[Sentence],
        known: Mapping[_Key, Mention],
    ) -> Mention:
        place = _place(task, region)
        finding = self._finding(region.finding, place)
        check_assertion(region.assertion, place)
        index = _block_of(task, region, place)
        block = task.blocks[index]
        start, end = region.start - block.start, region.end - block.start
        number = sentence_at(outline, index, start) or 0
        mention = Mention(
            finding=finding,
            assertion=region.assertion,
            reason=REVIEWED,
            section=outline[number].section if outline else block.section,
            sentence=number,
            start=start,
            end=end,
            text=task.text[region.start : region.end],
            rule="",
            cue="",
            cue_start=None,
            cue_end=None,
            laterality="",
            severity="",
            temporality="",
        )
        return _completed(mention, known.get(_key(mention)))

    def _finding(self, name: str, place: str) -> str:
        if name == OTHER_ABNORMALITY:
            return name
        finding = resolve(name, rules=self._rules)
        if finding is None:
            raise InputError(f"{place}: unknown label {short(name)}; expected a finding")
        if finding == NO_FINDING:
            raise InputError(f"{place}: {NO_FINDING!r} follows from the others; remove the span")
        return finding


def _key(mention: Mention) -> _Key:
    """What an exported and a corrected mention of the same words have in common."""
    text = neutralise(without_returns(mention.text))
    return mention.finding, mention.sentence, mention.start, mention.end, text


def _completed(mention: Mention, original: Mention | None) -> Mention:
    """A mention with what the original says of it; the cue belongs to the original's assertion."""
    if original is None:
        return mention
    if original.assertion == mention.assertion:
        return original
    return original._replace(
        assertion=mention.assertion, reason=REVIEWED, cue="", cue_start=None, cue_end=None
    )


def _block_of(task: Task, region: Region, place: str) -> int:
    """The index of the block that holds a region."""
    size = len(task.text)
    if not 0 <= region.start < region.end <= size:
        raise InputError(f"{place}: outside of the text, which has {size} characters")
    for index, block in enumerate(task.blocks):
        if block.start <= region.start and region.end <= block.end:
            return index
    raise InputError(f"{place}: not inside one column of the report")


def _place(task: Task, region: Region) -> str:
    return f"{task.place}: span {region.start} to {region.end}"
