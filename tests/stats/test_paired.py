"""Paired differences, sign-flip tests and separation of controls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.records import HarnessError
from harness.stats import intervals, paired


def flipped(gap, clusters):
    """p of the differences, summed by cluster."""
    return paired.sign_flip(np.bincount(clusters, weights=gap)[:, None])[0]


def test_difference_is_the_mean_of_differences_with_its_interval():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1, 15), rng.uniform(0, 1, 15)
    assert paired.difference(a, b, range(15)) == intervals.mean(a - b, range(15), bounds=None)


def test_pairing_finds_what_overlapping_intervals_hide():
    rng = np.random.default_rng(2)
    b = rng.uniform(0.1, 0.8, 40)
    a = b + rng.normal(0.05, 0.02, 40)
    apart = intervals.mean(a, range(40)), intervals.mean(b, range(40))
    assert apart[0].low < apart[1].high
    assert paired.difference(a, b, range(40)).low > 0


def test_exact_test_equals_scipy_permutation_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.4, 1, 9), rng.normal(0, 1, 9)
    oracle = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert flipped(a - b, range(9)) == pytest.approx(oracle.pvalue)


def test_exact_p_has_its_known_floor():
    assert flipped(np.ones(8), range(8)) == 2 / 2**8
    assert flipped(np.ones(80), np.repeat(np.arange(8), 10)) == 2 / 2**8
    assert flipped(np.zeros(8), range(8)) == 1.0


def test_monte_carlo_p_is_near_the_t_test_and_never_zero():
    rng = np.random.default_rng(4)
    a = rng.normal(0.3, 1, 40)
    p = flipped(a, range(40))
    assert p == pytest.approx(stats.ttest_1samp(a, 0).pvalue, abs=0.02)
    assert flipped(np.ones(40), range(40)) == 1 / 10_000


def test_test_keeps_its_level_where_samples_share_a_cause():
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(10), 20)
    found = []
    for _ in range(300):
        gap = rng.normal(0, 0.1, 10)[clusters] + rng.normal(0, 0.1, 200)
        found.append(flipped(gap, clusters))
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09


def test_units_must_be_the_same():
    with pytest.raises(HarnessError, match="same units"):
        paired.difference([1.0, 0.0], [1.0], ["a"])
    with pytest.raises(HarnessError, match="NaN"):
        paired.difference([float("nan")], [1.0], ["a"])


def test_a_clear_separation_is_valid_also_without_variation():
    rng = np.random.default_rng(6)
    estimate, validity = paired.separation(rng.uniform(0.8, 1, 12), np.zeros(12), range(12), 0.2)
    assert validity == "valid"
    assert estimate.low > 0.2
    assert paired.separation(np.ones(8), np.zeros(8), range(8), 0.2)[1] == "valid"


def test_too_few_clusters_show_nothing():
    better, worse = np.ones(60), np.zeros(60)
    assert paired.separation(better, worse, ["a", "b"] * 30, 0.1)[1] == "not shown"
    assert paired.separation(better, worse, ["a", "b", "c"] * 20, 0.1)[1] == "not shown"


def test_a_difference_above_the_margin_but_unsure_is_not_shown_and_below_it_invalid():
    better = np.array([0.9, 0.1, 0.8, 0.5])
    worse = np.array([0.1, 0.3, 0.2, 0.6])
    assert paired.separation(better, worse, range(4), 0.1)[1] == "not shown"
    assert paired.separation(better, worse, range(4), 0.9)[1] == "invalid"
    assert paired.separation(worse, better, range(4), 0.0)[1] == "invalid"
