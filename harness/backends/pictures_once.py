"""Pictures that come again are processed once: by a model's image processor, and by its encoder.

Asking how likely an answer is shows the same picture dozens of times. What is kept is what the
model's own code gave for the very same numbers, so results are equal to the bit; it is kept within
a bound.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

_FEATURES = "get_image_features"
_BOUND = 2**28  # bytes of numbers that are kept


class Kept:
    """Results by the numbers that they were made of; of too many the oldest are dropped."""

    def __init__(self, bound: int = _BOUND) -> None:
        self._bound = bound
        self._size = 0
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, key: str, make: Any) -> Any:
        """The result under this key, made where it is not held."""
        if key not in self._held:
            made = make()
            size = _size(made)
            self._held[key] = made, size
            self._size += size
            while self._size > self._bound and self._held:
                self._size -= self._held.popitem(last=False)[1][1]
            return made
        self._held.move_to_end(key)
        return self._held[key][0]

    def clear(self) -> None:
        """Lets go of everything."""
        self._held.clear()
        self._size = 0


@contextlib.contextmanager
def features_once(network: Any, kept: Kept) -> Iterator[None]:
    """While it lasts, a network's encoder is asked once for each picture."""
    wrapped = []
    for number, module in enumerate(network.modules()):
        if _FEATURES in vars(type(module)) or hasattr(type(module), _FEATURES):
            module.__dict__[_FEATURES] = _once(getattr(module, _FEATURES), kept, f"{number}")
            wrapped.append(module)
    try:
        yield
    finally:
        for module in wrapped:
            del module.__dict__[_FEATURES]


def _once(function: Any, kept: Kept, name: str) -> Any:
    def asked(*args: Any, **kwargs: Any) -> Any:
        key = f"{name}/{_digest([args, sorted(kwargs.items())])}"
        return kept.get(key, lambda: function(*args, **kwargs))

    return asked


class ProcessedOnce:
    """An image processor that processes the same pictures with the same options once."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._kept = Kept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, images: Any, *args: Any, **options: Any) -> Any:
        key = _digest([images, args, sorted(options.items())])
        made = self._kept.get(key, lambda: self._processor(images, *args, **options))
        copied = copy.copy(made)  # whoever asked takes parts out of it, and changes numbers
        copied.data = {name: _own(value) for name, value in made.data.items()}
        return copied


def _own(value: Any) -> Any:
    return value.clone() if hasattr(value, "clone") else copy.copy(value)


def _digest(value: Any) -> str:
    """A hash of numbers in tensors and pictures, and of everything else by its words."""
    found = hashlib.sha256()

    def add(item: Any) -> None:
        if hasattr(item, "detach"):
            found.update(repr((tuple(item.shape), str(item.dtype), str(item.device))).encode())
            found.update(item.detach().cpu().contiguous().view(-1).numpy().tobytes())
        elif hasattr(item, "tobytes"):
            found.update(repr((item.size, getattr(item, "mode", ""))).encode())
            found.update(item.tobytes())
        elif isinstance(item, (list, tuple)):
            found.update(b"[%d" % len(item))
            for part in item:
                add(part)
        else:
            found.update(repr(item).encode())

    add(value)
    return found.hexdigest()


def _size(value: Any) -> int:
    if hasattr(value, "detach"):
        return int(value.numel() * value.element_size())
    if callable(getattr(value, "values", None)):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0
