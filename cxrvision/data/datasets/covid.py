"""covid-chestxray-dataset (Cohen et al. 2020): metadata.csv and images/.

Its rows are images of published cases. A study is a patient at one offset in days. CT slices are
left out. A diagnosis says what is there and, apart from No Finding, not what is absent: all other
findings are blank.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING
from cxrvision.data.datasets.labels import gather, states_from_names, unknown_note
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    has_columns,
    manifest_columns,
    match_files,
    read_ages,
    read_sexes,
    read_text,
)
from cxrvision.data.files import list_images
from cxrvision.data.manifest import among
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = ("patientid", "finding", "view", "filename")
_OPTIONAL: Final = ("offset", "sex", "age", "modality", "date", "location")
_NOT_SAID: Final = ("todo", "unknown", "")


def looks_like(root: Path) -> bool:
    """Whether metadata.csv here has the columns of this data set."""
    return _table(root) is not None


def index(root: Path) -> Indexed:
    """The manifest and the labels of the covid-chestxray-dataset."""
    table = _table(root)
    if table is None:
        raise InputError(f"{root}: no metadata.csv here with columns {', '.join(_COLUMNS)}")
    rows = read_text(table, _COLUMNS, optional=_OPTIONAL)
    slices = rows["modality"].str.upper() == "CT"
    notes = [f"{int(slices.sum()):,} rows are CT; left out"] if slices.any() else []
    rows, repeated = drop_repeats(rows[~slices].reset_index(drop=True), "filename", table)
    files = list_images(root)
    # slices have files, too, that are no surprise
    ct = among(files["name"], set(read_text(table, _COLUMNS)["filename"]) - set(rows["filename"]))
    files = files[~ct].reset_index(drop=True)
    rows, matched = match_files(
        rows, files, key=rows["filename"], file_key=files["name"], table=table
    )
    views = resolve_views(table=rows["view"])
    ages, odd_ages = read_ages(rows["age"])
    offset = rows["offset"].str.removesuffix(".0")
    study = rows["patientid"] + "_" + offset.mask(offset == "", "na")
    names = rows["finding"].str.replace(r"[/,]", "|", regex=True)
    names = names.mask(names.str.lower().isin(_NOT_SAID), "")
    states, unknown = states_from_names(names)
    labels, differ = gather(_open(states), study)
    if differ:
        notes.append(f"{differ:,} studies have images that differ in their labels; the strongest")
    images = manifest_columns(
        rows,
        image_id=rows["filename"],
        study_id=study,
        patient_id=rows["patientid"],
        view=views.view,
        view_position=map_texts(rows["view"], position_code),
        site=rows["location"],
        age=ages,
        sex=read_sexes(rows["sex"]),
    )
    notes += [*repeated, *matched, *odd_ages, *views.notes(), *unknown_note(unknown)]
    return Indexed(images, labels if len(labels.columns) else None, notes)


def _table(root: Path) -> Path | None:
    tables = find_tables(root, "metadata.csv")
    return next((table for table in tables if has_columns(table, _COLUMNS)), None)


def _open(states: pd.DataFrame) -> pd.DataFrame:
    """What a row does not name is blank, apart from No Finding."""
    others = [str(name) for name in states if name != NO_FINDING]
    return states.assign(
        **{name: states[name].mask(states[name] == 0, math.nan) for name in others}
    )
