"""Estimates of interaction indices of order 2 from a sample of sets.

An index is a weighted sum over all sets (Fumagalli et al. 2023, theorem 4.1). Here each size of
sets is a stratum, drawn without replacement and together with complements; a regression on players
and pairs, whose index is known, leaves less to be estimated by the sample.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from harness.explainers.attributions.regression import (
    FEWEST_DRAWN,
    allot,
    draw_sets,
    sets_of_size,
)
from harness.explainers.games import Played

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Pairs of 54 players: beyond, the fit would take longer than most classifiers.
MOST_PAIRS = 1431
# With 1.2 draws a pair 1.96 standard errors covered 88 % of the pairs of smooth games.
DRAWS_PER_PAIR = 1.5
# With one draw a player, standard errors covered 77 % of the players' values of a network.
DRAWS_PER_PLAYER = 2
POOLED = 3  # as in `shapley`
_FEWEST = 2  # draws of each size: one has no spread


@dataclass(frozen=True, eq=False)
class SetWeights:
    """What the value of a set counts, by the set's size, times the number of sets of that size.

    `mains` (sizes x 2) is for a player's value, without and with the player in the set; `pairs`
    (sizes x 3) for a pair's, with 0, 1 and 2 of the pair in it.
    """

    mains: Floats
    pairs: Floats


@dataclass(frozen=True, eq=False)
class Design:
    """Sets to be evaluated, and their complements.

    The first `enumerated` of `half` are the empty set and all single players, the others are drawn.
    `counts` is how many sets of each size there are here, `unseen` the share of each size's sets
    that are not.
    """

    half: NDArray[np.bool_]
    enumerated: int
    counts: Floats
    unseen: Floats

    @property
    def sets(self) -> NDArray[np.bool_]:
        """The sets of `half`, then their complements in the same order."""
        return np.concatenate([self.half, ~self.half])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The size of each set of `half`."""
        found: NDArray[np.int64] = self.half.sum(1)
        return found


def least_budget(players: int) -> int:
    """The sets of the smallest and largest sizes, and two pairs of complements of each other."""
    return int(min(4 * players, 2 ** min(players, 62)))


@functools.lru_cache(maxsize=32)
def design_of(players: int, budget: int, seed: int) -> Design:
    """Sets for a budget of at least `least_budget`, which is below 2**players.

    It does not depend on the index, so that several indices of a sample share evaluations.
    """
    rng = np.random.default_rng(seed)
    fixed = np.concatenate([np.zeros((1, players), bool), np.eye(players, dtype=bool)])
    sizes = np.arange(2, players // 2 + 1)
    halved = 2 * sizes == players
    capacity = np.array([sets_of_size(players, int(s)) for s in sizes], np.int64) // (1 + halved)
    fewest = np.minimum(capacity, _FEWEST)
    left = budget // 2 - len(fixed) - int(fewest.sum())
    counts = fewest + allot(left, _shares(players)[sizes], capacity - fewest, rng)
    drawn = [
        draw_sets(players, int(s), int(c), rng, bool(h))
        for s, c, h in zip(sizes, counts, halved, strict=True)
    ]
    half = np.concatenate([fixed, *drawn])
    found = np.bincount(half.sum(1), minlength=players + 1).astype(np.float64)
    unseen = np.zeros(players + 1)
    unseen[sizes] = unseen[players - sizes] = 1 - counts / capacity
    return Design(half, len(fixed), found + found[::-1], unseen)


def _shares(players: int) -> Floats:
    """Shares of draws by size: the root of the mean square weight in a Shapley interaction index.

    Neyman's allocation for values of equal spread.
    """
    shares = np.zeros(players + 1)
    for size in range(2, players - 1):
        total = sum(
            times * (comb(players, size) / comb(players - 2, size - held))
            for held, times in ((0, 1), (1, 2), (2, 1))
        )
        shares[size] = total**0.5
    return shares


def weighted_sums(
    sets: NDArray[np.bool_], values: Floats, weights: SetWeights, counts: Floats
) -> tuple[Floats, Floats]:
    """The index from values of sets (sets x targets): players x targets and pairs x targets.

    `counts` is how many sets there are of each size: where not all, the sums are estimates.
    """
    sizes = sets.sum(1)
    share = values / counts[sizes][:, None]
    mains = weights.mains[sizes][:, :, None] * share[:, None, :]
    pairs = weights.pairs[sizes][:, :, None] * share[:, None, :]
    return _by_player(sets, mains), _by_pair(sets, pairs)


def _by_player(sets: NDArray[np.bool_], terms: Floats) -> Floats:
    """Sums over sets of terms (sets x 2 x targets), the second where the player is held."""
    found: Floats = terms[:, 0].sum(0) + sets.T.astype(np.float64) @ (terms[:, 1] - terms[:, 0])
    return found


def _by_pair(sets: NDArray[np.bool_], terms: Floats) -> Floats:
    """Sums over sets of terms (sets x 3 x targets), by how many of the pair the set holds.

    Pairs (i, j) with i < j, in the order of `numpy.triu_indices`.
    """
    held = sets.astype(np.float64)
    one = terms[:, 1] - terms[:, 0]
    both = terms[:, 2] - 2 * terms[:, 1] + terms[:, 0]
    first, second = np.triu_indices(sets.shape[1], 1)
    singles = held.T @ one
    found: Floats = terms[:, 0].sum(0) + singles[first] + singles[second]
    for target in range(terms.shape[2]):
        found[:, target] += (held.T @ (both[:, target, None] * held))[first, second]
    return found


def estimated(design: Design, values: Floats, weights: SetWeights) -> Played:
    """The index from the values of a design's sets, with standard errors.

    The values of a set and of its complement are a mean and a difference, which players' signs s
    (+1 where held) and their products explain apart: sum b_i s_i the difference, b_0 + sum
    b_ij s_i s_j the mean.
    """
    first, second = np.triu_indices(design.half.shape[1], 1)
    signs = np.where(design.half, 1.0, -1.0)
    set_values, others = np.split(values, 2)
    odd = _fitted(design, signs, (set_values - others) / 2)
    even = _fitted_means(design, signs, (set_values + others) / 2)
    products = even.coefficients
    # s_i s_j of signs is 4 x_i x_j - 2 x_i - 2 x_j + 1 of zeros and ones, and both indices of such
    # a sum are its coefficients.
    mains = 2 * odd.coefficients
    np.subtract.at(mains, first, 2 * products)
    np.subtract.at(mains, second, 2 * products)
    # A set that is here stands for itself, and for the share of its size that is not.
    unseen = design.unseen[design.sizes][:, None]
    means = (1 - unseen) * even.residuals + unseen * even.predicted
    differences = (1 - unseen) * odd.residuals + unseen * odd.predicted
    whole = np.concatenate([means + differences, means - differences])
    more_mains, more_pairs = weighted_sums(design.sets, whole, weights, design.counts)
    found = Played(mains + more_mains, complete=True, pairs=4 * products + more_pairs)
    if (unseen > 0).sum() < max(FEWEST_DRAWN, DRAWS_PER_PLAYER * design.half.shape[1]):
        note = "The budget is too small for an estimate of the values' errors."
        return replace(found, notes=(note,))
    errors = _standard_errors(design, even.predicted, odd.predicted, weights)
    return replace(found, standard_errors=errors[0], pair_errors=errors[1])


def _fitted_means(design: Design, signs: Floats, means: Floats) -> Fit:
    """The fit of products of signs (its coefficients: pairs x targets, 0 where it is not used).

    It is used for targets of which it predicts the means better than their constant does.
    """
    first, second = np.triu_indices(signs.shape[1], 1)
    constant = np.ones((len(signs), 1))
    products = np.zeros((len(first), means.shape[1]))
    plain = replace(_fitted(design, constant, means), coefficients=products)
    drawn = len(signs) - design.enumerated
    if len(first) > MOST_PAIRS or drawn < DRAWS_PER_PAIR * len(first):
        return plain
    columns = np.concatenate([constant, signs[:, first] * signs[:, second]], axis=1)
    closer = _fitted(design, columns, means)
    better = closer.squares < plain.squares
    return Fit(
        np.where(better, closer.coefficients[1:], products),
        np.where(better, closer.residuals, plain.residuals),
        np.where(better, closer.predicted, plain.predicted),
        np.minimum(closer.squares, plain.squares),
    )


@dataclass(frozen=True, eq=False)
class Fit:
    """Least squares: coefficients x targets; what the fit to all leaves of each row, and what a fit
    without the row leaves of it (rows x targets); weighted squares of the latter, by target."""

    coefficients: Floats
    residuals: Floats
    predicted: Floats
    squares: Floats


def _fitted(design: Design, columns: Floats, values: Floats) -> Fit:
    """A fit of values to columns, rows weighted by what they count in the sample's sum.

    That is little where all sets of a size are in. A close fit's own residuals would hide what it
    does not know of sets that are not here.
    """
    shares = _shares(design.half.shape[1])
    shares[shares == 0] = shares[shares > 0].min()
    scale = (shares / design.counts)[design.sizes][:, None]
    q, r = np.linalg.qr(scale * columns)
    coefficients = np.linalg.lstsq(r, q.T @ (scale * values), rcond=None)[0]
    residuals = values - columns @ coefficients
    predicted = residuals / np.maximum(1 - (q**2).sum(1), 1e-3)[:, None]
    drawn = slice(design.enumerated, None)
    squares = ((scale * predicted)[drawn] ** 2).sum(0)
    return Fit(coefficients, residuals, predicted, squares)


def _standard_errors(
    design: Design, means: Floats, differences: Floats, weights: SetWeights
) -> tuple[Floats, Floats]:
    """Of players x targets and of pairs x targets, from what is left of drawn sets.

    A draw is a set with its complement, which holds 2 - c of a pair where the set holds c. Degrees
    of freedom follow Satterthwaite (1946), the variance of a sum of squares being the sum of fourth
    powers. Where few draws count for a value, its variance may be far too small, so it is moderated
    by that of all values, most by the large ones (Smyth 2004, section 3), and Student's quantile
    stands beside the normal one.
    """
    from scipy.stats import norm, t

    drawn = slice(design.enumerated, None)
    half, sizes = design.half[drawn], design.sizes[drawn]
    share = np.sqrt(design.unseen[sizes]) / design.counts[sizes]
    set_left = (share[:, None] * (means + differences)[drawn])[:, None]
    other_left = (share[:, None] * (means - differences)[drawn])[:, None]
    errors = []
    for table, sums in ((weights.mains, _by_player), (weights.pairs, _by_pair)):
        own = table[sizes][:, :, None] * set_left
        opposite = table[half.shape[1] - sizes][:, ::-1, None] * other_left
        squares = np.maximum(sums(half, (own + opposite) ** 2), 0)
        fourths = np.maximum(sums(half, (own + opposite) ** 4), squares**2 / len(half))
        freedom = np.divide(2 * squares**2, fourths, out=np.ones_like(squares), where=fourths > 0)
        total = squares.sum(0)
        pooled = np.divide((squares**2).sum(0), total, out=np.zeros_like(total), where=total > 0)
        moderated = (freedom * squares + POOLED * pooled) / (freedom + POOLED)
        quantile = t.ppf(0.975, freedom + POOLED) / norm.ppf(0.975)
        errors.append(np.sqrt(moderated) * quantile)
    return errors[0], errors[1]
