"""Values of features (and of their channels) become values of units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.explainers.division import Division

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REDUCTIONS = ("sum", "l2", "mean", "max_abs")


def reduced(values: NDArray[np.float64], division: Division, reduce: str) -> NDArray[np.float64]:
    """`values` are targets x features, or targets x features x channels; gives targets x players.

    - `sum`: over all entries of the unit; keeps completeness
    - `l2`: the root of the sum of all entries' squares
    - `mean`: over the unit's features, of each one's sum over its channels
    - `max_abs`: of its features, the sum over channels that is furthest from zero, with its sign
    """
    import numpy as np

    flat = values.reshape(*values.shape[:2], -1)
    features = np.sqrt((flat**2).sum(axis=2)) if reduce == "l2" else flat.sum(axis=2)
    players, owner = len(division.players), division.unit_of
    mine = owner >= 0
    found = np.zeros((len(values), players))
    for row, target in zip(found, features, strict=True):
        if reduce == "max_abs":
            order = np.argsort(np.abs(target[mine]), kind="stable")  # the largest is written last
            row[owner[mine][order]] = target[mine][order]
            continue
        weights = target[mine] ** 2 if reduce == "l2" else target[mine]
        row += np.bincount(owner[mine], weights, players)
    if reduce == "l2":
        return np.sqrt(found)
    if reduce == "mean":
        return found / np.bincount(owner[mine], minlength=players)
    return found
