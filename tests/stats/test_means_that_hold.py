"""Intervals of means in worlds with little or rare variation: no zero width, no jump, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.stats import intervals
from harness.stats.intervals import Means

EXACT = "no variation"


@st.composite
def worlds(draw):
    """Scores in [0, 1] by cluster: constant, nearly so, rarely varied, zeros and ones, or any."""
    count = draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["constant", "near", "rare", "rare by a little", "binary", "any"]))
    base = draw(st.sampled_from([0.0, 0.5, 0.99, 1.0]))
    values = {
        "constant": lambda: np.full(count, base),
        "near": lambda: base + rng.normal(0, 10.0 ** rng.uniform(-9, -1), count),
        "rare": lambda: np.where(rng.random(count) < 0.93, base, rng.random(count)),
        "rare by a little": lambda: np.where(rng.random(count) < 0.9, base, base - 0.02),
        "binary": lambda: (rng.random(count) < rng.random()).astype(float),
        "any": lambda: rng.random(count),
    }[kind]()
    sizes = rng.integers(1, 6, count) if draw(st.booleans()) else np.ones(count, dtype=int)
    return np.clip(np.repeat(values, sizes), 0, 1), np.repeat(np.arange(count), sizes)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.floats(1e-9, 1e-3), st.data())
def test_no_bound_jumps_where_one_score_moves_and_no_interval_is_empty(world, step, data):
    values, clusters = world
    place = data.draw(st.integers(0, len(values) - 1))
    moved = values.copy()
    moved[place] += step if moved[place] + step <= 1 else -step
    before, after = intervals.mean(values, clusters), intervals.mean(moved, clusters)
    for found in (before, after):
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1
        assert found.high > found.low
    for end in ("low", "high"):
        assert abs(getattr(after, end) - getattr(before, end)) <= 20 * step + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 200), st.floats(0, 0.01), st.floats(0.5, 1))
def test_a_perfect_result_is_no_weaker_than_one_with_a_score_slightly_lower(count, less, level):
    perfect = np.full(count, level)
    lowered = perfect.copy()
    lowered[0] -= less
    best, other = (intervals.mean(x, range(count)) for x in (perfect, lowered))
    assert best.low >= other.low - 0.02


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None, (None, None), (0.0, None), (None, 1.0)])
@pytest.mark.parametrize("count", [2, 3, 19, 20, 21, 200])
def test_where_scores_vary_the_interval_is_that_of_t_at_every_size(count, bounds):
    values = np.linspace(0.1, 0.9, count)
    found = intervals.mean(values, range(count), bounds=bounds)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    low, high = (low, high) if bounds is None else np.clip(
        [low, high], *[np.inf * s if b is None else b for s, b in zip((-1, 1), bounds, strict=True)]
    )  # fmt: skip
    assert (found.low, found.high) == pytest.approx((low, high))


def test_variation_inside_clusters_alone_is_none_among_them():
    few = intervals.mean([0, 1, 0, 1], [0, 0, 1, 1])
    assert (few.low, few.high) == pytest.approx((0.5 - 0.8419 / 2, 0.5 + 0.8419 / 2), abs=1e-3)
    many = intervals.mean([0.2, 0.8] * 25, np.repeat(np.arange(25), 2))
    assert many.value == 0.5
    assert 0.4 < many.low < 0.5 < many.high < 0.6
    assert EXACT in many.method


@pytest.mark.parametrize(("right", "count"), [(8, 8), (39, 40), (96, 100), (2, 50), (0, 7)])
def test_exact_limits_of_zeros_and_ones_are_those_of_clopper_and_pearson(right, count):
    from harness.stats import exact

    values = (np.arange(count) < right).astype(float)[:, None]
    spread = exact.Spread.of(values, np.ones(count))
    low, high = exact.limits(spread, (0.0, 1.0), 0.025)
    oracle = stats.binomtest(right, count).proportion_ci(method="exact")
    assert (low[0], high[0]) == pytest.approx((oracle.low, oracle.high))


def test_limits_scale_and_shift_with_the_range():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(30) < 0.9, 1.0, rng.random(30))
    plain = intervals.mean(values, range(30))
    wide = intervals.mean(4 * values - 1, range(30), bounds=(-1, 3))
    assert (wide.low, wide.high) == pytest.approx((4 * plain.low - 1, 4 * plain.high - 1))


@pytest.mark.parametrize("count", [5, 20, 30, 60, 100, 200])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("otherwise", ["zero", "uniform"])
def test_coverage_holds_in_near_constant_worlds(count, share, otherwise):
    rng = np.random.default_rng(count)
    rest = np.zeros((count, 2_000)) if otherwise == "zero" else rng.random((count, 2_000))
    values = np.where(rng.random((count, 2_000)) < share, 1.0, rest)
    truth = share if otherwise == "zero" else (1 + share) / 2
    low, high = Means.of(values, np.ones(count), (0.0, 1.0)).limits(0.05)
    covered = np.mean((low <= truth + 1e-12) & (truth - 1e-12 <= np.minimum(high, 1)))
    assert covered >= 0.92


@pytest.mark.parametrize("count", [2, 5, 20, 60, 200])
def test_no_wider_than_t_where_the_variation_is_not_rare(count):
    rng = np.random.default_rng(count)
    for values in (rng.random((count, 300)), rng.beta(2, 5, (count, 300)),
                   rng.normal(0.5, 0.1, (count, 300)).clip(0, 1)):  # fmt: skip
        found = Means.of(values, np.ones(count), (0.0, 1.0))
        low, high = found.limits(0.05)
        width = 2 * stats.t.isf(0.025, count - 1) * found.error
        varied = values.std(axis=0, ddof=1) > 0.05
        assert np.all(((high - low) / width)[varied] <= 1.1)


def test_degrees_of_freedom_are_those_of_the_matrix_definition():
    sizes = np.random.default_rng(4).integers(1, 40, 25).astype(float)
    share = sizes / sizes.sum()
    root = 1 / np.sqrt(1 - share)
    centring = np.eye(25) - share[:, None]
    found = []
    for spread in (share, share**2):
        gram = root[:, None] * (centring * spread) @ centring.T * root
        found.append(np.trace(gram) ** 2 / np.sum(gram**2))
    assert intervals.degrees_of_freedom(sizes) == pytest.approx(min(found))


def test_a_statistic_that_resampling_inflates_is_shifted_back_and_not_further_out():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.1, 40)

    def inflated(weights):
        plain = np.all(weights == 1, axis=1)
        return np.where(plain, 0.4, 0.6 + (weights - 1) @ noise / 40)

    found = intervals.of_statistic(inflated, range(40), bounds=(0, 1), recentre=True)
    assert (found.low + found.high) / 2 == pytest.approx(found.value, abs=0.02)


def test_a_statistic_near_its_end_has_an_interval_like_one_at_its_end():
    def interval(best):
        scores = np.append(np.full(29, 1.0), best)
        return intervals.of_statistic(
            lambda w: w @ scores / w.sum(axis=1), range(30), bounds=(0.0, 1.0)
        )

    assert interval(1 - 1e-9).low == pytest.approx(interval(1.0).low, abs=1e-6)
    assert interval(0.99).low == pytest.approx(interval(1.0).low, abs=0.02)
