"""Six estimators of shapiq on tables of games, in an environment of its own (Python 3.12).

Reads `task.json` (players, budgets, seeds, estimators) and `games.npz` (values of all sets by game,
player i kept where bit i of the place is one) in a folder, and writes `answer.npz`: by game and
estimator the Shapley values, budgets x seeds x players.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import shapiq
from shapiq import approximator

ESTIMATORS = {
    "KernelSHAP": lambda n, seed: approximator.KernelSHAP(n, random_state=seed),
    "KernelSHAP, paired": lambda n, seed: approximator.KernelSHAP(
        n, pairing_trick=True, random_state=seed
    ),
    "UnbiasedKernelSHAP": lambda n, seed: approximator.UnbiasedKernelSHAP(n, random_state=seed),
    "PermutationSV": lambda n, seed: approximator.PermutationSamplingSV(n, random_state=seed),
    "SVARM": lambda n, seed: approximator.SVARM(n, random_state=seed),
    "OddSHAP": lambda n, seed: approximator.OddSHAP(n, random_state=seed),
}


def main(folder: str) -> None:
    """Every estimator at every budget and seed."""
    warnings.filterwarnings("ignore")
    task = json.loads(Path(folder, "task.json").read_text())
    players, answer = task["players"], {}
    places = 1 << np.arange(players)
    for game, table in np.load(Path(folder, "games.npz")).items():

        def value(sets: np.ndarray, table: np.ndarray = table) -> np.ndarray:
            found: np.ndarray = table[np.atleast_2d(np.asarray(sets, np.int64)) @ places]
            return found

        for name, make in ESTIMATORS.items():
            answer[f"{game}|{name}"] = np.array(
                [
                    [
                        values_of(make(players, seed), budget, value, players)
                        for seed in range(task["seeds"])
                    ]
                    for budget in task["budgets"]
                ]
            )
    np.savez(Path(folder, "answer.npz"), **answer)
    print(json.dumps({"shapiq": shapiq.__version__}))


def values_of(estimator: object, budget: int, value: object, players: int) -> list[float]:
    """The estimator's Shapley values of the players."""
    found = estimator.approximate(budget, value)
    return [float(found[(player,)]) for player in range(players)]


if __name__ == "__main__":
    main(sys.argv[1])
