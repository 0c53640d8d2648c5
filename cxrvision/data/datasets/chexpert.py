"""CheXpert (Irvin et al. 2019), v1.0 and v1.0-small: train.csv, valid.csv, now also test.csv.

The tables name images as CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg. Later
downloads put the same folders of patients into batches, so images are found by patient, study and
file name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrvision.data.datasets.labels import (
    finding_columns,
    gather,
    states_from_columns,
    unknown_note,
)
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    find_tables,
    has_columns,
    manifest_columns,
    match_files,
    need_table,
    read_ages,
    read_header,
    read_sexes,
    read_text,
)
from cxrvision.data.files import list_images
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = ("Path", "Frontal/Lateral")
_OPTIONAL: Final = ("Sex", "Age", "AP/PA")
_KEY: Final = r"(patient\d+/study\d+/[^/]+)$"  # numbers of patients are unique in all parts


def looks_like(root: Path) -> bool:
    """Whether train.csv or valid.csv here has the columns of this data set."""
    return any(has_columns(p, _COLUMNS) for p in find_tables(root, "train.csv", "valid.csv"))


def index(root: Path) -> Indexed:
    """The manifest and the labels of CheXpert.

    The official validation set (200 studies, read by radiologists) is the test split; where the
    official test set is here as well, it is val.
    """
    import pandas as pd

    parts: dict[str, Path] = {"train": need_table(root, "train.csv")}
    held_out = {
        name: table for name in ("valid", "test") for table in find_tables(root, f"{name}.csv")[:1]
    }
    official = {"valid": "val" if "test" in held_out else "test", "test": "test"}
    parts |= held_out
    rows, labels, notes = [], [], []
    for name, table in parts.items():
        read, states, told = _read_part(table)
        rows.append(read.assign(split=official.get(name, "train")))
        labels.append(states)
        notes += told
    images = pd.concat(rows, ignore_index=True)
    states = pd.concat(labels, ignore_index=True)
    files = list_images(root)
    file_key = files["path"].str.extract(_KEY, expand=False).fillna("")
    is_image = file_key != ""
    images, matched = match_files(
        images.assign(row=states.index),
        files[is_image].reset_index(drop=True),
        key=images["key"],
        file_key=file_key[is_image].reset_index(drop=True),
        table=parts["train"],
    )
    kept = states.loc[images["row"]].reset_index(drop=True)
    study = images["key"].str.rpartition("/")[0]
    views = resolve_views(
        table=images["Frontal/Lateral"],
        position=images["AP/PA"],
        description=images["key"].str.extract(r"_(frontal|lateral)", expand=False).fillna(""),
    )
    ages, odd_ages = read_ages(images["Age"])
    gathered, differ = gather(kept, study)
    notes += [*matched, *odd_ages, *views.notes()]
    if differ:
        notes.append(f"{differ:,} studies have images that differ in their labels; the strongest")
    if "valid" in held_out and "test" not in held_out:
        notes.append("the official validation set is the test split")
    manifest = manifest_columns(
        images,
        image_id=images["key"].str.rpartition(".")[0],
        study_id=study,
        patient_id=study.str.partition("/")[0],
        view=views.view,
        view_position=map_texts(images["AP/PA"], position_code),
        site="Stanford",
        age=ages,
        sex=read_sexes(images["Sex"]),
    )
    return Indexed(manifest, gathered, notes)


def _read_part(table: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Rows with the key of their image, their states, and what is to be said."""
    used, others = finding_columns(read_header(table))
    rows = read_text(table, (*_COLUMNS, *used), optional=_OPTIONAL)
    rows = rows.assign(key=rows["Path"].str.extract(_KEY, expand=False).fillna(rows["Path"]))
    rows, notes = drop_repeats(rows, "key", table)
    known = {*_COLUMNS, *_OPTIONAL}
    notes += unknown_note([name for name in others if name not in known])
    return rows.drop(columns=list(used)), states_from_columns(rows, used, place=table), notes
