"""Shapley and Owen values from marginal contributions: exact where sets can be enumerated, else by
permutations. A two-level structure with one group is no structure, so all share one code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.explainers.games import Game, Play, Played, all_sets, default_budget
from harness.records import HarnessError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_PLAYERS = 14  # 16,384 sets
# With two pairs, 1.96 standard errors covered 78 % of the values of a conjunction of 4 of 50 words.
FEWEST_PAIRS = 3
# Chosen by coverage on twelve games of 8 to 50 players: with 1, 87 % on a majority of 8; with 3,
# 93 % and more on all of them.
POOLED = 3


class ExactShapley:
    """Shapley values from all 2**players sets, up to 14 players (Shapley 1953, equation 12).

    Raises `HarnessError` for more players, from whichever method is called first.
    """

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def budget(self, players: int) -> int:
        """All sets: 2**players."""
        if players > MOST_PLAYERS:
            raise HarnessError(
                f"exact_shapley: {players} units would need 2**{players} evaluations; it goes up "
                f"to {MOST_PLAYERS} units, so use kernel_shap or larger units"
            )
        return int(2**players)

    def least(self, players: int) -> int:
        """All sets: there is no exact value without them."""
        return self.budget(players)

    def play(self, game: Game) -> Play:
        """Values of players x targets, no standard errors."""
        needed = self.budget(game.players)
        if game.budget < needed:
            raise HarnessError(
                f"exact_shapley: {game.players} units need {needed} evaluations, not {game.budget}"
            )
        return (yield from _enumerated([np.arange(game.players)], game.players))


class PermutationShap:
    """Shapley values as mean gains over random orders of the players (Castro et al. 2009).

    Orders come in antithetic pairs, one and its reverse (Mitchell et al., "Sampling Permutations
    for Shapley Value Estimation", JMLR 2022, section 4.1). An order costs players - 1 sets beside
    the empty and the full one; one that does not fit is left out. Exact on additive games, and on
    every game where all 2**players sets fit, which are then enumerated.

    Standard errors come from the spread between pairs, so that 1.96 of them cover the value with
    95 % (Student's t is allowed for); with fewer than three pairs there are none.
    """

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def budget(self, players: int) -> int:
        """Sets it wants: four for each player, 100 at least."""
        return default_budget(players)

    def least(self, players: int) -> int:
        """The empty set, the full one, and as many others as there are players."""
        return _least(players)

    def play(self, game: Game) -> Play:
        """Values of players x targets; they sum to the full value less the empty one."""
        return (yield from _owen([np.arange(game.players)], game))


class OwenValues:
    """Owen values: Shapley values among the groups, and inside each group (Owen 1977).

    The mean gain of a player over all orders in which each group's members follow one another:
    words of a sentence come and go together with the sentence. The values of a group sum to the
    Shapley value of the group in the game among groups. `game.groups` gives the groups; without
    them there is one, and Owen values are Shapley values. Enumerated where that fits the budget,
    else estimated as by `PermutationShap`.
    """

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def budget(self, players: int) -> int:
        """Sets it wants: four for each player, 100 at least."""
        return default_budget(players)

    def least(self, players: int) -> int:
        """The empty set, the full one, and as many others as there are players."""
        return _least(players)

    def play(self, game: Game) -> Play:
        """Values of players x targets; they sum to the full value less the empty one.

        Raises `HarnessError` where `game.groups` has another length than there are players.
        """
        groups = np.array(game.groups or (0,) * game.players, np.int64)
        if len(groups) != game.players:
            raise HarnessError(
                f"owen_values: {game.players} units have {len(groups)} groups; give each unit one"
            )
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        return (yield from _owen(members, game))


def _least(players: int) -> int:
    return int(min(players + 2, 2 ** min(players, 62)))


def _owen(members: list[NDArray[np.int64]], game: Game) -> Play:
    """Enumerated where that is within the budget, else sampled."""
    if _sets_needed(members) <= game.budget:
        return (yield from _enumerated(members, game.players))
    return (yield from _sampled(members, game))


def _sets_needed(members: list[NDArray[np.int64]]) -> int:
    """How many different sets are unions of groups with at most one group in parts."""
    others = 2 ** max(len(members) - 1, 0)
    return int(2 ** len(members) + sum(others * (2 ** len(group) - 2) for group in members))


def _enumerated(members: list[NDArray[np.int64]], players: int) -> Play:
    """Each group plays the mean, over what the other groups may do, of the game that it sees."""
    if not players:
        values = yield np.zeros((1, 0), bool)
        return Played(np.zeros((0, values.shape[1])), complete=True)
    blocks = [_seen_by(place, members, players) for place in range(len(members))]
    asked = np.concatenate([np.zeros((1, players), bool), *blocks])
    _, first, inverse = np.unique(
        np.packbits(asked, axis=1), axis=0, return_index=True, return_inverse=True
    )
    values = (yield asked[first])[inverse.reshape(-1)]
    result = np.zeros((players, values.shape[1]))
    start = 1
    for group, block in zip(members, blocks, strict=True):
        seen = values[start : start + len(block)]
        start += len(block)
        seen = seen.reshape(-1, 2 ** len(group), values.shape[1])
        weights = _order_weights(len(members))[all_sets(len(members) - 1).sum(1)]
        result[group] = _shapley(np.einsum("o,oit->it", weights, seen))
    return Played(result, complete=True)


def _seen_by(place: int, members: list[NDArray[np.int64]], players: int) -> NDArray[np.bool_]:
    """Every set of other groups with every part of this one: (others, parts) x players."""
    parts = all_sets(len(members[place]))
    others = all_sets(len(members) - 1)
    sets = np.zeros((len(others), len(parts), players), bool)
    for bit, group in enumerate(members[:place] + members[place + 1 :]):
        sets[:, :, group] = others[:, bit, None, None]
    sets[:, :, members[place]] = parts
    return sets.reshape(-1, players)


def _order_weights(players: int) -> Floats:
    """Share of the orders in which exactly a given set of so many players comes before one."""
    return np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])


def _shapley(values: Floats) -> Floats:
    """Players x targets from the values of all sets, in `_all_sets`' order, x targets."""
    players = len(values).bit_length() - 1
    sets = all_sets(players)
    weights = np.append(_order_weights(players), 0.0)  # the last is never used, see below
    sizes = sets.sum(1, keepdims=True)
    # A set with the player ends a gain, one without begins it; the full set begins none.
    shares = np.where(sets, weights[np.maximum(sizes - 1, 0)], -weights[sizes])
    result: Floats = shares.T @ values
    return result


def _sampled(members: list[NDArray[np.int64]], game: Game) -> Play:
    """Antithetic pairs of orders; one order alone where only that fits."""
    rng = np.random.default_rng(game.seed)
    chains = (game.budget - 2) // (game.players - 1)
    orders = np.stack([_order(members, rng) for _ in range(max(chains // 2, 1))])
    if chains > 1:
        orders = np.concatenate([orders, orders[:, ::-1]])
    ranks = orders.argsort(1)
    steps = np.arange(1, game.players)
    sets = (ranks[:, None, :] < steps[:, None]).reshape(-1, game.players)
    ends = np.repeat([[False], [True]], game.players, axis=1)
    values = yield np.concatenate([ends, sets])
    gains = _gains(values, ranks)
    pairs = gains.reshape(-1, max(chains // 2, 1), *gains.shape[1:]).mean(0)
    if len(pairs) < FEWEST_PAIRS:
        note = (
            f"Fewer than {FEWEST_PAIRS} pairs of orders are no estimate of the values' errors; a "
            "larger budget gives one."
        )
        return Played(pairs.mean(0), complete=True, notes=(note,))
    return Played(pairs.mean(0), _standard_errors(pairs), complete=True)


def _standard_errors(pairs: Floats) -> Floats:
    """Of the means over pairs of orders (pairs x players x targets): players x targets.

    A player that matters in few orders may gain the same in all that were drawn. So its variance
    is moderated by that of all players (Smyth 2004, section 3), most by those that vary, as if by
    `POOLED` further pairs. Student's quantile beside the normal one makes up for few pairs. And the
    interval reaches as far as gains that no pair showed may move the mean: up to a share of
    1 - .025**(1 / pairs) of all pairs may have them (Clopper and Pearson 1934).
    """
    from scipy.stats import norm, t

    count, freedom = len(pairs), len(pairs) - 1 + POOLED
    squares = (pairs - pairs.mean(0)) ** 2 * count / (count - 1)
    variances = squares.mean(0)
    # Zero where nothing varies: an additive game's values are exact.
    pooled = _weighted_by_itself(variances)
    moderated = ((count - 1) * variances + POOLED * pooled) / freedom
    inside = np.sqrt(moderated / count) * t.ppf(0.975, freedom)
    outside = np.sqrt(_weighted_by_itself(squares.reshape(-1, squares.shape[-1])))
    result: Floats = np.maximum(inside, outside * (1 - 0.025 ** (1 / count))) / norm.ppf(0.975)
    return result


def _weighted_by_itself(values: Floats) -> Floats:
    """Mean of each column, each value's weight being the value."""
    sums = values.sum(0)
    mean: Floats = np.divide((values**2).sum(0), sums, out=np.zeros_like(sums), where=sums > 0)
    return mean


def _order(members: list[NDArray[np.int64]], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of the groups, each in a random order of its own."""
    places = rng.permutation(len(members))
    return np.concatenate([rng.permutation(members[place]) for place in places])


def _gains(values: Floats, ranks: NDArray[np.int64]) -> Floats:
    """Each player's gain in each order: orders x players x targets."""
    orders, players = ranks.shape
    between = values[2:].reshape(orders, players - 1, -1)
    first, last = (np.broadcast_to(end, (orders, 1, values.shape[1])) for end in values[:2])
    steps = np.diff(np.concatenate([first, between, last], axis=1), axis=1)
    result: Floats = np.take_along_axis(steps, ranks[:, :, None], axis=1)
    return result
