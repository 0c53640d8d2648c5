"""Features of the statistical labeler: n-grams, topics and embeddings, after Zech et al. 2018.

All three are learned from the reports themselves: nothing is downloaded. Topics are those of latent
Dirichlet allocation; the embedding of a word is a row of the truncated decomposition of the
positive pointwise mutual information of words in a window (Levy and Goldberg 2014), and that of a
report the mean over its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxrlabel.learned.features import SEPARATOR, WORDS, ngrams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlabel.reading import Reading

    Floats = NDArray[np.float64]
    Matrix = Any  # scipy.sparse.csr_matrix, which has no types

LONGEST: Final = 3  # words of an n-gram
TOPICS: Final = 20
DIMENSIONS: Final = 50  # of an embedding
_WINDOW: Final = 4  # words to each side
_TOPIC_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class WordFeatures:
    """What turns readings into numbers: n-grams of the vocabulary, topics, embeddings.

    A column of n-grams is 1 where a report has it. The topics of a report add to 1; embeddings are
    of unit length on average.
    """

    vocabulary: tuple[str, ...]
    topics: Floats  # [T, single words]: pseudocounts of the words of each topic
    embeddings: Floats  # [single words, E]

    @property
    def singles(self) -> NDArray[np.int64]:
        """The columns of the vocabulary that are one word."""
        return _singles(self.vocabulary)

    def matrix(self, readings: Sequence[Reading]) -> Matrix:
        """[N, vocabulary + topics + embeddings] of readings."""
        from scipy.sparse import csr_matrix, hstack

        counts = count_ngrams(readings, self.vocabulary)
        words = counts[:, self.singles]
        present = counts.copy()
        present.data[:] = 1
        parts = [present]
        if len(self.topics):
            parts.append(csr_matrix(_topic_model(self.topics, seed=0).transform(words)))
        if self.embeddings.shape[1]:
            often = np.maximum(np.asarray(words.sum(axis=1)), 1)
            parts.append(csr_matrix((words @ self.embeddings) / often))
        return hstack(parts, format="csr")


def learn_words(
    readings: Sequence[Reading], vocabulary: tuple[str, ...], *, seed: int
) -> WordFeatures:
    """Learn topics and embeddings.

    Args:
        vocabulary: the n-grams that count, as `features.make_vocabulary` chooses them.
        seed: of both.
    """
    singles = _singles(vocabulary)
    if len(singles) <= DIMENSIONS or len(readings) <= TOPICS:  # too little to learn either from
        return WordFeatures(vocabulary, np.zeros((0, len(singles))), np.zeros((len(singles), 0)))
    words = count_ngrams(readings, vocabulary)[:, singles]
    from sklearn.decomposition import LatentDirichletAllocation, TruncatedSVD

    topics = LatentDirichletAllocation(TOPICS, max_iter=_TOPIC_ROUNDS, random_state=seed)
    topics.fit(words)
    decomposition = TruncatedSVD(DIMENSIONS, random_state=seed)
    embeddings = decomposition.fit_transform(_mutual_information(readings, vocabulary, singles))
    length = np.sqrt((embeddings**2).sum(axis=1).mean())
    return WordFeatures(vocabulary, topics.components_, embeddings / max(length, 1e-12))


def reading_ngrams(reading: Reading) -> list[str]:
    """All n-grams of the sentences that make labels, as often as they occur."""
    return [
        name
        for said, _, _ in reading.sentences
        if said.labels
        for name in ngrams(said.text, LONGEST)
    ]


def count_ngrams(readings: Iterable[Reading], vocabulary: Sequence[str]) -> Matrix:
    """[N, vocabulary] how often each occurs."""
    from scipy.sparse import csr_matrix

    columns = {name: column for column, name in enumerate(vocabulary)}
    indices: list[int] = []
    ends = [0]
    for reading in readings:
        indices += [columns[name] for name in reading_ngrams(reading) if name in columns]
        ends.append(len(indices))
    shape = len(ends) - 1, len(columns)
    matrix = csr_matrix((np.ones(len(indices)), indices, ends), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _singles(vocabulary: Sequence[str]) -> NDArray[np.int64]:
    start = len(WORDS + SEPARATOR)
    return np.array([i for i, name in enumerate(vocabulary) if " " not in name[start:]], np.int64)


def _topic_model(components: Floats, *, seed: int) -> Any:
    """A fitted model of these topics, as `LatentDirichletAllocation.fit` leaves it."""
    from scipy.special import psi
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(len(components), random_state=seed)
    model.components_ = components
    # the expectation of log word probabilities in a topic: Hoffman et al. 2010, eq. 6
    model.exp_dirichlet_component_ = np.exp(
        psi(components) - psi(components.sum(axis=1, keepdims=True))
    )
    model.doc_topic_prior_ = 1 / len(components)
    model.topic_word_prior_ = 1 / len(components)
    model.n_features_in_ = components.shape[1]
    model.n_batch_iter_ = model.n_iter_ = 1
    return model


def _mutual_information(
    readings: Iterable[Reading], vocabulary: Sequence[str], singles: NDArray[np.int64]
) -> Matrix:
    """[words, words] positive pointwise mutual information of words near each other."""
    from scipy.sparse import coo_matrix

    start = len(WORDS + SEPARATOR)
    place: Mapping[str, int] = {vocabulary[i][start:]: n for n, i in enumerate(singles.tolist())}
    rows: list[int] = []
    columns: list[int] = []
    for reading in readings:
        for said, _, _ in reading.sentences:
            if not said.labels:
                continue
            names = (name[start:] for name in ngrams(said.text, 1))
            words = [place[name] for name in names if name in place]
            for shift in range(1, _WINDOW + 1):
                rows += words[:-shift] + words[shift:]
                columns += words[shift:] + words[:-shift]
    shape = len(singles), len(singles)
    pairs = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    pairs.sum_duplicates()
    often = np.asarray(pairs.sum(axis=1)).ravel()
    expected = often[pairs.row] * often[pairs.col] / max(often.sum(), 1)
    pairs.data = np.maximum(np.log(pairs.data / expected), 0)
    return pairs.tocsr()
