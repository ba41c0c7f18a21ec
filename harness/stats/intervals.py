"""Means and other statistics with intervals that respect what samples share.

Values that share a cluster (a condition, a vessel forest) are not independent, so clusters, not
values, are what the intervals count. No function here gives an interval of zero width to values
that merely did not vary: a few equal scores say little about the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate

Floats = NDArray[np.float64]
Bounds = tuple[float, float] | None

FEW_CLUSTERS = 20  # below this the bootstrap covers too little; see benchmarks/
DRAWS = 2_000
_ROUNDING = 1e-6  # a cosine in single precision may pass 1 by about 1e-7


def mean(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    cluster_name: str = "sample",
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """The plain mean over values (each value counts once), with a cluster-robust interval.

    `values` and `clusters` have length n; `bounds` is the range of the values, `None` where open.
    Under 20 clusters: t on the CR2 variance (Bell and McCaffrey 2002) with Satterthwaite degrees
    of freedom, the smaller of those for independent values and for a shared cluster effect;
    G - 1 for clusters of equal size. From 20 clusters on: bootstrap-t over clusters, which
    follows the skew of scores near 0 or 1. Zeros and ones, one a cluster: Wilson. Values that do
    not vary: see `without_variation`. Raises `HarnessError` for NaN or values outside `bounds`.
    """
    array = _checked(values, bounds)
    codes, labels = encode(clusters, len(array))
    count = len(labels)
    if len(array) == 0:
        return Estimate(None, method="no values")
    value = float(array.mean())
    if count == 1:
        method = f"no interval: one {cluster_name}"
        return Estimate(value, None, None, len(array), 1, method)
    if np.ptp(array) <= 1e-12 * max(1.0, abs(value)):
        return without_variation(value, len(array), count, confidence, cluster_name, bounds)
    if count == len(array) and bounds == (0.0, 1.0) and np.isin(array, (0.0, 1.0)).all():
        wilson = proportion(int(array.sum()), count, confidence=confidence)
        method = f"Wilson, {count:,} {plural(cluster_name, count)}"
        return Estimate(value, wilson.low, wilson.high, count, count, method)
    sizes = np.bincount(codes).astype(float)
    sums = np.bincount(codes, weights=array).astype(float)[:, None]
    low, high, method = mean_interval(sums, sizes, confidence, seed, cluster_name)
    return Estimate(value, *clip(low[0], high[0], bounds), len(array), count, method)


def mean_interval(
    sums: Floats, sizes: Floats, confidence: float, seed: int, cluster_name: str
) -> tuple[Floats, Floats, str]:
    """Limits of k means at once from their cluster sums (clusters, k) and sizes (clusters,).

    All k see the same bootstrap draws. Returns low (k,), high (k,) and the method in words.
    """
    from scipy.stats import t

    count, total = len(sizes), sizes.sum()
    centre = sums.sum(axis=0) / total
    error = np.sqrt(cr2_variance(sums, sizes))
    if count < FEW_CLUSTERS:
        freedom = degrees_of_freedom(sizes)
        reach = t.ppf((1 + confidence) / 2, freedom) * error
        shown = f"{freedom:.1f}".removesuffix(".0")
        method = f"t, {shown} degree{'' if shown == '1' else 's'} of freedom, by {cluster_name}"
        return centre - reach, centre + reach, method
    weights = bootstrap_weights(count, seed)
    drawn_total = (weights @ sizes)[:, None]
    drawn = weights @ sums / drawn_total
    # sum of w (s - n m)^2, expanded so that no array has draws x clusters x k entries;
    # centring first keeps the expansion free of cancellation
    resid = sums - sizes[:, None] * centre
    shift = drawn - centre
    spread = (
        weights @ resid**2
        - 2 * shift * (weights @ (resid * sizes[:, None]))
        + shift**2 * (weights @ sizes**2)[:, None]
    )
    drawn_error = np.sqrt(np.maximum(spread, 0) * count / (count - 1)) / drawn_total
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(drawn_error > 1e-12, shift / drawn_error, np.sign(shift) * np.inf)
    tail = (1 - confidence) / 2
    upper, lower = np.quantile(ratios, [1 - tail, tail], axis=0, method="nearest")
    # a draw without variation has no ratio; no limit may lie beyond twice the t interval's
    limit = 2 * t.ppf(1 - tail, count - 1)
    low = centre - np.clip(upper, 0, limit) * error
    high = centre - np.clip(lower, -limit, 0) * error
    return low, high, f"bootstrap, {DRAWS:,} draws, {count:,} {plural(cluster_name, count)}"


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
    difference can undercut in small data. t with the smaller count less one.
    """
    from scipy.stats import t

    array = _checked(values, bounds)
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
    if np.ptp(array) <= 1e-12 * max(1.0, abs(value)):
        return without_variation(value, len(array), fewest, confidence, cluster_name, bounds)
    by_row = _cr1_variance(array, rows)
    by_column = _cr1_variance(array, columns)
    both, _ = encode(list(zip(rows.tolist(), columns.tolist(), strict=True)), len(array))
    variance = max(by_row + by_column - _cr1_variance(array, both), by_row, by_column)
    reach = t.ppf((1 + confidence) / 2, fewest - 1) * np.sqrt(variance)
    freedom = f"{fewest - 1} degree{'' if fewest == 2 else 's'} of freedom"
    method = f"t, {freedom}, by {cluster_name} and by variant"
    limits = clip(value - reach, value + reach, bounds)
    return Estimate(value, *limits, len(array), count, method)


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
    that is not all of them (the rarer class of an AUC); it widens the no-variation interval.
    `recentre` shifts the draws to a mean of `value`, for statistics that resampling inflates.
    """
    codes, labels = encode(clusters, len(clusters))
    n, count = len(codes), len(labels)
    if n == 0:
        return Estimate(None, method="no values")
    value = float(statistic(np.ones((1, n)))[0])
    if np.isnan(value):
        return Estimate(None, None, None, n, count, "undefined on these values")
    if count == 1:
        return Estimate(value, None, None, n, 1, f"no interval: one {cluster_name}")
    few = count < FEW_CLUSTERS
    weights = 1.0 - np.eye(count) if few else bootstrap_weights(count, seed)
    # in slices: a statistic may need several arrays of this size at once
    step = max(1, 2_000_000 // n)
    parts = [statistic(weights[i : i + step][:, codes]) for i in range(0, len(weights), step)]
    drawn = np.concatenate(parts)
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (count if few else 0.9 * DRAWS):
        method = f"no interval: undefined on too many resamples of {count} {cluster_name}s"
        return Estimate(value, None, None, n, count, method)
    if np.ptp(np.append(defined, value)) <= 1e-12:
        used = count if informative is None else informative
        return without_variation(value, n, used, confidence, cluster_name, bounds)
    if few:
        from scipy.stats import t

        error = np.sqrt((count - 1) / count * np.sum((defined - defined.mean()) ** 2))
        reach = t.ppf((1 + confidence) / 2, count - 1) * error
        freedom = f"{count - 1} degree{'' if count == 2 else 's'} of freedom"
        method = f"jackknife t, {freedom}, by {cluster_name}"
        limits = clip(value - reach, value + reach, bounds)
    else:
        tail = (1 - confidence) / 2
        shift = value - defined.mean() if recentre else 0.0
        low, high = np.quantile(defined, [tail, 1 - tail]) + shift
        method = f"bootstrap, {DRAWS:,} draws, {count:,} {plural(cluster_name, count)}"
        limits = clip(min(low, value), max(high, value), bounds)
    return Estimate(value, *limits, n, count, method)


def without_variation(
    value: float, n: int, count: int, confidence: float, cluster_name: str, bounds: Bounds
) -> Estimate:
    """The interval of a statistic that no cluster moved.

    Seeing G clusters agree, at most q = 1 - (alpha / 2)^(1 / G) of all clusters can differ
    (Clopper and Pearson 1934, with no exception seen), and those could lie at a bound. For zeros
    and ones this is the Clopper-Pearson interval itself. Without bounds nothing can be said.
    """
    if bounds is None or count < 2:
        return Estimate(value, None, None, n, count, "no interval: no variation")
    share = 1 - ((1 - confidence) / 2) ** (1 / count)
    low = value - share * (value - bounds[0])
    high = value + share * (bounds[1] - value)
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
    and Tipton 2018, section 2): which of them holds is not known, and the smaller is safe.
    """
    share = sizes / sizes.sum()
    scale = 1 / np.sqrt(1 - share)
    centring = np.eye(len(sizes)) - share[:, None]  # row g: cluster g's sum less its share of all
    found = []
    for spread in (share, share**2):  # variance of a cluster's sum: n, or n squared
        gram = scale[:, None] * (centring * spread) @ centring.T * scale
        found.append(np.trace(gram) ** 2 / np.sum(gram**2))
    return float(min(*found, len(sizes) - 1))


def bootstrap_weights(count: int, seed: int) -> Floats:
    """How often each of `count` clusters is drawn in each resample: (DRAWS, count)."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(count, size=(DRAWS, count)) + np.arange(DRAWS)[:, None] * count
    counts = np.bincount(picks.ravel(), minlength=DRAWS * count)
    return counts.reshape(DRAWS, count).astype(float)


def encode(labels: Sequence[Hashable], n: int) -> tuple[NDArray[np.intp], list[Any]]:
    """Labels as integers in order of first appearance, and the distinct labels."""
    if len(labels) != n:
        raise HarnessError(f"{n} values came with {len(labels)} labels; give one label a value")
    seen: dict[Any, int] = {}
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    codes = np.array([seen.setdefault(label, len(seen)) for label in plain], dtype=np.intp)
    return codes, list(seen)


def clip(low: float, high: float, bounds: Bounds) -> tuple[float, float]:
    """Limits as plain floats, kept inside `bounds`."""
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return float(low), float(high)


def plural(name: str, count: int) -> str:
    """`name` for one, its plural otherwise."""
    return name if count == 1 else f"{name}s"


def _cr1_variance(values: Floats, codes: NDArray[np.intp]) -> float:
    sums = np.bincount(codes, weights=values - values.mean())
    count = len(sums)
    return float(count / (count - 1) * np.sum(sums**2) / len(values) ** 2)


def _checked(values: ArrayLike, bounds: Bounds) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise HarnessError(f"values must be one-dimensional, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise HarnessError(
            "values hold NaN or infinity; leave out what could not be scored before averaging"
        )
    if bounds is not None and len(array):
        if array.min() < bounds[0] - _ROUNDING or array.max() > bounds[1] + _ROUNDING:
            raise HarnessError(
                f"values lie in [{array.min():g}, {array.max():g}], outside the range "
                f"[{bounds[0]:g}, {bounds[1]:g}]; give the metric's range, or None where it is open"
            )
        array = np.clip(array, *bounds)
    return array
