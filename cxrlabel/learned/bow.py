"""The statistical labeler: words alone, by elastic-net logistic regression; Zech et al. 2018.

It knows nothing of the rules but which sentences make labels. The strength of the penalty is chosen
on groups of reports that are left out, one for all findings, because most findings have few
positive reports to choose by.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.findings import BLANK, STATES
from cxrlabel.learned.classes import told_apart
from cxrlabel.learned.features import make_vocabulary
from cxrlabel.learned.heads import Heads, join_heads
from cxrlabel.learned.reviewed import grouped_folds
from cxrlabel.learned.storage import read_heads, read_vocabulary, write_heads, write_vocabulary
from cxrlabel.learned.words import WordFeatures, learn_words, reading_ngrams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlabel.labeler import Labeler
    from cxrlabel.learned.classes import Classes
    from cxrlabel.learned.material import Material
    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]
    Matrix = Any

KIND: Final = "bow"
_LEAST: Final = 3  # groups of reports that must have an n-gram
STRENGTHS: Final = (1.0, 4.0, 16.0)  # inverse, as of scikit-learn
L1_SHARE: Final = 0.3  # of the penalty that is absolute; the rest is quadratic
_ROUNDS: Final = 60
_FOLDS: Final = 3
_CHOSEN_BY: Final = 6  # findings, the most frequent ones: rare ones say little and cost as much


class BowLabeler:
    """Words alone."""

    kind = KIND

    def __init__(self, words: WordFeatures, heads: Heads) -> None:
        self.words = words
        self.heads = heads

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it has learned."""
        return self.heads.findings

    def calibrated(self, slope: float) -> BowLabeler:
        """The same with all log odds times a number."""
        return BowLabeler(self.words, replace(self.heads, slope=slope))

    def probs(self, readings: Sequence[Reading], rules: NDArray[np.uint8]) -> Floats:
        """[N, findings, 4] probability of each of STATES; what the rules found does not count."""
        blank = np.full((len(rules), len(self.findings)), STATES.index(BLANK), np.uint8)
        return self.heads.probs(self.words.matrix(readings), blank)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its files; returns what belongs to the facts."""
        write_vocabulary(folder, self.words.vocabulary)
        more = {"topics": self.words.topics, "embeddings": self.words.embeddings}
        return write_heads(folder, self.heads, more)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], labeler: Labeler) -> BowLabeler:
        """Read what `save` wrote."""
        heads, more = read_heads(folder, facts)
        words = WordFeatures(read_vocabulary(folder), more["topics"], more["embeddings"])
        return cls(words, heads)


def fit_bow(material: Material, *, seed: int = 0) -> BowLabeler:
    """Learn from reviewed reports.

    Findings with too few reviewed reports (`told_apart`) are left out.

    Args:
        seed: of topics, embeddings, folds and the solver.
    """
    reviewed = material.reviewed
    names = [set(reading_ngrams(reading)) for reading in material.readings]
    vocabulary = make_vocabulary(names, reviewed.groups.tolist(), least=_LEAST)
    words = learn_words(material.readings, vocabulary, seed=seed)
    features = words.matrix(material.readings)
    learned = {
        finding: own
        for column, finding in enumerate(reviewed.findings)
        if (own := told_apart(reviewed.shares[:, column].sum(axis=0), reviewed.used)) is not None
    }
    columns = [reviewed.findings.index(name) for name in learned]
    targets = [
        own.merge(reviewed.shares[:, column]).argmax(axis=1)
        for column, own in zip(columns, learned.values(), strict=True)
    ]
    strength = _choose_strength(features, targets, reviewed.groups, seed)
    fitted = [
        _fit_head(features, target, own, strength, seed)
        for target, own in zip(targets, learned.values(), strict=True)
    ]
    heads = join_heads(tuple(learned), tuple(learned.values()), fitted, features.shape[1])
    return BowLabeler(words, heads)


def _choose_strength(
    features: Matrix, targets: Sequence[NDArray[np.int64]], groups: NDArray[np.int64], seed: int
) -> float:
    """The strength with the least log loss on reports that were left out."""
    folds = grouped_folds(groups, _FOLDS, np.random.default_rng(seed))
    out = folds == 0  # one of them is enough for one number
    targets = sorted(targets, key=lambda target: int((target == 0).sum()))[-_CHOSEN_BY:]
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for target in targets:
            if len(np.unique(target[~out])) < 2:
                continue
            model = _regression(strength, seed).fit(features[~out], target[~out])
            logs = np.log(np.clip(model.predict_proba(features[out]), 1e-6, 1))
            place = {value: number for number, value in enumerate(model.classes_.tolist())}
            loss -= sum(
                logs[row, place[value]] if value in place else np.log(1e-6)
                for row, value in enumerate(target[out].tolist())
            )
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _fit_head(
    features: Matrix, target: NDArray[np.int64], own: Classes, strength: float, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Weights, biases and offsets of a finding, one column for each class."""
    model = _regression(strength, seed).fit(features, target)
    weights = np.zeros((features.shape[1], len(own.names)))
    biases = np.full(len(own.names), -np.inf)
    if len(model.classes_) == 2:  # one column: the log odds of the second class
        found, intercepts = np.vstack([0 * model.coef_, model.coef_]), [0.0, *model.intercept_]
    else:
        found, intercepts = model.coef_, list(model.intercept_)
    for row, number in enumerate(model.classes_.tolist()):
        weights[:, number], biases[number] = found[row], intercepts[row]
    biases[np.isinf(biases)] = -30.0  # a class that is nobody's likeliest reading
    return weights, biases, np.zeros((len(own.names), len(STATES)))


def _regression(strength: float, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # the last digits of the weights do not matter: the penalty was chosen from three values
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    return LogisticRegression(
        C=strength, l1_ratio=L1_SHARE, solver="saga", max_iter=_ROUNDS, tol=1e-3, random_state=seed
    )
