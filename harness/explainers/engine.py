"""One engine for all perturbation methods, metrics and samples of a classifier.

It asks for a value of a set of units and keeps every value it has paid for. What is asked is known
by the features that are left, so no two methods, units or metrics ever pay for the same input
twice. Rows of all samples share batches by shape, under one budget of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.division import Division
from harness.explainers.games import Play
from harness.explainers.models.model import Model
from harness.explainers.models.reading import Reading, Size
from harness.plugins import blamed
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Is told how many evaluations are done, and how many are known to be needed so far."""


@dataclass(frozen=True, eq=False)
class Playing:
    """A method, or a metric, at work on one sample: `valued` turns outputs into values (sets x
    targets)."""

    reading: Reading
    division: Division
    valued: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    play: Play


@dataclass(eq=False)
class Outcome:
    """What a play came to: what it ended with, and how many different sets it asked for."""

    found: Any
    evaluations: int


@dataclass(eq=False)
class Count:
    """What was paid: `rows` evaluations in `batches` of `tokens`, and how often a value that was
    there already was asked for again (`shared`)."""

    rows: int = 0
    batches: int = 0
    tokens: int = 0
    shared: int = 0


# How many sets are laid out by feature at once: a picture has 50,000 features.
_CHUNK = 256


class Engine:
    """Values of sets, for one model. `tokens` is the most a batch may cost."""

    def __init__(
        self, model: Model, tokens: int | None = None, progress: Progress | None = None
    ) -> None:
        self.model = model
        self.count = Count()
        self.tokens = tokens or model.tokens
        self._progress = progress
        # The readings are kept with their caches, so that no other takes over a dead one's id.
        self._known: dict[int, tuple[Reading, dict[bytes, NDArray[np.float64]]]] = {}
        self._needed = 0

    def outputs(
        self, reading: Reading, division: Division, sets: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Outputs, sets x columns, of sets of players of one sample."""
        return self.outputs_of([(reading, division, sets)])[0]

    def as_of(self, model: Model) -> Engine:
        """An engine of a model that says the same of every set; values are paid for once."""
        other = type(self)(model, self.tokens, self._progress)
        other.count, other._known = self.count, self._known
        return other

    def run(self, playings: Sequence[Playing]) -> list[Outcome]:
        """Plays them all, each to its end; they are asked together, round by round."""
        found: dict[int, Outcome] = {}
        asked: dict[int, NDArray[np.bool_]] = {}
        distinct: list[set[bytes]] = [set() for _ in playings]
        for place, playing in enumerate(playings):
            self._advance(place, playing, None, asked, found, distinct)
        while asked:
            round_, asked = asked, {}
            answers = self.outputs_of(
                [(playings[i].reading, playings[i].division, s) for i, s in round_.items()]
            )
            for place, outputs in zip(round_, answers, strict=True):
                values = playings[place].valued(outputs)
                self._advance(place, playings[place], values, asked, found, distinct)
        return [found[place] for place in range(len(playings))]

    @staticmethod
    def _advance(
        place: int,
        playing: Playing,
        values: NDArray[np.float64] | None,
        asked: dict[int, NDArray[np.bool_]],
        found: dict[int, Outcome],
        distinct: list[set[bytes]],
    ) -> None:
        import numpy as np

        with blamed("an explainer failed"):
            try:
                sets = next(playing.play) if values is None else playing.play.send(values)
            except StopIteration as end:
                found[place] = Outcome(end.value, len(distinct[place]))
                return
            sets = np.asarray(sets, dtype=bool)
            if sets.ndim != 2 or sets.shape[1] != len(playing.division.players):
                raise HarnessError(
                    f"an explainer asked for sets of the shape {sets.shape}, where there are "
                    f"{len(playing.division.players)} players"
                )
        distinct[place].update(row.tobytes() for row in np.packbits(sets, axis=1))
        asked[place] = sets

    def outputs_of(
        self, questions: Sequence[tuple[Reading, Division, NDArray[np.bool_]]]
    ) -> list[NDArray[np.float64]]:
        """The same of several samples, from what is known and what is evaluated now."""
        import numpy as np

        keys: list[list[bytes]] = []
        waiting: dict[tuple[int, bytes], _Waiting] = {}
        for reading, division, sets in questions:
            known = self._cache(reading)
            mine = []
            for start in range(0, len(sets), _CHUNK):
                kept = division.kept(sets[start : start + _CHUNK])
                sizes = reading.sizes(kept)
                for row, (features, size) in enumerate(zip(kept, sizes, strict=True), start):
                    key = self._key(reading, features)
                    mine.append(key)
                    if key in known or (id(known), key) in waiting:
                        self.count.shared += 1
                    else:
                        new = _Waiting(reading, division, sets[row], size, key)
                        waiting[id(known), key] = new
            keys.append(mine)
        self._evaluate(list(waiting.values()))
        return [
            np.array([self._cache(reading)[key] for key in mine]).reshape(len(mine), -1)
            for (reading, _, _), mine in zip(questions, keys, strict=True)
        ]

    def _cache(self, reading: Reading) -> dict[bytes, NDArray[np.float64]]:
        return self._known.setdefault(id(reading), (reading, {}))[1]

    def _key(self, reading: Reading, kept: NDArray[np.bool_]) -> bytes:  # noqa: ARG002
        """What is left, in 16 bytes: a picture has too many features to be its own key."""
        import numpy as np

        return hashlib.blake2b(np.packbits(kept).tobytes(), digest_size=16).digest()

    def _evaluate(self, waiting: Sequence[_Waiting]) -> None:
        """Evaluates what is waiting, in batches of one shape under the budget of tokens."""
        self._needed += len(waiting)
        shapes: dict[Hashable, list[_Waiting]] = {}
        for one in waiting:
            shapes.setdefault(one.size.shape, []).append(one)
        for same in shapes.values():
            batch: list[_Waiting] = []
            for one in same:
                if batch and (len(batch) + 1) * one.size.tokens > self.tokens:
                    self._pay(batch)
                    batch = []
                batch.append(one)
            self._pay(batch)

    def _pay(self, batch: Sequence[_Waiting]) -> None:
        import numpy as np

        left = [one.reading.left(one.division.kept(one.players[np.newaxis])[0]) for one in batch]
        with blamed(f"{self.model.name} failed on sample '{batch[0].reading.sample}'"):
            outputs = self.model.outputs(left)
        for one, row in zip(batch, outputs, strict=True):
            if not np.isfinite(row).all():
                raise HarnessError(
                    f"{self.model.name} says NaN or infinity of sample '{one.reading.sample}' "
                    "with some of its units removed"
                )
            self._cache(one.reading)[one.key] = row
        self.count.rows += len(batch)
        self.count.batches += 1
        self.count.tokens += sum(one.size.tokens for one in batch)
        if self._progress is not None:
            self._progress(self.count.rows, self._needed)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A set to be evaluated; its features are laid out only when its turn comes."""

    reading: Reading
    division: Division
    players: NDArray[np.bool_]
    size: Size
    key: bytes
