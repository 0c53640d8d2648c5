"""The manifest, `studies.csv`: one row for each image, with its study, patient, view and split."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Final

from cxrlabel.columns import listed
from cxrlabel.errors import InputError
from cxrlabel.files import split_ending
from cxrlabel.findings import fold
from cxrlabel.formats import open_table
from cxrlabel.writers import Column, open_rows
from cxrvision.data.splits import SPLITS, find_leaks, require_no_leaks
from cxrvision.data.views import ALL_VIEWS, UNKNOWN, view_of_position

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = (
    "image_id", "study_id", "patient_id", "path", "view", "view_position", "split", "site",
    "scanner", "age", "sex", "date",
)  # fmt: skip
REQUIRED: Final = ("study_id", "path", "view")
AGE: Final = "age"  # in years, the only column of numbers

_SPLIT_NAMES: Final = {name: name for name in ("", *SPLITS)} | {
    "valid": "val", "validate": "val", "validation": "val", "dev": "val", "training": "train",
    "testing": "test",
}  # fmt: skip
_NEUTRALISED: Final = re.compile(r"^'(?=[=+\-@\t\r\n])")  # what cxrlabel.writers put before a cell


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The images of a data set."""

    table: pd.DataFrame  # COLUMNS; sorted by study_id, image_id; text "" and age NaN where unknown
    root: Path  # where relative paths start
    place: str  # the file's name for messages
    notes: tuple[str, ...] = ()  # what was filled in

    def files(self) -> list[Path]:
        """The image files, row by row."""
        return [self.root / path for path in self.table["path"]]


def read_manifest(path: Path | str) -> Manifest:
    """Read a manifest, ours or one of the same columns: csv, tsv, jsonl (also .gz) or parquet.

    Only study_id, path and view are required. Without an image_id the path is one, without a
    patient_id the study is (a note says so). A view may also be a view position such as PA.

    Raises:
        InputError: a column, id or path is missing, a value is none that the column can have, an
            image is there twice, a path leads out of the manifest's folder by "..", or a study or
            patient is in two splits.
    """
    import pandas as pd

    place = str(path)
    table = open_table(Path(path), names=REQUIRED)
    found = _find_columns(table.columns, place)
    rows = [cells for _, cells in table.read(list(found.values()))]
    if not rows:
        raise InputError(f"{place}: no rows; expected one for each image")
    is_text = split_ending(Path(path))[0] in (".csv", ".tsv")
    columns = zip(found, zip(*rows, strict=True), strict=True)
    frame = pd.DataFrame({name: _texts(cells, is_text) for name, cells in columns})
    frame, notes = _fill(frame, place)
    _check(frame, place)
    frame = sort_images(frame)
    require_no_leaks(find_leaks(frame), place=place)
    return Manifest(frame, Path(path).absolute().parent, place, tuple(notes))


def write_manifest(
    path: Path | str, table: pd.DataFrame, *, root: Path | str, force: bool = False
) -> None:
    """Write a manifest: .csv, .tsv, .jsonl (each also .gz) or .parquet.

    Paths are written relative to the file's folder where the images lie in or below it, so that
    both may move together; else they are absolute.

    Args:
        table: COLUMNS of each image; a column that is missing is written blank.
        root: where the relative paths of `table` start.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    full = table.reindex(columns=list(COLUMNS))
    full = sort_images(full.assign(path=_rebase(full["path"], Path(root), Path(path).parent)))
    columns: list[Column] = [
        [None if value != value else float(value) for value in full[name]]
        if name == AGE
        else full[name].astype(object).fillna("").tolist()
        for name in COLUMNS
    ]
    kinds = {name: float if name == AGE else str for name in COLUMNS}
    with open_rows(path, kinds, force=force) as writer:
        writer.write_columns(columns)


def sort_images(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by study and image, numbered from 0."""
    return table.sort_values(["study_id", "image_id"], kind="stable", ignore_index=True)


def among(cells: pd.Series[str], values: Collection[str]) -> pd.Series[bool]:
    """Whether each cell is one of many values; `Series.isin` is 30 times slower for text."""
    import pandas as pd

    known = frozenset(values)
    return pd.Series([cell in known for cell in cells.tolist()], cells.index, dtype=bool)


def _find_columns(columns: Sequence[str], place: str) -> dict[str, str]:
    """Manifest column -> column of the file, for those that are there."""
    names = [fold(column) for column in columns]
    for name in COLUMNS:
        if names.count(fold(name)) > 1:
            raise InputError(f"{place}: two columns are named {name!r}; expected one")
        if name in REQUIRED and fold(name) not in names:
            raise InputError(f"{place}: no column {name!r} (columns: {listed(columns)})")
    return {name: columns[names.index(fold(name))] for name in COLUMNS if fold(name) in names}


def _texts(cells: Sequence[object], is_text: bool) -> pd.Series[str]:
    """A column as text; what our csv writer neutralised is undone."""
    import pandas as pd

    if is_text:
        column = pd.Series([str(cell) for cell in cells], dtype="str").str.strip()
        quoted = column.str.startswith("'")
        if quoted.any():
            column[quoted] = column[quoted].str.replace(_NEUTRALISED, "", regex=True)
        return column
    # NaN alone differs from itself
    texts = ["" if cell is None or cell != cell else str(cell).strip() for cell in cells]
    return pd.Series(texts, dtype="str")


def _fill(frame: pd.DataFrame, place: str) -> tuple[pd.DataFrame, list[str]]:
    """All COLUMNS with their defaults and codes."""
    import pandas as pd

    notes = []
    if "image_id" not in frame:
        frame["image_id"] = frame["path"]
    if "patient_id" not in frame:
        frame["patient_id"] = frame["study_id"]
        notes.append(f"{place}: no column 'patient_id'; every study counts as a patient")
    elif (blank := frame["patient_id"] == "").any():
        frame["patient_id"] = frame["patient_id"].mask(blank, frame["study_id"])
        notes.append(f"{place}: {int(blank.sum()):,} images without a patient; their study is one")
    for name in COLUMNS:
        if name not in frame:
            frame[name] = pd.Series("", frame.index, dtype="str")
    frame["view"] = _code(frame["view"], _view, place, "view", "frontal, lateral, other, unknown")
    frame["split"] = _code(
        frame["split"], lambda s: _SPLIT_NAMES.get(s.lower()), place, "split", "train, val, test"
    )
    ages = pd.to_numeric(frame[AGE], errors="coerce")
    wrong = ages.isna() & (frame[AGE] != "")
    if wrong.any():
        raise InputError(
            f"{place}: column 'age': {frame.loc[wrong, AGE].iloc[0]!r} is not a number of years"
        )
    frame[AGE] = ages.astype("float64")
    return frame[list(COLUMNS)], notes


def _view(text: str) -> str | None:
    name = text.lower()
    if name in ("", *ALL_VIEWS):
        return name or UNKNOWN
    view = view_of_position(text)
    return None if view == UNKNOWN else view


def _code(
    cells: pd.Series[str], code: Callable[[str], str | None], place: str, name: str, expected: str
) -> pd.Series[str]:
    codes = {cell: code(cell) for cell in cells.unique()}
    unknown = next((cell for cell, value in codes.items() if value is None), None)
    if unknown is not None:
        raise InputError(f"{place}: column {name!r}: {unknown[:30]!r}; expected {expected}")
    return cells.map(codes).astype("str")


def _check(frame: pd.DataFrame, place: str) -> None:
    for name in ("study_id", "path", "image_id"):
        if (blank := frame[name] == "").any():
            row = int(blank.to_numpy().argmax()) + 1
            raise InputError(f"{place}: row {row}: no {name}; expected one for each image")
    for name in ("image_id", "path"):
        if (twice := frame[name].duplicated()).any():
            raise InputError(f"{place}: {name} {frame.loc[twice, name].iloc[0]!r} is there twice")
    patients = frame.groupby("study_id")["patient_id"].nunique()
    if (patients > 1).any():
        raise InputError(
            f"{place}: study {patients.index[patients > 1][0]!r} is of two patients; expected one"
        )
    outside = frame["path"].str.contains("..", regex=False)
    for path in frame.loc[outside, "path"]:
        # a path that was written on Windows has to be refused elsewhere, too
        if ".." in PureWindowsPath(path).parts:
            raise InputError(f"{place}: path {path!r} leads out of the folder; '..' is refused")


def _rebase(paths: pd.Series[str], root: Path, folder: Path) -> pd.Series[str]:
    """Paths from `root` as paths from `folder`; absolute ones where that would lead upwards."""
    # not resolved: a data folder that is a link keeps the place that the user gave it
    base, start = Path(os.path.abspath(root)), Path(os.path.abspath(folder))
    inside = base.is_relative_to(start)
    prefix = base.relative_to(start).as_posix() if inside else base.as_posix()
    if prefix == ".":
        return paths
    is_absolute = paths.str.startswith("/")
    return paths.where(is_absolute, prefix.rstrip("/") + "/" + paths)
