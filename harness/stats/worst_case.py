"""The variant that serves a model worst, measured on samples that did not choose it.

The lowest of several noisy means is biased downward: it is lowest partly by luck. Choosing on one
half of the clusters and measuring on the other takes the luck out of the value, but leaves it too
good where variants are close; what a user can rely on is the simultaneous bound.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals
from harness.stats.arrays import Bounds, Floats, clip, encode, plural
from harness.stats.intervals import Means
from harness.stats.simultaneous import MaxT


def worst_variant(
    values: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable] | None = None,
    direction: str = "higher",
    *,
    seed: int = 0,
    splits: int = 200,
    confidence: float = 0.95,
    cluster_name: str = "sample",
    bounds: Bounds = None,
) -> tuple[str, Estimate]:
    """The worst variant by `values[variant][unit]`, and its mean on held-out clusters.

    Units that some variant lacks are left out. The variant named is the one chosen most often.
    The value is what the chosen variant scores on the half that did not choose it, over all
    seeded splits; being chosen on half the data, it errs to the good side where variants are
    close. The interval treats each unit's average over those splits as its value; it does not
    hold the uncertainty of the choice, `simultaneous_bound` does. Under four clusters nothing can
    be held out: no value.
    """
    variants, units, clusters, table = _table(values, cluster_of, direction)
    codes, names = encode(clusters, len(units))
    sign = 1.0 if direction == "higher" else -1.0
    count = len(names)
    if count < 4:
        pick = int(np.argmin(sign * table.mean(axis=0))) if units else 0
        method = f"no value: {count} {plural(cluster_name, count)}, four are needed"
        return variants[pick], Estimate(None, None, None, len(units), count, method)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(variants), dtype=np.intp)
    total, times = np.zeros(len(units)), np.zeros(len(units))
    for _ in range(splits):
        order = rng.permutation(count)
        # both halves of each split choose once, so every unit is held out in every split
        for half in (order[: count // 2], order[count // 2 :]):
            choosing = np.isin(codes, half)
            pick = int(np.argmin(sign * table[choosing].mean(axis=0)))
            chosen[pick] += 1
            total[~choosing] += table[~choosing, pick]
            times[~choosing] += 1
    found = intervals.mean(
        total / times,
        clusters,
        confidence=confidence,
        cluster_name=cluster_name,
        bounds=bounds,
    )
    method = f"held out over {splits} splits; {found.method}"
    estimate = Estimate(found.value, found.low, found.high, found.n, found.clusters, method)
    return variants[int(np.argmax(chosen))], estimate


def simultaneous_bound(
    values: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable] | None = None,
    direction: str = "higher",
    *,
    seed: int = 0,
    confidence: float = 0.95,
    bounds: Bounds = None,
) -> float | None:
    """What the mean of no variant lies beyond, whichever is the worst, with `confidence`.

    The lowest of the variants' one-sided simultaneous lower limits by max-t; the highest upper one
    where lower values are better. Units that some variant lacks are left out. `None` under two
    clusters, or where nothing varies and the range is open.
    """
    _, units, clusters, table = _table(values, cluster_of, direction)
    codes, names = encode(clusters, len(units))
    if len(names) < 2:
        return None
    sizes = np.bincount(codes).astype(float)
    sums = np.column_stack([np.bincount(codes, weights=own) for own in table.T]).astype(float)
    means = Means.of(sums, sizes, bounds)
    if means.range is None and means.still.any():
        return None
    influence = (sums - sizes[:, None] * means.spread.centre) / sizes.sum()
    # one-sided: the other half of the misses of two-sided intervals lies on the other side
    level = MaxT(influence, means.freedom, seed=seed).level(2 * (1 - confidence))
    low, high = means.limits(level)
    if direction == "higher":
        return clip(float(low.min()), np.inf, bounds)[0]
    return clip(-np.inf, float(high.max()), bounds)[1]


def _table(
    values: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable] | None,
    direction: str,
) -> tuple[list[str], list[str], Sequence[Hashable], Floats]:
    """Variants, the units all of them have, their clusters, and values (units, variants)."""
    if direction not in ("higher", "lower"):
        raise HarnessError(f"direction must be 'higher' or 'lower', not '{direction}'")
    if not values:
        raise HarnessError("the worst case needs at least one variant")
    variants = sorted(values)
    units = sorted(set.intersection(*(set(values[v]) for v in variants)))
    clusters = units if cluster_of is None else [cluster_of[unit] for unit in units]
    table = np.array([[values[v][unit] for v in variants] for unit in units], dtype=float)
    if not np.isfinite(table).all():
        raise HarnessError("values hold NaN or infinity; leave out what could not be scored")
    return variants, units, clusters, table
