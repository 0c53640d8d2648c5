"""Starting the rule labeler without loading torch.

spaCy's backend imports torch when it is installed, which takes seconds, and the rules never use it.
A process that is ours alone, the command line or its workers, may hide torch while spaCy is
imported; a library import must not, since it would take torch from its caller's spaCy.
"""

from __future__ import annotations

import sys


def import_spacy_without_torch() -> None:
    """Import spaCy as on a machine without torch; nothing where either is loaded already."""
    if "torch" in sys.modules or "spacy" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # makes `import torch` fail
    try:
        import spacy  # noqa: F401
    finally:
        del sys.modules["torch"]
