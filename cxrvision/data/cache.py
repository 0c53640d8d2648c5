"""The cache of a data set's images: opened, checked, and read by row.

A folder with `meta.json`, `index.parquet` (one row for each image of the manifest) and `shards/`.
`cxrvision.data.caching` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrvision.data.cachefolder import FORMAT, INDEX, META, SHARDS
from cxrvision.data.caching import CacheSummary, build_cache
from cxrvision.data.shards import OK, check_shard, file_hash

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Cache", "CacheSummary", "build_cache", "open_cache"]

_READ_WHOLE: Final = 2 << 30  # bytes of shards up to which all of them are read when one is opened


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """Images as uint8 [S, S], memory-mapped; pickled as its path alone."""

    path: Path
    size: int
    fit: str
    key: str  # hex; equal for equal files that were prepared alike, wherever they lie
    index: pd.DataFrame  # by image_id: row (-1 without pixels), status, reason, notes, pixels, …
    shards: tuple[NDArray[np.uint8], ...]  # [n, S, S] each
    starts: NDArray[np.int64]  # the first row of each shard

    def __len__(self) -> int:
        """Rows, with those that no image uses."""
        return sum(map(len, self.shards))

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the pixels, so that a worker process maps them anew."""
        return _open_trusted, (self.path,)

    def find(self, image_ids: Iterable[str]) -> NDArray[np.int64]:
        """The row of each image; -1 where it is not in the cache or has no pixels."""
        import pandas as pd

        places = self.index.index.get_indexer(pd.Index(list(image_ids), dtype="str"))
        rows = np.append(self.index["row"].to_numpy(np.int64), -1)
        return rows[places]  # a place of -1 takes the last

    def read(
        self, rows: NDArray[np.int64] | Sequence[int], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Images by row, in that order: [n, S, S], into `out` if given.

        Raises:
            ValueError: a row is below 0 or above the last.
        """
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise ValueError(f"rows 0 to {len(self) - 1} are there; found {wanted.min()} or more")
        if out is None:
            out = np.empty((len(wanted), self.size, self.size), np.uint8)
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        for owner in np.unique(owners):
            mine = np.flatnonzero(owners == owner)
            for place, row in zip(mine, wanted[mine] - self.starts[owner], strict=True):
                out[place] = self.shards[owner][row]
        return out

    def all(self) -> NDArray[np.uint8]:
        """All rows, [N, S, S], in memory: for a device that holds them."""
        whole = np.empty((len(self), self.size, self.size), np.uint8)
        for start, shard in zip(self.starts, self.shards, strict=True):
            whole[start : start + len(shard)] = shard
        return whole

    def failures(self) -> pd.DataFrame:
        """Images without pixels, by image_id: status and reason."""
        return self.index.loc[self.index["status"] != OK, ["status", "reason"]]


def open_cache(path: Path | str, *, verify: bool | None = None) -> Cache:
    """Open a cache for reading.

    Args:
        path: its folder.
        verify: compare the checksum of every shard; False compares sizes and a few blocks of each.
            None compares all of a cache below 2 GiB.

    Raises:
        InputError: not a cache, one that was not finished, or one whose files are torn.
    """
    folder = Path(path)
    meta = _read_meta(folder)
    if verify is None:
        verify = sum(shard["bytes"] for shard in meta["shards"]) <= _READ_WHOLE
    _check(folder, meta, whole=verify)
    return _open(folder, meta)


def _open_trusted(path: Path) -> Cache:
    """A cache that this process's parent has checked."""
    return _open(path, _read_meta(path))


def _open(folder: Path, meta: dict[str, Any]) -> Cache:
    import pandas as pd

    counts = [shard["rows"] for shard in meta["shards"]]
    return Cache(
        path=folder,
        size=meta["preparation"]["size"],
        fit=meta["preparation"]["fit"],
        key=meta["key"],
        index=pd.read_parquet(folder / INDEX).set_index("image_id"),
        shards=tuple(_map(folder, shard["name"]) for shard in meta["shards"]),
        starts=np.cumsum([0, *counts])[:-1].astype(np.int64),
    )


def _map(folder: Path, name: str) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.load(folder / SHARDS / f"{name}.npy", mmap_mode="r")
    return array.view(np.ndarray)  # rows of a plain array come faster than those of a memmap


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        form, finished = meta["format"], meta["finished"]
    except OSError as error:
        raise InputError(
            f"{folder}: not a cache: meta.json: {error.strerror or error}; "
            "`cxr data cache` makes one"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder}: not a cache: meta.json is not ours") from error
    if form != FORMAT:
        raise InputError(f"{folder}: a cache of format {form}; expected {FORMAT}: build it anew")
    if not finished:
        raise InputError(f"{folder}: the cache is not finished; run `cxr data cache` again")
    return dict(meta)


def _check(folder: Path, meta: dict[str, Any], *, whole: bool) -> None:
    index = folder / INDEX
    problems = []
    try:
        if file_hash(index) != meta["index"]:
            problems.append(f"{index}: its content has changed (checksum)")
    except OSError as error:
        problems.append(f"{index}: cannot be read: {error.strerror or error}")
    problems += filter(
        None,
        (
            check_shard(
                folder / SHARDS / f"{shard['name']}.npy",
                count=shard["bytes"],
                checksum=shard["checksum"],
                spots=shard["spots"],
                whole=whole,
            )
            for shard in meta["shards"]
        ),
    )
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{more}; run `cxr data cache` again to mend the cache")
