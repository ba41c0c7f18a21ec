"""What a suite file says once `--set`, `${NAME}` and paths are filled in, and what identifies it.

Secrets and places (keys, URLs, paths) are used but take no part in the suite's identity, and
secrets are never stored.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from harness import documents
from harness.records import HarnessError

# Fields of a part that say where and how it is reached, not what it is: no part of identity.
_TRANSPORT = frozenset(
    [
        "base_url",
        "ca_bundle",
        "proxy",
        "timeout",
        "max_retries",
        "concurrency",
        "environment",
        "start_timeout",
    ]
)
_SECRETS = frozenset(
    ["headers", "env", "authorization", "credentials", "token", "password", "secret"]
)
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
    """The suite with variables and paths filled in, and what identifies it."""

    def walk(value: Any, place: documents.Place) -> tuple[Any, Any]:
        if isinstance(value, dict):
            pairs = {key: walk(item, (*place, key)) for key, item in value.items()}
            identity = {key: pair[1] for key, pair in pairs.items() if pair[1] is not _ABSENT}
            whole: Any = {key: pair[0] for key, pair in pairs.items()}
        elif isinstance(value, list):
            items = [walk(item, (*place, i)) for i, item in enumerate(value)]
            whole = [item[0] for item in items]
            identity = [item[1] for item in items]  # type: ignore[assignment]
        else:
            whole = _expand(document, value, place)
            identity = whole
            if isinstance(whole, str) and _is_path(place, whole):
                identity = value
                whole = str(folder / Path(whole).expanduser())
        name = next((step for step in reversed(place) if isinstance(step, str)), "")
        if len(place) > 1 and (name in _TRANSPORT or _is_secret(name)):
            identity = _ABSENT  # type: ignore[assignment]
        return whole, identity

    return walk(document.value, ())


_ABSENT = object()


def _expand(document: documents.Document, value: Any, place: documents.Place) -> Any:
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise document.error(place, f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return _VARIABLE.sub(variable, value)


def _is_secret(name: str) -> bool:
    return name.lower() in _SECRETS or name.lower().endswith(_SECRET_ENDINGS)


def _is_path(place: documents.Place, value: str) -> bool:
    """Files are named by the field, or by a leading dot; plug-ins of one's own are not moved."""
    name = place[-1]
    if name in ("kind", "backend") or ":" in value.removeprefix("./").removeprefix("../"):
        return False
    return name in _PATHS or value.startswith(("./", "../"))
