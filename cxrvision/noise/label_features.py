"""Features of a label: what the mentions say of how it came about.

They come from the table that `cxr label --mentions` writes. Each is told apart for labels that say
the finding is there (positive, uncertain) and that say it is not, since the same hedge makes one
weaker and the other stronger. A blank label has no mention, and no feature but its site.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.columns import find_id, listed, require_column
from cxrlabel.errors import InputError
from cxrlabel.findings import STATES
from cxrlabel.formats import open_table
from cxrlabel.readers import read_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEATURES: Final = (
    "mentions", "impression", "cue", "sign", "severity", "change", "disagreement",
)  # fmt: skip
SITES: Final = 8  # sites that get a feature, the most frequent ones after the first

_COLUMNS: Final = (
    "finding", "assertion", "reason", "section", "cue", "severity", "temporality",
)  # fmt: skip
_NO_LABEL: Final = "none"
_LEARNED: Final = "learned"  # a sentence that a learned label went by, which names nothing
_HINT: Final = "hint"
_IMPRESSION: Final = "impression"


@dataclass(slots=True)
class _Label:
    """What the mentions of one finding in one study have."""

    mentions: int = 0
    seen: set[str] = field(default_factory=set)
    assertions: set[str] = field(default_factory=set)

    def values(self) -> list[float]:
        """In the order of `FEATURES`."""
        flags = {name: float(name in self.seen) for name in FEATURES}
        flags["mentions"] = float(np.log(max(self.mentions, 1)))
        flags["disagreement"] = float(len(self.assertions) > 1)
        return [flags[name] for name in FEATURES]


def read_label_features(path: Path | str, ids: Sequence[str], findings: Sequence[str]) -> Floats:
    """Read the mentions of some studies.

    Returns:
        [N, F, P] in the order of `FEATURES`; zeros for a label without a mention.

    Raises:
        InputError: the table cannot be read, or has no mention of these studies and findings.
    """
    table = open_table(Path(path))
    id_name = find_id(table.columns)
    if id_name is None:
        raise InputError(f"{path}: no id column found (columns: {listed(table.columns)})")
    for name in _COLUMNS:
        require_column(name, table.columns, place=str(path))
    rows = {study: row for row, study in enumerate(ids)}
    columns = {finding: column for column, finding in enumerate(findings)}
    labels: dict[tuple[int, int], _Label] = defaultdict(_Label)
    for where, (cell, *cells) in table.read([id_name, *_COLUMNS]):
        mention = dict(zip(_COLUMNS, map(_text, cells), strict=True))
        place = rows.get(read_id(cell, where)), columns.get(mention["finding"])
        makes_label = mention["assertion"] != _NO_LABEL and mention["reason"] != _LEARNED
        if None not in place and makes_label:
            _add(labels[place], mention)  # type: ignore[index]  # neither is None
    if not labels:
        raise InputError(
            f"{path}: no mention is of the {len(ids)} studies and their findings; expected what "
            "`cxr label --mentions` wrote with these labels"
        )
    values = np.zeros((len(ids), len(findings), len(FEATURES)))
    for (row, column), label in labels.items():
        values[row, column] = label.values()
    return values


def by_state(features: Floats, codes: NDArray[np.int64], sites: NDArray[np.object_]) -> Floats:
    """The features told apart by what the label says, and those of the sites.

    Each is taken from its mean over the labels of the same finding and state, so that on average
    the features add nothing to what the table says of the state.

    Args:
        features: [N, F, P].
        codes: [N, F] places of the states in STATES.
        sites: [N] names; "" where a site is not known.

    Returns:
        [N, F, 2 P + sites].
    """
    says = (codes <= 1)[..., None]
    named, counts = np.unique(sites[sites != ""].astype(str), return_counts=True)
    others = named[np.argsort(-counts, kind="stable")][1 : SITES + 1]
    at = (sites[:, None] == others[None]).astype(np.float64)
    spread = np.broadcast_to(at[:, None], (*codes.shape, len(others)))
    parts = np.concatenate([features * says, features * ~says, spread], axis=-1)
    for code in range(len(STATES)):
        inside = (codes == code)[..., None]
        count = np.maximum(inside.sum(axis=0), 1)
        parts = parts - inside * ((parts * inside).sum(axis=0) / count)
    return parts


def _add(label: _Label, mention: Mapping[str, str]) -> None:
    label.mentions += 1
    label.assertions.add(mention["assertion"])
    signs = {
        "impression": mention["section"] == _IMPRESSION,
        "cue": bool(mention["cue"]),
        "sign": mention["reason"] == _HINT,
        "severity": bool(mention["severity"]),
        "change": bool(mention["temporality"]),
    }
    label.seen |= {name for name, so in signs.items() if so}


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()
