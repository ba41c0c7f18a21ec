"""Permutation tests of whether a rate differs between groups, with clusters kept whole.

Exact in level whatever the number of clusters: a p is (1 + permutations at least as extreme) over
(1 + permutations drawn), so it is never below 1 / (1 + draws).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.stats.arrays import Floats, encode

DRAWS = 1_999
_CHUNK = 4_000_000  # numbers held at once


def within_blocks(
    values: ArrayLike,
    levels: Sequence[Hashable],
    blocks: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> float:
    """p of "within a block the levels are exchangeable": Friedman's question for means.

    `values`, `levels` and `blocks` have length n. A block's values are averaged by level first, so
    that many cells of one block count as one; then its levels are permuted. Blocks of one level say
    nothing. The statistic is the sum over levels of the squared sum of what their means lie above
    their blocks'.
    """
    table, present = _by_block(values, levels, blocks)
    informative = (present.sum(axis=1) > 1) & (np.nanmax(table, axis=1) > np.nanmin(table, axis=1))
    table, present = table[informative], present[informative]
    if not len(table):
        return 1.0
    centred = np.where(present, table - np.nanmean(table, axis=1, keepdims=True), 0.0)
    observed = float((centred.sum(axis=0) ** 2).sum())
    rng = np.random.default_rng(seed)
    patterns, member = np.unique(present, axis=0, return_inverse=True)
    member = member.ravel()
    extreme = 0
    for _ in range(draws):
        sums = np.zeros(table.shape[1])
        for i, pattern in enumerate(patterns):
            rows = centred[member == i][:, pattern]
            sums[pattern] += rng.permuted(rows, axis=1).sum(axis=0)
        extreme += float((sums**2).sum()) >= observed * (1 - 1e-12)
    return (1 + extreme) / (1 + draws)


def between_clusters(
    values: ArrayLike,
    levels: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> float:
    """p of "clusters of all levels are exchangeable": a one-way comparison of means.

    Every cluster has one level; its values are averaged first. The statistic is the sum of squares
    between levels.
    """
    x = _floats(values)
    codes, names = encode(clusters, len(x))
    level_codes, level_names = encode(levels, len(x))
    level_of = np.zeros(len(names), dtype=np.intp)
    level_of[codes] = level_codes
    if (level_of[codes] != level_codes).any():
        raise HarnessError("a cluster has two levels, so they cannot be compared between clusters")
    means = np.bincount(codes, x) / np.bincount(codes)
    means = means - means.mean()
    if len(level_names) < 2 or not means.any():
        return 1.0
    member = np.eye(len(level_names))[level_of]  # (clusters, levels)
    size = member.sum(axis=0)
    observed = float((((means @ member) ** 2) / size).sum())
    rng = np.random.default_rng(seed)
    extreme, left = 0, draws
    step = max(1, _CHUNK // len(means))
    while left:
        now = min(step, left)
        drawn = rng.permuted(np.tile(means, (now, 1)), axis=1)
        found = (((drawn @ member) ** 2) / size).sum(axis=1)
        extreme += int((found >= observed * (1 - 1e-12)).sum())
        left -= now
    return (1 + extreme) / (1 + draws)


def below_chance(
    true: Sequence[Hashable],
    predicted: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = 9_999,
) -> float:
    """One-sided p of "predictions have nothing to do with the truth", small where they agree less.

    The statistic is the mean recall over the classes of the truth, the null permutes predictions
    over samples, so how often each class occurs and is predicted plays no part. Of every cluster
    one sample counts, drawn with the seed, because those of one cluster are not exchangeable.
    """
    rng = np.random.default_rng(seed)
    codes, _ = encode(clusters, len(true))
    order = rng.permutation(len(true))
    _, first = np.unique(codes[order], return_index=True)
    chosen = np.sort(order[first])
    names = sorted({str(true[i]) for i in chosen} | {str(predicted[i]) for i in chosen})
    place = {name: i for i, name in enumerate(names)}
    t = np.array([place[str(true[i])] for i in chosen], dtype=np.intp)
    p = np.array([place[str(predicted[i])] for i in chosen], dtype=np.intp)
    weight = 1.0 / np.bincount(t, minlength=len(names))[t]  # every class counts alike
    observed = float((weight * (t == p)).sum())
    extreme, left = 0, draws
    step = max(1, _CHUNK // max(1, len(t)))
    while left:
        now = min(step, left)
        drawn = rng.permuted(np.tile(p, (now, 1)), axis=1)
        found = ((drawn == t) * weight).sum(axis=1)
        extreme += int((found <= observed + 1e-12).sum())
        left -= now
    return (1 + extreme) / (1 + draws)


def _by_block(
    values: ArrayLike, levels: Sequence[Hashable], blocks: Sequence[Hashable]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Means (blocks, levels), NaN where a block lacks the level, and where there are any."""
    x = _floats(values)
    rows, row_names = encode(blocks, len(x))
    columns, column_names = encode(levels, len(x))
    shape = (len(row_names), len(column_names))
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows, columns), x)
    np.add.at(counts, (rows, columns), 1)
    present = counts > 0
    return np.where(present, sums / np.maximum(counts, 1), np.nan), present


def _floats(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise HarnessError("a permutation test takes one row of finite numbers")
    return x
