"""Torch modules as they come: evaluated and left as they were, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode without gradients for the block; each sub-module then has its flag back."""
    import torch

    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in flags:
            part.training = training


def fingerprint(module: Any) -> bytes:
    """A digest of structure, names, types, shapes and bytes: all that the outputs depend on."""
    import torch

    hashed = hashlib.sha256(f"{type(module).__qualname__}\n{module}".encode())
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):  # a module's extra state may be anything
            hashed.update(f"{name} {value!r}".encode())
            continue
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        hashed.update(flat.view(torch.uint8).numpy().tobytes())
    return hashed.digest()
