"""Models of a single output that is made of another model's: a function of its outputs, or a neuron
inside of it. Every method explains them as it explains a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.modules import first_tensor
from harness.explainers.models.model import Differentiable, Model, Scale, transformed
from harness.explainers.models.reading import Reading, Removal
from harness.explainers.targets import Neuron, Target, Targets, name_of
from harness.plugins import blamed
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def derived(model: Model, target: Neuron | Callable[[Any], Any], output: str) -> Model:
    """The model whose output is this target. A function is given what the model says of one input,
    a tensor of one number a class, on the scale that `output` names.

    Raises `HarnessError` for a neuron of a model that is a function, and of a module that there is
    not.
    """
    sloped = isinstance(model, Differentiable)
    if not isinstance(target, Neuron):
        return (_SlopedFunction if sloped else _Function)(model, target, output)
    module = getattr(model, "module", None)
    if module is None:
        raise HarnessError(f"{target.name} is inside a network, and {model.name} is a function")
    return (_SlopedNeuron if sloped else _OfNeuron)(model, target)


class _Derived:
    """All but what is made of the other model's outputs."""

    scale: Scale = "value"

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._target = model, name
        self.name, self.revision, self.tokens = model.name, model.revision, model.tokens

    def read(self, sample: Sample, removal: Removal) -> Reading:
        """As of the model itself."""
        found: Reading = self._model.read(sample, removal)
        return found

    def columns(self, reading: Reading) -> Sequence[str]:  # noqa: ARG002  the same for all
        """The target."""
        return (self._target,)

    def targets(self, reading: Reading, target: Target) -> Targets:  # noqa: ARG002
        """The target, whatever is asked."""
        import numpy as np

        return Targets((self._target,), np.ones((1, 1)))


class _Sloped:
    """What a model with gradients has besides."""

    _model: Any

    @property
    def module(self) -> Any:
        """As of the model itself."""
        return self._model.module

    def point(self, reading: Reading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """As of the model itself."""
        found: Tensor = self._model.point(reading, kept)
        return found

    def shape(self, reading: Reading) -> Any:
        """As of the model itself."""
        return self._model.shape(reading)

    def evaluating(self) -> Any:
        """As of the model itself."""
        return self._model.evaluating()


class _Function(_Derived):
    """A function of the outputs."""

    def __init__(self, model: Any, function: Callable[[Any], Any], output: str) -> None:
        super().__init__(model, name_of(function))
        self._function, self._output = function, output

    def outputs(self, left: Sequence[Any]) -> Iterable[NDArray[np.float64]]:
        """What the function says of each row: rows x 1."""
        import numpy as np
        import torch

        rows = np.asarray(list(self._model.outputs(left)), dtype=np.float64)
        given = torch.from_numpy(transformed(rows, self._model.scale, self._output, np))
        with blamed(f"target '{self._target}' failed"):
            values = [np.asarray(self._function(row), dtype=np.float64) for row in given]
        for value in values:
            if value.size != 1:
                raise HarnessError(
                    f"target '{self._target}' says {value.size} numbers of one input; a target is "
                    "one number"
                )
        return np.stack([value.reshape(1) for value in values])


class _SlopedFunction(_Sloped, _Function):
    """A function of the outputs of a model with gradients."""

    def forward(self, readings: Sequence[Any], points: Tensor) -> Tensor:
        """Points x 1. Raises `HarnessError` for a function without gradients."""
        import torch

        outputs = self._model.forward(readings, points)
        rows = transformed(outputs, self._model.scale, self._output, torch)
        with blamed(f"target '{self._target}' failed"):
            values = [self._function(row) for row in rows]
        for value in values:
            tensor = isinstance(value, torch.Tensor) and value.numel() == 1
            if not tensor or (rows.requires_grad and not value.requires_grad):
                raise HarnessError(
                    f"target '{self._target}' has no gradient: a step has none, nor has what is no "
                    "tensor; write it in torch, or use a perturbation method, such as kernel_shap"
                )
        return torch.stack([value.reshape(1) for value in values])


class _OfNeuron(_Derived):
    """One number that a module says."""

    def __init__(self, model: Any, neuron: Neuron) -> None:
        super().__init__(model, neuron.name)
        self._neuron = neuron
        try:
            self._part = model.module.get_submodule(neuron.layer)
        except AttributeError as error:
            raise HarnessError(f"{model.name} has no module '{neuron.layer}'") from error

    def outputs(self, left: Sequence[Any]) -> Iterable[NDArray[np.float64]]:
        """What the neuron says: rows x 1."""
        import torch

        with self._heard() as said:
            list(self._model.outputs(left))
        found: NDArray[np.float64] = torch.cat([self._of(one) for one in said]).double().numpy()
        return found

    @contextmanager
    def _heard(self) -> Iterator[list[Any]]:
        """Within the block, what the module says is appended to the list."""
        import torch

        said: list[Any] = []

        def keep(_: Any, __: Any, output: Any) -> Any:
            said.append(output)
            # The next module may write into it.
            return output.clone() if isinstance(output, torch.Tensor) else None

        hook = self._part.register_forward_hook(keep)
        try:
            yield said
        finally:
            hook.remove()

    def _of(self, said: Any) -> Tensor:
        """The neuron in what a module said: rows x 1."""
        found = first_tensor(said)
        where = f"module '{self._neuron.layer}' of {self.name}"
        if found is None:
            raise HarnessError(f"{where} says no tensor; name another module")
        one = self._neuron.of(found, where)[:, None]
        return one if one.requires_grad else one.detach().cpu()


class _SlopedNeuron(_Sloped, _OfNeuron):
    """A neuron of a model with gradients."""

    def forward(self, readings: Sequence[Any], points: Tensor) -> Tensor:
        """What the neuron says: points x 1."""
        with self._heard() as said:
            self._model.forward(readings, points)
        if len(said) != 1:
            raise HarnessError(
                f"module '{self._neuron.layer}' of {self.name} was used {len(said)} times in one "
                "pass and must be used once"
            )
        return self._of(said[0])
