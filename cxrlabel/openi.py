"""Open-i reports: one XML file per report, as the set ecgen-radiology has them.

Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080. The id is that of `<uId>`, the sections are
`<AbstractText Label="FINDINGS">` and its kin. A file that declares entities is refused: entities
that stand for entities fill the memory from a few lines, and external ones read other files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from cxrlabel.errors import InputError
from cxrlabel.files import open_bytes

REPORT_COLUMNS: Final = ("uid", "indication", "comparison", "findings", "impression")

_SECTIONS: Final = frozenset(REPORT_COLUMNS[1:])


def read_report(path: Path) -> dict[str, str]:
    """The cells of one report by column; "" where it has no such section.

    Raises:
        InputError: not well-formed XML, entities declared, no id, or an unknown section.
    """
    reader = _Reader(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.add
    parser.EntityDeclHandler = reader.refuse_entity
    with open_bytes(path) as file:
        try:
            parser.ParseFile(file)
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code)
            raise InputError(f"{path}:{error.lineno}: not well-formed XML: {problem}") from error
    return reader.report()


class _Reader:
    """Gathers the id and the sections while the parser runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._id = ""
        self._texts: dict[str, list[str]] = {}
        self._pieces: list[str] | None = None  # None outside of a section

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "uId":
            self._id = attributes.get("id", "")
        elif tag == "AbstractText":
            self._pieces = self._section(attributes.get("Label", ""))

    def end(self, tag: str) -> None:
        if tag == "AbstractText" and self._pieces is not None:
            self._pieces.append("\n")  # a section that comes twice stays two paragraphs
            self._pieces = None

    def add(self, text: str) -> None:
        if self._pieces is not None:
            self._pieces.append(text)

    def refuse_entity(self, name: str, *_: Any) -> None:
        raise InputError(f"{self._path}: declares the entity {name[:30]!r}; expected none")

    def report(self) -> dict[str, str]:
        if not self._id:
            raise InputError(f'{self._path}: no <uId id="...">; expected a report of Open-i')
        texts = {name: "".join(pieces).strip() for name, pieces in self._texts.items()}
        return {"uid": self._id, **{name: texts.get(name, "") for name in REPORT_COLUMNS[1:]}}

    def _section(self, label: str) -> list[str]:
        name = label.strip().lower()
        if name not in _SECTIONS:
            shown = repr(label) if len(label) <= 30 else f"of {len(label)} characters"
            raise InputError(
                f"{self._path}: <AbstractText> with the label {shown}; "
                f"expected {', '.join(sorted(_SECTIONS)).upper()}"
            )
        return self._texts.setdefault(name, [])
