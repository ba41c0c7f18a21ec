"""Means in which every stratum counts the same, as balanced accuracy does with classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.results import Estimate
from harness.stats import intervals
from harness.stats.intervals import Bounds, Floats


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
    The interval is that of `intervals.of_statistic`; without any group the value is `None`.
    """
    array = np.asarray(values, dtype=float)
    groups: dict[Hashable, dict[Hashable, list[int]]] = {}
    for i, (group, level) in enumerate(zip(within, over, strict=True)):
        groups.setdefault(group, {}).setdefault(level, []).append(i)
    strata = [list(levels.values()) for levels in groups.values() if len(levels) > 1]
    if not strata:
        return Estimate(None, method="no group has more than one level")
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
