"""Limits and p that hold for several comparisons at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.stats.simultaneous import MaxT


def test_one_comparison_is_adjusted_by_nothing():
    one = MaxT(np.random.default_rng(0).normal(size=(20, 1)), 19)
    assert one.level(0.05) == pytest.approx(0.05)
    assert one.adjusted([0.03, 0.4][:1]) == pytest.approx([0.03])


def test_independent_comparisons_need_the_studentised_maximum():
    influence = np.eye(60)[:, :4]  # four comparisons that share no cluster
    level = MaxT(influence, 1e6).level(0.05)
    assert level == pytest.approx(1 - 0.95**0.25, rel=0.1)


def test_comparisons_that_are_the_same_cost_nothing():
    one = np.random.default_rng(1).normal(size=(40, 1))
    assert MaxT(np.hstack([one, one, -one]), 39).level(0.05) == pytest.approx(0.05, rel=0.06)


def test_adjusted_p_and_simultaneous_level_agree():
    rng = np.random.default_rng(2)
    largest = MaxT(rng.normal(size=(30, 6)), 29)
    p = rng.uniform(0, 0.02, 300)
    for own, adjusted in zip(p, largest.adjusted(p), strict=True):
        assert own <= adjusted <= min(1, 6 * own) + 1e-12
        assert (adjusted < 0.05) == (own < largest.level(0.05))


def test_the_family_error_is_kept_under_no_difference():
    rng, wrong = np.random.default_rng(3), 0
    for i in range(50):
        gaps = rng.normal(size=(24, 6)) + rng.normal(size=(24, 1))
        largest = MaxT(gaps - gaps.mean(axis=0), 23, seed=i)
        p = stats.ttest_1samp(gaps, 0).pvalue
        wrong += largest.adjusted(p).min() < 0.05
    assert wrong / 50 <= 0.12
