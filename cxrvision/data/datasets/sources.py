"""What every data set's adapter does: read its tables as text, and match rows with files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cxrlabel.columns import listed
from cxrlabel.errors import InputError
from cxrlabel.findings import fold
from cxrlabel.formats import open_table
from cxrvision.data.files import named
from cxrvision.data.manifest import COLUMNS, among

if TYPE_CHECKING:
    import pandas as pd

_OLDEST: Final = 120  # years; NIH has patients of 414


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """What an adapter found."""

    images: pd.DataFrame  # COLUMNS of a manifest; paths from the data set's folder; the official
    # split where there is one, else ""
    labels: pd.DataFrame | None  # index study_id; findings as 1, 0, -1, NaN; other columns are text
    notes: list[str] = field(default_factory=list)  # what was left out or is odd, with counts


# tables


def find_tables(root: Path, *patterns: str) -> list[Path]:
    """The csv files that match, in the folder or one below it; gzipped or not."""
    found: list[Path] = []
    for pattern in patterns:
        for ending in ("", ".gz"):
            found += sorted([*root.glob(pattern + ending), *root.glob(f"*/{pattern}{ending}")])
    return [path for path in dict.fromkeys(found) if not path.name.startswith(".")]


def need_table(root: Path, *patterns: str) -> Path:
    """The first of `find_tables`, or an `InputError` that names what is expected."""
    found = find_tables(root, *patterns)
    if not found:
        raise InputError(f"{root}: no table {' or '.join(patterns)} here, or one folder below")
    return found[0]


def read_header(path: Path) -> list[str]:
    """The column names of a csv file."""
    if not path.exists():  # else an unknown ending would be what is complained of
        raise InputError(f"{path}: no such file")
    return list(open_table(path).columns)


def has_columns(path: Path, names: Collection[str]) -> bool:
    """Whether a csv file has all these columns; False where it cannot be read."""
    try:
        columns = {fold(column) for column in read_header(path)}
    except InputError:
        return False
    return all(fold(name) in columns for name in names)


def read_text(path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> pd.DataFrame:
    """Columns of a csv file as text, "" where a cell is empty; under the names asked for.

    Case, spaces and underscores of a name do not count.

    Args:
        optional: columns that are "" throughout where the file lacks them.

    Raises:
        InputError: a column is missing or there twice, the file is empty or cannot be read.
    """
    header = read_header(path)
    folded = [fold(column) for column in header]
    for name in (*columns, *optional):
        if folded.count(fold(name)) > 1:
            raise InputError(f"{path}: two columns are named {name!r}; expected one")
    missing = [name for name in columns if fold(name) not in folded]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r} (columns: {listed(header)})")
    wanted = {
        header[folded.index(fold(name))]: name
        for name in (*columns, *optional)
        if fold(name) in folded
    }
    table = _read_csv(path, list(wanted)).rename(columns=wanted)
    if table.empty:
        raise InputError(f"{path}: the table has no rows")
    for column in wanted.values():
        table[column] = table[column].str.strip()
    absent = {name: "" for name in optional if name not in table}
    return table.assign(**absent).astype("str")[list(dict.fromkeys((*columns, *optional)))]


def _read_csv(path: Path, usecols: list[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(
            path,
            dtype=str,
            usecols=usecols,
            index_col=False,  # rows that end with a comma have one cell more than the header
            keep_default_na=False,
            na_filter=False,
            encoding="utf-8-sig",
            encoding_errors="replace",
        )
    except (OSError, EOFError, ValueError) as error:  # ParserError and a bad gzip file are these
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as a csv table: {reason}") from error


# rows and files


def match_files(
    rows: pd.DataFrame, files: pd.DataFrame, *, key: pd.Series[str], file_key: pd.Series[str],
    table: Path,
) -> tuple[pd.DataFrame, list[str]]:  # fmt: skip
    """The rows whose file is there, with its path; counts of those without, and of other files.

    Args:
        rows: one for each image.
        files: what `list_images` found.
        key, file_key: what rows and files are matched by, such as the file's name.
        table: where the rows are from, for the notes.
    """
    notes = []
    again = file_key.duplicated()
    if again.any():
        twice = named(files.loc[again, "path"])
        notes.append(f"{int(again.sum()):,} files have the name of another: {twice}; left out")
    paths = files["path"].set_axis(file_key)[~again.to_numpy()]
    matched = rows.assign(path=key.map(paths))
    gone = matched["path"].isna()
    if gone.any():
        notes.append(
            f"{int(gone.sum()):,} of {len(rows):,} rows of {table.name} name files that are not "
            f"here: {named(key[gone])}; left out"
        )
    if gone.all():
        raise InputError(
            f"{table}: none of the {len(rows):,} images that it names is here "
            f"({named(key)}); is this the data set's folder?"
        )
    extra = ~among(file_key, key.tolist())
    if extra.any():
        notes.append(
            f"{int(extra.sum()):,} image files have no row in {table.name}: "
            f"{named(files.loc[extra, 'path'])}; left out"
        )
    return matched[~gone].reset_index(drop=True), notes


def drop_repeats(
    rows: pd.DataFrame, key: str, table: Path, *, same: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The rows without a second one of the same image; counts of those that were dropped.

    Args:
        same: columns that repeats are expected to agree in; all by default.
    """
    again = rows[key].duplicated()
    if not again.any():
        return rows, []
    columns = list(rows.columns) if same is None else [key, *same]
    equal = rows.loc[rows[key].duplicated(keep=False), columns].drop_duplicates()
    differ = int(equal[key].duplicated().sum())
    differing = f" ({differ:,} differ from the first, which is kept)" if differ else ""
    return rows[~again].reset_index(drop=True), [
        f"{int(again.sum()):,} rows of {table.name} repeat an image{differing}: "
        f"{named(rows.loc[again, key])}"
    ]


def manifest_columns(rows: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """The rows with `columns` set and all others of a manifest; "" where nothing is known."""
    table = rows.assign(**columns)  # type: ignore[arg-type]
    for name in COLUMNS:
        if name not in table:
            table[name] = float("nan") if name == "age" else ""
    table = table[list(COLUMNS)]
    return table.astype({name: "float64" if name == "age" else "str" for name in COLUMNS})


# cells

_AGE: Final = r"^\s*(\d+(?:\.\d+)?)\s*([YyMmWwDd]?)"
_PER_YEAR: Final = {"y": 1.0, "": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}
_SEXES: Final = {"m": "M", "male": "M", "f": "F", "female": "F"}


def read_ages(texts: pd.Series[str]) -> tuple[pd.Series[float], list[str]]:
    """Ages in years of "58", "058Y" and "013M" (PS3.5, 6.2: AS); NaN where none is possible."""
    import pandas as pd

    parts = texts.str.extract(_AGE)
    per_year = parts[1].fillna("").str.lower().map(_PER_YEAR)
    ages = (pd.to_numeric(parts[0], errors="coerce") / per_year).astype("float64")
    impossible = (ages > _OLDEST) | (ages.isna() & ~texts.str.lower().isin(["", "nan", "none"]))
    notes = []
    if impossible.any():
        notes.append(
            f"{int(impossible.sum()):,} images have an age that cannot be: "
            f"{named(texts[impossible].unique())}; left blank"
        )
    return ages.mask(ages > _OLDEST).round(2), notes


def read_sexes(texts: pd.Series[str]) -> pd.Series[str]:
    """M, F or ""."""
    return texts.map(lambda text: _SEXES.get(text.strip().lower(), "")).astype("str")


def read_dates(texts: pd.Series[str]) -> pd.Series[str]:
    """Dates of eight digits as 2180-05-06; others as they are."""
    return texts.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:\.0)?$", r"\1-\2-\3", regex=True)
