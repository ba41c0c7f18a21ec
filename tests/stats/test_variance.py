"""Shares of variance against planted components and the balanced analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest

from harness.records import HarnessError
from harness.stats.variance import variance_shares


def _design(samples, variants, repeats):
    grid = np.indices((samples, variants, repeats)).reshape(3, -1)
    return grid[0], grid[1]


def test_planted_shares_are_found_also_with_missing_cells():
    rng = np.random.default_rng(0)
    s, v = _design(300, 60, 2)
    y = (
        rng.normal(0, 3, 300)[s] + rng.normal(0, 2, 60)[v]
        + rng.normal(0, 1, (300, 60))[s, v] + rng.normal(0, 0.5, len(s))
    )  # fmt: skip
    keep = rng.random(len(y)) < 0.7
    found = variance_shares(y[keep], s[keep], v[keep], s[keep] // 20)
    truth = np.array([9, 4, 1, 0.25]) / 14.25
    for share, planted in zip(found.values(), truth, strict=True):
        assert share.value == pytest.approx(planted, rel=0.35)
        assert share.low < share.value < share.high
    assert sum(share.value for share in found.values()) == pytest.approx(1)


def test_balanced_design_equals_the_mean_squares_of_two_way_anova():
    rng = np.random.default_rng(1)
    s, v = _design(12, 7, 1)
    table = rng.normal(0, 2, (12, 1)) + rng.normal(0, 2, (1, 7)) + rng.normal(0, 1, (12, 7))
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    error = np.sum((table - rows[:, None] - columns + table.mean()) ** 2) / (11 * 6)
    parts = {
        "sample": rows.var(ddof=1) - error / 7,
        "variant": columns.var(ddof=1) - error / 12,
        "interaction": error,  # without repeats it holds chance too, so there is no fourth share
    }
    found = variance_shares(table.ravel(), s, v, s)
    assert {name: share.value for name, share in found.items()} == pytest.approx(
        {name: part / sum(parts.values()) for name, part in parts.items()}
    )


def test_the_interval_holds_the_share_of_the_wording():
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        s, v = _design(60, 6, 1)
        wording = np.array([-1, -1, -1, 1, 1, 1]) * np.sqrt(5 / 6)  # variance 1 over the six
        y = rng.normal(0, 1, 60)[s] + wording[v] + rng.normal(0, 1, len(s))
        share = variance_shares(y, s, v, s, seed=seed)["variant"]
        hits += share.low <= 1 / 3 <= share.high
    assert hits >= 53


def test_scores_without_variation_have_no_shares():
    s, v = _design(4, 3, 2)
    assert all(share.value is None for share in variance_shares(np.ones(24), s, v, s).values())


@pytest.mark.parametrize(
    ("sample", "variant"),
    [(["a", "a"], ["x", "y"]), (["a", "b"], ["x", "x"]), (["a", "b"], ["x", "y"])],
)
def test_designs_that_cannot_tell_give_nothing(sample, variant):
    assert variance_shares([1.0, 2.0], sample, variant, sample) == {}


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(HarnessError, match="NaN"):
        variance_shares([float("nan"), 1.0], ["a", "b"], ["x", "y"], ["a", "b"])
