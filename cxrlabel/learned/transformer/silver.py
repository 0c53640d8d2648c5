"""Silver labels: reports labeled by the rules, and new reports made of their sentences.

The rules label as many reports as one likes. New ones are made by drawing sentences from different
reports; those that say something rare come as often as common ones, so that a network sees enough
of what hospitals seldom write. Sentences stay as they are, and are analysed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cxrlabel.findings import NO_FINDING
from cxrlabel.reading import Reading
from cxrlabel.studies import LABELED, NONE

if TYPE_CHECKING:
    from cxrlabel.labeler import Labeler
    from cxrlabel.reading import Said

_RARE: Final = 0.5  # share of the sentences that are drawn by what they say
_IMPRESSION: Final = "impression"  # comes last

T = TypeVar("T")


def recombine(
    labeler: Labeler, readings: Sequence[Reading], count: int, rng: np.random.Generator
) -> list[Reading]:
    """New readings with as many sentences as the given ones have.

    Args:
        readings: with a label each.
        count: how many to make.
    """
    sentences: list[tuple[Said, str]] = []
    sizes: list[int] = []
    by_saying: dict[tuple[str, str], list[int]] = defaultdict(list)
    known: dict[tuple[Said, str], int] = {}
    for reading in readings:
        own = [(said, section) for said, section, _ in reading.sentences if said.labels]
        sizes.append(len(own))
        for said, section in own:
            if (said, section) in known:
                continue
            known[said, section] = len(sentences)
            for mention in said.mentions:
                if mention.assertion != NONE and mention.finding != NO_FINDING:
                    by_saying[mention.finding, mention.assertion].append(len(sentences))
            sentences.append((said, section))
    sayings = list(by_saying.values())
    made = []
    for _ in range(count):
        size = max(_any(sizes, rng), 1)
        drawn = [
            _any(_any(sayings, rng), rng)
            if sayings and rng.random() < _RARE
            else _any(range(len(sentences)), rng)
            for _ in range(size)
        ]
        chosen = sorted((sentences[i] for i in drawn), key=lambda one: one[1] == _IMPRESSION)
        made.append(_reading(labeler, chosen))
    return made


def _any(values: Sequence[T], rng: np.random.Generator) -> T:
    return values[int(rng.integers(len(values)))]


def _reading(labeler: Labeler, sentences: Sequence[tuple[Said, str]]) -> Reading:
    sections = tuple(dict.fromkeys(section for _, section in sentences))
    start = 0
    placed = []
    for said, section in sentences:
        placed.append((said, section, start))
        start += len(said.text) + 1
    whole = Reading(LABELED, sections, placed, 0)
    return labeler.without(whole, -1)  # with the bits of its sentences
