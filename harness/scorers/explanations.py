"""What of an answer is explanation: the text that scorers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.records import Generation


def explanation_text(generation: Generation, schema: Mapping[str, Any] | None = None) -> str:
    """The words of an explanation, nothing of its format.

    A refusal explains nothing and reads as empty. Where JSON was asked for, or the whole answer is
    a JSON object, its string values stand for it, as paragraphs, without keys and braces (so a
    group of free and structured answers is compared by content); an answer that is no JSON is read
    as it is.
    """
    from harness.backends.answers import parse_json, refused

    text = generation.text
    if generation.outcome in ("refusal", "empty") or refused(text):
        return ""
    if schema is None and not text.strip().strip("`\ufeff").lstrip("json \r\n").startswith("{"):
        return text
    parsed = parse_json(text)
    # A blank line between values, so that they are read as paragraphs of their own.
    return "\n\n".join(_strings(parsed)) or text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
