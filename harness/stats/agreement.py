"""How far a scorer agrees with people, and people with each other.

Every measure takes units in order and returns an `Estimate` whose interval is over clusters of
units (each unit its own where `clusters` is `None`): jackknife t under 20, bootstrap above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats.intervals import Floats, encode, of_statistic

Clusters = Sequence[Hashable] | None
Statistic = Callable[[Floats], Floats]


def auc(
    labels: ArrayLike, scores: ArrayLike, clusters: Clusters = None, *, seed: int = 0
) -> Estimate:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    `labels` (n,) are true for positives, `scores` (n,) any finite numbers. `value` is `None`
    where only one class occurs. Bamber 1975.
    """
    positive, score = np.asarray(labels).astype(bool), np.asarray(scores, dtype=float)
    if positive.shape != score.shape or not np.isfinite(score).all():
        raise HarnessError("an AUC needs one label and one finite score a unit")
    groups = _clusters(clusters, len(score))
    codes, _ = encode(groups, len(score))
    rarer = min(len(set(codes[positive].tolist())), len(set(codes[~positive].tolist())))
    return of_statistic(
        _auc(positive, score), groups, seed=seed, bounds=(0.0, 1.0), informative=rarer
    )


def cohen_kappa(
    a: Sequence[Hashable], b: Sequence[Hashable], clusters: Clusters = None, *, seed: int = 0
) -> Estimate:
    """Cohen's (1960) kappa of two raters' labels (n,); `None` where both use one same label."""
    statistic = _kappa(a, b)
    return of_statistic(statistic, _clusters(clusters, len(a)), seed=seed, bounds=(-1.0, 1.0))


def fleiss_kappa(counts: ArrayLike, clusters: Clusters = None, *, seed: int = 0) -> Estimate:
    """Fleiss' (1971) kappa; `counts[i, j]` says how many raters put unit i into category j.

    Every unit needs the same number of raters, two or more; else use Krippendorff's alpha.
    """
    table = np.asarray(counts, dtype=float)
    raters = table.sum(axis=1) if table.ndim == 2 else np.zeros(0)
    if len(raters) == 0 or raters[0] < 2 or not np.all(raters == raters[0]):
        raise HarnessError(
            "Fleiss' kappa needs the same number of raters, two or more, for every unit; "
            "use krippendorff_alpha where some are missing"
        )
    agreed = (np.sum(table**2, axis=1) - raters[0]) / (raters[0] * (raters[0] - 1))

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        shares = weights @ table / (total * raters[0])[:, None]
        return _beyond_chance(weights @ agreed / total, np.sum(shares**2, axis=1))

    return of_statistic(statistic, _clusters(clusters, len(table)), seed=seed, bounds=(-1.0, 1.0))


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]],
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
    clusters: Clusters = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Krippendorff's alpha of `ratings[rater][unit]`; `None` or NaN where a rater gave none.

    Units with fewer than two ratings say nothing and are left out. Ordinal and interval ratings
    are numbers. Krippendorff, Content Analysis (2004), chapter 11.
    """
    columns = [[x for x in unit if not _missing(x)] for unit in zip(*ratings, strict=True)]
    groups = _clusters(clusters, len(columns))
    kept = [i for i, column in enumerate(columns) if len(column) >= 2]
    distinct = {x for i in kept for x in columns[i]}
    names = sorted(distinct, key=str) if level == "nominal" else sorted(distinct)
    place, k = {name: i for i, name in enumerate(names)}, len(names)
    coincidences = np.zeros((len(kept), k, k))
    for row, i in enumerate(kept):
        tally = np.zeros(k)
        np.add.at(tally, [place[x] for x in columns[i]], 1.0)
        coincidences[row] = (np.outer(tally, tally) - np.diag(tally)) / (tally.sum() - 1)
    flat = coincidences.reshape(len(kept), k * k)

    def statistic(weights: Floats) -> Floats:
        table = (weights @ flat).reshape(len(weights), k, k)
        margin = table.sum(axis=2)
        distance = _distance(names, level, margin)
        observed = np.sum(table * distance, axis=(1, 2))
        # n - 1 from drawing without replacement; n is the number of ratings in the resample
        expected = np.einsum("bi,bj,bij->b", margin, margin, distance) / (margin.sum(axis=1) - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(expected > 0, 1 - observed / expected, np.nan)

    return of_statistic(statistic, [groups[i] for i in kept], seed=seed, bounds=(-1.0, 1.0))


def human_ceiling(
    labels_by_rater: Mapping[str, Mapping[str, Hashable]],
    measure: Literal["kappa", "auc"] = "kappa",
    cluster_of: Mapping[str, Hashable] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Each rater against the majority of the others, by the models' measure, averaged.

    `labels_by_rater[rater][unit]`; for `auc` labels are true or false. A unit counts for a rater
    where at least one other rated it and the majority is no tie. With two raters it is their
    agreement with each other.
    """
    units = sorted({unit for labels in labels_by_rater.values() for unit in labels})
    parts: list[tuple[NDArray[np.intp], Statistic]] = []
    for rater, own in labels_by_rater.items():
        others = [labels for name, labels in labels_by_rater.items() if name != rater]
        consensus = {
            unit: _majority([labels[unit] for labels in others if unit in labels]) for unit in own
        }
        used = np.array(
            [i for i, u in enumerate(units) if consensus.get(u) is not None], dtype=np.intp
        )
        if len(used) == 0:
            continue
        mine = [own[units[i]] for i in used]
        theirs = [consensus[units[i]] for i in used]
        if measure == "auc":
            scores = np.array([float(bool(x)) for x in mine])
            parts.append((used, _auc(np.array([bool(x) for x in theirs]), scores)))
        else:
            parts.append((used, _kappa(mine, theirs)))
    if not parts:
        return Estimate(None, method="no unit was labelled by two raters")
    covered = np.unique(np.concatenate([used for used, _ in parts]))

    def statistic(weights: Floats) -> Floats:
        found = [part(weights[:, np.searchsorted(covered, used)]) for used, part in parts]
        return np.asarray(np.mean(found, axis=0), dtype=float)

    names = [units[i] for i in covered]
    clusters = names if cluster_of is None else [cluster_of[name] for name in names]
    bounds = (0.0, 1.0) if measure == "auc" else (-1.0, 1.0)
    return of_statistic(statistic, clusters, seed=seed, bounds=bounds)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation within groups, and the raw one over all units beside it.

    `raw` rises where groups merely differ in level; `pooled` does not. `groups` were used;
    `left_out` were too small or constant.
    """

    pooled: Estimate
    raw: float | None
    groups: int
    left_out: int


def within(
    groups: Sequence[Hashable],
    x: ArrayLike,
    y: ArrayLike,
    method: Literal["spearman", "kendall"] = "spearman",
    *,
    confidence: float = 0.95,
) -> Correlation:
    """Spearman's rho or Kendall's tau-b of `x` and `y` (n,) within groups, pooled by Fisher's z.

    Weights are the inverse variances of z by Fieller, Hartley and Pearson (1957): 1.06 / (n - 3)
    and 0.437 / (n - 4). A group needs five units and variation in both.
    """
    from scipy.stats import kendalltau, norm, spearmanr

    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    codes, names = encode(groups, len(first))
    correlate = spearmanr if method == "spearman" else kendalltau
    factor, lost = (1.06, 3) if method == "spearman" else (0.437, 4)
    zs, precisions, n = [], [], 0
    for code in range(len(names)):
        a, b = first[codes == code], second[codes == code]
        if len(a) < 5 or np.ptp(a) == 0 or np.ptp(b) == 0:
            continue
        # a perfect correlation has no finite z; half a step below 1 keeps its weight
        edge = 1 - 0.5 / len(a) ** 2
        zs.append(np.arctanh(np.clip(correlate(a, b).statistic, -edge, edge)))
        precisions.append((len(a) - lost) / factor)
        n += len(a)
    varied = len(first) >= 2 and np.ptp(first) > 0 and np.ptp(second) > 0
    raw = float(correlate(first, second).statistic) if varied else None
    left_out = len(names) - len(zs)
    if not zs:
        none = Estimate(None, method="no group has five units that vary")
        return Correlation(none, raw, 0, left_out)
    centre = float(np.average(zs, weights=precisions))
    reach = float(norm.ppf((1 + confidence) / 2)) / np.sqrt(np.sum(precisions))
    value, low, high = (float(np.tanh(z)) for z in (centre, centre - reach, centre + reach))
    words = f"{method} within {len(zs)} groups, pooled by Fisher's z"
    return Correlation(Estimate(value, low, high, n, n, words), raw, len(zs), left_out)


def _auc(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))

    def statistic(weights: Floats) -> Floats:
        ordered = weights[:, order]
        above = np.add.reduceat(ordered * positive[order], starts, axis=1)  # by distinct score
        below = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
        wins = np.sum(above * (np.cumsum(below, axis=1) - below / 2), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(wins / (above.sum(axis=1) * below.sum(axis=1)), dtype=float)

    return statistic


def _kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> Statistic:
    if len(a) != len(b):
        raise HarnessError(f"kappa needs two labels a unit, but there are {len(a)} and {len(b)}")
    codes, names = encode([*a, *b], 2 * len(a))
    first, second = np.eye(len(names))[codes[: len(a)]], np.eye(len(names))[codes[len(a) :]]
    same = (codes[: len(a)] == codes[len(a) :]).astype(float)

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        chance = np.sum((weights @ first) * (weights @ second), axis=1) / total**2
        return _beyond_chance(weights @ same / total, chance)

    return statistic


def _beyond_chance(observed: Floats, chance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (observed - chance) / (1 - chance)
    return np.where(chance < 1 - 1e-12, value, np.nan)


def _distance(names: Sequence[Any], level: str, margin: Floats) -> Floats:
    """Squared distances (draws, k, k); ordinal ones depend on how often each value occurs."""
    k = len(names)
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(k), (len(margin), k, k))
    if level == "interval":
        value = np.array(names, dtype=float)
        return np.broadcast_to((value[:, None] - value) ** 2, (len(margin), k, k))
    middle = np.cumsum(margin, axis=1) - margin / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2, dtype=float)


def _majority(labels: Sequence[Hashable]) -> Hashable:
    top = Counter(labels).most_common(2)
    if not top or (len(top) == 2 and top[0][1] == top[1][1]):
        return None
    return top[0][0]


def _missing(rating: Any) -> bool:
    return rating is None or (isinstance(rating, float) and np.isnan(rating))


def _clusters(clusters: Clusters, n: int) -> Sequence[Hashable]:
    if clusters is None:
        return range(n)
    if len(clusters) != n:
        raise HarnessError(f"{n} units came with {len(clusters)} clusters; give each unit one")
    return clusters
