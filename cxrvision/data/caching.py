"""From a manifest to a cache: what is there already is kept, the rest is decoded in parallel.

A build may be killed at any moment: finished shards stay, and the next build goes on with the rest.
A cached image is used again while its file has the same size and time; where only the time differs,
as after copying, the content decides. The key hashes contents, so that it is the same wherever the
files lie; they are hashed when they are read for decoding, so that this costs next to nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxrlabel.errors import InputError
from cxrvision.data.cachefolder import SHARDS, claim, drop_empty, find_shards, lock, write_index
from cxrvision.data.decoding import Image, decode_shards
from cxrvision.data.images import FITS
from cxrvision.data.shards import OK, Entry, Preparation, Shard, content_hash

if TYPE_CHECKING:
    from cxrvision.data.manifest import Manifest

Place = tuple[Shard, int]  # a shard and a row of it

_SOURCE_GONE: Final = "file gone, pixels of before"


@dataclass(frozen=True, slots=True)
class CacheSummary:
    """What a build did."""

    path: Path
    key: str
    images: int  # in the manifest
    statuses: Mapping[str, int]  # ok, missing, broken -> images
    decoded: int  # ok ones that were decoded now; the others were there
    unused: int  # rows of images that the manifest does not name
    notes: Mapping[str, int]  # note -> images, most frequent first
    failures: tuple[tuple[str, str], ...]  # image id and reason of those without pixels
    bytes: int  # of pixels on disk
    seconds: float


def build_cache(
    manifest: Manifest,
    out: Path | str,
    *,
    size: int = 320,
    fit: str = "pad",
    correct_inverted: bool = False,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CacheSummary:
    """Make a cache, finish one that was stopped, mend a torn one, or add what is new.

    Args:
        manifest: the images.
        out: the folder of the cache.
        size, fit, correct_inverted: as in `cxrvision.data.images.read_square`.
        workers: processes that decode at the same time.
        force: begin anew where the folder has a cache of another preparation.
        progress: called with the number of images that are done.

    Raises:
        InputError: the folder is something else, or another build is at work in it.
    """
    began = time.perf_counter()
    if fit not in FITS:
        raise InputError(f"fit {fit!r}: expected one of {', '.join(FITS)}")
    if not 8 <= size <= 4096:
        raise InputError(f"size {size}: expected 8 to 4096 pixels")
    folder = Path(out)
    preparation = Preparation(size, fit, correct_inverted)
    images = list(zip(manifest.table["image_id"], manifest.files(), strict=True))
    claim(folder, preparation, force=force)
    with lock(folder):
        shards = find_shards(folder, preparation)
        places = _find_cached(images, shards)
        reused = len(places)
        todo = [image for image in images if image[0] not in places]
        if progress is not None:
            progress(reused)
        failed: dict[str, Entry] = {}
        for shard in decode_shards(folder / SHARDS, todo, preparation, shards, workers):
            for row, entry in enumerate(shard.entries):
                if entry.status == OK:
                    places[entry.image_id] = (shard, row)
                else:
                    failed[entry.image_id] = entry
            shards.append(shard)
            if progress is not None:
                progress(len(shard.entries))
        shards = drop_empty(folder, shards)
        rows = _index_rows(images, shards, places, failed)
        key = write_index(folder, preparation, shards, rows)
    return CacheSummary(
        path=folder,
        key=key,
        images=len(images),
        statuses=dict(Counter(row["status"] for row in rows)),
        decoded=len(places) - reused,
        unused=sum(e.status == OK for shard in shards for e in shard.entries) - len(places),
        notes=dict(
            Counter(n for row in rows for n in row["notes"].split(" | ") if n).most_common()
        ),
        failures=tuple((row["image_id"], row["reason"]) for row in rows if row["status"] != OK),
        bytes=sum(shard.bytes for shard in shards),
        seconds=time.perf_counter() - began,
    )


def _find_cached(images: Sequence[Image], shards: Sequence[Shard]) -> dict[str, Place]:
    """Where the pixels of an image are, for those whose file is still the same."""
    known: dict[str, list[Place]] = {}
    for shard in shards:
        for row, entry in enumerate(shard.entries):
            if entry.status == OK:
                known.setdefault(entry.image_id, []).append((shard, row))
    cached: dict[str, Place] = {}
    for image_id, path in images:
        for shard, row in reversed(known.get(image_id, [])):
            if _is_same(path, shard.entries[row]):
                cached[image_id] = (shard, row)
                break
    return cached


def _is_same(path: Path, entry: Entry) -> bool:
    try:
        status = path.stat()
        if status.st_size != entry.bytes:
            return False
        return status.st_mtime_ns == entry.modified or _content(path) == entry.content
    except FileNotFoundError:
        return True  # the pixels outlive their file
    except OSError:
        return False


def _content(path: Path) -> str:
    return content_hash(path.read_bytes())


def _index_rows(
    images: Sequence[Image],
    shards: Sequence[Shard],
    places: Mapping[str, Place],
    failed: Mapping[str, Entry],
) -> list[dict[str, Any]]:
    """A row of the index for each image of the manifest."""
    starts: dict[str, int] = {}
    total = 0
    for shard in shards:
        starts[shard.name] = total
        total += len(shard.entries)
    rows = []
    for image_id, path in images:
        row = -1
        if image_id in places:
            shard, place = places[image_id]
            entry, row = shard.entries[place], starts[shard.name] + place
            if not path.exists():
                entry = entry._replace(notes=(*entry.notes, _SOURCE_GONE))
        else:
            entry = failed[image_id]
        rows.append({**entry._asdict(), "row": row, "notes": " | ".join(entry.notes)})
    return rows
