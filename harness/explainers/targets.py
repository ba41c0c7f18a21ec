"""What is explained of the outputs: one class, the difference of two, or each in turn.

A target is a weight for each column, so that all targets of a sample are one matrix, and each
evaluation serves all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Target = str | int | tuple[str | int, str | int] | None


@dataclass(frozen=True, eq=False)
class Targets:
    """Names of targets and their weights, columns x targets."""

    names: tuple[str, ...]
    weights: NDArray[np.float64]


def resolve(
    target: Target, columns: Sequence[str], row: NDArray[np.float64], where: str
) -> Targets:
    """The targets that `target` names for a sample whose outputs are `row`.

    - a class, by name or place; `predicted` (the default): the one with the largest output
    - `runner_up`: the second largest; `all`: every class
    - a pair of these: the first less the second (a contrast), written `first - second`

    Raises `HarnessError` for a class that there is not, and for a class held against itself.
    """
    import numpy as np

    if target == "all":
        return Targets(tuple(columns), np.eye(len(columns)))
    if isinstance(target, (tuple, list)):
        if len(target) != 2:
            raise HarnessError(f"{where}: a contrast is of two classes, not {len(target)}")
        first, second = (_column(one, columns, row, where) for one in target)
        if first == second:
            raise HarnessError(f"{where}: '{columns[first]}' is held against itself")
        weights = np.zeros((len(columns), 1))
        weights[first], weights[second] = 1.0, -1.0
        return Targets((f"{columns[first]} - {columns[second]}",), weights)
    place = _column(target, columns, row, where)
    return Targets((columns[place],), np.eye(len(columns))[:, [place]])


def _column(
    target: str | int | None, columns: Sequence[str], row: NDArray[np.float64], where: str
) -> int:
    import numpy as np

    # Names come first: a class may be called "predicted", or "1".
    if isinstance(target, str) and target in columns:
        return list(columns).index(target)
    order = np.argsort(-row, kind="stable")
    if target is None or target == "predicted":
        return int(order[0])
    if target == "runner_up":
        if len(columns) < 2:
            raise HarnessError(f"{where}: with a single output there is no runner-up")
        return int(order[1])
    if isinstance(target, int) and not isinstance(target, bool):
        if 0 <= target < len(columns):
            return target
        raise HarnessError(f"{where}: target {target}, but outputs are 0 to {len(columns) - 1}")
    raise HarnessError(
        f"{where}: there is no class '{target}'; targets are {', '.join(columns[:20])}, predicted, "
        "runner_up, all, or a pair of these"
    )
