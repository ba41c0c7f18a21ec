"""Records to JSON and back: any dataclass of `records`, by its type hints.

Media keep their hash and type only; whoever reads them back says where the bytes lie.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.records import Media

T = TypeVar("T")
FindMedia = Callable[[str, str], Media]


def dumps(record: Any) -> str:
    """Compact JSON of a record; fields at their default are left out."""
    return json.dumps(_out(record), ensure_ascii=False, separators=(",", ":"))


def loads(kind: type[T], text: str, media: FindMedia | None = None) -> T:
    """The record of this kind; `media(sha256, mime)` says where bytes lie."""
    reader: Any = _reader
    value: T = reader(kind)(json.loads(text), media or Media)
    return value


def _out(value: Any) -> Any:
    if isinstance(value, Media):
        return {"sha256": value.sha256, "mime": value.mime}
    if dataclasses.is_dataclass(value):
        return {
            name: _out(item)
            for name, default in _defaults_of(value)
            if (item := getattr(value, name)) != default
        }
    if isinstance(value, Mapping):
        return {str(key): _out(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_out(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored
    return value.item() if hasattr(value, "item") else value


def _defaults_of(value: Any) -> tuple[tuple[str, Any], ...]:
    kind: Any = type(value)
    return _defaults(kind)


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    rows = []
    for f in dataclasses.fields(kind):
        default = f.default
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        rows.append((f.name, default))
    return tuple(rows)


@cache
def _reader(kind: Hashable) -> Callable[[Any, FindMedia], Any]:
    """A function that turns parsed JSON into what the hint says; built once for each hint."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Media:
        return lambda value, media: media(value["sha256"], value["mime"])
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}
        constructor: Any = kind
        return lambda value, media: constructor(
            **{name: readers[name](item, media) for name, item in value.items() if name in readers}
        )
    if origin in (Union, types.UnionType):
        inner = [_reader(a) for a in arguments if a is not type(None)]
        read = inner[0] if len(inner) == 1 else _same
        return lambda value, media: None if value is None else read(value, media)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        item_reader = _reader(arguments[0])
        if item_reader is _same:
            return _tuple
        return lambda value, media: tuple(item_reader(item, media) for item in value)
    if origin is tuple:
        each = [_reader(a) for a in arguments]
        return lambda value, media: tuple(
            read(item, media) for read, item in zip(each, value, strict=True)
        )
    if kind is Any:
        return _evidence_value
    if origin is Literal or isinstance(kind, type) or origin is not None:
        return _same
    return _same


def _tuple(value: Any, media: FindMedia) -> Any:  # noqa: ARG001  one signature for all readers
    return tuple(value)


def _same(value: Any, media: FindMedia) -> Any:  # noqa: ARG001  one signature for all readers
    return value


def _evidence_value(value: Any, media: FindMedia) -> Any:
    """Evidence is JSON or a medium; lists come back as tuples, as records hold them."""
    if isinstance(value, dict) and set(value) == {"sha256", "mime"}:
        return media(value["sha256"], value["mime"])
    if isinstance(value, list):
        return tuple(_evidence_value(item, media) for item in value)
    return value
