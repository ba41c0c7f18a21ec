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
