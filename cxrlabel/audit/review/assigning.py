"""Who reads which study, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from random import Random

from cxrlabel.errors import InputError


def assign(
    studies: Sequence[str], reviewers: Sequence[str], *, double: float, seed: int
) -> dict[str, list[str]]:
    """Share studies out: each to one reviewer, a chosen share of them to two.

    Reviewers get equal numbers, give or take one or two, and every pair of reviewers equally many
    studies in common. Each list is in an order of its own, in which nothing tells a study that two
    people read.

    Args:
        studies: distinct ids; their order does not matter.
        reviewers: distinct names.
        double: share of the studies that two reviewers read, 0 to 1, rounded to whole studies.
        seed: equal seeds give equal lists.

    Returns:
        Reviewer -> ids in the order of reading.

    Raises:
        InputError: no reviewer, a name twice, or `double` is no share or needs a second reviewer.
    """
    _check(reviewers, double)
    random = Random(seed)
    shuffled = sorted(studies)
    random.shuffle(shuffled)
    cut = round(double * len(shuffled))
    lists: dict[str, list[str]] = {name: [] for name in reviewers}
    pairs = list(combinations(reviewers, 2))
    random.shuffle(pairs)
    for number, study in enumerate(shuffled[:cut]):
        for name in pairs[number % len(pairs)]:
            lists[name].append(study)
    loads = Counter({name: len(listed) for name, listed in lists.items()})
    for study in shuffled[cut:]:
        name = min(reviewers, key=lambda reviewer: loads[reviewer])
        loads[name] += 1
        lists[name].append(study)
    for name, listed in lists.items():
        Random(f"{seed}/{name}").shuffle(listed)
    return lists


def _check(reviewers: Sequence[str], double: float) -> None:
    if not reviewers:
        raise InputError("--reviewer: no name given; expected one or more")
    twice = [name for name, count in Counter(reviewers).items() if count > 1]
    if twice:
        raise InputError(f"--reviewer: {twice[0]!r} is given twice; expected distinct names")
    if not 0 <= double <= 1:
        raise InputError(f"--double: {double} is not a share; expected 0 to 1")
    if double and len(reviewers) < 2:
        raise InputError("--double: one reviewer cannot read twice; expected two or more reviewers")
