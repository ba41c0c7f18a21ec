"""LIME: a weighted linear model of the classifier around one sample (Ribeiro et al. 2016)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import fields
from harness.explainers.attributions import kriging
from harness.explainers.attributions.kriging import ALONE, MOST_PLAYERS, MOST_ROWS
from harness.explainers.attributions.regression import (
    FEWEST_DRAWN,
    allot,
    balance,
    draw_beside,
    draw_mirrored,
    jackknife,
    sets_of_size,
    spread_mass,
    well_posed,
)
from harness.explainers.attributions.shapley_design import design_of
from harness.explainers.games import Game, Play, Played, default_budget
from harness.records import HarnessError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.explainers.attributions.regression import Floats

DISTANCES = ("cosine", "euclidean")
LAWS = ("uniform", "bernoulli")
# Of the Gram matrix's mean diagonal: far below what shows in a value.
TINY_PENALTY = 1e-9
# What the other sets weigh beside the full one: with less, differences of shares are rounding.
LEAST_MASS = 1e-9
NO_ERRORS = "The budget is too small for an estimate of the values' errors."


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

    The values estimate the fit to all sets, each with its probability and weight. Sets are drawn by
    size, more where they weigh more and differ more, none twice, complements together where there
    is room for both, and balanced; under the uniform law, so many of each size as kernel SHAP would
    ask for at this budget and seed are the same ones, so that both methods together cost less, and
    the others are balanced beside them. The value of a set that was not asked for is interpolated
    (`kriging`): interactions of few players are learnt from what was asked, rather than taken for
    noise. With more than 2,000 sets or 500 players, or where all sets were asked for, the fit is to
    these sets alone.

    Standard errors are the interpolation's, or a jackknife over rows. They speak of the draw of the
    sets, not of how well a linear model fits.

    Raises:
        HarnessError: for settings outside these ranges, and where so narrow a kernel leaves no
            weight to any set but the full one.
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
        rows = self._rows(game)
        if game.budget > game.players and not well_posed(rows.gram):
            # With all leave-one-out sets and the full one every coefficient is determined.
            rows = self._rows(game, leave_one_out=True)
        values = yield rows.sets
        return _fit(rows, values, self.penalty)

    def _shared(self, game: Game) -> NDArray[np.bool_] | None:
        """What kernel SHAP would ask for, where a fit from such sets is as good as from others."""
        few = game.budget <= MOST_ROWS and game.players <= MOST_PLAYERS
        if self.law != "uniform" or not few or not 2 <= game.players <= game.budget - 2:
            return None
        return design_of(game.players, game.budget, game.seed).asked()

    def _rows(self, game: Game, leave_one_out: bool = False) -> _Rows:
        """The full set, and so many others; all that lack one player among them if asked."""
        # Kernel SHAP's draw has the seed alone.
        players, count, rng = game.players, game.budget - 1, np.random.default_rng((game.seed, 1))
        kept = np.arange(players)
        capacity = np.array([sets_of_size(players, int(k)) for k in kept], np.int64)
        mass = self.probability(kept, players) * self.weight(kept, players)
        if not mass.max() > np.finfo(float).tiny:
            raise HarnessError(
                f"lime: with a kernel_width of {self.kernel_width:g} no set of {players} units but "
                "the full one has a weight; take a larger one"
            )
        forced = players if leave_one_out else 0
        # More draws where sets of a size differ more, about as kept x removed: optimal allocation.
        shares: Floats = mass * (kept + 0.5) * (players - kept)
        if leave_one_out:
            shares[-1] = 0
        counts = allot(count - forced, shares, capacity, rng)
        counts[-1] += forced
        shared = self._shared(game)
        if shared is None:
            sets, mirrors = draw_mirrored(players, counts, rng)
            given = np.zeros(len(sets), bool)
        else:
            sets, given = draw_beside(shared, counts, rng)
            mirrors = np.full(len(sets), -1)
        # A plain draw of `count` sets would have these weights in the mean.
        weights = spread_mass(mass * count, counts)
        if leave_one_out:
            # Under the Bernoulli law they hardly occur; their weight must not vanish too.
            weights[-1] = max(weights[-1], self.weight(kept, players)[-1] / players)
        of_rows, unseen = np.repeat(weights, counts), np.repeat(1 - counts / capacity, counts)
        movable = (unseen > 0) & ~given
        sets = balance(sets, of_rows, movable, rng, mirrors, exchanged=shared is None)
        return _Rows(
            np.concatenate([np.ones((1, players), bool), sets]),
            np.append(1.0, of_rows),
            np.append(0.0, unseen),
            np.append(mass * count, 1.0),
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of the regression: sets, their weights, and the share of their size not drawn.

    `masses` are what all rows of a size weigh together on average, for sizes 0 to players.
    """

    sets: NDArray[np.bool_]
    weights: Floats
    unseen: Floats
    masses: Floats

    def centred(self) -> Floats:
        """Kept or not, less the weighted mean: this makes up for the intercept."""
        result: Floats = self.sets - np.average(self.sets, axis=0, weights=self.weights)
        return result

    @functools.cached_property
    def gram(self) -> Floats:
        """Players x players."""
        rows = np.sqrt(self.weights)[:, None] * self.centred()
        result: Floats = rows.T @ rows
        return result


def _fit(rows: _Rows, values: Floats, penalty: float | None) -> Played:
    """Weighted ridge regression with a free intercept."""
    players = rows.sets.shape[1]
    if penalty is None:
        penalty = TINY_PENALTY * float(rows.gram.trace()) / players
    spare = len(rows.sets) - players - 1
    drawn = int((rows.unseen > 0).sum())
    small = len(rows.sets) <= MOST_ROWS and players <= MOST_PLAYERS
    if drawn and spare > 0 and small and rows.masses[:-1].sum() > LEAST_MASS:
        return _interpolated(rows, values, penalty)
    coefficients, influence, residuals = ridge(rows, values, penalty)
    if spare < 0:
        note = (
            f"{len(rows.sets)} evaluations do not determine {players} coefficients: the values are "
            f"regularised (penalty {penalty:g}) and have no estimate of their errors."
        )
        return Played(coefficients, notes=(note,))
    if drawn and min(drawn, spare) < FEWEST_DRAWN:
        return Played(coefficients, notes=(NO_ERRORS,))
    leverage = (rows.centred() * influence).sum(1) + rows.weights / rows.weights.sum()
    return Played(coefficients, jackknife(influence, residuals, leverage, rows.unseen))


def _interpolated(rows: _Rows, values: Floats, penalty: float) -> Played:
    """The fit to all sets, which is linear in their values, of what is expected of these values."""
    players, kept = rows.sets.shape[1], rows.sets.sum(1)
    sizes, shares = np.arange(players + 1), rows.masses / rows.masses.sum()
    mean = float(shares @ sizes) / players
    both = float(shares @ (sizes * (sizes - 1))) / max(players * (players - 1), 1)
    # The law treats players alike: the Gram matrix has one number on its diagonal, one beside it.
    own, other = mean - both, both - mean**2
    shrunk = own + penalty / rows.masses.sum()
    pull = other / (shrunk + players * other)

    def fitted(of_player: Floats, of_all: Floats) -> Floats:
        """Coefficient of a player whose covariance is the first, where those of all sum to this."""
        result: Floats = (of_player - pull * of_all) / shrunk
        return result

    inside, outside = kriging.shared(players)
    together = sizes[:, None] * inside + (players - sizes[:, None]) * outside
    empty = np.exp(-2 * kriging.RATE * sizes / players)
    kernel = np.concatenate([empty[:, None], together[:, 1:] / sizes[1:]], axis=1) @ shares
    of_in, of_out = inside @ shares - mean * kernel, outside @ shares - mean * kernel
    of_all = sizes * of_in + (players - sizes) * of_out
    # Of a size: prior covariance of the set's value and a coefficient of a player in it, and out.
    near_in, near_out = fitted(of_in, of_all), fitted(of_out, of_all)
    # The coefficient's derivative by the value of one of the size's sets, times their number.
    step_in = shares * fitted(1 - mean, sizes - players * mean)
    step_out = shares * fitted(-mean, sizes - players * mean)
    number = np.array([float(math.comb(players, int(size))) for size in sizes])
    near_in = near_in + ALONE * step_in / number
    near_out = near_out + ALONE * step_out / number
    prior = float((sizes * step_in) @ near_in + ((players - sizes) * step_out) @ near_out) / players

    covariances = np.where(rows.sets, near_in[kept][:, None], near_out[kept][:, None])
    basis = np.concatenate([rows.sets, np.ones((len(rows.sets), 1))], axis=1)
    wanted = (
        np.eye(players + 1, players) * own + other * (np.arange(players + 1) < players)[:, None]
    )
    wanted = fitted(wanted, wanted.sum(1, keepdims=True))
    found, influence, scale = kriging.krige(rows.sets, values, wanted, basis, covariances)
    if len(rows.sets) - players - 1 < FEWEST_DRAWN:
        return Played(found, notes=(NO_ERRORS,))
    spread = (influence * (kriging.covariance(rows.sets) @ influence - 2 * covariances)).sum(0)
    return Played(found, np.sqrt(np.maximum(prior + spread, 0)[:, None] * scale))


def ridge(rows: _Rows, values: Floats, penalty: float) -> tuple[Floats, Floats, Floats]:
    """Coefficients (players x targets), their derivative by the values (rows x players), residuals.

    With penalty 0 and too few rows, the solution of least length.
    """
    centred = rows.centred()
    gram = rows.gram + penalty * np.eye(rows.sets.shape[1])
    # A pseudo-inverse costs ten times as much as the inverse.
    inverse = (
        np.linalg.inv(gram)
        if well_posed(gram)
        else np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    )
    influence = rows.weights[:, None] * centred @ inverse
    wanted = values - np.average(values, axis=0, weights=rows.weights)
    coefficients = influence.T @ wanted
    residuals = wanted - centred @ coefficients
    # One refinement: to rounding.
    coefficients += influence.T @ residuals - penalty * inverse @ coefficients
    return coefficients, influence, wanted - centred @ coefficients


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
