"""What a method sees that works inside a network: its modules, and one sample's way through them.

For methods that change how a network differentiates (DeepLift, LRP, guided back-propagation) or
read what its layers say (attention, Grad-CAM, lenses).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.explainers.gradients import Descended, Slope
from harness.explainers.models.model import Differentiable, transformed
from harness.explainers.models.reading import Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Inside:
    """One sample and the network. `weights` are columns x targets of the outputs on the scale that
    `output` names."""

    model: Differentiable
    reading: Reading
    slope: Slope
    weights: NDArray[np.float64]
    output: str

    def network(self) -> Any:
        """A torch module from points (rows x features x ...) to the targets' values (rows x
        targets). The classifier's own module is its attribute `inner`, so that hooks reach it."""
        import torch

        inside = self

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = inside.model.module

            def forward(self, points: torch.Tensor) -> torch.Tensor:
                outputs = inside.model.forward([inside.reading] * len(points), points)
                found = transformed(outputs, inside.model.scale, inside.output, torch)
                weights = torch.as_tensor(inside.weights).to(found.device, found.dtype)
                values: torch.Tensor = found @ weights
                return values

        return Network()


@runtime_checkable
class Inspection(Protocol):
    """A method that works inside a network: entry point group `harness.explainers`.

    It is called within `model.evaluating()`, with gradients by the features alone, and leaves the
    network as it was. Raises `HarnessError` for a network that it does not support: what it gives
    must be what its name says.
    """

    settings: Mapping[str, Any]
    reduce: str

    def attribute(self, inside: Inside) -> Descended: ...
