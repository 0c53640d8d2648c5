"""Labeling files: tables of reports in; labels, mentions, statistics and a run record out.

Rows are labeled in chunks, here or in worker processes, and written in the order of the input.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import (
    CODES,
    NO_FINDING,
    POSITIVE,
    Dialect,
    LabelSet,
    load_dialect,
    load_label_set,
)
from cxrlabel.readers import UNDECODABLE, ReportRow, ReportSource, open_reports
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.startup import import_spacy_without_torch
from cxrlabel.stats import LabelStatistics, StatsCounter, write_statistics
from cxrlabel.studies import AGGREGATES, Mention, StudyLabels, blank_labels, fill_parents
from cxrlabel.writers import RowWriter, atomic_path, check_target, open_rows

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler

_CHUNK: Final = 1000  # reports labeled between two writes
_INTEGERS: Final = frozenset({"sentence", "start", "end", "cue_start", "cue_end"})

Progress = Callable[[int], None]  # called with the number of reports done since the last call


@dataclass(frozen=True)
class LabelingOptions:
    """How reports are labeled; every field is the command line's option of the same name."""

    rules: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = AGGREGATES[0]
    hierarchy: str = "none"

    def labeler(self) -> Labeler:
        """A labeler with these options."""
        from cxrlabel.labeler import Labeler  # imports spaCy, which the workers may want to prepare

        return Labeler.load(
            rules=self.rules,
            sections=self.sections,
            options=self.options,
            aggregate=self.aggregate,
        )


@dataclass(frozen=True)
class Layout:
    """The columns of the labels file."""

    label_set: LabelSet
    dialect: Dialect
    id_name: str
    keep: tuple[str, ...]
    status: bool

    def columns(self) -> dict[str, type]:
        """Column name -> type of its cells, in order."""
        named: dict[str, type] = dict.fromkeys(self.dialect.keep, str)
        named[self.id_name] = str
        named.update(dict.fromkeys((k for k in self.keep if k not in self.dialect.keep), str))
        if self.dialect.form == "string":
            named[self.dialect.column] = str
        else:
            named.update(dict.fromkeys(self.finding_columns().values(), float))
        if self.status:
            named["status"] = str
        return named

    def finding_columns(self) -> dict[str, str]:
        """Finding -> column name, in the dialect's order."""
        columns = self.label_set.columns
        names = sorted(columns) if self.dialect.order == "alphabetical" else list(columns)
        return {name: columns[name] for name in names}


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results go; None where one is not wanted."""

    labels: Path
    mentions: Path | None = None
    stats: Path | None = None
    force: bool = False

    @property
    def record(self) -> Path:
        """The run record, beside the labels."""
        return self.labels.with_name(f"{self.labels.name}.run.json")

    def check(self) -> None:
        """Refuse before the work begins what could not be written after it."""
        for path in (self.labels, self.mentions, self.stats, self.record):
            if path is not None:
                check_target(path, force=self.force)


@dataclass
class _Tally:
    """What is counted over all chunks."""

    counter: StatsCounter
    changed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The results of some rows, ready to be written."""

    labels: list[tuple[Any, ...]]
    mentions: list[tuple[Any, ...]]
    counter: StatsCounter
    changed: Counter[str]


@dataclass(frozen=True, slots=True)
class LabelingRun:
    """What a run did; `record` is what the run record file holds."""

    record: Mapping[str, Any]
    statistics: LabelStatistics
    written: tuple[Path, ...]


def label_files(
    inputs: Sequence[str],
    outputs: Outputs,
    *,
    labeling: LabelingOptions | None = None,
    id_column: str | None = None,
    text_columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    label_set: str = "",
    dialect: str = "cxr",
    status: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> LabelingRun:
    """Label tables of reports and write the results.

    Args:
        inputs: files, folders of .txt or glob patterns.
        outputs: where the results go.
        labeling: how reports are labeled.
        id_column: the id's column; by default one of the usual names.
        text_columns: the report's column, or several section columns; by default the usual names.
        keep: columns of the input to copy behind the id.
        label_set: "all", "chexpert", "nih14" or a TOML file; by default the dialect's own.
        dialect: "cxr", "chexpert", "mimic" or "nih".
        status: add a status column.
        workers: processes.
        progress: called as reports are done.

    Raises:
        InputError: a file, column, option or rule is wrong; nothing has been written then.
    """
    labeling = labeling or LabelingOptions()
    outputs.check()
    chosen = load_dialect(dialect, rules=labeling.rules)
    findings = load_label_set(label_set or chosen.label_set or "all", rules=labeling.rules)
    kept = tuple(dict.fromkeys((*chosen.keep, *keep)))
    source = open_reports(inputs, id_column=id_column, text_columns=text_columns, keep=kept)
    layout = Layout(findings, chosen, chosen.id_name or source.id_column, kept, status)
    _check_columns(layout)
    chunks = _label_chunks(source.rows(), labeling, layout, outputs, workers)
    tally = _write(chunks, layout, outputs, progress)
    record = _record(source, labeling, layout, tally, outputs)
    return LabelingRun(record, tally.counter.statistics(), _finish(record, tally, outputs))


def _check_columns(layout: Layout) -> None:
    taken = {*layout.finding_columns().values(), layout.id_name}
    for name in layout.keep:
        if name in taken:
            raise InputError(f"--keep: {name!r} is a column of the labels file already")


def _label_chunks(
    rows: Iterable[ReportRow],
    labeling: LabelingOptions,
    layout: Layout,
    outputs: Outputs,
    workers: int,
) -> Iterator[_Chunk]:
    chunks = iter(_batched(rows, _CHUNK))
    mentions = outputs.mentions is not None
    if workers <= 1:
        worker = _Worker(labeling, layout, mentions=mentions)
        yield from map(worker, chunks)
        return
    # spawn: a forked copy of a process that has threads (pyarrow's) may hang
    with get_context("spawn").Pool(
        workers, initializer=_start_worker, initargs=(labeling, layout, mentions)
    ) as pool:
        yield from pool.imap(_run_worker, chunks)


def _batched(rows: Iterable[ReportRow], size: int) -> Iterator[list[ReportRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _Worker:
    """Labels chunks of rows with one labeler."""

    def __init__(self, labeling: LabelingOptions, layout: Layout, *, mentions: bool) -> None:
        self._labeler = labeling.labeler()
        self._aggregate = labeling.aggregate
        self._parents = _parents(labeling) if labeling.hierarchy == "up" else {}
        self._layout = layout
        self._names = tuple(layout.finding_columns())
        self._mentions = mentions

    def __call__(self, rows: Sequence[ReportRow]) -> _Chunk:
        """Label some rows."""
        counter = StatsCounter(self._labeler.findings)
        changed: Counter[str] = Counter()
        labels: list[tuple[Any, ...]] = []
        mentions: list[tuple[Any, ...]] = []
        for row in rows:
            result = self._result(row, changed)
            counter.add(result)
            labels.append(self._label_row(row, result))
            if self._mentions:
                mentions += [(row.study_id, *mention) for mention in result.mentions]
        return _Chunk(labels, mentions, counter, changed)

    def _result(self, row: ReportRow, changed: Counter[str]) -> StudyLabels:
        if row.status == UNDECODABLE:
            return StudyLabels(UNDECODABLE, blank_labels(self._labeler.findings), (), ())
        result = self._labeler.label(row.texts)
        if self._aggregate != AGGREGATES[0]:
            changed["aggregate"] += self._labeler.differs(result)
        if self._parents:
            filled = dict(result.labels)
            changed["hierarchy"] += fill_parents(filled, self._parents)
            return StudyLabels(result.status, filled, result.mentions, result.sections)
        return result

    def _label_row(self, row: ReportRow, result: StudyLabels) -> tuple[Any, ...]:
        needed = len(self._layout.dialect.keep)
        states = [result.labels[name] for name in self._names]
        cells: list[Any]
        if self._layout.dialect.form == "string":
            cells = [_positives(self._layout, self._names, states, result)]
        else:
            cells = [_NUMBERS[state] for state in states]
        status = [result.status] if self._layout.status else []
        return (*row.kept[:needed], row.study_id, *row.kept[needed:], *cells, *status)


_NUMBERS: Final = {state: float(code) if code else None for state, code in CODES.items()}
_worker: _Worker


def _start_worker(labeling: LabelingOptions, layout: Layout, mentions: bool) -> None:
    global _worker  # one labeler lives in each worker process
    import_spacy_without_torch()
    _worker = _Worker(labeling, layout, mentions=mentions)


def _run_worker(rows: Sequence[ReportRow]) -> _Chunk:
    return _worker(rows)


def _positives(
    layout: Layout, names: Sequence[str], states: Sequence[str], result: StudyLabels
) -> str:
    """The cell of the NIH layout: positive names joined by "|", or "No Finding"."""
    columns = layout.finding_columns()
    found = [columns[n] for n, state in zip(names, states, strict=True) if state == POSITIVE]
    if found:
        return "|".join(found)
    return NO_FINDING if result.labels.get(NO_FINDING) == POSITIVE else ""


def _parents(labeling: LabelingOptions) -> Mapping[str, str]:
    table = read_rule_files(labeling.rules).single("hierarchy.toml").table
    return dict(table["parents"])


def _write(
    chunks: Iterable[_Chunk], layout: Layout, outputs: Outputs, progress: Progress | None
) -> _Tally:
    tally: _Tally | None = None
    with ExitStack() as stack:
        labels = stack.enter_context(
            open_rows(outputs.labels, layout.columns(), force=outputs.force)
        )
        mentions: RowWriter | None = None
        if outputs.mentions is not None:
            columns = _mention_columns(layout.id_name)
            mentions = stack.enter_context(
                open_rows(outputs.mentions, columns, force=outputs.force)
            )
        for chunk in chunks:
            labels.write(chunk.labels)
            if mentions is not None:
                mentions.write(chunk.mentions)
            if tally is None:
                tally = _Tally(chunk.counter)
            else:
                tally.counter.merge(chunk.counter)
            tally.changed.update(chunk.changed)
            if progress is not None:
                progress(len(chunk.labels))
    return tally or _Tally(StatsCounter(tuple(layout.label_set.columns)))


def _mention_columns(id_name: str) -> dict[str, type]:
    names: dict[str, type] = {id_name: str}
    names.update({name: int if name in _INTEGERS else str for name in Mention._fields})
    return names


def _record(
    source: ReportSource,
    labeling: LabelingOptions,
    layout: Layout,
    tally: _Tally,
    outputs: Outputs,
) -> dict[str, Any]:
    statistics = tally.counter.statistics().to_dict()
    return {
        "version": version("cxr"),
        "rules_hash": read_rule_files(labeling.rules).hash,
        "options": {
            **asdict(labeling),
            "label_set": layout.label_set.name,
            "dialect": layout.dialect.name,
            "keep": list(layout.keep),
        },
        "inputs": [asdict(file) for file in source.files],
        "id_column": source.id_column,
        "text_columns": list(source.text_columns),
        "ignored_columns": list(source.ignored_columns),
        "columns": list(layout.columns()),
        "changed": dict(tally.changed),
        "outputs": [str(p) for p in (outputs.labels, outputs.mentions, outputs.stats) if p],
        "statistics": statistics,
    }


def _finish(record: Mapping[str, Any], tally: _Tally, outputs: Outputs) -> tuple[Path, ...]:
    """Write the statistics and the run record; returns all files written."""
    written = [outputs.labels]
    if outputs.mentions is not None:
        written.append(outputs.mentions)
    if outputs.stats is not None:
        write_statistics(tally.counter.statistics(), outputs.stats, record, force=outputs.force)
        written.append(outputs.stats)
    with atomic_path(outputs.record, force=outputs.force) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return (*written, outputs.record)
