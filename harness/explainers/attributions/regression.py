"""Sets drawn by their size, and weighted least squares on them: what kernel SHAP and LIME share.

A stratum holds the sets of one size. Drawing a fixed number from each, none twice, and giving every
set its stratum's mass divided by that number leaves only the variance inside the strata. Most of
that goes where the sets are balanced: where players, and pairs of players, are kept about equally
often.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Least eigenvalue of a Gram matrix as a share of its mean one. Balanced rows pass from about 1.2
# rows a coefficient on; below that, designs with all leave-one-out sets had lower errors in trials.
SMALLEST_EIGENVALUE = 0.15
# Fewer drawn rows than this say nothing of the spread.
FEWEST_DRAWN = 10
# Balance is sought with the kernel exp(SHARPNESS x mean product of signs): a product of d players
# counts 6**d / d! or so, so pairs to fivefold products, which spoil linear fits, count most. Two to
# eight did alike in trials.
SHARPNESS = 6.0
SWEEPS, SWAPS = 2, 8  # of all rows, and of each at a time; more of them gained little
# Visits to a row times entries of the rows: bounds the search to a few tenths of a second.
_MOST_WORK = 10**8
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
        first = rng.random((count - len(sets), players)).argsort(1)[:, :size]
        drawn = np.zeros((len(first), players), bool)
        np.put_along_axis(drawn, first, True, axis=1)
        sets = np.concatenate([sets, drawn])
        different = {_code(one): place for place, one in reversed(list(enumerate(sets)))}
        sets = sets[sorted(different.values())]
    return sets


def draw_beside(
    given: NDArray[np.bool_], counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """So many different sets of each size from 0 on, those given first, as far as there is room.

    Beside the sets, size after size, whether a row is a given one. Where there are more given sets
    of a size than wanted, which are taken is drawn.
    """
    players, sizes = given.shape[1], given.sum(1)
    sets, taken = [np.zeros((0, players), bool)], [np.zeros(0, bool)]
    for size, count in enumerate(counts.tolist()):
        ours = given[sizes == size]
        ours = ours[rng.permutation(len(ours))[:count]]
        there = set(map(_code, ours))
        drawn = draw_sets(players, size, count, rng) if count > len(ours) else ours[:0]
        new = drawn[[_code(one) not in there for one in drawn]][: count - len(ours)]
        sets += [ours, new]
        taken += [np.ones(len(ours), bool), np.zeros(len(new), bool)]
    return np.concatenate(sets), np.concatenate(taken)


def draw_mirrored(
    players: int, counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """So many different sets of each size from 0 on, with as many complements as can be.

    Beside the sets, size after size, the row of each one's complement, -1 where there is none.
    Among complements what odd products of players add to a linear fit's slopes cancels the even.
    """
    ends = np.cumsum(counts)
    sets, mirrors = np.zeros((ends[-1], players), bool), np.full(ends[-1], -1)
    for size in range(players // 2 + 1):
        other = players - size
        ours = np.arange(counts[size]) + ends[size] - counts[size]
        theirs = ours[:0]
        if other == size:
            ours, theirs = ours[: (len(ours) + 1) // 2], ours[(len(ours) + 1) // 2 :]
        elif other < len(counts):
            theirs = np.arange(counts[other]) + ends[other] - counts[other]
        both = min(len(ours), len(theirs))
        drawn = draw_sets(players, size, max(len(ours), len(theirs)), rng, other == size)
        sets[ours], sets[theirs] = drawn[: len(ours)], ~drawn[: len(theirs)]
        mirrors[ours[:both]], mirrors[theirs[:both]] = theirs[:both], ours[:both]
    return sets, mirrors


def balance(
    sets: NDArray[np.bool_],
    weights: Floats,
    movable: NDArray[np.bool_],
    rng: np.random.Generator,
    mirrors: NDArray[np.int64],
    exchanged: bool = True,
) -> NDArray[np.bool_]:
    """Sets of the same sizes, none twice, that are spread more evenly; where `movable`.

    One player in is exchanged for one out as long as that lowers the energy, the weighted sum of
    exp(SHARPNESS x mean product of signs) over all pairs of rows. Its expectation over a random
    order of the players is fixed by the sizes, so to lower it is to come closer, in the kernel's
    mean discrepancy (Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 2.2), to all
    sets of these sizes. In the end players are exchanged at random, if they are to be: each row is
    any set of its size with equal chance. `mirrors` names each row's complement, which moves with
    it: another row, the row itself where it stands for both (then all do), or -1.
    """
    count, players = sets.shape
    signs = np.where(sets, np.float32(1), np.float32(-1))
    columns = signs.T.copy()  # columns of the same in one piece, which halves the time
    mirrored = mirrors >= 0
    there = set(map(_code, np.concatenate([sets, ~sets[mirrored]])))
    free = np.flatnonzero(movable & (movable[mirrors] | ~mirrored))
    visits = np.concatenate([rng.permutation(free) for _ in range(SWEEPS)])
    for row in visits[: _MOST_WORK // max(count * players, 1)]:
        moved = [row, mirrors[row]] if mirrored[row] else [row]
        behind = weights[moved[-1]] / weights[row] if mirrored[row] else 0.0
        others = weights.astype(np.float32)
        others[moved] = 0
        mine = signs[row]
        products = signs @ mine / np.float32(players)
        energy, slopes = _energy(products, others, behind)
        for _ in range(SWAPS):
            slope = columns @ slopes
            out = np.where(mine > 0, slope, -np.inf).argmax()
            into = np.where(mine < 0, slope, np.inf).argmin()
            further = products + (columns[into] - columns[out]) * np.float32(2 / players)
            less, slopes = _energy(further, others, behind)
            new = mine.copy()
            new[[out, into]] = -1, 1
            codes = {_code(sign * new > 0) for sign in (1, -1)[: len(moved)]}
            if codes & there or less > energy * (1 - 1e-5):
                break
            there -= {_code(sign * mine > 0) for sign in (1, -1)[: len(moved)]}
            there |= codes
            mine, products, energy = new, further, less
        for one, sign in zip(reversed(moved), (-1, 1)[2 - len(moved) :], strict=True):
            signs[one] = columns[:, one] = sign * mine
    result: NDArray[np.bool_] = signs > 0
    if exchanged:
        result = result[:, rng.permutation(players)]
    return result


def _energy(products: Any, weights: Any, behind: float) -> tuple[float, Any]:
    """A row's energy beside rows of such mean products of signs, and its slope by each of them.

    `behind` is the weight of its complement, where that is a row, beside its own weight of 1.
    """
    ahead = np.exp(np.float32(SHARPNESS) * products)
    after = np.float32(behind) / ahead
    return float(weights @ (ahead + after)), weights * (ahead - after)


def _code(row: NDArray[np.bool_]) -> bytes:
    return np.packbits(row).tobytes()


def may_be_well_posed(rows: int, players: int) -> bool:
    """False where so many rows, drawn and hardly balanced, are known to fail `well_posed`.

    The least eigenvalue of many random rows is (1 - sqrt(players / rows))**2 of their mean one
    (Marchenko and Pastur 1967). Balancing, which may raise it, is given up for large designs.
    """
    balanced = _MOST_WORK // max(rows * players, 1) > rows // 4
    return balanced or (1 - math.sqrt(players / rows)) ** 2 > SMALLEST_EIGENVALUE


def well_posed(gram: Floats) -> bool:
    """Whether least squares with this Gram matrix are determined and do not blow up noise."""
    floor = SMALLEST_EIGENVALUE * np.trace(gram) / len(gram)
    try:  # a factorisation exists where no eigenvalue is below the floor, at a tenth of their cost
        np.linalg.cholesky(gram - floor * np.eye(len(gram)))
    except np.linalg.LinAlgError:
        return False
    return True


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
