"""Labeling files: tables of reports in; labels, mentions, statistics and a run record out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cxrlabel.chunks import Chunk, LabelingOptions, label_chunks
from cxrlabel.errors import InputError
from cxrlabel.findings import load_dialect, load_label_set
from cxrlabel.layout import Layout
from cxrlabel.readers import ReportSource, open_reports
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.stats import LabelStatistics, StatsCounter, statistics_kind, write_statistics
from cxrlabel.studies import Mention
from cxrlabel.writers import RowWriter, atomic_path, check_target, open_rows, table_kind

_INTEGERS: Final = frozenset({"sentence", "start", "end", "cue_start", "cue_end"})

Progress = Callable[[int], None]  # called with the number of reports done since the last call


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

    @property
    def all(self) -> tuple[Path, ...]:
        """All files in the order in which they are named to the user."""
        return tuple(p for p in (self.labels, self.mentions, self.stats, self.record) if p)

    def check(self, inputs: Iterable[Path]) -> None:
        """Refuse before the work begins what could not be written after it.

        Args:
            inputs: files that no output may replace.
        """
        check_target(self.labels, force=self.force)
        taken = {path.resolve() for path in inputs}
        for path in self.all:
            check_target(path, force=self.force)
            if path.resolve() in taken:
                raise InputError(f"{path}: is read or written already; expected a file of its own")
            taken.add(path.resolve())
        table_kind(self.labels)
        if self.mentions is not None:
            table_kind(self.mentions)
        if self.stats is not None:
            statistics_kind(self.stats)


@dataclass
class _Tally:
    """What is counted over all chunks."""

    counter: StatsCounter
    changed: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Chunk) -> None:
        """Count a chunk's labels."""
        self.counter.merge(chunk.counter)
        self.changed.update(chunk.changed)


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

    All files appear together when the last row is labeled; the labels file is the last of them.

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
        WorkerError: a worker process died; nothing has been written.
    """
    labeling = labeling or LabelingOptions()
    labeling.parents()  # an unknown hierarchy is refused before any file is opened
    chosen = load_dialect(dialect, rules=labeling.rules)
    findings = load_label_set(label_set or chosen.label_set or "all", rules=labeling.rules)
    kept = tuple(dict.fromkeys((*chosen.keep, *keep)))
    source = open_reports(inputs, id_column=id_column, text_columns=text_columns, keep=kept)
    layout = Layout(findings, chosen, chosen.id_name or source.id_column, kept, status)
    layout.check()
    outputs.check(source.paths)
    made = _record(source, labeling, layout)
    mentions = outputs.mentions is not None
    chunks = label_chunks(source.rows(), labeling, layout, mentions=mentions, workers=workers)
    with ExitStack() as stack:
        tally = _write_rows(stack, chunks, layout, outputs, progress)
        statistics = tally.counter.statistics()
        record = {
            **made,
            "changed": dict(tally.changed),
            "outputs": [str(path) for path in outputs.all if path != outputs.record],
            "statistics": statistics.to_dict(),
        }
        _write_summary(stack, statistics, record, outputs)
    return LabelingRun(record, statistics, outputs.all)


def _write_rows(
    stack: ExitStack,
    chunks: Iterable[Chunk],
    layout: Layout,
    outputs: Outputs,
    progress: Progress | None,
) -> _Tally:
    """Write labels and mentions; the files get their names when the stack is left."""
    force = outputs.force
    labels = stack.enter_context(open_rows(outputs.labels, layout.columns(), force=force))
    mentions: RowWriter | None = None
    if outputs.mentions is not None:
        columns = _mention_columns(layout.id_name)
        mentions = stack.enter_context(open_rows(outputs.mentions, columns, force=force))
    tally = _Tally(StatsCounter(tuple(layout.label_set.columns)))
    for chunk in chunks:
        labels.write(chunk.labels)
        if mentions is not None:
            mentions.write(chunk.mentions)
        tally.add(chunk)
        if progress is not None:
            progress(len(chunk.labels))
    return tally


def _mention_columns(id_name: str) -> dict[str, type]:
    if id_name in Mention._fields:
        raise InputError(
            f"--id: {id_name!r} is a column of the mentions file; rename the id column"
        )
    names: dict[str, type] = {id_name: str}
    names.update({name: int if name in _INTEGERS else str for name in Mention._fields})
    return names


def _record(source: ReportSource, labeling: LabelingOptions, layout: Layout) -> dict[str, Any]:
    """How the labels are made: all of the run record but what is counted."""
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
    }


def _write_summary(
    stack: ExitStack, statistics: LabelStatistics, record: Mapping[str, Any], outputs: Outputs
) -> None:
    """Write the statistics and the run record; they get their names when the stack is left."""
    force = outputs.force
    if outputs.stats is not None:
        path = stack.enter_context(atomic_path(outputs.stats, force=force))
        write_statistics(statistics, path, record, kind=statistics_kind(outputs.stats))
    path = stack.enter_context(atomic_path(outputs.record, force=force))
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
