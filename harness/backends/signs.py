"""What a server shows of the model that it serves, as servers of each kind are known to show it.

Times and ids drawn at random are dropped; what is a path is hashed, since it says something of a
machine. `docs/explanation/identity.md` says what is concluded from each.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from harness.identity import sha256
from harness.records import Served

# The JSON of a page below `base_url`, or below the server's own root; None where there is none.
Get = Callable[[str, bool], Awaitable[Any]]

# Where the entry of a model in `/models` holds each sign: OpenAI's list, vLLM's and SGLang's (root,
# parent, max_model_len), llama.cpp's (meta), Mistral's, OpenRouter's and LM Studio's fields.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "root": ("root",),
    "parent": ("parent", "details.parent_model"),
    "owner": ("owned_by", "publisher"),
    "size": ("size", "meta.size"),
    "parameters": ("meta.n_params", "details.parameter_size", "parameters"),
    "length": (
        "max_model_len", "loaded_context_length", "max_context_length", "context_length",
        "context_window", "meta.n_ctx_train",
    ),
    "quantisation": ("quantization", "details.quantization_level"),
}  # fmt: skip
# Names under which a server gives a hash of what it loaded.
_DIGESTS = ("digest", "model_sha", "weights_sha256", "weights_hash", "sha256", "checksum")
_DIGEST = re.compile(r"(?:[a-z0-9]+:)?[0-9a-f]{12,128}", re.IGNORECASE)
_PATH = re.compile(r"(?:[/~\\]|[A-Za-z]:[\\/]|\.{1,2}[/\\])")


async def look(get: Get, model: str) -> Served:
    """What a server shows of `model`; an empty record where it shows nothing."""
    entry = _entry(await get("models", False), model)
    if entry is None:
        return Served()
    signs = _signs(entry)
    signs["served_model"] = _without_path(str(entry.get("id") or entry.get("name") or model))
    proof = _digest(entry)
    owner = str(entry.get("owned_by", "")).lower()
    if owner == "library":  # Ollama: what the name stands for now
        tag = _entry(await get("api/tags", True), model) or {}
        signs |= _signs(tag)
        proof = proof or _digest(tag)
        signs |= _build(await get("api/version", True), "version")
    elif owner in ("llamacpp", "llama.cpp"):
        signs |= _build(await get("props", True), "build_info")
    elif owner == "vllm":
        signs |= _build(await get("version", True), "version")
    elif owner == "sglang":
        signs |= _build(await get("get_server_info", True), "version")
    elif owner and owner == str(entry.get("id", "")).lower():  # text-generation-inference
        info = await get("info", True)
        proof = proof or _digest(info)
        signs |= _build(info, "version")
    return Served(proof, signs)


def _entry(listed: Any, model: str) -> dict[str, Any] | None:
    """The entry of a model in a list of models: the one of its name, else the only one."""
    if isinstance(listed, dict):
        listed = listed.get("data") or listed.get("models")
    entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    for name in (model, f"{model}:latest"):
        for entry in entries:
            if name in (entry.get("id"), entry.get("name"), entry.get("model")):
                return entry
    return entries[0] if len(entries) == 1 else None


def _signs(entry: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for sign, places in _PLACES.items():
        value = next((v for place in places if (v := _at(entry, place)) is not None), None)
        if value is not None:
            found[sign] = _hashed(value) if sign == "root" else _without_path(value)
    return found


def _at(entry: Any, place: str) -> str | None:
    for step in place.split("."):
        entry = entry.get(step) if isinstance(entry, dict) else None
    plain = isinstance(entry, str | int | float) and not isinstance(entry, bool)
    return str(entry) if plain and str(entry).strip() else None


def _digest(entry: Any) -> str | None:
    for name in _DIGESTS:
        value = _at(entry, name)
        if value is not None and _DIGEST.fullmatch(value):
            return f"digest:{value.lower().rpartition(':')[2]}"
    return None


def _build(page: Any, name: str) -> dict[str, str]:
    value = _at(page, name)
    return {} if value is None else {"build": value[:80]}


def _without_path(value: str) -> str:
    return _hashed(value) if _PATH.match(value) else value[:120]


def _hashed(value: str) -> str:
    return sha256(value.encode("utf-8", "replace"))[:16]
