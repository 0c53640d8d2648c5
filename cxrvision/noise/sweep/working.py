"""Doing cells, here or in worker processes, which load no more than cells need."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import torch

from cxrlabel.errors import WorkerError
from cxrvision.noise.sweep.cells import run_cell
from cxrvision.noise.sweep.material import FEATURES, read_material
from cxrvision.noise.sweep.rows import cell_file, write_rows
from cxrvision.noise.sweep.settings import no_report

if TYPE_CHECKING:
    from cxrvision.noise.sweep.material import Material
    from cxrvision.noise.sweep.network import Images
    from cxrvision.noise.sweep.settings import Cell, SweepSettings


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What a process needs for any cell."""

    settings: SweepSettings
    material: Material
    images: Images | None


def do_cells(
    cells: list[Cell], settings: SweepSettings, out: Path, workers: int, device: str
) -> Iterator[Cell]:
    """Do cells and write their files; each is given when it is done."""
    if not cells:
        return
    if workers == 1 or len(cells) == 1:
        with _one_thread():
            bench = _open_bench(settings, out, device)
            for cell in cells:
                _do(bench, out, cell)
                yield cell
        return
    # spawned: a fork copies the locks of threads that torch may have started
    pool = ProcessPoolExecutor(
        min(workers, len(cells)),
        get_context("spawn"),
        initializer=_start_worker,
        initargs=(settings, out, device),
    )
    try:
        tasks = {pool.submit(_do_here, cell): cell for cell in cells}
        for task in as_completed(tasks):
            task.result()
            yield tasks[task]
    except BrokenProcessPool as error:
        raise WorkerError(
            f"{out}: a worker process died (out of memory?); finished cells are kept: run it again "
            "with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _do(bench: Bench, out: Path, cell: Cell) -> None:
    rows = run_cell(cell, bench.settings, bench.material, bench.images)
    write_rows(cell_file(out, cell), rows)


def _open_bench(settings: SweepSettings, out: Path, device: str) -> Bench:
    material, images = read_material(out / FEATURES), None
    if settings.train_encoder:
        from cxrvision.noise.sweep.network import open_images
        from cxrvision.noise.sweep.preparing import open_source

        source = open_source(settings, out, workers=1, say=no_report, progress=no_report)
        images = open_images(source, settings, device)
    return Bench(settings, material, images)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread in torch, so that sums have one order however many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# in a worker

_BENCH: list[tuple[Bench, Path]] = []  # of this worker process, once it has started


def _start_worker(settings: SweepSettings, out: Path, device: str) -> None:
    """Ctrl-C ends a worker without a traceback, and the end of its parent ends it."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _BENCH.append((_open_bench(settings, out, device), out))


def _do_here(cell: Cell) -> None:
    bench, out = _BENCH[0]
    _do(bench, out, cell)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
