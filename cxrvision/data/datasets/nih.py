"""NIH ChestX-ray14 (Wang et al. 2017): images_001 … images_012, Data_Entry_2017, official lists.

One frontal image is one study. Data_Entry_2017.csv writes ages as 058Y and ends its rows with a
comma; Data_Entry_2017_v2020.csv corrects some entries. Where both are there, the later counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import NO_FINDING, load_label_set
from cxrvision.data.datasets.labels import in_order, states_from_names, unknown_note
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    manifest_columns,
    match_files,
    read_ages,
    read_sexes,
    read_text,
)
from cxrvision.data.files import list_images, named
from cxrvision.data.manifest import among
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

TABLES: Final = ("Data_Entry_2017_v2020*.csv", "Data_Entry*.csv")

_COLUMNS: Final = ("Image Index", "Finding Labels", "Patient ID", "View Position")
_OPTIONAL: Final = ("Patient Age", "Patient Gender")
_LISTS: Final = {"train": "train_val_list*.txt", "test": "test_list*.txt"}


def looks_like(root: Path) -> bool:
    """Whether the table of this data set is here."""
    return bool(find_tables(root, *TABLES))


def index(root: Path) -> Indexed:
    """The manifest and the labels of NIH ChestX-ray14."""
    found = find_tables(root, *TABLES)
    if not found:
        raise InputError(f"{root}: no table Data_Entry_2017.csv or Data_Entry_2017_v2020.csv here")
    table = found[0]
    rows = read_text(table, _COLUMNS, optional=_OPTIONAL)
    rows, repeated = drop_repeats(rows, "Image Index", table)
    files = list_images(root)
    rows, matched = match_files(
        rows, files, key=rows["Image Index"], file_key=files["name"], table=table
    )
    views = resolve_views(table=rows["View Position"])
    ages, odd_ages = read_ages(rows["Patient Age"])
    split, split_notes = _official_split(root, rows["Image Index"])
    study = rows["Image Index"].str.removesuffix(".png")
    images = manifest_columns(
        rows,
        image_id=study,
        study_id=study,
        patient_id=rows["Patient ID"],
        view=views.view,
        view_position=map_texts(rows["View Position"], position_code),
        split=split,
        site="NIH",
        age=ages,
        sex=read_sexes(rows["Patient Gender"]),
    )
    findings = in_order([NO_FINDING, *load_label_set("nih14").columns])
    states, unknown = states_from_names(rows["Finding Labels"], findings=findings)
    labels = states.set_axis(study.rename("study_id"))
    notes = [f"table {table.name}", *repeated, *matched, *split_notes, *odd_ages]
    return Indexed(images, labels, [*notes, *views.notes(), *unknown_note(unknown)])


def _official_split(root: Path, names: pd.Series[str]) -> tuple[pd.Series[str], list[str]]:
    """Train or test by the official lists, "" for all where one of the two is not here."""
    import pandas as pd

    split = pd.Series("", names.index, dtype="str")
    lists = {
        part: [*sorted(root.glob(pattern)), *sorted(root.glob(f"*/{pattern}"))]
        for part, pattern in _LISTS.items()
    }
    if not all(lists.values()):
        return split, ["no official lists (train_val_list.txt and test_list.txt) here"]
    for part, paths in lists.items():
        listed = set(paths[0].read_text(encoding="utf-8-sig").split())
        both = among(names, listed) & (split != "")
        if both.any():
            raise InputError(f"{paths[0]}: {named(names[both])} is in the other list, too")
        split = split.mask(among(names, listed), part)
    missing = split == ""
    if missing.any():
        listed_notes = f"{int(missing.sum()):,} images are in no official list: "
        return split, [listed_notes + named(names[missing])]
    return split, []
