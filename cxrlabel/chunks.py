"""Chunks: rows of reports labeled some at a time, in this process or in workers, in their order."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.checks import one_of
from cxrlabel.errors import WorkerError
from cxrlabel.layout import Layout
from cxrlabel.readers import UNDECODABLE, ReportRow
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.startup import import_spacy_without_torch
from cxrlabel.stats import StatsCounter
from cxrlabel.studies import AGGREGATES, StudyLabels, blank_labels, fill_parents

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler, Texts

HIERARCHIES: Final = ("none", "up")
_SIZE: Final = 1000  # reports labeled between two writes
_AHEAD: Final = 2  # chunks that wait for each worker, so that none idles and memory stays flat


@dataclass(frozen=True)
class LabelingOptions:
    """How reports are labeled; every field is the command line's option of the same name."""

    rules: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = AGGREGATES[0]
    hierarchy: str = "none"

    def labeler(self) -> Labeler:
        """A labeler with these options; the hierarchy is not its matter."""
        from cxrlabel.labeler import Labeler  # imports spaCy, which a process may want to prepare

        return Labeler.load(
            rules=self.rules,
            sections=self.sections,
            options=self.options,
            aggregate=self.aggregate,
        )

    def parents(self) -> Mapping[str, str]:
        """Child -> parent to be filled; empty unless the hierarchy is asked for.

        Raises:
            InputError: unknown hierarchy.
        """
        one_of("--hierarchy", "value", self.hierarchy, HIERARCHIES)
        if self.hierarchy == "none":
            return {}
        return dict(read_rule_files(self.rules).single("hierarchy.toml").table["parents"])


@dataclass(frozen=True, slots=True)
class Chunk:
    """The results of some rows, ready to be written."""

    labels: list[tuple[Any, ...]]
    mentions: list[tuple[Any, ...]]
    counter: StatsCounter
    changed: Counter[str]  # labels that "aggregate" or "hierarchy" made different


def label_report(report: Texts, labeling: LabelingOptions) -> StudyLabels:
    """Label one report with all options, the hierarchy included."""
    parents = labeling.parents()
    return _fill(labeling.labeler().label(report), parents, Counter())


def label_chunks(
    rows: Iterable[ReportRow],
    labeling: LabelingOptions,
    layout: Layout,
    *,
    mentions: bool,
    workers: int = 1,
) -> Iterator[Chunk]:
    """Label rows chunk by chunk, in their order.

    Raises:
        InputError: a rule or option is wrong.
        WorkerError: a worker process died.
    """
    chunks = _batched(rows, _SIZE)
    if workers <= 1:
        yield from map(_Worker(labeling, layout, mentions=mentions), chunks)
        return
    # spawn: a forked copy of a process that has threads (pyarrow's) may hang
    executor = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(labeling, layout, mentions),
    )
    try:
        yield from _in_order(executor, chunks, workers * _AHEAD)
    except BrokenProcessPool as error:
        raise WorkerError("a worker process died; try again with fewer --workers") from error
    finally:
        executor.shutdown(cancel_futures=True)


def _in_order(
    executor: ProcessPoolExecutor, chunks: Iterable[list[ReportRow]], ahead: int
) -> Iterator[Chunk]:
    waiting: deque[Future[Chunk]] = deque()
    for chunk in chunks:
        waiting.append(executor.submit(_run_worker, chunk))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _batched(rows: Iterable[ReportRow], size: int) -> Iterator[list[ReportRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _Worker:
    """Labels chunks of rows with one labeler."""

    def __init__(self, labeling: LabelingOptions, layout: Layout, *, mentions: bool) -> None:
        self._labeler = labeling.labeler()
        self._aggregate = labeling.aggregate
        self._parents = labeling.parents()
        self._layout = layout
        self._mentions = mentions

    def __call__(self, rows: Sequence[ReportRow]) -> Chunk:
        """Label some rows."""
        counter = StatsCounter(tuple(self._layout.label_set.columns))
        changed: Counter[str] = Counter()
        labels: list[tuple[Any, ...]] = []
        mentions: list[tuple[Any, ...]] = []
        for row in rows:
            result = self._result(row, changed)
            counter.add(result)
            labels.append(self._layout.row(row.study_id, row.kept, result))
            if self._mentions:
                mentions += [(row.study_id, *mention) for mention in result.mentions]
        return Chunk(labels, mentions, counter, changed)

    def _result(self, row: ReportRow, changed: Counter[str]) -> StudyLabels:
        if row.status == UNDECODABLE:
            return StudyLabels(UNDECODABLE, blank_labels(self._labeler.findings), (), ())
        result = self._labeler.label(row.texts)
        if self._aggregate != AGGREGATES[0]:
            changed["aggregate"] += self._labeler.differs(result)
        return _fill(result, self._parents, changed)


def _fill(result: StudyLabels, parents: Mapping[str, str], changed: Counter[str]) -> StudyLabels:
    if not parents:
        return result
    filled = dict(result.labels)
    changed["hierarchy"] += fill_parents(filled, parents)
    return replace(result, labels=filled)


_worker: _Worker


def _start_worker(labeling: LabelingOptions, layout: Layout, mentions: bool) -> None:
    global _worker  # one labeler lives in each worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides and says so
    import_spacy_without_torch()
    _worker = _Worker(labeling, layout, mentions=mentions)


def _run_worker(rows: Sequence[ReportRow]) -> Chunk:
    return _worker(rows)
