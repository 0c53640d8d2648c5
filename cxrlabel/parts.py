"""Parts: the finished results of a batch as bytes, kept until a run is whole.

A part is JSON in gzip: plain data that restores the chunk exactly and runs nothing when it is read;
gzip's checksum tells a damaged one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

from cxrlabel.chunks import Chunk
from cxrlabel.stats import StatsCounter

_LEVEL: Final = 1  # of gzip: parts are read once and removed


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A packed chunk."""

    number: int  # of the batch
    reports: int
    content: bytes


def pack(chunk: Chunk) -> Part:
    """A chunk as bytes; equal chunks give equal bytes."""
    content = {
        "labels": chunk.labels,
        "mentions": chunk.mentions,
        "findings": chunk.counter.findings,
        "counts": chunk.counter.to_lists(),
        "changed": chunk.changed,
    }
    packed = gzip.compress(json.dumps(content).encode("ascii"), _LEVEL, mtime=0)
    return Part(chunk.number, len(chunk.labels), packed)


def unpack(number: int, content: bytes) -> Chunk:
    """The chunk that was packed.

    Raises:
        ValueError: the bytes are damaged.
    """
    try:
        parsed = json.loads(gzip.decompress(content))
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError("not a whole part") from error
    return Chunk(
        number,
        list(map(tuple, parsed["labels"])),
        list(map(tuple, parsed["mentions"])),
        StatsCounter.from_lists(parsed["findings"], parsed["counts"]),
        Counter(parsed["changed"]),
    )
