"""Sentences to tokens, and words to the form in which they are compared.

A token is a word, a number or a mark. De-identification marks and the hyphens inside words vanish,
so that "air-space", "air space" and "XXXX air space" are the same two tokens; each token remembers
where it stood. Its text is without the accents that the rules name; its `norm_` is the word folded:
lower case, our spelling, singular, close misspellings corrected towards the words of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from spacy.tokens import Doc
from spacy.vocab import Vocab

from cxrlabel.accents import AccentFolder
from cxrlabel.rulerecords import Words

NORMS: Final = "norms"  # key in doc.user_data: the folded word of each token
OFFSETS: Final = "token_offsets"  # key in doc.user_data: [(start, end)] of each token

# a letter's accent may be a character of its own
_LETTERS: Final = r"[^\W\d_]+(?:[\u0300-\u036f]+[^\W\d_]*)*"
_TOKEN: Final = re.compile(rf"{_LETTERS}(?:['’]{_LETTERS})?|\d+(?:[.,]\d+)*|[^\w\s]")
_FUZZY_LENGTH: Final = 8  # shorter words have too many neighbours
_FUZZY_FAR_LENGTH: Final = 11  # two edits from here on


class WordFolder:
    """Folds a word towards the vocabulary of the rules; results are remembered."""

    def __init__(self, vocabulary: Iterable[str], words: Words) -> None:
        unaccented = AccentFolder(words.accents)
        self._vocabulary = {unaccented(word.lower()) for word in vocabulary}
        self._plurals = words.plurals
        self._spellings = words.spellings
        self._keep = frozenset(map(unaccented, words.keep))
        self._known = {unaccented(k): unaccented(v) for k, v in words.misspellings.items()}
        self._by_initial: dict[str, list[str]] = {}
        for word in sorted(self._vocabulary):
            if len(word) >= _FUZZY_LENGTH:
                self._by_initial.setdefault(word[0], []).append(word)

    def __call__(self, word: str) -> str:
        """The folded form; an unknown word comes back in lower case."""
        lower = word.lower()
        folded = self._known.get(lower)
        if folded is None:
            folded = self._known[lower] = self._fold(lower)
        return folded

    def _fold(self, word: str) -> str:
        for spelled in (word, *self._respelled(word)):
            singular = self._singular(spelled)
            if singular is not None:
                return singular
            if spelled in self._vocabulary:
                return spelled
        return word if word in self._keep else self._corrected(word)

    def _singular(self, word: str) -> str | None:
        if len(word) < 4:
            return None
        for ending, singular in self._plurals:
            stem = word[: -len(ending)] + singular
            if word.endswith(ending) and stem != word and stem in self._vocabulary:
                return stem
        return None

    def _respelled(self, word: str) -> Iterator[str]:
        for british, american in self._spellings:
            if british in word:
                yield word.replace(british, american)

    def _corrected(self, word: str) -> str:
        """The word of the rules that a misspelling stands for, in its singular; else the word."""
        if len(word) < _FUZZY_LENGTH - 1:
            return word
        stems = [
            word[: -len(ending)] + singular
            for ending, singular in self._plurals
            if word.endswith(ending)
        ]
        near = next((found for form in (word, *stems) if (found := self._nearest(form))), word)
        folded = self._singular(near)
        return near if folded is None else folded

    def _nearest(self, word: str) -> str | None:
        best, near = 3, None
        for candidate in self._by_initial.get(word[0], ()):
            allowed = 2 if min(len(candidate), len(word)) >= _FUZZY_FAR_LENGTH else 1
            if abs(len(candidate) - len(word)) > allowed:
                continue
            distance = edit_distance(word, candidate, allowed)
            if distance <= allowed and distance < best:
                best, near = distance, candidate
        return near


def edit_distance(a: str, b: str, limit: int) -> int:
    """Optimal string alignment distance (Damerau 1964): insert, delete, replace, swap neighbours.

    Returns `limit + 1` where the distance is larger than `limit`.
    """
    before: list[int] = []
    previous = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        current = [i]
        for j, right in enumerate(b, 1):
            cost = min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
        before, previous = previous, current
    return min(previous[-1], limit + 1)


class ReportTokenizer:
    """A spaCy tokenizer for report sentences; `doc.user_data[OFFSETS]` keeps each token's place."""

    def __init__(
        self,
        vocab: Vocab,
        folder: WordFolder,
        deidentification: Iterable[str],
        unaccented: AccentFolder | None = None,
    ) -> None:
        self.vocab = vocab
        self._folder = folder
        self._unaccented = unaccented or AccentFolder()
        self._marks = re.compile("|".join(deidentification), re.IGNORECASE)
        self._phrases: dict[str, Doc] | None = None

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep what is tokenised inside the block: rules and cues have many phrases in common."""
        self._phrases = {}
        try:
            yield
        finally:
            self._phrases = None

    def __call__(self, text: str) -> Doc:
        """Tokenise one sentence."""
        if self._phrases is None:
            return self._tokenize(text)
        if text not in self._phrases:
            self._phrases[text] = self._tokenize(text)
        return self._phrases[text]

    def _tokenize(self, text: str) -> Doc:
        matches = list(self._tokens(text))
        words = [self._unaccented(match.group()) for match in matches]
        norms = [self._folder(word) for word in words]
        doc = Doc(self.vocab, words=words)
        for token, norm in zip(doc, norms, strict=True):
            token.norm_ = norm
        doc.user_data[NORMS] = norms
        doc.user_data[OFFSETS] = [match.span() for match in matches]
        return doc

    def pipe(self, texts: Iterable[str], **_: Any) -> Iterator[Doc]:
        """Tokenise a stream; the form that spaCy's components expect of a tokenizer."""
        return map(self, texts)

    def _tokens(self, text: str) -> Iterator[re.Match[str]]:
        blanked = self._marks.sub(lambda mark: " " * len(mark.group()), text)
        before = ""
        for match in _TOKEN.finditer(blanked):
            word = match.group()
            if word in "-‐‑" and _inside_word(blanked, match.start()):
                continue
            if word != before or not word.isalpha():  # "cannot be be excluded"
                yield match
            before = word


def _inside_word(text: str, position: int) -> bool:
    """Whether the mark at `position` has a letter or digit on both sides."""
    before, after = text[:position][-1:], text[position + 1 : position + 2]
    return before.isalnum() and after.isalnum()
