"""A small convolutional network with given weights, built alike in two environments.

It takes images in 32 bits and computes in 64, so that two processes with other libraries agree on
its outputs far beyond what is compared. It needs nothing but NumPy and torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 3
SIDE = 28


class WideConv(nn.Conv2d):
    """A convolution in 64 bits of whatever it is given."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.to(self.weight.dtype))


class SmallCNN(nn.Module):
    """Images x 1 x 28 x 28 to images x 3 logits. Nothing is padded, and every pixel is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = WideConv(1, 8, 3)
        self.second = nn.Conv2d(8, 16, 4, stride=2)
        self.last = nn.Linear(16 * 12 * 12, CLASSES)
        self.others: Mapping[str, Any] | None = None
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.second(nn.functional.gelu(self.first(images))))
        return self.last(hidden.flatten(1))

    def reset_parameters(self) -> None:
        """Takes the `others` for its weights: what a test of random weights calls on modules."""
        if self.others is not None:
            self.load(self.others)

    def load(self, weights: Mapping[str, Any]) -> SmallCNN:
        """Takes weights by their names: arrays."""
        self.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
        return self


def drawn(seed: int) -> SmallCNN:
    """The network with random weights, large enough for it to tell its inputs apart."""
    torch.manual_seed(seed)
    network = SmallCNN()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2.0)
    return network


def gradients(network: nn.Module, images: Any, targets: Any, times_input: bool = False) -> Any:
    """The gradient of each image's target by its pixels, its absolute value; or signed and times
    the input. An array like `images`."""
    points = torch.as_tensor(images, dtype=torch.float32).requires_grad_(True)
    logits = network(points)
    places = torch.as_tensor(targets).long()
    (found,) = torch.autograd.grad(logits[torch.arange(len(logits)), places].sum(), points)
    found = found.double()
    return (found * points.detach().double() if times_input else found.abs()).numpy()
