"""What a classifier's probabilities and labels are worth.

Calibration is debiased, because the usual estimate finds error in calibrated classifiers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals
from harness.stats.arrays import Floats, encode
from harness.stats.balanced import sum_of_means


def ece(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """Expected calibration error over bins of equal mass, less its bias at this many samples.

    `confidence` (n,) of the told label in [0, 1], `correct` (n,) true or false. The plug-in (the
    mean distance of accuracy and confidence over the bins) is above 0 even for a calibrated
    classifier, because each bin's accuracy is noisy; the expected excess under that noise is
    subtracted (Kumar, Liang and Ma 2019, section 4, the debiased l1 estimate; here in closed form),
    and the result is not below 0. Where the truth is 0 about half of the excess remains. Fewer bins
    are used where a bin would hold under 20 samples. The interval is over clusters, with the bins
    kept; its lower limit is 0
    where outcomes drawn from the confidences themselves give a plug-in as large (Bröcker and
    Smith 2007).
    """
    p, hit = _checked(confidence, correct)
    if len(p) == 0:
        return Estimate(None, method="no values")
    member = _member(p, _bin_count(len(p), bins))
    groups = range(len(p)) if clusters is None else clusters
    found = intervals.of_statistic(
        lambda weights: _debiased(p, hit, member, weights),
        groups,
        seed=seed,
        cluster_name=cluster_name,
        bounds=(0.0, 1.0),
        recentre=True,
    )
    if found.low is None or not _could_be_calibrated(p, hit, member, seed):
        return found
    return replace(found, low=0.0)


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 15
) -> tuple[tuple[float, float, int], ...]:
    """Rows (mean confidence, accuracy, count) of the bins of `ece`, by rising confidence."""
    p, hit = _checked(confidence, correct)
    if len(p) == 0:
        return ()
    member = _member(p, _bin_count(len(p), bins))
    size = member.sum(axis=0)
    rows = zip(member.T @ p / size, member.T @ hit / size, size, strict=True)
    return tuple((float(c), float(a), int(n)) for c, a, n in rows)


def brier(
    probabilities: ArrayLike,
    outcome: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    cluster_name: str = "sample",
) -> Estimate:
    """Mean squared error of the probabilities (n,) of an event against whether it happened (n,)."""
    p, hit = _checked(probabilities, outcome)
    groups = range(len(p)) if clusters is None else clusters
    return intervals.mean((p - hit) ** 2, groups, cluster_name=cluster_name)


def confusion(
    true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Counts (classes, classes): row true, column predicted; a label must be in `classes`."""
    if len(true) != len(predicted):
        raise HarnessError(f"{len(true)} true labels came with {len(predicted)} predicted ones")
    place = {name: i for i, name in enumerate(classes)}
    unknown = next((label for label in [*true, *predicted] if label not in place), None)
    if unknown is not None:
        raise HarnessError(f"label '{unknown}' is not among the classes {', '.join(classes)}")
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for t, p in zip(true, predicted, strict=True):
        table[place[t], place[p]] += 1
    return table


def balanced_accuracy(
    true: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """Mean recall over the classes that occur in the truth; others have no recall and are left out.

    A resample that misses a class averages over those it has. A class of fewer than ten clusters
    is too rare to be resampled; the interval is then made from those of the recalls.
    """
    confusion(true, predicted, classes)  # refuses labels that are no class
    if len(true) == 0:
        return Estimate(None, method="no values")
    codes, names = encode(true, len(true))
    hit = np.array([t == p for t, p in zip(true, predicted, strict=True)], dtype=float)
    groups = range(len(true)) if clusters is None else clusters
    rarest = min(
        len({g for g, c in zip(groups, codes, strict=True) if c == k}) for k in range(len(names))
    )
    if rarest < intervals.FEW_IN_CLASS:
        parts = [(np.flatnonzero(codes == k).tolist(), 1 / len(names)) for k in range(len(names))]
        return sum_of_means(hit, parts, groups, cluster_name=cluster_name)
    of_class = np.eye(len(names))[codes]

    def statistic(weights: Floats) -> Floats:
        total, right = weights @ of_class, weights @ (of_class * hit[:, None])
        recall = np.divide(right, total, out=np.zeros_like(right), where=total > 0)
        return np.asarray(recall.sum(axis=1) / (total > 0).sum(axis=1), dtype=float)

    return intervals.of_statistic(
        statistic,
        groups,
        seed=seed,
        cluster_name=cluster_name,
        bounds=(0.0, 1.0),
        informative=rarest,
    )


def _debiased(p: Floats, hit: Floats, member: Floats, weights: Floats) -> Floats:
    from scipy.stats import norm

    size = weights @ member
    safe = np.where(size > 0, size, 1.0)
    accuracy, mean = (
        weights @ (member * hit[:, None]) / safe,
        weights @ (member * p[:, None]) / safe,
    )
    gap = np.abs(accuracy - mean)
    noise = np.sqrt(accuracy * (1 - accuracy) / np.maximum(safe - 1, 1.0))
    z = gap / np.where(noise > 0, noise, 1.0)
    # mean of |N(gap, noise)|, the folded normal: what a gap of this size looks like on average
    folded = noise * 2 * norm.pdf(z) + gap * (1 - 2 * norm.cdf(-z))
    folded = np.where(noise > 0, folded, gap)
    total = np.sum(size * (2 * gap - folded), axis=1) / size.sum(axis=1)
    return np.asarray(np.maximum(total, 0.0), dtype=float)


def _could_be_calibrated(p: Floats, hit: Floats, member: Floats, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    seen = np.sum(np.abs(member.T @ (hit - p)))
    step = max(1, 2_000_000 // len(p))
    drawn: list[float] = []
    while len(drawn) < intervals.DRAWS:
        size = min(step, intervals.DRAWS - len(drawn))
        gaps = (rng.random((size, len(p))) < p) - p
        drawn += np.abs(gaps @ member).sum(axis=1).tolist()
    return bool(seen <= np.quantile(drawn, 0.95))


def _bin_count(n: int, bins: int) -> int:
    if bins < 1:
        raise HarnessError(f"bins must be at least 1, not {bins}")
    return max(1, min(bins, n // 20))


def _member(p: Floats, bins: int) -> Floats:
    """Which bin (n, bins used) holds which sample; equal confidences never part."""
    order = np.argsort(p, kind="stable")
    place = np.empty(len(p), dtype=np.intp)
    place[order] = np.arange(len(p)) * bins // len(p)
    _, same = np.unique(p, return_inverse=True)
    lowest = np.full(same.max() + 1, bins)
    np.minimum.at(lowest, same, place)
    _, codes = np.unique(lowest[same], return_inverse=True)
    return np.asarray(np.eye(codes.max() + 1)[codes], dtype=float)


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    p, hit = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if p.shape != hit.shape or p.ndim != 1:
        raise HarnessError(f"{p.size} confidences came with {hit.size} outcomes; give one of each")
    if len(p) and not (np.all((p >= 0) & (p <= 1)) and np.isin(hit, (0.0, 1.0)).all()):
        raise HarnessError("confidences must lie in [0, 1] and outcomes be true or false")
    return p, hit
