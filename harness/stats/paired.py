"""Two sets of values on the same units compared: difference, test, and separation of controls.

Pairing removes what the units share, so it finds differences that overlapping intervals hide.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals
from harness.stats.intervals import Bounds, Floats

EXACT_CLUSTERS = 15  # 2^15 sign patterns are listed in full
_DRAWS = 9_999


def difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = None,
) -> Estimate:
    """Mean of a - b over units, with the interval of `intervals.mean`.

    `a`, `b` and `clusters` have length n, in the same order of units. `bounds` is the range of
    `a` and `b` themselves, `None` where it is open.
    """
    gap = _gap(a, b)
    return intervals.mean(
        gap,
        clusters,
        confidence=confidence,
        seed=seed,
        cluster_name=cluster_name,
        bounds=difference_bounds(bounds),
    )


def difference_bounds(bounds: Bounds) -> Bounds:
    """The range of a difference of two values that lie in `bounds`."""
    if bounds is None:
        return None
    width = bounds[1] - bounds[0]
    return -width, width


def sign_flip(sums: Floats, *, seed: int = 0) -> Floats:
    """Two-sided p (k,) of "a and b are exchangeable", by flipping the sign of whole clusters.

    `sums` (clusters, k) are the clusters' sums of a - b of k comparisons; the statistic is their
    total. Exact up to 15 clusters (so p is never below 2^(1 - clusters)), else 9,999 seeded draws
    with one added to both counts, so that p is never 0 (Phipson and Smyth 2010).
    """
    count = len(sums)
    # equal sums in another order differ by rounding; they must count as equal
    bar = np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)
    if count <= EXACT_CLUSTERS:
        # the first sign is fixed: a pattern and its mirror image have the same statistic
        patterns = np.arange(2 ** (count - 1))[:, None] >> np.arange(count - 1) & 1
        signs = np.hstack([np.ones((len(patterns), 1)), 1.0 - 2.0 * patterns])
        return np.asarray((np.abs(signs @ sums) >= bar).mean(axis=0), dtype=float)
    rng = np.random.default_rng(seed)
    reached, left = np.zeros(sums.shape[1]), _DRAWS
    while left:
        size = min(left, max(1, 2_000_000 // count))
        signs = 1.0 - 2.0 * rng.integers(2, size=(size, count))
        reached += (np.abs(signs @ sums) >= bar).sum(axis=0)
        left -= size
    return np.asarray((reached + 1) / (_DRAWS + 1), dtype=float)


def separation(
    better: ArrayLike,
    worse: ArrayLike,
    clusters: Sequence[Hashable],
    margin: float = 0.0,
    *,
    min_clusters: int = 3,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> tuple[Estimate, Literal["valid", "not shown", "invalid"]]:
    """Whether `better` exceeds `worse` by more than `margin`, paired by unit.

    Values are those of a metric for which higher is better; swap the two for one where lower is.
    `valid`: the lower limit of the difference exceeds the margin. `not shown`: under
    `min_clusters` clusters, no interval, or the difference exceeds the margin but its lower limit
    does not, so that more samples could show it. `invalid`: the difference itself fails.
    """
    found = difference(better, worse, clusters, seed=seed, cluster_name=cluster_name, bounds=bounds)
    if found.value is None or found.clusters < min_clusters:
        return found, "not shown"
    if found.low is not None and found.low > margin:
        return found, "valid"
    return found, "not shown" if found.value > margin else "invalid"


@dataclass(frozen=True)
class Needed:
    """The number of clusters that a separation takes.

    `at_least` marks a bound that holds whatever further clusters say; else it is what the t
    interval needs if further clusters differ as those at hand do.
    """

    clusters: int
    at_least: bool


def clusters_needed(
    better: ArrayLike,
    worse: ArrayLike,
    clusters: Sequence[Hashable],
    margin: float = 0.0,
    *,
    min_clusters: int = 3,
    confidence: float = 0.95,
    bounds: Bounds = (0.0, 1.0),
) -> Needed | None:
    """The fewest clusters with which `separation` would call such values `valid`.

    Differences that do not vary: by the interval of that case. Others: by CR2 t, with the variance
    of the mean and its degrees of freedom scaled to that number of clusters. `None` where no number
    would do, because the difference does not exceed the margin or no interval can be had.
    """
    gap = _gap(better, worse)
    codes, labels = intervals.encode(clusters, len(gap))
    count = len(labels)
    if count == 0 or float(gap.mean()) <= margin:
        return None
    value, fewest = float(gap.mean()), max(min_clusters, 2)
    if np.ptp(gap) <= 1e-12 * max(1.0, abs(value)):
        limits = difference_bounds(bounds)

        def shown_without_variation(number: int) -> bool:
            low = intervals.without_variation(
                value, number, number, confidence, "cluster", limits
            ).low
            return low is not None and low > margin

        found = _smallest(shown_without_variation, fewest)
        return None if found is None else Needed(found, True)
    if count == 1:
        return Needed(fewest, True)
    from scipy.stats import t

    sizes = np.bincount(codes).astype(float)
    sums = np.bincount(codes, weights=gap).astype(float)[:, None]
    error = float(np.sqrt(intervals.cr2_variance(sums, sizes)[0]))
    freedom = intervals.degrees_of_freedom(sizes)

    def shown(number: int) -> bool:
        reach = t.ppf((1 + confidence) / 2, freedom * (number - 1) / (count - 1))
        return bool(value - reach * error * np.sqrt(count / number) > margin)

    found = _smallest(shown, fewest)
    return None if found is None else Needed(found, False)


_MOST_CLUSTERS = 10**6  # nobody has more, so none is needed


def _smallest(holds: Callable[[int], bool], start: int) -> int | None:
    """The smallest number from `start` on for which `holds`, which stays so once it does."""
    high = start
    while not holds(high):
        high *= 2
        if high > _MOST_CLUSTERS:
            return None
    low = start if high == start else high // 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def _gap(a: ArrayLike, b: ArrayLike) -> Floats:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise HarnessError(
            f"paired values must be of the same units, but there are {first.size} and "
            f"{second.size}; keep the units that both have"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise HarnessError(
            "paired values hold NaN or infinity; leave out units that either could not be scored on"
        )
    return np.asarray(first - second, dtype=float)
