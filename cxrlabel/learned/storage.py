"""Model folders: what a labeler is made of, in files that hold no code.

labeler.json          the kind, the findings with their classes, what it was fitted on, how good
README.md             the same as a model card
weights.safetensors   arrays; a transformer has model.safetensors and its tokenizer instead
vocabulary.json       the names of the features, for the kinds that have them
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.errors import InputError
from cxrlabel.learned.classes import Classes
from cxrlabel.learned.heads import Heads

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTS: Final = "labeler.json"
CARD: Final = "README.md"
_WEIGHTS: Final = "weights.safetensors"
_VOCABULARY: Final = "vocabulary.json"
FORMAT: Final = 1


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well.

    Raises:
        InputError: something is there and `force` is not set, or it is no model's folder.
    """
    check_folder(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield made
        if path.exists():
            shutil.rmtree(path)
        made.chmod(0o755)
        made.replace(path)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def check_folder(path: Path, *, force: bool) -> None:
    """Raise an `InputError` where `new_folder` would, before the work begins."""
    if not path.exists():
        return
    if not force:
        raise InputError(f"{path}: exists; pass --force to replace it")
    if not (path / FACTS).is_file():
        raise InputError(f"{path}: is no labeler ({FACTS} is not there); it is not replaced")


def write_facts(folder: Path, facts: Mapping[str, Any], card: str) -> None:
    """Write what is known of a model, for programs and for people."""
    text = json.dumps({"format": FORMAT, **facts}, indent=2, ensure_ascii=False)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """What is known of a model.

    Raises:
        InputError: there is no model, or one of another format.
    """
    path = folder / FACTS
    if not path.is_file():
        raise InputError(
            f"{folder}: no labeler here ({FACTS} is not there); expected rules, or a folder that "
            "`cxr labeler fit` wrote"
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged; expected JSON") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else None
        raise InputError(f"{path}: format {found!r}; expected {FORMAT}")
    return facts


def hash_folder(folder: Path) -> str:
    """A hash of all that decides about a model's labels."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != CARD:
            digest.update(path.name.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def write_heads(
    folder: Path, heads: Heads, more: Mapping[str, NDArray[Any]] | None = None
) -> dict[str, Any]:
    """Write the arrays of linear heads; returns what goes with them into the facts."""
    from safetensors.numpy import save_file

    arrays = {"weights": heads.weights, "biases": heads.biases, "offsets": heads.offsets}
    saved = {
        name: np.ascontiguousarray(array) for name, array in {**arrays, **(more or {})}.items()
    }
    save_file(saved, folder / _WEIGHTS)
    return {
        "findings": {
            name: {"classes": list(own.names), "of_state": list(own.of_state)}
            for name, own in zip(heads.findings, heads.classes, strict=True)
        },
        "slope": heads.slope,
    }


def read_heads(folder: Path, facts: Mapping[str, Any]) -> tuple[Heads, dict[str, NDArray[Any]]]:
    """Linear heads, and the other arrays beside them."""
    arrays = _read(folder / _WEIGHTS, _load_arrays)
    found = facts["findings"]
    heads = Heads(
        tuple(found),
        tuple(Classes(tuple(own["classes"]), tuple(own["of_state"])) for own in found.values()),
        arrays.pop("weights"),
        arrays.pop("biases"),
        arrays.pop("offsets"),
        float(facts["slope"]),
    )
    return heads, arrays


def write_vocabulary(folder: Path, names: tuple[str, ...]) -> None:
    """Write the names of the features."""
    text = json.dumps(names, indent=0, ensure_ascii=False)
    (folder / _VOCABULARY).write_text(text + "\n", encoding="utf-8")


def read_vocabulary(folder: Path) -> tuple[str, ...]:
    """The names of the features."""
    return tuple(_read(folder / _VOCABULARY, lambda path: json.loads(path.read_text("utf-8"))))


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return dict(load_file(path))


def _read(path: Path, load: Callable[[Path], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return load(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: missing or damaged; expected what a fit wrote") from error
