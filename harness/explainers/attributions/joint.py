"""Several descents as one, so that what they ask for shares forward and backward passes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.explainers.gradients import Answer, Ask, Descended, Visit, VisitingDescent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def together(
    descents: Sequence[VisitingDescent],
) -> Generator[Ask | Visit, Any, list[Descended]]:
    """Several descents, round by round in one ask: each weighs only its own points."""
    found: dict[int, Descended] = {}
    asks: dict[int, Ask] = {}

    def advance(place: int, answer: Answer | None) -> Generator[Visit, Any, None]:
        descent = descents[place]
        try:
            wanted = next(descent) if answer is None else descent.send(answer)
            while isinstance(wanted, Visit):
                wanted = descent.send((yield wanted))
            asks[place] = wanted
        except StopIteration as end:
            found[place] = end.value

    for place in range(len(descents)):
        yield from advance(place, None)
    while asks:
        round_, asks = asks, {}
        joint = _Joint(list(round_.values()))
        answer = yield joint.ask
        for place, mine in zip(round_, joint.answers(answer), strict=True):
            yield from advance(place, mine)
    return [found[place] for place in range(len(descents))]


class _Joint:
    """Several asks as one."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        import numpy as np

        self._asks = asks
        self._points = np.cumsum([0, *(ask.count for ask in asks)])
        self._weights = [np.atleast_2d(np.asarray(ask.weights, dtype=float)) for ask in asks]
        self._rows = np.cumsum([0, *(len(weights) for weights in self._weights)])
        joint = np.zeros((self._rows[-1], self._points[-1]))
        for place, weights in enumerate(self._weights):
            joint[self._of(self._rows, place), self._of(self._points, place)] = weights
        self.ask = Ask(self._point, joint, any(ask.squares for ask in asks))

    @staticmethod
    def _of(edges: NDArray[Any], place: int) -> slice:
        return slice(int(edges[place]), int(edges[place + 1]))

    def _point(self, number: int) -> Tensor:
        import numpy as np

        owner = int(np.searchsorted(self._points, number, side="right")) - 1
        return self._asks[owner].point(number - int(self._points[owner]))

    def answers(self, answer: Answer) -> Iterator[Answer]:
        """What each of them is told."""
        import numpy as np

        for place, ask in enumerate(self._asks):
            rows: Any = self._of(self._rows, place)
            rows = rows if np.ndim(ask.weights) > 1 else rows.start
            squares = answer.squares[rows] if ask.squares and answer.squares is not None else None
            yield Answer(
                answer.gradients[rows], squares, answer.values[self._of(self._points, place)]
            )
