"""A torch module differentiated by its inputs alone, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
