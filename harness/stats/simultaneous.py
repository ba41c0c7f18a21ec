"""Several comparisons at once: limits and p that hold for all of them together (max-t).

The distribution of the largest |t| takes into account how the comparisons hang together, so it
costs less than Bonferroni's correction, and limits and p come from the same draws, so they agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats.arrays import Floats

DRAWS = 20_000
_HELD = 1_000_000  # numbers drawn at once


class MaxT:
    """The distribution of the largest |t| of k comparisons under "no difference anywhere".

    `influence` (clusters, k) holds what each cluster adds to each difference, beyond the mean, and
    gives their correlations; `freedom` is that of the t statistics. Multivariate t, 20,000 seeded
    draws (Hothorn, Bretz and Westfall 2008).
    """

    def __init__(self, influence: Floats, freedom: float, *, seed: int = 0) -> None:
        self._freedom = freedom
        self._count = influence.shape[1]
        rng = np.random.default_rng(seed)
        root = _root(influence)
        step = max(1, _HELD // max(root.shape))
        largest = []
        for start in range(0, DRAWS, step):
            draws = min(step, DRAWS - start)
            normal = np.abs(rng.standard_normal((draws, root.shape[0])) @ root).max(axis=1)
            largest.append(normal / np.sqrt(rng.chisquare(freedom, draws) / freedom))
        self._largest = np.sort(np.concatenate(largest))

    def level(self, level: float) -> float:
        """The level of each interval for which all together miss with probability `level`.

        Between that of Bonferroni and that of a single interval.
        """
        from scipy.stats import t

        critical = float(np.quantile(self._largest, 1 - level, method="higher"))
        each = 2 * float(t.sf(critical, self._freedom))
        return float(min(level, max(each, level / self._count)))

    def adjusted(self, p: Sequence[float] | Floats) -> Floats:
        """Adjusted p (k,): the levels at which the simultaneous intervals begin to hold 0."""
        from scipy.stats import t

        own = np.asarray(p, dtype=float)
        place = np.searchsorted(self._largest, t.isf(own / 2, self._freedom), side="left")
        reached = (DRAWS - place + 1) / (DRAWS + 1)
        capped = np.minimum(np.minimum(reached, self._count * own), 1.0)
        return np.asarray(np.maximum(own, capped), dtype=float)


def _root(influence: Floats) -> Floats:
    """R (rank, k) with R'R the correlations of comparisons; those that never vary stand alone."""
    scale = np.sqrt((influence**2).sum(axis=0))
    still = scale <= 1e-12
    scaled = np.where(still, 0.0, influence / np.where(still, 1.0, scale))
    correlation = scaled.T @ scaled + np.diag(still.astype(float))
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 1e-10
    return np.asarray((vectors[:, kept] * np.sqrt(values[kept])).T, dtype=float)
