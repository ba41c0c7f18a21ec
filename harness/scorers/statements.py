"""Two answers held against each other, statement by statement.

A statement is a sentence that is no question. It is *kept* where the other answer has a sentence
near enough to it, and *reversed* where a sentence of the other contradicts it. Averages over
sentences cannot tell a reversal from a paraphrase: a text with one statement turned round shares
all other sentences, so the two are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contracts import EntailmentModel
from harness.scorers.embeddings import Embedder
from harness.scorers.entailment import WINDOW
from harness.sentences import is_question, sentences, windows

LONGEST = 200  # sentences; an answer that goes on for longer repeats itself or lists everything
# A statement is kept from this cosine of its nearest sentence on. Best balanced accuracy between a
# claim reworded and a claim missing, on every second label of the gastrointestinal gold with its
# first paraphrases; `benchmarks/stability_of_gold.py` prints the curve, and the other half's.
KEPT = 0.76


@dataclass(frozen=True)
class Statement:
    """One sentence of an answer as the other answer has it.

    `nearest` is the place of the other's nearest sentence, `None` where it has none; `cosine` is
    theirs. `reversed_by` is the place of the sentence that contradicts it, `None` without one.
    """

    text: str
    kept: bool
    cosine: float = 0.0
    nearest: int | None = None
    reversed_by: int | None = None


@dataclass(frozen=True)
class AnswerPair:
    """The statements of two answers, each as the other answer has it.

    `wording` is the mean mutual support of all sentences, less contradiction: the measure that
    cannot tell a reversal from a paraphrase, kept as a baseline.
    """

    first: tuple[Statement, ...]
    second: tuple[Statement, ...]
    wording: float

    @property
    def kept(self) -> float:
        """Share of the statements of both that are kept, each counted once; 0 where one is empty.

        Not defined for two empty answers, which make no pair.
        """
        if not self.first or not self.second:
            return 0.0
        return _share(s.kept for s in (*self.first, *self.second))

    @property
    def reversed(self) -> float:
        """Share of the statements of both that the other contradicts, each counted once."""
        return _share(s.reversed_by is not None for s in (*self.first, *self.second))

    @property
    def kept_of_shorter(self) -> float:
        """Share kept of the answer with fewer statements; of equally many, the mean of both.

        As the other direction, 0 where an answer is empty.
        """
        return self._directions()[0]

    @property
    def kept_of_longer(self) -> float:
        """Share kept of the answer with more statements; of equally many, the mean of both."""
        return self._directions()[1]

    def _directions(self) -> tuple[float, float]:
        first, second = (_share(s.kept for s in side) for side in (self.first, self.second))
        if len(self.first) == len(self.second):
            return ((first + second) / 2,) * 2
        return (first, second) if len(self.first) < len(self.second) else (second, first)

    def turned(self) -> AnswerPair:
        """The same pair with the second answer first."""
        return AnswerPair(self.second, self.first, self.wording)


def statements(text: str) -> tuple[str, ...]:
    """What a text states: its first `LONGEST` sentences, questions left out."""
    return tuple(part for part in sentences(text)[:LONGEST] if not is_question(part))


class Comparer:
    """Holds answers against each other; the same pair of texts is compared once.

    `model` says what contradicts, from `threshold` on; `embedder` what is near, from `kept_at` on.
    """

    def __init__(
        self, model: EntailmentModel, embedder: Embedder, threshold: float, kept_at: float = KEPT
    ) -> None:
        self.model = model
        self.embedder = embedder
        self.threshold = threshold
        self.kept_at = kept_at
        self._pairs: dict[tuple[str, str], AnswerPair] = {}

    def pair(self, first: str, second: str) -> AnswerPair:
        """Two texts compared."""
        # Always in one order: sums in another order are other floats.
        low, high = min(first, second), max(first, second)
        if (low, high) not in self._pairs:
            self._pairs[low, high] = self._compared(statements(low), statements(high))
        found = self._pairs[low, high]
        return found if low == first else found.turned()

    def _compared(self, a: tuple[str, ...], b: tuple[str, ...]) -> AnswerPair:
        if not a or not b:
            return AnswerPair(_missing(a), _missing(b), float(not a and not b))
        cosines = self.embedder(a) @ self.embedder(b).T
        entailed = _Entailed(self.model, a, b)
        against_a, against_b = entailed.reversals(self.threshold)
        return AnswerPair(
            self._statements(a, b, cosines, against_a),
            self._statements(b, a, cosines.T, against_b),
            entailed.wording(),
        )

    def _statements(
        self, said: Sequence[str], by: Sequence[str], cosines: Any, against: Sequence[int | None]
    ) -> tuple[Statement, ...]:
        places = {text: place for place, text in enumerate(by)}
        found = []
        for i, text in enumerate(said):
            nearest = places.get(text, int(cosines[i].argmax()))
            cosine = 1.0 if text in places else float(cosines[i][nearest])
            found.append(Statement(text, cosine >= self.kept_at, cosine, nearest, against[i]))
        return tuple(found)


class _Entailed:
    """What each of two texts says of the other's sentences that it does not repeat word by word."""

    def __init__(self, model: EntailmentModel, a: Sequence[str], b: Sequence[str]) -> None:
        self.a, self.b = a, b
        self.open_a, self.open_b = _without(a, b), _without(b, a)
        premises_a, premises_b = (*a, *windows(a, WINDOW)), (*b, *windows(b, WINDOW))
        asked = [(p, said) for said in self.open_a for p in premises_b]
        asked += [(p, said) for said in self.open_b for p in premises_a]
        scores = model.entailment(asked) if asked else []
        self._scores = dict(zip(asked, scores, strict=True))
        self._premises = {"a": premises_a, "b": premises_b}

    def wording(self) -> float:
        """Mean over the sentences of both of how well the other states them, in [0, 1]."""
        return (self._stated(self.a, self.open_a, "b") + self._stated(self.b, self.open_b, "a")) / 2

    def _stated(self, said: Sequence[str], open_ones: Sequence[str], by: str) -> float:
        waiting = set(open_ones)
        total = float(sum(text not in waiting for text in said))
        single = self.b if by == "b" else self.a
        for text in said:
            if text in waiting:
                support = max(self._scores[p, text].support for p in self._premises[by])
                against = max(self._scores[p, text].contradiction for p in single)
                total += support if support >= against else max(0.0, support - against)
        return total / len(said)

    def reversals(self, threshold: float) -> tuple[list[int | None], list[int | None]]:
        """For each sentence of the one and of the other text, the place of what contradicts it.

        Sentences that both texts hold contradict nothing. Nor does one that states another
        sentence better, or contradict one that the text states better elsewhere.
        """
        return (
            self._against(self.a, self.b, threshold),
            self._against(self.b, self.a, threshold),
        )

    def _against(
        self, said: Sequence[str], by: Sequence[str], threshold: float
    ) -> list[int | None]:
        open_ones, sources = set(_without(said, by)), _without(by, said)
        states = {
            p: max((self._scores[p, text].support for text in open_ones), default=0.0)
            for p in sources
        }
        found: list[int | None] = []
        for text in said:
            best, place = 0.0, None
            if text in open_ones and sources:
                stated = max(self._scores[p, text].support for p in by)
                for p in sources:
                    against = self._scores[p, text].contradiction
                    if against >= threshold and against > max(stated, states[p], best):
                        best, place = against, by.index(p)
            found.append(place)
        return found


def _without(said: Iterable[str], known: Iterable[str]) -> list[str]:
    held = set(known)
    return list(dict.fromkeys(text for text in said if text not in held))


def _missing(said: Iterable[str]) -> tuple[Statement, ...]:
    return tuple(Statement(text, False) for text in said)


def _share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
