"""PadChest (Bustos et al. 2020): 16-bit PNG and PADCHEST_chest_x_ray_images_labels_160K.csv.

`Labels` is a Python list as text; it is parsed as one, and names are compared whole. A quarter of
the reports was labeled by physicians, the rest by a network: the labels keep that as
`label_method`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrvision.data.datasets.labels import gather, states_from_names, unknown_note
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    manifest_columns,
    match_files,
    need_table,
    read_ages,
    read_dates,
    read_sexes,
    read_text,
)
from cxrvision.data.files import list_images
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

TABLE: Final = "PADCHEST_chest_x_ray_images_labels*.csv"

_COLUMNS: Final = ("ImageID", "StudyID", "PatientID", "Projection", "Labels")
_OPTIONAL: Final = (
    "MethodLabel", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "ViewPosition_DICOM",
    "Manufacturer_DICOM",
)  # fmt: skip

# Names of the data set's tree whose parent, or meaning, is a finding of ours.
_DEVICES: Final = (
    "artificial heart valve", "artificial aortic heart valve", "artificial mitral heart valve",
    "catheter", "central venous catheter", "central venous catheter via jugular vein",
    "central venous catheter via subclavian vein", "central venous catheter via umbilical vein",
    "reservoir central venous catheter", "chest drain tube", "dual chamber device",
    "electrical device", "endotracheal tube", "NSG tube", "pacemaker", "single chamber device",
    "tracheostomy tube", "ventriculoperitoneal drain tube",
)  # fmt: skip
OWN_NAMES: Final = {
    "infiltrates": "Infiltration",
    "laminar atelectasis": "Atelectasis",
    "lobar atelectasis": "Atelectasis",
    "total atelectasis": "Atelectasis",
    "atelectasis basal": "Atelectasis",
    "loculated pleural effusion": "Pleural Effusion",
    "loculated fissural effusion": "Pleural Effusion",
    "hydropneumothorax": "Pneumothorax",
    "multiple nodules": "Nodule",
    "pulmonary mass": "Mass",
    "apical pleural thickening": "Pleural Thickening",
    "rib fracture": "Fracture",
    "clavicle fracture": "Fracture",
    "humeral fracture": "Fracture",
    "vertebral fracture": "Fracture",
    **dict.fromkeys(_DEVICES, "Support Devices"),
}


def looks_like(root: Path) -> bool:
    """Whether the table of this data set is here."""
    return bool(find_tables(root, TABLE))


def index(root: Path) -> Indexed:
    """The manifest and the labels of PadChest."""
    table = need_table(root, TABLE)
    rows = read_text(table, _COLUMNS, optional=_OPTIONAL)
    rows, notes = drop_repeats(rows, "ImageID", table)
    files = list_images(root)
    rows, matched = match_files(
        rows, files, key=rows["ImageID"], file_key=files["name"], table=table
    )
    views = resolve_views(table=rows["Projection"], position=rows["ViewPosition_DICOM"])
    ages, odd_ages = read_ages(_ages(rows))
    names, unread = _read_lists(rows["Labels"])
    states, unknown = states_from_names(names, own=OWN_NAMES)
    labels, differ = gather(states, rows["StudyID"])
    method = rows.drop_duplicates("StudyID").set_index("StudyID")["MethodLabel"]
    images = manifest_columns(
        rows,
        image_id=rows["ImageID"],
        study_id=rows["StudyID"],
        patient_id=rows["PatientID"],
        view=views.view,
        view_position=map_texts(rows["Projection"], position_code),
        site="San Juan",
        scanner=rows["Manufacturer_DICOM"],
        age=ages,
        sex=read_sexes(rows["PatientSex_DICOM"]),
        date=read_dates(rows["StudyDate_DICOM"]),
    )
    notes += [*matched, *odd_ages, *views.notes()]
    if unread:
        notes.append(f"{unread:,} rows have labels that are not a list; their labels are blank")
    if differ:
        notes.append(f"{differ:,} studies have images that differ in their labels; the strongest")
    by_method = ", ".join(
        f"{name or 'not said'} {n:,}" for name, n in method.value_counts().items()
    )
    notes.append(f"studies by label method: {by_method}")
    labels = labels.assign(label_method=method.reindex(labels.index).astype("str"))
    return Indexed(images, labels, [*notes, *unknown_note(unknown)])


def _ages(rows: pd.DataFrame) -> pd.Series[str]:
    """Age in the year of the study, as text; the table has no more than the year of birth."""
    import pandas as pd

    taken = pd.to_numeric(rows["StudyDate_DICOM"].str[:4], errors="coerce")
    born = pd.to_numeric(rows["PatientBirth"].str.removesuffix(".0").str[:4], errors="coerce")
    return (taken - born).map(lambda age: "" if age != age else f"{age:.0f}").astype("str")


def _read_lists(cells: pd.Series[str]) -> tuple[pd.Series[str], int]:
    """Cells such as "['normal', 'nodule']" with the names joined by "|"; and how many are none."""
    read = {cell: _names(cell) for cell in cells.unique()}
    unread = sum(int((cells == cell).sum()) for cell, names in read.items() if names is None)
    joined = {cell: "|".join(names or ()) for cell, names in read.items()}
    return cells.map(joined).astype("str"), unread


def _names(cell: str) -> list[str] | None:
    if cell in ("", "nan"):
        return []
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return [name.strip() for name in value if name.strip()]
