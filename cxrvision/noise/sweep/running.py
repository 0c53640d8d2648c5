"""A sweep from its settings to its folder.

sweep.json      settings and hashes of the inputs: whose folder this is
phantoms/       where phantoms are drawn
cache/          images at the training size, where none was given
encoder/        the run of the encoder, on patients of its own
features.npz    features, scores and truth of the studies that cells use
cells/          the rows of each cell; one that is there is not done again
sweep.csv       a row per cell, audit, method and finding
summary.csv     means over the repeats, with intervals
index.html      the page

Every file gets its name when it is whole and holds nothing of its time, so that a sweep that was
killed and run again ends with the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.writers import atomic_path
from cxrvision.noise.sweep.material import FEATURES, read_material
from cxrvision.noise.sweep.page import sweep_page
from cxrvision.noise.sweep.rows import cell_file, read_rows, write_rows
from cxrvision.noise.sweep.settings import no_report, open_folder
from cxrvision.noise.sweep.summary import summarise, write_summary
from cxrvision.noise.sweep.working import do_cells

if TYPE_CHECKING:
    from cxrvision.noise.sweep.settings import Report, SweepSettings

TABLE: Final = "sweep.csv"
SUMMARY: Final = "summary.csv"
PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep came to."""

    folder: Path
    cells: int
    done_before: int  # of these, by a run that was stopped
    studies: int  # that labels were drawn for
    tested: int


def run_sweep(
    settings: SweepSettings,
    out: Path,
    *,
    workers: int = 1,
    device: str = "cpu",
    force: bool = False,
    say: Callable[[str], None] = no_report,
    progress: Report = no_report,
) -> Swept:
    """Run a sweep, or what is left of it.

    Args:
        workers: processes that do cells at the same time; they change nothing but the time.
        device: that networks are trained on; the last layer is trained on the CPU.
        force: drop a sweep with other settings.
        say: called with a line when a step is done.
        progress: called with what is being done, how many are done, and of how many.

    Raises:
        InputError: as `open_folder` and `prepare_material`.
        WorkerError: a worker process died.
    """
    with open_folder(out, settings, force=force):
        return _sweep(settings, out, workers, device, say, progress)


def _sweep(
    settings: SweepSettings,
    out: Path,
    workers: int,
    device: str,
    say: Callable[[str], None],
    progress: Report,
) -> Swept:
    if not (out / FEATURES).is_file():
        from cxrvision.noise.sweep.preparing import prepare_material  # loads all of training

        prepare_material(settings, out, workers=workers, device=device, say=say, progress=progress)
    material = read_material(out / FEATURES)
    cells = settings.cells()
    missing = [cell for cell in cells if not cell_file(out, cell).is_file()]
    done = len(cells) - len(missing)
    for _ in do_cells(missing, settings, out, workers, device):
        done += 1
        progress("cells", done, len(cells))
    rows = [row for cell in cells for row in read_rows(cell_file(out, cell))]
    write_rows(out / TABLE, rows)
    summary = summarise(rows)
    write_summary(out / SUMMARY, summary)
    with atomic_path(out / PAGE, force=True, again="new") as temporary:
        temporary.write_text(sweep_page(settings, material, summary), encoding="utf-8")
    return Swept(
        out, len(cells), len(cells) - len(missing), len(material.truth), len(material.test_truth)
    )
