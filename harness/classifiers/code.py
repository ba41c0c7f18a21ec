"""A fingerprint of a function: its source file, with what that imports beside it, and the values
that are bound to it.

The files say what a function does with its variables; a threshold in a `partial`, an object whose
method it is, or a variable that it closes over says with which values.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from harness.plugin_code import own_files

_DEEPEST = 6  # objects within objects; what lies deeper is known by its type alone
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(function: Any) -> bytes:
    """A digest of a function, or of any object that can be called: code and bound values."""
    hashed = hashlib.sha256()
    _add(hashed, function, 0, set())
    return hashed.digest()


def _add(hashed: Any, value: Any, depth: int, seen: set[int]) -> None:
    """Adds a value by what it is, so that equal values give equal bytes in every process."""
    hashed.update(f"{type(value).__qualname__}:".encode())
    if isinstance(value, (str, int, float, complex, bool, bytes, type(None))):
        hashed.update(repr(value).encode("utf-8", "surrogatepass"))
        return
    if depth > _DEEPEST or id(value) in seen or isinstance(value, ModuleType):
        return
    seen = seen | {id(value)}
    if isinstance(value, functools.partial):
        parts: list[Any] = [value.func, value.args, dict(value.keywords)]
    elif inspect.ismethod(value):
        parts = [value.__func__, value.__self__]
    elif inspect.isroutine(value) or inspect.isclass(value):
        hashed.update(_source(value))
        unwrapped = inspect.unwrap(value)
        cells = getattr(unwrapped, "__closure__", None) or ()
        parts = [_held(cell) for cell in cells]
        parts += [getattr(unwrapped, "__defaults__", None), getattr(unwrapped, "__self__", None)]
        if unwrapped is not value:  # a wrapper holds values of its own
            parts += [_held(cell) for cell in getattr(value, "__closure__", None) or ()]
    elif isinstance(value, Mapping):
        parts = [part for pair in sorted(value.items(), key=lambda p: str(p[0])) for part in pair]
    elif isinstance(value, (set, frozenset)):
        parts = sorted(value, key=repr)
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif isinstance(value, Path):
        parts = [str(value)]
    else:
        parts = _state(hashed, value)
    hashed.update(b"(")
    for part in parts:
        _add(hashed, part, depth + 1, seen)
        hashed.update(b",")
    hashed.update(b")")


def _state(hashed: Any, value: Any) -> list[Any]:
    """An object: the code of its class, its bytes where it is an array, its attributes."""
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "modules", None)):
        from harness.classifiers.networks import fingerprint as of_weights

        hashed.update(of_weights(value))
        return []
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        hashed.update(f"{value.dtype} {value.shape}".encode())
        if value.dtype.kind == "O":
            return [value.tolist()]
        hashed.update(value.tobytes())
        return []
    hashed.update(_source(type(value)))
    if isinstance(getattr(value, "__dict__", None), dict):
        return [vars(value)]
    return [_ADDRESS.sub("", repr(value))]


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not set yet
        return None


def _source(function: Any) -> bytes:
    """A function's name and source file; for code typed at a prompt, its compiled code."""
    subject = inspect.unwrap(function)
    name = str(getattr(subject, "__qualname__", subject)).encode()
    try:
        path = Path(inspect.getfile(subject)).resolve()
        module = str(getattr(subject, "__module__", ""))
        files = [path] if module.partition(".")[0] == "harness" else own_files(path, module)
        return name + b"".join(file.read_bytes() for file in files)
    except (TypeError, OSError):
        code = getattr(subject, "__code__", None)
        return name + (_compiled(code) if code else b"")


def _compiled(code: CodeType) -> bytes:
    """Instructions, names and constants, those of functions within it too."""
    constants = [
        _compiled(one) if isinstance(one, CodeType) else repr(one).encode()
        for one in code.co_consts
    ]
    return code.co_code + repr(code.co_names).encode() + b"".join(constants)
