"""Images into shards, several at the same time."""

from __future__ import annotations

import hashlib
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Final

from cxrvision.data.shards import BROKEN, Entry, Preparation, Shard, write_shard

Image = tuple[str, Path]  # its id and its file
Part = tuple[str, Sequence[Image]]  # a shard's name and its images
Write = Callable[[Path, str, Sequence[Image], Preparation], Shard]

_SHARD_BYTES: Final = 1 << 30
_SHARD_ROWS: Final = 4096
_LEAST_ROWS: Final = 32
_SHARDS_PER_WORKER: Final = 4  # so that none waits long for the last


def decode_shards(
    folder: Path,
    images: Sequence[Image],
    preparation: Preparation,
    shards: Sequence[Shard],
    workers: int,
    *,
    write: Write = write_shard,
) -> Iterator[Shard]:
    """Shards of the images, as they are finished; an image that cannot be read is part of one.

    Args:
        folder: where to.
        images: what to decode.
        preparation: how.
        shards: those that are there, which the new ones are numbered after.
        workers: processes; 1 decodes in this one. Where one dies, its images are tried again, one
            shard at a time, and the image that is the cause is recorded as broken.
        write: what decodes a shard.
    """
    if not images:
        return
    most = max(1, min(_SHARD_ROWS, _SHARD_BYTES // preparation.size**2))
    fair = max(_LEAST_ROWS, math.ceil(len(images) / (_SHARDS_PER_WORKER * workers)))
    length = min(most, fair)
    first = 1 + max((int(shard.name.split("-")[0]) for shard in shards), default=-1)
    parts = [images[start : start + length] for start in range(0, len(images), length)]
    named = [(f"{first + number:05d}-{_name(part)}", part) for number, part in enumerate(parts)]
    if workers == 1 or len(named) == 1:
        for name, part in named:
            yield write(folder, name, part, preparation)
        return
    yield from _in_processes(folder, named, preparation, min(workers, len(named)), write)


def _in_processes(
    folder: Path, named: Sequence[Part], preparation: Preparation, workers: int, write: Write
) -> Iterator[Shard]:
    from concurrent.futures import as_completed

    left = dict(named)
    pool = _pool(workers)
    try:
        tasks = {pool.submit(write, folder, name, part, preparation): name for name, part in named}
        for task in as_completed(tasks):
            if isinstance(task.exception(), BrokenProcessPool):
                break
            yield task.result()
            del left[tasks[task]]
    finally:
        pool.shutdown(cancel_futures=True)
    for name, part in left.items():  # a worker died, of one of these or for want of memory
        yield from _one_by_one(folder, name, part, preparation, write)


def _one_by_one(
    folder: Path, name: str, images: Sequence[Image], preparation: Preparation, write: Write
) -> Iterator[Shard]:
    """Decode with nothing else at work, halving until the image is alone that ends its process."""
    pool = _pool(1)
    try:
        yield pool.submit(write, folder, name, images, preparation).result()
    except BrokenProcessPool:
        if len(images) > 1:
            middle = len(images) // 2
            for ending, half in (("a", images[:middle]), ("b", images[middle:])):
                yield from _one_by_one(folder, name + ending, half, preparation, write)
        else:
            fatal = Entry(images[0][0], BROKEN, "ends the process that decodes it")
            yield Shard(name, 0, "", "", preparation, (fatal,))
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawned: a fork copies the locks of threads that torch or pyarrow may have started
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """In a worker: Ctrl-C ends it without a traceback, and the end of its parent ends it.

    A worker holds both ends of the pipe that it waits for work at, so that it would wait forever
    for a parent that was killed.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _name(images: Sequence[Image]) -> str:
    """Part of a shard's name, so that two builds cannot mean different images by the same name."""
    text = "\0".join(f"{image_id}\0{path}" for image_id, path in images)
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=6).hexdigest()
