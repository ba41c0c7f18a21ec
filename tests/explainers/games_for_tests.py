"""Games whose values are known: plays a method against a plain function, and brute-force oracles.

A value function takes sets (bool, sets x players) and gives values (sets, or sets x targets).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from harness.explainers.games import Game, Perturbation, Played

Function = Callable[[np.ndarray], np.ndarray]


def ask(f: Function, sets: np.ndarray) -> np.ndarray:
    """Values of sets x targets in float64, whatever the function's shape."""
    values = np.asarray(f(sets), np.float64)
    return values[:, None] if values.ndim == 1 else values


def play(
    method: Perturbation,
    f: Function,
    players: int,
    budget: int | None = None,
    seed: int = 0,
    groups: Sequence[int] = (),
) -> tuple[Played, int]:
    """What the method found, and how many different sets it asked for.

    As the engine does: the budget is the method's own unless given, and never above 2**players.
    """
    played, asked = trace(method, f, players, budget, seed, groups)
    return played, len(asked)


def trace(
    method: Perturbation,
    f: Function,
    players: int,
    budget: int | None = None,
    seed: int = 0,
    groups: Sequence[int] = (),
) -> tuple[Played, set[tuple[bool, ...]]]:
    """What the method found, and the different sets it asked for."""
    most = min(method.budget(players) if budget is None else budget, 2**players)
    moves = method.play(Game(players, most, seed, tuple(groups)))
    asked: set[tuple[bool, ...]] = set()
    try:
        sets = next(moves)
        while True:
            assert sets.dtype == np.bool_
            assert sets.ndim == 2
            assert sets.shape[1] == players
            asked.update(map(tuple, sets.tolist()))
            sets = moves.send(ask(f, sets))
    except StopIteration as end:
        played: Played = end.value
        return played, asked


def all_sets(players: int) -> np.ndarray:
    """Every set, the empty one first, the full one last."""
    return np.array(list(itertools.product([False, True], repeat=players)), bool).reshape(
        2**players, players
    )


def table(values: np.ndarray) -> Function:
    """The game that has these values (2**players, or 2**players x targets) in `all_sets`' order."""

    def f(sets: np.ndarray) -> np.ndarray:
        places = sets.astype(np.int64) @ (1 << np.arange(sets.shape[1])[::-1])
        return np.asarray(values)[places]

    return f


def brute_force_shapley(f: Function, players: int) -> np.ndarray:
    """Players x targets: the sum over sets without the player, as Shapley (1953) writes it."""
    return brute_force_owen(f, (0,) * players) if players <= 5 else _by_sets(f, players)


def _by_sets(f: Function, players: int) -> np.ndarray:
    sets = all_sets(players)
    values = ask(f, sets)
    orders = np.cumprod([1.0, *range(1, players + 1)])
    sizes = sets.sum(1)
    shares = []
    for player in range(players):
        without = np.flatnonzero(~sets[:, player])
        step = 1 << (players - 1 - player)
        weight = orders[sizes[without]] * orders[players - 1 - sizes[without]] / orders[players]
        shares.append(weight @ (values[without + step] - values[without]))
    return np.array(shares)


def brute_force_owen(f: Function, groups: Sequence[int]) -> np.ndarray:
    """Players x targets: the mean over every order in which no group is interrupted (Owen 1977)."""
    players = len(groups)
    total, count = np.zeros(()), 0
    cache: dict[tuple[int, ...], np.ndarray] = {}

    def value(members: tuple[int, ...]) -> np.ndarray:
        if members not in cache:
            one = np.zeros((1, players), bool)
            one[0, list(members)] = True
            cache[members] = ask(f, one)[0]
        return cache[members]

    for order in admissible(groups):
        gains = np.zeros((players, *value(()).shape))
        for place, player in enumerate(order):
            before, after = sorted(order[:place]), sorted(order[: place + 1])
            gains[player] = value(tuple(after)) - value(tuple(before))
        total, count = total + gains, count + 1
    return total / count


def admissible(groups: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order of the players in which the members of each group follow one another."""
    members = [[p for p, g in enumerate(groups) if g == group] for group in sorted(set(groups))]
    for outer in itertools.permutations(members):
        for inner in itertools.product(*map(itertools.permutations, outer)):
            yield tuple(itertools.chain.from_iterable(inner))


def additive(effects: np.ndarray, constant: float = 0.0) -> Function:
    """The sum of the effects (players, or players x targets) of those who are kept."""
    return lambda sets: sets @ np.asarray(effects, np.float64) + constant


def conjunction(members: Sequence[int]) -> Function:
    """1 where all of the members are kept, else 0."""
    return lambda sets: sets[:, list(members)].all(1).astype(np.float64)


def majority(sets: np.ndarray) -> np.ndarray:
    """1 where more than half of the players are kept, else 0."""
    return (sets.sum(1) * 2 > sets.shape[1]).astype(np.float64)


def random_game(players: int, seed: int, targets: int = 1) -> Function:
    """Every set has a value of its own, drawn from the standard normal distribution."""
    return table(np.random.default_rng(seed).normal(size=(2**players, targets)))
