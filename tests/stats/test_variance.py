"""Variance components against planted ones and the balanced analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest

from harness.records import HarnessError
from harness.stats.variance import variance_components


def _design(samples, variants, repeats):
    grid = np.indices((samples, variants, repeats)).reshape(3, -1)
    return grid[0], grid[1], grid[2]


def test_planted_components_are_found_also_with_missing_cells():
    rng = np.random.default_rng(0)
    s, v, r = _design(300, 60, 2)
    y = (
        rng.normal(0, 3, 300)[s] + rng.normal(0, 2, 60)[v]
        + rng.normal(0, 1, (300, 60))[s, v] + rng.normal(0, 0.5, len(s))
    )  # fmt: skip
    keep = rng.random(len(y)) < 0.7
    found = variance_components(y[keep], s[keep], v[keep], r[keep])
    assert found.sample == pytest.approx(9, rel=0.2)
    assert found.variant == pytest.approx(4, rel=0.4)
    assert found.interaction == pytest.approx(1, rel=0.1)
    assert found.repeat == pytest.approx(0.25, rel=0.1)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_balanced_design_equals_the_mean_squares_of_two_way_anova():
    rng = np.random.default_rng(1)
    s, v, r = _design(12, 7, 1)
    table = rng.normal(0, 2, (12, 1)) + rng.normal(0, 2, (1, 7)) + rng.normal(0, 1, (12, 7))
    found = variance_components(table.ravel(), s, v, r)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    residual = table - rows[:, None] - columns + table.mean()
    error = np.sum(residual**2) / (11 * 6)
    assert found.interaction == pytest.approx(error)
    assert found.sample == pytest.approx(rows.var(ddof=1) - error / 7)
    assert found.variant == pytest.approx(columns.var(ddof=1) - error / 12)
    assert found.repeat is None


def test_scores_without_variation_have_no_shares():
    s, v, r = _design(4, 3, 2)
    assert variance_components(np.ones(24), s, v, r).shares == {}


def test_designs_that_cannot_tell_are_refused():
    with pytest.raises(HarnessError, match="two samples and two variants"):
        variance_components([1, 2], ["a", "a"], ["x", "y"], [0, 0])
    with pytest.raises(HarnessError, match="twice"):
        variance_components([1, 2, 3], ["a", "a", "b"], ["x", "x", "y"], [0, 0, 0])
    with pytest.raises(HarnessError, match="share"):
        variance_components([1, 2], ["a", "b"], ["x", "y"], [0, 0])
