"""Permutation tests against null worlds, planted differences and a closed form."""

from __future__ import annotations

from itertools import permutations
from math import comb

import numpy as np
import pytest

from harness.records import HarnessError
from harness.stats.permutation import below_chance, between_clusters, within_blocks


def test_a_level_that_always_fails_is_found_and_blocks_that_say_nothing_change_nothing() -> None:
    blocks = [b for b in range(12) for _ in range(2)]
    levels = ["base", "json"] * 12
    lost = [0.0, 1.0] * 12
    p = within_blocks(lost, levels, blocks)
    assert p < 0.01
    silent = ([0.0] * 40, ["base", "json"] * 20, [100 + i // 2 for i in range(40)])
    more = [a + b for a, b in zip((lost, levels, blocks), silent, strict=True)]
    assert within_blocks(*more) == p


def test_two_levels_in_few_blocks_give_the_p_of_counting_by_hand() -> None:
    # Three blocks, each with its loss on the second level: 2 of 2^3 arrangements are as extreme.
    p = within_blocks([0, 1] * 3, ["a", "b"] * 3, [0, 0, 1, 1, 2, 2], draws=9_999)
    assert p == pytest.approx(2 / 8, abs=0.02)


def test_many_cells_of_one_sample_count_as_one() -> None:
    # One sample lost its json cells fifty times over: that is one observation.
    levels = ["base"] * 50 + ["json"] * 50
    assert within_blocks([0.0] * 50 + [1.0] * 50, levels, ["s"] * 100) > 0.9


@pytest.mark.parametrize("test", ["within", "between"])
def test_under_the_null_p_is_below_its_level_no_more_often_than_it_says(test: str) -> None:
    rng = np.random.default_rng(0)
    low = 0
    for world in range(300):
        rate = rng.beta(0.5, 2, size=20)  # samples differ, levels do not
        if test == "within":
            blocks = [b for b in range(20) for _ in range(6)]
            levels = ["a", "b", "c"] * 40
            lost = (rng.random(120) < np.repeat(rate, 6)).astype(float)
            low += within_blocks(lost, levels, blocks, seed=world, draws=199) <= 0.05
        else:
            clusters = [c for c in range(20) for _ in range(6)]
            levels = [str(c % 3) for c in clusters]
            lost = (rng.random(120) < np.repeat(rate, 6)).astype(float)
            low += between_clusters(lost, levels, clusters, seed=world, draws=199) <= 0.05
    assert low <= 26  # 15 are expected; more than 26 of 300 come by chance once in 200 times


def test_levels_between_clusters_give_the_p_of_counting_by_hand() -> None:
    values, levels = [1, 1, 0, 0, 0], ["a", "a", "b", "b", "b"]
    drawn = list(permutations(values))
    extreme = sum(abs(sum(p[:2]) / 2 - sum(p[2:]) / 3) >= 1 for p in drawn)
    p = between_clusters(values, levels, range(5), draws=9_999)
    assert p == pytest.approx(extreme / len(drawn), abs=0.02)


def test_a_cluster_of_two_levels_is_refused() -> None:
    with pytest.raises(HarnessError, match="two levels"):
        between_clusters([0, 1], ["a", "b"], ["c", "c"])


def test_classes_in_another_order_are_below_chance_as_counting_by_hand_says() -> None:
    true = ["a"] * 4 + ["b"] * 4
    p = below_chance(true, ["b"] * 4 + ["a"] * 4, range(8), draws=9_999)
    assert p == pytest.approx(1 / comb(8, 4), abs=0.005)


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        (["a", "b"] * 10, ["a"] * 20),  # it always says the same
        (["a", "b"] * 10, ["a", "b"] * 10),
        (["a"] * 19 + ["b"], ["b"] * 20),  # accuracy .05, which a constant may have
        (["a"] * 10, ["b"] * 10),  # one true label says nothing of an order
        (["a", "b"], ["b", "a"]),  # two samples show nothing
    ],
)
def test_what_may_be_chance_is_not_below_it(true: list[str], predicted: list[str]) -> None:
    assert below_chance(true, predicted, range(len(true))) > 0.05


def test_samples_of_one_cluster_count_once() -> None:
    true, wrong = ["a", "b"] * 50, ["b", "a"] * 50
    assert below_chance(true, wrong, range(100)) < 0.001
    assert below_chance(true, wrong, [i % 2 for i in range(100)]) > 0.05
