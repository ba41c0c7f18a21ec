"""What every statistic takes: arrays of numbers, ranges, and labels of clusters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError

Floats = NDArray[np.float64]
Bounds = tuple[float | None, float | None] | None
"""The lowest and highest possible value, `None` for an end that is open or for both."""

_ROUNDING = 1e-6  # a cosine in single precision may pass 1 by about 1e-7


def encode(labels: Sequence[Hashable], n: int) -> tuple[NDArray[np.intp], list[Any]]:
    """Labels as integers in order of first appearance, and the distinct labels."""
    if len(labels) != n:
        raise HarnessError(f"{n} values came with {len(labels)} labels; give one label a value")
    seen: dict[Any, int] = {}
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    codes = np.array([seen.setdefault(label, len(seen)) for label in plain], dtype=np.intp)
    return codes, list(seen)


def ends(bounds: Bounds) -> tuple[float, float]:
    """Both ends of a range, infinite where open."""
    low, high = (None, None) if bounds is None else bounds
    return -np.inf if low is None else float(low), np.inf if high is None else float(high)


def closed(bounds: Bounds) -> tuple[float, float] | None:
    """A range that has both ends, else `None`."""
    low, high = ends(bounds)
    return (low, high) if np.isfinite(low) and np.isfinite(high) and low < high else None


def clip(low: float, high: float, bounds: Bounds) -> tuple[float, float]:
    """Limits as plain floats, kept inside `bounds`."""
    lowest, highest = ends(bounds)
    return float(max(low, lowest)), float(min(high, highest))


def checked(values: ArrayLike, bounds: Bounds) -> Floats:
    """Finite values (n,) inside `bounds`, or `HarnessError`."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise HarnessError(f"values must be one-dimensional, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise HarnessError(
            "values hold NaN or infinity; leave out what could not be scored before averaging"
        )
    low, high = ends(bounds)
    if len(array) and (array.min() < low - _ROUNDING or array.max() > high + _ROUNDING):
        raise HarnessError(
            f"values lie in [{array.min():g}, {array.max():g}], outside the range "
            f"[{low:g}, {high:g}]; give the metric's range, or None where it is open"
        )
    return np.asarray(np.clip(array, low, high), dtype=float)


def plural(name: str, count: int) -> str:
    """`name` for one, its plural otherwise."""
    return name if count == 1 else f"{name}s"
