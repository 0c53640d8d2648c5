r"""Any folder of images: with a table of them, with names that follow a pattern, or by its depth.

1. A table (index.csv, images.csv or metadata.csv in the folder, or `table`) with a column of paths;
   other columns go by their usual names.
2. `pattern`: a template such as "{patient}/{study}/{view}_{name}.png", or a regular expression with
   groups of these names, for the path of an image.
3. Else patient and study are those of the DICOM header; for other files the two folders above it,
   or the file's own name where all lie in one folder.

DICOM headers say what table and names leave open, where pydicom is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.errors import InputError
from cxrlabel.findings import fold
from cxrvision.data.datasets.labels import (
    finding_columns,
    gather,
    states_from_columns,
    states_from_names,
    unknown_note,
)
from cxrvision.data.datasets.sources import (
    Indexed,
    drop_repeats,
    manifest_columns,
    match_files,
    read_ages,
    read_dates,
    read_header,
    read_sexes,
    read_text,
)
from cxrvision.data.files import list_images, named
from cxrvision.data.headers import READABLE, has_pydicom, read_headers
from cxrvision.data.manifest import among
from cxrvision.data.views import map_texts, position_code, resolve_views

if TYPE_CHECKING:
    import pandas as pd

TABLES: Final = ("index.csv", "images.csv", "metadata.csv")
# our column -> usual names of it, in order of preference
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("path", "file", "filename", "image_path", "image"),
    "patient": ("patient", "patient_id", "subject", "subject_id"),
    "study": ("study", "study_id", "exam", "exam_id", "accession", "accession_number"),
    "view": ("view", "view_position", "projection", "position"),
    "labels": ("labels", "finding_labels", "label", "finding"),
    "split": ("split",),
    "site": ("site", "hospital", "institution"),
    "scanner": ("scanner", "manufacturer", "model"),
    "age": ("age", "patient_age"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "date": ("date", "study_date"),
}

_TEXTS: Final = tuple(name for name in NAMES if name not in ("path", "labels"))
_GROUPS: Final = ("patient", "study", "view", "name")
_FIELD: Final = re.compile(r"\\\{(\w+)\\\}")
_SPLITS: Final = {"valid": "val", "validate": "val", "validation": "val", "dev": "val"}


def looks_like(root: Path) -> bool:
    """Whether this is a folder: any will do."""
    return root.is_dir()


def index(root: Path, *, table: Path | None = None, pattern: str = "") -> Indexed:
    """The manifest of a folder, with labels where its table has some.

    Args:
        table: a csv file with a row per image; None looks for one of `TABLES` in the folder.
        pattern: template or regular expression of paths; a table is not looked for then.

    Raises:
        InputError: no image, none that the table or the pattern serves, or a bad pattern.
    """
    files = list_images(root, bare=True)
    if files.empty:
        raise InputError(f"{root}: no image files here (.png, .jpg, .dcm …)")
    if table is None and not pattern:
        table = next((root / name for name in TABLES if (root / name).exists()), None)
    labels = None
    if table is not None:
        rows, labels, notes = _by_table(table, files)
    elif pattern:
        rows, notes = _by_pattern(pattern, files)
    else:
        rows, notes = _by_depth(files)
    rows, header, header_notes = _with_headers(root, rows)
    views = resolve_views(
        table=rows["view"],
        position=header["position"],
        orientation=header["orientation"],
        description=header["series"] + " " + header["protocol"],
        study=rows["study"],
        study_description=header["study_description"],
        doubt_repeats=True,
    )
    ages, odd_ages = read_ages(rows["age"])
    position = rows["view"].mask(rows["view"] == "", header["position"])
    images = manifest_columns(
        rows,
        image_id=rows["path"],
        study_id=rows["study"],
        patient_id=rows["patient"],
        view=views.view,
        view_position=map_texts(position, _position),
        split=rows["split"].map(lambda s: _SPLITS.get(s.lower(), s.lower())),
        age=ages,
        sex=read_sexes(rows["sex"]),
        date=read_dates(rows["date"]),
    )
    if labels is not None:
        states, differ = gather(labels.loc[rows["row"]].reset_index(drop=True), rows["study"])
        if differ:
            notes.append(
                f"{differ:,} studies have images that differ in their labels; the strongest"
            )
        labels = states
    return Indexed(images, labels, [*notes, *header_notes, *odd_ages, *views.notes()])


def _by_table(
    table: Path, files: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame | None, list[str]]:
    """Rows with the text columns, their labels by the number in `row`, and notes."""
    columns = _usual_columns(read_header(table))
    if "path" not in columns:
        raise InputError(f"{table}: no column of paths; expected one of {', '.join(NAMES['path'])}")
    used, _ = finding_columns(c for c in read_header(table) if c not in columns.values())
    read = read_text(table, (*columns.values(), *used))
    rows = read.rename(columns={column: name for name, column in columns.items()})
    rows = rows.assign(**{name: "" for name in (*_TEXTS, "labels") if name not in rows})
    rows, repeated = drop_repeats(rows, "path", table)
    rows["row"] = rows.index
    by_path = among(rows["path"], files["path"].tolist()).any()
    kept, matched = match_files(
        rows.rename(columns={"path": "given"}),
        files,
        key=rows["path"],
        file_key=files["path"] if by_path else files["name"],
        table=table,
    )
    notes = [f"table {table.name}", *repeated, *matched]
    labels = None
    if used:
        labels = states_from_columns(rows, used, place=table)
    elif (rows["labels"] != "").any():
        names = rows["labels"].str.replace(";", "|", regex=False)
        labels, unknown = states_from_names(names, closed=False)
        notes += unknown_note(unknown)
    kept, told = _own_ids(kept)
    return kept, labels, notes + told


def _usual_columns(header: list[str]) -> dict[str, str]:
    by_name = {fold(column): column for column in reversed(header)}
    found = {
        name: next((by_name[fold(usual)] for usual in names if fold(usual) in by_name), None)
        for name, names in NAMES.items()
    }
    return {name: column for name, column in found.items() if column is not None}


def _own_ids(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows in which an image without a study is one, and a study without a patient one."""
    notes = []
    for name, source in (("study", "path"), ("patient", "study")):
        blank = rows[name] == ""
        if blank.any():
            rows = rows.assign(**{name: rows[name].mask(blank, rows[source])})
            what = "image counts as a study" if name == "study" else "study counts as a patient"
            notes.append(f"{int(blank.sum()):,} images have no {name} in the table: each {what}")
    return rows, notes


def _by_pattern(pattern: str, files: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    expression = _compile(pattern)
    found = [expression.fullmatch(path) for path in files["path"]]
    is_match = [match is not None for match in found]
    if not any(is_match):
        raise InputError(
            f"--pattern: no path fits {pattern!r}; the first is {files['path'].iloc[0]!r}"
        )
    rows = files[is_match].reset_index(drop=True)
    groups = [match.groupdict(default="") for match in found if match is not None]
    parts = {name: [group.get(name, "") for group in groups] for name in _GROUPS}
    rows = _text_columns(rows.assign(**parts))
    numbered = (rows["patient"] != "") & (rows["study"] != "")  # "study1" is one of each patient
    rows["study"] = rows["study"].mask(numbered, rows["patient"] + "/" + rows["study"])
    rows["study"] = rows["study"].mask(rows["study"] == "", rows["patient"])
    rows["patient"] = rows["patient"].mask(rows["patient"] == "", rows["study"])
    others = [path for path, fits in zip(files["path"], is_match, strict=True) if not fits]
    notes = [f"{len(others):,} images do not fit the pattern: {named(others)}; left out"]
    return rows, notes if others else []


def _compile(pattern: str) -> re.Pattern[str]:
    """A template or a regular expression as the latter."""
    text = pattern
    if re.search(r"\{(?:patient|study)\}", pattern):
        text = _FIELD.sub(r"(?P<\1>[^/]+?)", re.escape(pattern))
    try:
        expression = re.compile(text)
    except re.error as error:
        raise InputError(f"--pattern: {pattern!r} is no regular expression: {error}") from error
    names = set(expression.groupindex)
    if not names & {"patient", "study"} or not names <= set(_GROUPS):
        raise InputError(
            f"--pattern: {pattern!r}; expected patient or study, and of others view and name, "
            "as {patient} or as (?P<patient>…)"
        )
    return expression


def _by_depth(files: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Patient and study by the folders of each image."""
    parents = files["path"].str.rpartition("/")[0]
    if parents.nunique() == 1:
        rows = files.assign(study=files["stem"], patient=files["stem"])
        how = "all images lie in one folder: each counts as a study and a patient"
    else:
        above = parents.str.rpartition("/")[0]
        is_nested = (above != "").all()
        rows = files.assign(study=parents, patient=above if is_nested else parents)
        named_by = "the folder above it a patient" if is_nested else "and a patient"
        how = f"each folder of images counts as a study, {named_by}"
    words = files["path"].map(_view_words).astype("str")
    return _text_columns(rows.assign(view=words)), [how]


def _view_words(path: str) -> str:
    """What a path says of the view; "" where that is nothing."""
    from cxrvision.data.views import UNKNOWN, view_of_description

    stem = path.rpartition("/")[2].rpartition(".")[0]
    return stem if view_of_description(stem) != UNKNOWN else ""


def _text_columns(rows: pd.DataFrame) -> pd.DataFrame:
    missing = {name: "" for name in _TEXTS if name not in rows}
    return rows.assign(**missing).astype(dict.fromkeys(_TEXTS, "str")).reset_index(drop=True)


def _with_headers(root: Path, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Rows with blanks filled from DICOM headers, and the headers, "" for other files."""
    import pandas as pd

    from cxrvision.data.files import DICOM_ENDINGS
    from cxrvision.data.headers import TAGS

    header = pd.DataFrame("", rows.index, list(TAGS), dtype="str")
    endings = rows["path"].str.lower().str.extract(r"(\.[a-z]+)$", expand=False).fillna("")
    is_dicom = endings.isin(DICOM_ENDINGS)
    if not is_dicom.any():
        return rows, header, []
    if not has_pydicom():
        return rows, header, ["DICOM headers are not read: `pip install 'cxr[images]'`"]
    at = rows.index[is_dicom]
    read = read_headers(root / path for path in rows.loc[at, "path"]).set_axis(at)
    header.loc[at] = read[list(TAGS)]
    notes = []
    broken = ~read[READABLE]
    if broken.any():
        paths = named(rows.loc[at[broken], "path"])
        notes.append(f"{int(broken.sum()):,} files have no readable DICOM header: {paths}")
    scanner = (header["manufacturer"] + " " + header["model"]).str.strip()
    fill = {name: header[name] for name in ("site", "age", "sex", "date")} | {"scanner": scanner}
    rows = rows.assign(**{name: rows[name].mask(rows[name] == "", fill[name]) for name in fill})
    if "row" not in rows:  # no table names them
        for name, tag in (("patient", "patient_id"), ("study", "study_uid")):
            rows[name] = rows[name].mask(header[tag] != "", header[tag])
    return rows, header, notes


def _position(text: str) -> str:
    """A view position; "" for the words frontal and lateral of a view."""
    return "" if text.lower() in ("frontal", "lateral") else position_code(text)[:16]
