"""A folder of phantoms in the project's own formats: pictures, manifest and labels."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.findings import require
from cxrlabel.writers import check_target, open_rows
from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.looks import Look, describe
from cxrvision.phantom.plan import PlannedStudy, PlanOptions, plan_studies
from cxrvision.phantom.reports import make_reports, write_reports
from cxrvision.phantom.saying import DEFAULT_RATES, Rates
from cxrvision.phantom.studies import NO_FINDING, Pixels, draw_views

if TYPE_CHECKING:
    import pandas as pd

FINDINGS: Final = (
    NO_FINDING, "Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pneumothorax",
    "Pleural Effusion", "Lung Lesion", "Support Devices",
)  # fmt: skip
_TABLES: Final = ("labels", "truth", "reports", "boxes", "studies")
_SHARES: Final = ("missing_lateral", "missing_frontal", "ap_share", "uncertain", "blank", "wrong")


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """What was written."""

    manifest: Path
    labels: Path
    studies: int
    images: int
    patients: int
    positives: Mapping[str, int]  # studies that truly have each finding
    reports: Path | None = None
    truth: Path | None = None  # what the images show, where it may not be what the labels say


@dataclass(frozen=True, slots=True)
class _Job:
    study: PlannedStudy
    folder: Path
    size: int
    strength: float


@dataclass(frozen=True, slots=True)
class _Drawn:
    study_id: str
    boxes: list[tuple[object, ...]]  # rows of boxes.csv
    looks: dict[str, Look]


def write_phantoms(
    out: Path | str,
    *,
    studies: int = 400,
    size: int = 128,
    seed: int = 0,
    findings: Collection[str] = FINDINGS,
    prevalence: float | Mapping[str, float] = 0.15,
    strength: float = 1.0,
    missing_lateral: float = 0.5,
    missing_frontal: float = 0.0,
    ap_share: float = 0.3,
    studies_per_patient: float = 1.5,
    confounded: bool = False,
    uncertain: float = 0.0,
    blank: float = 0.0,
    wrong: float = 0.0,
    reports: bool = False,
    report_rates: Mapping[str, Rates] = DEFAULT_RATES,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> PhantomSet:
    """Write images/*.png (8 bit), studies.csv (manifest), labels.csv and boxes.csv.

    With `uncertain`, `blank` or `wrong` above 0, or with reports, also truth.csv, the labels
    without those errors; with reports also reports.csv. The manifest is written last: a folder
    that has one is whole.

    Args:
        findings: the label columns, and what is drawn of them; any of `DRAWN` and "No Finding".
            "Lung Opacity" and "Lung Lesion" are also true where one of their kinds was drawn.
        prevalence: of each drawn finding, or by finding (others get 0.15).
        strength: of the findings; 1 is ordinary, more is easier to see.
        missing_lateral, missing_frontal, ap_share: of studies.
        confounded: sicker patients more often have an AP, no lateral, and hospital B.
        uncertain, blank, wrong: shares of cells (blank: of negative ones) of the label table.
        reports: also write a report of each study.
        report_rates: how those err and hedge, by drawn finding; others than these get the default.
        progress: called with the number of studies that were drawn since the last call.

    Raises:
        InputError: an option is out of range, or a table exists and `force` is not set.
    """
    folder = Path(out)
    options = PlanOptions(
        findings=(names := _names(findings)),
        prevalence=_prevalences(names, prevalence),
        seed=seed,
        missing_lateral=missing_lateral,
        missing_frontal=missing_frontal,
        ap_share=ap_share,
        studies_per_patient=studies_per_patient,
        confounded=confounded,
        uncertain=uncertain,
        blank=blank,
        wrong=wrong,
    )
    _check(options, studies=studies, size=size, workers=workers, strength=strength)
    tables = {name: folder / f"{name}.csv" for name in _TABLES}
    for path in tables.values():
        check_target(path, force=force)
    plan = plan_studies(options, studies)
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot write here: {error.strerror or error}") from error
    for path in tables.values():
        path.unlink(missing_ok=True)
    boxes: list[tuple[object, ...]] = []
    looks: dict[str, dict[str, Look]] = {}
    for drawn in _draw_all([_Job(study, folder, size, strength) for study in plan], workers):
        boxes += drawn.boxes
        looks[drawn.study_id] = drawn.looks
        if progress is not None:
            progress(1)
    _write_boxes(tables["boxes"], boxes)
    if reports:
        scope = [name for name in names if name != NO_FINDING]
        told = make_reports(plan, looks, scope=scope, rates={**DEFAULT_RATES, **report_rates})
        write_reports(tables["reports"], told, force=True)
    with_truth = bool(uncertain or blank or wrong or reports)
    if with_truth:
        _write_labels(tables["truth"], {s.study_id: s.truth for s in plan})
    _write_labels(tables["labels"], {s.study_id: s.label for s in plan})
    images = _write_manifest(tables["studies"], plan, seed)
    return PhantomSet(
        manifest=tables["studies"],
        labels=tables["labels"],
        studies=len(plan),
        images=images,
        patients=len({study.patient_id for study in plan}),
        positives={name: int(sum(s.truth[name] for s in plan)) for name in names},
        reports=tables["reports"] if reports else None,
        truth=tables["truth"] if with_truth else None,
    )


def _names(findings: Collection[str]) -> tuple[str, ...]:
    """Findings under their own names; an `InputError` for one that cannot be drawn."""
    names = tuple(dict.fromkeys(require(name, place="findings") for name in findings))
    unknown = [name for name in names if name not in DRAWN and name != NO_FINDING]
    if unknown or not names:
        found = repr(unknown[0]) if unknown else "none"
        known = ", ".join((NO_FINDING, *DRAWN))
        raise InputError(f"findings: {found} cannot be drawn; expected some of {known}")
    return names


def _prevalences(
    names: Collection[str], prevalence: float | Mapping[str, float]
) -> dict[str, float]:
    drawn = [name for name in names if name != NO_FINDING]
    if not isinstance(prevalence, Mapping):
        return dict.fromkeys(drawn, float(prevalence))
    given = {require(name, place="prevalence"): share for name, share in prevalence.items()}
    for name in given:
        if name not in drawn:
            raise InputError(f"prevalence: {name!r} is not drawn; expected some of {drawn}")
    return {name: float(given.get(name, 0.15)) for name in drawn}


def _check(options: PlanOptions, *, studies: int, size: int, workers: int, strength: float) -> None:
    shares = {name: getattr(options, name) for name in _SHARES}
    shares |= {f"prevalence of {name}": share for name, share in options.prevalence.items()}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{name.replace('_', ' ')}: {share:g}; expected 0 to 1")
    for name, value, least, most in (
        ("studies", studies, 1, 999_999),
        ("size", size, 32, 2048),
        ("workers", workers, 1, 1024),
        ("seed", options.seed, 0, 2**63),
        ("strength", strength, 0.05, 20),
        ("studies per patient", options.studies_per_patient, 1, 100),
    ):
        check_range(name, value, least, most)


def check_range(name: str, value: float, least: float, most: float) -> None:
    """An `InputError` for an option that is out of range."""
    if not least <= value <= most:
        raise InputError(f"{name}: {value:g}; expected {least:g} to {most:g}")


def _draw_all(jobs: list[_Job], workers: int) -> Iterator[_Drawn]:
    if workers == 1:
        yield from map(_draw, jobs)
        return
    # not forked: a caller may have threads, of torch for one
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_draw, jobs, chunksize=min(16, -(-len(jobs) // workers)))


def _draw(job: _Job) -> _Drawn:
    """Draw one study's images; where its findings are and how they look."""
    from PIL import Image

    study = job.study
    drawing = draw_views(
        np.random.default_rng(list(study.picture)),
        study.views,
        findings=study.drawn,
        size=job.size,
        strength=job.strength,
        ap=study.ap,
        person=study.person,
    )
    for view, image in drawing.images.items():
        path = job.folder / _image_path(study, view)
        pixels = np.rint(image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, format="PNG", compress_level=3)
    return _Drawn(
        study.study_id,
        list(_box_rows(study, drawing.boxes)),
        describe(drawing.chest, drawing.places),
    )


def _box_rows(
    study: PlannedStudy, boxes: Mapping[str, Mapping[str, Pixels]]
) -> Iterator[tuple[object, ...]]:
    for view, places in boxes.items():
        for name, (top, left, bottom, right) in places.items():
            if bottom > top and right > left:
                yield f"{study.study_id}_{view}", name, left, top, right - left, bottom - top


def _image_path(study: PlannedStudy, view: str) -> str:
    return f"images/{study.study_id}_{view}.png"


def _write_boxes(path: Path, rows: list[tuple[object, ...]]) -> None:
    columns = {"image_id": str, "finding": str, "x": int, "y": int, "width": int, "height": int}
    with open_rows(path, columns, force=True) as writer:
        writer.write(rows)


def _write_labels(path: Path, states: Mapping[str, Mapping[str, float]]) -> None:
    names = list(next(iter(states.values())))
    with open_rows(path, {"study_id": str, **dict.fromkeys(names, float)}, force=True) as writer:
        writer.write(
            [
                (study, *(None if row[name] != row[name] else row[name] for name in names))
                for study, row in sorted(states.items())
            ]
        )


def _write_manifest(path: Path, plan: Iterable[PlannedStudy], seed: int) -> int:
    import pandas as pd

    from cxrvision.data.manifest import write_manifest
    from cxrvision.data.splits import split_patients

    table: pd.DataFrame = pd.DataFrame(
        [_image_row(study, view) for study in plan for view in study.views]
    )
    table["split"] = split_patients(table["patient_id"], seed=seed)
    write_manifest(path, table, root=path.parent, force=True)
    return len(table)


def _image_row(study: PlannedStudy, view: str) -> dict[str, Any]:
    frontal = view == "frontal"
    return {
        "image_id": f"{study.study_id}_{view}",
        "study_id": study.study_id,
        "patient_id": study.patient_id,
        "path": _image_path(study, view),
        "view": view,
        "view_position": ("AP" if study.ap else "PA") if frontal else "LL",
        "site": study.site,
        "scanner": "mobile" if frontal and study.ap else "stand",
        "age": float(study.person.age),
        "sex": study.person.sex,
        "date": study.date,
    }
