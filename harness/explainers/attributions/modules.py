"""Modules of a network by name and by kind, and a network that is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.records import HarnessError

if TYPE_CHECKING:
    from harness.explainers.inside import Inside
    from harness.explainers.models.model import Model


def network_of(inside: Inside, what: str) -> Any:
    """The classifier's own module. Raises `HarnessError` where it is a function."""
    return _network(inside.model, what)


def named(inside: Inside, layer: str, what: str) -> Any:
    """A module by its name. Raises `HarnessError` where there is none of that name."""
    return module_named(inside.model, layer, what)


def module_named(model: Model, layer: str, what: str) -> Any:
    """A model's module by its name. Raises `HarnessError` where there is none of that name, and
    where the model is a function."""
    module = _network(model, what)
    try:
        return module.get_submodule(layer)
    except AttributeError as error:
        names = [name for name, _ in module.named_modules() if name]
        known = f"{', '.join(names[:5])}, ..., {names[-1]}" if len(names) > 6 else ", ".join(names)
        raise HarnessError(
            f"{what}: {model.name} has no module '{layer}'; it has {known}"
        ) from error


def _network(model: Model, what: str) -> Any:
    module = getattr(model, "module", None)
    if module is None:
        raise HarnessError(
            f"{what} works inside a network, and {model.name} is a function; give a torch "
            "module, or use a perturbation method"
        )
    return module


def first_tensor(output: Any) -> Any:
    """What a module says, where it says a tensor or a tuple that begins with one; else `None`."""
    import torch

    found = output[0] if isinstance(output, (tuple, list)) and output else output
    return found if isinstance(found, torch.Tensor) else None


@contextmanager
def left_alone(module: Any) -> Iterator[None]:
    """Within the block hooks and attributes may be set on modules; afterwards they are as before,
    also where Captum was interrupted halfway. Weights are not its business."""
    endings = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
    kept = []
    for part in module.modules():
        before = dict(vars(part))
        hooks = {
            key: value.copy()
            for key, value in before.items()
            if key.endswith(endings) and isinstance(value, dict)
        }
        kept.append((part, before, hooks))
    try:
        yield
    finally:
        for part, before, hooks in kept:
            for key in set(vars(part)) - set(before):
                del part.__dict__[key]
            part.__dict__.update(before)
            for key, copy in hooks.items():
                before[key].clear()
                before[key].update(copy)
