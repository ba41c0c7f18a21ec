"""The game that every perturbation method plays.

The players are the units of one sample. A method names sets of players that are kept, is told what
the classifier then says, and ends with a value for each player. It is a generator: it yields sets
and is sent values, so that one engine can ask the classifier for the sets of many methods, metrics
and samples together.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sets = NDArray[np.bool_]  # sets x players; true where a player is kept
    Values = NDArray[np.float64]  # sets x targets


@dataclass(frozen=True)
class Game:
    """What a method may know.

    `groups` gives for each player the place of the larger unit it lies in (the sentence of a word);
    all zero where there is none. `budget` is how many different sets it may ask for, the empty and
    the full one counted.
    """

    players: int
    budget: int
    seed: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Played:
    """What a method found: arrays of players x targets.

    A method of interactions also gives `pairs` and, where it has them, `pair_errors`: arrays of
    pairs x targets, the pairs (i, j) with i < j in the order of `numpy.triu_indices`.

    `complete` is true for a method whose values, those of pairs counted, are to sum to the full
    value less the empty one; how far they do not is then reported. `standard_errors` is `None` for
    what is exact or has no error to be estimated, `notes` are sentences that a reader of the values
    should know.
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64] | None = None
    complete: bool = False
    notes: tuple[str, ...] = ()
    pairs: NDArray[np.float64] | None = None
    pair_errors: NDArray[np.float64] | None = None


Play = Generator["Sets", "Values", Played]


@runtime_checkable
class Perturbation(Protocol):
    """A method that needs nothing but values of sets: entry point group `harness.explainers`.

    Its constructor takes its settings as keywords; `settings` holds them as they are, defaults too,
    and is part of an attribution's key. `budget` is the number of sets it wants for so many
    players; `least` the number below which it can say nothing of them. A method of any kind that
    draws nothing may say `deterministic = True`: it is then not asked again with another seed.
    """

    settings: Mapping[str, Any]

    def budget(self, players: int) -> int: ...

    def least(self, players: int) -> int: ...

    def play(self, game: Game) -> Play: ...


def default_budget(players: int) -> int:
    """Evaluations unless said otherwise: four for each player, 100 at least."""
    return max(100, 4 * players)


def all_sets(players: int) -> Sets:
    """Every set, 2**players x players: player i is kept where bit i of the row's number is one."""
    import numpy as np

    sets: Sets = (np.arange(2**players)[:, None] >> np.arange(players)) & 1 > 0
    return sets
