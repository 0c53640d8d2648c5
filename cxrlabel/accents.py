"""Accents: letters to the form in which words are compared, "neumotórax" to "neumotorax".

Writers of some languages leave accents out, above all in capitals. Which letters lose theirs is in
the rules (`accents` in words.toml), so that a letter of its own, such as ñ, stays what it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cached_property


class AccentFolder:
    """Replaces accented letters in small and in capital form; others stay, case as well."""

    def __init__(self, accents: Iterable[tuple[str, str]] = ()) -> None:
        self._accents = dict(accents)

    def __call__(self, text: str) -> str:
        """The text without those accents; the same object where there is nothing to fold."""
        if not self._accents or text.isascii():
            return text
        # a letter and its accent may be two characters: Unicode Standard Annex 15
        return unicodedata.normalize("NFC", text).translate(self._table)

    @cached_property
    def _table(self) -> dict[int, str]:
        capitals = {letter.upper(): plain.upper() for letter, plain in self._accents.items()}
        return str.maketrans({**self._accents, **capitals})
