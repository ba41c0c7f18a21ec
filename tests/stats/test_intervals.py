"""Intervals against closed forms, statsmodels and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.records import HarnessError
from harness.stats import intervals


def test_one_value_a_cluster_under_twenty_gives_the_textbook_t_interval():
    values = np.random.default_rng(1).uniform(0.3, 0.7, 12)
    found = intervals.mean(values, range(12))
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == "t, 11 degrees of freedom, by sample"


def test_equal_clusters_give_the_t_interval_of_their_means():
    values = np.random.default_rng(2).uniform(0, 1, (8, 25))
    found = intervals.mean(values.ravel(), np.repeat(np.arange(8), 25), cluster_name="condition")
    means = values.mean(axis=1)
    low, high = stats.t.interval(0.95, 7, means.mean(), stats.sem(means))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.n, found.clusters) == (200, 8)
    assert found.method == "t, 7 degrees of freedom, by condition"


def test_cr2_variance_equals_the_matrix_definition():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(4), [2, 3, 5, 7])
    y = rng.normal(size=17)
    hat = np.full((17, 17), 1 / 17)
    residual, variance = y - y.mean(), 0.0
    for g in range(4):
        inside = codes == g
        block = np.eye(inside.sum()) - hat[np.ix_(inside, inside)]
        eigen, vectors = np.linalg.eigh(block)
        root = vectors @ np.diag(eigen**-0.5) @ vectors.T
        variance += (np.ones(inside.sum()) @ root @ residual[inside] / 17) ** 2
    sums = np.bincount(codes, weights=y)[:, None]
    assert intervals.cr2_variance(sums, np.bincount(codes).astype(float))[0] == pytest.approx(
        variance
    )


def test_unequal_clusters_cost_degrees_of_freedom():
    assert intervals.degrees_of_freedom(np.full(8, 50.0)) == pytest.approx(7)
    assert intervals.degrees_of_freedom(np.array([10.0, 10, 10, 10, 10, 10, 10, 500])) < 2


def test_two_way_variance_equals_statsmodels():
    import statsmodels.api as sm
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    rng = np.random.default_rng(4)
    rows, columns = np.repeat(np.arange(12), 6), np.tile(np.arange(6), 12)
    y = rng.normal(0, 0.1, 12)[rows] + rng.normal(0, 0.1, 6)[columns] + rng.normal(0, 0.1, 72)
    fit = sm.OLS(y, np.ones(72)).fit()
    variance = float(np.squeeze(cov_cluster_2groups(fit, rows, columns)[0]))
    found = intervals.two_way(y, rows, columns, bounds=None)
    reach = stats.t.ppf(0.975, 5) * np.sqrt(variance)
    assert found.high - found.value == pytest.approx(reach)


def test_two_way_is_never_narrower_than_the_wider_way():
    rows, columns = np.repeat(np.arange(6), 6), np.tile(np.arange(6), 6)
    y = np.clip(0.5 + 0.1 * np.random.default_rng(5).normal(size=6)[columns], 0, 1)
    both = intervals.two_way(y, rows, columns)
    one = intervals.mean(y, rows)
    assert both.high - both.low > (one.high or 0) - (one.low or 0)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 17), (29, 29), (500, 1000)])
def test_proportion_equals_statsmodels_wilson(k, n):
    from statsmodels.stats.proportion import proportion_confint

    found = intervals.proportion(k, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, method="wilson"))


@pytest.mark.parametrize("n", [3, 8, 40])
def test_all_ones_give_the_clopper_pearson_interval(n):
    exact = stats.binomtest(n, n).proportion_ci(method="exact")
    found = intervals.mean(np.ones(n), range(n))
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_more_values_in_the_same_clusters_do_not_narrow_a_constant():
    few = intervals.mean([1.0] * 4, "aabb")
    many = intervals.mean([1.0] * 400, ["a", "b"] * 200)
    assert few.low == many.low < 0.2


def test_one_cluster_and_open_constants_have_no_interval_and_say_so():
    one = intervals.mean([0.1, 0.9], ["a", "a"], cluster_name="condition")
    assert (one.value, one.low, one.high) == (0.5, None, None)
    assert "one condition" in one.method
    still = intervals.mean([7.0, 7.0, 7.0], "abc", bounds=None)
    assert still.low is None
    assert "no variation" in still.method


def test_nan_and_values_out_of_range_are_refused():
    with pytest.raises(HarnessError, match="NaN"):
        intervals.mean([0.1, float("nan")], "ab")
    with pytest.raises(HarnessError, match="range"):
        intervals.mean([0.1, 7.0], "ab")
    with pytest.raises(HarnessError, match="label"):
        intervals.mean([0.1, 0.7], "a")


def test_nothing_to_average_has_no_value():
    assert intervals.mean([], []).value is None


def test_the_same_seed_gives_the_same_interval_and_the_method_is_stated():
    values = np.random.default_rng(6).uniform(0, 1, 29)

    def middle(seed):
        return intervals.of_statistic(lambda w: (w @ values / w.sum(axis=1)) ** 2, range(29),
                                      seed=seed)  # fmt: skip

    assert middle(4) == middle(4)
    assert middle(4).method == "bootstrap, 2,000 draws, 29 samples"
    assert middle(5).low != middle(4).low


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30)), min_size=2, max_size=60),
)
def test_an_interval_holds_its_value_and_stays_in_range(rows):
    found = intervals.mean([v for v, _ in rows], [c for _, c in rows])
    if found.low is not None:
        assert 0 <= found.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.high <= 1
        assert found.high > found.low


def _coverage(draw, truth, bounds=(0.0, 1.0), repeats=400):
    rng, hits = np.random.default_rng(0), 0
    for _ in range(repeats):
        values, clusters = draw(rng)
        found = intervals.mean(values, clusters, bounds=bounds)
        hits += found.low <= truth <= found.high
    return hits / repeats


def test_coverage_holds_with_eight_conditions_that_share_an_effect():
    codes = np.repeat(np.arange(8), 125)

    def draw(rng):
        return rng.normal(0.5, 0.1, 8)[codes] + rng.normal(0, 0.1, 1000), codes

    assert 0.92 <= _coverage(draw, 0.5, None) <= 0.99
    by_sample = [
        intervals.mean(draw(np.random.default_rng(i))[0], range(1000), bounds=None)
        for i in range(40)
    ]
    assert np.mean([e.low <= 0.5 <= e.high for e in by_sample]) < 0.5


def test_coverage_holds_for_thirty_skewed_scores_with_mass_at_the_ends():
    def draw(rng):
        kind = rng.random(30)
        scores = np.where(kind < 0.25, 0.0, np.where(kind < 0.4, 1.0, rng.beta(1, 3, 30)))
        return scores, range(30)

    assert 0.91 <= _coverage(draw, 0.15 + 0.6 * 0.25) <= 0.99
