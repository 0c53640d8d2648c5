"""Labeling on a Dask cluster: batches go out to its workers, packed parts come back in order.

Workers need the same cxr installed, no shared disk. A task whose worker is lost is done again by
another one; a part is the same whoever makes it. Nothing is reached over the network unless an
address is given: the local cluster speaks TLS with a certificate of its own on the loopback
interface, so that no other user of the machine can send it work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from cxrlabel.chunks import AHEAD, Batch, ChunkLabeler, Job, in_order
from cxrlabel.errors import InputError, WorkerError
from cxrlabel.fingerprint import code_hash
from cxrlabel.parts import Part, pack
from cxrlabel.rulefiles import read_rule_files
from cxrlabel.startup import import_spacy_alone

LOCAL: Final = "local"
Client = Any  # distributed.Client, imported where it is used

_SECONDS: Final = 30  # until a scheduler answers and has a worker
_PATIENCE: Final = 60  # seconds between two looks whether any worker is left
_RETRIES: Final = 2  # of a task that failed; a lost worker does not count here


@contextmanager
def open_cluster(address: str, *, workers: int) -> Iterator[Client]:
    """Connect to a scheduler, or start a cluster of processes on this machine.

    Args:
        address: of the scheduler, such as "tcp://host:8786", or "local".
        workers: processes of the local cluster.

    Raises:
        InputError: Dask is not installed, or nobody answers at the address.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError(
            "--cluster: Dask is missing; install cxr with its extra 'cluster'"
        ) from error
    # messages about workers that come and go; what matters is raised
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address != LOCAL:
        with _connect(address) as client:
            yield client
        return
    quiet = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            # a port of its own for the server that would have the dashboard: it has no pages
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            security=True,
            memory_limit=0,  # no part is spilled to a disk
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(import_spacy_alone)
        yield client


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    import distributed

    try:
        client = distributed.Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise InputError(
            f"--cluster: no scheduler answers at {address}; expected 'local', or an address such "
            "as tcp://host:8786"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_SECONDS)
        except OSError as error:
            raise InputError(f"--cluster: the scheduler at {address} has no workers") from error
        yield client


def label_on_cluster(client: Client, batches: Iterable[Batch], job: Job) -> Iterator[Part]:
    """Label batches on the cluster's workers; the parts come in the order of the batches.

    Args:
        client: a `distributed.Client`.
        batches: as `label_batches` takes them.
        job: what is made of every row.

    Raises:
        WorkerError: no worker is left, a batch killed several, or a worker has another cxr.
    """
    run = _Run(uuid4().hex, job, _installed(job))

    def submit(batch: Batch) -> _Task:
        key = f"cxr-{run.name}-{batch.number}"  # random: nobody else's result has it
        future = client.submit(_label_part, run, batch, key=key, pure=False, retries=_RETRIES)
        return _Task(client, future)

    yield from in_order(submit, batches, lambda: max(1, sum(client.nthreads().values())) * AHEAD)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the tasks of a run have in common."""

    name: str
    job: Job
    installed: Mapping[str, str]  # on the machine that asks


@dataclass(frozen=True, slots=True)
class _Task:
    """A part that a worker is making."""

    client: Client
    future: Any

    def result(self) -> Part:
        """Wait for the part."""
        while True:
            try:
                part: Part = self.future.result(timeout=_PATIENCE)
            except (InputError, WorkerError):
                raise
            except TimeoutError as error:
                if not self.client.nthreads():
                    raise WorkerError("the cluster has no workers left") from error
            except Exception as error:
                raise WorkerError(f"the cluster failed: {type(error).__name__}") from error
            else:
                return part


_lock = Lock()  # a worker may have threads, a labeler serves one of them at a time
_labelers: dict[str, ChunkLabeler] = {}  # that of the newest run, in a worker


def _label_part(run: _Run, batch: Batch) -> Part:
    with _lock:
        label = _labelers.get(run.name)
        if label is None:
            installed = _installed(run.job)
            others = [name for name, mark in run.installed.items() if installed[name] != mark]
            if others:
                raise WorkerError(
                    f"a worker of the cluster has another {others[0]}; expected the same cxr "
                    "and rules everywhere"
                )
            label = ChunkLabeler(run.job)
            _labelers.clear()
            _labelers[run.name] = label
        return pack(label(batch))


def _installed(job: Job) -> dict[str, str]:
    labeling = job.labeling
    return {
        "version": version("cxr"),
        "rules_hash": read_rule_files(labeling.rules, lang=labeling.lang).hash,
        "code": code_hash(),
    }
