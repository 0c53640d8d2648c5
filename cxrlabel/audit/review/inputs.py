"""What a review is made of: the sample's ids, and for each its report, images, labels, mentions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cxrlabel.annotation import read_mentions, span_labels
from cxrlabel.audit.review.document import CUE, Block, DocumentMaker, Highlight, Texts
from cxrlabel.audit.review.images import require_packages
from cxrlabel.audit.review.models import IMAGE, REPORT
from cxrlabel.audit.review.words import STATE_OF
from cxrlabel.columns import find_id, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.findings import BLANK, resolve
from cxrlabel.formats import open_table
from cxrlabel.readers import open_reports, read_id
from cxrlabel.rulebook import load_rulebook
from cxrlabel.studies import LEARNED, Mention
from cxrlabel.tables import read_labels

FRONTAL: Final = "frontal"
LATERAL: Final = "lateral"

# (0018,5101) View Position
_VIEWS: Final = {
    **dict.fromkeys((FRONTAL, "ap", "pa"), FRONTAL),
    **dict.fromkeys((LATERAL, "lat", "ll", "rl", "lateral view"), LATERAL),
}
_ORDER: Final = (FRONTAL, LATERAL, "")


@dataclass(frozen=True, slots=True)
class Report:
    """A report with its sections."""

    texts: Texts
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of a study."""

    path: Path  # absolute
    view: str  # frontal, lateral or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The files that a review is made of.

    Attributes:
        sample: a table with the ids of the studies to read.
        reports: files, folders of .txt or patterns; needed when the reference is the report.
        images: a manifest: study id, path, view; needed when the reference is the image.
        labels, mentions: what the labeler said; shown on request, when a study is committed.
        id_column: the id column of the sample; by default a usual name.
        text_columns: as for `open_reports`.
        image_root: the folder that the manifest's paths begin in; by default the manifest's.
        rules, lang: as for `load_rulebook`; they name the sections of a report.
    """

    sample: Path
    reports: Sequence[str] = ()
    images: Path | None = None
    labels: Path | None = None
    mentions: Path | None = None
    id_column: str | None = None
    text_columns: Sequence[str] = ()
    image_root: Path | None = None
    rules: Sequence[Path | str] = ()
    lang: str = "en"


@dataclass(frozen=True, slots=True)
class Material:
    """What a review shows of its studies, by id."""

    id_column: str
    ids: Sequence[str]
    reports: Mapping[str, Report]
    images: Mapping[str, Sequence[ImageFile]]
    labels: Mapping[str, Mapping[str, str]]  # finding -> state
    highlights: Mapping[str, Sequence[Highlight]]


def read_material(
    sources: Sources, *, keys: Mapping[str, str], reference: str, leave: Collection[str] = ()
) -> Material:
    """Read what a review shows.

    Args:
        keys: finding -> its key.
        reference: "report" or "image".
        leave: ids of the sample that are not read.

    Raises:
        InputError: a file is wrong, or it lacks a study of the sample that has to be in it.
    """
    if reference == REPORT and not sources.reports:
        raise InputError("--reports: not given; expected the reports of the sample")
    if reference == IMAGE and sources.images is None:
        raise InputError("--images: not given; expected the images of the sample")
    if sources.mentions is not None and not sources.reports:
        raise InputError("--mentions: expected --reports as well, which they are places of")
    id_column, listed_ids = read_sample_ids(sources.sample, sources.id_column)
    ids = [study_id for study_id in listed_ids if study_id not in leave]
    reports = read_reports(sources, ids, id_column) if sources.reports else {}
    images: Mapping[str, Sequence[ImageFile]] = {}
    if sources.images is not None:
        images = read_images(sources.images, ids, id_column=id_column, root=sources.image_root)
        if reference == IMAGE:
            _require_all(ids, images, "image", str(sources.images))
    labels: Mapping[str, Mapping[str, str]] = {}
    if sources.labels is not None:
        labels = read_states(
            sources.labels, id_column=id_column, findings=keys, rules=sources.rules
        )
    highlights: Mapping[str, Sequence[Highlight]] = {}
    if sources.mentions is not None:
        highlights = read_highlights(
            sources.mentions, reports, id_column=id_column, keys=keys, rules=sources.rules
        )
    return Material(id_column, ids, reports, images, labels, highlights)


def read_sample_ids(sample: Path, id_column: str | None) -> tuple[str, list[str]]:
    """The id column's name, and the ids in order.

    Raises:
        InputError: no id column, an id is empty or there twice, or there is none.
    """
    table = open_table(sample, names=() if id_column is None else (id_column,))
    name = id_column or find_id(table.columns)
    if name is None:
        raise InputError(
            f"{sample}: no id column found; name it with --id (columns: {listed(table.columns)})"
        )
    require_column(name, table.columns, place=str(sample))
    places: dict[str, str] = {}
    for place, (cell,) in table.read([name]):
        study_id = read_id(cell, place)
        if study_id in places:
            raise InputError(
                f"{place}: id {study_id!r} is also at {places[study_id]}; expected distinct ids"
            )
        places[study_id] = place
    if not places:
        raise InputError(f"{sample}: no study; expected one or more")
    return name, list(places)


def read_reports(sources: Sources, ids: Collection[str], id_column: str) -> dict[str, Report]:
    """The reports of the sample by id, cut into sections.

    Raises:
        InputError: a file is wrong, or a study of the sample has no report.
    """
    opened = open_reports(sources.reports, text_columns=sources.text_columns, first_id=id_column)
    make = DocumentMaker(load_rulebook(sources.rules, lang=sources.lang))
    wanted = frozenset(ids)
    found = {
        row.study_id: Report(row.texts, tuple(make(row.texts, opened.text_columns)))
        for row in opened.rows()
        if row.study_id in wanted
    }
    _require_all(ids, found, "report", ", ".join(sources.reports))
    return found


def read_images(
    manifest: Path, ids: Collection[str], *, id_column: str, root: Path | None
) -> dict[str, list[ImageFile]]:
    """The images of the sample by id, frontal ones first; a study may have none.

    Args:
        manifest: a row for each image, with the study's id, `path` and `view` (frontal, lateral) or
            `view_position` (PA, AP, LL …).
        root: the folder that paths begin in; by default the manifest's.

    Raises:
        InputError: a column, a file or the package to read it is missing, or a path leads out of
            the root.
    """
    folder = (root or manifest.parent).resolve()
    table = open_table(manifest, names=(id_column, "path"))
    name = find_id(table.columns, first=id_column)
    if name is None:
        raise InputError(f"{manifest}: no column {id_column!r} (columns: {listed(table.columns)})")
    require_column("path", table.columns, place=str(manifest))
    views = [column for column in ("view", "view_position") if column in table.columns]
    wanted = frozenset(ids)
    found: dict[str, list[ImageFile]] = {}
    for place, (cell, path, *positions) in table.read([name, "path", *views]):
        study_id = read_id(cell, place)
        if study_id in wanted:
            image = ImageFile(_inside(folder, path, place), _view(positions))
            found.setdefault(study_id, []).append(image)
    require_packages(image.path for images in found.values() for image in images)
    for images in found.values():
        images.sort(key=lambda image: _ORDER.index(image.view))
    return found


def read_states(
    labels: Path, *, id_column: str, findings: Collection[str], rules: Sequence[Path | str]
) -> dict[str, dict[str, str]]:
    """The labeler's states by id: finding -> state."""
    read = read_labels(labels, id_column=id_column, resolve=partial(resolve, rules=rules))
    names = [name for name in read.table.columns if name in findings]
    return {
        str(study_id): {name: STATE_OF.get(row[name], BLANK) for name in names}
        for study_id, row in zip(
            read.table.index, read.table[names].to_dict("records"), strict=True
        )
    }


def read_highlights(
    mentions: Path,
    reports: Mapping[str, Report],
    *,
    id_column: str,
    keys: Mapping[str, str],
    rules: Sequence[Path | str],
) -> dict[str, list[Highlight]]:
    """The mentions of the review's findings, and their cues, as stretches of the reports.

    Args:
        keys: finding -> its key.

    Raises:
        InputError: the mentions are not of these reports.
    """
    placed = read_mentions(mentions, id_column, span_labels(rules))
    found: dict[str, list[Highlight]] = {}
    for study_id, report in reports.items():
        for item in placed.get(study_id, ()):
            if item.mention.finding in keys:
                index = _text_index(report, item.mention, item.place)
                key = keys[item.mention.finding]
                found.setdefault(study_id, []).extend(_highlights(item.mention, index, key))
    return found


def _highlights(mention: Mention, index: int, key: str) -> list[Highlight]:
    why = f"{mention.rule} log odds" if mention.reason == LEARNED else ""
    marks = [Highlight(index, mention.start, mention.end, key, mention.assertion, why)]
    if mention.cue_start is not None and mention.cue_end is not None:
        marks.append(Highlight(index, mention.cue_start, mention.cue_end, key, CUE))
    return marks


def _text_index(report: Report, mention: Mention, place: str) -> int:
    """Which text of a report the mention's offsets refer to: the one that has its words there."""
    words = mention.text.lstrip("'")  # what a spreadsheet's apostrophe may stand before
    candidates = [
        index
        for index, (_, text) in enumerate(report.texts)
        if text[mention.start : mention.end].lstrip("'") == words
    ]
    if not candidates:
        raise InputError(
            f"{place}: the report has not the mention's words at {mention.start} to {mention.end}; "
            "expected the reports that the mentions are of"
        )
    sections = {(block.text, block.section) for block in report.blocks}
    return next((i for i in candidates if (i, mention.section) in sections), candidates[0])


def _inside(folder: Path, cell: object, place: str) -> Path:
    try:
        path = (folder / str(cell or "")).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a null character
        raise InputError(f"{place}: path {cell!r} is none") from error
    if not path.is_relative_to(folder):
        raise InputError(
            f"{place}: path {cell!r} leads out of {folder}; expected one inside it, "
            "or another --image-root"
        )
    if not path.is_file():
        raise InputError(f"{place}: no image {path}")
    return path


def _view(cells: Sequence[object]) -> str:
    for cell in cells:
        view = _VIEWS.get(str(cell or "").strip().casefold())
        if view is not None:
            return view
    return ""


def _require_all(ids: Collection[str], found: Collection[str], what: str, place: str) -> None:
    missing = [study_id for study_id in ids if study_id not in found]
    if missing:
        raise InputError(
            f"{place}: no {what} of {len(missing):,} of {len(ids):,} studies of the sample, "
            f"{missing[0]!r} among them; expected one of each"
        )
