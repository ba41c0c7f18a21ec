"""Cuts a text into sentences: prose, lists and JSON answers alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

LIST_NUMBER = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)])\s+")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?!(?:yes|no|none)\b[,.])|\n+", re.IGNORECASE)


def sentences_of(text: str) -> list[str]:
    """Sentences and lines of a text; a JSON answer becomes one sentence a field."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    body = fenced[1] if fenced else text
    if body.lstrip().startswith("{"):
        try:
            return list(_json_sentences(json.loads(body)))
        except (ValueError, RecursionError):
            pass  # prose that begins with a brace
    body = re.sub(r":\s*\n\s*", ": ", body)  # a heading and what it heads
    body = re.sub(r"\b(e\.g|i\.e|approx|ca|vs)\.", r"\1", body)
    return [LIST_NUMBER.sub("", sentence) for sentence in SENTENCE_END.split(body)]


def _json_sentences(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield from sentences_of(_json_words(value))
        return
    for key, item in value.items():
        if isinstance(item, dict) and any(isinstance(inner, dict) for inner in item.values()):
            yield from _json_sentences(item)
            continue
        words = _json_words(item)
        if isinstance(item, str) and len(words.split()) > 4:
            yield from sentences_of(words)
        else:
            yield f"{key}: {words}"


def _json_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_json_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_json_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
