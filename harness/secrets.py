"""What of a suite may be secret, where it is filled in, and how it is struck out of all else.

A key, a password, the query of an address stay as `${NAME}` until the part that they belong to is
made: whatever is stored, printed or compared before holds the name. What is filled in is remembered
for as long as the process lives, and `conceal` strikes it out, in each form that it may come back
in, where text is stored or shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

HIDDEN = "[hidden]"
# Fields that may hold a secret beside what is none, and say how a part is reached.
_MIXED = frozenset({"base_url", "proxy", "headers", "env", "token_command"})
_SECRETS = frozenset(
    ("authorization", "credential", "credentials", "token", "password", "passwd", "pwd", "secret",
     "secrets", "passphrase", "cookie", "bearer", "private_key")
)  # fmt: skip
_SECRET_ENDINGS = (
    "api_key", "apikey", "secret_key", "access_key", "account_key", "private_key", "_secret",
    "_password", "_passphrase", "access_token", "auth_token", "api_token", "hf_token",
)  # fmt: skip
# Fields that name a thing and may hold a secret: they stay as written, and count as written.
_DOUBTFUL = re.compile(
    r"(?:^|_)(?:keys?|auth|login|dsn|url|uri|endpoint|proxy|webhook|connection|connection_string|"
    r"signature|sas|tokens?|secrets?|passwords?|cookies?)$"
)
# Variables that by their own names hold a secret, whatever field they stand in.
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PWD|CREDENTIALS?|SAS)$", re.I
)
_NAMING = frozenset({"kind", "backend", "model", "name", "path", "weights"})
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SETTING = re.compile(r"(\w+)\s*=\s*([^;&\s]+)")  # of a connection string
# Shorter values are switches and placeholders; striking those out would garble what is said.
_SHORTEST = 6
# Values of queries that say which interface is meant.
_PUBLIC_QUERY = frozenset({"api-version", "api_version", "version", "deployment", "alt"})

_known: set[str] = set()
_ordered: tuple[str, ...] = ()


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret: `api_key`, `hf-token`, `clientSecret`."""
    lower = _snake(name)
    return lower in _SECRETS or lower.removesuffix("s").endswith(_SECRET_ENDINGS)


def may_hold(name: str) -> bool:
    """Whether a part's own field of this name says how it is reached, and may hold a secret."""
    return _snake(name) in _MIXED or is_secret(name)


def stays(path: Sequence[str], text: str) -> bool:
    """Whether a text keeps its `${NAME}` until its part is made.

    `path` names the fields that lead to it from the part, entries of lists left out.
    """
    variables = VARIABLE.findall(text)
    if not variables:
        return False
    if "://" in text or any(may_hold(name) or _DOUBTFUL.search(_snake(name)) for name in path):
        return True
    naming = path and path[-1] in _NAMING
    return not naming and any(_SECRET_VARIABLE.search(name) for name in variables)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")


# --- filling in -----------------------------------------------------------------------------


def filled(text: str) -> str:
    """The text with the environment's values. Raises `HarnessError` for one that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            from harness.records import (
                HarnessError,
            )  # every command imports this file, at its start

            raise HarnessError(f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return VARIABLE.sub(value, text)


def reveal(options: Mapping[str, Any]) -> dict[str, Any]:
    """A part's options with everything filled in that stayed as `${NAME}`, at any depth.

    What is secret of it is known from then on, and `conceal` strikes it out.
    """
    return {key: _revealed(item, (str(key),)) for key, item in options.items()}


def _revealed(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        above = () if is_part(value, path) else path
        return {key: _revealed(item, (*above, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(item, path) for item in value]
    if not isinstance(value, str):
        return value
    whole = filled(value) if stays(path, value) else value
    _learn(path, value, whole)
    return whole


def is_part(value: Any, path: Sequence[str] = ()) -> bool:
    """Whether a mapping is a part: it names its kind. In headers and the like, `kind` is a name as
    any other; `path` names the fields that lead to the mapping from the part around it."""
    named = isinstance(value, Mapping) and isinstance(value.get("kind"), str)
    return named and not (path and may_hold(path[0]))


def _learn(path: Sequence[str], written: str, whole: str) -> None:
    names = [_snake(name) for name in path]
    if "://" in whole:
        learn(of_address(whole))
    elif whole != written:
        learn(os.environ[name] for name in VARIABLE.findall(written))
        learn(value for name, value in _SETTING.findall(whole) if is_secret(name))
    elif any(map(is_secret, names)):
        learn([whole])


# --- striking out ---------------------------------------------------------------------------


def learn(secrets: Iterable[str]) -> None:
    """Makes secrets known to `conceal`; what is too short or a plain number is none."""
    global _ordered
    for secret in secrets:
        for one in {secret, secret.strip(), secret.strip().partition(" ")[2]}:
            if len(one) >= _SHORTEST and not one.isdigit() and not one.startswith("/"):
                _known.update(forms(one))
    _ordered = tuple(sorted(_known, key=lambda form: (-len(form), form)))


def conceal(text: str) -> str:
    """The text without any secret that was filled in."""
    return strike(text, _ordered)


def strike(text: str, secrets: Iterable[str]) -> str:
    """The text without these; a longer one has to come before what is a part of it."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def concealed(value: Any) -> Any:
    """A value of JSON whose texts are concealed."""
    if isinstance(value, Mapping):
        return {key: concealed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [concealed(item) for item in value]
    return conceal(value) if isinstance(value, str) else value


def forms(secret: str) -> set[str]:
    """A secret as it may come back: percent-encoded or decoded, in JSON, in Python, in base64."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    found = set(plain)
    for one in plain:
        encoded = {
            quote(one, safe=""),
            quote(one),
            quote_plus(one),
            quote(one, safe="/:?@!$&'()*+,;="),
        }
        found |= encoded | {_lower_hex(text) for text in encoded}
        found |= {json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], repr(one)[1:-1]}
        found.add(json.dumps(one)[1:-1].replace("/", "\\/"))
        found.add(base64.b64encode(one.encode("utf-8", "replace")).decode("ascii"))
    return {form for form in found if len(form) >= min(_SHORTEST, len(secret))}


def _lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), text)


def of_address(address: str) -> Iterator[str]:
    """What of a URL is secret: password, a user without one, values of the query, as written and
    decoded. Texts that are no URL have nothing."""
    try:
        parts = urlsplit(address.strip())
        user, password = parts.username, parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
        yield base64.b64encode(f"{unquote(user or '')}:{unquote(password)}".encode()).decode()
    elif user:  # a user without a password is a key
        yield user
        yield base64.b64encode(f"{unquote(user)}:".encode()).decode()
    written = [pair.partition("=") for pair in re.split("[&;]", parts.query)]
    for name, _, value in written:
        if value and unquote(name).lower() not in _PUBLIC_QUERY:
            yield value
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if value and name.lower() not in _PUBLIC_QUERY:
            yield value
