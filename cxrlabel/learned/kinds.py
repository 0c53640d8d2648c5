"""The kinds of learned labelers, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cxrlabel.checks import one_of
from cxrlabel.errors import InputError
from cxrlabel.learned.backend import Model
from cxrlabel.learned.bow import BowLabeler, fit_bow
from cxrlabel.learned.hybrid import HybridLabeler, fit_hybrid
from cxrlabel.learned.storage import FACTS, read_facts

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler
    from cxrlabel.learned.material import Material

TRANSFORMER: Final = "transformer"
KINDS: Final = ("bow", "hybrid", TRANSFORMER)
_PACKAGES: Final = {  # that a kind needs, by the extra that has them
    "learned": ("safetensors", "scipy", "sklearn"),
    TRANSFORMER: ("tokenizers", "torch", "transformers"),
}


class Fitted(Model, Protocol):
    """A model that can be calibrated and saved."""

    def calibrated(self, slope: float) -> Fitted:
        """The same with all log odds times a number."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its files; returns what belongs to the facts."""


def require_packages(kind: str) -> None:
    """Raise an `InputError` where a package that a kind needs is not installed."""
    for extra in ("learned", *([TRANSFORMER] if kind == TRANSFORMER else [])):
        for package in _PACKAGES[extra]:
            if find_spec(package) is None:
                raise InputError(
                    f"a labeler of the kind {kind} needs the package {package}: "
                    f"pip install 'cxr[{extra}]'"
                )


def fit_linear(kind: str, material: Material, *, seed: int) -> Fitted:
    """Fit a model of linear heads.

    Raises:
        InputError: another kind.
    """
    one_of("--kind", "value", kind, ("bow", "hybrid"))
    return fit_bow(material, seed=seed) if kind == "bow" else fit_hybrid(material)


def load_model(folder: Path, facts: Mapping[str, Any], labeler: Labeler) -> Model:
    """Read a model of any kind.

    Raises:
        InputError: it is damaged, or of a kind that is not known.
    """
    loaders: Mapping[str, Callable[[], Model]] = {
        "bow": lambda: BowLabeler.load(folder, facts, labeler),
        "hybrid": lambda: HybridLabeler.load(folder, facts, labeler),
        TRANSFORMER: lambda: _load_transformer(folder, facts),
    }
    kind = str(facts.get("kind"))
    if kind not in loaders:
        raise InputError(f"{folder / FACTS}: kind {kind!r}; expected one of {', '.join(loaders)}")
    return loaders[kind]()


def read_model(folder: Path, labeler: Labeler) -> tuple[Model, dict[str, Any]]:
    """A model with its facts."""
    facts = read_facts(folder)
    return load_model(folder, facts, labeler), facts


def _load_transformer(folder: Path, facts: Mapping[str, Any]) -> Model:
    from cxrlabel.learned.transformer.labeler import TransformerLabeler

    return TransformerLabeler.load(folder, facts)
