"""Reports as windows of tokens: long ones are read in parts, none is cut off.

A window holds whole sentences, and whole sections where they fit. Only a sentence that is longer
than a window is split. What windows say is put together as what mentions say is: positive before
uncertain before negative before blank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cxrlabel.reading import Reading

Tokenize = Callable[[str], list[int]]  # without the tokens for start and end
_MOST_SENTENCES: Final = 200_000  # whose tokens are kept


class Windows:
    """Cuts readings into windows.

    Args:
        tokenize: text to token ids.
        start, end: the ids that a window begins and ends with.
        longest: tokens of a window, `start` and `end` included; at least 8.
        named: whether a section begins with its name, as in "findings:".
    """

    def __init__(
        self, tokenize: Tokenize, *, start: int, end: int, longest: int, named: bool
    ) -> None:
        self._tokenize = tokenize
        self._start, self._end = start, end
        self._room = longest - 2
        self._named = named
        self._known: dict[str, list[int]] = {}

    def __call__(self, reading: Reading) -> list[list[int]]:
        """The windows of a reading, at least one; sentences that make no label are not read."""
        windows: list[list[int]] = [[]]
        for section, sentences in self._sections(reading):
            size = sum(map(len, sentences))
            if windows[-1] and len(windows[-1]) + size > self._room >= size:
                windows.append([])
            for tokens in sentences:
                for piece in self._pieces(tokens):
                    if len(windows[-1]) + len(piece) > self._room:
                        windows.append(list(self._name(section)))
                    windows[-1] += piece
        return [[self._start, *window, self._end] for window in windows]

    def _sections(self, reading: Reading) -> Iterator[tuple[str, list[list[int]]]]:
        """Each stretch of one section as the tokens of its name and sentences."""
        said = ((section, one.text) for one, section, _ in reading.sentences if one.labels)
        for section, texts in groupby(said, key=lambda pair: pair[0]):
            sentences = [self._ids(text) for _, text in texts]
            name = self._name(section)
            if name and sentences:
                sentences[0] = [*name, *sentences[0]]
            yield section, sentences

    def _name(self, section: str) -> Sequence[int]:
        return self._ids(f"{section}:") if self._named and section else ()

    def _pieces(self, tokens: list[int]) -> Iterator[list[int]]:
        for start in range(0, len(tokens), self._room):
            yield tokens[start : start + self._room]

    def _ids(self, text: str) -> list[int]:
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _MOST_SENTENCES:
                self._known.clear()
            found = self._known[text] = self._tokenize(" ".join(text.split()))
        return found
