"""Models ranked by paired comparisons on the units they share, never by overlapping intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import bootstrap, intervals, paired
from harness.stats.arrays import Bounds, Floats, encode
from harness.stats.intervals import Means
from harness.stats.simultaneous import MaxT

LEVEL = 0.05


@dataclass(frozen=True)
class RankRow:
    """A model's rank by its mean (1 is best, ties share the middle) with two intervals.

    `low` and `high` are for this model alone; `simultaneous` holds for all models together.
    """

    model: str
    rank: float | None
    low: float | None
    high: float | None
    simultaneous: tuple[float, float] | None = None


@dataclass(frozen=True)
class PairRow:
    """`a` less `b` on the units both have, with p, both of this pair alone.

    `together` is the difference with its simultaneous interval, and `p_adjusted` its p, over all
    pairs compared; the interval leaves out 0 where that p is below .05. `sign_flip` is the p of
    sign-flips of whole clusters for this pair alone, as a check.
    """

    a: str
    b: str
    difference: Estimate
    p_adjusted: float | None
    p: float | None = None
    together: Estimate | None = None
    sign_flip: float | None = None


@dataclass(frozen=True)
class RankTable:
    """Ranks and pairs. `reason` says why there are no ranks, or is empty; `test` names the test
    behind the p-values.
    """

    rows: tuple[RankRow, ...]
    comparisons: tuple[PairRow, ...]
    reason: str = ""
    test: str = ""


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) step-down adjustment of p-values (k,), in their own order."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted


def rank(
    scores: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable],
    direction: str = "higher",
    *,
    confidence: float = 0.95,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = None,
) -> RankTable:
    """Ranks of models from `scores[model][unit]` and the cluster of every unit.

    Pairs: each on the units that the two share, by cluster-robust t, with the interval of
    `paired.difference` and the p that belongs to it; over all pairs, simultaneous intervals and
    adjusted p by max-t. Ranks: by the mean over units common to all models. Their simultaneous
    limits are how many models the adjusted tests put before and behind (Klein, Wright and
    Wieczorek 2020). From 20 clusters on the limits of one model are percentiles of a bootstrap over
    clusters that all models share (ties within a draw share the middle rank); with fewer the
    bootstrap is too sure of itself, and they are the simultaneous ones. Where some pair shares no
    unit, or nothing is common to all, there are no ranks and `reason` says so; pairs that can be
    compared still are.
    """
    if direction not in ("higher", "lower"):
        raise HarnessError(f"direction must be 'higher' or 'lower', not '{direction}'")
    models = list(scores)
    if not models:
        return RankTable((), (), reason="there are no models to rank")
    pairs = list(combinations(models, 2))
    units_of = {model: frozenset(scores[model]) for model in models}
    by_units: dict[frozenset[str], list[tuple[str, str]]] = {}
    for a, b in pairs:
        by_units.setdefault(units_of[a] & units_of[b], []).append((a, b))
    groups = [
        _Compared(scores, cluster_of, sorted(units), members, bounds)
        for units, members in by_units.items()
        if units
    ]
    found = _rows([g for g in groups if g.means is not None], confidence, seed, cluster_name)
    for group in groups:
        if group.means is None:
            found |= group.without_test(cluster_name)
    nothing = Estimate(None, method="unpaired: the two share no units")
    comparisons = tuple(found.get((a, b), PairRow(a, b, nothing, None)) for a, b in pairs)
    tested = any(row.p is not None for row in comparisons)
    common = sorted(frozenset.intersection(*units_of.values()))
    unpaired = next(((a, b) for a, b in pairs if not (units_of[a] & units_of[b])), None)
    reason = ""
    if unpaired:
        reason = f"nothing was scored for both {unpaired[0]} and {unpaired[1]}"
    elif not common:
        reason = "nothing was scored for all models alike"
    rows = (
        tuple(RankRow(model, None, None, None) for model in models)
        if reason
        else _rank_rows(scores, cluster_of, common, comparisons, direction, confidence, seed)
    )
    return RankTable(rows, comparisons, reason, "cluster-robust t" if tested else "")


def _rank_rows(
    scores: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable],
    units: Sequence[str],
    comparisons: Sequence[PairRow],
    direction: str,
    confidence: float,
    seed: int,
) -> tuple[RankRow, ...]:
    models = list(scores)
    sums, sizes, _ = _cluster_sums(scores, cluster_of, units, models)
    sign = -1.0 if direction == "higher" else 1.0
    ranks = _ranks(sign * sums.sum(axis=0, keepdims=True) / sizes.sum())[0].tolist()
    if len(sizes) < 2:
        return tuple(RankRow(m, r, None, None) for m, r in zip(models, ranks, strict=True))
    together = [
        _tested_limits(model, own, models, comparisons, sign)
        for model, own in zip(models, ranks, strict=True)
    ]
    alone = together
    if len(sizes) >= intervals.FEW_CLUSTERS:
        drawn = np.concatenate(
            [
                _ranks(sign * (w @ sums) / (w @ sizes)[:, None])
                for w in bootstrap.weights(len(sizes), seed)
            ]
        )
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail], axis=0).tolist()
        alone = list(zip(low, high, strict=True))
    return tuple(RankRow(model, ranks[i], *alone[i], together[i]) for i, model in enumerate(models))


def _tested_limits(
    model: str, rank: float, models: Sequence[str], comparisons: Sequence[PairRow], sign: float
) -> tuple[float, float]:
    """The places that the tests leave a model: behind those above it, before those below it.

    Widened to `rank`, which a pair's own units may contradict.
    """
    above = below = 0
    for pair in comparisons:
        if model in (pair.a, pair.b) and pair.p_adjusted is not None and pair.p_adjusted < LEVEL:
            ahead = sign * (pair.difference.value or 0.0) * (1 if model == pair.a else -1) < 0
            above, below = above + (not ahead), below + ahead
    return min(rank, 1.0 + above), max(rank, float(len(models) - below))


def _ranks(means: Floats) -> Floats:
    """Ranks within each row, smallest first; means that differ by rounding alone are tied."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.round(means, 12), axis=1), dtype=float)


def _cluster_sums(
    scores: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable],
    units: Sequence[str],
    models: Sequence[str],
) -> tuple[Floats, Floats, list[Hashable]]:
    """Sums (clusters, models), sizes (clusters,) and names of the clusters over `units`."""
    missing = next((unit for unit in units if unit not in cluster_of), None)
    if missing is not None:
        raise HarnessError(f"unit '{missing}' has no cluster; give every scored unit one")
    codes, labels = encode([cluster_of[unit] for unit in units], len(units))
    values = np.array([[scores[model][unit] for model in models] for unit in units], dtype=float)
    if not np.isfinite(values).all():
        raise HarnessError("scores hold NaN or infinity; leave out units that were not scored")
    sums = np.column_stack([np.bincount(codes, weights=own) for own in values.T]).astype(float)
    return sums, np.bincount(codes).astype(float), labels


class _Compared:
    """The differences of pairs that share the same units; `means` is `None` with one cluster."""

    def __init__(
        self,
        scores: Mapping[str, Mapping[str, float]],
        cluster_of: Mapping[str, Hashable],
        units: Sequence[str],
        pairs: Sequence[tuple[str, str]],
        bounds: Bounds,
    ) -> None:
        models = sorted({model for pair in pairs for model in pair})
        place = {model: i for i, model in enumerate(models)}
        sums, self.sizes, self.clusters = _cluster_sums(scores, cluster_of, units, models)
        first, second = np.array([[place[a], place[b]] for a, b in pairs]).T
        self.pairs, self.n = pairs, len(units)
        self.gaps = sums[:, first] - sums[:, second]
        self.bounds = paired.difference_bounds(bounds)
        self.means = Means.of(self.gaps, self.sizes, self.bounds) if len(self.sizes) > 1 else None

    def without_test(self, cluster_name: str) -> dict[tuple[str, str], PairRow]:
        """Pairs of a single cluster."""
        values, method = self.gaps.sum(axis=0) / self.n, f"no interval: one {cluster_name}"
        return {
            (a, b): PairRow(a, b, Estimate(float(v), None, None, self.n, 1, method), None)
            for (a, b), v in zip(self.pairs, values, strict=True)
        }

    def influence(self) -> Floats:
        """What each cluster adds to each difference beyond its mean, (clusters, pairs)."""
        total = self.sizes.sum()
        beyond = self.gaps - self.sizes[:, None] * (self.gaps.sum(axis=0) / total)
        return np.asarray(beyond / total, dtype=float)


def _rows(
    groups: Sequence[_Compared], confidence: float, seed: int, cluster_name: str
) -> dict[tuple[str, str], PairRow]:
    """All pairs with their own and their simultaneous intervals, tests and checks."""
    tested = [(group, group.means) for group in groups if group.means is not None]
    if not tested:
        return {}
    every, _ = encode([c for group, _ in tested for c in group.clusters],
                      sum(len(group.clusters) for group, _ in tested))  # fmt: skip
    influence, start, column = np.zeros((max(every) + 1, sum(len(g.pairs) for g in groups))), 0, 0
    for group, _ in tested:
        rows = every[start : start + len(group.clusters)]
        influence[rows, column : column + len(group.pairs)] = group.influence()
        start, column = start + len(group.clusters), column + len(group.pairs)
    largest = MaxT(influence, min(means.freedom for _, means in tested), seed=seed)
    own = [means.p_values() for _, means in tested]
    adjusted = iter(largest.adjusted(np.concatenate(own)).tolist())
    level, found = 1 - confidence, {}
    for (group, means), p in zip(tested, own, strict=True):
        flips = paired.sign_flip(group.gaps, seed=seed)
        for i, (a, b) in enumerate(group.pairs):
            alone, together = (
                means.estimate(i, each, group.n, cluster_name, group.bounds)
                for each in (level, largest.level(level))
            )
            found[a, b] = PairRow(
                a, b, alone, next(adjusted), float(p[i]), together, float(flips[i])
            )
    return found
