"""Whether the same concepts are found again: with another seed, or on other rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.explainers.concepts.spaces.space import Space
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TWO_SIDED = ("pca", "svd", "ica", "random")
"""Kinds for which a direction and its negative are the same concept."""


@dataclass(frozen=True)
class Matching:
    """Concepts of two spaces in pairs, (first, second), each concept in one pair at most, and the
    cosine of each pair's directions: their sum is the largest there is."""

    pairs: tuple[tuple[int, int], ...]
    cosines: tuple[float, ...]


def matching(first: Space, second: Space) -> Matching:
    """The best pairing of two spaces' directions (Hungarian algorithm). Directions of length 0 fit
    nothing. Raises `HarnessError` for spaces of different widths."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    if first.directions.shape[1] != second.directions.shape[1]:
        raise HarnessError(
            f"spaces of {first.directions.shape[1]} and {second.directions.shape[1]} numbers a row "
            "have no common directions"
        )
    # rounding takes the cosine of a direction with itself past 1 on some machines
    cosines = np.clip(_units(first.directions) @ _units(second.directions).T, -1.0, 1.0)
    if first.kind in _TWO_SIDED and second.kind in _TWO_SIDED:
        cosines = np.abs(cosines)
    rows, columns = linear_sum_assignment(-cosines)
    return Matching(
        tuple(zip(rows.tolist(), columns.tolist(), strict=True)),
        tuple(cosines[rows, columns].tolist()),
    )


def stability(spaces: Sequence[Space]) -> float:
    """The mean cosine of matched directions over all pairs of spaces, at most 1: 1 where all found
    the same. Raises `HarnessError` for fewer than two.

    As Fel et al. 2025, "Archetypal SAE: adaptive and stable dictionary learning for concept
    extraction in large vision models", section 3.
    """
    import numpy as np

    if len(spaces) < 2:
        raise HarnessError("stability is that of two spaces or more; fit with another seed")
    return float(
        np.mean([np.mean(matching(a, b).cosines) for a, b in itertools.combinations(spaces, 2)])
    )


def _units(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    found: NDArray[np.float64] = directions / np.where(lengths > 0, lengths, 1.0)
    return found
