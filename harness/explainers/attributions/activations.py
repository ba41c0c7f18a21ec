"""Which activations a network has, by what autograd recorded of it, and whether modules made them.

Rules for propagation are bound to modules. An activation that is a function has none, and what is
propagated through it by gradients may still add up, by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.modules import network_of
from harness.explainers.inside import Inside
from harness.explainers.models.networks import steps
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

# What autograd calls the steps of modules whose propagation is changed.
STEPS_OF = {
    "ReLU": {"Relu"}, "ELU": {"Elu"}, "LeakyReLU": {"LeakyRelu"}, "Sigmoid": {"Sigmoid"},
    "Tanh": {"Tanh"}, "Softplus": {"Softplus"},
    "MaxPool1d": {"MaxPool2DWithIndices"}, "MaxPool2d": {"MaxPool2DWithIndices"},
    "MaxPool3d": {"MaxPool3DWithIndices"},
}  # fmt: skip
# Steps of autograd that are linear, choose among inputs, or normalise: all that may stand beside
# ReLU modules in a network for guided back-propagation. Any other may be an activation.
PLAIN = {
    "AccumulateGrad", "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "Add", "Addmm", "Alias",
    "AsStrided", "AvgPool2D", "AvgPool3D", "BackwardHookFunction", "Baddbmm", "Bmm", "Cat", "Clone",
    "ConstantPadNd", "Contiguous", "Convolution", "Copy", "CudnnBatchNorm", "CudnnConvolution",
    "Div", "Embedding", "Expand", "Flatten", "Index", "MaxPool2DWithIndices",
    "MaxPool3DWithIndices", "Mean", "MkldnnAdaptiveAvgPool2D", "MkldnnConvolution", "Mm", "Mul",
    "NativeBatchNorm", "NativeDropout", "NativeLayerNorm", "Neg", "Permute", "Relu", "Reshape",
    "ReshapeAlias", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum",
    "T", "ToCopy", "Transpose", "Unbind", "UnsafeView", "Unsqueeze", "UpsampleBilinear2D",
    "UpsampleNearest2D", "View",
}  # fmt: skip
# Of these, those that are no linear maps: a rule for differences must not meet them unchanged.
LINEAR = PLAIN - {"MaxPool2DWithIndices", "MaxPool3DWithIndices", "NativeLayerNorm"}
# Linear while only one of their inputs depends on features, and the others are the same for all.
_PRODUCTS = {"Addmm", "Baddbmm", "Bmm", "Convolution", "Div", "Mm", "MkldnnConvolution", "Mul"}


def check_activations(
    inside: Inside, what: str, changed: tuple[str, ...], plain: set[str], once: bool
) -> None:
    """Walks back through what autograd recorded, at the sample and at the empty one. The modules
    of the kinds `changed` are those whose propagation is changed: each of their steps must be a
    module's (used `once`, where the rule keeps what a module was given), and every other step one
    of `plain`, whether or not a module made it."""
    import torch

    kinds = tuple(getattr(torch.nn, name) for name in changed)
    parts = [part for part in network_of(inside, what).modules() if isinstance(part, kinds)]
    taken, calls = _recorded(inside, parts, inside.slope.x)
    others, _ = _recorded(inside, parts, inside.slope.empty)
    only = f"{what} is for networks whose only activations are modules ({', '.join(changed)})"
    own = {step for name in changed for step in STEPS_OF[name]}
    for step in taken:
        if step.name not in own and (step.name not in plain or step.product):
            raise HarnessError(f"{only}, and {inside.model.name} has a step {step.name}")
    if [step.name for step in taken] != [step.name for step in others] or any(
        not _same(one.factors, other.factors) for one, other in zip(taken, others, strict=True)
    ):
        # A factor that follows from the features is an activation, though it has no gradient.
        raise HarnessError(
            f"{only}, and {inside.model.name} multiplies with what is not the same for every input"
        )
    found = sum(step.name in own for step in taken)
    if (changed == ("ReLU",) and not found) or found != sum(calls):
        raise HarnessError(
            f"{only}, and {sum(calls)} of the {found} activations of {inside.model.name} are such "
            "modules"
        )
    if once and max(calls, default=0) > 1:
        raise HarnessError(
            f"{what} does not support {inside.model.name}: one of its activation modules is used "
            "more than once; give each place a module of its own"
        )


@dataclass(frozen=True, eq=False)
class _Step:
    """One of autograd's steps: whether it multiplies values that both depend on features (or
    normalises by the batch at hand), and the factors in it that do not depend on them."""

    name: str
    product: bool
    factors: tuple[Tensor, ...]


def _recorded(inside: Inside, parts: Sequence[Any], point: Tensor) -> tuple[list[_Step], list[int]]:
    """The steps of one pass, and how often the output used each of these modules."""
    said: list[list[Tensor]] = [[] for _ in parts]
    hooks = [
        part.register_forward_hook(lambda _, __, output, mine=mine: mine.append(output))
        for part, mine in zip(parts, said, strict=True)
    ]
    try:
        outputs = inside.model.forward(
            [inside.reading], point.detach().clone()[None].requires_grad_(True)
        )
    finally:
        for hook in hooks:
            hook.remove()
    # Of a neuron, the rest of the network is no part.
    calls = [sum(one is not None for one in _gradients(outputs, mine)) for mine in said]
    return [_step(name, step) for name, step in steps(outputs.grad_fn)], calls


def _step(name: str, step: Any) -> _Step:
    several = sum(one is not None for one, _ in step.next_functions) > 1
    factors: tuple[Tensor, ...] = ()
    if name in _PRODUCTS and not several:
        factors = tuple(_factors(step))
    batch = getattr(step, "_saved_training", False) is True
    return _Step(name, (several and name in _PRODUCTS) or batch, factors)


def _factors(step: Any) -> Iterator[Tensor]:
    import torch

    for name in dir(step):
        # Convolutions keep what they were given beside their weights.
        if name.startswith("_saved_") and name != "_saved_input":
            found = getattr(step, name)
            if isinstance(found, torch.Tensor):
                yield found


def _same(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    import torch

    return len(ones) == len(others) and all(
        torch.equal(one, other) for one, other in zip(ones, others, strict=True)
    )


def _gradients(outputs: Tensor, said: list[Tensor]) -> tuple[Tensor | None, ...]:
    import torch

    wanted = [one for one in said if one.requires_grad]
    if not wanted or not outputs.requires_grad:
        return ()
    return torch.autograd.grad(outputs.sum(), wanted, retain_graph=True, allow_unused=True)
