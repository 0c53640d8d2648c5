"""Find and read the rule files: TOML in, plain tables out, nothing interpreted.

The rules are one folder, `rules/`. A wheel carries it inside the package; a checkout has it beside
the package. English lies at its top, another language in a folder of its code, `rules/es/`, with
the same layout; label sets, dialects, options and the hierarchy are shared. A user's own folders
lie over it: a file of the same relative path replaces ours, or is merged into it when it says
`extend = true`.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cxrlabel.errors import InputError

Table = dict[str, Any]

DEFAULT_LANGUAGE: Final = "en"
_SHARED: Final = ("dialects/", "labelsets/", "hierarchy.toml", "options.toml")  # by all languages


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One TOML file: where it lies under the rules folder, where it was read, and its content."""

    name: str  # "findings/edema.toml"
    path: Path
    table: Table

    @property
    def stem(self) -> str:
        """The file's name without folder and ending, "edema"."""
        return Path(self.name).stem


@dataclass(frozen=True)
class RuleFiles:
    """All rule files by relative name, and a hash over their content."""

    files: Mapping[str, RuleFile]
    hash: str  # sha256 over names and content, 16 hex digits

    def folder(self, name: str) -> list[RuleFile]:
        """The files of one folder ("findings", "cues" …), sorted by name."""
        return [self.files[key] for key in sorted(self.files) if key.startswith(f"{name}/")]

    def single(self, name: str) -> RuleFile:
        """One file by its relative name; an `InputError` where it is missing."""
        if name not in self.files:
            raise InputError(f"rules: {name} is missing; expected it in the rules folder")
        return self.files[name]


def rules_dir() -> Path:
    """The project's rules folder: the installed copy, or the checkout's.

    Raises:
        InputError: neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "rules", package.parent / "rules"):
        if (folder / "findings").is_dir():
            return folder
    raise InputError(f"{package}: no rules folder found; expected one in the package or beside it")


def languages(extra: Sequence[Path | str] = ()) -> tuple[str, ...]:
    """The languages that have rules: English, and every folder that holds findings of its own."""
    folders = (rules_dir(), *(Path(folder) for folder in extra))
    found = {path.parent.name for folder in folders for path in folder.glob("*/findings")}
    return (DEFAULT_LANGUAGE, *sorted(found - {DEFAULT_LANGUAGE}))


def read_rule_files(extra: Sequence[Path | str] = (), *, lang: str = DEFAULT_LANGUAGE) -> RuleFiles:
    """Read the project's rules of a language and lay the folders `extra` over them, in order.

    Raises:
        InputError: unknown language, a folder without rules, a file that is not valid TOML.
    """
    return _read_rule_files(tuple(Path(folder) for folder in extra), lang)


def read_rule_file(path: Path) -> RuleFile:
    """Read one TOML file outside a rules folder, such as a label set of the user's own."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return RuleFile(path.name, path, _parse(path, path.read_bytes()))


@lru_cache(maxsize=8)
def _read_rule_files(extra: tuple[Path, ...], lang: str) -> RuleFiles:
    known = languages(extra)
    if lang not in known:
        raise InputError(f"--lang: unknown language {lang!r}; known: {', '.join(known)}")
    files: dict[str, RuleFile] = {}
    digest = hashlib.sha256()
    for folder in (rules_dir(), *extra):
        for name, path in _files_of_language(folder, lang, known):
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            table = _parse(path, content)
            if table.pop("extend", False) and name in files:
                table = _merge(files[name].table, table)
            files[name] = RuleFile(name, path, table)
    return RuleFiles(files, digest.hexdigest()[:16])


def _files_of_language(folder: Path, lang: str, known: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of a folder that hold for a language, as (name, path).

    Where the folder has a subfolder for the language, that and what all languages share; otherwise
    everything outside such subfolders, which in our own folder is English.
    """
    named = [(path.relative_to(folder).as_posix(), path) for path in _toml_files(folder)]
    own = f"{lang}/"
    ours = lang != DEFAULT_LANGUAGE and folder == rules_dir()
    apart = ours or any(name.startswith(own) for name, _ in named)
    for name, path in named:
        if name.startswith(own):
            yield name.removeprefix(own), path
        elif name.partition("/")[0] not in known and (not apart or name.startswith(_SHARED)):
            yield name, path


def _toml_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of rules")
    paths = sorted(folder.rglob("*.toml"))
    if not paths:
        raise InputError(f"{folder}: no .toml file found; expected rules as in `rules/findings/`")
    return paths


def _parse(path: Path, content: bytes) -> Table:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error


def _merge(ours: Table, theirs: Table) -> Table:
    """Their table over ours: lists are appended, entries with the same `id` replaced."""
    merged = dict(ours)
    for key, value in theirs.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            merged[key] = _merge_lists(old, value)
        else:
            merged[key] = value
    return merged


def _merge_lists(ours: list[Any], theirs: list[Any]) -> list[Any]:
    replaced = {entry["id"] for entry in theirs if isinstance(entry, dict) and "id" in entry}
    kept = [
        entry for entry in ours if not (isinstance(entry, dict) and entry.get("id") in replaced)
    ]
    return kept + theirs
