"""Errors of kernel SHAP beside six estimators of shapiq, on games of 12 players at equal budgets.

    python benchmarks/explain/against_shapiq.py PYTHON [--seeds 200] [--games shown|held-out]

PYTHON is the interpreter of an environment with shapiq and lightgbm (shapiq 1.8 needs Python 3.12).
Bar, in every cell: at most 5 % and two standard errors worse than the best of the six over paired
seeds, or an error up to 1e-6 where the best has one; 1.96 standard errors cover 93 % of the values.
Exits with 1 where a cell misses it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import games
import numpy as np
import peers

from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.attributions.shapley import ExactShapley
from harness.explainers.games import Game, Played, all_sets

PLAYERS = 12
BUDGETS = (64, 128, 256, 512)
EXACT = 1e-6
WORSE, COVERAGE = 1.05, 0.93
SETS = {"shown": games.synthetic, "held-out": games.held_out}


def main() -> int:
    """Prints the table; how many cells miss the bar decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("python", help="an interpreter that has shapiq")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--games", choices=SETS, default="shown")
    given = parser.parse_args()
    tables = {name: f(all_sets(PLAYERS)) for name, f in SETS[given.games](PLAYERS).items()}
    theirs = of_shapiq(given.python, tables, given.seeds)
    missed = 0
    print(f"{'game':>20} {'sets':>5} {'ours':>9} {'best':>9}  which {'':14} ratio  cover  bar")
    for name, table in tables.items():
        truth = played(table, 2**PLAYERS, 0, ExactShapley()).values[:, 0]
        for place, budget in enumerate(BUDGETS):
            errors = {
                estimator.split("|")[1]: error(values[place], truth)
                for estimator, values in theirs.items()
                if estimator.split("|")[0] == name
            }
            best = min(errors, key=lambda one: errors[one].mean())
            runs = [played(table, budget, seed) for seed in range(given.seeds)]
            ours = error(np.array([run.values[:, 0] for run in runs]), truth)
            passes = meets(ours, errors[best])
            covered = coverage(runs, truth)
            passes &= covered is None or covered >= COVERAGE
            missed += not passes
            print(
                f"{name:>20} {budget:>5} {ours.mean():9.2e} {errors[best].mean():9.2e}  {best:20}"
                f" {ours.mean() / max(errors[best].mean(), 1e-16):6.2f} "
                f" {'none' if covered is None else f'{covered:.3f}'}  "
                f"{'met' if passes else 'MISSED'}",
                flush=True,
            )
    print(f"{missed} of {len(tables) * len(BUDGETS)} cells miss the bar, {given.seeds} seeds")
    return int(missed > 0)


def of_shapiq(python: str, tables: dict[str, np.ndarray], seeds: int) -> dict[str, np.ndarray]:
    """Values by "game|estimator": budgets x seeds x players."""
    with tempfile.TemporaryDirectory() as folder:
        task = {"players": PLAYERS, "budgets": BUDGETS, "seeds": seeds}
        Path(folder, "task.json").write_text(json.dumps(task))
        np.savez(Path(folder, "games.npz"), **tables)
        peers.run(python, Path(__file__).with_name("shapiq_side.py"), folder)
        with np.load(Path(folder, "answer.npz")) as answer:
            return dict(answer)


def played(
    table: np.ndarray, budget: int, seed: int, method: KernelShap | ExactShapley | None = None
) -> Played:
    """What a method, kernel SHAP unless given, finds within the budget."""
    places = 1 << np.arange(PLAYERS)
    moves = (method or KernelShap()).play(Game(PLAYERS, budget, seed))
    sets, asked = next(moves), set()
    while True:
        asked.update((sets.astype(np.int64) @ places).tolist())
        if len(asked) > budget:
            raise SystemExit(f"{len(asked)} sets evaluated, {budget} allowed")
        try:
            sets = moves.send(table[sets.astype(np.int64) @ places][:, None].astype(float))
        except StopIteration as end:
            found: Played = end.value
            return found


def error(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Root of the mean squared error of a player, by seed."""
    found: np.ndarray = np.sqrt(((values - truth) ** 2).mean(-1))
    return found


def meets(ours: np.ndarray, best: np.ndarray) -> bool:
    """Whether ours is at most 5 % and two standard errors worse, or as exact."""
    if best.mean() <= EXACT:
        return bool(ours.mean() <= EXACT)
    behind = ours - WORSE * best
    return bool(behind.mean() <= 2 * behind.std(ddof=1) / len(behind) ** 0.5)


def coverage(runs: list[Played], truth: np.ndarray) -> float | None:
    """Share of values within 1.96 standard errors, where there are any."""
    reached = [
        abs(run.values[:, 0] - truth) <= 1.96 * run.standard_errors[:, 0] + EXACT
        for run in runs
        if run.standard_errors is not None
    ]
    return float(np.mean(reached)) if reached else None


if __name__ == "__main__":
    sys.exit(main())
