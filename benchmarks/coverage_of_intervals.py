"""How often the intervals of `harness.stats` hold the truth, against simpler ones.

Each row draws many data sets of a known mean and counts how often a 95 % interval holds it. It is
why the product uses t under 20 clusters and bootstrap-t above, and never a bootstrap by sample
where samples share a cause. Run: `python benchmarks/coverage_of_intervals.py` (under 2 minutes).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from harness.stats import intervals
from harness.stats.intervals import Floats

Draw = Callable[[np.random.Generator], tuple[Floats, Floats]]


def conditions(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """8 conditions of 125 samples: condition effect of deviation 0.1, noise of 0.1, mean 0.5."""
    effect = rng.normal(0.5, 0.1, 8)
    codes = np.repeat(np.arange(8.0), 125)
    return effect[codes.astype(int)] + rng.normal(0, 0.1, 1_000), codes


def unequal_conditions(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same with conditions of 10 to 500 samples."""
    codes = np.repeat(np.arange(8), [10, 20, 40, 60, 90, 120, 160, 500])
    return rng.normal(0.5, 0.1, 8)[codes] + rng.normal(0, 0.1, 1_000), codes.astype(float)


def skewed(n: int) -> Draw:
    """n samples: .25 score 0, .15 score 1, the rest Beta(1, 3)."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        kind = rng.random(n)
        values = np.where(kind < 0.25, 0.0, np.where(kind < 0.4, 1.0, rng.beta(1, 3, n)))
        return values, np.arange(float(n))

    return draw


def nearly_perfect(n: int) -> Draw:
    """n samples: .9 score 1, the rest uniform."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        values = np.where(rng.random(n) < 0.9, 1.0, rng.random(n))
        return values, np.arange(float(n))

    return draw


def binary(n: int) -> Draw:
    """n samples that score 1 with probability .9, else 0."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        return (rng.random(n) < 0.9).astype(float), np.arange(float(n))

    return draw


CASES: dict[str, tuple[Draw, float]] = {
    "8 conditions x 125 samples": (conditions, 0.5),
    "8 unequal conditions": (unequal_conditions, 0.5),
    "10 skewed samples": (skewed(10), 0.15 + 0.6 * 0.25),
    "30 skewed samples": (skewed(30), 0.15 + 0.6 * 0.25),
    "100 skewed samples": (skewed(100), 0.15 + 0.6 * 0.25),
    "30 samples, nearly perfect": (nearly_perfect(30), 0.95),
    "100 samples, nearly perfect": (nearly_perfect(100), 0.95),
    "30 samples, right or wrong": (binary(30), 0.9),
}


def coverage(draw: Draw, truth: float, repeats: int, seed: int = 0) -> dict[str, float]:
    """Share of `repeats` data sets whose interval holds `truth`, by kind of interval."""
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(["harness", "bootstrap by sample", "bootstrap by cluster", "t, CR1"], 0)
    for i in range(repeats):
        values, clusters = draw(rng)
        bounds = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else None
        found = intervals.mean(values, clusters.tolist(), seed=i, bounds=bounds)
        limits = {
            "harness": (found.low, found.high),
            "bootstrap by sample": percentile(values, np.arange(len(values)), i),
            "bootstrap by cluster": percentile(values, clusters.astype(int), i),
            "t, CR1": plain_t(values, clusters.astype(int)),
        }
        for name, (low, high) in limits.items():
            hits[name] += low is not None and high is not None and low <= truth <= high
    return {name: hit / repeats for name, hit in hits.items()}


def percentile(values: Floats, codes: np.ndarray, seed: int) -> tuple[float, float]:
    """Percentile bootstrap over clusters, 500 draws."""
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes)
    picks = np.random.default_rng(seed).integers(len(sums), size=(500, len(sums)))
    low, high = np.quantile(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def plain_t(values: Floats, codes: np.ndarray) -> tuple[float, float]:
    """t with clusters - 1 degrees of freedom on the CR1 variance."""
    from scipy.stats import t

    sums = np.bincount(codes, weights=values - values.mean())
    count = len(sums)
    error = np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values)
    reach = float(t.ppf(0.975, count - 1) * error)
    return float(values.mean()) - reach, float(values.mean()) + reach


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1_000, help="data sets a row")
    repeats = parser.parse_args().repeats
    print(f"coverage of 95 % intervals over {repeats:,} data sets a row")
    for i, (name, (draw, truth)) in enumerate(CASES.items()):
        found = coverage(draw, truth, repeats)
        if i == 0:
            print(f"{'':30}" + "".join(f"{kind:>22}" for kind in found))
        print(f"{name:30}" + "".join(f"{share:22.3f}" for share in found.values()))


if __name__ == "__main__":
    main()
