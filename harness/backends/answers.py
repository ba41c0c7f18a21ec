"""What an answer's text holds: anything at all, a refusal in words, JSON.

Pure functions on text, whoever wrote it. Refusals are told from doubts and disclaimers, and JSON is
found in code fences and amid prose.
"""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from harness.records import HarnessError

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


def shortened(text: str, longest: int = 300) -> str:
    """Clean text on one line, cut off at so many characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


# Letters by their category that nobody sees: Braille's blank, Hangul's fillers, joiners.
_UNSEEN = "\u2800\u3164\u115f\u1160\uffa0\u034f"


def blank(text: str) -> bool:
    """Whether a text shows nothing: spaces, control and format characters, HTML's spaces."""
    if "&" in text:
        text = html.unescape(text)
    return not any(
        unicodedata.category(letter)[0] not in "CZ"
        and letter not in _UNSEEN
        and not "\ufe00" <= letter <= "\ufe0f"
        for letter in text
    )


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
    return values[0], shortened(f"{error.json_path}: {error.message}" if error else "unknown")


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
