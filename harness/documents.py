"""Files that a user writes: read with line numbers, checked by a JSON Schema.

YAML and JSON alike. Duplicate keys are refused, `no` and `on` stay words, dates stay text, and
every complaint names file, line, place inside the file, and what was expected.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from harness.records import HarnessError

Place = tuple[str | int, ...]
_DEEPEST = 50
SCHEMAS = ("suite", "family", "variant", "gold")


@dataclass(frozen=True)
class Document:
    """A parsed file: its value, and the line of every place in it."""

    name: str
    value: Any
    lines: Mapping[Place, int]

    def error(self, place: Place, message: str) -> HarnessError:
        """A `HarnessError` that says where in the file the trouble is."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        where = f"{self.name}:{self.lines.get(known, 1)}"
        return HarnessError(
            f"{where}: {_path(place)}: {message}" if place else f"{where}: {message}"
        )


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a suite, family, variant or gold file."""
    if name not in SCHEMAS:
        raise HarnessError(f"there is no schema '{name}'; schemas are {', '.join(SCHEMAS)}")
    text = resources.files("harness").joinpath("schemas", f"{name}.json").read_text("utf-8")
    value: dict[str, Any] = json.loads(text)
    return value


def read(path: Path, schema_name: str | None = None) -> Document:
    """The document in a YAML or JSON file, checked where a schema is named."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise HarnessError(f"{path} is a folder; a file was expected") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 at byte {error.start}") from error
    return parse(text, str(path), schema_name)


def parse(text: str, name: str, schema_name: str | None = None) -> Document:
    """The document in a text; `name` is what errors call it."""
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise HarnessError(f"{name}:1: the file is empty")
        lines: dict[Place, int] = {}
        value = _construct(loader, node, (), lines, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise HarnessError(f"{where}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise HarnessError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from error
    finally:
        loader.dispose()
    document = Document(name, value, lines)
    if schema_name is not None:
        check(document, schema_name)
    return document


def check(document: Document, schema_name: str) -> None:
    """Raise `HarnessError` for the first place where the document breaks its schema."""
    from jsonschema.exceptions import best_match

    errors = list(_validator(schema_name).iter_errors(document.value))
    if not errors:
        return
    # A misspelt field is also a missing one: the misspelling is what helps.
    unknown = [error for error in errors if error.validator == "additionalProperties"]
    error: Any = unknown[0] if unknown else best_match(errors)
    place: Place = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        place = (*place, _unknown_fields(error)[0])
    raise document.error(place, _expectation(error))


def complaint(part: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> str | None:
    """What is wrong with a value by a part of the schema `root`; `None` where nothing is."""
    from jsonschema.exceptions import best_match

    with_definitions = {**part, "$defs": root.get("$defs", {})}
    error = best_match(_kind()(with_definitions).iter_errors(value))
    return None if error is None else _expectation(error)


def choices(part: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The plain schemas that a part of the schema `root` stands for: references followed, each of
    `anyOf` alone."""
    if "$ref" in part:
        target: Any = root
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return choices(target, root)
    several = part.get("anyOf", part.get("oneOf"))
    if several is None:
        return [part]
    return [one for choice in several for one in choices(choice, root)]


@cache
def _validator(schema_name: str) -> Any:
    return _kind()(schema(schema_name))


@cache
def _kind() -> Any:
    """JSON Schema takes 1.0 for an integer; what counts and indexes must be written as one."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]


def _unknown_fields(error: Any) -> list[str]:
    return sorted(set(error.instance) - set(error.schema.get("properties", {})))


def _expectation(error: Any) -> str:
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        near = difflib.get_close_matches(_unknown_fields(error)[0], known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        return f"unknown field; {hint}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"the field '{missing[0]}' is missing"
    if error.validator == "enum":
        allowed = ", ".join(str(item) for item in error.validator_value)
        return f"{error.instance!r} is none of {allowed}"
    if error.validator == "type":
        expected = error.validator_value
        names = expected if isinstance(expected, str) else " or ".join(expected)
        return f"expected {names}, found {_shown(error.instance)}"
    if error.validator == "pattern" and error.validator_value == "\\S":
        return "the text is empty"
    if error.validator == "uniqueItems":
        twice = next(item for i, item in enumerate(error.instance) if item in error.instance[:i])
        return f"{_shown(twice)} stands twice"
    if error.validator == "minItems":
        return "the list is too short" if error.instance else "the list is empty"
    if error.validator in ("anyOf", "oneOf"):
        wanted = error.schema.get("description", "another form")
        return f"found {_shown(error.instance)}; expected {wanted}"
    return str(error.message)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _path(place: Place) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


@cache
def _loader() -> Any:
    """A safe loader with the scalars of YAML 1.2: `no` is a word, 12:30 and dates are text."""
    import re

    import yaml

    parent: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(parent):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  PyYAML's own protocol

    number = "-+0123456789."
    for tag, pattern, first in (
        ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
        ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", "-+0123456789"),
        (
            "float",
            r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|^[-+]?[0-9]+[eE][-+]?[0-9]+$",
            number,
        ),
        ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
        ("merge", r"^(?:<<)$", "<"),
    ):
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}",
            re.compile(pattern),
            [*first, ""] if tag == "null" else [*first],
        )
    return Loader


def _construct(loader: Any, node: Any, place: Place, lines: dict[Place, int], name: str) -> Any:
    import yaml

    lines[place] = node.start_mark.line + 1
    if len(place) > _DEEPEST:
        raise HarnessError(
            f"{name}:{lines[place]}: more than {_DEEPEST} levels deep; does an alias hold itself?"
        )
    if isinstance(node, yaml.MappingNode):
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise HarnessError(f"{name}:{line}: {_path(place) or 'top'}: keys must be words")
            if key in value:
                raise HarnessError(
                    f"{name}:{line}: {_path((*place, key))}: the key stands twice, first on line "
                    f"{lines[(*place, key)]}"
                )
            value[key] = _construct(loader, value_node, (*place, key), lines, name)
            lines[(*place, key)] = line
        merged = value.pop("<<", {})
        if not isinstance(merged, dict):
            raise HarnessError(f"{name}:{lines[place]}: {_path(place)}: '<<' merges a mapping")
        return {**merged, **value}
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(loader, item, (*place, i), lines, name) for i, item in enumerate(node.value)
        ]
    try:
        scalar = loader.construct_object(node, deep=True)
        if isinstance(scalar, float) and not math.isfinite(scalar):
            raise ValueError
        return scalar
    except (ValueError, yaml.constructor.ConstructorError) as error:
        raise HarnessError(
            f"{name}:{lines[place]}: {_path(place)}: cannot read {node.value!r}"
        ) from error
