"""How often the intervals of `harness.stats` hold the truth, and what that costs in width.

Each row draws many data sets of a known truth and counts how often a 95 % interval holds it: means
(near-constant worlds included), paired differences, the worst variant, balanced accuracy with a
rare class, AUC and kappa. Last comes the curve by which the weight of the exact limits was chosen.
Run: `python benchmarks/coverage_of_intervals.py [--only means,differences,...]` (about 5 minutes).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from harness.results import Estimate
from harness.stats import agreement, calibration, exact, intervals, worst_case
from harness.stats.arrays import Floats

Rng = np.random.Generator
Draw = Callable[[Rng], tuple[Floats, Floats]]
SIZES = (5, 12, 20, 30, 60, 200)


def conditions(rng: Rng) -> tuple[Floats, Floats]:
    """8 conditions of 125 samples: condition effect of deviation 0.1, noise of 0.1, mean 0.5."""
    effect = rng.normal(0.5, 0.1, 8)
    codes = np.repeat(np.arange(8.0), 125)
    return effect[codes.astype(int)] + rng.normal(0, 0.1, 1_000), codes


def unequal_conditions(rng: Rng) -> tuple[Floats, Floats]:
    """The same with conditions of 10 to 500 samples."""
    codes = np.repeat(np.arange(8), [10, 20, 40, 60, 90, 120, 160, 500])
    return rng.normal(0.5, 0.1, 8)[codes] + rng.normal(0, 0.1, 1_000), codes.astype(float)


def skewed(rng: Rng, n: int) -> Floats:
    """.25 score 0, .15 score 1, the rest Beta(1, 3); mean .3."""
    kind = rng.random(n)
    return np.where(kind < 0.25, 0.0, np.where(kind < 0.4, 1.0, rng.beta(1, 3, n)))


def mostly_one(share: float, otherwise: str) -> Callable[[Rng, int], Floats]:
    """1 with probability `share`, else 0, or else uniform."""

    def draw(rng: Rng, n: int) -> Floats:
        rest = np.zeros(n) if otherwise == "0" else rng.random(n)
        return np.where(rng.random(n) < share, 1.0, rest)

    return draw


def mean_cases() -> Iterator[tuple[str, Callable[[Rng, int], Floats], int, float]]:
    """Name, data, number of samples and truth of each row whose samples are independent."""
    for n in (10, 30, 100):
        yield f"{n} skewed samples", skewed, n, 0.3
    for share in (0.9, 0.95, 0.99):
        for otherwise in ("0", "uniform"):
            truth = share if otherwise == "0" else (1 + share) / 2
            for n in SIZES:
                name = f"{n} samples, 1 w.p. {share:.2f}, else {otherwise}"
                yield name, mostly_one(share, otherwise), n, truth


def clustered(repeats: int) -> None:
    """Coverage of means whose samples share a cause, against plain t and two bootstraps."""
    kinds = ["harness", "t, CR1", "by sample", "by cluster"]
    print(f"\n{'means, clustered':42}" + "".join(f"{kind:>12}" for kind in kinds))
    cases = {
        "8 conditions x 125 samples": conditions,
        "8 conditions of 10 to 500 samples": unequal_conditions,
    }
    for name, draw in cases.items():
        rng, hits = np.random.default_rng(0), np.zeros(4)
        for i in range(repeats):
            values, clusters = draw(rng)
            codes = clusters.astype(int)
            found = intervals.mean(values, codes.tolist(), bounds=None)
            limits = [
                (found.low, found.high),
                plain_t(values, codes),
                percentile(values, np.arange(len(values)), i),
                percentile(values, codes, i),
            ]
            hits += [holds(low, high, 0.5) for low, high in limits]
        print(f"{name:42}" + "".join(f"{hit / repeats:12.3f}" for hit in hits))


def means(repeats: int) -> None:
    """Coverage of means, against plain t, and the median width against that of plain t."""
    print(f"\n{'means of independent samples':42}{'harness':>12}{'t':>12}{'width / t':>12}")
    for name, sampled, n, truth in mean_cases():
        low, high, plain, varied = many(sampled, n, repeats)
        width = np.maximum(plain[1] - plain[0], 1e-12)
        ratio = np.median(((high - low) / width)[varied]) if varied.any() else np.nan
        shares = [covers(low, high, truth), covers(*plain, truth)]
        print(f"{name:42}" + "".join(f"{x:12.3f}" for x in shares) + f"{ratio:12.2f}")


def differences(repeats: int) -> None:
    """Coverage of paired differences: no difference (the first four), and one side that errs."""
    print(f"\n{'paired differences':42}{'harness':>12}{'CR2 t':>12}{'p < .05':>12}")
    for name, draw, truth in difference_cases():
        for n in (24, 48, 100, 200):
            rng = np.random.default_rng(n)
            gaps = np.column_stack([np.subtract(*draw(rng, n)) for _ in range(repeats)])
            found = intervals.Means.of(gaps, np.ones(n), (-1.0, 1.0))
            t_alone = intervals.Means.of(gaps, np.ones(n), None).limits(0.05)
            shares = [
                covers(*found.limits(0.05), truth),
                covers(*t_alone, truth),
                float(np.mean(found.p_values() < 0.05)),
            ]
            print(f"{f'{name}, {n} samples':42}" + "".join(f"{x:12.3f}" for x in shares))


def difference_cases() -> Iterator[tuple[str, Callable[[Rng, int], tuple[Floats, Floats]], float]]:
    """Name, data and true difference."""

    def ceiling(rng: Rng, n: int) -> tuple[Floats, Floats]:
        return np.minimum(rng.normal(1, 0.1, n), 1), np.minimum(rng.normal(1, 0.1, n), 1)

    def rare(rng: Rng, n: int) -> tuple[Floats, Floats]:
        differs, first = rng.random(n) < 0.04, rng.random(n) < 0.5
        return 1.0 - (differs & first), 1.0 - (differs & ~first)

    def rare_amounts(rng: Rng, n: int) -> tuple[Floats, Floats]:
        a, b = rare(rng, n)
        return 1 - (1 - a) * rng.random(n), 1 - (1 - b) * rng.random(n)

    def plain(rng: Rng, n: int) -> tuple[Floats, Floats]:
        shared = rng.uniform(0.2, 0.8, n)
        return shared + rng.normal(0, 0.05, n), shared + rng.normal(0, 0.05, n)

    def one_errs(rng: Rng, n: int) -> tuple[Floats, Floats]:
        return np.ones(n), 1.0 - (rng.random(n) < 0.04)

    yield "no difference", plain, 0.0
    yield "none, near the ceiling", ceiling, 0.0
    yield "none, 4 % differ by 1", rare, 0.0
    yield "none, 4 % differ by up to 1", rare_amounts, 0.0
    yield "one errs on 4 %, the other never", one_errs, 0.04


def worst(repeats: int) -> None:
    """What the split estimate and the simultaneous bound say of the worst of eight variants."""
    print(
        f"\n{'worst of 8 variants (mean, spread)':42}{'truth':>9}{'naive':>9}{'split':>9}", end=""
    )
    print(f"{'covers':>9}{'bound':>9}{'holds':>9}")
    cases = {
        "equal": [0.65] * 8,
        "one lower": [0.6] + [0.65] * 7,
        "spread": np.linspace(0.6, 0.8, 8),
    }
    for name, true in cases.items():
        for n in (24, 60):
            rng, rows = np.random.default_rng(n), []
            for i in range(repeats):
                sample = rng.normal(0, 0.15, n)
                table = {
                    f"v{k}": dict(enumerate(np.clip(sample + rng.normal(m, 0.2, n), -1, 2)))
                    for k, m in enumerate(true)
                }
                scores = {v: {str(u): float(x) for u, x in own.items()} for v, own in table.items()}
                _, split = worst_case.worst_variant(scores, seed=i, splits=40)
                bound = worst_case.simultaneous_bound(scores, seed=i)
                naive = min(np.mean(list(own.values())) for own in scores.values())
                rows.append([naive, split.value, holds(split.low, split.high, min(true)), bound,
                             bound is not None and bound <= min(true)])  # fmt: skip
            shown = "".join(f"{x:9.3f}" for x in np.mean(np.array(rows, dtype=float), axis=0))
            print(f"{f'{name}, {n} samples':42}{min(true):9.3f}{shown}")


def rare_classes(repeats: int) -> None:
    """Balanced accuracy of three classes, one of which is rare."""
    print(f"\n{'balanced accuracy, recalls .9, .8, .7':42}{'covers':>12}{'width':>12}")
    for rarest in (2, 3, 4, 5, 8, 20):
        sizes, recall = [60, 40, rarest], [0.9, 0.8, 0.7]
        rng, found = np.random.default_rng(rarest), []
        for i in range(repeats):
            true = np.repeat(["a", "b", "c"], sizes)
            right = rng.random(sum(sizes)) < np.repeat(recall, sizes)
            predicted = np.where(right, true, np.where(true == "a", "b", "a"))
            found.append(
                calibration.balanced_accuracy(list(true), list(predicted), ["a", "b", "c"], seed=i)
            )
        report(f"rarest class of {rarest}", found, float(np.mean(recall)))


def aucs(repeats: int) -> None:
    """AUC of two normal populations."""
    from scipy.stats import norm

    print(f"\n{'AUC':42}{'covers':>12}{'width':>12}")
    for truth in (0.7, 0.9, 0.98):
        shift = float(norm.ppf(truth)) * np.sqrt(2)
        for positives, negatives in ((3, 40), (6, 12), (10, 40), (50, 50)):
            rng, found = np.random.default_rng(positives), []
            labels = np.arange(positives + negatives) < positives
            for i in range(repeats):
                scores = rng.normal(0, 1, len(labels)) + shift * labels
                found.append(agreement.auc(labels, scores, seed=i))
            report(f"{truth}, {positives} positives, {negatives} negatives", found, truth)


def kappas(repeats: int) -> None:
    """Cohen's kappa of two raters who agree on purpose or by chance."""
    print(f"\n{'kappa':42}{'covers':>12}{'width':>12}")
    for purpose in (0.5, 0.9):
        for share in (0.5, 0.1):
            for n in (15, 30, 100):
                rng, found = np.random.default_rng(n), []
                for i in range(repeats):
                    a = rng.random(n) < share
                    b = np.where(rng.random(n) < purpose, a, rng.random(n) < share)
                    found.append(agreement.cohen_kappa(a.tolist(), b.tolist(), seed=i))
                report(f"{purpose}, {share} of {n} positive", found, purpose)


def weights(repeats: int) -> None:
    """Coverage against width for the weight of the exact limits where variation is rare."""
    print(
        f"\n{'weight where variation is rare':42}{'least covers':>14}{'width / t':>12}{'most':>9}"
    )
    chosen = exact.TRUST
    for trust in (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0):
        exact.TRUST = trust
        covered, ratios = [], []
        for share in (0.9, 0.93, 0.95, 0.97, 0.99):
            for otherwise in ("0", "uniform"):
                for n in (12, 20, 30, 60, 80, 100, 200):
                    low, high, plain, varied = many(mostly_one(share, otherwise), n, repeats)
                    truth = share if otherwise == "0" else (1 + share) / 2
                    covered.append(covers(low, high, truth))
                    if varied.any():
                        width = plain[1] - plain[0]
                        ratios.append(np.median((high - low)[varied] / width[varied]))
        print(f"{trust:<42}{min(covered):14.3f}{np.median(ratios):12.2f}{max(ratios):9.2f}")
    exact.TRUST = chosen


def many(
    draw: Callable[[Rng, int], Floats], n: int, repeats: int
) -> tuple[Floats, Floats, tuple[Floats, Floats], NDArray[np.bool_]]:
    """Limits of many means of n samples, those of t alone, and which data vary enough."""
    rng = np.random.default_rng(n)
    values = np.column_stack([draw(rng, n) for _ in range(repeats)])
    low, high = intervals.Means.of(values, np.ones(n), (0.0, 1.0)).limits(0.05)
    plain = intervals.Means.of(values, np.ones(n), None).limits(0.05)
    varied = values.std(axis=0, ddof=1) > exact.VARIED
    return np.maximum(low, 0), np.minimum(high, 1), plain, varied


def covers(low: Floats, high: Floats, truth: float) -> float:
    """The share of intervals that hold the truth, rounding apart."""
    return float(np.mean((low - 1e-12 <= truth) & (truth <= high + 1e-12)))


def report(name: str, found: list[Estimate], truth: float) -> None:
    """A row: how often the truth was held, and the median width."""
    both = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    covers = np.mean([holds(low, high, truth) for low, high in both]) if both else np.nan
    width = np.median([high - low for low, high in both]) if both else np.nan
    without = len(found) - len(both)
    note = f"  ({without:,} without an interval)" if without else ""
    print(f"{name:42}{covers:12.3f}{width:12.2f}{note}")


def holds(low: float | None, high: float | None, truth: float) -> bool:
    """Whether an interval is there and holds the truth, rounding apart."""
    return low is not None and high is not None and low - 1e-12 <= truth <= high + 1e-12


def percentile(values: Floats, codes: NDArray[np.intp], seed: int) -> tuple[float, float]:
    """Percentile bootstrap over clusters, 500 draws."""
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes)
    picks = np.random.default_rng(seed).integers(len(sums), size=(500, len(sums)))
    low, high = np.quantile(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def plain_t(values: Floats, codes: NDArray[np.intp]) -> tuple[float, float]:
    """t with clusters - 1 degrees of freedom on the CR1 variance."""
    from scipy.stats import t

    sums = np.bincount(codes, weights=values - values.mean())
    count = len(sums)
    error = np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values)
    reach = float(t.ppf(0.975, count - 1) * error)
    return float(values.mean()) - reach, float(values.mean()) + reach


TABLES = {
    "clustered": clustered,
    "means": means,
    "differences": differences,
    "worst": worst,
    "rare": rare_classes,
    "auc": aucs,
    "kappa": kappas,
    "weights": weights,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500, help="data sets a row")
    parser.add_argument("--only", default=",".join(TABLES), help="tables, by comma")
    options = parser.parse_args()
    print(f"95 % intervals over {options.repeats:,} data sets a row")
    for name in options.only.split(","):
        TABLES[name](options.repeats)


if __name__ == "__main__":
    main()
