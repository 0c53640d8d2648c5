"""Labeling files: tables of reports in; labels, mentions, statistics and a run record out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cxrlabel.chunks import (
    Chunk,
    Job,
    LabelingOptions,
    as_it_is,
    in_batches,
    label_batches,
    rare_collections,
)
from cxrlabel.cluster import open_cluster
from cxrlabel.errors import InputError
from cxrlabel.findings import load_dialect, load_label_set
from cxrlabel.fingerprint import fingerprint
from cxrlabel.layout import Layout, mention_columns, probability_columns
from cxrlabel.readers import ReportSource, open_reports
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.stats import LabelStatistics, StatsCounter, statistics_kind, write_statistics
from cxrlabel.work import UNFINISHED, WorkFolder, drop_work, label_parts, open_work
from cxrlabel.writers import RowWriter, atomic_path, check_target, open_rows, table_kind

Progress = Callable[[int], None]  # called with the number of reports done since the last call


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results go; None where one is not wanted."""

    labels: Path
    mentions: Path | None = None
    stats: Path | None = None
    probabilities: Path | None = None
    force: bool = False
    again: str = (
        ""  # part of the temporary names, so that a next run replaces what a killed one left
    )

    @property
    def record(self) -> Path:
        """The run record, beside the labels."""
        return self.labels.with_name(f"{self.labels.name}.run.json")

    @property
    def work(self) -> Path:
        """The folder of finished parts, there until a run that can be resumed is done."""
        return self.labels.with_name(f".{self.labels.name}.cxr")

    @property
    def all(self) -> tuple[Path, ...]:
        """All files in the order in which they are named to the user."""
        named = (self.labels, self.mentions, self.stats, self.probabilities, self.record)
        return tuple(path for path in named if path)

    @property
    def named(self) -> list[str]:
        """The files that the run record names: all but itself."""
        return [str(path) for path in self.all if path != self.record]

    def check(self, inputs: Iterable[Path], *, resume: bool = False) -> None:
        """Refuse before the work begins what could not be written after it.

        Args:
            inputs: files that no output may replace.
            resume: whether a work folder that is there is gone on with.
        """
        check_target(self.labels, force=self.force)
        taken = {path.resolve() for path in inputs}
        for path in self.all:
            check_target(path, force=self.force)
            if path.resolve() in taken:
                raise InputError(f"{path}: is read or written already; expected a file of its own")
            taken.add(path.resolve())
        if self.work.exists() and not (resume or self.force):
            raise InputError(f"{self.work}: {UNFINISHED}")
        table_kind(self.labels)
        for table in (self.mentions, self.probabilities):
            if table is not None:
                table_kind(table)
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
    resume: bool = False,
    cluster: str = "",
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
        dialect: the layout of the labels: "cxr", "chexpert", "chexpert-dataset", "mimic" or "nih".
        status: add a status column.
        workers: processes.
        resume: keep finished parts beside the labels until the end, and go on from those of an
            earlier run that was stopped.
        cluster: the address of a Dask scheduler, or "local" for one with `workers` processes; keeps
            finished parts as `resume` does.
        progress: called as reports are done.

    Raises:
        InputError: a file, column, option or rule is wrong; nothing has been written then.
        WorkerError: a worker process died, or the cluster failed; nothing has been written but
            finished parts.
    """
    labeling = labeling or LabelingOptions()
    labeling.check()
    chosen = load_dialect(dialect, rules=labeling.rules)
    findings = load_label_set(label_set or chosen.label_set or "all", rules=labeling.rules)
    kept = tuple(dict.fromkeys((*chosen.keep, *chosen.keep_behind, *keep)))
    source = open_reports(
        inputs,
        id_column=id_column,
        text_columns=text_columns,
        keep=kept,
        first_id=chosen.id_name,
        id_prefix=chosen.id_prefix,
    )
    layout = Layout(findings, chosen, chosen.id_name or source.id_column, kept, status)
    layout.check()
    if outputs.probabilities is not None and not labeling.is_learned:
        raise InputError(
            "--probabilities: the rules alone have none; expected --backend with a model"
        )
    job = Job(
        labeling,
        layout,
        mentions=outputs.mentions is not None,
        probabilities=outputs.probabilities is not None,
    )
    with rare_collections():
        if resume or cluster:
            made = _record(source, labeling, layout)
            return _label_in_parts(source, job, made, outputs, resume, cluster, workers, progress)
        outputs.check(source.paths)
        drop_work(outputs.work)
        made = _record(source, labeling, layout)
        batches = in_batches(source.rows())
        chunks = label_batches(batches, job, as_it_is, workers=workers)
        return _write(chunks, made, layout, outputs, progress)


def _label_in_parts(
    source: ReportSource,
    job: Job,
    made: Mapping[str, Any],
    outputs: Outputs,
    resume: bool,
    cluster: str,
    workers: int,
    progress: Progress | None,
) -> LabelingRun:
    """Label into the work folder first; all outputs are put together from its parts."""
    done = _finished_run(outputs, made) if resume and not outputs.force else None
    if done is not None:
        drop_work(outputs.work)
        return done
    # what a run that had all its parts left here is its own; fixed names leave no orphans
    unfinished = resume and WorkFolder(outputs.work).is_complete
    outputs = replace(outputs, force=outputs.force or unfinished, again="again")
    outputs.check(source.paths, resume=resume)
    with ExitStack() as stack:
        client = stack.enter_context(open_cluster(cluster, workers=workers)) if cluster else None
        marks = fingerprint(made, job)
        work = stack.enter_context(open_work(outputs.work, marks, resume=resume))
        if not work.is_complete:
            label_parts(work, source.rows(), job, workers, client, progress)
        return _write(work.chunks(), made, job.layout, outputs, None)


def _finished_run(outputs: Outputs, made: Mapping[str, Any]) -> LabelingRun | None:
    """What an equal run has written already, when all of it is there."""
    if not all(path.is_file() for path in outputs.all):
        return None
    try:
        record = json.loads(outputs.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not a run record of ours; it is refused as any file that exists
    expected = json.loads(json.dumps({**made, "outputs": outputs.named}))
    if not isinstance(record, dict) or {**record, **expected} != record:
        return None
    return LabelingRun(record, LabelStatistics.from_dict(record["statistics"]), outputs.all)


def _write(
    chunks: Iterable[Chunk],
    made: Mapping[str, Any],
    layout: Layout,
    outputs: Outputs,
    progress: Progress | None,
) -> LabelingRun:
    """Write all outputs; they get their names when the last one is whole."""
    with ExitStack() as stack:
        tally = _write_rows(stack, chunks, layout, outputs, progress)
        statistics = tally.counter.statistics()
        record = {
            **made,
            "changed": dict(tally.changed),
            "outputs": outputs.named,
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
    again = outputs.again
    rows = open_rows(outputs.labels, layout.columns(), force=force, again=again)
    labels = stack.enter_context(rows)
    mentions: RowWriter | None = None
    if outputs.mentions is not None:
        columns = mention_columns(layout.id_name)
        rows = open_rows(outputs.mentions, columns, force=force, again=again)
        mentions = stack.enter_context(rows)
    probabilities: RowWriter | None = None
    if outputs.probabilities is not None:
        columns = probability_columns(layout.id_name, layout.label_set)
        rows = open_rows(outputs.probabilities, columns, force=force, again=again)
        probabilities = stack.enter_context(rows)
    tally = _Tally(StatsCounter(tuple(layout.label_set.columns)))
    for chunk in chunks:
        labels.write_columns(chunk.labels)
        if probabilities is not None and chunk.probabilities is not None:
            probabilities.write_columns(chunk.probabilities)
        if mentions is not None and chunk.mentions is not None:
            mentions.write_columns(chunk.mentions.columns())
        tally.add(chunk)
        if progress is not None:
            progress(chunk.reports)
    return tally


def _record(source: ReportSource, labeling: LabelingOptions, layout: Layout) -> dict[str, Any]:
    """How the labels are made: all of the run record but what is counted."""
    return {
        **_backend_record(labeling, layout),
        "version": version("cxr"),
        "rules_hash": read_rule_files(labeling.rules, lang=labeling.lang).hash,
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


def _backend_record(labeling: LabelingOptions, layout: Layout) -> dict[str, Any]:
    """Which models label; nothing where the rules do."""
    if not labeling.is_learned:
        return {}
    from cxrlabel.learned.opening import describe_backend

    return {"backend": describe_backend(labeling, list(layout.label_set.columns))}


def _write_summary(
    stack: ExitStack, statistics: LabelStatistics, record: Mapping[str, Any], outputs: Outputs
) -> None:
    """Write the statistics and the run record; they get their names when the stack is left."""
    force = outputs.force
    if outputs.stats is not None:
        path = stack.enter_context(atomic_path(outputs.stats, force=force, again=outputs.again))
        write_statistics(statistics, path, record, kind=statistics_kind(outputs.stats))
    path = stack.enter_context(atomic_path(outputs.record, force=force, again=outputs.again))
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
