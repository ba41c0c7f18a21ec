"""Models ranked by paired comparisons on the units they share, never by overlapping intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals, paired
from harness.stats.intervals import Bounds, Floats

LEVEL = 0.05


@dataclass(frozen=True)
class RankRow:
    """A model's rank by its mean (1 is best, ties share the middle) with its interval."""

    model: str
    rank: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairRow:
    """`a` less `b` on the units both have; p is Holm-adjusted over all pairs compared."""

    a: str
    b: str
    difference: Estimate
    p_adjusted: float | None


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

    Ranks: by the mean over units common to all models. From 20 clusters on their limits are
    percentiles of a bootstrap over clusters that all models share (ties within a draw share the
    middle rank); with fewer the bootstrap is too sure of itself, and the limits are how many models
    the tests put before and behind (Klein, Wright and Wieczorek 2020). Pairs: each on
    the units that the two share, with `paired.difference`. Tests: exact sign-flips of clusters
    where their smallest p survives Holm's first step at .05 (and there are 15 clusters or fewer),
    else cluster-robust t, whose p has no such floor. Where some pair shares no unit, or nothing
    is common to all, there are no ranks and `reason` says so; pairs that can be compared still are.
    """
    if direction not in ("higher", "lower"):
        raise HarnessError(f"direction must be 'higher' or 'lower', not '{direction}'")
    models = list(scores)
    if not models:
        return RankTable((), (), reason="there are no models to rank")
    pairs = list(combinations(models, 2))
    by_units: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    units_of = {model: frozenset(scores[model]) for model in models}
    shared_units: dict[frozenset[str], tuple[str, ...]] = {}
    for a, b in pairs:
        both = units_of[a] & units_of[b]
        units = shared_units.setdefault(both, tuple(sorted(both)))
        by_units.setdefault(units, []).append((a, b))
    found: dict[tuple[str, str], tuple[Estimate, float | None]] = {}
    tests: list[str] = []
    for units, members in by_units.items():
        if not units:
            nothing = Estimate(None, method="unpaired: the two share no units")
            found |= dict.fromkeys(members, (nothing, None))
            continue
        compared, name = _compare(
            scores, cluster_of, units, members, len(pairs), confidence, seed, cluster_name, bounds
        )
        found |= compared
        tests += [name] if name and name not in tests else []
    tested = [pair for pair in pairs if found[pair][1] is not None]
    adjusted = dict(zip(tested, holm([cast(float, found[p][1]) for p in tested]), strict=True))
    comparisons = tuple(
        PairRow(a, b, found[a, b][0], float(adjusted[a, b]) if (a, b) in adjusted else None)
        for a, b in pairs
    )
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
    return RankTable(rows, comparisons, reason, "; ".join(tests))


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
    sums, sizes = _cluster_sums(scores, cluster_of, units, models)
    sign = -1.0 if direction == "higher" else 1.0
    ranks = _ranks(sign * sums.sum(axis=0, keepdims=True) / sizes.sum())[0]
    if len(sizes) < 2:
        return tuple(RankRow(m, float(r), None, None) for m, r in zip(models, ranks, strict=True))
    if len(sizes) < intervals.FEW_CLUSTERS:
        return tuple(
            RankRow(
                model, float(rank), *_tested_limits(model, float(rank), models, comparisons, sign)
            )
            for model, rank in zip(models, ranks, strict=True)
        )
    weights = intervals.bootstrap_weights(len(sizes), seed)
    drawn = _ranks(sign * (weights @ sums) / (weights @ sizes)[:, None])
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return tuple(
        RankRow(model, float(ranks[i]), float(low[i]), float(high[i]))
        for i, model in enumerate(models)
    )


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
) -> tuple[Floats, Floats]:
    """Sums (clusters, models) and sizes (clusters,) over `units`."""
    missing = next((unit for unit in units if unit not in cluster_of), None)
    if missing is not None:
        raise HarnessError(f"unit '{missing}' has no cluster; give every scored unit one")
    codes, labels = intervals.encode([cluster_of[unit] for unit in units], len(units))
    values = np.array([[scores[model][unit] for model in models] for unit in units], dtype=float)
    if not np.isfinite(values).all():
        raise HarnessError("scores hold NaN or infinity; leave out units that were not scored")
    member = np.zeros((len(labels), len(units)))
    member[codes, np.arange(len(units))] = 1.0
    return member @ values, member.sum(axis=1)


def _compare(
    scores: Mapping[str, Mapping[str, float]],
    cluster_of: Mapping[str, Hashable],
    units: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    comparisons: int,
    confidence: float,
    seed: int,
    cluster_name: str,
    bounds: Bounds,
) -> tuple[dict[tuple[str, str], tuple[Estimate, float | None]], str]:
    """Differences and raw p of pairs that share the same units, all at once."""
    models = sorted({model for pair in pairs for model in pair})
    place = {model: i for i, model in enumerate(models)}
    sums, sizes = _cluster_sums(scores, cluster_of, units, models)
    first, second = np.array([[place[a], place[b]] for a, b in pairs]).T
    gaps = sums[:, first] - sums[:, second]
    count, n = len(sizes), len(units)
    limits = paired.difference_bounds(bounds)
    value = gaps.sum(axis=0) / n
    if count == 1:
        method = f"no interval: one {cluster_name}"
        return {
            pair: (Estimate(float(value[i]), None, None, n, 1, method), None)
            for i, pair in enumerate(pairs)
        }, ""
    low, high, method = intervals.mean_interval(gaps, sizes, confidence, seed, cluster_name)
    floor = 2.0 ** (1 - count)
    if count <= paired.EXACT_CLUSTERS and floor * comparisons <= LEVEL:
        p, test = paired.sign_flip(gaps), "exact sign-flip of clusters"
    else:
        p, test = _t_test(gaps, sizes), "cluster-robust t"
    still = np.sqrt(intervals.cr2_variance(gaps, sizes)) <= 1e-12
    # clusters that all differ by the same amount leave t undefined; sign-flips are not
    p = np.where(still, np.where(np.abs(value) <= 1e-12, 1.0, floor), p)
    found: dict[tuple[str, str], tuple[Estimate, float | None]] = {}
    for i, pair in enumerate(pairs):
        if still[i]:
            estimate = intervals.without_variation(
                float(value[i]), n, count, confidence, cluster_name, limits
            )
        else:
            ends = intervals.clip(low[i], high[i], limits)
            estimate = Estimate(float(value[i]), *ends, n, count, method)
        found[pair] = estimate, float(p[i])
    return found, test


def _t_test(gaps: Floats, sizes: Floats) -> Floats:
    from scipy.stats import t

    error = np.sqrt(intervals.cr2_variance(gaps, sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(gaps.sum(axis=0)) / sizes.sum() / error
    return np.asarray(2 * t.sf(ratio, intervals.degrees_of_freedom(sizes)), dtype=float)
