"""Labels that differ from the truth, one by one, with the words that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cxrlabel.audit.deciding import KINDS, Label
from cxrlabel.findings import NO_FINDING
from cxrlabel.writers import open_rows

TRUTH: Final = {True: "present", False: "absent"}

_COLUMNS: Final[dict[str, type]] = {
    "finding": str,
    "kind": str,
    "label": str,
    "truth": str,
    "weight": float,
    "section": str,
    "reason": str,
    "rule": str,
    "cue": str,
    "text": str,
    "start": int,
    "end": int,
}


def find_disagreements(labels: Sequence[Label]) -> list[Label]:
    """The labels that are an error or uncertain, by finding, kind and id.

    Findings are in the order in which they come, No Finding last.
    """
    order: dict[str, int] = {}
    for label in labels:
        order.setdefault(label.finding, len(order))
    order[NO_FINDING] = len(order)
    found = [label for label in labels if label.kind]
    return sorted(found, key=lambda x: (order[x.finding], KINDS.index(x.kind), x.study_id))


def choose_some(labels: Sequence[Label], most: int) -> list[Label]:
    """At most so many disagreements, as evenly over findings and kinds as they can be.

    Of one finding and kind those come first that stand for most studies, then by a hash of the id.

    Returns:
        In the order of `labels`.
    """
    cells: dict[tuple[str, str], list[Label]] = {}
    for label in labels:
        cells.setdefault((label.finding, label.kind), []).append(label)
    ranked = [
        (rank, label)
        for cell in cells.values()
        for rank, label in enumerate(sorted(cell, key=_importance))
    ]
    ranked.sort(key=lambda pair: pair[0])  # stable: the first of each, then the second of each ...
    chosen = {(label.study_id, label.finding) for _, label in ranked[:most]}
    return [label for label in labels if (label.study_id, label.finding) in chosen]


def _importance(label: Label) -> tuple[float, str]:
    return -label.weight, hashlib.sha256(label.study_id.encode()).hexdigest()


def write_disagreements(
    path: Path | str, labels: Sequence[Label], *, id_name: str, force: bool = False
) -> None:
    """Write disagreements.csv.

    The columns from section to end are blank where no mention decided, or none were given.

    Raises:
        InputError: as `cxrlabel.writers.open_rows`.
    """
    with open_rows(path, {id_name: str, **_COLUMNS}, force=force) as writer:
        writer.write([_row(label) for label in labels])


def _row(label: Label) -> tuple[Any, ...]:
    decided, mention = label.deciding, label.deciding.mention
    return (
        label.study_id,
        label.finding,
        label.kind,
        label.state,
        TRUTH[label.present],
        label.weight,
        decided.section,
        decided.reason,
        decided.rule,
        mention.cue if mention else "",
        mention.text if mention else "",
        mention.start if mention else None,
        mention.end if mention else None,
    )
