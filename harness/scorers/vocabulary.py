"""Vectors of texts and of their words in one matrix each, taken out many at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.scorers.embeddings import Embedder


class Rows:
    """Vectors by text in one matrix that grows; `embed` gives those of new texts, one a row."""

    def __init__(self, embed: Callable[[Sequence[str]], Any]) -> None:
        self._embed = embed
        self._places: dict[str, int] = {}
        self._matrix: Any = None

    def places(self, texts: Sequence[str]) -> list[int]:
        """The rows of texts, added where they are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._places]
        if new:
            self._append(self._embed(new))
            self._places.update(zip(new, itertools.count(len(self._places)), strict=False))
        return [self._places[text] for text in texts]

    def take(self, places: Any) -> Any:
        """The vectors in these rows, shape (len(places), dimension)."""
        return self._matrix[places]

    def _append(self, vectors: Any) -> None:
        import numpy as np

        used, wanted = len(self._places), len(self._places) + len(vectors)
        if self._matrix is None or wanted > len(self._matrix):
            larger = np.empty((2 * wanted, vectors.shape[1]), dtype=vectors.dtype)
            if used:
                larger[:used] = self._matrix[:used]
            self._matrix = larger
        self._matrix[used:wanted] = vectors


@dataclass(frozen=True)
class Vocabulary:
    """The distinct words of texts, and where each text's words stand among them.

    `roots` are numbers of the words' stems and `vectors` their vectors. The words of text i are
    those at `places[k]` for `sizes[i]` places k from `starts[i]` on.
    """

    roots: Any
    vectors: Any
    places: Any
    starts: Any
    sizes: Any


class Vocabularies:
    """Makes vocabularies; what is known of a text's words is kept."""

    def __init__(self, embedder: Embedder) -> None:
        self._words = Rows(embedder)
        self._roots: dict[int, int] = {}  # of each row
        self._numbers: dict[str, int] = {}  # of each stem
        self._texts: dict[str, list[int]] = {}

    def of(self, texts: Iterable[tuple[str, Mapping[str, str]]]) -> Vocabulary:
        """The vocabulary of texts, each beside its words by their stems; none may be empty."""
        import numpy as np

        own = [self._of(text, words) for text, words in texts]
        rows, places = np.unique([row for one in own for row in one], return_inverse=True)
        sizes = np.array([len(one) for one in own])
        roots = np.array([self._roots[row] for row in rows])
        return Vocabulary(roots, self._words.take(rows), places, np.cumsum(sizes) - sizes, sizes)

    def _of(self, text: str, words: Mapping[str, str]) -> list[int]:
        if text not in self._texts:
            places = self._words.places(list(words.values()))
            for row, root in zip(places, words, strict=True):
                self._roots.setdefault(row, self._numbers.setdefault(root, len(self._numbers)))
            self._texts[text] = places
        return self._texts[text]
