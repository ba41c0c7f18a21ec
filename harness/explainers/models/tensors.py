"""Torch modules and functions as they come, on tensors: one input or several at once.

Every entry of an input is a feature, or with `channels` every place with all its channels. Token
ids are inputs too: they are replaced, and with `embedding` their embeddings have gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.classifiers.distribution import TOLERANCE
from harness.classifiers.networks import evaluating, fingerprint
from harness.explainers.models.embeddings import embedded
from harness.explainers.models.model import NO_PROBABILITIES, Scale
from harness.explainers.models.networks import differentiating
from harness.explainers.models.reading import ArrayPart, Removal, Size
from harness.identity import sha256
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Channels = Literal["first", "last"]


@dataclass(frozen=True, eq=False)
class TensorReading:
    """One example: its inputs, what removed places become, and its own further arguments."""

    sample: str
    input: str
    parts: tuple[ArrayPart, ...]
    fixed: NDArray[np.bool_]
    fillers: tuple[NDArray[Any], ...]
    row: int
    notes: tuple[str, ...] = ()

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """Examples of one shape share a batch; a token is 256 numbers."""
        shapes = tuple((part.array.shape, str(part.array.dtype)) for part in self.parts)
        return [Size(shapes, _tokens(self))] * len(kept)

    def left(self, kept: NDArray[np.bool_]) -> tuple[int, list[NDArray[Any]]]:
        """The example's place, and its inputs, channels last."""
        import numpy as np

        found, start = [], 0
        for part, filler in zip(self.parts, self.fillers, strict=True):
            mask = kept[start : start + part.features].reshape(part.array.shape[:-1])
            start += part.features
            found.append(np.where(mask[..., np.newaxis], part.array, filler))
        return self.row, found


class TensorModel:
    """A module, or a function, of tensors that all have one example a row.

    - `call`: given tensors as positional arguments, or by name where `inputs` is a mapping; gives
      rows x classes, or one number a row: a tensor, the first of a tuple, or `logits` of an object
      or a mapping (or its only tensor)
    - `scale`: what the outputs are; logits of a softmax unless said otherwise. Probabilities are
      checked: none below 0, and of each row the sum is 1 (a single one is at most 1)
    - `arguments`: further arguments, after the inputs or by name. A tensor is taken to have one row
      an example, as in Captum's `additional_forward_args`
    - `channels`: whether an input's second or last axis holds channels of one place
    - `embedding`: the name of the module that embeds token ids, for gradients
    - `names`: of the entries of a row (columns of a table)
    - `single`: the one output is the log-odds of the second of two classes
    - `samples`: what the rows were made of, in their order
    - `baseline_of`: what a baseline becomes for a sample, where it is given in the sample's units
    """

    def __init__(
        self,
        call: Callable[..., Any],
        inputs: Mapping[str, Tensor] | Sequence[Tensor],
        *,
        scale: Scale = "softmax",
        classes: Sequence[str] = (),
        arguments: Mapping[str, Any] | Sequence[Any] = (),
        channels: Channels | None = None,
        embedding: str | None = None,
        names: Sequence[str] = (),
        single: bool = False,
        samples: Sequence[Sample] = (),
        baseline_of: Callable[[Sample, Any], Any] | None = None,
        tokens: int = 4096,
    ) -> None:
        import torch

        self.module = call if isinstance(call, torch.nn.Module) else None
        self.name = f"'{getattr(call, '__qualname__', type(call).__qualname__)}'"
        self._call, self.tokens = call, tokens
        self.scale: Scale = "sigmoid" if single else scale
        self._by_name = list(inputs) if isinstance(inputs, Mapping) else None
        self._inputs = list(inputs.values() if isinstance(inputs, Mapping) else inputs)
        self._arguments, self.channels, self._names = arguments, channels, tuple(names)
        self._table = _embedding(call, embedding, self._inputs, self.name)
        self._device = _device(self.module if self._table is None else self._table)
        examples = {len(tensor) for tensor in self._inputs}
        if len(examples) != 1:
            raise HarnessError(
                f"{self.name}: its inputs have {' and '.join(map(str, sorted(examples)))} rows; "
                "each must have one row an example"
            )
        (self.examples,) = examples
        if not self.examples:
            raise HarnessError(
                f"{self.name}: its inputs have no rows, so there is nothing to explain"
            )
        self.revision = sha256(fingerprint(call)) if self.module is not None else ""
        self._classes, self._single = tuple(classes), single
        self._baseline_of = baseline_of
        self.samples = list(samples) or [Sample(str(row), ()) for row in range(self.examples)]
        self._rows = {sample.id: row for row, sample in enumerate(self.samples)}

    def columns(self, reading: TensorReading) -> Sequence[str]:
        """The classes; their numbers where nobody named them."""
        if not self._classes:
            row = self.outputs([(reading.row, [part.array for part in reading.parts])])[0]
            self._classes = tuple(str(place) for place in range(len(row)))
        return self._classes

    def read(self, sample: Sample, removal: Removal) -> TensorReading:
        """An example by its place. Raises `HarnessError` where entries would have to be deleted,
        and for a baseline of another shape."""
        import numpy as np

        row = self._rows[sample.id]
        arrays = [self.placed(tensor[row].detach().cpu().numpy()) for tensor in self._inputs]
        hashed = sha256(b"".join(array.tobytes() for array in arrays))
        fixed = np.zeros(sum(math.prod(a.shape[:-1]) for a in arrays), dtype=bool)
        return TensorReading(
            sample.id,
            hashed,
            tuple(ArrayPart(array, self._names) for array in arrays),
            fixed,
            self._fillers(arrays, removal, row),
            row,
        )

    def outputs(self, left: Sequence[tuple[int, list[NDArray[Any]]]]) -> NDArray[np.float64]:
        """Outputs, rows x columns."""
        import numpy as np
        import torch

        stacked = [
            self._shaped(torch.from_numpy(np.stack([inputs[place] for _, inputs in left])), place)
            for place in range(len(self._inputs))
        ]
        context = nullcontext() if self.module is None else evaluating(self.module)
        with context, torch.no_grad():
            found = self._called(stacked, [row for row, _ in left])
        outputs: NDArray[np.float64] = found.detach().double().cpu().numpy()
        if self.scale == "probability":
            _check_probabilities(outputs, self.name)
        return outputs

    def _called(self, inputs: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        import torch

        def mine(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.ndim and len(value) == self.examples:
                return value[list(rows)].to(self._device)
            return value

        given = [tensor.to(self._device) for tensor in inputs]
        named: dict[str, Any] = {}
        if self._by_name is not None:
            named, given = dict(zip(self._by_name, given, strict=True)), []
        if isinstance(self._arguments, Mapping):
            named |= {name: mine(value) for name, value in self._arguments.items()}
        else:
            given += [mine(value) for value in self._arguments]
        found = _outputs(self._call(*given, **named), self.name)
        if found.ndim == 1:
            found = found[:, None]
        if found.ndim != 2 or len(found) != len(rows):
            raise HarnessError(
                f"{self.name} returned {' x '.join(map(str, found.shape))} numbers for {len(rows)} "
                "examples; outputs are rows x classes"
            )
        return torch.cat([-found, found], dim=1) if self._single else found

    def placed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Channels last; an axis of one channel where each entry is by itself."""
        import numpy as np

        if self.channels is None or array.ndim < 2:
            return array[..., np.newaxis]
        return np.moveaxis(array, 0, -1) if self.channels == "first" else array

    def _shaped(self, stacked: Tensor, place: int) -> Tensor:
        """What the call takes as its input at `place`, of rows x places x channels."""
        if self.channels is None or self._inputs[place].ndim < 3:
            return stacked[..., 0]
        return stacked.movedim(-1, 1) if self.channels == "first" else stacked

    def _fillers(
        self, arrays: Sequence[NDArray[Any]], removal: Removal, row: int
    ) -> tuple[NDArray[Any], ...]:
        import numpy as np

        if removal.kind == "delete":
            raise HarnessError(f"{self.name} takes tensors, of which nothing can be deleted")
        given: Any = 0 if removal.kind == "mask" else removal.baseline
        if self._baseline_of is not None and removal.kind == "baseline":
            given = self._baseline_of(self.samples[row], given)
        several = isinstance(given, (tuple, list)) and len(given) == len(arrays) > 1
        fillers = []
        for place, array in enumerate(arrays):
            one = given[place] if several else given
            one = one.detach().cpu().numpy() if hasattr(one, "detach") else np.asarray(one)
            shape = self._inputs[place].shape
            if one.ndim == len(shape):
                one = one[row] if len(one) == self.examples else one[0]
            try:
                filler = np.broadcast_to(one, tuple(shape[1:])).astype(array.dtype)
            except ValueError as error:
                raise HarnessError(
                    f"{self.name}: the baseline of {' x '.join(map(str, one.shape))} does not fit "
                    f"an input of {' x '.join(map(str, shape[1:]))}"
                ) from error
            fillers.append(self.placed(filler))
        return tuple(fillers)

    # --- gradients ------------------------------------------------------------------------

    def point(self, reading: TensorReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The entries, places x channels, of all inputs one after another; with `embedding`, the
        embeddings of the ids. Raises `HarnessError` for whole numbers without one."""
        import torch

        arrays = [p.array for p in reading.parts] if kept is None else reading.left(kept)[1]
        tensors = [torch.from_numpy(array) for array in arrays]
        if self._table is not None:
            with torch.no_grad():
                found: Tensor = self._table(tensors[0][..., 0].to(self._device)).detach()
            return found
        if not all(tensor.is_floating_point() for tensor in tensors):
            raise HarnessError(
                f"{self.name} takes whole numbers, which have no gradients; name the module that "
                "embeds them as 'embedding', or use a perturbation method"
            )
        widths = {tensor.shape[-1] for tensor in tensors}
        if len(widths) > 1:
            raise HarnessError(f"{self.name}: inputs of different channels have no common gradient")
        return torch.cat([tensor.reshape(-1, tensor.shape[-1]) for tensor in tensors])

    def forward(self, readings: Sequence[TensorReading], points: Tensor) -> Tensor:
        """Outputs, points x columns."""
        import numpy as np
        import torch

        rows = [reading.row for reading in readings]
        if self._table is not None:
            ids = torch.from_numpy(np.stack([r.parts[0].array[..., 0] for r in readings]))
            with embedded(self.module, points, self._table):
                return self._called([ids], rows)
        inputs, start = [], 0
        for place, part in enumerate(readings[0].parts):
            mine = points[:, start : start + part.features]
            start += part.features
            inputs.append(self._shaped(mine.reshape(len(points), *part.array.shape), place))
        return self._called(inputs, rows)

    def shape(self, reading: TensorReading) -> tuple[Any, int]:
        """Readings of one shape share a batch of gradients; and what one of them costs."""
        return tuple(part.array.shape for part in reading.parts), _tokens(reading)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode, with gradients of inputs alone."""
        import torch

        if self.module is not None:
            return differentiating(self.module)
        context: AbstractContextManager[None] = torch.enable_grad()
        return context


def _outputs(said: Any, name: str) -> Tensor:
    """The tensor of outputs in whatever a module or a function says."""
    import torch

    found = said
    if isinstance(said, Mapping):
        tensors = [value for value in said.values() if isinstance(value, torch.Tensor)]
        found = said.get("logits", tensors[0] if len(tensors) == 1 else None)
    elif hasattr(said, "logits"):
        found = said.logits
    elif isinstance(said, tuple) and said and isinstance(said[0], torch.Tensor):
        found = said[0]
    try:
        return torch.as_tensor(found)
    except (RuntimeError, TypeError, ValueError) as error:
        of = f" of {', '.join(map(str, said))}" if isinstance(said, Mapping) else ""
        raise HarnessError(
            f"{name} returned a {type(said).__name__}{of}, in which its outputs cannot be told; "
            "wrap it in a module that returns rows x classes"
        ) from error


def _check_probabilities(rows: NDArray[np.float64], name: str) -> None:
    """Raises `HarnessError` where a row is no distribution; a single column may be any share."""
    import numpy as np

    low, sums = rows.min(axis=1), rows.sum(axis=1)
    wrong = (low < 0) | (sums > 1 + TOLERANCE)
    if rows.shape[1] > 1:
        wrong |= sums < 1 - TOLERANCE
    if (wrong & np.isfinite(sums)).any():
        row = rows[int(wrong.argmax())]
        shown = ", ".join(f"{value:.4g}" for value in row[:5])
        raise HarnessError(f"{name} returned no probabilities ({shown}); {NO_PROBABILITIES}")


def _tokens(reading: TensorReading) -> int:
    return 1 + sum(part.array.size for part in reading.parts) // 256


def _device(module: Any) -> Any:
    """Where what a module is given belongs: a network may lie on several devices."""
    import torch

    first = None if module is None else next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _embedding(call: Any, name: str | None, inputs: Sequence[Any], where: str) -> Any:
    if name is None:
        return None
    try:
        found = call.get_submodule(name)
    except AttributeError as error:
        raise HarnessError(f"{where} has no module '{name}' that could embed ids") from error
    if len(inputs) != 1 or inputs[0].is_floating_point():
        raise HarnessError(f"{where}: 'embedding' is for a single input of token ids")
    return found
