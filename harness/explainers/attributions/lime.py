"""LIME: a weighted linear model of the classifier around one sample (Ribeiro et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import fields
from harness.explainers.attributions.regression import (
    FEWEST_DRAWN,
    allot,
    draw_sets,
    jackknife,
    sets_of_size,
    spread_mass,
    well_posed,
)
from harness.explainers.games import Game, Play, Played, default_budget
from harness.records import HarnessError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.explainers.attributions.regression import Floats

DISTANCES = ("cosine", "euclidean")
LAWS = ("uniform", "bernoulli")
# Of the Gram matrix's mean diagonal: far below what shows in a value.
TINY_PENALTY = 1e-9


class Lime:
    """Coefficients of a ridge regression with intercept of the value on which players are kept.

    Ribeiro et al., "Why Should I Trust You?" (KDD 2016), equation 2, with the locality weight of
    section 3.4, exp(-distance**2 / kernel_width**2): highest for the sample as it is, which is
    always a row. (The authors' program takes the root of that, so its width is ours by sqrt(2).)

    Args:
        kernel_width: above 0, in the distance's unit.
        penalty: of the squared coefficients, 0 or more, beside weights of which the full set's is
            1; the intercept is not penalised. Where it is given, the budget may be too small to
            determine the coefficients, which are then regularised and said to be. Not given, it is
            1e-9 of the mean weighted variance of a player, and a small budget is refused.
        distance: `cosine`, 1 - sqrt(kept / players), or `euclidean`, sqrt(removed / players). Both
            are 0 for the full and 1 for the empty set.
        law: of the sets. `uniform`: the number of removed players is uniform in 1 to players, as in
            the authors' program for text. `bernoulli`: each player is kept with probability 1/2.

    The law is followed by strata: the sets of a size are drawn as often as their probability times
    their weight says, none twice, and weighted so that the fit is the same in the limit.
    Complements are not paired: the weight of one of two is next to nothing.

    Standard errors are a jackknife over rows. They speak of the draw of the sets, not of how well a
    linear model fits.

    Raises:
        HarnessError: for settings outside these ranges.
    """

    def __init__(
        self,
        kernel_width: float = 0.25,
        penalty: float | None = None,
        distance: str = "cosine",
        law: str = "uniform",
    ) -> None:
        if not _is_number(kernel_width) or kernel_width <= 0:
            raise HarnessError(f"lime: kernel_width is a number above 0, not {kernel_width!r}")
        if penalty is not None and (not _is_number(penalty) or penalty < 0):
            raise HarnessError(f"lime: penalty is a number of at least 0, not {penalty!r}")
        fields.one_of("lime", DISTANCES, distance=distance)
        fields.one_of("lime", LAWS, law=law)
        self.kernel_width, self.penalty, self.distance = kernel_width, penalty, distance
        self.law = law
        self.settings: Mapping[str, Any] = {
            "kernel_width": kernel_width,
            "penalty": penalty,
            "distance": distance,
            "law": law,
        }

    def budget(self, players: int) -> int:
        """Sets it wants: four for each player, 100 at least."""
        return default_budget(players)

    def least(self, players: int) -> int:
        """players + 2, or 3 where a penalty is given."""
        return int(min(players + 2 if self.penalty is None else 3, 2 ** min(players, 62)))

    def weight(self, kept: NDArray[np.int64], players: int) -> Floats:
        """Locality weight, 0 to 1, of sets with so many players."""
        share = kept / players
        distance = 1 - np.sqrt(share) if self.distance == "cosine" else np.sqrt(1 - share)
        return np.exp(-((distance / self.kernel_width) ** 2))

    def probability(self, kept: NDArray[np.int64], players: int) -> Floats:
        """Of a set with so many players, 0 to `players` - 1, under the law; they sum to 1."""
        if self.law == "uniform":
            return np.full(len(kept), 1 / players)
        # Logarithms: neither the number of sets nor 2**-players need fit a float.
        whole = math.lgamma(players + 1)
        logs = [whole - math.lgamma(k + 1) - math.lgamma(players - k + 1) for k in kept.tolist()]
        chances = np.exp(np.array(logs) - players * math.log(2))
        result: Floats = chances / chances.sum()
        return result

    def play(self, game: Game) -> Play:
        """Coefficients of players x targets; every set is asked for at once."""
        if game.players == 0:
            values = yield np.zeros((1, 0), bool)
            return Played(np.zeros((0, values.shape[1])))
        rng = np.random.default_rng(game.seed)
        rows = self._rows(game.players, game.budget - 1, rng)
        if game.budget > game.players and not well_posed(rows.gram()):
            # With all leave-one-out sets and the full one every coefficient is determined.
            rows = self._rows(game.players, game.budget - 1, rng, leave_one_out=True)
        values = yield rows.sets
        return _fit(rows, values, self.penalty)

    def _rows(
        self, players: int, count: int, rng: np.random.Generator, leave_one_out: bool = False
    ) -> _Rows:
        """The full set, and so many others; all that lack one player among them if asked."""
        kept = np.arange(players)
        capacity = np.array([sets_of_size(players, int(k)) for k in kept], np.int64)
        mass = self.probability(kept, players) * self.weight(kept, players)
        forced = players if leave_one_out else 0
        shares = np.where(kept == players - 1, 0.0, mass) if leave_one_out else mass
        counts = allot(count - forced, shares, capacity, rng)
        counts[-1] += forced
        drawn = [draw_sets(players, int(k), int(n), rng) for k, n in zip(kept, counts, strict=True)]
        # A plain draw of `count` sets would have these weights in the mean.
        weights = spread_mass(mass * count, counts)
        if leave_one_out:
            # Under the Bernoulli law they hardly occur; their weight must not vanish too.
            weights[-1] = max(weights[-1], self.weight(kept, players)[-1] / players)
        return _Rows(
            np.concatenate([np.ones((1, players), bool), *drawn]),
            np.concatenate([np.ones(1), np.repeat(weights, counts)]),
            np.concatenate([np.zeros(1), np.repeat(1 - counts / capacity, counts)]),
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of the regression: sets, their weights, and the share of their size not drawn."""

    sets: NDArray[np.bool_]
    weights: Floats
    unseen: Floats

    def centred(self) -> Floats:
        """Kept or not, less the weighted mean: this makes up for the intercept."""
        result: Floats = self.sets - np.average(self.sets, axis=0, weights=self.weights)
        return result

    def gram(self) -> Floats:
        """Players x players."""
        rows = self.centred()
        result: Floats = rows.T @ (self.weights[:, None] * rows)
        return result


def _fit(rows: _Rows, values: Floats, penalty: float | None) -> Played:
    """Weighted ridge regression with a free intercept."""
    players = rows.sets.shape[1]
    if penalty is None:
        penalty = TINY_PENALTY * float(rows.gram().trace()) / players
    coefficients, influence, residuals = ridge(rows, values, penalty)
    if len(rows.sets) < players + 1:
        note = (
            f"{len(rows.sets)} evaluations do not determine {players} coefficients: the values are "
            f"regularised (penalty {penalty:g}) and have no estimate of their errors."
        )
        return Played(coefficients, notes=(note,))
    drawn = int((rows.unseen > 0).sum())
    if drawn and (drawn < FEWEST_DRAWN or len(rows.sets) - players - 1 < FEWEST_DRAWN):
        note = "The budget is too small for an estimate of the values' errors."
        return Played(coefficients, notes=(note,))
    leverage = (rows.centred() * influence).sum(1) + rows.weights / rows.weights.sum()
    return Played(coefficients, jackknife(influence, residuals, leverage, rows.unseen))


def ridge(rows: _Rows, values: Floats, penalty: float) -> tuple[Floats, Floats, Floats]:
    """Coefficients (players x targets), their derivative by the values (rows x players), residuals.

    With penalty 0 and too few rows, the solution of least length.
    """
    centred = rows.centred()
    gram = rows.gram() + penalty * np.eye(rows.sets.shape[1])
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    influence = rows.weights[:, None] * centred @ inverse
    wanted = values - np.average(values, axis=0, weights=rows.weights)
    coefficients = influence.T @ wanted
    residuals = wanted - centred @ coefficients
    # One refinement: to rounding.
    coefficients += influence.T @ residuals - penalty * inverse @ coefficients
    return coefficients, influence, wanted - centred @ coefficients


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
