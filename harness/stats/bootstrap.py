"""Resamples of whole clusters: how often each is drawn, a slice of the resamples at a time.

All resamples of 100,000 clusters at once would take gigabytes, and no statistic needs them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.stats.arrays import Floats

DRAWS = 2_000
HELD = 500_000  # numbers drawn at once
_KEPT = 4_000  # clusters up to which all draws are kept for the next statistic of the same clusters


def weights(count: int, seed: int, held: int = HELD) -> Iterator[Floats]:
    """How often each of `count` clusters is drawn, in slices (draws, count) of `DRAWS` resamples.

    A slice has at most `held` numbers, or one resample. The same seed gives the same resamples,
    however they are sliced.
    """
    step = max(1, held // count)
    if count <= _KEPT:
        kept = _all(count, seed)
        for start in range(0, DRAWS, step):
            yield kept[start : start + step].astype(float)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, DRAWS, step):
        yield _drawn(rng, min(step, DRAWS - start), count).astype(float)


@lru_cache(maxsize=2)
def _all(count: int, seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    step = max(1, HELD // count)
    sizes = [min(step, DRAWS - start) for start in range(0, DRAWS, step)]
    return np.concatenate([_drawn(rng, size, count).astype(np.uint16) for size in sizes])


def _drawn(rng: np.random.Generator, draws: int, count: int) -> NDArray[np.intp]:
    picks = rng.integers(count, size=(draws, count)) + np.arange(draws)[:, None] * count
    return np.bincount(picks.ravel(), minlength=draws * count).reshape(draws, count)
