"""Chunks: rows of reports labeled some at a time, in this process or in workers, in their order."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np

from cxrlabel.checks import one_of
from cxrlabel.errors import WorkerError
from cxrlabel.findings import STATES
from cxrlabel.layout import Layout, probability_cells
from cxrlabel.mentiontable import MentionCollector, MentionTable
from cxrlabel.readers import UNDECODABLE, ReportRow
from cxrlabel.reading import Reading
from cxrlabel.rulebook import load_rulebook
from cxrlabel.rulefiles import DEFAULT_LANGUAGE, read_rule_files
from cxrlabel.sections import check_choices
from cxrlabel.startup import import_spacy_alone
from cxrlabel.states import as_codes, fill_parents
from cxrlabel.stats import StatsCounter, mention_key
from cxrlabel.studies import AGGREGATES, LABELED, Mention, StudyLabels
from cxrlabel.writers import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler, Texts
    from cxrlabel.learned.backend import Backend

HIERARCHIES: Final = ("none", "up")
CHUNK_SIZE: Final = 1000  # reports labeled between two writes
_COLLECTED_AT: Final = 100_000  # new objects, of which an ordinary chunk has about as many
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
    backend: tuple[str, ...] = ()  # "rules" or folders of models; none means the rules
    combine: str = "average"  # what several of them amount to, or "vote"

    @property
    def is_learned(self) -> bool:
        """Whether a model labels, and not the rules alone."""
        return any(name != "rules" for name in self.backend)

    def open_backend(self, labeler: Labeler) -> Backend | None:
        """The models that label; None for the rules alone."""
        if not self.is_learned:
            return None
        from cxrlabel.learned.opening import open_backend  # needs the extra `learned`

        return open_backend(self, labeler)

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
        if self.is_learned:
            from cxrlabel.learned.opening import check_backend

            check_backend(self)

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
    probabilities: bool = False  # whether they are wanted


@dataclass(frozen=True, slots=True, repr=False)  # a cluster's logs show tasks, never report text
class Batch:
    """Some rows, and their place in the input: the first batch is number 0."""

    number: int
    rows: list[ReportRow]


@dataclass(frozen=True, slots=True, repr=False)
class Chunk:
    """The results of a batch, ready to be written."""

    number: int
    reports: int
    labels: list[Column]
    mentions: MentionTable | None  # None where they are not wanted
    counter: StatsCounter
    changed: Counter[str]  # labels that "aggregate", "backend" or "hierarchy" made different
    probabilities: list[Column] | None = None  # None where they are not wanted


class Pending(Protocol[T_co]):
    """A result that a worker is making."""

    def result(self) -> T_co:
        """Wait for it."""


def label_report(report: Texts, labeling: LabelingOptions) -> StudyLabels:
    """Label one report with all options, the backend and the hierarchy included."""
    labeler = labeling.labeler()
    result = labeler.label(report)
    codes = as_codes([result.labels])
    backend = labeling.open_backend(labeler)
    if backend is not None:
        from cxrlabel.learned.labeling import label_learned

        learned = label_learned(backend, [labeler.read(report)], codes, reasons=True)
        codes = learned.codes
        result = replace(result, mentions=(*result.mentions, *learned.reasons[0]))
    fill_parents(codes, list(result.labels), labeling.parents())
    labels = dict(zip(result.labels, map(STATES.__getitem__, codes[0].tolist()), strict=True))
    return replace(result, labels=labels)


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
        self._backend = job.labeling.open_backend(self._labeler)
        self._aggregate = job.labeling.aggregate
        self._parents = job.labeling.parents()
        self._job = job
        findings = self._labeler.findings
        self._counted = [findings.index(name) for name in job.layout.label_set.columns]

    def __call__(self, batch: Batch) -> Chunk:
        """Label some rows."""
        rows = batch.rows
        layout = self._job.layout
        collector = MentionCollector()
        readings = [read_row(self._labeler, row) for row in rows]
        bits = [
            self._collect(row.study_id, reading, collector)
            for row, reading in zip(rows, readings, strict=True)
        ]
        statuses = [reading.status for reading in readings]
        changed: Counter[str] = Counter()
        labels = self._labels(bits, statuses, changed)
        table = collector.table()
        mention_counts = table.counts(mention_key)  # before the reasons of models come to it
        probabilities = None
        if self._backend is not None:
            from cxrlabel.learned.labeling import label_learned

            wanted = self._job.mentions
            learned = label_learned(self._backend, readings, labels, reasons=wanted)
            changed["backend"] += int((learned.codes != labels).any(axis=1).sum())
            labels = learned.codes
            if wanted:
                table = self._with_reasons(rows, readings, learned.reasons)
            if self._job.probabilities:
                columns = learned.probs[:, self._counted]
                probabilities = probability_cells([row.study_id for row in rows], columns)
        if self._parents:
            changed["hierarchy"] += fill_parents(labels, self._labeler.findings, self._parents)
        counter = StatsCounter(tuple(layout.label_set.columns))
        counter.add(
            Counter((reading.status, reading.sections) for reading in readings),
            labels[[status == LABELED for status in statuses]][:, self._counted],
            mention_counts,
        )
        cells = layout.cells(
            collector.studies,
            [row.kept for row in rows],
            statuses,
            labels,
            self._labeler.findings,
        )
        mentions = table if self._job.mentions else None
        return Chunk(batch.number, len(rows), cells, mentions, counter, changed, probabilities)

    def _with_reasons(
        self,
        rows: Sequence[ReportRow],
        readings: Sequence[Reading],
        reasons: Sequence[Sequence[Mention]],
    ) -> MentionTable:
        """The mentions of all rows, and behind those of each the reasons of its learned labels."""
        collector = MentionCollector()
        for row, reading, own in zip(rows, readings, reasons, strict=True):
            if own:
                mentions = self._labeler.conclude(reading).mentions
                collector.add_mentions(row.study_id, [*mentions, *own])
            else:
                self._collect(row.study_id, reading, collector)
        return collector.table()

    def _collect(self, study_id: str, reading: Reading, collector: MentionCollector) -> int:
        """Gather the mentions of a study; returns their bits."""
        if self._labeler.is_plain(reading):
            collector.add(study_id, reading.sentences)
            return reading.bits
        mentions = self._labeler.conclude(reading).mentions
        collector.add_mentions(study_id, mentions)
        return self._labeler.bits.of(mentions)

    def _labels(
        self, bits: Sequence[int], statuses: Sequence[str], changed: Counter[str]
    ) -> NDArray[np.uint8]:
        """[N, F] labels, each an index into `STATES`."""
        silent = np.array([status != LABELED for status in statuses])
        labels = self._labeler.bits.labels(bits, silent, self._aggregate)
        if self._aggregate != AGGREGATES[0]:
            usual = self._labeler.bits.labels(bits, silent, AGGREGATES[0])
            changed["aggregate"] += int((labels != usual).any(axis=1).sum())
        return labels


def read_row(labeler: Labeler, row: ReportRow) -> Reading:
    """A reading of a row of reports; one that could not be decoded says nothing."""
    if row.status == UNDECODABLE:
        return Reading(UNDECODABLE, (), [], 0)
    return labeler.read(row.texts)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cyclic garbage less often: the results of a chunk are many objects without any."""
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AT, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


_worker: ChunkLabeler


def _start_worker(job: Job) -> None:
    global _worker  # one labeler lives in each worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides and says so
    Thread(target=_end_with_parent, daemon=True).start()
    import_spacy_alone()
    gc.set_threshold(_COLLECTED_AT, *gc.get_threshold()[1:])
    _worker = ChunkLabeler(job)


def _end_with_parent() -> None:
    """End this process when its parent was killed: it would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_worker(finish: Callable[[Chunk], T], batch: Batch) -> T:
    return finish(_worker(batch))
