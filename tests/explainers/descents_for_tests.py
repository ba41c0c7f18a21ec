"""Runs methods of gradients on a model as the engine does, and says whether it was left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.explainers.gradients import Descended, Descending, Gradient, GradientEngine, Slope
from harness.explainers.inside import Inside, Inspection
from harness.explainers.models.model import transformed
from harness.explainers.models.reading import Removal
from harness.explainers.models.tensors import TensorModel
from harness.records import Sample

MASK = Removal("mask")


def tensors(call: Any, inputs: torch.Tensor, **options: Any) -> TensorModel:
    """A model of a module that takes one tensor."""
    return TensorModel(call, [inputs], **options)


def slope_of(
    model: Any,
    sample: Sample,
    weights: np.ndarray | None = None,
    output: str = "logit",
    removal: Removal = MASK,
    seed: int = 0,
) -> tuple[Any, Slope, np.ndarray]:
    """The reading, the slope and the weights, columns x targets: every class unless given."""
    reading = model.read(sample, removal)
    every = np.ones(len(reading.fixed), dtype=bool)
    both = np.concatenate([model.outputs([reading.left(kept)]) for kept in (every, reading.fixed)])
    both = transformed(both, model.scale, output, np)
    weights = np.eye(both.shape[1]) if weights is None else weights
    full, empty = both @ weights
    slope = Slope(
        model.point(reading),
        model.point(reading, kept=reading.fixed),
        full,
        empty,
        float(np.ptp(both)),
        seed,
    )
    return reading, slope, weights


def descend(
    method: Gradient,
    model: Any,
    samples: Sequence[Sample],
    tokens: int | None = None,
    **options: Any,
) -> tuple[list[Descended], list[int], list[Slope]]:
    """What the method found of each sample, in how many rows, and what it was told of it."""
    several = [slope_of(model, sample, **options) for sample in samples]
    descending = [Descending(r, w, method.descend(s)) for r, s, w in several]
    engine = GradientEngine(model, options.get("output", "logit"), tokens)
    found = engine.run(descending)
    return [d for d, _ in found], [rows for _, rows in found], [s for _, s, _ in several]


def values(method: Gradient, model: Any, sample: Sample, **options: Any) -> np.ndarray:
    """What the method found of one sample: targets x features x ...."""
    (found,), _, _ = descend(method, model, [sample], **options)
    return found.values.detach().cpu().numpy()


def inspect(method: Inspection, model: Any, sample: Sample, **options: Any) -> Descended:
    """What a method that works inside the network found of one sample."""
    output = options.get("output", "logit")
    reading, slope, weights = slope_of(model, sample, **options)
    with model.evaluating():
        return method.attribute(Inside(model, reading, slope, weights, output))


def state(module: torch.nn.Module) -> dict[str, Any]:
    """All of a network that a method could leave behind it."""
    found: dict[str, Any] = {
        name: (value.clone(), value.requires_grad, value.grad is None)
        for name, value in [*module.named_parameters(), *module.named_buffers()]
    }
    for name, part in module.named_modules():
        hooks = {key: list(kept) for key, kept in vars(part).items() if key.endswith("_hooks")}
        found["module " + name] = (part.training, sorted(vars(part)), hooks)
        config = getattr(part, "config", None)
        if hasattr(config, "to_dict"):
            found["config " + name] = (config.to_dict(), config._attn_implementation)
    return found


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two states are equal, tensors bit by bit."""
    assert before.keys() == after.keys()
    for name, one in before.items():
        two = after[name]
        if isinstance(one[0], torch.Tensor):
            if not torch.equal(one[0], two[0]) or one[1:] != two[1:]:
                return False
        elif one != two:
            return False
    return True


class MLP(torch.nn.Sequential):
    """Four numbers, two hidden layers, three classes."""

    def __init__(
        self, activation: type[torch.nn.Module] = torch.nn.ReLU, bias: bool = True
    ) -> None:
        torch.manual_seed(5)
        super().__init__(
            torch.nn.Linear(4, 16, bias=bias),
            activation(),
            torch.nn.Linear(16, 16, bias=bias),
            activation(),
            torch.nn.Linear(16, 3, bias=bias),
        )
        self.double()


class CNN(torch.nn.Module):
    """A small network of 3 x 8 x 8 images."""

    def __init__(
        self, activation: type[torch.nn.Module] = torch.nn.ReLU, bias: bool = True
    ) -> None:
        torch.manual_seed(6)
        super().__init__()
        self.first = torch.nn.Conv2d(3, 6, 3, padding=1, bias=bias)
        self.act1 = activation()
        self.second = torch.nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=bias)
        self.act2 = activation()
        self.head = torch.nn.Linear(5, 3, bias=bias)
        self.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.act2(self.second(self.act1(self.first(images))))
        return self.head(x.mean(dim=(2, 3)))


def drawn(*shape: int, seed: int = 3) -> torch.Tensor:
    """Numbers of the standard normal distribution, in 64 bits."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
