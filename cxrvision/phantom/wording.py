"""The wording of reports: `wording.toml`, read into records. This module knows no language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("wording.toml")
PLACES: Final = ("devices", "heart", "lungs", "pleura", "bones")  # their order in a report

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingWords:
    """How reports speak of one finding."""

    place: str  # of `PLACES`
    sizes: Texts  # by grade
    names: Texts  # in lists of what is not there; none: it is denied in a sentence of its own
    stated: Texts
    hedged: Texts
    denied: Texts
    resolved: Texts  # denied, where the prior study stated it
    short_stated: Texts  # for the impression
    short_hedged: Texts
    opacity_stated: Texts  # also name an opacity: only where Lung Opacity is none of the findings
    opacity_hedged: Texts


@dataclass(frozen=True, slots=True)
class Remark:
    """Sentences about what is not drawn: a normal part, or something incidental."""

    place: str
    texts: Texts
    denies: Texts = ()  # findings that these sentences deny
    unless: Texts = ()  # findings beside which they would be wrong


@dataclass(frozen=True, slots=True)
class Wording:
    """All of it."""

    findings: Mapping[str, FindingWords]
    devices: Mapping[str, Texts]  # by kind
    normal: tuple[Remark, ...]
    incidental: tuple[Remark, ...]
    lists: Texts  # hold {names}
    zones: Mapping[str, str]
    changes: Mapping[str, Texts]
    sections: Mapping[str, Texts]  # indication, comparison, technique
    impression: Mapping[str, Texts]


@lru_cache(maxsize=1)
def load_wording() -> Wording:
    """Read the file that lies beside this module."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return Wording(
        findings={name: _finding(row) for name, row in table["finding"].items()},
        devices=_texts(table["devices"]),
        normal=tuple(_remark(row) for row in table["normal"]),
        incidental=tuple(_remark(row) for row in table["incidental"]),
        lists=tuple(table["lists"]),
        zones=table["zones"],
        changes=_texts(table["changes"]),
        sections=_texts(table["sections"]),
        impression=_texts(table["impression"]),
    )


def _finding(row: Mapping[str, Any]) -> FindingWords:
    opacity = row.get("opacity", {})
    lists = {
        **{key: row[key] for key in ("sizes", "names", "stated", "hedged", "denied", "resolved")},
        **{f"short_{kind}": row["short"][kind] for kind in ("stated", "hedged")},
        **{f"opacity_{kind}": opacity.get(kind, ()) for kind in ("stated", "hedged")},
    }
    return FindingWords(place=row["place"], **_texts(lists))


def _remark(row: Mapping[str, Any]) -> Remark:
    lists = {key: tuple(value) for key, value in row.items() if key != "place"}
    return Remark(row["place"], **lists)


def _texts(table: Mapping[str, Any]) -> dict[str, Texts]:
    return {key: tuple(value) for key, value in table.items()}
