"""Chunks: rows of reports labeled some at a time, in this process or in workers, in their order."""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from cxrlabel.checks import one_of
from cxrlabel.errors import WorkerError
from cxrlabel.layout import Layout
from cxrlabel.readers import UNDECODABLE, ReportRow
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import DEFAULT_LANGUAGE, read_rule_files
from cxrlabel.sections import check_choices
from cxrlabel.startup import import_spacy_without_torch
from cxrlabel.stats import StatsCounter
from cxrlabel.studies import AGGREGATES, StudyLabels, blank_labels, fill_parents

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler, Texts

HIERARCHIES: Final = ("none", "up")
CHUNK_SIZE: Final = 1000  # reports labeled between two writes
AHEAD: Final = 2  # chunks that wait for each worker, so that none idles and memory stays flat

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class LabelingOptions:
    """How reports are labeled; every field is the command line's option of the same name."""

    rules: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    aggregate: str = AGGREGATES[0]
    hierarchy: str = "none"
    lang: str = DEFAULT_LANGUAGE

    def labeler(self) -> Labeler:
        """A labeler with these options; the hierarchy is not its matter."""
        from cxrlabel.labeler import Labeler  # imports spaCy, which a process may want to prepare

        return Labeler.load(
            rules=self.rules,
            sections=self.sections,
            options=self.options,
            aggregate=self.aggregate,
            lang=self.lang,
        )

    def check(self) -> None:
        """Refuse what no labeler could be made with, before one is made in another process.

        Raises:
            InputError: a rule file is wrong, or an option, section, aggregate, hierarchy or
                language is unknown.
        """
        rulebook = load_rulebook(self.rules, options=self.options, lang=self.lang)
        check_choices(rulebook, sections=self.sections, aggregate=self.aggregate)
        self.parents()

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
class Job:
    """What is made of every row; all that a worker is told."""

    labeling: LabelingOptions
    layout: Layout
    mentions: bool  # whether they are wanted


@dataclass(frozen=True, slots=True, repr=False)  # a cluster's logs show tasks, never report text
class Batch:
    """Some rows, and their place in the input: the first batch is number 0."""

    number: int
    rows: list[ReportRow]


@dataclass(frozen=True, slots=True, repr=False)
class Chunk:
    """The results of a batch, ready to be written."""

    number: int
    labels: list[tuple[Any, ...]]
    mentions: list[tuple[Any, ...]]
    counter: StatsCounter
    changed: Counter[str]  # labels that "aggregate" or "hierarchy" made different


class Pending(Protocol[T_co]):
    """A result that a worker is making."""

    def result(self) -> T_co:
        """Wait for it."""


def label_report(report: Texts, labeling: LabelingOptions) -> StudyLabels:
    """Label one report with all options, the hierarchy included."""
    parents = labeling.parents()
    return _fill(labeling.labeler().label(report), parents, Counter())


def in_batches(rows: Iterable[ReportRow]) -> Iterator[Batch]:
    """Split rows; every run over the same input splits them in the same places."""
    iterator = iter(rows)
    number = 0
    while some := list(islice(iterator, CHUNK_SIZE)):
        yield Batch(number, some)
        number += 1


def as_it_is(chunk: Chunk) -> Chunk:
    """What `label_batches` makes of a chunk that is written at once."""
    return chunk


def label_batches(
    batches: Iterable[Batch], job: Job, finish: Callable[[Chunk], T], *, workers: int = 1
) -> Iterator[T]:
    """Label batch by batch, in their order.

    Args:
        batches: as `in_batches` makes them, or some of these.
        job: what is made of every row.
        finish: what is made of each chunk, in the process that labeled it; a module's function.
        workers: processes.

    Raises:
        InputError: a rule or option is wrong.
        WorkerError: a worker process died.
    """
    if workers <= 1:
        label = ChunkLabeler(job)
        yield from (finish(label(batch)) for batch in batches)
        return
    # spawn: a forked copy of a process that has threads (pyarrow's) may hang
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(job,)
    )
    try:
        yield from in_order(
            lambda batch: executor.submit(_run_worker, finish, batch),
            batches,
            lambda: workers * AHEAD,
        )
    except BrokenProcessPool as error:
        raise WorkerError("a worker process died; try again with fewer --workers") from error
    finally:
        executor.shutdown(cancel_futures=True)


def in_order(
    submit: Callable[[Batch], Pending[T]], batches: Iterable[Batch], ahead: Callable[[], int]
) -> Iterator[T]:
    """Results in the order of the batches; no more than `ahead()` batches wait at a time."""
    waiting: deque[Pending[T]] = deque()
    for batch in batches:
        waiting.append(submit(batch))
        while len(waiting) > ahead():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class ChunkLabeler:
    """Labels batches with one labeler."""

    def __init__(self, job: Job) -> None:
        self._labeler = job.labeling.labeler()
        self._aggregate = job.labeling.aggregate
        self._parents = job.labeling.parents()
        self._layout = job.layout
        self._mentions = job.mentions

    def __call__(self, batch: Batch) -> Chunk:
        """Label some rows."""
        counter = StatsCounter(tuple(self._layout.label_set.columns))
        changed: Counter[str] = Counter()
        labels: list[tuple[Any, ...]] = []
        mentions: list[tuple[Any, ...]] = []
        for row in batch.rows:
            result = self._result(row, changed)
            counter.add(result)
            labels.append(self._layout.row(row.study_id, row.kept, result))
            if self._mentions:
                mentions += [(row.study_id, *mention) for mention in result.mentions]
        return Chunk(batch.number, labels, mentions, counter, changed)

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


_worker: ChunkLabeler


def _start_worker(job: Job) -> None:
    global _worker  # one labeler lives in each worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides and says so
    Thread(target=_end_with_parent, daemon=True).start()
    import_spacy_without_torch()
    _worker = ChunkLabeler(job)


def _end_with_parent() -> None:
    """End this process when its parent was killed: it would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_worker(finish: Callable[[Chunk], T], batch: Batch) -> T:
    return finish(_worker(batch))
