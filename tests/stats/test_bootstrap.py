"""Resamples of clusters: the same however they are sliced, and never held all at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from harness.stats import agreement, bootstrap, intervals


@pytest.mark.parametrize("count", [25, 5_000])
def test_slices_hold_the_same_resamples_whatever_their_size(count):
    whole = np.random.default_rng(7).integers(count, size=(bootstrap.DRAWS, count))
    for held in (count, 40 * count):
        first = next(iter(bootstrap.weights(count, 7, held)))
        assert len(first) == held // count
        expected = [np.bincount(row, minlength=count) for row in whole[: len(first)]]
        assert np.array_equal(first, expected)


def test_all_resamples_are_given_once_and_each_draws_as_many_clusters_as_there_are():
    slices = list(bootstrap.weights(30, 1, 10_000))
    assert sum(map(len, slices)) == bootstrap.DRAWS
    assert all(np.all(w.sum(axis=1) == 30) for w in slices)


def test_means_of_a_hundred_thousand_clusters_take_little_memory():
    values = np.random.default_rng(0).random(100_000)
    tracemalloc.start()
    found = intervals.mean(values, range(100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
    assert 0.002 < found.high - found.low < 0.005


def test_a_slice_of_resampled_statistics_stays_small():
    labels = np.arange(20_000) % 2
    scores = np.random.default_rng(1).random(20_000) + labels
    sliced = []

    def watched(weights):
        sliced.append(weights.size)
        return weights @ scores / weights.sum(axis=1)

    intervals.of_statistic(watched, range(20_000))
    assert max(sliced) <= bootstrap.HELD
    assert agreement.auc(labels[:400], scores[:400]).low is not None
