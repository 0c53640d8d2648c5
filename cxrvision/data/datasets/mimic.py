"""MIMIC-CXR-JPG (Johnson et al. 2019): files/p10/p10000032/s50414267/<dicom_id>.jpg and tables.

`-metadata` has a row per image, `-split` its official split, `-chexpert` and `-negbio` the labels
of the studies; each is .csv or .csv.gz. Images are found by their dicom_id, so that a resized copy
in another layout, or as PNG, is served as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrvision.data.datasets.labels import finding_columns, states_from_columns, unknown_note
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    manifest_columns,
    match_files,
    need_table,
    read_dates,
    read_header,
    read_text,
)
from cxrvision.data.files import list_images, named
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

_METADATA: Final = "*cxr*-metadata.csv"
_COLUMNS: Final = ("dicom_id", "subject_id", "study_id", "ViewPosition")
_OPTIONAL: Final = (
    "StudyDate",
    "ViewCodeSequence_CodeMeaning",
    "PerformedProcedureStepDescription",
)
_SPLITS: Final = {"train": "train", "validate": "val", "test": "test"}


def looks_like(root: Path) -> bool:
    """Whether the metadata table is here."""
    return bool(find_tables(root, _METADATA))


def index(root: Path) -> Indexed:
    """The manifest and the labels of MIMIC-CXR-JPG: those of -chexpert, else those of -negbio."""
    table = need_table(root, _METADATA)
    rows = read_text(table, _COLUMNS, optional=_OPTIONAL)
    rows, notes = drop_repeats(rows, "dicom_id", table)
    files = list_images(root)
    rows, matched = match_files(
        rows, files, key=rows["dicom_id"], file_key=files["stem"], table=table
    )
    # the code sequence names the view of most images whose ViewPosition is blank
    meaning = rows["ViewCodeSequence_CodeMeaning"]
    views = resolve_views(
        position=rows["ViewPosition"].mask(rows["ViewPosition"] == "", meaning),
        description=meaning,
    )
    split, split_notes = _official_split(root, rows["dicom_id"])
    labels, label_notes = _labels(root)
    images = manifest_columns(
        rows,
        image_id=rows["dicom_id"],
        patient_id=rows["subject_id"],
        view=views.view,
        view_position=map_texts(rows["ViewPosition"], position_code),
        split=split,
        site="BIDMC",
        date=read_dates(rows["StudyDate"]),
    )
    notes += [*matched, *split_notes, *views.notes(), *label_notes]
    return Indexed(images, labels, notes)


def _official_split(root: Path, images: pd.Series[str]) -> tuple[pd.Series[str], list[str]]:
    import pandas as pd

    tables = find_tables(root, "*cxr*-split.csv")
    if not tables:
        return pd.Series("", images.index, dtype="str"), ["no official split (-split.csv) here"]
    rows = read_text(tables[0], ("dicom_id", "split")).drop_duplicates("dicom_id")
    official = rows.set_index("dicom_id")["split"].map(_SPLITS)
    split = images.map(official).fillna("").astype("str")
    missing = split == ""
    if missing.any():
        what = f"{int(missing.sum()):,} images are in no official split: {named(images[missing])}"
        return split, [what]
    return split, []


def _labels(root: Path) -> tuple[pd.DataFrame | None, list[str]]:
    tables = find_tables(root, "*cxr*-chexpert.csv", "*cxr*-negbio.csv")
    if not tables:
        return None, ["no labels (-chexpert.csv or -negbio.csv) here"]
    table = tables[0]
    used, others = finding_columns(read_header(table))
    rows = read_text(table, ("study_id", *used), optional=("subject_id",))
    rows, notes = drop_repeats(rows, "study_id", table)
    states = states_from_columns(rows, used, place=table).set_axis(rows["study_id"])
    unknown = [name for name in others if name not in ("study_id", "subject_id")]
    return states, [f"labels of {table.name}", *notes, *unknown_note(unknown)]
