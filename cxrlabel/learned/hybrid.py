"""The hybrid labeler: the rules as a starting point, corrected by what reviewers said.

A finding's head begins with log P(reviewed state | state that the rules found), pooled over all
findings, and adds what its features say: the finding's own mentions with their rule, words, cue,
section and attributes, what was found of others, and words. The ridge penalty is that of a normal
prior whose spread is greatest for the finding's own mentions and smallest for words, so that a few
hundred reviewed reports teach a local convention ("this reviewer does not call a granuloma a
nodule") before any word counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.learned.classes import told_apart
from cxrlabel.learned.features import FeatureMatrix, make_vocabulary, owner
from cxrlabel.learned.heads import Heads, join_heads
from cxrlabel.learned.material import pooled_table
from cxrlabel.learned.softmax import fit_softmax
from cxrlabel.learned.storage import read_heads, read_vocabulary, write_heads, write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler
    from cxrlabel.learned.material import Material
    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]

KIND: Final = "hybrid"
_LEAST: Final = 2  # groups of reports that must have a feature


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """How far features may move the log odds: standard deviations of a normal prior.

    Chosen by cross-validation on reviewed reports; results hardly differ within a factor of two.
    """

    own: float = 1.5  # the finding's label and mentions
    others: float = 0.3  # those of other findings
    words: float = 0.2
    longest: int = 2  # words of an n-gram


class HybridLabeler:
    """Rules, corrected."""

    kind = KIND

    def __init__(
        self, labeler: Labeler, vocabulary: Sequence[str], heads: Heads, *, longest: int
    ) -> None:
        self._labeler = labeler
        self.heads = heads
        self.vocabulary = tuple(vocabulary)
        self.longest = longest
        self._matrix = FeatureMatrix(labeler, vocabulary, longest=longest)
        self._columns = [labeler.findings.index(name) for name in heads.findings]

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it has learned."""
        return self.heads.findings

    def calibrated(self, slope: float) -> HybridLabeler:
        """The same with all log odds times a number."""
        heads = replace(self.heads, slope=slope)
        return HybridLabeler(self._labeler, self.vocabulary, heads, longest=self.longest)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its files; returns what belongs to the facts."""
        write_vocabulary(folder, self.vocabulary)
        return {**write_heads(folder, self.heads), "longest": self.longest}

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], labeler: Labeler) -> HybridLabeler:
        """Read what `save` wrote."""
        heads, _ = read_heads(folder, facts)
        return cls(labeler, read_vocabulary(folder), heads, longest=facts["longest"])

    def probs(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> Floats:
        """[N, findings, 4] probability of each of STATES.

        Args:
            readings: N of them, by the labeler that this one was made with.
            rules: [N, F] what the rules found, each an index into STATES.
        """
        return self.heads.probs(self._matrix(readings, rules), rules[:, self._columns])


def fit_hybrid(material: Material, settings: HybridSettings | None = None) -> HybridLabeler:
    """Learn from reviewed reports; the same reports give the same labeler.

    Findings with too few reviewed reports (`told_apart`) are left to the rules.
    """
    chosen = settings or HybridSettings()
    labeler, reviewed = material.labeler, material.reviewed
    names = material.feature_names(longest=chosen.longest)
    vocabulary = make_vocabulary(names, reviewed.groups.tolist(), least=_LEAST)
    features = FeatureMatrix(labeler, vocabulary, longest=chosen.longest)(
        material.readings, material.rules
    ).astype(np.float64)
    owners = np.array([owner(name) for name in vocabulary], dtype=object)
    table = pooled_table(material)
    findings, classes, fitted = [], [], []
    for column, finding in enumerate(reviewed.findings):
        shares = reviewed.shares[:, column]
        own = told_apart(shares.sum(axis=0), reviewed.used)
        if own is None:
            continue
        spread = np.where(
            owners == finding, chosen.own, np.where(owners == "", chosen.words, chosen.others)
        )
        offsets = np.log(own.merge(table)).T  # [K, 4]
        found = material.rules[:, labeler.findings.index(finding)]
        weights, biases = fit_softmax(
            features, own.merge(shares), offsets[:, found].T, spread**-2.0
        )
        findings.append(finding)
        classes.append(own)
        fitted.append((weights, biases, offsets))
    heads = join_heads(findings, classes, fitted, len(vocabulary))
    return HybridLabeler(labeler, vocabulary, heads, longest=chosen.longest)
