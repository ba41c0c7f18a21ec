"""A named module of a model: what it says of samples, what follows when it says something else, and
the gradient by it.

Hooks live for one pass and leave the model as it was. Positions become rows of units in
`places.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from harness.explainers.attributions.modules import first_tensor, module_named
from harness.explainers.concepts.places import PLACES, Places, flattened, places_of, shaped
from harness.explainers.models.model import Differentiable, Model, transformed
from harness.explainers.models.reading import Reading, Removal
from harness.plugins import blamed
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Change = Callable[[int, "Tensor"], "Tensor"]
"""Gives new rows (units x width) for those of the n-th reading."""

# Nothing is ever removed here; a token or a number that every model has stands for that.
_NOTHING = Removal("baseline", 0)


class Layer:
    """The module `name` of a model, read at units of the kind `at`.

    `at`: token, word, sentence, paragraph, cls (the classification token), patch (a cell of a grid,
    or a token of an image) or pooled (the mean of all that is no special token). Raises
    `HarnessError` for a model that is a function, for a module that there is not, and for another
    `at`.
    """

    def __init__(self, model: Model, name: str, at: str, batch_tokens: int | None = None) -> None:
        if at not in PLACES:
            raise HarnessError(f"activations are taken at {', '.join(PLACES)}, not at '{at}'")
        self.model, self.name, self.at = model, name, at
        self.tokens = batch_tokens or model.tokens
        self.module = module_named(model, name, "concepts")
        self._where = f"module '{name}' of {model.name}"
        # A reading's units, as long as somebody keeps the reading.
        self._known: WeakKeyDictionary[Reading, tuple[tuple[int, ...], Places]]
        self._known = WeakKeyDictionary()

    def read(self, samples: Sequence[Sample]) -> list[Reading]:
        """Samples as the model sees them."""
        return [self.model.read(sample, _NOTHING) for sample in samples]

    def rows(self, readings: Sequence[Reading]) -> list[tuple[Places, Tensor]]:
        """The units of each reading, and their rows: units x width, on the CPU."""
        found: dict[int, tuple[Places, Tensor]] = {}
        for batch in self._batches(readings):
            _, said = self._asked([self._left(readings[i]) for i in batch], readings[batch[0]])
            for place, flat in zip(batch, flattened(said), strict=True):
                placed = self._places(readings[place], said)
                found[place] = (placed, placed.rows(flat).cpu())
        return [found[place] for place in range(len(readings))]

    def outputs(
        self, readings: Sequence[Reading], change: Change | None = None
    ) -> list[NDArray[np.float64]]:
        """Outputs of each reading, one array of columns each, as the model gives them; with
        `change`, when the module says the changed rows."""
        found: dict[int, NDArray[np.float64]] = {}
        for batch in self._batches(readings):
            lefts = [self._left(readings[i]) for i in batch]
            outputs, _ = self._asked(
                lefts, readings[batch[0]], self._changing(readings, batch, change)
            )
            found.update(zip(batch, outputs, strict=True))
        return [found[place] for place in range(len(readings))]

    def differentiable(
        self, readings: Sequence[Reading], change: Change
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Batch by batch the places of readings and their outputs (rows x columns) when the module
        says the changed rows, with gradients by whatever `change` depends on. The model's
        parameters have none."""
        import torch

        model = self._with_gradients()
        for batch in self._batches(readings, by_gradient=True):
            mine = [readings[i] for i in batch]
            points = torch.stack([model.point(reading) for reading in mine])
            changed = self._changing(readings, batch, change)

            def hook(_: Any, __: Any, output: Any, changed: Any = changed) -> Any:
                return _with_first(output, changed(first_of(output, self._where).detach(), 0))

            handle = self.module.register_forward_hook(hook)
            try:
                with model.evaluating():
                    yield batch, model.forward(mine, points)
            finally:
                handle.remove()

    def _with_gradients(self) -> Differentiable:
        if not isinstance(self.model, Differentiable):
            raise HarnessError(f"{self.model.name} has no gradients; use ablation or Sobol indices")
        return self.model

    def gradients(
        self,
        readings: Sequence[Reading],
        weights: Sequence[NDArray[np.float64]],
        output: str,
    ) -> list[tuple[Places, Tensor, Tensor]]:
        """Each reading's units, their rows (units x width), and the gradient of each target by them
        (targets x units x width): of outputs on the scale that `output` names, times `weights`,
        columns x targets. Raises `HarnessError` for a model without gradients, and for a layer that
        no target depends on."""
        import torch

        model = self._with_gradients()
        found: dict[int, tuple[Places, Tensor, Tensor]] = {}
        for batch in self._batches(readings, by_gradient=True):
            mine = [readings[i] for i in batch]
            points = torch.stack([model.point(reading) for reading in mine])
            with blamed(f"{model.name} failed on sample '{mine[0].sample}'"), model.evaluating():
                with self._leaf() as leaves:
                    scaled = transformed(model.forward(mine, points), model.scale, output, torch)
                leaf = self._one(leaves, len(batch), mine[0])
                by_target = _gradients(scaled, leaf, [weights[i] for i in batch], self._where)
            flat = flattened(leaf.detach())
            for row, place in enumerate(batch):
                placed = self._places(readings[place], leaf)
                rows = placed.rows(flat[row])
                sums = [placed.sums(flattened(one[row : row + 1])[0]) for one in by_target]
                targets = weights[place].shape[1]
                found[place] = (placed, rows.cpu(), torch.stack(sums[:targets]).cpu())
        return [found[place] for place in range(len(readings))]

    def _places(self, reading: Reading, said: Tensor) -> Places:
        """The units of one sample; a language model's answer is read but for its last token."""
        shape = tuple(said.shape[1:])
        known = self._known.get(reading)
        if known is None or known[0] != shape:
            answer = list(self.model.columns(reading))[:-1] if hasattr(reading, "answer") else []
            known = (shape, places_of(reading, shape, self.at, self._where, answer))
            self._known[reading] = known
        return known[1]

    # --- passes ---------------------------------------------------------------------------

    @staticmethod
    def _left(reading: Reading) -> Any:
        import numpy as np

        return reading.left(np.ones(len(reading.fixed), dtype=bool))

    def _batches(
        self, readings: Sequence[Reading], by_gradient: bool = False
    ) -> Iterator[list[int]]:
        """Places of readings of one shape, under the budget of tokens."""
        import numpy as np

        shapes: dict[Any, list[int]] = {}
        costs: dict[Any, int] = {}
        for place, reading in enumerate(readings):
            if by_gradient:
                shape, cost = self.model.shape(reading)  # type: ignore[attr-defined]
            else:
                size = reading.sizes(np.ones((1, len(reading.fixed)), dtype=bool))[0]
                shape, cost = size.shape, size.tokens
            costs[shape] = cost
            shapes.setdefault(shape, []).append(place)
        for shape, places in shapes.items():
            most = max(1, self.tokens // max(1, costs[shape]))
            for start in range(0, len(places), most):
                yield places[start : start + most]

    def _changing(
        self, readings: Sequence[Reading], batch: Sequence[int], change: Change | None
    ) -> Callable[[Tensor, int], Tensor] | None:
        if change is None:
            return None

        def changed(said: Tensor, start: int) -> Tensor:
            import torch

            flat, new = flattened(said), []
            for row, one in enumerate(flat):
                place = batch[start + row]
                placed = self._places(readings[place], said)
                rows = placed.rows(one)
                new.append(one + placed.spread((change(place, rows) - rows).to(one)))
            return shaped(torch.stack(new), said)

        return changed

    def _asked(
        self,
        lefts: Sequence[Any],
        first: Reading,
        changed: Callable[[Tensor, int], Tensor] | None = None,
    ) -> tuple[list[NDArray[np.float64]], Tensor]:
        """The outputs of a batch and what the module said of it, samples x ...."""
        import torch

        said: list[Tensor] = []

        def hook(_: Any, __: Any, output: Any) -> Any:
            found = first_of(output, self._where)
            start = sum(len(one) for one in said)
            said.append(found.detach().clone())  # the next module may write into it
            return None if changed is None else _with_first(output, changed(found, start))

        handle = self.module.register_forward_hook(hook)
        try:
            with blamed(f"{self.model.name} failed on sample '{first.sample}'"):
                outputs = list(self.model.outputs(lefts))
        finally:
            handle.remove()
        self._check(said, len(lefts), first)
        return outputs, torch.cat(said)

    @contextmanager
    def _leaf(self) -> Iterator[list[Tensor]]:
        """Within the block the module's output begins the graph; what is below is not gone through
        again."""
        leaves: list[Tensor] = []

        def hook(_: Any, __: Any, output: Any) -> Any:
            found = first_of(output, self._where)
            leaves.append(found.detach().clone().requires_grad_(True))
            return _with_first(output, leaves[-1].clone())

        handle = self.module.register_forward_hook(hook)
        try:
            yield leaves
        finally:
            handle.remove()

    def _one(self, leaves: list[Tensor], count: int, first: Reading) -> Tensor:
        self._check(leaves, count, first)
        if len(leaves) != 1:
            raise HarnessError(f"{self._where} was used {len(leaves)} times in one pass")
        return leaves[0]

    def _check(self, said: Sequence[Tensor], count: int, first: Reading) -> None:
        shapes = {tuple(one.shape[1:]) for one in said}
        if sum(len(one) for one in said) != count or len(shapes) > 1:
            raise HarnessError(
                f"{self._where} was used {len(said)} times for {count} inputs as sample "
                f"'{first.sample}'; concepts are found in modules that are used once"
            )


@contextmanager
def hooked(module: Any) -> Iterator[list[Any]]:
    """Within the block, what the module says is appended to the list, before anything is written
    into it."""
    said: list[Any] = []

    def hook(_: Any, __: Any, output: Any) -> Any:
        said.append(output)
        found = first_tensor(output)
        return None if found is None else _with_first(output, found.clone())

    handle = module.register_forward_hook(hook)
    try:
        yield said
    finally:
        handle.remove()


def first_of(output: Any, where: str) -> Tensor:
    """The tensor that a module says first. Raises `HarnessError` where it says none."""
    found: Tensor | None = first_tensor(output)
    if found is None:
        raise HarnessError(f"{where} says no tensor; name another module")
    return found


def _with_first(output: Any, new: Tensor) -> Any:
    """A module's output with its first tensor replaced."""
    if isinstance(output, tuple):
        named = hasattr(output, "_fields")
        return type(output)(new, *output[1:]) if named else (new, *output[1:])
    return [new, *output[1:]] if isinstance(output, list) else new


def _gradients(
    scaled: Tensor, leaf: Tensor, weights: Sequence[NDArray[np.float64]], where: str
) -> list[Tensor]:
    """For each target the gradient by the leaf; samples with fewer targets have zeros behind."""
    import torch

    most = max(one.shape[1] for one in weights)
    found = []
    for target in range(most):
        value: Any = 0
        for row, one in enumerate(weights):
            if target < one.shape[1]:
                column = torch.as_tensor(one[:, target]).to(scaled.device, scaled.dtype)
                value = value + scaled[row] @ column
        gradient = None
        if value.requires_grad:
            kept = target < most - 1
            (gradient,) = torch.autograd.grad(value, leaf, retain_graph=kept, allow_unused=True)
        if gradient is None:
            raise HarnessError(f"no target depends on {where}; name another layer")
        found.append(gradient)
    return found
