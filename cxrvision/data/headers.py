"""What DICOM headers say of an image: whose it is, how it was taken. No pixels are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# our name -> (element, its keyword)
TAGS: Final = {
    "patient_id": "PatientID",  # (0010,0020)
    "study_uid": "StudyInstanceUID",  # (0020,000D)
    "position": "ViewPosition",  # (0018,5101)
    "orientation": "PatientOrientation",  # (0020,0020)
    "series": "SeriesDescription",  # (0008,103E)
    "protocol": "ProtocolName",  # (0018,1030)
    "study_description": "StudyDescription",  # (0008,1030)
    "age": "PatientAge",  # (0010,1010)
    "sex": "PatientSex",  # (0010,0040)
    "date": "StudyDate",  # (0008,0020)
    "site": "InstitutionName",  # (0008,0080)
    "manufacturer": "Manufacturer",  # (0008,0070)
    "model": "ManufacturerModelName",  # (0008,1090)
}
READABLE: Final = "readable"  # column: the file is DICOM and has a whole header

_VIEW_CODES: Final = "ViewCodeSequence"  # (0054,0220): in DX objects it says what (0018,5101) may


def has_pydicom() -> bool:
    """Whether headers can be read on this machine."""
    from importlib.util import find_spec

    return find_spec("pydicom") is not None


def read_headers(files: Iterable[Path]) -> pd.DataFrame:
    """The header of each file as text, "" where it says nothing.

    Returns:
        The columns of `TAGS` and `READABLE`, in the order of `files`.

    Raises:
        InputError: pydicom is not installed.
    """
    import pandas as pd

    if not has_pydicom():
        raise InputError(
            "DICOM headers: pydicom is not installed; expected `pip install 'cxr[images]'`"
        )
    rows = [_read_header(path) for path in files]
    frame = pd.DataFrame(rows, columns=[*TAGS, READABLE])
    return frame.astype(dict.fromkeys(TAGS, "str") | {READABLE: bool})


def _read_header(path: Path) -> dict[str, Any]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    wanted: Any = [*TAGS.values(), _VIEW_CODES]
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    # a damaged header may fail in any of its elements' parsers
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, NotImplementedError):
        return dict.fromkeys(TAGS, "") | {READABLE: False}
    row: dict[str, Any] = {name: _text(header, word) for name, word in TAGS.items()}
    row["position"] = row["position"] or _view_code(header)
    return row | {READABLE: True}


def _text(header: Any, keyword: str) -> str:
    try:
        value = header.get(keyword)
    except (ValueError, KeyError, NotImplementedError):  # pydicom converts on access
        return ""
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):  # several values
        value = "\\".join(str(part) for part in value)
    return re.sub(r"[\x00-\x1f\s]+", " ", str(value)).strip()


def _view_code(header: Any) -> str:
    try:
        codes = header.get(_VIEW_CODES) or []
        return str(codes[0].get("CodeMeaning", "")) if len(codes) else ""
    except (ValueError, KeyError, NotImplementedError, TypeError):
        return ""
