"""Open-i, Indiana University (Demner-Fushman et al. 2016): PNG or DICOM files, and tables of them.

indiana_projections.csv says frontal or lateral (people did, with some errors), and
indiana_reports.csv has the coded problems. An image is called CXR1_1_IM-0001-3001.png in the
archive, 1_IM-0001-3001.dcm as DICOM and 1_IM-0001-3001.dcm.png in a popular copy; all are one.
Without the table the views are what the DICOM headers say. Studies are patients: one report each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrvision.data.datasets.labels import states_from_names, unknown_note
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    manifest_columns,
    match_files,
    read_text,
)
from cxrvision.data.files import list_images, named
from cxrvision.data.headers import has_pydicom, read_headers
from cxrvision.data.views import ResolvedViews, map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

_KEY: Final = r"^(?:CXR\d+_(?=\d+_IM))?(?:CXR)?(\d+_IM-.+?)(?:\.dcm)?(?:\.(?:png|dcm|jpe?g))?$"
_PROJECTIONS: Final = "indiana_projections*.csv"
_REPORTS: Final = "indiana_reports*.csv"


def looks_like(root: Path) -> bool:
    """Whether the table of projections or a folder of the archive is here."""
    archives = [*root.glob("NLMCXR_png*"), *root.glob("NLMCXR_dcm*")]
    return bool(find_tables(root, _PROJECTIONS)) or any(path.is_dir() for path in archives)


def image_key(names: pd.Series[str]) -> pd.Series[str]:
    """What the names of an image have in common, "1_IM-0001-3001"; "" for other names."""
    return names.str.extract(_KEY, expand=False).fillna("").astype("str")


def index(root: Path) -> Indexed:
    """The manifest of Open-i, with labels where indiana_reports.csv is here."""
    files = list_images(root)
    files = files.assign(key=image_key(files["name"]))
    tables = find_tables(root, _PROJECTIONS)
    if tables:
        rows, views, notes = _by_table(tables[0], files)
    else:
        rows, views, notes = _by_headers(root, files)
    study = rows["key"].str.partition("_")[0]
    labels, label_notes = _labels(root)
    images = manifest_columns(
        rows,
        image_id=rows["key"],
        study_id=study,
        patient_id=study,
        view=views.view,
        view_position=map_texts(rows["position"], position_code),
        site="Indiana",
    )
    return Indexed(images, labels, [*notes, *views.notes(), *label_notes])


def _by_table(table: Path, files: pd.DataFrame) -> tuple[pd.DataFrame, ResolvedViews, list[str]]:
    rows = read_text(table, ("uid", "filename", "projection"))
    rows = rows.assign(key=image_key(rows["filename"]), position="")
    rows, repeated = drop_repeats(rows, "key", table)
    rows, matched = match_files(rows, files, key=rows["key"], file_key=files["key"], table=table)
    return rows, resolve_views(table=rows["projection"]), [*repeated, *matched]


def _by_headers(root: Path, files: pd.DataFrame) -> tuple[pd.DataFrame, ResolvedViews, list[str]]:
    """Every image file, its view by its header where it is DICOM."""
    import pandas as pd

    others = files["key"] == ""
    notes = []
    if others.any():
        paths = named(files.loc[others, "path"])
        notes.append(f"{int(others.sum()):,} image files have another kind of name: {paths}")
    # the same image as PNG and as DICOM: the one with a header
    is_dicom = files["name"].str.lower().str.endswith(".dcm")
    rows = files[~others].assign(is_dicom=is_dicom).sort_values(["key", "is_dicom"])
    rows = rows.drop_duplicates("key", keep="last").reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{root}: no images of Open-i here; expected names such as 1_IM-0001-3001")
    texts = pd.DataFrame(
        "", rows.index, ["position", "orientation", "series", "study"], dtype="str"
    )
    if rows["is_dicom"].any() and has_pydicom():
        read = rows.index[rows["is_dicom"]]
        header = read_headers(root / path for path in rows.loc[read, "path"]).set_axis(read)
        texts.loc[read, "position"] = header["position"]
        texts.loc[read, "orientation"] = header["orientation"]
        texts.loc[read, "series"] = header["series"]
        texts.loc[read, "study"] = header["study_description"]
    else:
        notes.append("no indiana_projections.csv and no DICOM headers to read: views are unknown")
    rows = rows.assign(position=texts["position"])
    views = resolve_views(
        position=texts["position"],
        orientation=texts["orientation"],
        description=texts["series"],
        study=rows["key"].str.partition("_")[0],
        study_description=texts["study"],
        doubt_repeats=True,
    )
    return rows, views, notes


def _labels(root: Path) -> tuple[pd.DataFrame | None, list[str]]:
    tables = find_tables(root, _REPORTS)
    if not tables:
        return None, ["no indiana_reports.csv here; `cxr label` makes labels from the reports"]
    rows = read_text(tables[0], ("uid", "Problems"))
    rows, notes = drop_repeats(rows, "uid", tables[0])
    states, unknown = states_from_names(rows["Problems"].str.replace(";", "|", regex=False))
    labels = states.set_axis(rows["uid"].rename("study_id"))
    return labels, [
        f"labels: the coded problems of {tables[0].name}",
        *notes,
        *unknown_note(unknown),
    ]
