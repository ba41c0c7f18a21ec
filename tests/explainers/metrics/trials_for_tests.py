"""Trials on games whose values are known, and metrics played against a plain function."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.explainers.division import Division
from harness.explainers.metrics.metric import Measured, Trial
from harness.records import Unit

sys.path.append(str(Path(__file__).parent.parent))

from games_for_tests import Function, ask


def trial_of(
    values: Any, f: Function | None = None, seed: int = 0, evidence: Any = None, sizes: Any = None
) -> Trial:
    """A trial of these values on a game; each unit has one feature, or `sizes` of them."""
    values = np.asarray(values, dtype=np.float64)
    players = len(values)
    owner = np.repeat(np.arange(players), 1 if sizes is None else sizes)
    division = Division(
        "feature", tuple(Unit(str(i)) for i in range(players)), tuple(range(players)), owner,
        (0,) * players,
    )  # fmt: skip
    full = empty = 0.0
    if f is not None:
        empty, full = ask(f, np.array([[False] * players, [True] * players]))[:, 0].tolist()
    known = {} if evidence is None else {"": np.asarray(evidence, dtype=bool)}
    return Trial(values, full, empty, abs(full - empty), seed, division, owner >= 0, known)


def measured(metric: Any, trial: Trial, f: Function) -> tuple[Measured, int]:
    """What the metric says of the trial, and how many different sets it asked for."""
    asked: set[tuple[bool, ...]] = set()
    moves = metric.ask(trial)
    try:
        sets = next(moves)
        while True:
            assert sets.dtype == np.bool_
            asked.update(map(tuple, sets.tolist()))
            sets = moves.send(ask(f, sets)[:, 0])
    except StopIteration as end:
        return end.value, len(asked)
