"""Two sets of values on the same units compared: difference, test, and separation of controls.

Pairing removes what the units share, so it finds differences that overlapping intervals hide.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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
