"""From a server's reply to a `Generation`, and from an answer's text to what it holds.

Pure functions: reasoning is set apart, refusals, truncation and overlong prompts are told from
plain failures, and JSON is found in code fences and prose. Servers word the same thing
differently; the patterns here are what OpenAI, Azure, vLLM, SGLang, TGI, llama.cpp, Ollama,
LiteLLM, Mistral and Gemini say, and each is a row of the tests.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from harness.records import Generation, HarnessError, Outcome

LOWEST_LOGPROB = -9999.0  # vLLM's own stand-in for minus infinity, which JSON cannot hold

_REFUSED = ("content_filter", "refusal", "safety")  # finish reasons
_CUT_OFF = ("length", "max_tokens", "model_length")


# --- text ---------------------------------------------------------------------------------


def well_formed(text: str) -> str:
    """The text as valid Unicode: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean(text: str) -> str:
    """Well-formed text without a leading byte-order mark, NUL replaced by U+FFFD."""
    return well_formed(text).lstrip("\ufeff").replace("\0", "\ufffd")


_THINK = re.compile(r"<(/?)think(?:ing)?>|\[(/?)THINK\]", re.IGNORECASE)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer and the reasoning written between `<think>` tags, `None` where there are none.

    All that stands before a closing tag is reasoning, also where a chat template has swallowed
    the opening tag; so is all that follows a tag that is never closed (cut off by the limit).
    """
    answer: list[str] = []
    reasoning: list[str] = []
    position = 0
    thinking = False
    for tag in _THINK.finditer(text):
        closing = bool(tag[1] or tag[2])
        (reasoning if thinking or closing else answer).append(text[position : tag.start()])
        thinking = not closing
        position = tag.end()
    if not position:
        return text, None
    (reasoning if thinking else answer).append(text[position:])
    thoughts = "\n\n".join(piece.strip() for piece in reasoning if piece.strip())
    return "".join(answer).strip(), thoughts or None


# A refusal opens the answer, is all there is to it, and refuses the request as such. Saying what
# cannot be known, seen or ruled out is an answer; so is a disclaimer that an explanation follows.
_SORRY = r"(?:(?:i'm|i am|we're) (?:very |so |really )?sorry|(?:my )?apologies|i apologi[sz]e|sorry"
_SORRY += r"|unfortunately|regrettably|as an ai(?: language)?(?: model| assistant)?)"
_UNABLE = r"(?:i|we) (?:(?:can't|cannot|can not|won't|will not|must|have to)(?: be able to)?"
_UNABLE += r"|(?:am|'m|are) (?:unable|not able|not allowed|not permitted) to|decline|refuse)"
_REQUEST = r"(?:that|this|it|your request|(?:that|this|the|such)(?: kind of| type of)? "
_REQUEST += r"(?:request|question|topic|task|information|content|advice|prompt)s?"
_REQUEST += r"|requests? like th(?:at|is))"
_ADVICE = r"(?:an? |any )?(?:medical|personali[sz]ed|professional|clinical|health)(?: medical)? "
_ADVICE += r"(?:advice|guidance|diagnos[ie]s|opinions?|information)"
_DEED = (
    rf"(?:(?:help|assist)(?: you)?(?: (?:with|on|in) (?:{_REQUEST}|{_ADVICE}))?"
    rf"|(?:comply|continue)(?: with {_REQUEST})?|decline(?: {_REQUEST}| to \w+(?: {_REQUEST})?)?"
    rf"|do {_REQUEST}|(?:answer|discuss|fulfil+|complete|process|engage (?:with|in)) {_REQUEST}"
    r"|(?:provide|give|offer|generate|create|write|share)(?: you)?(?: with)?"
    rf" (?:{_REQUEST}|{_ADVICE})"
    rf"|to (?:answer|discuss|help|comply|engage|provide|assist)(?: (?:with )?{_REQUEST})?)"
)
_OPENING = re.compile(
    rf"(?:{_SORRY},? (?:but |that |and )?)?(?:{_SORRY},? (?:but )?)?{_UNABLE} {_DEED}"
    r"(?: for you| at this time| right now| here)?"
    r"(?: (?:as|because|since|due to) [^.!?]*)?"
    r"(?:[.!]|,? (?:but|however,?) (?:i (?:can|could|would)|i'd|feel free|please|you (?:can|may))"
    r"|$)"
)
_APOLOGY = re.compile(rf"{_SORRY},? (?:but )?(?:i|we) (?:can't|cannot|won't)\.?$")
_LONGEST_REFUSAL = 500  # characters; chosen: what is longer explains something all the same


def refused(text: str) -> bool:
    """Whether an answer is a refusal in words; conservative, English.

    It is one where it opens with (an apology and) "I can't / won't / am unable to / decline" and
    help, assist, comply, answer, discuss, provide ... with an object that is the request itself or
    medical advice, the sentence ends there, and the whole stays under 500 characters.
    """
    plain = re.sub(r"[*_#>\"“”]", "", text.replace("’", "'").replace("‘", "'"))
    plain = " ".join(plain.split()).lower().replace("i'm unable", "i am unable")
    plain = plain.replace("i'm not", "i am not").lstrip("\ufeff")
    if len(plain) > _LONGEST_REFUSAL:
        return False
    return bool(_OPENING.match(plain) or _APOLOGY.match(plain))


# --- JSON ---------------------------------------------------------------------------------

_FENCE = re.compile(r"```[\w+-]*[ \t]*\r?\n?(.*?)```", re.DOTALL)
_RESTARTS = 50  # stray brackets after which a text is given up; chosen, bounds the time


def parse_json(text: str) -> object | None:
    """The first JSON value of an answer: all of it, in a code fence, or amid prose.

    `None` where there is none (and for `null`). A value that is cut off counts as none, and
    nothing inside it is taken for the answer.
    """
    return next(_values(text), None)


def validate(text: str, schema: Mapping[str, Any]) -> tuple[object | None, str | None]:
    """An answer's JSON value and, in one sentence, what breaks the schema (2020-12).

    Where an answer holds several values, the first that fits; the error is `None` then. Raises
    `HarnessError` for a schema that refers to another document.
    """
    import jsonschema
    import referencing
    import referencing.exceptions

    values = list(_values(text))
    if not values:
        return None, "the answer holds no complete JSON value"
    # With a registry of its own the validator fetches nothing from the network.
    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    try:
        for value in values:
            if validator.is_valid(value):
                return value, None
        error = jsonschema.exceptions.best_match(validator.iter_errors(values[0]))
    except referencing.exceptions.Unresolvable as missing:
        raise HarnessError(f"the answer's schema refers to what it lacks: {missing}") from missing
    return values[0], _short(f"{error.json_path}: {error.message}" if error else "unknown")


def _values(text: str) -> Iterator[object]:
    text = clean(text).strip().lstrip("\ufeff")
    for whole in (text, *(match[1].strip() for match in _FENCE.finditer(text))):
        found, value = _load(whole)
        if found:
            yield value
            return
    for start, end in _groups(text):
        found, value = _load(text[start:end])
        if found:
            yield value


def _load(text: str) -> tuple[bool, object]:
    try:
        return True, json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return False, None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is out of range")
    return number


def _groups(text: str) -> Iterator[tuple[int, int]]:
    """Outermost balanced brackets, in order; nothing from within a JSON value that is cut off."""
    position = 0
    for _ in range(_RESTARTS):
        opening = re.compile(r"[{\[]").search(text, position)
        if opening is None:
            return
        end = _closing(text, opening.start())
        if end is not None:
            yield opening.start(), end
            position = end
        elif re.compile(r'\{\s*"|\[\s*[{\["]').match(text, opening.start()):
            return
        else:
            position = opening.end()


def _closing(text: str, start: int) -> int | None:
    stack: list[str] = []
    for token in re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL).finditer(text, start):
        mark = token[0]
        if mark in "{[":
            stack.append("}" if mark == "{" else "]")
        elif mark in "}]":
            if stack.pop() != mark:
                return None
            if not stack:
                return token.end()
    return None


# --- replies ------------------------------------------------------------------------------


def read_reply(body: str) -> Generation:
    """The generation in a chat completion's body; what is none becomes the outcome `server`."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return _failed("server", f"the server's reply is not JSON: {_short(body) or 'it is empty'}")
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return _failed("server", f"the server's reply has no choices: {_short(body)}")
    message = choice["message"]
    text, thoughts = _content(message.get("content"))
    text, thought = split_reasoning(text)
    spoken = [message.get("reasoning_content") or message.get("reasoning"), *thoughts, thought]
    reasoning = "\n\n".join(clean(part) for part in spoken if isinstance(part, str) and part)
    refusal = message.get("refusal")
    reason = choice.get("finish_reason")
    if reason == "error":  # a gateway whose upstream failed halfway
        return _failed("server", f"the model failed while it answered: {_short(body)}")
    outcome: Outcome = "ok"
    if reason in _REFUSED or (isinstance(refusal, str) and refusal.strip()):
        outcome = "refusal"
        text = text or clean(str(refusal or ""))
    elif reason in _CUT_OFF:
        outcome = "truncated"
    elif not text.strip():
        outcome = "empty"
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt_ids = reply.get("prompt_token_ids") or choice.get("prompt_token_ids")
    return Generation(
        text=text,
        reasoning=reasoning or None,
        outcome=outcome,
        finish_reason=_string(reason),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        prompt_token_ids=_ids(prompt_ids),
        token_ids=_ids(choice.get("token_ids")),
        logprobs=_logprobs(choice.get("logprobs")),
        served_model=_string(reply.get("model")),
        fingerprint=_string(reply.get("system_fingerprint")),
    )


def _content(content: object) -> tuple[str, list[str]]:
    """Text and thoughts; content is a string or, from some servers, a list of parts."""
    if isinstance(content, str):
        return clean(content), []
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            thoughts.append(inner if isinstance(inner, str) else _content(inner)[0])
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return clean("".join(texts)), thoughts


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


def true_status(status: int, body: str) -> int:
    """The status of a reply; an error sent with 200, as gateways do, has that of its code."""
    if status >= 300 or '"error"' not in body:
        return status
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return status
    if not isinstance(reply, dict) or reply.get("choices") or not reply.get("error"):
        return status
    code = reply["error"].get("code") if isinstance(reply["error"], dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def error_message(body: str) -> str:
    """What a server says went wrong, on one line of at most 300 characters; empty if nothing."""
    try:
        error: Any = json.loads(body)
    except (ValueError, RecursionError):
        return _short(re.sub(r"<[^>]*>", " ", body))
    if isinstance(error, list) and len(error) == 1:  # Gemini wraps its error in a list
        error = error[0]
    for name in ("error", "message", "detail"):
        if isinstance(error, dict) and error.get(name):
            error = error[name]
    return _short(error if isinstance(error, str) else json.dumps(error, ensure_ascii=False))


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
        return Generation(said, outcome="refusal", finish_reason="content_filter")
    return _failed("server", f"the server answered HTTP {status}" + (f": {said}" if said else ""))


def _failed(outcome: Outcome, error: str) -> Generation:
    return Generation(outcome=outcome, error=error)


def _short(text: str, longest: int = 300) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
