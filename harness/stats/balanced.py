"""Means in which every stratum counts the same, as balanced accuracy does with classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.results import Estimate
from harness.stats import intervals
from harness.stats.arrays import Bounds, Floats, clip, plural


def balanced_mean(
    values: ArrayLike,
    within: Sequence[Hashable],
    over: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """Mean over groups of `within` of the mean over levels of `over` of the mean value.

    All arguments have length n. Groups in which `over` has a single level are left out: there the
    level follows from the group, so a value says nothing. With values 1 for right and 0 for
    wrong, one group and `over` the true class this is balanced accuracy (Brodersen et al. 2010).
    The interval is that of `intervals.of_statistic`, and that of `sum_of_means` where a level has
    fewer than ten clusters, which no resample knows; without any group the value is `None`.
    """
    array = np.asarray(values, dtype=float)
    groups: dict[Hashable, dict[Hashable, list[int]]] = {}
    for i, (group, level) in enumerate(zip(within, over, strict=True)):
        groups.setdefault(group, {}).setdefault(level, []).append(i)
    strata = [list(levels.values()) for levels in groups.values() if len(levels) > 1]
    if not strata:
        return Estimate(None, method="no group has more than one level")
    parts = [(rows, 1 / len(levels) / len(strata)) for levels in strata for rows in levels]
    if any(len({clusters[i] for i in rows}) < intervals.FEW_IN_CLASS for rows, _ in parts):
        return sum_of_means(array, parts, clusters, cluster_name=cluster_name, bounds=bounds)
    kept = sorted(i for levels in strata for rows in levels for i in rows)
    place = {row: i for i, row in enumerate(kept)}
    array = array[kept]

    def statistic(weights: Floats) -> Floats:
        means = []
        for levels in strata:
            shares = []
            for rows in levels:
                at = [place[row] for row in rows]
                size = weights[:, at].sum(axis=1)
                total = weights[:, at] @ array[at]
                undefined = np.full(len(size), np.nan)
                shares.append(np.divide(total, size, out=undefined, where=size > 0))
            means.append(np.mean(shares, axis=0))
        found: Floats = np.mean(means, axis=0)
        return found

    return intervals.of_statistic(
        statistic,
        [clusters[i] for i in kept],
        seed=seed,
        cluster_name=cluster_name,
        bounds=bounds,
    )


def sum_of_means(
    values: ArrayLike,
    parts: Sequence[tuple[Sequence[int], float]],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """Sum of means over `parts`, pairs of rows and weight above 0, from the interval of each mean.

    The distances from each mean to its limit add up as the root of squares (Zou and Donner 2008),
    or plainly where two parts share a cluster, since they may then miss together.
    """
    array = np.asarray(values, dtype=float)
    owners = [{clusters[i] for i in rows} for rows, _ in parts]
    count = len(set().union(*owners))
    found = [
        intervals.mean(array[list(rows)], [clusters[i] for i in rows], confidence=confidence,
                       cluster_name=cluster_name, bounds=bounds)
        for rows, _ in parts
    ]  # fmt: skip
    weights = np.array([weight for _, weight in parts])
    centres, lows, highs = np.array([[e.value, e.low, e.high] for e in found], dtype=float).T
    value = float(weights @ centres)
    n = sum(len(rows) for rows, _ in parts)
    lone = next((e for e in found if e.low is None or e.high is None), None)
    if lone is not None:
        return Estimate(value, None, None, n, count, lone.method)
    order = 2 if count == sum(map(len, owners)) else 1
    below, above = (
        float(np.linalg.norm(weights * gaps, order)) for gaps in (centres - lows, highs - centres)
    )
    fewest = min(map(len, owners))
    method = f"from the intervals of {len(parts)} levels; "
    method += f"the rarest has {fewest:,} {plural(cluster_name, fewest)}"
    return Estimate(value, *clip(value - below, value + above, bounds), n, count, method)
