"""How far a scorer agrees with people, and people with each other.

Every measure takes units in order and returns an `Estimate` whose interval is over clusters of
units (each unit its own where `clusters` is `None`): jackknife t under 20, bootstrap above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats.arrays import Floats, encode
from harness.stats.intervals import of_statistic

Clusters = Sequence[Hashable] | None
Statistic = Callable[[Floats], Floats]


def auc(
    labels: ArrayLike,
    scores: ArrayLike,
    clusters: Clusters = None,
    *,
    strata: Clusters = None,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    `labels` (n,) are true for positives, `scores` (n,) any finite numbers. Where `strata` are
    given only pairs within one are compared, so what tells strata apart earns nothing. `value` is
    `None` where no pair is left, as where only one class occurs. Bamber 1975.
    """
    positive, (score,) = _labelled(labels, scores)
    groups = _clusters(clusters, len(score))
    return of_statistic(
        _auc(positive, score, _clusters(strata, len(score), whole=True)),
        groups,
        seed=seed,
        cluster_name=cluster_name,
        bounds=(0.0, 1.0),
        informative=_of_rarer_class(positive, groups),
    )


def auc_difference(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    clusters: Clusters = None,
    *,
    strata: Clusters = None,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """The AUC of scores `a` less that of `b` (both (n,)) on the same units, by shared resamples."""
    positive, (first, second) = _labelled(labels, a, b)
    groups = _clusters(clusters, len(first))
    within = _clusters(strata, len(first), whole=True)
    auc_a, auc_b = _auc(positive, first, within), _auc(positive, second, within)
    return of_statistic(
        lambda weights: auc_a(weights) - auc_b(weights),
        groups,
        seed=seed,
        cluster_name=cluster_name,
        bounds=(-1.0, 1.0),
        informative=_of_rarer_class(positive, groups),
    )


def cohen_kappa(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    clusters: Clusters = None,
    *,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """Cohen's (1960) kappa of two raters' labels (n,); `None` where both use one same label."""
    groups = _clusters(clusters, len(a))
    return of_statistic(
        _kappa(a, b),
        groups,
        seed=seed,
        cluster_name=cluster_name,
        bounds=(-1.0, 1.0),
        informative=_with_rarer_label(a, b, groups),
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable]],
    clusters: Clusters = None,
    *,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Estimate:
    """Krippendorff's alpha of the ratings (names) that each unit got, by any number of raters.

    Units with fewer than two ratings say nothing and are left out. Krippendorff, Content Analysis
    (2004), chapter 11.
    """
    groups = _clusters(clusters, len(ratings))
    kept = [i for i, unit in enumerate(ratings) if len(unit) >= 2]
    place: dict[Hashable, int] = {}
    for i in kept:
        for name in ratings[i]:
            place.setdefault(name, len(place))
    agreed, margins = np.zeros(len(kept)), np.zeros((len(kept), len(place)))
    for row, i in enumerate(kept):
        np.add.at(margins[row], [place[name] for name in ratings[i]], 1.0)
        agreed[row] = np.sum(margins[row] * (margins[row] - 1)) / (len(ratings[i]) - 1)

    def statistic(weights: Floats) -> Floats:
        margin = weights @ margins
        total = margin.sum(axis=1)
        # drawn without replacement: a rating is not paired with itself
        chance = np.sum(margin * (margin - 1), axis=1) / (total * (total - 1))
        return _beyond_chance(weights @ agreed / total, chance)

    return of_statistic(
        statistic,
        [groups[i] for i in kept],
        seed=seed,
        cluster_name=cluster_name,
        bounds=(-1.0, 1.0),
    )


def _auc(positive: NDArray[np.bool_], score: Floats, strata: Sequence[Hashable]) -> Statistic:
    codes, names = encode(strata, len(score))
    parts = [np.flatnonzero(codes == code) for code in range(len(names))]
    of_part = [(part, _wins(positive[part], score[part])) for part in parts]

    def statistic(weights: Floats) -> Floats:
        counts = [wins_of(weights[:, part]) for part, wins_of in of_part]
        wins, pairs = np.sum(counts, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(wins / pairs, dtype=float)

    return statistic


def _wins(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    """Pairs of a positive and a negative that are in order (ties half), and all: (2, draws)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))

    def count(weights: Floats) -> Floats:
        ordered = weights[:, order]
        above = np.add.reduceat(ordered * positive[order], starts, axis=1)  # by distinct score
        below = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
        wins = np.sum(above * (np.cumsum(below, axis=1) - below / 2), axis=1)
        return np.array([wins, above.sum(axis=1) * below.sum(axis=1)])

    return count


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


def _labelled(
    labels: ArrayLike, *scores: ArrayLike
) -> tuple[NDArray[np.bool_], tuple[Floats, ...]]:
    positive = np.asarray(labels).astype(bool)
    found = tuple(np.asarray(own, dtype=float) for own in scores)
    if any(own.shape != positive.shape or not np.isfinite(own).all() for own in found):
        raise HarnessError("an AUC needs one label and one finite score a unit")
    return positive, found


def _of_rarer_class(positive: NDArray[np.bool_], clusters: Sequence[Hashable]) -> int:
    """How many clusters hold the class that fewer hold: they carry the evidence of an AUC."""
    codes, _ = encode(clusters, len(positive))
    return min(len(set(codes[positive].tolist())), len(set(codes[~positive].tolist())))


def _with_rarer_label(
    a: Sequence[Hashable], b: Sequence[Hashable], clusters: Sequence[Hashable]
) -> int:
    """How many clusters hold a label other than the most frequent: they carry kappa's evidence."""
    if not len(a):
        return 0
    [(usual, _)] = Counter([*a, *b]).most_common(1)
    return len({c for x, y, c in zip(a, b, clusters, strict=True) if x != usual or y != usual})


def _clusters(clusters: Clusters, n: int, *, whole: bool = False) -> Sequence[Hashable]:
    """One cluster a unit; where none are named each unit is its own, or all are one (`whole`)."""
    if clusters is None:
        return [0] * n if whole else range(n)
    if len(clusters) != n:
        raise HarnessError(f"{n} units came with {len(clusters)} clusters; give each unit one")
    return clusters
