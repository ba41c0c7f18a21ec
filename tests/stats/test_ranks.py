"""Holm's adjustment and ranks by paired comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.records import HarnessError
from harness.stats import paired, ranks


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_equals_statsmodels(p):
    assert ranks.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def _models(shifts, n=60, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    shared = rng.uniform(0.3, 0.6, n)
    scores = {
        name: {f"u{i}": float(shared[i] + shift + rng.normal(0, noise)) for i in range(n)}
        for name, shift in shifts.items()
    }
    return scores, {f"u{i}": i for i in range(n)}


def test_models_far_apart_are_ranked_without_doubt_in_either_direction():
    scores, clusters = _models({"low": 0.0, "high": 0.3, "mid": 0.15})
    up = ranks.rank(scores, clusters, "higher")
    assert {r.model: (r.rank, r.low, r.high) for r in up.rows} == {
        "high": (1, 1, 1),
        "mid": (2, 2, 2),
        "low": (3, 3, 3),
    }
    assert all(c.p_adjusted < 0.05 for c in up.comparisons)
    down = ranks.rank(scores, clusters, "lower")
    assert {r.model: r.rank for r in down.rows} == {"low": 1, "mid": 2, "high": 3}


def test_equal_models_are_tied_and_their_rank_intervals_overlap():
    scores, clusters = _models({"a": 0.0, "b": 0.0, "c": 0.3}, noise=0.1)
    table = ranks.rank(scores, clusters)
    by_pair = {(c.a, c.b): c.p_adjusted for c in table.comparisons}
    assert by_pair["a", "b"] > 0.05 > max(by_pair["a", "c"], by_pair["b", "c"])
    rows = {r.model: r for r in table.rows}
    assert rows["a"].low < rows["a"].high == 3
    assert rows["b"].high == 3


def test_identical_scores_share_the_middle_rank_with_p_of_one():
    scores = {m: {"u": 0.5, "v": 0.25, "w": 1.0} for m in "ab"}
    table = ranks.rank(scores, {"u": 1, "v": 2, "w": 3}, bounds=(0, 1))
    assert [r.rank for r in table.rows] == [1.5, 1.5]
    assert table.comparisons[0].p_adjusted == 1.0


def test_pairs_equal_the_paired_module_one_by_one():
    scores, clusters = _models({"a": 0.0, "b": 0.05}, n=30)
    row = ranks.rank(scores, clusters, seed=3).comparisons[0]
    a, b = (np.array([scores[m][u] for u in sorted(clusters)]) for m in "ab")
    oracle = paired.difference(a, b, [clusters[u] for u in sorted(clusters)])
    assert (row.difference.value, row.difference.low) == pytest.approx((oracle.value, oracle.low))
    assert row.difference.high == pytest.approx(oracle.high)


def test_sign_flips_are_a_check_beside_the_test():
    scores, _ = _models({"a": 0.0, "b": 0.3}, n=80)
    clusters = {f"u{i}": i % 8 for i in range(80)}
    table = ranks.rank(scores, clusters)
    assert table.comparisons[0].sign_flip == 2 / 2**8
    assert table.comparisons[0].p < 0.001
    assert table.test == "cluster-robust t"


@pytest.mark.parametrize("n", [8, 19, 24, 60])
def test_intervals_and_p_agree_for_a_pair_alone_and_for_all_pairs(n):
    for seed in range(12):
        scores, clusters = _models(dict(zip("abcd", [0, 0.01, 0.02, 0.04], strict=True)), n=n,
                                   seed=seed)  # fmt: skip
        for c in ranks.rank(scores, clusters, bounds=(-1, 2)).comparisons:
            for estimate, p in ((c.difference, c.p), (c.together, c.p_adjusted)):
                assert (p < 0.05) == (estimate.low > 0 or estimate.high < 0)
            assert c.p <= c.p_adjusted
            assert c.together.low <= c.difference.low
            assert c.together.high >= c.difference.high


def test_a_model_is_not_ahead_of_one_that_errs_on_two_of_fifty():
    scores = {
        "a": {f"u{i}": 1.0 for i in range(50)},
        "b": {f"u{i}": float(i > 1) for i in range(50)},
    }
    row = ranks.rank(scores, {f"u{i}": i for i in range(50)}, bounds=(0, 1)).comparisons[0]
    assert row.difference.value == pytest.approx(0.04)
    assert row.difference.low < 0
    assert min(row.p, row.p_adjusted) > 0.05


def test_simultaneous_rank_intervals_rest_on_the_adjusted_tests():
    scores, clusters = _models({"a": 0.0, "b": 0.005, "c": 0.3}, n=40)
    rows = {r.model: r for r in ranks.rank(scores, clusters).rows}
    assert rows["c"].simultaneous == (1, 1)
    assert rows["a"].simultaneous == rows["b"].simultaneous == (2, 3)
    assert rows["a"].low >= 2
    assert rows["b"].low >= 2


def test_rank_limits_hold_the_rank_also_where_a_pairs_own_units_say_otherwise():
    # on the units that all share b is first, on those of the pair a is far ahead
    shared = [f"u{i}" for i in range(6)]
    own = [f"v{i}" for i in range(12)]
    rng = np.random.default_rng(0)
    scores = {
        "a": {u: 0.4 + rng.normal(0, 0.01) for u in shared} | dict.fromkeys(own, 0.9),
        "b": {u: 0.5 + rng.normal(0, 0.01) for u in shared}
        | {u: 0.1 + rng.normal(0, 0.01) for u in own},
        "c": {u: 0.1 + rng.normal(0, 0.01) for u in shared},
    }
    clusters = {u: u for u in (*shared, *own)}
    table = ranks.rank(scores, clusters)
    pair = next(c for c in table.comparisons if (c.a, c.b) == ("a", "b"))
    assert pair.difference.value > 0
    assert pair.p_adjusted < 0.05
    rows = {r.model: r for r in table.rows}
    assert (rows["b"].rank, rows["a"].rank) == (1, 2)
    for row in table.rows:
        assert row.low <= row.rank <= row.high


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_under_twenty_clusters_ranks_are_no_surer_than_the_tests(direction):
    scores, _ = _models({"a": 0.0, "b": 0.02, "c": 0.3}, n=4, noise=0.01)
    rows = {r.model: r for r in ranks.rank(scores, {f"u{i}": i for i in range(4)}, direction).rows}
    # With four clusters b lies above a in nearly every resample, yet no test tells them apart.
    best, worst = (1, 3) if direction == "higher" else (3, 1)
    assert (rows["c"].rank, rows["c"].low, rows["c"].high) == (best, best, best)
    for name in "ab":
        assert {rows[name].low, rows[name].high} == {2, worst}


def test_models_without_shared_units_are_not_ranked_but_the_others_are_compared():
    scores, clusters = _models({"a": 0.0, "b": 0.3})
    scores["c"] = {"elsewhere": 1.0}
    table = ranks.rank(scores, clusters | {"elsewhere": 99})
    assert table.reason == "nothing was scored for both a and c"
    assert all(r.rank is None for r in table.rows)
    found = {(c.a, c.b): c for c in table.comparisons}
    assert found["a", "b"].p_adjusted < 0.05
    assert found["a", "c"].p_adjusted is None
    assert "unpaired" in found["a", "c"].difference.method


def test_ranks_use_only_units_common_to_all():
    scores, clusters = _models({"a": 0.0, "b": 0.3}, n=40)
    scores["a"]["extra"] = 1e6
    table = ranks.rank(scores, clusters | {"extra": -1})
    assert {r.model: r.rank for r in table.rows} == {"b": 1, "a": 2}
    assert table.comparisons[0].difference.n == 40


def test_wrong_direction_and_missing_cluster_are_named():
    scores, clusters = _models({"a": 0.0, "b": 0.3}, n=5)
    with pytest.raises(HarnessError, match="direction"):
        ranks.rank(scores, clusters, "up")
    del clusters["u3"]
    with pytest.raises(HarnessError, match="u3"):
        ranks.rank(scores, clusters)
