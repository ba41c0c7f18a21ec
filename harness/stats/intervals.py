"""Means and other statistics with intervals that respect what samples share.

Values that share a cluster (a condition, a vessel forest) are not independent, so clusters, not
values, are what the intervals count. No function here gives an interval of zero width to values
that merely did not vary: a few equal scores say little about the next one. And none jumps: the
weight of the exact method grows continuously as the variation among clusters vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import bootstrap, exact
from harness.stats.arrays import Bounds, Floats, checked, clip, closed, encode, plural

FEW_CLUSTERS = 20  # below this the bootstrap covers too little; see benchmarks/
FEW_IN_CLASS = 10  # resamples of fewer clusters of a class know too little of it
DRAWS = bootstrap.DRAWS


def mean(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """The plain mean over values (each value counts once), with a cluster-robust interval.

    `values` and `clusters` have length n; `bounds` is the range of the values, `None` where open.
    t on the CR2 variance (Bell and McCaffrey 2002) with Satterthwaite degrees of freedom, the
    smaller of those for independent values and for a shared cluster effect; G - 1 for clusters of
    equal size. As the variation among the cluster means vanishes, or is that of a few clusters
    alone, the exact limits of `exact` gain weight; a range that is open has none. Raises
    `HarnessError` for NaN or values outside `bounds`.
    """
    array = checked(values, bounds)
    codes, labels = encode(clusters, len(array))
    count = len(labels)
    if len(array) == 0:
        return Estimate(None, method="no values")
    value = float(array.mean())
    if count == 1:
        method = f"no interval: one {cluster_name}"
        return Estimate(value, None, None, len(array), 1, method)
    sizes = np.bincount(codes).astype(float)
    sums = np.bincount(codes, weights=array).astype(float)[:, None]
    found = Means.of(sums, sizes, bounds)
    return found.estimate(0, 1 - confidence, len(array), cluster_name, bounds)


@dataclass(frozen=True)
class Means:
    """k means at once with all that their intervals and tests are made from; arrays (k,).

    `weight` is the weight of the exact limits, `range` the ends of the values, `None` where an end
    is open and the weight therefore 0.
    """

    spread: exact.Spread
    error: Floats
    freedom: float
    weight: Floats
    range: tuple[float, float] | None

    @classmethod
    def of(cls, sums: Floats, sizes: Floats, bounds: Bounds) -> Means:
        """From cluster sums (clusters, k) and sizes (clusters,), two clusters or more."""
        ends = closed(bounds)
        spread = exact.Spread.of(sums, sizes)
        weight = (
            np.zeros(sums.shape[1]) if ends is None else exact.weight(sums / sizes[:, None], ends)
        )
        error = np.sqrt(cr2_variance(sums, sizes))
        return cls(spread, error, degrees_of_freedom(sizes), weight, ends)

    @property
    def still(self) -> NDArray[np.bool_]:
        """Which means vary so little among clusters that it may be rounding."""
        return self.error <= 1e-12 * np.maximum(1.0, np.abs(self.spread.centre))

    def limits(self, level: float) -> tuple[Floats, Floats]:
        """Both limits (k,) at `level`, the share of intervals that miss (.05 for 95 %)."""
        from scipy.stats import t

        centre, rest = self.spread.centre, 1 - self.weight
        with np.errstate(invalid="ignore"):  # a vanishing level has an infinite t
            reach = t.isf(level / 2, self.freedom) * self.error * rest
        reach = np.where((self.error > 0) & (rest > 0), reach, 0.0)
        if self.range is None or not self.weight.any():
            return centre - reach, centre + reach
        below, above = exact.limits(self.spread, self.range, level / 2)
        low = rest * centre - reach + self.weight * below
        return low, rest * centre + reach + self.weight * above

    def exact_reach(self, level: float) -> tuple[Floats, Floats]:
        """How far the exact limits lie below and above the means (k,), times their weight."""
        if self.range is None:
            return np.zeros_like(self.error), np.zeros_like(self.error)
        below, above = exact.limits(self.spread, self.range, level / 2)
        return self.weight * (self.spread.centre - below), self.weight * (
            above - self.spread.centre
        )

    def p_values(self) -> Floats:
        """Two-sided p (k,) of "the mean is 0": the level at which the interval reaches 0.

        Where the exact limits have no weight this is the p of t. Means that do not vary and have
        an open range have no t; there it is that of equal signs in all clusters.
        """
        from scipy.stats import t

        centre = self.spread.centre
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * t.sf(np.abs(centre) / self.error, self.freedom)
        signs = 2.0 ** (1 - self.spread.count)
        p = np.where(self.still, np.where(np.abs(centre) <= 1e-12, 1.0, signs), p)
        if self.weight.any():
            p = np.where(self.weight > 0, self._inverted(), p)
        return np.asarray(p, dtype=float)

    def _inverted(self) -> Floats:
        """The level at which an interval begins to hold 0, by bisection of its logarithm."""
        low, high = np.full(len(self.error), -300.0), np.zeros(len(self.error))
        for _ in range(50):
            middle = (low + high) / 2
            holds = self._hold_zero(np.exp(middle))
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        return np.asarray(np.exp(high), dtype=float)

    def _hold_zero(self, level: Floats) -> NDArray[np.bool_]:
        low, high = self.limits(level)  # type: ignore[arg-type]
        return (low <= 1e-12) & (high >= -1e-12)

    def method(self, place: int, cluster_name: str) -> str:
        """How the interval of one mean is made, in words."""
        count, weight = self.spread.count, float(self.weight[place])
        still = bool(self.still[place])
        if still and self.range is None:
            return "no interval: no variation"
        if still:
            return f"no variation over {count:,} {plural(cluster_name, count)}: Clopper-Pearson"
        shown = f"{self.freedom:,.1f}".removesuffix(".0")
        method = f"t, {shown} degree{'' if shown == '1' else 's'} of freedom, by {cluster_name}"
        if weight <= 0:
            return method
        share = f"{weight:.2f}".removeprefix("0")
        return f"{method}; little or rare variation: exact limits with weight {share}"

    def estimate(
        self, place: int, level: float, n: int, cluster_name: str, bounds: Bounds
    ) -> Estimate:
        """One of the means, of `n` values, with its interval."""
        value, method = float(self.spread.centre[place]), self.method(place, cluster_name)
        if self.still[place] and self.range is None:
            return Estimate(value, None, None, n, self.spread.count, method)
        low, high = self.limits(level)
        limits = clip(low[place], high[place], bounds)
        return Estimate(value, *limits, n, self.spread.count, method)


def proportion(k: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Share k of n independent trials with Wilson's score interval (Wilson 1927)."""
    from scipy.stats import norm

    if not 0 <= k <= n:
        raise HarnessError(f"a proportion needs 0 <= k <= n, not k={k} and n={n}")
    if n == 0:
        return Estimate(None, method="no values")
    z, share = float(norm.ppf((1 + confidence) / 2)), k / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    reach = z / scale * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else float(centre - reach)
    high = 1.0 if k == n else float(centre + reach)
    return Estimate(share, low, high, n, n, f"Wilson, {n:,} trials")


def two_way(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    variants: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """The mean as a statement about clusters and about variants that were not tried.

    Variance: by cluster, plus by variant, less by both (Cameron, Gelbach and Miller 2011,
    equation 2.11), each with G / (G - 1); never below either one-way variance, which the
    difference can undercut in small data. t with the smaller count less one; the exact limits of
    `mean` by cluster or by variant, by their weight, add to its reach as the root of squares. Never
    inside the interval of `mean` by cluster, or by variant.
    """
    from scipy.stats import t

    array = checked(values, bounds)
    rows, row_labels = encode(clusters, len(array))
    columns, column_labels = encode(variants, len(array))
    if len(array) == 0:
        return Estimate(None, method="no values")
    value, count = float(array.mean()), len(row_labels)
    fewest = min(count, len(column_labels))
    if fewest < 2:
        return Estimate(
            value, None, None, len(array), count, f"no interval: one {cluster_name} or one variant"
        )
    ways = [_by(array, codes, bounds) for codes in (rows, columns)]
    still = all(bool(way.still[0]) for way in ways)
    if still and closed(bounds) is None:
        return Estimate(value, None, None, len(array), count, "no interval: no variation")
    by_row = _cr1_variance(array, rows)
    by_column = _cr1_variance(array, columns)
    both, _ = encode(list(zip(rows.tolist(), columns.tolist(), strict=True)), len(array))
    variance = max(by_row + by_column - _cr1_variance(array, both), by_row, by_column)
    reach = float(t.ppf((1 + confidence) / 2, fewest - 1) * np.sqrt(variance))
    alone = [way.limits(1 - confidence) for way in ways]
    unseen = [way.exact_reach(1 - confidence) for way in ways]
    below, above = (max(float(side[0]) for side in sides) for sides in zip(*unseen, strict=True))
    low = min(value - float(np.hypot(reach, below)), *(float(lower[0]) for lower, _ in alone))
    high = max(value + float(np.hypot(reach, above)), *(float(upper[0]) for _, upper in alone))
    freedom = f"{fewest - 1} degree{'' if fewest == 2 else 's'} of freedom"
    method = f"t, {freedom}, by {cluster_name} and by variant"
    if still:
        method = f"no variation over {fewest:,} {cluster_name}s or variants: Clopper-Pearson"
    return Estimate(value, *clip(low, high, bounds), len(array), count, method)


def _by(array: Floats, codes: NDArray[np.intp], bounds: Bounds) -> Means:
    sums = np.bincount(codes, weights=array).astype(float)[:, None]
    return Means.of(sums, np.bincount(codes).astype(float), bounds)


def of_statistic(
    statistic: Callable[[Floats], Floats],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = None,
    informative: int | None = None,
    recentre: bool = False,
) -> Estimate:
    """Any statistic of weighted units with an interval over clusters.

    `statistic` maps weights (draws, n) to values (draws,), NaN where undefined. From 20 clusters
    on: percentile bootstrap over clusters; below: t with G - 1 degrees of freedom on the
    delete-one-cluster jackknife. `informative` is how many clusters carry the evidence where
    that is not all of them (the rarer class of an AUC): under ten of them no bootstrap knows the
    class, so the jackknife is used, with one degree of freedom less than they are. As the
    variation vanishes, `without_variation` gains weight. `recentre` shifts the draws to a mean of
    `value`, for statistics that resampling inflates.
    """
    codes, labels = encode(clusters, len(clusters))
    n, count = len(codes), len(labels)
    if n == 0:
        return Estimate(None, method="no values")
    value = float(statistic(np.ones((1, n)))[0])
    if np.isnan(value):
        return Estimate(None, None, None, n, count, "undefined on these values")
    used = count if informative is None else min(informative, count)
    if used < 2:
        what = cluster_name if count < 2 else f"{cluster_name} of the rarer class"
        return Estimate(value, None, None, n, count, f"no interval: one {what}")
    few = count < FEW_CLUSTERS or used < FEW_IN_CLASS
    drawn = _left_out(statistic, codes, count) if few else _resampled(statistic, codes, count, seed)
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (count if few else 0.9 * DRAWS):
        method = f"no interval: undefined on too many resamples of {count:,} {cluster_name}s"
        return Estimate(value, None, None, n, count, method)
    if few:
        low, high, error, method = _jackknife(defined, value, used, confidence, cluster_name)
    else:
        tail = (1 - confidence) / 2
        shift = value - defined.mean() if recentre else 0.0
        low, high = np.quantile(defined, [tail, 1 - tail]) + shift
        low, high, error = min(low, value), max(high, value), float(defined.std())
        method = f"bootstrap, {DRAWS:,} draws, {count:,} {plural(cluster_name, count)}"
    return _faded(Estimate(value, low, high, n, count, method), error, used, confidence,
                  cluster_name, bounds)  # fmt: skip


def _faded(
    found: Estimate, error: float, count: int, confidence: float, cluster_name: str, bounds: Bounds
) -> Estimate:
    """`found` inside its range, mixed with `without_variation` where `error` is next to nothing."""
    value, low, high = (cast(float, end) for end in (found.value, found.low, found.high))
    ends = closed(bounds)
    still = without_variation(value, found.n, count, confidence, cluster_name, bounds)
    if error <= 1e-12:
        return still
    if ends is not None and still.low is not None and still.high is not None:
        weight = float(exact.fade(np.array(error * np.sqrt(count) / (ends[1] - ends[0])), count))
        low = (1 - weight) * low + weight * still.low
        high = (1 - weight) * high + weight * still.high
    return Estimate(value, *clip(low, high, bounds), found.n, found.clusters, found.method)


def _left_out(statistic: Callable[[Floats], Floats], codes: NDArray[np.intp], count: int) -> Floats:
    step = max(1, bootstrap.HELD // len(codes))
    parts = [
        statistic((np.arange(i, min(i + step, count))[:, None] != codes).astype(float))
        for i in range(0, count, step)
    ]
    return np.concatenate(parts)


def _resampled(
    statistic: Callable[[Floats], Floats], codes: NDArray[np.intp], count: int, seed: int
) -> Floats:
    held = bootstrap.HELD * count // len(codes)  # a slice is spread over the units
    return np.concatenate([statistic(w[:, codes]) for w in bootstrap.weights(count, seed, held)])


def _jackknife(
    drawn: Floats, value: float, used: int, confidence: float, cluster_name: str
) -> tuple[float, float, float, str]:
    from scipy.stats import t

    count = len(drawn)
    error = float(np.sqrt((count - 1) / count * np.sum((drawn - drawn.mean()) ** 2)))
    reach = float(t.ppf((1 + confidence) / 2, used - 1)) * error
    freedom = f"{used - 1} degree{'' if used == 2 else 's'} of freedom"
    return value - reach, value + reach, error, f"jackknife t, {freedom}, by {cluster_name}"


def without_variation(
    value: float, n: int, count: int, confidence: float, cluster_name: str, bounds: Bounds
) -> Estimate:
    """The interval of a statistic that no cluster moved.

    Seeing G clusters agree, at most q = 1 - (alpha / 2)^(1 / G) of all clusters can differ
    (Clopper and Pearson 1934, with no exception seen), and those could lie at a bound. For zeros
    and ones this is the Clopper-Pearson interval itself. Without bounds nothing can be said.
    """
    ends = closed(bounds)
    if ends is None or count < 2:
        return Estimate(value, None, None, n, count, "no interval: no variation")
    share = 1 - ((1 - confidence) / 2) ** (1 / count)
    low = value - share * (value - ends[0])
    high = value + share * (ends[1] - value)
    method = f"no variation over {count:,} {plural(cluster_name, count)}: Clopper-Pearson"
    return Estimate(value, *clip(low, high, bounds), n, count, method)


def cr2_variance(sums: Floats, sizes: Floats) -> Floats:
    """CR2 variance (k,) of k means from cluster sums (clusters, k) and sizes (clusters,)."""
    total = sizes.sum()
    residuals = sums - sizes[:, None] * (sums.sum(axis=0) / total)
    return cast(Floats, (residuals**2 / (1 - sizes / total)[:, None]).sum(axis=0) / total**2)


def degrees_of_freedom(sizes: Floats) -> float:
    """Satterthwaite degrees of freedom of the CR2 variance of a mean, at most clusters - 1.

    The smaller of those for independent values and for a fully shared cluster effect (Pustejovsky
    and Tipton 2018, section 2): which of them holds is not known, and the smaller is safe. With
    p the clusters' shares and s the variances of their sums, the residuals' covariance is
    diag(s) - p s' - s p' + sum(s) p p', whose trace and norm, scaled by 1 / (1 - p), take no
    matrix.
    """
    share = sizes / sizes.sum()
    scale = 1 / (1 - share)
    found = []
    for own in (share, share**2):  # variance of a cluster's sum: n, or n squared
        whole = own.sum()
        trace = np.sum(scale * (own - 2 * share * own + share**2 * whole))
        pp, ps, ss = (np.sum(scale * a * b) for a, b in ((share, share), (share, own), (own, own)))
        outer = 2 * pp * ss + 2 * ps**2 + whole**2 * pp**2 - 4 * whole * pp * ps
        crossed = 2 * np.sum(scale**2 * own * (whole * share**2 - 2 * share * own))
        norm = np.sum(scale**2 * own**2) + crossed + outer
        found.append(trace**2 / norm)
    return float(max(1.0, min(*found, len(sizes) - 1)))


def _cr1_variance(values: Floats, codes: NDArray[np.intp]) -> float:
    sums = np.bincount(codes, weights=values - values.mean())
    count = len(sums)
    return float(count / (count - 1) * np.sum(sums**2) / len(values) ** 2)
