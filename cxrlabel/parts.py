"""Parts: the finished results of a batch as bytes, kept until a run is whole.

A part is JSON in gzip: plain data that restores the chunk exactly and runs nothing when it is read;
gzip's checksum tells a damaged one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cxrlabel.chunks import Chunk
from cxrlabel.mentiontable import MentionTable
from cxrlabel.stats import StatsCounter
from cxrlabel.writers import Coded, Column, cells_of

_LEVEL: Final = 1  # of gzip: parts are read once and removed


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A packed chunk."""

    number: int  # of the batch
    reports: int
    content: bytes


def pack(chunk: Chunk) -> Part:
    """A chunk as bytes; equal chunks give equal bytes."""
    mentions, probabilities = chunk.mentions, chunk.probabilities
    content = {
        "reports": chunk.reports,
        "labels": [_packed(column) for column in chunk.labels],
        "mentions": None if mentions is None else _packed_table(mentions),
        "findings": chunk.counter.findings,
        "counts": chunk.counter.to_lists(),
        "changed": chunk.changed,
        "probabilities": probabilities and [cells_of(column) for column in probabilities],
    }
    packed = gzip.compress(json.dumps(content).encode("ascii"), _LEVEL, mtime=0)
    return Part(chunk.number, chunk.reports, packed)


def unpack(number: int, content: bytes) -> Chunk:
    """The chunk that was packed.

    Raises:
        ValueError: the bytes are damaged.
    """
    try:
        parsed = json.loads(gzip.decompress(content))
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError("not a whole part") from error
    labels = [_unpacked(column) for column in parsed["labels"]]
    mentions = parsed["mentions"]
    return Chunk(
        number,
        parsed["reports"],
        labels,
        None if mentions is None else _unpacked_table(mentions),
        StatsCounter.from_lists(parsed["findings"], parsed["counts"]),
        Counter(parsed["changed"]),
        parsed["probabilities"],
    )


def _packed(column: Column) -> Any:
    if isinstance(column, Coded):
        return {"values": column.values, "codes": column.codes.tolist()}
    return cells_of(column)


def _unpacked(content: Any) -> Column:
    if isinstance(content, dict):
        return Coded(content["values"], np.array(content["codes"], np.int64))
    cells: list[Any] = content
    return cells


def _packed_table(table: MentionTable) -> list[Any]:
    return [table.studies, table.distinct, table.sections, table.places.tolist()]


def _unpacked_table(content: Sequence[Any]) -> MentionTable:
    studies, distinct, sections, places = content
    return MentionTable(studies, distinct, sections, np.array(places, np.int64))
