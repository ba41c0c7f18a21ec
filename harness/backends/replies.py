"""From a server's reply to a `Generation`: what it answered, or why it did not.

Pure functions: refusals, truncation and overlong prompts are told from plain failures, and a
parameter that a server does not take from one that is merely wrong. Servers word the same thing
differently; each wording that is understood here is a row of the tests.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from harness.backends.answers import clean, shortened
from harness.backends.known import (
    REASONING_FIELDS,
    REFUSAL_PARTS,
    TEXT_PARTS,
    THINKING_PARTS,
    WORST_FIRST,
    ending,
)
from harness.backends.settle import CALLED_TOOL, NO_REASON, emptied, noted, settled
from harness.records import Generation, Outcome

LOWEST_LOGPROB = -9999.0  # vLLM's own stand-in for minus infinity, which JSON cannot hold

# What else of a choice may say why the answer ended, beside `finish_reason`.
_REASONS = ("native_finish_reason", "finish_details", "done_reason", "stop_type")

FILTERED = "a filter of the server answered instead of the model"
NO_TEXT_PARTS = "parts of the answer are no text and left out ({}); look at what the server returns"


def read_reply(body: str) -> Generation:
    """The generation in a chat completion's body; what is none becomes the outcome `server`."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return _failed("server", _no_json(body))
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and isinstance(choice.get("text"), str):  # of /v1/completions
        choice = {"message": {"content": choice["text"]}, **choice}
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return _failed("server", f"the server's reply has no choices: {shortened(body)}")
    if reply.get("error") or choice.get("error"):  # a gateway whose upstream failed halfway
        said = json.dumps(reply.get("error") or choice.get("error"), ensure_ascii=False)
        return _failed("server", f"the model failed while it answered: {shortened(said)}")
    message = choice["message"]
    text, thoughts, refusals, others = _content(message.get("content"))
    spoken = [message[name] for name in REASONING_FIELDS if _filled(message.get(name))][:1]
    spoken = spoken or _details(message.get("reasoning_details"))
    reasoning = "\n\n".join(clean(part) for part in [*spoken, *thoughts] if _filled(part))
    if _filled(message.get("refusal")):
        refusals.append(clean(message["refusal"]))
    reason = _reason(choice)
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt_ids = reply.get("prompt_token_ids") or choice.get("prompt_token_ids")
    found = Generation(
        text=text,
        reasoning=reasoning or None,
        finish_reason=reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        prompt_token_ids=_ids(prompt_ids),
        token_ids=_ids(choice.get("token_ids")),
        logprobs=_logprobs(choice.get("logprobs")),
        served_model=_string(reply.get("model")),
        fingerprint=_string(reply.get("system_fingerprint")),
    )
    found = settled(found)
    if found.outcome == "server":
        return _failed("server", f"{found.error}: {shortened(body)}")
    if refusals:
        found = replace(found, outcome="refusal")
    if found.outcome == "refusal":
        found = replace(found, text=found.text or "\n".join(refusals))
    if reason is None:
        found = noted(found, NO_REASON)
    if message.get("tool_calls") or message.get("function_call"):
        found = noted(found, CALLED_TOOL)
    if others:
        found = noted(found, NO_TEXT_PARTS.format(", ".join(sorted(others))))
    return emptied(found)


def _no_json(body: str) -> str:
    if body.lstrip().startswith("data:"):
        return f"the server streams although it was not asked to: {shortened(body)}"
    return f"the server's reply is not JSON: {shortened(body) or 'it is empty'}"


def _reason(choice: dict[str, Any]) -> str | None:
    """Why the answer ended, in the server's word: of several the worst, since gateways soften.

    `None` where nothing is said, also where the text "null" stands for nothing.
    """
    said = [choice.get("finish_reason"), *(choice.get(name) for name in _REASONS)]
    said = [reason.get("type") if isinstance(reason, dict) else reason for reason in said]
    words = [
        clean(word).strip() if isinstance(word, str) else shortened(json.dumps(word), 60)
        for word in said
        if word is not None
    ]
    words = [word for word in words if word.casefold() not in ("", "null", "none")]
    known = [word for word in words if ending(word) != "unknown"]
    if known and ending(words[0]) != "unknown":  # only `finish_reason` itself may be unknown
        words = known
    return min(words, key=lambda word: WORST_FIRST.index(ending(word)), default=None)


def _filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _details(details: object) -> list[str]:
    """OpenRouter's `reasoning_details`: a list of texts and summaries."""
    rows = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    return [str(row.get("text") or row.get("summary") or "") for row in rows]


def _content(content: object) -> tuple[str, list[str], list[str], set[str]]:
    """Text, thoughts, refusals and the types of parts that are none of these.

    Content is a string or, from some servers, a part or a list of parts.
    """
    if isinstance(content, str):
        return clean(content), [], [], set()
    if isinstance(content, dict):  # one part, or Gemini's {"parts": [...]}
        content = content.get("parts") if isinstance(content.get("parts"), list) else [content]
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    others: set[str] = set()
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(part, dict):
            others.add(type(part).__name__)
        elif kind in THINKING_PARTS or part.get("thought") is True:
            inner = next(
                (part[name] for name in (str(kind), "text", "thinking") if part.get(name)), ""
            )
            thoughts.append(inner if isinstance(inner, str) else _content(inner)[0])
        elif kind in REFUSAL_PARTS:
            refusals.append(clean(str(part.get("refusal") or part.get("text") or "")))
        elif isinstance(part.get("text"), str) and (kind is None or kind in TEXT_PARTS):
            texts.append(part["text"])
        else:
            others.add(shortened(str(kind), 40))
    return clean("".join(texts)), thoughts, refusals, others


def _string(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ids(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
        return None
    return tuple(value)


def _logprobs(value: object) -> tuple[float, ...] | None:
    tokens = value.get("content") if isinstance(value, dict) else None
    if not isinstance(tokens, list):
        return None
    numbers = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    return tuple(_logprob(number) for number in numbers)


def _logprob(number: Any) -> float:
    return LOWEST_LOGPROB if math.isnan(number) else max(float(number), LOWEST_LOGPROB)


# --- failures -----------------------------------------------------------------------------

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|maximum model length"
    r"|greater than max_model_len"
    r"|available context size|context (?:window|length)|reduce the length|n_ctx"
    r"|max_tokens must be at least 1, got -|prompt (?:\([^)]*\) )?is too long|input is too long"
    r"|inputs`? tokens \+|inputs`? must have less than|longer than the (?:maximum|model)"
    r"|maximum (?:allowed )?input length|input token count .{0,80}exceeds",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(
    r"content_filter|content_policy_violation|content management policy|input was flagged",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|n't support|unrecogni[sz]ed|does not accept|invalid parameter"
    r"|unknown (?:name|field|parameter|argument|key)|extra_forbidden|extra (?:inputs|fields)"
    r"|unexpected (?:keyword|parameter|argument|field|property)|additional propert"
    r"|not permitted|not allowed|only .{1,40} (?:is|are) (?:allowed|supported)|deprecated"
    r"|cannot find field|cannot both be|not available|not (?:been )?enabled|not implemented",
    re.IGNORECASE,
)
_BAD_SCHEMA = re.compile(r"invalid[ _](?:json_)?schema", re.IGNORECASE)
_NO_SYSTEM = re.compile(
    r"system role (?:is )?not supported|role.{0,20} does not support.{0,3} ?.system"
    r"|(?:developer|system) (?:instruction|message|prompt|role)s? (?:is|are) not"
    r" (?:enabled|supported|allowed)"
    r"|roles must alternate|only user(?:,| and) (?:assistant|model)[\w, ]* roles are supported"
    r"|(?:unexpected|unsupported|invalid|unknown) (?:message )?(?:role|variant)s?:? ?.?system"
    r"|role .?system.? (?:is )?not (?:supported|allowed|permitted)"
    r"|does not support (?:the )?system (?:role|message|prompt|instruction)",
    re.IGNORECASE,
)


# A response of the Responses API that failed on the way has one of these codes, and status 200.
_CODES: dict[str, int] = {"server_error": 500, "rate_limit_exceeded": 429}


def true_status(status: int, body: str) -> int:
    """The status of a reply; an error sent with 200, as gateways do, has that of its code."""
    if status >= 300 or '"error"' not in body:
        return status
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return status
    if not isinstance(reply, dict) or reply.get("choices"):
        return status
    error = reply if reply.get("object") == "error" else reply.get("error")
    if not error:
        return status
    code = error.get("code") if isinstance(error, dict) else None
    code = _CODES.get(code, code) if isinstance(code, str) else code
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def error_message(body: str) -> str:
    """What a server says went wrong, on one line of at most 300 characters; empty if nothing."""
    try:
        error: Any = json.loads(body)
    except (ValueError, RecursionError):
        return shortened(re.sub(r"<[^>]*>", " ", body))
    if isinstance(error, list) and len(error) == 1:  # some servers wrap it in a list
        error = error[0]
    for name in ("error", "message", "detail"):
        if isinstance(error, dict) and error.get(name):
            error = error[name]
    return shortened(error if isinstance(error, str) else json.dumps(error, ensure_ascii=False))


def refused_parameter(status: int, body: str, sent: Collection[str]) -> str | None:
    """Which of the parameters sent a server does not take; `system` is the system role.

    Of several that are named the first is meant ("'max_tokens' is not supported, use
    'max_completion_tokens'"; "unknown field `seed`, expected one of ..."). `None` where the
    failure has another cause.
    """
    if status not in (400, 405, 415, 422, 500, 501) or _TOO_LONG.search(body):
        return None
    said = error_message(body) + " " + body.replace('\\"', '"')
    if "system" in sent and _NO_SYSTEM.search(said):
        return "system"
    if _BAD_SCHEMA.search(said) or not _NOT_TAKEN.search(said):
        return None
    if "top_p" in sent and "cannot both be" in said:
        return "top_p"
    places = {name: found.start() for name in sent if (found := _named(name).search(said))}
    return min(places, key=lambda name: places[name], default=None)


def _named(name: str) -> re.Pattern[str]:
    """Where a parameter is named: `stop`, `seed` and the like are words of prose as well."""
    name = re.escape(name)
    return re.compile(
        r"(?:['\"`\[:]\s*|(?:parameter|param|argument|field|option)s? |invalid |\b(?=\w+_))"
        rf"{name}(?!\w)"
        rf"|\b{name}(?= ?=| (?:is|are|param|arg|field|option|value))|^{name}: "
    )


def read_failure(status: int, body: str) -> Generation:
    """The outcome of a reply with an error status (or an error in its body)."""
    said = error_message(body)
    if status != 429 and _TOO_LONG.search(body):
        return _failed("too_long", f"the prompt is too long for the model: {said}")
    if status in (400, 403) and _FILTERED.search(body):
        # The words are the filter's, not the model's, so they are no answer that could be scored.
        note = f"{FILTERED}: {shortened(body) if _completion(body) else said}"
        return Generation(outcome="refusal", finish_reason="content_filter", notes=(note,))
    return _failed("server", f"the server answered HTTP {status}" + (f": {said}" if said else ""))


def _completion(body: str) -> bool:
    """Whether the body of an error holds a chat completion."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(reply, dict) and bool(reply.get("choices"))


def _failed(outcome: Outcome, error: str) -> Generation:
    return Generation(outcome=outcome, error=error)
