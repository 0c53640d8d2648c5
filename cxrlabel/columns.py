"""Which columns of a report table hold the id and the text.

Names are compared without case, spaces, underscores and other marks. The lists are what public data
sets and reporting systems call these columns; a column outside them is named by the caller.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cxrlabel.errors import InputError
from cxrlabel.findings import fold, resolve

ROW_NUMBER: Final = "row"  # the id column's name where rows are numbered

# in order of preference: "id" is often a row number beside the real one
ID_NAMES: Final = (
    "study_id",
    "uid",
    "report_id",
    "accession",
    "accession_number",
    "accession_no",
    "study_uid",
    "study_instance_uid",
    "exam_id",
    "note_id",
    "study",  # sectioned MIMIC-CXR reports
    "id",
    "image_index",  # NIH ChestX-ray14
    "image_id",
    "path",  # CheXpert data set
    ROW_NUMBER,
)
REPORT_NAMES: Final = (
    "report",
    "text",
    "report_text",
    "full_text",
    "full_report",
    "radiology_report",
    "report_body",
    "note_text",
    "reports",  # output of the CheXpert labeler
    "narrative",
)
SECTION_NAMES: Final[Mapping[str, str]] = {
    "findings": "findings",
    "impression": "impression",
    "report_impression": "impression",  # CheXbert
    "conclusion": "impression",
    "addendum": "addendum",
    "indication": "indication",
    "clinical_indication": "indication",
    "reason_for_exam": "indication",
    "reason_for_examination": "indication",
    "history": "history",
    "clinical_history": "history",
    "clinical_information": "history",
    "clinical_data": "history",
    "comparison": "comparison",
    "technique": "technique",
    "examination": "examination",
    "exam": "examination",
    "last_paragraph": "",  # sectioned MIMIC-CXR reports: text without a heading
}

_IDS: Final = tuple(fold(name) for name in ID_NAMES)
_REPORTS: Final = tuple(fold(name) for name in REPORT_NAMES)
_SECTIONS: Final = {fold(name): section for name, section in SECTION_NAMES.items()}


@dataclass(frozen=True, slots=True)
class ReportColumns:
    """The columns of a report table that are read."""

    id: str | None  # None: the table has text alone, or text and labels; its rows are numbered
    texts: tuple[str, ...]
    sections: tuple[str, ...]  # canonical section of each text, "" for a whole report


def is_known(name: str) -> bool:
    """Whether a cell is the usual name of an id, report or section column."""
    folded = fold(name)
    return folded in _IDS or folded in _REPORTS or folded in _SECTIONS


def choose_columns(
    columns: Sequence[str],
    *,
    place: str,
    id_column: str | None,
    text_columns: Sequence[str],
    keep: Sequence[str],
    first_id: str = "",
) -> ReportColumns:
    """Choose the id and text columns: those that are named, else those with usual names.

    Args:
        first_id: a name that goes before the usual ones of an id.

    Raises:
        InputError: a named column is missing or there twice, or none has a usual name.
    """
    for name in (*([] if id_column is None else [id_column]), *text_columns, *keep):
        require_column(name, columns, place=place)
    texts = tuple(text_columns) or _usual_texts(columns)
    if not texts:
        raise InputError(
            f"{place}: no text column found; name it with --text (columns: {listed(columns)})"
        )
    id_name = id_column or find_id(columns, first=first_id)
    if id_name is None and not has_text_and_labels_only(columns):
        raise InputError(
            f"{place}: no id column found; name it with --id (columns: {listed(columns)})"
        )
    for name in (*texts, *([] if id_name is None else [id_name])):
        require_column(name, columns, place=place)
    return ReportColumns(id_name, texts, tuple(_SECTIONS.get(fold(name), "") for name in texts))


def find_id(columns: Sequence[str], *, first: str = "") -> str | None:
    """The column that is called `first`, else one with a usual id name, or None."""
    return _first(columns, (fold(first), *_IDS) if first else _IDS)


def has_text_and_labels_only(columns: Sequence[str]) -> bool:
    """Whether a table without an id is an input or output of the CheXpert labeler or of CheXbert.

    Its one column with text comes first, then nothing or one column per finding. Row by row it is
    the table of reports that was labeled.
    """
    return len(columns) == 1 or (_usual_texts(columns[:1]) != () and all(map(resolve, columns[1:])))


def require_column(name: str, columns: Sequence[str], *, place: str) -> None:
    """Raise an `InputError` unless exactly one column has this name."""
    count = columns.count(name)
    if count > 1:
        raise InputError(f"{place}: {count} columns are named {name!r}, expected one")
    if count == 0:
        near = _nearest(name, columns)
        hint = f"did you mean {near!r}? " if near else ""
        raise InputError(f"{place}: no column {name!r}; {hint}(columns: {listed(columns)})")


def listed(columns: Sequence[str]) -> str:
    """Column names for a message; one as long as a sentence may be report text and is not shown."""
    return ", ".join(
        " ".join(name.split())
        if len(name) <= 40
        else f"({len(name)} characters: is there a header?)"
        for name in columns
    )


def _usual_texts(columns: Sequence[str]) -> tuple[str, ...]:
    report = _first(columns, _REPORTS)
    if report is not None:
        return (report,)
    return tuple(name for name in columns if fold(name) in _SECTIONS)


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {fold(name): name for name in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _nearest(name: str, columns: Collection[str]) -> str | None:
    lowered = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(name.casefold(), lowered, n=1)
    return lowered[near[0]] if near else None
