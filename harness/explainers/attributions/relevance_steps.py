"""Steps of autograd that hand relevance back by a rule instead of a gradient.

Relevance of a tensor is tensor x gradient, so that a step whose backward is changed as here makes
the gradient by the input times the input the relevance of the input. What a step does not hand on
is booked in a `Ledger`, so that nothing is lost without a trace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Ledger:
    """Relevance that no input has: of constants that were added on the way, and what rules did not
    hand on, by name."""

    def __init__(self) -> None:
        self.constants: list[Tensor] = []
        self._booked: defaultdict[str, float] = defaultdict(float)

    def constant(self, value: Tensor) -> Tensor:
        """A constant whose relevance is to be known: a leaf that equals it."""
        leaf = value.detach().clone().requires_grad_(True)
        self.constants.append(leaf)
        return leaf

    def book(self, name: str, relevance: Tensor) -> None:
        """Adds up relevance that was not handed on."""
        self._booked[name] += float(relevance.double().sum())

    def close(self, gradients: Sequence[Tensor | None]) -> dict[str, float]:
        """What was held since the last time, after a backward pass that gave these gradients of the
        constants."""
        held = sum(
            float(_relevance(gradient, leaf))
            for gradient, leaf in zip(gradients, self.constants, strict=True)
            if gradient is not None
        )
        booked, self._booked = self._booked, defaultdict(float)
        return {"biases and constants": held, **booked}


class IdentityRule(torch.autograd.Function):
    """A function of each number alone, f(x), hands on all of its relevance: in place of its
    gradient stands f(x)/x. Where x is 0 nothing can be handed on; it is booked where f(0) is not 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, name: str, ledger: Ledger) -> Tensor:
        usable = x.abs() > torch.finfo(x.dtype).tiny
        slope = torch.where(usable, value / torch.where(usable, x, torch.ones_like(x)), 0)
        ctx.save_for_backward(slope, torch.where(usable, torch.zeros_like(value), value))
        ctx.step, ctx.ledger = name, ledger
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        slope, stuck = ctx.saved_tensors
        if stuck.any():
            ctx.ledger.book(f"{ctx.step} of 0", gradient * stuck)
        return gradient * slope, None, None, None


class UniformRule(torch.autograd.Function):
    """A product of several things that depend on the input shares its relevance out evenly: each
    gradient is divided by their number."""

    @staticmethod
    def forward(ctx: Any, call: Callable[..., Tensor], count: int, *factors: Tensor) -> Tensor:
        ctx.call, ctx.count = call, count
        ctx.save_for_backward(*factors)
        return call(*factors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        _, gradients = _differentiated(ctx.call, ctx.saved_tensors, gradient)
        return None, None, *(one / ctx.count for one in gradients)


class TaylorRule(torch.autograd.Function):
    """Softmax and its logarithms keep their gradients: the first-order Taylor expansion at the
    input, whose constant takes what is not handed on."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, call: Callable[[Tensor], Tensor], name: str, ledger: Ledger
    ) -> Tensor:
        ctx.call, ctx.step, ctx.ledger = call, name, ledger
        ctx.save_for_backward(x)
        return call(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        value, (by_x,) = _differentiated(ctx.call, [x], gradient)
        ctx.ledger.book(ctx.step, _relevance(gradient, value) - _relevance(by_x, x))
        return by_x, None, None, None


class NoRule(torch.autograd.Function):
    """A step that may serve inside another one, such as the root in a norm, and that no relevance
    can pass: a graph that still holds it is refused by its name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, name: str) -> Tensor:  # noqa: ARG004
        ctx.step = name
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        raise RuntimeError("relevance reached a step without a rule")


identity_rule: Callable[..., Tensor] = IdentityRule.apply
uniform_rule: Callable[..., Tensor] = UniformRule.apply
taylor_rule: Callable[..., Tensor] = TaylorRule.apply
no_rule: Callable[..., Tensor] = NoRule.apply


def _differentiated(
    call: Callable[..., Tensor], inputs: Sequence[Tensor], gradient: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What a call gives, and its own gradients by the inputs."""
    with torch.enable_grad():
        leaves = [one.detach().requires_grad_(True) for one in inputs]
        value = call(*leaves)
    return value.detach(), torch.autograd.grad(value, leaves, gradient)


def _relevance(gradient: Tensor, value: Tensor) -> Tensor:
    """Their product's sum, where nothing times infinity (of a mask) is nothing."""
    product = gradient.double() * value.detach().double()
    return torch.where(gradient == 0, 0, product).sum()


# --- what may stand in a graph ------------------------------------------------------------

_OURS = {"IdentityRule", "UniformRule", "TaylorRule"}
# Steps of autograd that are linear in what depends on the input, or choose among it: they hand
# relevance on by their own gradients (the epsilon rule, epsilon towards 0).
_LINEAR = {
    "Abs", "AccumulateGrad", "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
    "AdaptiveMaxPool2D", "Add", "Addbmm", "Addcmul", "Addmm", "Addmv", "Alias", "Amax", "Amin",
    "AsStrided", "AvgPool1D", "AvgPool2D", "AvgPool3D", "Baddbmm", "Bmm", "Cat", "Clone",
    "ConstantPadNd", "Contiguous", "Convolution", "Copy", "CopySlices", "Cumsum", "Diagonal",
    "Div", "Dot", "Expand", "Flip", "Gather", "GroupedMm", "Im2Col", "Index", "IndexAdd",
    "IndexCopy", "IndexFill", "IndexPut", "IndexSelect", "LeakyRelu", "MaskedFill",
    "MaskedScatter", "MaskedSelect", "Max", "MaxPool2DWithIndices", "MaxPool3DWithIndices",
    "Maximum", "Mean", "Min", "Minimum", "MkldnnAdaptiveAvgPool2D", "MkldnnConvolution", "Mm",
    "Mul", "Mv", "Narrow", "Neg", "Permute", "PixelShuffle", "PixelUnshuffle", "PreluKernel",
    "Relu", "Repeat", "RepeatInterleave", "Reshape", "ReshapeAlias", "Roll", "Rsub", "Scatter",
    "ScatterAdd", "Select", "SelectScatter", "Slice", "SliceScatter", "Sort", "Split",
    "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum", "T", "ToCopy", "Topk", "Transpose",
    "Tril", "Triu", "Unbind", "Unfold", "UnsafeSplit", "UnsafeView", "Unsqueeze",
    "UpsampleBicubic2D", "UpsampleBilinear2D", "UpsampleNearest1D", "UpsampleNearest2D", "View",
    "ViewAsComplex", "ViewAsReal", "Where",
}  # fmt: skip
# Of these, the inputs that are multiplied with one another: one alone may depend on the input.
_FACTORS = {
    "Addbmm": (1, 2), "Addcmul": (1, 2), "Addmm": (1, 2), "Addmv": (1, 2), "Baddbmm": (1, 2),
    "Bmm": (0, 1), "Convolution": (0, 1), "Dot": (0, 1), "GroupedMm": (0, 1),
    "MkldnnConvolution": (0, 1), "Mm": (0, 1), "Mul": (0, 1), "Mv": (0, 1), "PreluKernel": (0, 1),
}  # fmt: skip


def without_rule(end: Any) -> str | None:
    """The name of a step, on the way back from `end`, that no rule knows; `None` where there is
    none."""
    waiting, seen = [end], {end}
    while waiting:
        step = waiting.pop()
        following = [one for one, _ in step.next_functions]
        name = step.name().split("::")[-1].split("Backward")[0] or step.name()
        if name not in _OURS and name not in _LINEAR:
            return str(getattr(step, "step", name))
        if name == "Div" and any(following[1:]):
            return "division by what depends on the input"
        if name in _FACTORS and all(
            place < len(following) and following[place] is not None for place in _FACTORS[name]
        ):
            return f"{name} of two things that depend on the input"
        new = {one for one in following if one is not None} - seen
        seen |= new
        waiting.extend(new)
    return None
