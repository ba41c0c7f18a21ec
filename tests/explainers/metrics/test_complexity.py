"""Complexity against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trials_for_tests import trial_of

from harness.explainers.metrics.complexity import EffectiveSize, Entropy, Sparseness

ALL = [Sparseness, Entropy, EffectiveSize]


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_equal_values_are_as_spread_as_can_be(n: int) -> None:
    trial = trial_of(np.full(n, -3.0))
    assert Sparseness().look(trial).value == pytest.approx(0, abs=1e-12)
    assert Entropy().look(trial).value == pytest.approx(math.log(n), abs=1e-12)
    assert EffectiveSize().look(trial).value == pytest.approx(n)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_a_single_value_is_as_sparse_as_can_be(n: int) -> None:
    trial = trial_of(np.eye(n)[0])
    assert Sparseness().look(trial).value == pytest.approx(1 - 1 / n)
    assert Entropy().look(trial).value == pytest.approx(0)
    assert EffectiveSize().look(trial).value == pytest.approx(1)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_sparseness_is_half_the_mean_difference_over_the_mean(values: list[float]) -> None:
    sizes = np.abs(values)
    if sizes.sum() < 1e-6:
        return
    differences = np.abs(sizes[:, None] - sizes[None]).mean()
    found = Sparseness().look(trial_of(values)).value
    assert found == pytest.approx(differences / (2 * sizes.mean()), abs=1e-9)


@pytest.mark.parametrize("metric", ALL)
def test_signs_and_units_of_values_do_not_matter(metric: type) -> None:
    values = np.array([3.0, -1.0, 0.5, 0.0])
    one = metric().look(trial_of(values)).value
    assert metric().look(trial_of(-7 * values)).value == pytest.approx(one)


@pytest.mark.parametrize("metric", ALL)
def test_values_that_are_all_zero_have_no_complexity(metric: type) -> None:
    found = metric().look(trial_of(np.zeros(3)))
    assert (found.value, found.why) == (None, "all values are zero")
