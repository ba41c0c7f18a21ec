"""Two sets of values on the same units compared: difference, test, and separation of controls.

Pairing removes what the units share, so it finds differences that overlapping intervals hide.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals
from harness.stats.arrays import Bounds, Floats, closed, encode
from harness.stats.intervals import Means

EXACT_CLUSTERS = 15  # 2^15 sign patterns are listed in full
ONE_SIDED = 0.95  # a promise is that a difference is large enough, and no promise is broken above
_DRAWS = 9_999


def difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    cluster_name: str = "sample",
    bounds: Bounds = None,
) -> Estimate:
    """Mean of a - b over units, with the interval of `intervals.mean`: CR2 t at every size.

    `a`, `b` and `clusters` have length n, in the same order of units. `bounds` is the range of
    `a` and `b` themselves, `None` where it is open.
    """
    gap = _gap(a, b)
    return intervals.mean(
        gap,
        clusters,
        confidence=confidence,
        cluster_name=cluster_name,
        bounds=difference_bounds(bounds),
    )


def p_value(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], *, bounds: Bounds = None
) -> float | None:
    """Two-sided p of "a and b have the same mean": the level at which `difference` reaches 0.

    `None` with fewer than two clusters.
    """
    gap = _gap(a, b)
    sums, sizes = _cluster_sums(gap, clusters)
    if len(sizes) < 2:
        return None
    return float(Means.of(sums, sizes, difference_bounds(bounds)).p_values()[0])


def difference_bounds(bounds: Bounds) -> Bounds:
    """The range of a difference of two values that lie in `bounds`."""
    ends = closed(bounds)
    return None if ends is None else (ends[0] - ends[1], ends[1] - ends[0])


def sign_flip(sums: Floats, *, seed: int = 0, one_sided: bool = False) -> Floats:
    """p (k,) of "a and b are exchangeable", by flipping the sign of whole clusters.

    `sums` (clusters, k) are the clusters' sums of a - b of k comparisons; the statistic is their
    total, or its size where the test is two-sided. Exact up to 15 clusters (so a two-sided p is
    never below 2^(1 - clusters)), else 9,999 seeded draws with one added to both counts, so that p
    is never 0 (Phipson and Smyth 2010). It asks more than equal means: a check beside t.
    """
    count = len(sums)
    size = np.asarray if one_sided else np.abs
    # equal sums in another order differ by rounding; they must count as equal
    bar = size(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)
    if count <= EXACT_CLUSTERS:
        signs = 1.0 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
        return np.asarray((size(signs @ sums) >= bar).mean(axis=0), dtype=float)
    rng = np.random.default_rng(seed)
    reached, left = np.zeros(sums.shape[1]), _DRAWS
    while left:
        draws = min(left, max(1, 2_000_000 // count))
        signs = 1.0 - 2.0 * rng.integers(2, size=(draws, count))
        reached += (size(signs @ sums) >= bar).sum(axis=0)
        left -= draws
    return np.asarray((reached + 1) / (_DRAWS + 1), dtype=float)


def separation(
    better: ArrayLike,
    worse: ArrayLike,
    clusters: Sequence[Hashable],
    margin: float = 0.0,
    *,
    min_clusters: int = 3,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> tuple[Estimate, Literal["valid", "not shown", "invalid"]]:
    """Whether `better` exceeds `worse` by more than `margin`, paired by unit.

    Values are those of a metric for which higher is better; swap the two for one where lower is.
    The limits of the difference are one-sided, 95 % each; the lower one is at most that of a
    perfect result on as many clusters, which no imperfect one may surpass. `valid`: it exceeds the
    margin. `not shown`: under `min_clusters` clusters, no interval, or the difference exceeds the
    margin but its lower limit does not, so that more units could show it. `invalid`: the
    difference itself fails.
    """
    found = difference(
        better, worse, clusters, confidence=2 * ONE_SIDED - 1,
        cluster_name=cluster_name, bounds=bounds,
    )  # fmt: skip
    if found.low is not None:
        low = min(found.low, perfect_limit(found.clusters, bounds))
        found = replace(found, low=low, method=f"one-sided 95 % limits; {found.method}")
    if found.value is None or found.clusters < min_clusters:
        return found, "not shown"
    if found.low is not None and found.low > margin:
        return found, "valid"
    return found, "not shown" if found.value > margin else "invalid"


def perfect_limit(clusters: int, bounds: Bounds) -> float:
    """The one-sided lower limit of a difference that is the largest possible in every cluster.

    Infinite for an open range, in which none is the largest.
    """
    ends = closed(bounds)
    if ends is None:
        return float("inf")
    width = ends[1] - ends[0]
    return float(width - 2 * width * (1 - (1 - ONE_SIDED) ** (1 / clusters)))


def separation_check(
    better: ArrayLike,
    worse: ArrayLike,
    clusters: Sequence[Hashable],
    margin: float = 0.0,
    *,
    seed: int = 0,
) -> float:
    """One-sided p of "the difference is not above `margin`", by sign-flips of whole clusters."""
    sums, sizes = _cluster_sums(_gap(better, worse), clusters)
    if not len(sizes):
        return 1.0
    return float(sign_flip(sums - margin * sizes[:, None], seed=seed, one_sided=True)[0])


@dataclass(frozen=True)
class Needed:
    """The number of clusters that a separation takes.

    `at_least` marks a bound that holds whatever further clusters say; else it is what the
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
    bounds: Bounds = (0.0, 1.0),
) -> Needed | None:
    """The fewest clusters with which `separation` would call such values `valid`.

    By the interval of `separation`, with the number of clusters, the variance of the mean and its
    degrees of freedom scaled to that number. `None` where no number would do, because the
    difference does not exceed the margin or no interval can be had.
    """
    gap = _gap(better, worse)
    if not len(gap) or float(gap.mean()) <= margin:
        return None
    sums, sizes = _cluster_sums(gap, clusters)
    perfect = _smallest(lambda number: perfect_limit(number, bounds) > margin, max(min_clusters, 2))
    if perfect is None:
        return None
    if len(sizes) == 1:
        return Needed(perfect, True)
    found = Means.of(sums, sizes, difference_bounds(bounds))
    still = bool(found.still[0])
    if still and found.range is None:
        return None
    level = 2 * (1 - ONE_SIDED)

    def shown(number: int) -> bool:
        return float(_as_if(found, number).limits(level)[0][0]) > margin

    number = _smallest(shown, perfect)
    return None if number is None else Needed(number, still or number == perfect)


def _as_if(found: Means, number: int) -> Means:
    """The same means over another number of clusters that vary as those at hand do."""
    count = found.spread.count
    return replace(
        found,
        spread=replace(found.spread, count=number),
        error=found.error * np.sqrt(count / number),
        freedom=found.freedom * (number - 1) / (count - 1),
    )


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


def _cluster_sums(gap: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sums (clusters, 1) and sizes (clusters,)."""
    codes, _ = encode(clusters, len(gap))
    sums = np.bincount(codes, weights=gap).astype(float)[:, None]
    return sums, np.bincount(codes).astype(float)


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
