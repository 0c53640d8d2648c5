"""Fingerprint of a run: all that decides about its results, and what differs from another run's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrlabel.chunks import CHUNK_SIZE, Job


def code_hash() -> str:
    """The sha256 of this package's source: a version under development keeps its number."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def fingerprint(made: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """A run's fingerprint, as JSON reads it back.

    Args:
        made: the run record without what is counted.
        job: what is made of every row.
    """
    content = {**made, "mentions": job.mentions, "chunk": CHUNK_SIZE, "code": code_hash()}
    parsed: dict[str, Any] = json.loads(json.dumps(content))
    return parsed


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, in words such as "options (hierarchy)" or "inputs (reports.csv)"."""
    found = []
    for name in dict.fromkeys((*now, *before)):
        old, new = before.get(name), now.get(name)
        if old != new:
            places = ", ".join(_places(old, new))
            found.append(f"{name} ({places})" if places else name)
    return found


def _places(old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [key for key in {**new, **old} if old.get(key) != new.get(key)]
    if isinstance(old, list) and isinstance(new, list):
        return [file["path"] for file in new if isinstance(file, dict) and file not in old]
    return []
