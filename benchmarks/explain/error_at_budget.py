"""Errors of kernel SHAP and LIME at fewer evaluations than Captum, as ratios to Captum's.

Bars: at most 1 with a third of Captum's rows where Captum has 16 a unit, and with half where it has
8. Removal is by mask, so rows of a text are all as long, and rows are tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import captum_side
import games
import numpy as np

from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.attributions.lime import Lime
from harness.explainers.games import all_sets

BUDGETS = ((16, 3), (8, 2))  # Captum's rows a unit, and the part of them that ours may take
LIMES = {
    "lime": Lime(),
    "lime, penalty 1": Lime(penalty=1.0),
    "lime, Bernoulli law": Lime(law="bernoulli"),
    # Captum's own kernel: exp(-distance**2 / (2 x 1**2)).
    "lime, Bernoulli law, Captum's width": Lime(law="bernoulli", kernel_width=2**0.5),
}
Value = games.Value
Truth = Callable[[Value, int, int], np.ndarray]  # of a game, its players and the rows taken


def all_ratios(
    named: dict[str, tuple[Value, int]], seeds: int, exact: bool = True
) -> dict[str, dict[str, list[float]]]:
    """By method and game, ours over Captum's mean error for each of the budgets."""
    found = {"kernel_shap": _kernel_shap(named, seeds, exact)}
    for name, method in LIMES.items():
        found[name] = {}
        for game, (value, players) in named.items():
            found[name][game] = [
                _error(
                    lambda rows, seed, m=method, v=value, p=players: games.played(
                        m, v, p, rows, seed
                    ),
                    _lime_truth(value, players, players * units // part, method, exact),
                    players * units // part,
                    seeds,
                )
                / _error(
                    lambda rows, seed, m=method, v=value, p=players: captum_side.lime(
                        v, p, rows, seed, m
                    ),
                    _lime_truth(value, players, players * units, method, exact),
                    players * units,
                    seeds,
                )
                for units, part in BUDGETS
            ]
    return found


def _kernel_shap(
    named: dict[str, tuple[Value, int]], seeds: int, exact: bool
) -> dict[str, list[float]]:
    found = {}
    for game, (value, players) in named.items():
        many = 2**players if exact else 100 * players
        truth = games.played(KernelShap(), value, players, many, 10**6)
        found[game] = [
            _error(
                lambda rows, seed, v=value, p=players: games.played(KernelShap(), v, p, rows, seed),
                truth,
                players * units // part,
                seeds,
            )
            / _error(
                lambda rows, seed, v=value, p=players: captum_side.kernel_shap(v, p, rows, seed),
                truth,
                players * units,
                seeds,
            )
            for units, part in BUDGETS
        ]
    return found


def _error(
    method: Callable[[int, int], np.ndarray], truth: np.ndarray, rows: int, seeds: int
) -> float:
    """Root of the mean squared error of a unit, mean over seeds."""
    errors = [np.sqrt(((method(rows, seed) - truth) ** 2).mean()) for seed in range(seeds)]
    return float(np.mean(errors))


def _lime_truth(value: Value, players: int, rows: int, method: Lime, exact: bool) -> np.ndarray:
    """The ridge fit that so many rows estimate: the full set once, beside rows - 1 by the law.

    Written out here as weighted least squares, on all sets or, where these are too many, on a draw.
    """
    if exact:
        sets = all_sets(players)[:-1]
        sizes = sets.sum(1)
        chances = method.probability(np.arange(players), players)[sizes]
        law = chances / np.bincount(sizes)[sizes]
    else:
        rng = np.random.default_rng(10**6)
        sizes = rng.choice(
            players, 400 * players, p=method.probability(np.arange(players), players)
        )
        sets = rng.random((len(sizes), players)).argsort(1).argsort(1) < sizes[:, None]
        law = np.full(len(sets), 1 / len(sets))
    weights = np.append((rows - 1) * law * method.weight(sizes, players), 1.0)
    sets = np.concatenate([sets, np.ones((1, players), bool)])
    centred = sets - np.average(sets, axis=0, weights=weights)
    gram = centred.T @ (weights[:, None] * centred) + (method.penalty or 0.0) * np.eye(players)
    truth: np.ndarray = np.linalg.solve(gram, (weights[:, None] * centred).T @ value(sets))
    return truth


def geometric_mean(ratios: Sequence[Sequence[float]]) -> list[float]:
    """Of each budget."""
    result: list[float] = np.exp(np.log(np.maximum(ratios, 1e-6)).mean(0)).tolist()
    return result
