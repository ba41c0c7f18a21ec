"""What a function of sets is elsewhere, from its values on some: a Gaussian process as surrogate.

A linear fit takes interactions for noise. Here they are an unknown function whose values on similar
sets are alike, and about main effects nothing is assumed, so that additive functions stay exact
(universal kriging: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section
2.7). The kernel is exp(RATE x mean product of signs), the diffusion kernel of Kondor and Lafferty,
"Diffusion Kernels on Graphs" (ICML 2002, section 4.1), and a part of each set's own.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# An interaction of d players has a variance of about (2 / players)**d. One to four did alike in
# trials on networks, attention and sums of random interactions of 12 to 100 players.
RATE = 2.0
ALONE = (
    0.03  # variance of a set's own part beside 1 of the other: keeps the matrix well conditioned
)
MOST_ROWS = 2000  # the time goes with their cube: about a second
MOST_PLAYERS = 500  # numbers of sets of more of them leave double precision


def covariance(sets: NDArray[np.bool_]) -> Floats:
    """Prior covariance of the values of different sets, sets x sets; 1 + ALONE of a set itself."""
    signs = np.where(sets, 1.0, -1.0)
    result: Floats = np.exp(RATE * (signs @ signs.T / sets.shape[1] - 1))
    result[np.diag_indices(len(sets))] += ALONE
    return result


@functools.lru_cache(maxsize=8)
def shared(players: int) -> tuple[Floats, Floats]:
    """Mean over all sets S of a size of [i in S] x the kernel of S and T: T's size x S's size.

    The first for a player i in T, the second for one outside. Sets are counted as coefficients:
    of x**s in (b + x)**t (1 + b x)**(players - t), where b is the kernel's factor of a player in
    whom S and T differ.
    """
    differ = math.exp(-2 * RATE / players)
    rising = [np.array([math.comb(n, k) * differ**k for k in range(n + 1)]) for n in range(players)]
    counts = np.array([float(math.comb(players, size)) for size in range(1, players + 1)])
    inside, outside = np.zeros((2, players + 1, players + 1))
    for rest in range(players):  # how many of the other players are in T
        of_others = np.convolve(rising[rest][::-1], rising[players - 1 - rest]) / counts
        inside[rest + 1, 1:], outside[rest, 1:] = of_others, differ * of_others
    return inside, outside


def krige(
    rows: NDArray[np.bool_], values: Floats, wanted: Floats, basis: Floats, covariances: Floats
) -> tuple[Floats, Floats, Floats]:
    """Estimates of linear functionals of the function: functionals x targets.

    - `values`: rows x targets, of the sets in `rows`, which are different
    - `wanted`: (players + 1) x functionals, what the functionals are of each player's [i in S] and
      of the constant 1
    - `basis`: rows x (players + 1), the same functions at the rows
    - `covariances`: rows x functionals, the prior covariance of a row's value and a functional

    Beside the estimates what gives their variance: the estimates' derivatives by the values (rows x
    functionals), and the variance of the prior that makes the values likely, by target.
    """
    count = basis.shape[1]
    solved = np.linalg.solve(covariance(rows), np.concatenate([basis, covariances, values], axis=1))
    flat, near, level = np.split(solved, [count, count + covariances.shape[1]], axis=1)
    inner = basis.T @ flat
    influence = near + flat @ np.linalg.solve(inner, wanted - basis.T @ near)
    left = values - basis @ np.linalg.solve(inner, flat.T @ values)
    spare = max(len(rows) - count, 1)
    scale = np.maximum((left * (level - flat @ np.linalg.solve(inner, flat.T @ values))).sum(0), 0)
    estimates: Floats = influence.T @ values
    return estimates, influence, scale / spare
