"""Data sets as they lie on disk: one function for each, from its layout and tables to a manifest.

INDEXERS is the list of them; a data set of your own needs a table or a pattern (`folder`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cxrlabel.errors import InputError
from cxrlabel.findings import suggest
from cxrvision.data.datasets import (
    chexpert,
    covid,
    folder,
    mimic,
    nih,
    openi,
    padchest,
    tuberculosis,
    vindr,
)
from cxrvision.data.datasets.sources import Indexed

__all__ = ["AUTO", "INDEXERS", "Indexed", "detect", "indexer"]

AUTO: Final = "auto"

INDEXERS: Final[Mapping[str, Callable[[Path], Indexed]]] = {
    "nih": nih.index,
    "chexpert": chexpert.index,
    "mimic": mimic.index,
    "padchest": padchest.index,
    "openi": openi.index,
    "vindr": vindr.index,
    "montgomery": tuberculosis.index_montgomery,
    "shenzhen": tuberculosis.index_shenzhen,
    "covid": covid.index,
    "folder": folder.index,
}

_LOOKS_LIKE: Final[Mapping[str, Callable[[Path], bool]]] = {
    "nih": nih.looks_like,
    "chexpert": chexpert.looks_like,
    "mimic": mimic.looks_like,
    "padchest": padchest.looks_like,
    "openi": openi.looks_like,
    "vindr": vindr.looks_like,
    "montgomery": tuberculosis.looks_like_montgomery,
    "shenzhen": tuberculosis.looks_like_shenzhen,
    "covid": covid.looks_like,
}


def detect(root: Path) -> str:
    """The data set that lies in a folder, by its tables and names; "folder" where it is none.

    Raises:
        InputError: no such folder, or it looks like two data sets.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected the folder of a data set")
    found = [name for name, looks_like in _LOOKS_LIKE.items() if looks_like(root)]
    if len(found) > 1:
        raise InputError(
            f"{root}: looks like {' and '.join(found)}; choose one with --format, or name the "
            "folder of one"
        )
    return found[0] if found else "folder"


def indexer(name: str) -> Callable[[Path], Indexed]:
    """The function of a data set by name, or an `InputError` that suggests the nearest."""
    if name not in INDEXERS:
        raise InputError(f"--format: unknown format {name!r}; {suggest(name, [AUTO, *INDEXERS])}")
    return INDEXERS[name]
