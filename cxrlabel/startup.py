"""Starting the rule labeler without what its rules never use.

spaCy imports torch where that is installed, and a command line of its own with HTTP clients:
seconds together. A process that is ours alone, the command line or its workers, may hide them while
spaCy is imported; a library import must not, since it would take them from its caller's spaCy.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final

_HIDDEN: Final = "torch"
_EMPTIED: Final = ("spacy.cli", "spacy.cli.info")  # spaCy's package takes `info` from there


def import_spacy_alone() -> None:
    """Import spaCy without torch and its command line; nothing where spaCy or torch is loaded."""
    if _HIDDEN in sys.modules or "spacy" in sys.modules:
        return
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]  # makes `import torch` fail
    for name in _EMPTIED:
        sys.modules[name] = ModuleType(name)
    sys.modules[_EMPTIED[-1]].info = _info  # type: ignore[attr-defined]
    try:
        import spacy  # noqa: F401
    finally:
        for name in (_HIDDEN, *_EMPTIED):  # who wants them later gets the real ones
            del sys.modules[name]


def _info(*args: Any, **kwargs: Any) -> Any:
    """`spacy.info`, from the real place when it is called."""
    from spacy.cli.info import info

    return info(*args, **kwargs)
