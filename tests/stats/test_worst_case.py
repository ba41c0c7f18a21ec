"""The worst variant, chosen and measured on different samples."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats import worst_case


def _variants(means, n, seed):
    rng = np.random.default_rng(seed)
    return {
        f"v{k}": {f"u{i}": float(x) for i, x in enumerate(rng.normal(mean, 0.2, n))}
        for k, mean in enumerate(means)
    }


def test_naive_minimum_is_biased_downward_and_the_held_out_one_is_not():
    naive, held_out = [], []
    for seed in range(150):
        values = _variants([0.5] * 8, 24, seed)
        naive.append(min(np.mean(list(v.values())) for v in values.values()))
        held_out.append(worst_case.worst_variant(values, splits=30)[1].value)
    assert np.mean(naive) < 0.45
    assert np.mean(held_out) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(
    ("direction", "worst", "mean"), [("higher", "v1", 0.2), ("lower", "v2", 0.9)]
)
def test_a_clearly_worst_variant_is_found_and_measured(direction, worst, mean):
    values = _variants([0.6, 0.2, 0.9], 60, 1)
    variant, found = worst_case.worst_variant(values, direction=direction)
    assert variant == worst
    assert found.value == pytest.approx(np.mean(list(values[worst].values())))
    assert found.low < mean < found.high
    assert "held out" in found.method


def test_clusters_are_never_on_both_sides():
    rng = np.random.default_rng(2)
    # a split inside clusters would let the luck of (variant, cluster) effects through
    effect = rng.normal(0, 0.2, (200, 6, 8))
    found = []
    for e in effect:
        values = {
            f"v{k}": {f"{c}-{i}": 0.5 + e[k, c] for c in range(8) for i in range(5)}
            for k in range(6)
        }
        clusters = {f"{c}-{i}": c for c in range(8) for i in range(5)}
        found.append(worst_case.worst_variant(values, clusters, splits=20)[1])
    assert np.mean([e.value for e in found]) == pytest.approx(0.5, abs=0.02)
    assert found[0].clusters == 8


def test_too_few_clusters_give_no_value():
    values = _variants([0.5, 0.1], 3, 3)
    variant, found = worst_case.worst_variant(values)
    assert (variant, found.value) == ("v1", None)
    assert "four are needed" in found.method


def test_same_seed_same_answer():
    values = _variants([0.5, 0.5, 0.45], 30, 4)
    assert worst_case.worst_variant(values, seed=7) == worst_case.worst_variant(values, seed=7)


@pytest.mark.parametrize(("direction", "sign"), [("higher", 1), ("lower", -1)])
def test_the_simultaneous_bound_lies_beyond_the_worst_mean_where_the_split_is_too_good(
    direction, sign
):
    held, split = [], []
    means = [0.5 - 0.05 * sign] + [0.5] * 7
    for seed in range(60):
        values = _variants(means, 24, seed)
        bound = worst_case.simultaneous_bound(values, direction=direction)
        held.append(sign * bound <= sign * means[0])
        found = worst_case.worst_variant(values, direction=direction, splits=10)[1]
        split.append(sign * (found.value - means[0]))
    assert np.mean(held) >= 0.95
    assert np.mean(split) > 0.01


def test_the_bound_is_that_of_t_for_one_variant_and_stays_in_range():
    from scipy import stats

    values = _variants([0.5], 30, 2)
    scores = np.array(list(values["v0"].values()))
    oracle = scores.mean() - stats.t.isf(0.05, 29) * stats.sem(scores)
    assert worst_case.simultaneous_bound(values) == pytest.approx(oracle, abs=0.004)
    near = {"v0": {f"u{i}": 0.0 for i in range(9)}, "v1": {f"u{i}": 1.0 for i in range(9)}}
    assert worst_case.simultaneous_bound(near, bounds=(0, 1)) == 0
    assert worst_case.simultaneous_bound({"v0": {"u": 1.0}}) is None
