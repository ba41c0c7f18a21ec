"""What is explained of the outputs: one class, the difference of two, or each in turn.

Such a target is a weight for each column, so that all targets of a sample are one matrix, and each
evaluation serves all of them. A function of the outputs, and a neuron, are targets too: see
`harness.explainers.models.derived`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.identity import sha256
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Neuron:
    """One number that a module says: the module's name, and the number's place in its output behind
    the axis of rows (one number an axis: token and unit; channel, row and column)."""

    layer: str
    place: int | tuple[int, ...]

    def __post_init__(self) -> None:
        for number in self.places:
            fields.whole("target Neuron", 0, place=number)

    @property
    def places(self) -> tuple[int, ...]:
        """The place, one number an axis."""
        return self.place if isinstance(self.place, tuple) else (self.place,)

    @property
    def name(self) -> str:
        """What the target is called."""
        return f"{self.layer}[{', '.join(map(str, self.places))}]"

    def of(self, said: Tensor, where: str) -> Tensor:
        """The neuron in what the module said (rows x ...), one number a row. Raises `HarnessError`,
        beginning with `where`, for a place that there is not."""
        shape, place = tuple(said.shape[1:]), self.places
        if len(place) != len(shape) or any(i >= n for i, n in zip(place, shape, strict=True)):
            raise HarnessError(
                f"{where} has {' x '.join(map(str, shape))} neurons, and none at "
                f"{', '.join(map(str, place))}"
            )
        rows: tuple[Any, ...] = (slice(None), *place)
        found: Tensor = said[rows]
        return found


Target = str | int | tuple[str | int, str | int] | Callable[[Any], Any] | Neuron | None


@dataclass(frozen=True, eq=False)
class Targets:
    """Names of targets and their weights, columns x targets."""

    names: tuple[str, ...]
    weights: NDArray[np.float64]


def name_of(function: Callable[[Any], Any]) -> str:
    """What a function is called where it is a target."""
    return str(getattr(function, "__name__", type(function).__name__))


def source_hash(function: Callable[[Any], Any]) -> str:
    """SHA-256 of a function's source, of its bytecode where it has none; of an object's class.

    Values that it has from outside of itself are no part of it.
    """
    written: Any = function if inspect.isroutine(function) else type(function)
    try:
        return sha256(inspect.getsource(written).encode())
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return sha256(repr(written).encode())
        constants = [repr(one) for one in code.co_consts if not inspect.iscode(one)]
        return sha256(code.co_code + repr((constants, code.co_names)).encode())


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


def _column(target: Target, columns: Sequence[str], row: NDArray[np.float64], where: str) -> int:
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
