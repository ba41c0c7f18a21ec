"""Sobol indices: which share of the output's variance a unit has, alone or with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.games import Game, Play, Played, all_sets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BASE_ROWS = 8  # four pairs: with fewer the standard error is itself a guess
FEW_SETS = 512  # evaluated at least by default: up to nine units are enumerated
SINGLE_ROWS = 4  # for each base row; with as many the variance is not what limits a total index
CONSTANT = 1e-12  # a standard deviation below this share of the largest output is rounding


class Sobol:
    """The share of the output's variance that is due to a unit, when each is kept with chance 1/2.

    With `order` "total" the unit alone and in every interaction, E[(f(x) - f(x, unit flipped))^2] /
    4 Var f; with "first" the unit alone, (E[f | kept] - E[f | removed])^2 / 4 Var f, less the
    square's bias. **Values are shares in [0, 1] and have no sign**: they do not tell whether a unit
    speaks for the target or against it. First-order shares sum to 1 at most, total ones to 1 at
    least. An output that is the same in every set asked for has zeros and a note.

    Where all sets fit into the budget values are exact. Else base rows are drawn in complementary
    pairs (under which main effects are free of interactions of two), each unit is flipped in each,
    and further rows, drawn one by one, estimate what variance main effects leave. Additive games
    are therefore exact at any budget. Flipping takes the place of resampling (Jansen's estimator),
    which with two states repeats half of all rows. Standard errors are the infinitesimal
    jackknife's over pairs and single rows; with four pairs, the default from 59 units on, an
    interval takes Student's t with three degrees of freedom.

    Sources: Fel et al. 2021, "Look at the Variance! Efficient Black-box Explanations with
    Sobol-based Sensitivity Analysis"; Saltelli et al. 2010, "Variance based sensitivity analysis of
    model output", table 2; Jansen 1999, "Analysis of variance designs for model output"; Efron
    1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6.
    """

    def __init__(self, order: str = "total") -> None:
        fields.one_of("explainer 'sobol'", ("total", "first"), order=order)
        self.settings: Mapping[str, Any] = {"order": order}

    def budget(self, players: int) -> int:
        """Eight base rows, each with as many more as there are players, and 32 single rows; 512
        evaluations at least, or all sets where there are fewer."""
        return min(max(BASE_ROWS * (players + 1 + SINGLE_ROWS), FEW_SETS), 1 << players)

    def least(self, players: int) -> int:
        """Four base rows (two pairs) and what goes with them."""
        return min(4 * (players + 1 + SINGLE_ROWS), 1 << players)

    def play(self, game: Game) -> Play:
        """Values of players x targets, and their standard errors unless all sets were seen."""
        total = self.settings["order"] == "total"
        if 2**game.players <= game.budget:
            values = yield all_sets(game.players)
            return _enumerated(values, game.players, total)
        sets, base = _design(game)
        values = yield sets
        return _estimated(sets, values, base, total)


def _enumerated(values: Array, players: int, total: bool) -> Played:
    import numpy as np

    parts = np.empty((players, values.shape[1]))
    for player in range(players):
        removed, kept = values.reshape(-1, 2, 2**player, values.shape[1]).swapaxes(0, 1)
        effects = (kept - removed).reshape(-1, values.shape[1]) / 2
        parts[player] = (effects**2).mean(axis=0) if total else effects.mean(axis=0) ** 2
    return _shares(parts, values.var(axis=0), values)


def _design(game: Game) -> tuple[NDArray[np.bool_], int]:
    """Base rows, each followed by its flips, then single rows; and how many base rows there are."""
    import numpy as np

    rng = np.random.default_rng(game.seed)
    players = game.players
    pairs = game.budget // (2 * (players + 1 + SINGLE_ROWS))
    first = rng.random((pairs, players)) < 0.5
    base = np.stack([first, ~first], axis=1).reshape(-1, 1, players)
    flips = np.eye(players + 1, players, k=-1, dtype=bool)
    rows = (base ^ flips).reshape(-1, players)
    singles = rng.random((game.budget - len(rows), players)) < 0.5
    return np.concatenate([rows, singles]), 2 * pairs


def _estimated(sets: NDArray[np.bool_], values: Array, base: int, total: bool) -> Played:
    """Indices from base rows, their variance with the help of the single rows.

    The variance is that of the main effects' sum, without the bias of squares, and what is left in
    the single rows, which the effects have not seen. It is kept between what every function obeys:
    no less than the largest total part, no more than half of the first and total parts together
    (an interaction counts in the total parts of two units at least).
    """
    import numpy as np

    players, targets = sets.shape[1], values.shape[1]
    rows = base * (players + 1)
    at_base = values[:rows].reshape(base, players + 1, targets)
    signs = np.where(sets[:rows].reshape(base, players + 1, players)[:, 0], 1.0, -1.0)
    effects = signs[:, :, None] * (at_base[:, :1] - at_base[:, 1:]) / 2  # base x players x targets
    by_pair = effects.reshape(-1, 2, players, targets)
    squares, mains = (by_pair**2).mean(axis=1), by_pair.mean(axis=1)
    pairs = len(mains)
    main = mains.mean(axis=0)
    bias = mains.var(axis=0, ddof=1) / pairs
    total_parts, first_parts = squares.mean(axis=0), np.maximum(main**2 - bias, 0.0)

    left = values[rows:] - np.where(sets[rows:], 1.0, -1.0) @ main
    squared = (left - left.mean(axis=0)) ** 2
    variance = (main**2 - 2 * bias).sum(axis=0) + left.var(axis=0, ddof=1)
    lowest = np.maximum(total_parts.max(axis=0), first_parts.sum(axis=0))
    highest = (total_parts.sum(axis=0) + first_parts.sum(axis=0)) / 2
    variance = np.minimum(np.maximum(variance, lowest), np.maximum(highest, lowest))

    parts = total_parts if total else first_parts
    played = _shares(parts, variance, values)
    scale = np.where(variance > 0, variance, 1.0)
    of_parts = squares - total_parts if total else 2 * main * (mains - main)
    of_variance = 2 * (main * (mains - main)).sum(axis=1, keepdims=True)
    influence = (of_parts - played.values * of_variance) / scale
    between = (influence**2).sum(axis=0) / (pairs * (pairs - 1))
    singles = squared.var(axis=0, ddof=1) / (len(left) * scale**2)
    errors = np.sqrt(between + played.values**2 * singles)
    return Played(
        played.values, np.where(_constant(variance, values), 0.0, errors), False, played.notes
    )


def _shares(parts: Array, variance: Array, values: Array) -> Played:
    import numpy as np

    constant = _constant(variance, values)
    shares = np.where(constant, 0.0, parts / np.where(constant, 1.0, variance))
    notes: tuple[str, ...] = ()
    if constant.any() and len(parts):
        many = f" for {constant.sum()} of {constant.size} targets" if constant.size > 1 else ""
        notes = (
            f"sobol: the output was the same in all {len(values)} sets{many}, so there is no "
            "variance to be shared",
        )
    return Played(np.clip(shares, 0.0, 1.0), notes=notes)


def _constant(variance: Array, values: Array) -> NDArray[np.bool_]:
    """Which targets do not vary beyond the rounding of their values."""
    import numpy as np

    found: NDArray[np.bool_] = np.sqrt(variance) <= CONSTANT * np.abs(values).max(axis=0)
    return found
