"""The folder of a cache: who may build in it, and its files besides the pixels.

`meta.json` is written last, so that a cache without it, or with an older one, is never half new.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cxrlabel.errors import InputError
from cxrlabel.writers import atomic_path, open_rows
from cxrvision.data.shards import (
    OK,
    Preparation,
    Shard,
    check_shard,
    content_hash,
    file_hash,
    read_shard,
)

FORMAT: Final = 1
INDEX: Final = "index.parquet"
META: Final = "meta.json"
SHARDS: Final = "shards"
COLUMNS: Final[Mapping[str, type]] = {
    "image_id": str, "row": int, "status": str, "reason": str, "notes": str, "width": int,
    "height": int, "bytes": int, "content": str, "pixels": str,
}  # fmt: skip


def claim(folder: Path, preparation: Preparation, *, force: bool) -> None:
    """Make the folder, or see that it is a cache of the same preparation."""
    meta = folder / META
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file; expected a folder for the cache")
    if meta.is_file():
        found = _preparation_of(meta)
        if found == preparation:
            return
        if found is None:
            raise InputError(f"{meta}: not of a cache; expected a folder of its own")
        if not force:
            raise InputError(
                f"{folder}: made with {_described(found)}, now {_described(preparation)}; "
                "choose another folder, or pass --force to replace the cache"
            )
        meta.unlink()
        shutil.rmtree(folder / SHARDS, ignore_errors=True)
    elif folder.is_dir() and any(item.name != ".lock" for item in folder.iterdir()):
        raise InputError(f"{folder}: not empty and no cache; expected a folder of its own")
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    _write_meta(folder, {"finished": False, "preparation": asdict(preparation)})


def _preparation_of(meta: Path) -> Preparation | None:
    try:
        return Preparation(**json.loads(meta.read_text(encoding="utf-8"))["preparation"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _described(preparation: Preparation) -> str:
    inverted = ", inverted ones corrected" if preparation.correct_inverted else ""
    version = f", preparation {preparation.version}" if preparation.version > 1 else ""
    return f"size {preparation.size}, {preparation.fit}{inverted}{version}"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One build at a time; the system lets go of the lock when its holder dies."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another build is at work here") from error
        yield


def find_shards(folder: Path, preparation: Preparation) -> list[Shard]:
    """Finished shards whose pixels are whole, in order; what a killed run left is removed."""
    found = []
    folder = folder / SHARDS
    for left in folder.glob(".*.part*"):
        left.unlink(missing_ok=True)
    for record in sorted(folder.glob("*.json")):
        shard = read_shard(record)
        if shard is not None and shard.preparation == preparation:
            problem = check_shard(
                shard.array_path(folder),
                count=shard.bytes,
                checksum=shard.checksum,
                spots=shard.spots,
                whole=True,
            )
            if not problem:
                found.append(shard)
                continue
        record.unlink()
    names = {shard.name for shard in found}
    for array in folder.glob("*.npy"):
        if array.stem not in names:
            array.unlink()
    return found


def drop_empty(folder: Path, shards: Sequence[Shard]) -> list[Shard]:
    """Shards with at least one image, in order of their names; the files of others go."""
    kept = []
    folder = folder / SHARDS
    for shard in sorted(shards, key=lambda shard: shard.name):
        if any(entry.status == OK for entry in shard.entries):
            kept.append(shard)
            continue
        (folder / f"{shard.name}.json").unlink(missing_ok=True)
        shard.array_path(folder).unlink(missing_ok=True)
    return kept


def write_index(
    folder: Path, preparation: Preparation, shards: Sequence[Shard], rows: list[dict[str, Any]]
) -> str:
    """Write index.parquet and, last, meta.json; returns the key."""
    contents = sorted((row["image_id"], row["content"], row["status"] == OK) for row in rows)
    key = content_hash(json.dumps([asdict(preparation), contents]).encode())
    index = folder / INDEX
    with open_rows(index, COLUMNS, force=True) as writer:
        writer.write([tuple(row[name] for name in COLUMNS) for row in rows])
    meta = {
        "finished": True,
        "key": key,
        "preparation": asdict(preparation),
        "images": len(rows),
        "index": file_hash(index),
        "shards": [
            {
                "name": shard.name,
                "rows": len(shard.entries),
                "bytes": shard.bytes,
                "checksum": shard.checksum,
                "spots": shard.spots,
            }
            for shard in shards
        ],
    }
    _write_meta(folder, meta)
    return key


def _write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    with atomic_path(folder / META, force=True) as temporary:
        temporary.write_text(
            json.dumps({"format": FORMAT, **meta}, indent=1) + "\n", encoding="utf-8"
        )
