"""VinDr-CXR (Nguyen et al. 2022): train/ and test/ of DICOM or PNG files, image_labels_*.csv.

All images are PA. The training images were read by three radiologists each, a row per reader; a
finding is positive where most of an image's readers name it. The test labels are a consensus. The
table of the Kaggle competition (train.csv with class_name, a row per box) is read as well. No
patient is named: every image counts as one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrvision.data.datasets.labels import (
    finding_columns,
    in_order,
    states_from_columns,
    unknown_note,
)
from cxrvision.data.datasets.sources import (
    Indexed,
    find_tables,
    has_columns,
    manifest_columns,
    match_files,
    read_header,
    read_text,
)
from cxrvision.data.files import list_images

if TYPE_CHECKING:
    import pandas as pd

OWN_NAMES: Final = {
    "Nodule/Mass": "Lung Lesion",
    "Rib fracture": "Fracture",
    "Clavicle fracture": "Fracture",
    "Pulmonary fibrosis": "Fibrosis",
}

_ID: Final = "image_id"
_READER: Final = "rad_id"
_BOXES: Final = (_ID, "class_name", _READER)


def looks_like(root: Path) -> bool:
    """Whether a table of image labels is here, or that of the competition."""
    return bool(find_tables(root, "image_labels_*.csv")) or _boxes(root) is not None


def index(root: Path) -> Indexed:
    """The manifest and the labels of VinDr-CXR; train and test are the official ones."""
    import pandas as pd

    tables = {
        part: table
        for part in ("train", "test")
        for table in find_tables(root, f"image_labels_{part}.csv")[:1]
    }
    notes: list[str] = []
    votes: list[pd.DataFrame] = []
    for part, table in tables.items():
        read, unknown = _read_votes(table)
        votes.append(read.assign(split=part))
        notes += unknown_note(unknown)
    boxes = _boxes(root)
    if not tables and boxes is not None:
        read, unknown = _read_boxes(boxes)
        votes.append(read.assign(split=""))
        tables["train"] = boxes
        notes += unknown_note(unknown)
    if not votes:
        raise InputError(
            f"{root}: no table image_labels_train.csv, image_labels_test.csv or the "
            "competition's train.csv here, or one folder below"
        )
    every = pd.concat(votes, ignore_index=True)
    findings = in_order(set(every.columns) - {_ID, "split"})
    by_image = every.groupby(_ID, sort=False)
    shares = by_image[findings].mean()
    split = every.drop_duplicates(_ID).set_index(_ID)["split"]
    rows = pd.DataFrame({_ID: shares.index.astype("str"), "split": split.reindex(shares.index)})
    files = list_images(root)
    first = next(iter(tables.values()))
    images, matched = match_files(
        rows.reset_index(drop=True), files, key=rows[_ID].reset_index(drop=True),
        file_key=files["stem"], table=first,
    )  # fmt: skip
    split_vote = int(((shares > 0) & (shares < 1)).any(axis=1).sum())
    notes += [*matched, "no patients are named: every image counts as a patient"]
    if split_vote:
        notes.append(f"{split_vote:,} images whose readers disagree: labels are those of most")
    if (images["split"] == "").all():
        notes.append("the competition's images are one part: no official split")
    manifest = manifest_columns(
        images,
        image_id=images[_ID],
        study_id=images[_ID],
        patient_id=images[_ID],
        view="frontal",
        view_position="PA",
        site="VinDr",
    )
    labels = (shares > 0.5).astype("float64").where(shares.notna())
    return Indexed(manifest, labels.rename_axis("study_id"), notes)


def _read_votes(table: Path) -> tuple[pd.DataFrame, list[str]]:
    """A row for each reader of each image, findings as 0 and 1."""
    used, others = finding_columns(read_header(table), OWN_NAMES)
    rows = read_text(table, (_ID, *used))
    states = states_from_columns(rows, used, place=table)
    unknown = [name for name in others if name not in (_ID, _READER)]
    return states.assign(**{_ID: rows[_ID]}), unknown


def _boxes(root: Path) -> Path | None:
    """The competition's table, whose rows are boxes."""
    tables = find_tables(root, "train.csv")
    return next((table for table in tables if has_columns(table, _BOXES)), None)


def _read_boxes(table: Path) -> tuple[pd.DataFrame, list[str]]:
    """A row for each reader of each image, 1 where the reader drew a box of the finding."""
    rows = read_text(table, _BOXES)
    used, others = finding_columns(rows["class_name"].unique(), OWN_NAMES)
    readers = rows[[_ID, _READER]].drop_duplicates()
    drawn = rows.assign(finding=rows["class_name"].map(used)).dropna(subset=["finding"])
    counts = drawn.groupby([_ID, _READER, "finding"]).size().unstack("finding")
    votes = readers.join(counts.notna().astype("float64"), on=[_ID, _READER])
    findings = list(counts.columns)
    votes[findings] = votes[findings].fillna(0.0)
    return votes.drop(columns=[_READER]).reset_index(drop=True), others
