"""A torch module differentiated by its inputs alone, and left as it was; refused where its
gradients would be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.records import HarnessError

_QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
# What autograd calls an operator that has no derivative.
_UNDERIVABLE = ("WarnNotImplemented", "NotImplemented")
_INSTEAD = "use a perturbation method, such as kernel_shap"


@contextmanager
def differentiating(module: Any) -> Iterator[None]:
    """Evaluation mode with gradients, but none by the parameters, which saves their memory."""
    import torch

    flags = [(part, part.training) for part in module.modules()]
    wanted = [(value, value.requires_grad) for value in module.parameters()]
    module.eval()
    for value, _ in wanted:
        value.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for part, training in flags:
            part.training = training
        for value, needed in wanted:
            value.requires_grad_(needed)


def refuse_quantised(module: Any, name: str) -> None:
    """Raises `HarnessError` for a module with quantised layers: gradients stop at them and go on
    beside them, through a residual stream, so that what comes out is not that of the network."""
    if (first := quantised(module)) is not None:
        raise HarnessError(
            f"{name} has quantised layers, '{first}' the first, through which no gradients pass; "
            f"{_INSTEAD}"
        )


def quantised(module: Any) -> str | None:
    """The name of the first quantised layer of a module; `None` where there is none."""
    parts = () if module is None else module.named_modules()
    kinds = ((name, type(part).__module__) for name, part in parts)
    return next((name for name, kind in kinds if kind.startswith(_QUANTISED)), None)


def refuse_underivable(values: Any, name: str) -> None:
    """Raises `HarnessError` where `values` follow from what autograd cannot differentiate, or from
    nothing that has gradients."""
    if values.grad_fn is None:
        raise HarnessError(f"what {name} says has no gradients by its features; {_INSTEAD}")
    if any(step in _UNDERIVABLE for step, _ in steps(values.grad_fn)):
        raise HarnessError(f"{name} has a step without a derivative; {_INSTEAD}")


def steps(end: Any) -> Iterator[tuple[str, Any]]:
    """Autograd's steps with their names, each once, from the output back to the features."""
    waiting, seen = [end], {end}
    while waiting:
        step = waiting.pop()
        yield step.name().split("::")[-1].split("Backward")[0] or step.name(), step
        for one, _ in step.next_functions:
            if one is not None and one not in seen:
                seen.add(one)
                waiting.append(one)
