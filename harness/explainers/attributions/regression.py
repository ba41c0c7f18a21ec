"""Sets drawn by their size, and weighted least squares on them: what kernel SHAP and LIME share.

A stratum holds the sets of one size. Drawing a fixed number from each, none twice, and giving every
set its stratum's mass divided by that number leaves only the variance inside the strata. Most of
that goes where the sets are balanced: where players, pairs and triples of players are kept together
as evenly as in all sets.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Least eigenvalue of a Gram matrix as a share of its median one. Random rows pass from about 1.5
# rows a coefficient on; below that, designs with all leave-one-out sets had lower errors in trials.
SMALLEST_EIGENVALUE = 0.04
# Fewer drawn rows than this say nothing of the spread.
FEWEST_DRAWN = 10
# Balance is sought with the kernel exp(SHARPNESS x mean product of signs): a product of d players
# counts 6**d / d! or so, so pairs to fivefold products, which spoil linear fits, count most. Two to
# eight did alike in trials.
SHARPNESS = 6.0
SWEEPS = 2  # more of them gained nothing
# Visits to a row times entries of the rows: bounds the search to a few tenths of a second.
_MOST_WORK = 2 * 10**8
_COUNTED = 2**62  # numbers of sets above this are never reached and would not fit an int64


def sets_of_size(players: int, size: int) -> int:
    """How many sets have so many players; very large numbers are cut off at 2**62."""
    return min(math.comb(players, size), _COUNTED)


def allot(
    total: int, shares: Floats, capacity: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """How many of `total` draws each stratum gets: in proportion to `shares`, `capacity` at most.

    What a full stratum cannot take goes to the others. Fractions are rounded systematically from a
    random start, so each stratum's number is its share in expectation and off by less than one.
    """
    counts = np.zeros(len(shares), np.int64)
    is_open = shares > 0
    while is_open.any() and counts.sum() < total:
        left = total - int(counts.sum())
        wanted = np.where(is_open, left * shares / shares[is_open].sum(), 0.0)
        full = is_open & (wanted >= capacity)
        if not full.any():
            # Half an ulp of the sum must not make or lose a draw at the end.
            edges = np.minimum(np.cumsum(wanted), left)
            edges[np.flatnonzero(is_open)[-1] :] = left
            counts += np.diff(np.floor(edges + rng.random()).astype(np.int64), prepend=0)
            break
        counts[full] = capacity[full]
        is_open &= ~full
    return np.minimum(counts, capacity)


def spread_mass(mass: Floats, counts: NDArray[np.int64]) -> Floats:
    """Weight of one draw of each stratum: its mass by its number of draws.

    A stratum without draws is represented by the nearest one that has some.
    """
    drawn = np.flatnonzero(counts)
    nearest = drawn[np.abs(np.arange(len(mass))[:, None] - drawn).argmin(1)]
    pooled = np.bincount(nearest, mass, len(mass))
    return np.divide(pooled, counts, out=np.zeros_like(pooled), where=counts > 0)


def draw_sets(
    players: int, size: int, count: int, rng: np.random.Generator, halved: bool = False
) -> NDArray[np.bool_]:
    """Different sets of a size, drawn uniformly without replacement: bool, count x players.

    With `halved` only sets with the first player are drawn: of complements of equal size one.
    """
    available = sets_of_size(players - halved, size - halved)
    first = np.ones((count, int(halved)), bool)
    free, wanted = players - halved, size - halved
    if available <= 4 * count:
        members = np.array(list(itertools.combinations(range(free), wanted)), np.int64)
        if count < available:
            members = members[rng.choice(available, count, replace=False)]
        sets = np.zeros((count, free), bool)
        np.put_along_axis(sets, members.reshape(count, wanted), True, axis=1)
    else:
        sets = _rejected(free, wanted, count, rng)
    return np.concatenate([first, sets], axis=1)


def _rejected(players: int, size: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    sets = np.zeros((0, players), bool)
    while len(sets) < count:
        ranks = rng.random((count - len(sets), players)).argsort(1).argsort(1)
        sets = np.concatenate([sets, ranks < size])
        _, places = np.unique(np.packbits(sets, axis=1), axis=0, return_index=True)
        sets = sets[np.sort(places)]
    return sets


def balance(
    sets: NDArray[np.bool_],
    weights: Floats,
    movable: NDArray[np.bool_],
    rng: np.random.Generator,
    pairs: bool = False,
) -> NDArray[np.bool_]:
    """Sets of the same sizes, none twice, that are spread more evenly; where `movable`.

    One player in is exchanged for one out as long as that lowers the energy, the weighted sum of
    exp(SHARPNESS x mean product of signs) over all pairs of rows. Its expectation over a random
    order of the players is fixed by the sizes, so to lower it is to come closer, in the kernel's
    mean discrepancy (Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 2.2), to all
    sets of these sizes. In the end players are exchanged at random: each row is any set of its size
    with equal chance. With `pairs` a row stands for its complement too.
    """
    count, players = sets.shape
    signs = np.where(sets, np.float32(1), np.float32(-1))
    columns = signs.T.copy()  # columns of the same in one piece, which halves the time
    there = {_code(row, pairs) for row in sets}
    visits = np.concatenate([rng.permutation(np.flatnonzero(movable)) for _ in range(SWEEPS)])
    for row in visits[: _MOST_WORK // max(count * players, 1)]:
        mine = signs[row]
        others = weights.astype(np.float32)
        others[row] = 0
        products = signs @ mine / np.float32(players)
        energy, slopes = _energy(products, others, pairs)
        while True:
            slope = columns @ slopes
            out = np.where(mine > 0, slope, -np.inf).argmax()
            into = np.where(mine < 0, slope, np.inf).argmin()
            moved = products + (columns[into] - columns[out]) * np.float32(2 / players)
            less, slopes = _energy(moved, others, pairs)
            new = mine.copy()
            new[[out, into]] = -1, 1
            code = _code(new > 0, pairs)
            if code in there or less > energy * (1 - 1e-5):
                break
            there.remove(_code(mine > 0, pairs))
            there.add(code)
            mine, products, energy = new, moved, less
        signs[row] = columns[:, row] = mine
    result: NDArray[np.bool_] = signs[:, rng.permutation(players)] > 0
    return result


def _energy(products: Any, weights: Any, pairs: bool) -> tuple[float, Any]:
    """A row's energy beside rows of such mean products of signs, and its slope by each of them."""
    ahead = np.exp(SHARPNESS * products)
    behind = 1 / ahead if pairs else np.zeros_like(ahead)
    return float(weights @ (ahead + behind)), weights * (ahead - behind)


def _code(row: NDArray[np.bool_], pairs: bool) -> bytes:
    """A set, or with `pairs` a set or its complement, whichever has the first player."""
    return np.packbits(~row if pairs and not row[0] else row).tobytes()


def well_posed(gram: Floats) -> bool:
    """Whether least squares with this Gram matrix are determined and do not blow up noise."""
    eigenvalues = np.linalg.eigvalsh(gram)
    return bool(eigenvalues[0] > SMALLEST_EIGENVALUE * np.median(eigenvalues))


def jackknife(influence: Floats, residuals: Floats, leverage: Floats, unseen: Floats) -> Floats:
    """Standard errors of coefficients, by leaving out one row at a time: players x targets.

    Leaving out row i moves the coefficients by influence_i * residual_i / (1 - leverage_i), so no
    fit is repeated (HC3 of MacKinnon and White 1985, section 2). `influence` is rows x players,
    `residuals` rows x targets; `leverage` and `unseen` are of rows, the last the share of a row's
    stratum that was not drawn: what is enumerated adds no error (finite population correction).
    """
    moved = residuals / np.maximum(1 - leverage, 1e-6)[:, None]
    result: Floats = np.sqrt((influence**2).T @ (unseen[:, None] * moved**2))
    return result
