"""The sets that kernel SHAP asks for, which LIME asks for too where it has a use for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.explainers.attributions.regression import (
    allot,
    balance,
    draw_sets,
    may_be_well_posed,
    sets_of_size,
    spread_mass,
    well_posed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.explainers.attributions.regression import Floats


@dataclass(frozen=True, eq=False)
class Design:
    """Rows of the regression: a set, or a set and its complement where `paired`."""

    sets: NDArray[np.bool_]
    weights: Floats
    paired: NDArray[np.bool_]
    unseen: Floats  # share of the row's stratum that is not in the design

    def asked(self) -> NDArray[np.bool_]:
        """The empty set, the full one, those of the rows, and complements of the paired ones."""
        ends = np.repeat([[False], [True]], self.sets.shape[1], axis=1)
        return np.concatenate([ends, self.sets, ~self.sets[self.paired]])

    def centred(self) -> Floats:
        """+1 and -1 less the row's mean: the constraint is eliminated (see `kernel_shap`)."""
        signs = np.where(self.sets, 1.0, -1.0)
        rows: Floats = signs - signs.mean(1, keepdims=True)
        return rows

    def gram(self) -> Floats:
        """Gram matrix, with the direction that the constraint fixes filled in."""
        rows = np.sqrt(self.weights)[:, None] * self.centred()
        gram = rows.T @ rows
        result: Floats = gram + np.trace(gram) / len(gram) ** 2
        return result


@functools.lru_cache(maxsize=32)
def design_of(players: int, budget: int, seed: int) -> Design:
    """Pairs of complements; leave-one-out sets are forced in where these do not determine a fit.

    A pair tells one thing of an additive game, so pairs alone need about two sets a player, and far
    more than that to be well conditioned. With all leave-one-out sets every budget has full rank.
    """
    rng = np.random.default_rng(seed)
    others = budget - 2
    if others // 2 >= players - 1 and may_be_well_posed(others // 2, players):
        design = _pairs(players, others // 2, rng)
        if well_posed(design.gram()):
            return design
    return _leave_one_out(players, others, rng)


def _pairs(players: int, count: int, rng: np.random.Generator, smallest: int = 1) -> Design:
    sizes = np.arange(smallest, players // 2 + 1)
    halved = 2 * sizes == players
    capacity = np.array([sets_of_size(players, int(s)) for s in sizes], np.int64) // (1 + halved)
    # Theorem 2's kernel times the number of sets of a size, a constant factor left out.
    mass = np.where(halved, 1.0, 2.0) / (sizes * (players - sizes))
    # Number of draws by the mass's root: between the kernel's own law (Covert and Lee) and leverage
    # scores (Musco and Witter 2025: every size alike). Lowest error of the three in trials on
    # networks, attention and saturating sums of 12 to 60 players; the weights keep it unbiased.
    counts = allot(count, np.sqrt(mass), capacity, rng)
    drawn = [
        draw_sets(players, int(s), int(n), rng, bool(h))
        for s, n, h in zip(sizes, counts, halved, strict=True)
    ]
    weights = spread_mass(mass, counts) if counts.any() else np.zeros(len(counts))
    sets, rows = np.concatenate([np.zeros((0, players), bool), *drawn]), np.repeat(weights, counts)
    unseen = np.repeat(1 - counts / capacity, counts)
    sets = balance(sets, rows, unseen > 0, rng, np.arange(len(rows)))
    return Design(sets, rows, np.ones(len(rows), bool), unseen)


def _leave_one_out(players: int, others: int, rng: np.random.Generator) -> Design:
    """All leave-one-out sets, then their complements, then pairs of the other sizes."""
    complements = min(players, others - players)
    inner = _pairs(players, (others - players - complements) // 2, rng, smallest=2)
    paired = np.zeros(players, bool)
    paired[rng.permutation(players)[:complements]] = True
    # An unpaired set has half a pair's weight: it is one of two equal terms of the sum of squares.
    weights = np.where(paired, 1.0, 0.5) * 2 / (players - 1) / players
    return Design(
        np.concatenate([~np.eye(players, dtype=bool), inner.sets]),
        np.concatenate([weights, inner.weights]),
        np.concatenate([paired, inner.paired]),
        np.concatenate([np.where(paired, 0.0, 1.0), inner.unseen]),
    )
