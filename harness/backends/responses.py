"""OpenAI's Responses API in the terms of chat completions, both ways.

Some hosted models have no chat completions. Their requests are translated from those of a chat and
their replies into those of one, so that refusals, truncation, reasoning and usage are read in one
place (`replies`). Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.backends.replies import read_reply
from harness.records import Generation

LIMIT = "max_output_tokens"
SETTLED = ("input", "instructions", "background", LIMIT)  # what the harness sets, or cannot use
_LOGPROBS = "message.output_text.logprobs"
# Why a response is incomplete, as a chat completion's finish reason.
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


def as_parameters(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's parameters by the names that the Responses API has for them.

    What it has no name for (`stop`, `seed`, `top_k`) stays as it is: a server says whether it takes
    it. Nothing is kept on the server (`store: false`).
    """
    named = {name: value for name, value in asked.items() if name != "logprobs"}
    named.setdefault("store", False)
    described = named.pop("response_format", None)
    if described is not None:
        schema = {"type": "json_schema", **described["json_schema"]}
        named["text"] = {**(named.get("text") or {}), "format": schema}
    if asked.get("logprobs"):
        named["include"] = [*(named.get("include") or ()), _LOGPROBS]
    return named


def as_input(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A chat's messages as items of input: the names of parts differ, plain text does not."""
    return [
        {"role": message["role"], "content": _parts(message["role"], message["content"])}
        for message in messages
    ]


def _parts(role: str, content: Any) -> Any:
    if isinstance(content, str):
        return content
    text = "output_text" if role == "assistant" else "input_text"
    return [
        {"type": text, "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
        for part in content
    ]


def read_response(body: str) -> Generation:
    """The generation in a response's body; what is none is read, and told, as in a chat."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return read_reply(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("output"), list):
        return read_reply(body)
    return read_reply(json.dumps(_completion(reply), ensure_ascii=False))


def _completion(reply: Mapping[str, Any]) -> dict[str, Any]:
    """A response as a chat completion; an answer in several messages becomes one text."""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    logprobs: list[Any] = []
    for item in filter(_is_mapping, reply["output"]):
        if item.get("type") == "reasoning":
            thoughts += _texts(item.get("content")) or _texts(item.get("summary"))
        elif item.get("type") == "message":
            parts = [part for part in item.get("content") or () if _is_mapping(part)]
            said = "".join(_texts(parts))
            # A model may say what it is about to do before it answers; that is no answer.
            (thoughts if item.get("phase") == "commentary" else texts).append(said)
            refusals += [str(p["refusal"]) for p in parts if p.get("refusal")]
            logprobs += [one for part in parts for one in part.get("logprobs") or ()]
    message = {
        "role": "assistant",
        "content": "\n\n".join(filter(None, texts)),
        "refusal": "\n\n".join(refusals) or None,
        "reasoning_content": "\n\n".join(filter(None, thoughts)) or None,
    }
    choice = {
        "message": message,
        "finish_reason": _finish_reason(reply),
        "logprobs": {"content": logprobs} if logprobs else None,
    }
    return {
        "model": reply.get("model"),
        "system_fingerprint": reply.get("system_fingerprint"),
        "choices": [choice],
        "usage": _usage(reply.get("usage")),
    }


def _finish_reason(reply: Mapping[str, Any]) -> object:
    status = reply.get("status")
    if status == "completed":
        return "stop"
    if status == "failed":
        return "error"
    if status != "incomplete":
        return status  # queued, in progress, cancelled, or none: no finished answer
    details = reply.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return _INCOMPLETE.get(str(reason), reason or status)


def _usage(usage: object) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }


def _texts(parts: object) -> list[str]:
    found = parts if isinstance(parts, list) else ()
    return [p["text"] for p in found if _is_mapping(p) and isinstance(p.get("text"), str)]


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)
