"""What makes two requests the same: canonical JSON, keys and seeds.

A key is the SHA-256 of canonical JSON (RFC 8785) over everything that determines a generation
and nothing else: no URL, port, path, secret, time or server version. Keys are stable across
machines and releases; a change of meaning raises `KEY_VERSION`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import rfc8785

from harness.records import Attribution, Media, Message, Request, Sampling

KEY_VERSION = 1


def sha256(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; a file that has not changed since is not read again."""
    status = path.stat()
    return _file_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _file_hash(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files in a folder."""
    if path.is_file():
        return file_hash(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[str(p.relative_to(path)), tree_hash(p)] for p in files])


def canonical(value: Any) -> bytes:
    """Canonical JSON of plain values, tuples and records; media stand as their SHA-256."""
    return rfc8785.dumps(_plain(value))


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical(value))


def text_id(text: str) -> str:
    """The id of a sample known only by its text: 12 hexadecimal digits of its SHA-256."""
    return sha256(text.encode("utf-8", "replace"))[:12]


def request_key(request: Request) -> str:
    """The key under which a request's generation is stored and shared."""
    more: dict[str, Any] = {"repeat": request.repeat}
    if request.code is not None:  # no part of the seed: an edited plug-in draws as it did
        more["code"] = request.code
    return sha256(_canonical_request(request, more))


def request_seed(run_seed: int, request: Request) -> int:
    """The low 31 bits of SHA-256(run seed, request without seed and repeat, repeat)."""
    unseeded = dataclasses.replace(request, sampling=_unseeded(request.sampling))
    fields = _canonical_request(unseeded, {})
    hashed = hashlib.sha256(b"[%d,%b,%d]" % (run_seed, fields, request.repeat)).digest()
    return int.from_bytes(hashed[-4:], "big") & 0x7FFFFFFF


def attribution_key(attribution: Attribution) -> str:
    """The key of an attribution: all that its values follow from, and nothing of what they are."""
    a = attribution
    return digest(
        {
            "version": KEY_VERSION, "classifier": a.classifier, "input": a.input,
            "sample": a.sample, "method": a.method, "settings": a.settings, "unit": a.unit,
            "removal": a.removal, "output": a.output, "target": a.target, "reduce": a.reduce,
            "seed": a.seed,
        }
    )  # fmt: skip


def draw(*parts: Any) -> float:
    """A number in [0, 1) that depends on `parts` alone; the harness's seeded draws."""
    return int.from_bytes(hashlib.sha256(canonical(list(parts))).digest()[:6], "big") / 2**48


def _canonical_request(request: Request, more: Mapping[str, Any]) -> bytes:
    """Canonical JSON of what determines a generation, and of the fields in `more`.

    Cells share most of what their requests hold, so each value is written once. The names of all
    fields are ASCII, whose order is that of RFC 8785 (section 3.2.3).
    """
    fields: dict[str, Any] = {
        "key_version": KEY_VERSION,
        "backend": request.backend,
        "model": request.model,
        "revision": request.revision,
        "messages": request.messages,
        "sampling": request.sampling,
        "cell": request.cell,
        "reads": request.reads,
        **more,
    }
    written = {name: _canonical_value(value) for name, value in fields.items()}
    written["schema"] = canonical(request.schema)  # mappings cannot be looked up
    written["extras"] = canonical(request.extras)
    if request.continuation is not None:  # keys of requests without one are older than the field
        written["continuation"] = canonical(request.continuation)
    pairs = (b'"%b":%b' % (name.encode(), written[name]) for name in sorted(written))
    return b"{%b}" % b",".join(pairs)


@lru_cache(maxsize=8192)
def _canonical_value(value: str | int | Sampling | tuple[Message, ...] | None) -> bytes:
    if isinstance(value, tuple):
        return canonical([_message(message) for message in value])
    return canonical(value)


@lru_cache(maxsize=256)
def _unseeded(sampling: Sampling) -> Sampling:
    return dataclasses.replace(sampling, seed=None)


def _message(message: Message) -> dict[str, Any]:
    parts = [
        {"media": part.media.sha256, "mime": part.media.mime}
        if part.media is not None
        else {"text": part.text}
        for part in message.parts
    ]
    return {"role": message.role, "parts": parts}


def _plain(value: Any) -> Any:
    if isinstance(value, Media):
        return {"sha256": value.sha256, "mime": value.mime}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
