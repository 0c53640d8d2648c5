"""The folder of a report: its files appear all at once, and what a killed run left is in no way.

Files are written into a folder inside, `.cxr-report`, and moved out of it when all are whole. From
the first move on it is called `.cxr-report.done`; where one is found, a run was killed among the
moves, and files that are there may be replaced.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cxrlabel.errors import InputError

METRICS: Final = "metrics.csv"
TASKS: Final = "chexpert_tasks.csv"
AGREEMENT: Final = "agreement.csv"
ERRORS: Final = "reader_errors.csv"
CONSENSUS: Final = "consensus.csv"
SOURCES: Final = "error_sources.csv"
DISAGREEMENTS: Final = "disagreements.csv"
NOISE: Final = "noise.json"
PAGE: Final = "index.html"
# in the order in which they appear; the page, which names the others, last
FILES: Final = (
    METRICS,
    TASKS,
    AGREEMENT,
    ERRORS,
    CONSENSUS,
    SOURCES,
    DISAGREEMENTS,
    NOISE,
    PAGE,
)

_WORK: Final = ".cxr-report"
_DONE: Final = ".cxr-report.done"


def check_folder(out: Path, inputs: Iterable[Path], *, force: bool) -> None:
    """Refuse before the work begins what could not be written after it.

    Raises:
        InputError: the folder is none, it has a report and `force` is not set, or an input would be
            replaced.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: this is a file; expected a folder, or none yet")
    read = {path.resolve() for path in inputs}
    for path in (out / name for name in FILES):
        if path.resolve() in read:
            raise InputError(f"{path}: is read already; expected another --out")
        if path.is_dir():
            raise InputError(f"{path}: this is a folder; expected room for a file of that name")
        if path.exists() and not force and not (out / _DONE).exists():
            raise InputError(f"{path}: the file exists; pass --force to replace it")


@contextmanager
def report_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder; its files become those of the report when the block ends well.

    Files of an earlier report that are not written again are removed.

    Raises:
        InputError: the place cannot be written.
    """
    work, done = out / _WORK, out / _DONE
    try:
        _remove(work)
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out}: cannot write here: {error.strerror or error}") from error
    try:
        yield work
        _remove(done)
        work.rename(done)
    except BaseException:
        _remove(work)
        raise
    for name in FILES:
        if (done / name).exists():
            (done / name).replace(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    _remove(done)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
