"""RISE: the mean output over random sets that keep a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.explainers.games import Game, Play, Played, all_sets, default_budget
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_CODE = 62  # bits of a set that fit into a signed 64-bit number


class Rise:
    """The mean output over sets that keep the unit, where units are kept with probability `keep`.

    A value estimates E[f(S) | i in S], in units of the output: even a unit that does nothing has
    the mean output over such sets, so only differences between units speak of them. Of an additive
    f it is f(empty) + keep x sum of all effects + (1 - keep) x the unit's own effect.

    Every unit is kept by the same number of sets, which replaces the expected mask that the paper
    divides by (equation 6) by the actual one. With `keep` at one half sets come in complementary
    pairs, no pair twice; else each unit is kept by round(keep x sets) of them, at least two, drawn
    anew for each unit, and where few units make a set come up twice it is asked for once. Where all
    sets fit into the budget the expectation is exact. Standard errors are between pairs, or sets.

    Source: Petsiuk, Das and Saenko 2018, "RISE: Randomized Input Sampling for Explanation of
    Black-box Models", section 3.1. Raises `HarnessError` where `keep` is not between 0 and 1.
    """

    def __init__(self, keep: float = 0.5) -> None:
        number = isinstance(keep, int | float) and not isinstance(keep, bool)
        if not number or not 0 < keep < 1:
            raise HarnessError(
                f"explainer 'rise': keep is a probability above 0 and below 1, not {keep!r}"
            )
        self.settings: Mapping[str, Any] = {"keep": keep}

    def budget(self, players: int) -> int:
        """Four sets for each player, 100 at least; all where there are fewer."""
        return min(default_budget(players), 1 << players)

    def least(self, players: int) -> int:
        """Four sets, so that two keep each unit and there is an error to be estimated."""
        return min(4, 1 << players)

    def play(self, game: Game) -> Play:
        """Values and standard errors of players x targets."""
        import numpy as np

        keep, players = self.settings["keep"], game.players
        if 2**players <= game.budget:
            sets = all_sets(players)
            values = yield sets
            sizes = sets.sum(axis=1)
            chances = keep**sizes * (1 - keep) ** (players - sizes)
            weights = sets.T * chances
            return Played(weights @ values / weights.sum(axis=1, keepdims=True))
        rng = np.random.default_rng(game.seed)
        if keep == 0.5:
            sets, unseen = _complementary(players, game.budget // 2, rng)
            draws = 2
        else:
            sets, unseen, draws = _balanced(players, game.budget, keep, rng), 1.0, 1
        values = yield sets
        return _means(sets, values, draws, unseen)


def _complementary(
    players: int, pairs: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], float]:
    """Sets, each followed by its complement, and the share of all pairs that was not drawn."""
    import numpy as np

    if players > LARGEST_CODE:  # that a pair comes up twice has no chance to speak of
        first = rng.random((pairs, players)) < 0.5
        unseen = 1.0
    else:
        codes = rng.choice(2 ** (players - 1), size=pairs, replace=False)
        first = (codes[:, None] >> np.arange(players)) % 2 == 1
        unseen = 1 - pairs / 2 ** (players - 1)
    return np.stack([first, ~first], axis=1).reshape(-1, players), unseen


def _balanced(players: int, count: int, keep: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Sets of which the same number, drawn for each player by itself, keeps each player."""
    import numpy as np

    kept = min(max(2, round(keep * count)), count - 1)
    column = np.arange(count)[:, None] < kept
    return rng.permuted(np.repeat(column, players, axis=1), axis=0)


def _means(
    sets: NDArray[np.bool_], values: NDArray[np.float64], draws: int, unseen: float
) -> Played:
    """Means over the sets that keep a player, and their errors between groups of `draws` rows.

    The error is that of a ratio (sum of the output over sets that keep, over their number);
    `unseen` is the correction for drawing from few sets without putting back.
    """
    import numpy as np

    weights = sets.T.astype(np.float64)
    kept = weights.sum(axis=1, keepdims=True)
    means = weights @ values / kept
    groups = len(sets) // draws
    squares = np.empty_like(means)
    for player, mean in enumerate(means):
        residuals = sets[:, player, None] * (values - mean)
        squares[player] = (residuals.reshape(groups, draws, -1).sum(axis=1) ** 2).sum(axis=0)
    counts = kept if draws == 1 else np.full_like(kept, groups)
    errors = np.sqrt(squares * unseen * counts / (counts - 1)) / kept
    return Played(means, errors)
