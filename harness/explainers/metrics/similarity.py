"""How alike two attributions of the same units are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, -1 to 1. Equal values are alike in full, whatever they are; else
    an attribution that is the same for all units says nothing of their ranks, and counts 0."""
    import numpy as np
    from scipy.stats import spearmanr

    if np.array_equal(a, b):
        return 1.0
    a, b = levels(a), levels(b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


def levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values over their largest size, rounded to nine digits: equal ones are equal here, whatever
    the last bits of an arithmetic say."""
    import numpy as np

    largest = float(np.abs(values).max(initial=0.0))
    found: NDArray[np.float64] = np.round(values / largest, 9) if largest > 0 else values
    return found


def top(values: NDArray[np.float64], count: int) -> set[int]:
    """The places of the `count` largest sizes of values, the earlier of equal ones first."""
    import numpy as np

    return set(np.argsort(-np.abs(levels(values)), kind="stable")[:count].tolist())
