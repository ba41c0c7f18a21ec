"""Rows of activations, from memory or from disk: all that a space needs to be fitted.

A fit sees rows in batches only, so it never holds all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4096
"""Rows that are held at once where nobody says otherwise."""


@runtime_checkable
class Rows(Protocol):
    """Rows of numbers, `width` each."""

    @property
    def width(self) -> int: ...

    def __len__(self) -> int: ...

    def batches(self, size: int = BATCH, seed: int | None = None) -> Iterator[NDArray[Any]]:
        """All rows once, in batches of `size` (the last may be smaller): in their order, or with a
        `seed` in an order drawn from it."""
        ...


class InMemory:
    """An array, rows x width, as rows."""

    def __init__(self, array: NDArray[Any]) -> None:
        if array.ndim != 2 or not array.size:
            raise HarnessError(
                f"activations are an array of rows x width, not of the shape {array.shape}"
            )
        self._array = array

    @property
    def width(self) -> int:
        """Numbers a row."""
        return int(self._array.shape[1])

    def __len__(self) -> int:
        return len(self._array)

    def batches(self, size: int = BATCH, seed: int | None = None) -> Iterator[NDArray[Any]]:
        """As `Rows.batches`."""
        import numpy as np

        count = len(self._array)
        order = None if seed is None else np.random.default_rng(seed).permutation(count)
        for start in range(0, count, size):
            place = slice(start, start + size)
            yield self._array[place] if order is None else self._array[order[place]]


def rows_of(given: Any) -> Rows:
    """Rows of whatever was given: an array, a tensor, activations."""
    import numpy as np

    if isinstance(given, Rows):
        return given
    return InMemory(np.asarray(given.detach().cpu() if hasattr(given, "detach") else given))


def some(rows: Rows, most: int, seed: int) -> NDArray[np.float64]:
    """All rows, or `most` of them drawn without replacement, in their order; in 64 bits."""
    import numpy as np

    count = len(rows)
    if count <= most:
        return np.concatenate([batch.astype(np.float64) for batch in rows.batches()])
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).choice(count, most, replace=False)] = True
    found, start = [], 0
    for batch in rows.batches():
        found.append(batch[chosen[start : start + len(batch)]].astype(np.float64))
        start += len(batch)
    return np.concatenate(found)


def moments(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the rows (width) and their covariance (width x width; divided by the number of
    rows), exactly, in one pass that holds one batch.

    Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1: sums
    of products around the mean, never raw ones, so that a large mean costs no digits.
    """
    import numpy as np

    count, mean = 0, np.zeros(rows.width)
    products = np.zeros((rows.width, rows.width))
    for batch in rows.batches():
        exact = batch.astype(np.float64)
        own = exact.mean(axis=0)
        centred = exact - own
        gap, total = own - mean, count + len(exact)
        products += centred.T @ centred + np.outer(gap, gap) * (count * len(exact) / total)
        mean += gap * (len(exact) / total)
        count = total
    if not np.isfinite(products).all():
        raise HarnessError("the activations hold what is NaN or infinite, so nothing fits them")
    return mean, products / count
