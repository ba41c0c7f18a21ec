"""Games to be explained: texts with words masked, as tables of the values of all sets, and games
that are known by a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.explainers.division import divide
from harness.explainers.engine import Engine
from harness.explainers.games import Game, Perturbation, all_sets
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.reading import Removal
from harness.explainers.units.text import Word

Value = Callable[[np.ndarray], np.ndarray]


def of_text(classifier: Any, text: str) -> tuple[Value, int]:
    """First logit by the words kept, the others masked, in units of full less empty; each set is
    evaluated once. And how many words there are."""
    _, (sample,) = chosen_inputs(classifier, [text], {})
    model = model_of(classifier, [sample])
    reading = model.read(sample, Removal.of("mask", None))
    division = divide(reading, [Word()], "word")
    engine = Engine(model)
    players = len(division.players)

    def logits(sets: np.ndarray) -> np.ndarray:
        return engine.outputs(reading, division, sets)[:, 0]

    empty, full = logits(np.repeat([[False], [True]], players, axis=1))
    return lambda sets: (logits(sets) - empty) / abs(full - empty), players


def tabled(value: Value, players: int) -> Value:
    """The same from a table of all sets."""
    values = value(all_sets(players))
    places = 1 << np.arange(players)
    return lambda sets: values[sets.astype(np.int64) @ places]


def played(method: Perturbation, value: Value, players: int, budget: int, seed: int) -> np.ndarray:
    """The method's values of the only target."""
    moves = method.play(Game(players, budget, seed))
    sets = next(moves)
    while True:
        try:
            sets = moves.send(value(sets)[:, None])
        except StopIteration as end:
            return end.value.values[:, 0]


def synthetic(players: int = 12) -> dict[str, Value]:
    """Conjunctions, a majority, saturating sums, networks, attention, sums of interactions of up to
    four players, and values without any order: from easy to impossible."""
    rng = np.random.default_rng(5)
    first, second = 2 * rng.normal(size=(players, 8)) / players**0.5, rng.normal(size=8)
    scores, weights = rng.normal(size=players), np.exp(rng.normal(size=players))
    groups = [rng.choice(players, rng.integers(1, 5), replace=False) for _ in range(30)]
    strengths = rng.normal(size=30)
    random = rng.normal(size=2**players)
    places = 1 << np.arange(players)
    return {
        "AND of 4": lambda s: s[:, :8:2].all(1) * 1.0,
        "OR of 5": lambda s: s[:, :5].any(1) * 1.0,
        "majority": lambda s: (2 * s.sum(1) > players) * 1.0,
        "sigmoid of a sum": lambda s: 1 / (1 + np.exp(3 - s @ np.linspace(0.1, 0.9, players))),
        "network": lambda s: np.tanh((2 * s - 1) @ first) @ second,
        "attention": lambda s: (s @ (weights * scores)) / (s @ weights + 0.5),
        "interactions": lambda s: sum(
            strength * s[:, group].all(1) for strength, group in zip(strengths, groups, strict=True)
        ),
        "maximum": lambda s: (s * np.linspace(0.1, 1, players)).max(1),
        "no order": lambda s: random[s.astype(np.int64) @ places],
    }


def held_out(players: int = 12) -> dict[str, Value]:
    """Games of kinds that no estimator here was tuned on, to be printed and left alone."""
    rng = np.random.default_rng(71)
    votes = rng.integers(1, 6, players)
    keys, queries = rng.normal(size=(2, players, 3))
    effects = rng.normal(size=players)
    coverage = rng.random((players, 40)) < 0.12
    inside, outside = rng.normal(size=(players, 5)), rng.normal(size=5)
    pairs = np.triu(rng.normal(size=(players, players)) * (rng.random((players, players)) < 0.2), 1)
    return {
        "AND of 7": lambda s: s[:, -7:].all(1) * 1.0,
        "OR of two ANDs": lambda s: (s[:, :3].all(1) | s[:, 5:8].all(1)) * 1.0,
        "three of five": lambda s: (s[:, 2:7].sum(1) >= 3) * 1.0,
        "weighted vote": lambda s: (2 * (s @ votes) > votes.sum()) * 1.0,
        "coverage": lambda s: (s.astype(int) @ coverage > 0).mean(1),
        "ReLU network": lambda s: np.maximum((s - 0.5) @ inside, 0) @ outside,
        "pairs": lambda s: s @ effects + ((s @ pairs) * s).sum(1),
        "softmax of sums": lambda s: (
            1 / (1 + np.exp((s @ keys) @ [1, 1, 1] - (s @ queries).max(1)))
        ),
        "parity and a sum": lambda s: (s[:, :3].sum(1) % 2) + 0.3 * np.sqrt(s[:, 3:].sum(1)),
    }
