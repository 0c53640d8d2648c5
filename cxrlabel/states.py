"""Labels of many studies as arrays, by the rules that `studies` has for one.

A finding of a study has one bit for each assertion that a mention made of it. A study's findings
together are one integer with a byte for each, so that what its sentences say is combined by "or".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cxrlabel.findings import BLANK, NO_FINDING, POSITIVE, STATES, UNCERTAIN
from cxrlabel.studies import BITS, OPEN, Mention, harmless, state_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODE: Final = {state: index for index, state in enumerate(STATES)}
_P, _U, _B = _CODE[POSITIVE], _CODE[UNCERTAIN], _CODE[BLANK]


class FindingBits:
    """The bits of all findings of a study in one integer, and the labels of many studies.

    Args:
        findings: those that have labels, in order.
        others: further names that mentions may have.
        others_block: as in `study_labels`.
    """

    def __init__(
        self, findings: Sequence[str], others: Iterable[str], *, others_block: bool = True
    ) -> None:
        self.findings = tuple(findings)
        names = (*findings, *(name for name in others if name not in findings))
        self.width = len(names)  # bytes
        self._shift = {name: 8 * index for index, name in enumerate(names)}
        ignored = harmless(others_block=others_block)
        self._blocking = [i for i, name in enumerate(names) if name not in ignored]

    def of(self, mentions: Iterable[Mention]) -> int:
        """What mentions assert; "none" has no bit."""
        bits = 0
        for mention in mentions:
            bits |= BITS.get(mention.assertion, 0) << self._shift[mention.finding]
        return bits

    def labels(
        self, studies: Sequence[int], silent: NDArray[np.bool_], aggregate: str
    ) -> NDArray[np.uint8]:
        """Labels of studies.

        Args:
            studies: the bits of each; bits behind those of the findings do not count.
            silent: [N] whether a study says nothing, so that No Finding is blank as well.
            aggregate: one of `AGGREGATES`.

        Returns:
            [N, F], each an index into `STATES`.
        """
        whole = (1 << 8 * self.width) - 1
        content = b"".join((bits & whole).to_bytes(self.width, "little") for bits in studies)
        bits = np.frombuffer(content, np.uint8).reshape(len(studies), self.width)
        table = np.array([_CODE[state_of(value, aggregate)] for value in range(8)], np.uint8)
        labels = table[bits[:, : len(self.findings)]]
        if NO_FINDING in self.findings:
            blocked = silent | (bits[:, self._blocking] & OPEN).any(axis=1)
            labels[:, self.findings.index(NO_FINDING)] = np.where(blocked, _B, _P)
        return labels


def fill_parents(
    labels: NDArray[np.uint8], findings: Sequence[str], parents: Mapping[str, str]
) -> int:
    """Fill parents from their children in place; returns how many labels were changed.

    A positive child makes its parent positive; an uncertain one a blank parent uncertain.

    Args:
        labels: [N, F], each an index into `STATES`.
        findings: the names of the columns.
        parents: child -> parent, children before their parents' own entries.
    """
    columns = {name: labels[:, index] for index, name in enumerate(findings)}
    changed = 0
    for child, parent in parents.items():
        if child not in columns or parent not in columns:
            continue
        state, old = columns[child], columns[parent]
        filled = (old != _P) & ((state == _P) | ((state == _U) & (old == _B)))
        old[filled] = state[filled]
        changed += int(filled.sum())
    return changed


def as_codes(results: Iterable[Mapping[str, str]]) -> NDArray[np.uint8]:
    """[N, F] labels of studies, each an index into `STATES`, from mappings of equal keys."""
    return np.array([[_CODE[state] for state in labels.values()] for labels in results], np.uint8)
