"""Kernel SHAP: Shapley values by least squares on sampled sets (Lundberg and Lee 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import fields
from harness.explainers.attributions.regression import FEWEST_DRAWN, jackknife
from harness.explainers.attributions.shapley_design import Design, design_of
from harness.explainers.attributions.structure import MOST_WORK, shapley_of_structure
from harness.explainers.games import Game, Play, Played, default_budget

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.explainers.attributions.regression import Floats


class KernelShap:
    """Shapley values as the solution of a weighted least squares problem over sets.

    The problem is that of Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions"
    (NeurIPS 2017), theorem 2; that the values sum to the full value less the empty one is a
    constraint, solved exactly. Sets are asked for together with their complements (Covert and Lee,
    "Improving KernelSHAP", AISTATS 2021, section 4.2), none twice, so many of each size; a size
    that its share covers is enumerated. They are balanced: pairs of players are kept together as
    evenly as can be. The error that is left comes from interactions of odd order above one; a
    regressor of third order, whose Shapley values are zero, takes up the part of it that depends on
    how many players there are (a control variate). With `adaptive` a second one takes up what
    depends on the players' weighted sum, the weights being the values found: a lower error where
    the output saturates, but no longer linear, so that estimates of a sum (or of a difference) of
    targets are not the sum of theirs.

    With `structure` a game is recognised that depends on the number of players alone, or is a sum
    of a few threshold terms (AND, OR, majority of some players; see `structure.py`) that fits all
    sets evaluated; its values are then exact, and its standard errors those of the regression,
    which are larger. Else, and beyond 500,000 sets x players x targets, nothing changes.

    Exact where all 2**players sets fit, and on additive games and games of pairwise interactions
    (the latter where complements are asked for: from about two sets a player on).
    Standard errors are a jackknife over pairs, zero where everything is enumerated.
    """

    def __init__(self, adaptive: bool = False, structure: bool = True) -> None:
        fields.switches("kernel_shap", adaptive=adaptive, structure=structure)
        self.settings: Mapping[str, Any] = {"adaptive": adaptive, "structure": structure}

    def budget(self, players: int) -> int:
        """Sets it wants: four for each player, 100 at least."""
        return default_budget(players)

    def least(self, players: int) -> int:
        """The empty set, the full one, and as many others as there are players."""
        return int(min(players + 2, 2 ** min(players, 62)))

    def play(self, game: Game) -> Play:
        """Values of players x targets; every set is asked for at once."""
        ends = np.repeat([[False], [True]], game.players, axis=1)
        if game.players <= 1:
            values = yield ends[: game.players + 1]
            return Played(np.diff(values, axis=0), complete=True)
        design = design_of(game.players, game.budget, game.seed)
        values = yield design.asked()
        empty, full, kept = values[0], values[1], values[2 : 2 + len(design.sets)]
        # Without its complement's value a set stands for both, as in an additive game.
        complements = empty + full - kept
        complements[design.paired] = values[2 + len(design.sets) :]
        found = _solve(design, kept - complements, full - empty, self.settings["adaptive"])
        if self.settings["structure"] and (design.unseen > 0).any():
            return _with_structure(found, design.asked(), values)
        return found


def _with_structure(found: Played, sets: NDArray[np.bool_], values: Floats) -> Played:
    """Values of the targets that are sums of few threshold terms put in place of estimates.

    That a sum fits all sets evaluated is no proof for the others, so errors stay those of the
    regression, which are larger.
    """
    if values.size * sets.shape[1] > MOST_WORK:
        return found
    better = found.values.copy()
    for target in range(values.shape[1]):
        exact = shapley_of_structure(sets, values[:, target])
        if exact is not None:
            better[:, target] = exact
    return replace(found, values=better)


def _solve(design: Design, differences: Floats, total: Floats, adaptive: bool) -> Played:
    """Least squares of the differences v(set) - v(complement) on signs, with a given sum.

    With values = total / players + u and sum(u) = 0 a row's sign vector may be centred, which makes
    the solution's sum zero by itself: elimination that treats all players alike.
    """
    players, targets = design.sets.shape[1], len(total)
    rows = design.centred()
    signs = np.where(design.sets, 1.0, -1.0)
    wanted = differences - signs.sum(1, keepdims=True) * total / players
    solved = np.linalg.solve(design.gram(), (design.weights[:, None] * rows).T)
    influence = np.asarray(solved.T, np.float64)
    shifts = influence.T @ wanted
    shifts += influence.T @ (wanted - rows @ shifts)  # one refinement: to rounding
    drawn = int((design.unseen > 0).sum())
    if not drawn:
        errors = np.zeros((players, targets))
        return Played(_summed(shifts, total), errors, complete=True)
    leverage = (rows * influence).sum(1)
    # With few rows to spare, control variates and residuals are mostly noise themselves.
    if drawn < FEWEST_DRAWN or len(rows) - players < max(FEWEST_DRAWN, players // 2):
        note = "The budget is too small for an estimate of the values' errors."
        return Played(_summed(shifts, total), complete=True, notes=(note,))
    errors = np.empty((players, targets))
    for target in range(targets):
        shifts[:, target], errors[:, target] = _with_control_variates(
            design,
            rows,
            influence,
            leverage,
            wanted[:, target],
            shifts[:, target],
            total[target] if adaptive else None,
        )
    return Played(_summed(shifts, total), errors, complete=True)


def _summed(shifts: Floats, total: Floats) -> Floats:
    """Values whose sum is the total to rounding."""
    result: Floats = total / len(shifts) + shifts - shifts.mean(0)
    return result


def _with_control_variates(
    design: Design,
    rows: Floats,
    influence: Floats,
    leverage: Floats,
    wanted: Floats,
    shifts: Floats,
    total: float | None,
) -> tuple[Floats, Floats]:
    """Shifts and standard errors of one target, cubes of sums of signs regressed out.

    With a `total`, one cube is of a weighted sum. The weights are the values found so far, so the
    second round has better ones.
    """
    signs = np.where(design.sets, 1.0, -1.0)
    scale = np.sqrt(design.weights)
    first, errors = shifts, shifts
    for _ in range(1 if total is None else 2):
        sums = [np.ones(len(shifts))]
        if total is not None:
            sums.append(total / len(shifts) + shifts)
        columns = np.stack([_cubic(signs, weights) for weights in sums], axis=1)
        moved = influence.T @ columns
        own = columns - rows @ moved  # what the players' signs do not explain
        inverse = np.linalg.pinv(scale[:, None] * own, rcond=1e-6)
        solver = inverse * scale
        coefficients = solver @ (wanted - rows @ first)
        shifts = first - moved @ coefficients
        residuals = wanted - rows @ shifts - columns @ coefficients
        used = leverage + np.einsum("rc,cr->r", own, solver)
        errors = jackknife(influence - (moved @ solver).T, residuals[:, None], used, design.unseen)[
            :, 0
        ]
    return shifts, errors


def _cubic(signs: Floats, weights: Floats) -> Floats:
    """The game (weights . signs)**3 less its Shapley values: v(set) - v(complement) of each row.

    Written out, the cube is sum w_i^3 z_i + 3 sum_{i != j} w_i^2 w_j z_j
    + 6 sum_{i<j<k} w_i w_j w_k z_i z_j z_k. From all -1 to all +1 a single sign gains 2, which its
    player gets, and a product of three gains 2, of which each gets a third.
    """
    length = np.abs(weights).sum()
    unit = weights / length if length > 0 else weights
    squares = (unit**2).sum() - unit**2
    pairs = ((unit.sum() - unit) ** 2 - squares) / 2
    shapley = 2 * unit**3 + 6 * unit * squares + 4 * unit * pairs
    column: Floats = 2 * (signs @ unit) ** 3 - signs @ shapley
    height = np.abs(column).max()
    return column / height if height > 1e-12 else np.zeros_like(column)
