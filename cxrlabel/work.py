"""The work folder of a run that can be resumed: one file for every finished part, and a manifest.

The manifest has a fingerprint of all that decides about the results; parts made with another one
are refused. Each file gets its name when it is whole, so a run may be killed at any moment. The
order in which the folder comes and goes matters: the manifest is there before the first part and
goes after the last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cxrlabel.chunks import Batch, Chunk, Job, in_batches, label_batches
from cxrlabel.cluster import Client, label_on_cluster
from cxrlabel.errors import InputError
from cxrlabel.fingerprint import changes
from cxrlabel.parts import Part, pack, unpack
from cxrlabel.readers import ReportRow
from cxrlabel.writers import atomic_path

_LOCK: Final = "lock"
UNFINISHED: Final = (
    "finished parts of an earlier run; pass --resume to go on with them, --force to drop them"
)


class WorkFolder:
    """The files of a work folder; making the object touches no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "manifest.json"
        self._complete = path / "complete.json"

    @property
    def is_complete(self) -> bool:
        """Whether all parts are there; outputs may have been put in their places since."""
        return self._complete.exists()

    def finished(self) -> frozenset[int]:
        """The numbers of the parts that are there."""
        return frozenset(int(path.name.split(".")[0]) for path in self.path.glob("[0-9]*.json.gz"))

    def write(self, part: Part) -> None:
        """Keep a part; writing it twice is writing it once."""
        with atomic_path(self._part(part.number), force=True, again="new") as path:
            path.write_bytes(part.content)

    def complete(self, count: int) -> None:
        """Say that these are all parts."""
        with atomic_path(self._complete, force=True, again="new") as path:
            path.write_text(json.dumps({"parts": count}), encoding="utf-8")

    def chunks(self) -> Iterator[Chunk]:
        """All chunks in order; the parts are complete.

        Raises:
            InputError: a part is damaged.
        """
        count = json.loads(self._complete.read_text(encoding="utf-8"))["parts"]
        for number in range(count):
            path = self._part(number)
            try:
                chunk = unpack(number, path.read_bytes())
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{path}: damaged; start anew without --resume, with --force"
                ) from error
            yield chunk

    def remove(self) -> None:
        """Remove the folder; the manifest goes last, so that no part is left without one."""
        self._complete.unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path != self.manifest:
                path.unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)
        shutil.rmtree(self.path)

    def _part(self, number: int) -> Path:
        return self.path / f"{number:06d}.json.gz"


@contextmanager
def open_work(path: Path, marks: Mapping[str, Any], *, resume: bool) -> Iterator[WorkFolder]:
    """Open a work folder for one run; it is removed when the block ends well, or has no part.

    Args:
        path: the folder.
        marks: the run's `fingerprint`.
        resume: go on with the parts that are there; else they are dropped.

    Raises:
        InputError: the parts were made from something else, or another run uses the folder.
    """
    work = WorkFolder(path)
    with _locked(path):
        if not resume or not work.manifest.exists():
            _empty(path)
            with atomic_path(work.manifest, force=True) as manifest:
                manifest.write_text(json.dumps(marks, indent=2) + "\n", encoding="utf-8")
        _refuse_other(work, marks)
        try:
            yield work
        except BaseException:
            if path.exists() and not work.finished() and not work.is_complete:
                work.remove()
            raise
        work.remove()


def drop_work(path: Path) -> None:
    """Remove a work folder, where there is one.

    Raises:
        InputError: another run uses it.
    """
    if path.exists():
        with _locked(path):
            WorkFolder(path).remove()


def label_parts(
    work: WorkFolder,
    rows: Iterable[ReportRow],
    job: Job,
    workers: int,
    client: Client | None,
    progress: Callable[[int], None] | None,
) -> None:
    """Label the batches whose parts are missing, here or on a cluster.

    Raises:
        InputError: a row is wrong; the parts are gone then, because the mended input is another.
        WorkerError: a worker process died, or the cluster failed.
    """
    done = progress or (lambda _: None)
    finished = work.finished()
    count = 0

    def missing() -> Iterator[Batch]:
        nonlocal count
        for batch in _batches(work, rows):
            count += 1
            if batch.number in finished:
                done(len(batch.rows))
            else:
                yield batch

    if client is not None:
        parts = label_on_cluster(client, missing(), job)
    else:
        parts = label_batches(missing(), job, pack, workers=workers)
    for part in parts:
        work.write(part)
        done(part.reports)
    work.complete(count)


def _batches(work: WorkFolder, rows: Iterable[ReportRow]) -> Iterator[Batch]:
    try:
        yield from in_batches(rows)
    except InputError:
        work.remove()
        raise


def _refuse_other(work: WorkFolder, marks: Mapping[str, Any]) -> None:
    try:
        before = json.loads(work.manifest.read_text(encoding="utf-8"))
    except ValueError:
        before = {}
    changed = changes(before, marks)
    if changed:
        raise InputError(
            f"{work.path}: these parts were made with other {', '.join(changed)}; expected the "
            "same command on the same files; start anew without --resume, with --force"
        )


def _empty(path: Path) -> None:
    for file in path.iterdir():
        if file.name != _LOCK:
            file.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made; a killed run's lock goes with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if os.name == "nt":  # has no such locks
        yield
        return
    import fcntl

    with (path / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{path}: another run is at work here") from error
        yield
