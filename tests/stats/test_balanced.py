"""Balanced means agree with balanced accuracy, group by group."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from harness.stats.balanced import balanced_mean


def test_one_group_of_right_and_wrong_is_balanced_accuracy() -> None:
    random = np.random.default_rng(1)
    true = random.random(200) < 0.2
    said = np.where(random.random(200) < 0.3, ~true, true)
    found = balanced_mean(said == true, ["g"] * 200, list(true), list(range(200)))
    assert found.value == pytest.approx(balanced_accuracy_score(true, said))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_a_group_where_the_level_is_given_does_not_count() -> None:
    # Stage a always has the lesion: whoever knows the stage is right there, and earns nothing.
    values = [1, 1, 1, 1, 1, 0, 0, 1]
    within = ["a"] * 4 + ["b"] * 4
    over = [True] * 4 + [True, True, False, False]
    found = balanced_mean(values, within, over, list(range(8)))
    assert found.value == pytest.approx(0.5)
    assert found.n == 4
    assert balanced_mean(values[:4], within[:4], over[:4], list(range(4))).value is None


def test_groups_count_the_same_whatever_their_size() -> None:
    values = [1] * 50 + [1] * 50 + [0, 0]
    within = ["big"] * 100 + ["small"] * 2
    over = [True] * 50 + [False] * 50 + [True, False]
    found = balanced_mean(values, within, over, list(range(102)))
    assert found.value == pytest.approx(0.5)


def test_a_level_of_three_clusters_is_not_resampled_and_its_interval_covers():
    from harness.stats.calibration import balanced_accuracy

    rng, held = np.random.default_rng(0), []
    true = ["a"] * 40 + ["b"] * 30 + ["c"] * 3
    recall = np.repeat([0.9, 0.8, 0.7], [40, 30, 3])
    for _ in range(150):
        right = rng.random(73) < recall
        predicted = [t if r else "a" if t != "a" else "b" for t, r in zip(true, right, strict=True)]
        found = balanced_accuracy(true, predicted, ["a", "b", "c"])
        assert "bootstrap" not in found.method
        held.append(found.low <= 0.8 <= found.high)
    assert np.mean(held) >= 0.92
    assert "the rarest has 3 samples" in found.method


def test_levels_that_share_clusters_have_intervals_that_add_up():
    values, levels = [1, 0, 1, 1, 0, 1, 1, 0], ["x", "y"] * 4
    apart = balanced_mean(values, ["g"] * 8, levels, range(8))
    shared = balanced_mean(values, ["g"] * 8, levels, [0, 0, 1, 1, 2, 2, 3, 3])
    assert shared.value == apart.value
    assert shared.high - shared.low > apart.high - apart.low
