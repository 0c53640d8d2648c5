"""The mentions of many studies, column by column.

Equal sentences have equal mentions. A table keeps every distinct mention once, with offsets from
its sentence's start, and for each row which one it is and where its sentence stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.reading import SentenceMentions
from cxrlabel.studies import Mention
from cxrlabel.writers import Coded, Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

_OFFSETS: Final = ("start", "end", "cue_start", "cue_end")
_MISSING: Final = -1  # where there is no cue


@dataclass(frozen=True, slots=True, repr=False)
class MentionTable:
    """Rows of mentions in the order of their studies."""

    studies: list[str]  # ids
    distinct: dict[str, list[Any]]  # column -> its cell of each distinct mention
    sections: list[str]
    # [5, N] of every row: the indices of its study, its distinct mention and its section, the
    # number of its sentence in the study, and where in the text that sentence begins
    places: NDArray[np.int64]

    def columns(self) -> list[Column]:
        """The columns of a mentions file: the id, then the fields of `Mention`."""
        study, mention, section, sentence, start = self.places
        columns: dict[str, Column] = {
            name: Coded(values, mention) for name, values in self.distinct.items()
        }
        columns["section"] = Coded(self.sections, section)
        columns["sentence"] = sentence
        for name in _OFFSETS:
            columns[name] = _moved(self.distinct[name], mention, start)
        return [Coded(self.studies, study), *columns.values()]

    def counts(self, key: Callable[[Mention], tuple[str, ...]]) -> Counter[tuple[str, ...]]:
        """How often mentions with equal keys occur; a key does not depend on the place."""
        often = np.bincount(self.places[1]).tolist()
        counts: Counter[tuple[str, ...]] = Counter()
        cells = zip(*self.distinct.values(), strict=True)
        for mention, count in zip(map(Mention._make, cells), often, strict=True):
            counts[key(mention)] += count
        return counts


@dataclass(slots=True, repr=False)
class MentionCollector:
    """Gathers the sentences of study after study into a table."""

    studies: list[str] = field(default_factory=list)
    _numbers: dict[SentenceMentions, int] = field(default_factory=dict)
    _sections: dict[str, int] = field(default_factory=dict)
    _places: list[tuple[int, int, int, int, int]] = field(default_factory=list)

    def add(self, study_id: str, sentences: Iterable[tuple[SentenceMentions, str, int]]) -> None:
        """Add a study by its sentences in order, each with its section and where it begins."""
        study = len(self.studies)
        self.studies.append(study_id)
        numbers, sections, places = self._numbers, self._sections, self._places
        for index, (said, section, start) in enumerate(sentences):
            if said.mentions:
                number = numbers.setdefault(said, len(numbers))
                code = sections.setdefault(section, len(sections))
                places.append((study, number, code, index, start))

    def add_mentions(self, study_id: str, mentions: Iterable[Mention]) -> None:
        """Add a study by mentions that have their places already."""
        study = len(self.studies)
        self.studies.append(study_id)
        for mention in mentions:
            number = len(self._numbers)
            self._numbers[SentenceMentions((mention,))] = number
            code = self._sections.setdefault(mention.section, len(self._sections))
            self._places.append((study, number, code, mention.sentence, 0))

    def table(self) -> MentionTable:
        """All that has been added."""
        places = np.array(self._places, np.int64).reshape(-1, 5)
        sizes = np.array([len(said.mentions) for said in self._numbers], np.int64)
        first = np.cumsum(sizes) - sizes  # of each sentence: the number of its first mention
        often = sizes[places[:, 1]]
        rows = np.repeat(places, often, axis=0)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(often) - often, often)
        rows[:, 1] = first[rows[:, 1]] + within
        distinct = _by_column([m for said in self._numbers for m in said.mentions])
        return MentionTable(self.studies, distinct, list(self._sections), rows.T)


def _moved(offsets: Sequence[int | None], mention: Integers, start: Integers) -> Column:
    """Offsets from the starts of sentences as offsets into the texts."""
    known = np.array([_MISSING if offset is None else offset for offset in offsets], np.int64)
    within = known[mention]
    if _MISSING not in known:
        return within + start
    return np.ma.masked_array(within + start, within == _MISSING)


def _by_column(mentions: Sequence[Mention]) -> dict[str, list[Any]]:
    columns = zip(*mentions, strict=True) if mentions else ([] for _ in Mention._fields)
    return dict(zip(Mention._fields, map(list, columns), strict=True))
