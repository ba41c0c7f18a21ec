"""Interactions of order 2: a value for each player and one for each pair of players.

Both indices are weighted sums over all sets of players, so they are computed where all sets are
evaluated, and estimated from a sample of sets beyond that (see `interaction_sampling`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.explainers.attributions.interaction_sampling import (
    SetWeights,
    design_of,
    estimated,
    least_budget,
    weighted_sums,
)
from harness.explainers.games import Game, Play, Played, all_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# All sets of ten players.
DEFAULT_BUDGET = 1024


class _Interactions(ABC):
    """An index of order 2: values of players and of pairs as weighted sums over all sets."""

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def budget(self, players: int) -> int:
        """Four sets for each value, 1,024 at least: 5,100 for 50 players."""
        return max(DEFAULT_BUDGET, 2 * players * (players + 1))

    def least(self, players: int) -> int:
        """4 x players, or all sets where these are fewer."""
        return least_budget(players)

    def play(self, game: Game) -> Play:
        """Values of players x targets and of pairs x targets."""
        players = game.players
        if players <= 1:
            values = yield np.repeat([[False], [True]], players, axis=1)[: players + 1]
            none = np.zeros((0, values.shape[1]))
            return Played(np.diff(values, axis=0), complete=True, pairs=none)
        weights = self._weights(players)
        if game.budget >= 2 ** min(players, 62):
            sets = all_sets(players)
            values = yield sets
            counts = np.array([comb(players, size) for size in range(players + 1)], np.float64)
            mains, pairs = weighted_sums(sets, values, weights, counts)
            return Played(mains, complete=True, pairs=pairs)
        design = design_of(players, game.budget, game.seed)
        values = yield design.sets
        return estimated(design, values, weights)

    @abstractmethod
    def _weights(self, players: int) -> SetWeights:
        """The index's weight of each set, by its size and what it holds; two players or more."""


class ShapleyTaylor(_Interactions):
    """Shapley-Taylor interaction index of order 2: values of players and of pairs of players.

    Source: Sundararajan, Dhamdhere and Agarwal 2020, "The Shapley Taylor Interaction Index",
    equations 3 and 4. A player's value is v({i}) - v(empty), what it does alone. A pair's value is
    the mean, over orders of the players, of v(T + ij) - v(T + i) - v(T + j) + v(T), T being the
    players before both. All values sum to v(all) - v(empty). An AND of two players gives all to
    their pair; interactions of more than two players are shared among their pairs.

    Exact where the budget holds all 2**players sets: by default up to 10 players. Else players'
    values are exact and pairs' are estimated with standard errors, exactly so in games without
    interactions of three or more players. See `KSII` for how.
    """

    def _weights(self, players: int) -> SetWeights:
        return _taylor_weights(players)


class KSII(_Interactions):
    """k-SII of order 2 (Shapley interaction index, made to sum): values of players and of pairs.

    Source: Bordt and von Luxburg 2023, "From Shapley Values to Generalized Additive Models and
    back", definition 4.1 (there n-Shapley values). A pair's value is the Shapley interaction index
    (Grabisch and Roubens 1999); a player's is its Shapley value less half of the values of its
    pairs. All values sum to v(all) - v(empty), and each Shapley value is a player's value with half
    of those of its pairs.

    Exact where the budget holds all 2**players sets: by default up to 10 players. Else estimated:
    sets of each size are drawn with their complements, a model of players and pairs is fitted to
    them, and the index of what it leaves is added as a weighted mean over the sets (Fumagalli et
    al. 2023, "SHAP-IQ"; for the regression Witter, Liu and Musco 2025, "Regression-adjusted Monte
    Carlo Estimators for Shapley Values and Probabilistic Values"). Standard errors come from the
    spread of what the model leaves, predicted without the set itself. Where that is more with pairs
    in the model, where there are fewer than three sets a pair, and above 54 players, the model has
    players alone.
    """

    def _weights(self, players: int) -> SetWeights:
        return _sii_weights(players)


def _pair_weights(players: int, denominator: Callable[[int], int]) -> Floats:
    """Weights of a set by its size and by how many of a pair it holds: (players + 1) x 3.

    A discrete derivative at T, of weight 1 / denominator(|T|), has +1 for T and for T + ij and -1
    for T + i and T + j. Weights are times the number of sets of the size (a ratio of integers,
    which do not overflow).
    """
    found = np.zeros((players + 1, 3))
    for before in range(players - 1):
        for held, sign in ((0, 1), (1, -1), (2, 1)):
            size = before + held
            found[size, held] = sign * (comb(players, size) / denominator(before))
    return found


def _taylor_weights(players: int) -> SetWeights:
    """Players alone, and pairs by Sundararajan et al., equation 4: the discrete derivative at T
    weighs 2 / (players x C(players - 1, |T|))."""
    mains = np.zeros((players + 1, 2))
    mains[1, 1] = players  # times the number of sets of the size, see `_pair_weights`
    mains[0, 0] = -1
    scale = _pair_weights(players, lambda before: players * comb(players - 1, before))
    return SetWeights(mains, 2 * scale)


def _sii_weights(players: int) -> SetWeights:
    """Pairs as Grabisch and Roubens, players' Shapley values less half of their pairs' values."""
    pairs = _pair_weights(players, lambda before: (players - 1) * comb(players - 2, before))
    sizes = np.arange(players + 1)
    without, with_ = np.zeros(players + 1), np.zeros(players + 1)
    # C(n, t) / (n C(n-1, t)) = 1 / (n - t) without the player, 1 / t with it.
    without[:-1] = -1 / (players - sizes[:-1])
    with_[1:] = 1 / sizes[1:]
    without -= 0.5 * (sizes * pairs[:, 1] + (players - 1 - sizes) * pairs[:, 0])
    with_ -= 0.5 * ((sizes - 1) * pairs[:, 2] + (players - sizes) * pairs[:, 1])
    return SetWeights(np.stack([without, with_], axis=1), pairs)
