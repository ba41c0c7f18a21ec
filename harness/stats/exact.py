"""Limits of a mean of bounded values that hold where t fails: with little or rare variation.

Eight perfect scores have no variance, and nine perfect ones beside a bad one have a misleading one:
what was not seen matters more than what was. The limits here add one unseen cluster at the worst
end of the range. For zeros and ones they are those of Clopper and Pearson (1934).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.stats.arrays import Floats

STILL, VARIED = 0.01, 0.05  # shares of the range: cluster means this near are taken for constant
STEEPEST = 17.0  # of the ramp between the two, so that moving a score by e moves no limit by 20 e
RARE = 0.2  # variation among fewer of the clusters than this is rare
TRUST = 0.6  # the weight of these limits where variation is rare; benchmarks/ has the trade-off
FEWEST_TRIMMED = 10  # with fewer clusters t is wide enough for rare variation


@dataclass(frozen=True)
class Spread:
    """What the limits of k means depend on; arrays of shape (k,).

    `square` is the mean squared deviation of the `count` clusters' means, by size; `lowest` and
    `highest` are the extreme cluster means.
    """

    count: int
    centre: Floats
    square: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, sums: Floats, sizes: Floats) -> Spread:
        """From cluster sums (clusters, k) and sizes (clusters,)."""
        means, count, total = sums / sizes[:, None], len(sizes), sizes.sum()
        centre = sums.sum(axis=0) / total
        share = (sizes / total)[:, None]
        square = count * (share**2 * (means - centre) ** 2).sum(axis=0)
        return cls(count, centre, square, means.min(axis=0), means.max(axis=0))


def limits(spread: Spread, ends: tuple[float, float], tail: float) -> tuple[Floats, Floats]:
    """Lower and upper limit (k,), each missed with probability `tail` at most.

    Weights of the clusters and of one more at an end of the range are drawn from the uniform
    Dirichlet distribution, and the limit is the `tail` quantile of the weighted mean: Gaffke's
    (2005) bound, whose distribution a beta of the same mean and variance stands for. The beta is
    exact for two distinct values.
    """
    below = _lower(spread.count, spread.centre, spread.square, spread.highest, ends[0], tail)
    above = _lower(spread.count, -spread.centre, spread.square, -spread.lowest, -ends[1], tail)
    return below, -above


def _lower(
    count: int, centre: Floats, square: Floats, highest: Floats, end: float, tail: float
) -> Floats:
    from scipy.stats import beta

    width = highest - end
    some = width > 1e-12 * max(1.0, abs(end))
    safe = np.where(some, width, 1.0)
    place = count * (centre - end) / (count + 1) / safe  # the weighted mean's own mean, in [0, 1]
    gap = (centre - end) / safe - place
    variance = (count * (square / safe**2 + gap**2) + place**2) / ((count + 1) * (count + 2))
    # unequal clusters can have more variance than a beta; the arcsine distribution has the most
    size = np.maximum(place * (1 - place) / np.where(variance > 0, variance, 1.0) - 1, 1.0)
    found = end + width * beta.ppf(tail, place * size, (1 - place) * size)
    return np.where(some, np.minimum(found, centre), end)


def weight(means: Floats, ends: tuple[float, float]) -> Floats:
    """How much the limits above count (k,), from cluster means (clusters, k).

    1 while all means lie within .01 of the range around the middle one, falling to 0 at .05 or
    sooner (`fade`); where all but a fifth of ten or more clusters do, at least .6 of the same.
    Continuous in every value.
    """
    count = len(means)
    middle = np.sort(means, axis=0)[(count - 1) // 2]
    apart = np.sort(np.abs(means - middle), axis=0) / (ends[1] - ends[0])
    rare = int(RARE * count) if count >= FEWEST_TRIMMED else 0
    return np.maximum(fade(apart[-1], count), TRUST * fade(apart[count - 1 - rare], count))


def fade(apart: Floats, count: int) -> Floats:
    """1 while `apart`, a share of the range, is at most .01, falling to 0 at .05 at the latest.

    The more clusters, the closer the exact limits of a constant lie, and the sooner they may end
    without a jump; what varies little but evenly is then judged by t.
    """
    reach = 1 - 0.025 ** (1 / count)
    ramp = min(VARIED - STILL, reach / STEEPEST)
    return np.asarray(np.clip(1 - (apart - STILL) / ramp, 0.0, 1.0), dtype=float)
