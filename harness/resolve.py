"""What a suite file says once `--set`, `${NAME}` and paths are filled in, and what identifies it.

Secrets and places (keys, URLs, paths) are used but take no part in the suite's identity, and
secrets are never stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import documents
from harness.records import HarnessError

# What of a suite is made into parts, whose fields may say how something is reached.
# How deep a part's fields lie in each.
_PARTS: dict[Any, int] = {
    "source": 1, "classifier": 1, "train": 1, "classifier_baselines": 2, "models": 2, "scorers": 2,
}  # fmt: skip
# Fields that say where and how something is reached, not what it is: no part of identity.
_TRANSPORT = frozenset(
    (
        "ca_bundle", "timeout", "max_retries", "concurrency", "environment", "start_timeout",
        "client", "api_version", "azure_deployment", "token_provider", "organization", "project",
    )
)  # fmt: skip
# Fields that may hold a secret beside what is none. They are transport as well.
_MIXED = frozenset({"base_url", "proxy", "headers", "env", "token_command"})
_SECRETS = frozenset({"authorization", "credentials", "token", "password", "secret"})
_SECRET_ENDINGS = (
    "api_key", "apikey", "secret_key", "access_key", "_secret", "_password",
    "access_token", "auth_token", "api_token", "hf_token",
)  # fmt: skip
_PATHS = frozenset({"path", "weights", "ca_bundle"})
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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


def resolve(document: documents.Document, folder: Path) -> tuple[Any, Any]:
    """The suite with variables and paths filled in, and what identifies it.

    What may hold a secret keeps its `${NAME}`, which `reveal` fills in where the part is made.
    """

    def walk(value: Any, place: documents.Place) -> tuple[Any, Any]:
        whole: Any
        identity: Any
        if isinstance(value, dict):
            pairs = {key: walk(item, (*place, key)) for key, item in value.items()}
            identity = {key: pair[1] for key, pair in pairs.items() if pair[1] is not _ABSENT}
            whole = {key: pair[0] for key, pair in pairs.items()}
        elif isinstance(value, list):
            items = [walk(item, (*place, i)) for i, item in enumerate(value)]
            whole = [item[0] for item in items]
            identity = [item[1] for item in items if item[1] is not _ABSENT]
        elif _hides(place):
            whole = value
            if (
                _expand(document, value, place) == value
                and place[0] == "scorers"
                and _is_secret(place[-1])
            ):
                raise document.error(
                    place, "the run keeps a scorer's fields, so write a secret as ${NAME}"
                )
        else:
            whole = identity = _expand(document, value, place)
            if isinstance(whole, str) and _is_path(place, whole):
                identity = value
                whole = str(folder / Path(whole).expanduser())
        if _hides(place) or _field(place) in _TRANSPORT:
            identity = _ABSENT
        return whole, identity

    return walk(document.value, ())


_ABSENT = object()


def _expand(document: documents.Document, value: Any, place: documents.Place) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _filled(value)
    except HarnessError as error:
        raise document.error(place, str(error)) from error


def _filled(value: str) -> str:
    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise HarnessError(f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return _VARIABLE.sub(variable, value)


def reveal(options: Mapping[str, Any]) -> dict[str, Any]:
    """A part's options with the secrets filled in from the environment."""

    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [fill(item) for item in value]
        return _filled(value) if isinstance(value, str) else value

    return {key: fill(value) if _may_hold_secret(key) else value for key, value in options.items()}


def _field(place: documents.Place) -> str:
    """The part's own field that a place is or lies in; empty outside of parts."""
    if place[:2] == ("train", "source"):
        place = place[1:]
    depth = _PARTS.get(place[0], len(place)) if place else 0
    return str(place[depth]) if len(place) > depth else ""


def reaches(name: str) -> bool:
    """Whether a field of a part says how something is reached, and not what it is."""
    return name in _TRANSPORT or _may_hold_secret(name)


def _hides(place: documents.Place) -> bool:
    """Whether a place is a field that may hold a secret, or lies in one."""
    return _may_hold_secret(_field(place))


def _may_hold_secret(name: str) -> bool:
    return name in _MIXED or _is_secret(name)


def _is_secret(name: Any) -> bool:
    lower = str(name).lower()
    return lower in _SECRETS or lower.endswith(_SECRET_ENDINGS)


def _is_path(place: documents.Place, value: str) -> bool:
    """Files are named by the field, or by a leading dot; plug-ins of one's own are not moved."""
    name = place[-1]
    if name in ("kind", "backend") or ":" in value.removeprefix("./").removeprefix("../"):
        return False
    return name in _PATHS or value.startswith(("./", "../"))
