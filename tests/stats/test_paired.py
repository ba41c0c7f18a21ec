"""Paired differences, sign-flip tests and separation of controls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
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


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_the_number_of_clusters_needed_is_the_first_at_which_the_test_says_valid(margin):
    # perfect controls: 1 on one side, 0 on the other, whatever the number
    needed = paired.clusters_needed([1] * 3, [0] * 3, "abc", margin)
    assert needed.at_least
    says = {
        n: paired.separation([1] * n, [0] * n, range(n), margin)[1]
        for n in (3, needed.clusters - 1, needed.clusters, needed.clusters + 5)
    }
    assert says[needed.clusters] == says[needed.clusters + 5] == "valid"
    assert says[needed.clusters - 1] == "not shown"


def test_units_that_separate_perfectly_need_six_for_a_margin_of_a_fifth():
    assert paired.clusters_needed([1] * 6, [0] * 6, [0, 0, 1, 1, 2, 2], 0.2).clusters == 6


def test_ten_units_show_a_perfect_separation_and_one_that_is_nearly_so_alike():
    # a binary classifier with five aspects; one-sided, 1 - .05^(1/10) of them could differ by 2
    found, validity = paired.separation(np.ones(10), np.zeros(10), range(10), 0.2)
    assert validity == "valid"
    assert found.low == pytest.approx(1 - 2 * (1 - 0.05**0.1))
    assert found.method.startswith("one-sided")
    nearly = np.append(np.ones(9), 0.99)
    assert paired.separation(nearly, np.zeros(10), range(10), 0.2)[1] == "valid"


def test_a_difference_above_zero_whose_limit_lies_under_the_margin_is_not_valid():
    better = np.linspace(0.3, 0.7, 12)
    found, validity = paired.separation(better, np.zeros(12), range(12), 0.45)
    assert 0 < found.low < 0.45 < found.value
    assert validity == "not shown"


def test_units_that_vary_inside_clusters_alone_show_nothing():
    gold, other = [1, 0] * 4, [0, 0] * 4
    assert paired.separation(gold, other, [0, 0, 1, 1, 2, 2, 3, 3], 0.3)[1] == "not shown"


def test_the_check_of_a_separation_is_one_sided_and_about_the_margin():
    better = np.full(8, 0.6)
    assert paired.separation_check(better, np.zeros(8), range(8), 0.2) == 2.0**-8
    assert paired.separation_check(better, np.zeros(8), range(8), 0.6) == 1.0
    assert paired.separation_check(np.zeros(8), better, range(8), 0.2) == 1.0


def _worlds(kind, count, repeats):
    rng = np.random.default_rng(count)
    shape = (count, repeats)
    if kind == "near the ceiling":
        return (np.minimum(rng.normal(1, 0.1, shape), 1) for _ in range(2))
    differs, first = rng.random(shape) < 0.04, rng.random(shape) < 0.5
    if kind == "one errs":
        return np.ones(shape), 1.0 - differs
    amount = rng.random(shape) if kind == "rare amounts" else 1.0
    return 1.0 - (differs & first) * amount, 1.0 - (differs & ~first) * amount


@pytest.mark.parametrize("count", [24, 48, 100, 200])
@pytest.mark.parametrize("kind", ["near the ceiling", "rare", "rare amounts", "one errs"])
def test_differences_hold_the_truth_where_few_units_differ(kind, count):
    a, b = _worlds(kind, count, 1_000)
    truth = 0.04 if kind == "one errs" else 0.0
    found = intervals.Means.of(a - b, np.ones(count), (-1.0, 1.0))
    low, high = found.limits(0.05)
    covered = np.mean((low <= truth + 1e-12) & (high >= truth - 1e-12))
    assert covered >= (0.90 if kind == "one errs" else 0.93)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.floats(0, 1), st.sampled_from([1.0, 0.02, 1e-9]),
       st.integers(0, 10**6))  # fmt: skip
def test_interval_and_p_of_a_difference_agree(count, share, size, seed):
    rng = np.random.default_rng(seed)
    a = np.clip(0.5 + (rng.random(count) < share) * rng.normal(0.2, 1, count) * size, 0, 1)
    found = paired.difference(a, np.full(count, 0.5), range(count), bounds=(0, 1))
    p = paired.p_value(a, np.full(count, 0.5), range(count), bounds=(0, 1))
    assume(abs(p - 0.05) > 1e-6)
    assert (p < 0.05) == (found.low > 0 or found.high < 0)


def test_a_model_that_errs_twice_in_fifty_is_not_told_from_one_that_never_does():
    worse = np.ones(50)
    worse[:2] = 0
    found = paired.difference(np.ones(50), worse, range(50), bounds=(0, 1))
    assert found.low < 0 < found.high
    assert paired.p_value(np.ones(50), worse, range(50), bounds=(0, 1)) > 0.05


def test_equal_gaps_take_the_exact_method_in_interval_and_p():
    found = paired.difference(np.ones(6), np.zeros(6), range(6), bounds=(0, 1))
    assert found.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 6)))
    assert paired.p_value(np.ones(6), np.zeros(6), range(6), bounds=(0, 1)) == pytest.approx(
        2 * 0.5**6
    )
    assert paired.p_value(np.ones(6), np.zeros(6), [0] * 6) is None


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=3,
             max_size=19),
    st.floats(0, 0.6),
)  # fmt: skip
def test_more_clusters_are_needed_exactly_where_the_test_does_not_say_valid(pairs, margin):
    better, worse = zip(*pairs, strict=True)
    found, validity = paired.separation(better, worse, range(len(pairs)), margin)
    needed = paired.clusters_needed(better, worse, range(len(pairs)), margin)
    assume(abs(found.low - margin) > 1e-9)
    assume(abs(found.value - margin) > 1e-9)
    if validity == "valid":
        assert needed.clusters <= len(pairs)
    elif validity == "invalid":
        assert needed is None
    else:
        assert needed is None or needed.clusters > len(pairs)


def test_no_number_of_clusters_shows_a_difference_that_is_not_there():
    assert paired.clusters_needed([0.3, 0.4], [0.3, 0.4], "ab", 0.0) is None
    assert paired.clusters_needed([0.5, 0.6, 0.7], [0.3, 0.4, 0.4], "abc", 0.3) is None
    assert paired.clusters_needed([], [], [], 0.0) is None
    assert paired.clusters_needed([2.0] * 3, [1.0] * 3, "abc", 0.5, bounds=None) is None


def test_one_cluster_needs_as_many_as_a_perfect_result_whatever_it_says():
    assert paired.clusters_needed([0.9, 0.8], [0.1, 0.3], "aa", 0.2) == paired.Needed(6, True)
    assert paired.clusters_needed([0.9], [0.1], "a", 0.2, bounds=None) == paired.Needed(3, True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=40), st.sampled_from([0.1, 0.2, 0.3, 0.5]))
def test_no_imperfect_separation_is_shown_where_a_perfect_one_is_not(scores, margin):
    count = len(scores)
    perfect, best = paired.separation(np.ones(count), np.zeros(count), range(count), margin)
    found, validity = paired.separation(scores, np.zeros(count), range(count), margin)
    assert found.low <= perfect.low + 1e-9
    assert best == "valid" or validity != "valid"
