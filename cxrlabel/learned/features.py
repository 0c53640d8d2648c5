"""What a learned labeler sees of a report: what the rules found, and words.

Features are present or absent. Their names are kept with a model, so that a model can be read:

    state | Edema | uncertain             the label that the rules give
    rule | Edema | positive | edema/fluid-overload      a mention: rule, words, cue, section …
    words | no focal                      words that follow each other in a sentence

A sentence has the same features wherever it stands, so that those of one seen before are only
looked up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.findings import STATES
from cxrlabel.studies import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler
    from cxrlabel.reading import Reading, Said
    from cxrlabel.studies import Mention

    Matrix = Any  # scipy.sparse.csr_matrix, which has no types

SEPARATOR: Final = " | "
STATE: Final = "state"
WORDS: Final = "words"
_ATTRIBUTES: Final = ("laterality", "severity", "temporality", "location")
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_START: Final = "<s>"
_NUMBER: Final = "0"
_MOST_SENTENCES: Final = 200_000  # whose features are kept


class ReportFeatures:
    """The features of readings.

    Args:
        labeler: the one that made the readings.
        longest: the most words of an n-gram; 0 leaves words out.
    """

    def __init__(self, labeler: Labeler, *, longest: int = 2) -> None:
        self._labeler = labeler
        self._longest = longest

    def names(self, reading: Reading, rules: Sequence[int]) -> set[str]:
        """All features of a reading.

        Args:
            rules: what the rules found of each finding, each an index into `STATES`.
        """
        names = {
            state_name(finding, STATES[code])
            for finding, code in zip(self._labeler.findings, rules, strict=True)
        }
        for sentence in self.sentences(reading):
            names.update(sentence)
        return names

    def sentences(self, reading: Reading) -> Iterator[list[str]]:
        """The features of each sentence: its words, and its mentions by themselves."""
        if self._labeler.is_plain(reading):
            for said, section, _ in reading.sentences:
                yield [*self.words(said), *self.mentions(said.mentions, section)]
            return
        for said, _, _ in reading.sentences:
            yield self.words(said)
        for mention in self._labeler.conclude(reading).mentions:
            yield self.mentions([mention], mention.section)

    def mentions(self, mentions: Iterable[Mention], section: str) -> list[str]:
        """What mentions in a section are made of."""
        return [name for mention in mentions for name in _mention_names(mention, section)]

    def words(self, said: Said) -> list[str]:
        """The words of a sentence, where it makes labels."""
        return list(ngrams(said.text, self._longest)) if said.labels else []


class FeatureMatrix:
    """Readings as rows of a sparse matrix whose columns are a vocabulary."""

    def __init__(self, labeler: Labeler, vocabulary: Sequence[str], *, longest: int) -> None:
        self._features = ReportFeatures(labeler, longest=longest)
        self._labeler = labeler
        self._column = {name: column for column, name in enumerate(vocabulary)}
        self._states = np.array(
            [
                [self._column.get(state_name(finding, state), -1) for state in STATES]
                for finding in labeler.findings
            ],
            np.int32,
        )
        self._known: dict[tuple[Said, str], NDArray[np.int32]] = {}

    def __call__(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> Matrix:
        """[N, vocabulary] 1 where a reading has a feature.

        Args:
            rules: [N, F] what the rules found, each an index into `STATES`.
        """
        from scipy.sparse import csr_matrix

        states = self._states[np.arange(rules.shape[1]), rules]
        parts, lengths = [], []
        for reading, own in zip(readings, states, strict=True):
            found = [*self._of(reading), own[own >= 0]]
            parts += found
            lengths.append(sum(map(len, found)))
        indices = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        shape = len(readings), len(self._column)
        matrix = csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def _of(self, reading: Reading) -> list[NDArray[np.int32]]:
        if self._labeler.is_plain(reading):
            return [self._sentence(said, section) for said, section, _ in reading.sentences]
        return [self._columns(names) for names in self._features.sentences(reading)]

    def _sentence(self, said: Said, section: str) -> NDArray[np.int32]:
        found = self._known.get((said, section))
        if found is None:
            names = [*self._features.words(said), *self._features.mentions(said.mentions, section)]
            if len(self._known) >= _MOST_SENTENCES:
                self._known.clear()
            found = self._known[said, section] = self._columns(names)
        return found

    def _columns(self, names: Iterable[str]) -> NDArray[np.int32]:
        columns = self._column
        return np.array([columns[name] for name in names if name in columns], np.int32)


def make_vocabulary(
    names: Iterable[set[str]], groups: Iterable[int], *, least: int
) -> tuple[str, ...]:
    """The features that enough groups of reports have, sorted.

    Args:
        names: the features of each report.
        groups: of each report; equal numbers count once.
        least: groups that must have a feature; one report's own wording is never kept.
    """
    of_group: dict[int, set[str]] = {}
    for own, group in zip(names, groups, strict=True):
        of_group.setdefault(group, set()).update(own)
    counts: Counter[str] = Counter()
    for own in of_group.values():
        counts.update(own)
    return tuple(sorted(name for name, count in counts.items() if count >= least))


def owner(name: str) -> str:
    """The finding that a feature is about; "" for words."""
    kind, _, rest = name.partition(SEPARATOR)
    return "" if kind == WORDS else rest.partition(SEPARATOR)[0]


def ngrams(text: str, longest: int) -> Iterator[str]:
    """The n-grams of a sentence of 1 to `longest` words, as features; numbers are alike."""
    words = [_START, *(_NUMBER if w[0].isdecimal() else w for w in _WORD.findall(text.casefold()))]
    for size in range(1, longest + 1):
        for start in range(size == 1, len(words) - size + 1):
            yield f"{WORDS}{SEPARATOR}{' '.join(words[start : start + size])}"


def state_name(finding: str, state: str) -> str:
    """The feature that the rules found a state."""
    return SEPARATOR.join((STATE, finding, state))


def _mention_names(mention: Mention, section: str) -> Iterator[str]:
    finding, assertion = mention.finding, mention.assertion
    if assertion == NONE:
        yield SEPARATOR.join(("unlabeled", finding, mention.reason))
        return
    values: Mapping[str, str] = {
        "rule": mention.rule,
        "text": _plain(mention.text),
        "cue": f"{mention.reason} {_plain(mention.cue)}".strip(),
        "section": section,
        **{name: value for name in _ATTRIBUTES if (value := getattr(mention, name))},
    }
    for kind, value in values.items():
        yield SEPARATOR.join((kind, finding, assertion, value))


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))
