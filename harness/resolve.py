"""What a suite file says once `--set`, `${NAME}` and paths are filled in, and what identifies it.

A part is any mapping with `kind`, wherever it stands (and a model, whose kind is its backend). One
walk over the file keeps its secrets as `${NAME}`, resolves its paths, and leaves out of the suite's
identity how it is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import documents
from harness.records import HarnessError
from harness.secrets import (
    VARIABLE,
    conceal,
    filled,
    is_part,
    is_secret,
    may_hold,
    of_address,
    stays,
)

# Fields that say where and how something is reached, not what it is: no part of identity.
_TRANSPORT = frozenset(
    (
        "ca_bundle", "timeout", "max_retries", "concurrency", "environment", "start_timeout",
        "client", "api_version", "azure_deployment", "token_provider", "organization", "project",
    )
)  # fmt: skip
_PATHS = frozenset({"path", "weights", "ca_bundle"})


def override(document: documents.Document, setting: str) -> None:
    """Sets a place of the suite: `key.path=value`, the value read as YAML.

    A step into a list is a number, or the `name` of an item. Raises `HarnessError` for a place
    that there is not.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise HarnessError(f"--set {setting}: expected key=value")
    value = documents.parse(text or "''", f"--set {key}").value
    place = document.value
    *above, last = key.split(".")
    for step in above:
        if isinstance(place, dict):
            place = place.setdefault(step, {})
        else:
            place = place[_index(place, step, setting)]
    if isinstance(place, dict):
        place[last] = value
    else:
        place[_index(place, last, setting)] = value


def _index(place: Any, step: str, setting: str) -> int:
    """Where in a list a step leads: a number, or the name of an item."""
    if isinstance(place, list):
        if step.isdigit() and int(step) < len(place):
            return int(step)
        for i, item in enumerate(place):
            if isinstance(item, dict) and item.get("name") == step:
                return i
    raise HarnessError(f"--set {setting}: '{step}' is no place in the suite")


def fill_in(document: documents.Document, schema_name: str) -> None:
    """Fills `${NAME}` in wherever the schema says what stands there, with the type that it says.

    What a part's own fields hold is not told by a schema, and is left. Raises `HarnessError` naming
    file, line and variable where a value is none of what is expected.
    """
    schema = documents.schema(schema_name)

    def walk(value: Any, schemas: list[Any], place: documents.Place) -> Any:
        if isinstance(value, dict):
            return {k: walk(v, _below(schemas, k, schema), (*place, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, _below(schemas, i, schema), (*place, i)) for i, v in enumerate(value)]
        if not schemas or not isinstance(value, str) or not VARIABLE.search(value):
            return value
        text = _expand(document, value, place)
        for found in (text, _as_yaml(text)):
            if any(documents.complaint(one, found, schema) is None for one in schemas):
                # A text is filled in with the others, later: paths are told from what was written.
                written = any(documents.complaint(one, value, schema) is None for one in schemas)
                return value if written and found is text else found
        said = documents.complaint(schemas[0], _as_yaml(text), schema)
        raise document.error(place, conceal(f"{said} (from {value})"))

    for key, value in document.value.items() if isinstance(document.value, dict) else ():
        document.value[key] = walk(value, _below([schema], key, schema), (key,))


def _as_yaml(text: str) -> Any:
    try:
        return documents.parse(text, "a variable").value
    except HarnessError:
        return text


def _below(schemas: list[Any], step: str | int, root: Any) -> list[Any]:
    """What schemas say of an entry of what they describe; nothing where none of them does."""
    found = []
    for given in schemas:
        for one in documents.choices(given, root):
            if isinstance(step, int):
                inner = one.get("items")
            else:
                inner = one.get("properties", {}).get(step, one.get("additionalProperties"))
            if isinstance(inner, dict):
                found.append(inner)
    return found


def resolve(document: documents.Document, folder: Path) -> tuple[Any, Any]:
    """The suite with variables and paths filled in, and what identifies it.

    What may hold a secret keeps its `${NAME}`, which `secrets.reveal` fills in where the part is
    made.
    """

    def walk(value: Any, place: documents.Place, fields: tuple[str, ...] | None) -> tuple[Any, Any]:
        whole: Any
        identity: Any
        if isinstance(value, dict):
            inside = () if _begins_part(value, place, fields) else fields
            pairs = {
                key: walk(item, (*place, key), None if inside is None else (*inside, str(key)))
                for key, item in value.items()
            }
            identity = {key: pair[1] for key, pair in pairs.items() if pair[1] is not _ABSENT}
            whole = {key: pair[0] for key, pair in pairs.items()}
        elif isinstance(value, list):
            items = [walk(item, (*place, i), fields) for i, item in enumerate(value)]
            whole = [item[0] for item in items]
            identity = [item[1] for item in items if item[1] is not _ABSENT]
        elif isinstance(value, str) and fields and (may_hold(fields[0]) or stays(fields, value)):
            _expand(document, value, place)  # says now that a variable is not set
            _refuse_stored(document, value, place, fields)
            whole = identity = value
        else:
            whole = identity = _expand(document, value, place)
            if isinstance(whole, str) and _is_path(place, fields, whole):
                identity = value
                whole = str(folder / Path(whole).expanduser())
        if fields and (may_hold(fields[0]) or fields[0] in _TRANSPORT):
            identity = _ABSENT
        return whole, identity

    return walk(document.value, (), None)


_ABSENT = object()


def _begins_part(
    value: Mapping[str, Any], place: documents.Place, fields: tuple[str, ...] | None
) -> bool:
    model = len(place) == 2 and place[0] == "models"
    return model or place == ("train",) or is_part(value, fields or ())


def _refuse_stored(
    document: documents.Document, value: str, place: documents.Place, fields: tuple[str, ...]
) -> None:
    """A run keeps the fields of its scorers, to score again; so no secret may be among them."""
    if place[0] != "scorers" or VARIABLE.search(value):
        return
    if is_secret(fields[-1]) or any(True for _ in of_address(value)):
        raise document.error(place, "the run keeps a scorer's fields, so write a secret as ${NAME}")


def _expand(document: documents.Document, value: Any, place: documents.Place) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return filled(value)
    except HarnessError as error:
        raise document.error(place, str(error)) from error


def reaches(name: str) -> bool:
    """Whether a field of a part says how something is reached, and not what it is."""
    return name in _TRANSPORT or may_hold(name)


def _is_path(place: documents.Place, fields: tuple[str, ...] | None, value: str) -> bool:
    """Files are named by a part's field, or by a leading dot; plug-ins of one's own are not
    moved."""
    name = place[-1]
    if name in ("kind", "backend") or ":" in value.removeprefix("./").removeprefix("../"):
        return False
    own = fields is not None and len(fields) == 1
    named = name in _PATHS and (own or place[0] == "human_labels")
    return named or value.startswith(("./", "../"))
