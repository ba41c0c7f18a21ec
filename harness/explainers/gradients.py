"""One engine for all gradient methods and samples of a classifier.

A method names points of a sample's features and how their gradients are summed; it is a generator,
as perturbation methods are, so that points of many samples share forward and backward passes.
Points are laid out only when their batch comes, and only sums are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.explainers.models.model import Differentiable, transformed
from harness.explainers.models.networks import refuse_underivable
from harness.explainers.models.reading import Reading
from harness.plugins import blamed
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ask:
    """Gradients wanted: `point(i)` is the i-th of `count`, features x ..., and `weights` what each
    counts: one number a point, or weightings x points for several sums of the same gradients.
    `squares` asks for the weighted sums of squares as well."""

    point: Callable[[int], Tensor]
    weights: Sequence[float] | NDArray[np.float64]
    squares: bool = False

    @property
    def count(self) -> int:
        import numpy as np

        return int(np.shape(self.weights)[-1])


@dataclass(frozen=True, eq=False)
class Answer:
    """Weighted sums over the points: `gradients` (and `squares`) are targets x features x ..., in
    64 bits, behind an axis of weightings where the weights have one; `values` are the targets'
    values at each point, points x targets."""

    gradients: Tensor
    squares: Tensor | None
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slope:
    """What a gradient method may know of a sample.

    `x` are its features (features x ...), `empty` the same with every unit removed, `full_value`
    and `empty_value` the targets' values there, `range` the range of the outputs at both.
    """

    x: Tensor
    empty: Tensor
    full_value: NDArray[np.float64]
    empty_value: NDArray[np.float64]
    range: float
    seed: int


@dataclass(frozen=True, eq=False)
class Descended:
    """What a method found: values of targets x features x ... before they are reduced to units.

    `complete` is true where they are to sum to the full value less the empty one. `held` is for
    each target what no feature has of a value that is handed out whole, by what has it.
    """

    values: Tensor
    complete: bool = False
    notes: tuple[str, ...] = ()
    held: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Visit:
    """The network itself wanted: `found(model, reading, weights, output)` is called while the model
    is differentiated, and the method is told what it returns. `weights` are columns x targets."""

    found: Callable[[Differentiable, Reading, NDArray[np.float64], str], Any]


Descent = Generator[Ask, Answer, Descended]
VisitingDescent = Generator[Ask | Visit, Any, Descended]


@runtime_checkable
class Gradient(Protocol):
    """A method by gradients of inputs: entry point group `harness.explainers`. `reduce` is how its
    values are reduced to units where nobody says."""

    settings: Mapping[str, Any]
    reduce: str

    def descend(self, slope: Slope) -> VisitingDescent: ...


@dataclass(frozen=True, eq=False)
class Descending:
    """One method at work on one sample; `weights` are columns x targets."""

    reading: Reading
    weights: NDArray[np.float64]
    descent: VisitingDescent


@dataclass(eq=False)
class _Sums:
    """An answer in the making."""

    ask: Ask
    gradients: Any = 0
    squares: Any = 0
    values: list[Tensor] = field(default_factory=list)

    def add(self, gradients: Tensor, points: Sequence[int], values: Tensor) -> None:
        """Counts gradients at some of its points."""
        import numpy as np
        import torch

        mine = np.asarray(self.ask.weights, dtype=np.float64)[..., list(points)]
        weights = torch.as_tensor(mine, device=gradients.device)
        self.gradients = self.gradients + torch.tensordot(weights, gradients, dims=1)
        if self.ask.squares:
            self.squares = self.squares + torch.tensordot(weights, gradients**2, dims=1)
        self.values.append(values)

    def answer(self) -> Answer:
        """What the method is told."""
        import torch

        squares = self.squares if self.ask.squares else None
        return Answer(self.gradients, squares, torch.cat(self.values).numpy())


class GradientEngine:
    """Gradients of one `output` of one model; `tokens` is the most a batch may cost."""

    def __init__(self, model: Differentiable, output: str, tokens: int | None = None) -> None:
        self.model = model
        self.rows = 0
        self._output = output
        self._tokens = tokens or model.tokens

    def run(self, descending: Sequence[Descending]) -> list[tuple[Descended, int]]:
        """Each to its end: what it found, and how many forward and backward rows it took."""
        found: dict[int, Descended] = {}
        rows = [0] * len(descending)
        asked: dict[int, Ask] = {}
        for place, one in enumerate(descending):
            self._advance(place, one, None, asked, found)
        while asked:
            round_, asked = asked, {}
            sums = {place: _Sums(ask) for place, ask in round_.items()}
            for batch in self._batches({p: descending[p] for p in round_}, round_):
                self._pay(batch, descending, sums)
            for place, ask in round_.items():
                rows[place] += ask.count
                self._advance(place, descending[place], sums[place].answer(), asked, found)
        return [(found[place], rows[place]) for place in range(len(descending))]

    def _advance(
        self,
        place: int,
        one: Descending,
        answer: Answer | None,
        asked: dict[int, Ask],
        found: dict[int, Descended],
    ) -> None:
        with blamed("an explainer failed"):
            try:
                wanted = next(one.descent) if answer is None else one.descent.send(answer)
                while isinstance(wanted, Visit):
                    with self.model.evaluating():
                        seen = wanted.found(self.model, one.reading, one.weights, self._output)
                    wanted = one.descent.send(seen)
                asked[place] = wanted
            except StopIteration as end:
                found[place] = end.value

    def _batches(
        self, working: Mapping[int, Descending], asked: Mapping[int, Ask]
    ) -> list[list[tuple[int, int]]]:
        """Places and points of one shape, under the budget of tokens."""
        shapes: dict[Hashable, list[tuple[int, int]]] = {}
        costs: dict[Hashable, int] = {}
        for place, one in working.items():
            shape, cost = self.model.shape(one.reading)
            costs[shape] = cost
            shapes.setdefault(shape, []).extend((place, i) for i in range(asked[place].count))
        batches = []
        for shape, points in shapes.items():
            size = max(1, self._tokens // costs[shape])
            batches += [points[start : start + size] for start in range(0, len(points), size)]
        return batches

    def _pay(
        self,
        batch: Sequence[tuple[int, int]],
        descending: Sequence[Descending],
        sums: Mapping[int, _Sums],
    ) -> None:
        import torch

        readings = [descending[place].reading for place, _ in batch]
        points = torch.stack([sums[place].ask.point(i) for place, i in batch])
        weights = _stacked_weights([descending[place].weights for place, _ in batch])
        with (
            blamed(f"{self.model.name} failed on sample '{readings[0].sample}'"),
            self.model.evaluating(),
        ):
            points = points.detach().requires_grad_(True)
            outputs = transformed(
                self.model.forward(readings, points), self.model.scale, self._output, torch
            )
            weights = weights.to(outputs.device, outputs.dtype)
            values = torch.einsum("bc,bct->bt", outputs, weights)
            if not self.rows:
                refuse_underivable(values, self.model.name)
            last = values.shape[1] - 1
            gradients = [
                torch.autograd.grad(values[:, t].sum(), points, retain_graph=t < last)[0].double()
                for t in range(values.shape[1])
            ]
        stacked = torch.stack(gradients, dim=1)  # points x targets x features x ...
        if not torch.isfinite(stacked).all():
            raise HarnessError(
                f"{self.model.name}: a gradient at sample '{readings[0].sample}' is NaN or infinite"
            )
        values = values.detach().double().cpu()
        rows = itertools.groupby(range(len(batch)), lambda row: batch[row][0])
        for place, same in rows:
            mine = list(same)
            targets = descending[place].weights.shape[1]
            sums[place].add(
                stacked[mine, :targets], [batch[row][1] for row in mine], values[mine, :targets]
            )
        self.rows += len(batch)


def _stacked_weights(several: Sequence[NDArray[np.float64]]) -> Tensor:
    """Points x columns x targets; samples with fewer targets have zeros behind theirs."""
    import torch

    most = max(weights.shape[1] for weights in several)
    return torch.stack(
        [
            torch.nn.functional.pad(torch.as_tensor(weights), (0, most - weights.shape[1]))
            for weights in several
        ]
    )
