"""The rules of AttnLRP for what a network calls, whatever modules it is made of.

A `TorchFunctionMode` sees every function of torch that is called while the network is evaluated.
Where what goes in depends on the input, and gradient x input would not be its relevance, the step
is replaced by one of `relevance_steps`; values stay what they are. All else runs as it is, and the
graph is looked through afterwards for steps that slipped by.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from harness.explainers.attributions.relevance_fused import SPELT_OUT
from harness.explainers.attributions.relevance_steps import (
    Ledger,
    identity_rule,
    no_rule,
    taylor_rule,
    uniform_rule,
)

# Functions of each number alone that may stand by themselves, and those that may only be part of
# one that does, such as the error function in a GELU that is spelt out.
_ACTIVATIONS = {
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "mish", "relu6",
    "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "square", "tanh", "tanhshrink",
}  # fmt: skip
_ONLY_INSIDE = {
    "clamp", "clamp_max", "clamp_min", "clip", "cos", "erf", "erfc", "exp", "expm1", "log", "log1p",
    "log2", "logsigmoid", "sin",
}  # fmt: skip
# Sizes that a norm divides by.
_SCALES = {"linalg_norm", "linalg_vector_norm", "norm", "reciprocal", "rsqrt", "sqrt", "std", "var"}
_TAYLOR = {"log_softmax", "logsumexp", "softmax", "special_log_softmax", "special_softmax"}
_TIMES = {"__imul__", "__mul__", "__rmul__", "mul", "multiply"}
_PRODUCTS = _TIMES | {
    "__matmul__", "__rmatmul__", "bilinear", "bmm", "conv1d", "conv2d", "conv3d", "dot", "einsum",
    "inner", "linear", "matmul", "mm", "mv", "outer", "tensordot",
}  # fmt: skip
_QUOTIENTS = {
    "__itruediv__",
    "__rdiv__",
    "__rtruediv__",
    "__truediv__",
    "div",
    "divide",
    "true_divide",
}
# Sums, and what lays things side by side: constants among what goes in hold relevance.
_SUMS = {
    "__add__", "__iadd__", "__isub__", "__radd__", "__rsub__", "__setitem__", "__sub__", "add",
    "cat", "concat", "concatenate", "copy", "hstack", "index_put", "masked_fill", "masked_scatter",
    "maximum", "minimum", "rsub", "scatter", "slice_scatter", "stack", "sub", "subtract", "vstack",
    "where",
}  # fmt: skip
# Of products with a sum, the place and the name of what is added.
_ADDED = {
    "addbmm": (0, "input"), "addmm": (0, "input"), "addmv": (0, "input"), "baddbmm": (0, "input"),
    "bilinear": (3, "bias"), "conv1d": (2, "bias"), "conv2d": (2, "bias"), "conv3d": (2, "bias"),
    "conv_transpose1d": (2, "bias"), "conv_transpose2d": (2, "bias"), "linear": (2, "bias"),
}  # fmt: skip
# What leaves each number at its place, so that a function of each number alone stays one.
_IN_PLACE = _ACTIVATIONS | _ONLY_INSIDE | _SCALES | _TIMES | _QUOTIENTS | {
    "__add__", "__iadd__", "__isub__", "__pow__", "__radd__", "__rsub__", "__sub__", "abs", "add",
    "bfloat16", "clone", "contiguous", "double", "float", "half", "neg", "pow", "relu", "rsub",
    "sub", "subtract", "to", "type", "type_as",
}  # fmt: skip
_QUOTIENT = "division by what depends on the input"
_WEIGHTS = "softmax that is not multiplied"
# Functions written in Python that hand themselves to a mode whole; they are run step by step.
_STEPWISE = {"multi_head_attention_forward", "normalize"}


@dataclass(frozen=True, eq=False)
class _Origin:
    """What a tensor is a function of, number by number; and whether it is a size to divide by."""

    root: Tensor
    scale: bool = False


class Rules(TorchFunctionMode):
    """Within the block, functions of torch hand relevance back by the rules of AttnLRP.

    What depends on the input is what requires a gradient, so parameters must require none. With
    `weights_constant`, what a softmax gives is a constant where it is multiplied.
    """

    def __init__(self, ledger: Ledger, weights_constant: bool = False) -> None:
        super().__init__()
        self._ledger, self._weights_constant = ledger, weights_constant
        self._origins = WeakTensorKeyDictionary()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        name = str(getattr(func, "__name__", ""))
        if name in ("__get__", "__set__") or not _depending((args, kwargs)):
            return func(*args, **kwargs)
        if written := _written_into(name, args):
            return self._into(written, func, args, kwargs)
        found = self._called(func, name, tuple(args), kwargs)
        self._note(name, found, _depending((args, kwargs)))
        return found

    # --- which rule ---------------------------------------------------------------------------

    def _called(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        moving = _depending((args, kwargs))
        if name in SPELT_OUT:
            with self:
                return SPELT_OUT[name](*args, **kwargs)
        if name in _STEPWISE:
            with self:
                return _opened(func)(*args, **kwargs)
        if all(self._origin(one).scale for one in moving):
            return func(*args, **kwargs)
        if name in _TAYLOR:
            x, call = _first(func, args, kwargs)
            if name == "softmax" and self._weights_constant:
                return no_rule(x, call(x.detach()), _WEIGHTS)
            return taylor_rule(x, call, name, self._ledger)
        if name in _ACTIVATIONS | _ONLY_INSIDE | _SCALES or name in ("pow", "__pow__", "__rpow__"):
            return self._alone(func, name, args, kwargs)
        if name in _ADDED:
            args, kwargs = self._with_added(name, args, kwargs)
            if len(_factors(name, args, kwargs)) > 1 and name not in _PRODUCTS:
                return self._sum_of_product(name, args, kwargs)
        if name in _PRODUCTS:
            return self._product(func, name, args, kwargs)
        if name in _QUOTIENTS:
            return self._quotient(func, name, args, kwargs)
        if name in _SUMS:
            args, kwargs = self._with_constants(name, args, kwargs, moving[0])
        return func(*args, **kwargs)

    # --- the rules ----------------------------------------------------------------------------

    def _alone(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """A function of each number alone, or a size of several."""
        x, call = _first(func, args, kwargs)
        value = call(x.detach())
        inside = name in _ONLY_INSIDE and not _holds_zero(name, args, kwargs)
        if name in ("pow", "__pow__"):
            power = args[1] if len(args) > 1 else kwargs.get("exponent")
            inside = not isinstance(power, int | float) or power < 1
        if inside or name in _SCALES or name == "__rpow__":
            return _each(value, lambda one: no_rule(x, one, name.strip("_")))
        return identity_rule(x, value, name, self._ledger)

    def _product(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        factors = _factors(name, args, kwargs)
        kept = [one for one in factors if not self._origin(one).scale]
        scales = [one for one in factors if self._origin(one).scale]
        args, kwargs = _replaced((args, kwargs), scales, [one.detach() for one in scales])
        if len(kept) < 2:
            return func(*args, **kwargs)
        if name in _TIMES:
            root = self._root(kept)
            value = func(*_detached(args), **_detached(kwargs))
            if root is not None and root.shape == value.shape:
                return identity_rule(root, value, name, self._ledger)
        added = [one for one in _depending((args, kwargs)) if not _among(one, factors)]

        def call(*several: Tensor) -> Tensor:
            mine, named = _replaced((_detached(args), _detached(kwargs)), detached, several)
            product: Tensor = func(*mine, **named)
            return product

        # The bias is added behind the product, which is what is shared out.
        if added:
            place, key = _ADDED[name]
            bare = (*args[:place], None, *args[place + 1 :]) if len(args) > place else args
            named = {k: v for k, v in kwargs.items() if k != key}
            with self:
                whole: Tensor = func(*bare, **named) + added[0]
                return whole
        distinct = list({id(one): one for one in kept}.values())
        detached = [one.detach() for one in distinct]
        args, kwargs = _replaced((args, kwargs), distinct, detached)
        return uniform_rule(call, len(kept), *distinct)

    def _quotient(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """What is divided by is kept as it is; a share of what it is itself made of is a function
        of each number alone."""
        values = [*args, *kwargs.values()]
        above, below = values[:2][::-1] if name in ("__rdiv__", "__rtruediv__") else values[:2]
        if not _depends(below):
            return func(*args, **kwargs)
        if not _depends(above):
            value = func(*_detached(args), **_detached(kwargs))
            return no_rule(below, value, _QUOTIENT)
        root = self._root([above, below])
        if root is not None:
            value = func(*_detached(args), **_detached(kwargs))
            if root.shape == value.shape:
                return identity_rule(root, value, "div", self._ledger)
        args, kwargs = _replaced((args, kwargs), [below], [below.detach()])
        return func(*args, **kwargs)

    def _sum_of_product(self, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        beta, alpha = kwargs.pop("beta", 1), kwargs.pop("alpha", 1)
        added, one, two = (*args, *kwargs.values())[:3]
        with self:
            product = torch.matmul(one, two)
            product = product.sum(dim=0) if name == "addbmm" else product
            whole: Tensor = beta * added + alpha * product
            return whole

    # --- constants ----------------------------------------------------------------------------

    def _with_constants(
        self, name: str, args: Any, kwargs: dict[str, Any], like: Tensor
    ) -> tuple[Any, dict[str, Any]]:
        """The same with each constant as one whose relevance is known."""

        def known(value: Any) -> Any:
            if isinstance(value, Tensor):
                plain = value.is_floating_point() and not value.requires_grad
                return self._ledger.constant(value) if plain else value
            if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
                return self._ledger.constant(
                    torch.tensor(value, dtype=like.dtype, device=like.device)
                )
            if isinstance(value, tuple | list):
                return type(value)(known(one) for one in value)
            return value

        # Numbers elsewhere are places and dimensions.
        numbers = {"masked_fill": (2,), "where": (1, 2), "__setitem__": (2,)}.get(name, (0, 1))
        if name in (
            "cat",
            "concat",
            "concatenate",
            "stack",
            "index_put",
            "scatter",
            "slice_scatter",
        ):
            numbers = ()
        mine = tuple(
            known(one) if place in numbers or not isinstance(one, int | float) else one
            for place, one in enumerate(args)
        )
        if name == "__setitem__":
            mine = (args[0], args[1], mine[2])
        names = {"tensors", "other", "value", "input", "source", "values"}
        return mine, {key: known(one) if key in names else one for key, one in kwargs.items()}

    def _with_added(
        self, name: str, args: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        place, key = _ADDED[name]
        if isinstance(kwargs.get(key), Tensor):
            return args, {**kwargs, key: self._constant(kwargs[key])}
        if len(args) > place and isinstance(args[place], Tensor):
            return (*args[:place], self._constant(args[place]), *args[place + 1 :]), kwargs
        return args, kwargs

    def _constant(self, value: Tensor) -> Tensor:
        return value if value.requires_grad else self._ledger.constant(value)

    def _into(self, written: str, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A function that writes into its first argument: the step is made, and then copied."""
        target = args[0]
        if not target.requires_grad and target.is_floating_point() and bool(target.any()):
            leaf = self._ledger.constant(target)
            target.zero_().add_(leaf)
        if written == "__setitem__":
            args, kwargs = self._with_constants(written, args, kwargs, target)
            return func(*args, **kwargs)
        plain = getattr(torch.Tensor, written, None) or getattr(torch, written, None)
        if plain is None or written == "copy":
            args, kwargs = self._with_constants(written, args[1:], kwargs, target)
            return func(target, *args, **kwargs)
        with self:
            value = plain(*args, **kwargs)
        target.copy_(value)
        self._origins[target] = self._origin(value)
        return target

    # --- what is known of tensors ---------------------------------------------------------------

    def _origin(self, tensor: Tensor) -> _Origin:
        known: _Origin = self._origins[tensor] if tensor in self._origins else _Origin(tensor)
        return known

    def _root(self, several: Sequence[Tensor]) -> Tensor | None:
        """What all of these are functions of, number by number."""
        roots = [self._origin(one).root for one in several]
        return roots[0] if all(root is roots[0] for root in roots) else None

    def _note(self, name: str, found: Any, moving: Sequence[Tensor]) -> None:
        """Remembers what came out, of what went in."""
        name = name.rstrip("_") if not name.startswith("__") else name
        scale = name in _SCALES or all(self._origin(one).scale for one in moving)
        scale = scale or _is_divisor(found)
        root = self._root(moving) if name in _IN_PLACE else None
        for one in _depending(found):
            same = root is not None and root.shape == one.shape
            if same or scale:
                self._origins[one] = _Origin(root if same and root is not None else one, scale)


# --- arguments --------------------------------------------------------------------------------


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)


def _depends(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _depending(value: Any) -> list[Tensor]:
    return [one for one in _tensors(value) if one.requires_grad]


def _among(tensor: Tensor, several: Sequence[Tensor]) -> bool:
    return any(tensor is one for one in several)


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return tuple(_each(one, change) for one in value)
    return value


def _replaced(value: Any, old: Sequence[Tensor], new: Sequence[Tensor]) -> Any:
    if isinstance(value, Tensor):
        return next((b for a, b in zip(old, new, strict=True) if a is value), value)
    if isinstance(value, tuple | list):
        return type(value)(_replaced(one, old, new) for one in value)
    if isinstance(value, Mapping):
        return {key: _replaced(one, old, new) for key, one in value.items()}
    return value


def _detached(value: Any) -> Any:
    moving = _depending(value)
    return _replaced(value, moving, [one.detach() for one in moving])


def _factors(name: str, args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """What is multiplied and depends on the input; a thing that stands twice counts twice."""
    place, key = _ADDED.get(name, (None, ""))
    among = [one for at, one in enumerate(args) if at != place]
    return _depending((among, [one for name_, one in kwargs.items() if name_ != key]))


def _first(func: Any, args: Any, kwargs: Mapping[str, Any]) -> tuple[Tensor, Callable[..., Any]]:
    """The first argument, and the call as a function of it."""
    if args:
        return args[0], lambda x: func(x, *args[1:], **kwargs)
    rest = {key: value for key, value in kwargs.items() if key != "input"}
    return kwargs["input"], lambda x: func(x, **rest)


def _holds_zero(name: str, args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function of each number alone leaves 0 where it is."""
    if name in ("clamp", "clip"):
        low, high = (*args[1:], None, None)[:2]
        low, high = kwargs.get("min", low), kwargs.get("max", high)
        ends = [end for end in (low, high) if end is not None]
        numbers = all(isinstance(end, int | float) for end in ends)
        return numbers and (low is None or low <= 0) and (high is None or high >= 0)
    return name in ("erf", "expm1", "log1p", "sin")


def _is_divisor(found: Any) -> bool:
    """Whether something counts as a constant in products: a power that a norm divides by, a
    reciprocal, or weights of attention."""
    step = found.grad_fn if isinstance(found, Tensor) else None
    own = step is not None and step.name() == "NoRuleBackward"
    return own and getattr(step, "step", "") in (_QUOTIENT, _WEIGHTS, "pow")


def _written_into(name: str, args: Any) -> str:
    """The name of a function without its mark of writing into its first argument; none where it
    does not."""
    if name == "__setitem__":
        return name
    marked = name.endswith("_") and not name.startswith("__")
    if marked and args and isinstance(args[0], Tensor) and name != "requires_grad_":
        return name.rstrip("_")
    return ""


def _opened(func: Any) -> Any:
    """A function of torch written in Python, that does not hand itself over to a mode."""
    closed = {name: lambda *_: False for name in func.__globals__ if "has_torch_function" in name}
    opened = types.FunctionType(
        func.__code__, func.__globals__ | closed, func.__name__, func.__defaults__, func.__closure__
    )
    opened.__kwdefaults__ = func.__kwdefaults__
    return opened
