"""How far what a layer says is from what the model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.model import Scale, transformed

if TYPE_CHECKING:
    from torch import Tensor


def scale_of(model: Any) -> Scale:
    """What the head's outputs are: of a language model logits of a softmax over its vocabulary."""
    scale: Scale = "softmax" if isinstance(model, LanguageModel) else model.scale
    return scale


def divergence(final: Tensor, said: Tensor, scale: Scale) -> Tensor:
    """The Kullback-Leibler divergence of `said` from `final` (both logits, positions x columns) at
    each position, in nats; of outputs that are independent of each other, its sum over them."""
    import torch

    def each(sign: int) -> Tensor:
        true = transformed(sign * final, scale, "log_probability", torch)
        seen = transformed(sign * said, scale, "log_probability", torch)
        found: Tensor = (true.exp() * (true - seen)).sum(dim=1)
        return found

    # A single output has two columns, which are each other's complement and so one distribution.
    single = final.shape[1] == 2 and torch.equal(final[:, 0], -final[:, 1])
    return each(1) + each(-1) if scale == "sigmoid" and not single else each(1)
