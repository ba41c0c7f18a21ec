"""Numbers as they are written: digits, words, fractions, with the precision they are given to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.scorers import word_lists

_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_TOKEN = re.compile(
    r"\d+:\d+(?::\d+)?"  # a time of day or a ratio: no number
    r"|[^\W\d_]+[-–]?\d\w*"  # a name that ends in digits: B12, Covid-19
    rf"|(?:(?<=[\s(])|(?<=\A))[-−](?=\.?\d)(?:{_DIGITS})"
    rf"|{_DIGITS}"
    r"|°\s?[CF]\b|°|[µμ]?[^\W\d_]+(?:['’][^\W\d_]+)?|[%‰]"
    r"|[-–—/⁄<>≤≥+~≈,;:.()$€£]"
)
_NUMBER = re.compile(rf"[-−]?(?:{_DIGITS})")
_FRACTIONS = str.maketrans({"½": ".5", "¼": ".25", "¾": ".75"})
_ORDINAL = frozenset(("st", "nd", "rd", "th"))


@dataclass(frozen=True)
class Number:
    """A value that ends before token `after`; `step` is the worth of its last written digit.

    `fraction` marks parts of one that are written as such ("two thirds", "a half").
    """

    value: float
    after: int
    step: float = 1.0
    fraction: bool = False


def tokens(text: str) -> list[str]:
    """Lower-case words, numbers and the marks that matter beside numbers, in order."""
    folded = unicodedata.normalize("NFKC", text.translate(_FRACTIONS)).replace("µ", "μ")
    short = word_lists.table("numbers", "abbreviations")
    found: list[str] = []
    for token in _TOKEN.findall(folded):
        word = token.lower().replace(" ", "")
        found.extend(short[word].split() if word in short else (word,))
    return found


def is_digits(token: str) -> bool:
    """Whether a token is a number in digits."""
    return bool(_NUMBER.fullmatch(token))


def read_number(words: Sequence[str], i: int) -> Number | None:
    """The number that starts at token i, or `None`. Ordinals are none."""
    if i >= len(words):
        return None
    number = _in_digits(words, i) if is_digits(words[i]) else _in_words(words, i)
    if number is None:
        return _fraction(words, i)
    part = _fraction_of(words, number)
    if part is not None:
        return part
    if words[number.after : number.after + 3] == ["and", "a", "half"]:
        return Number(number.value + 0.5, number.after + 3, 0.1)
    return number


def _in_digits(words: Sequence[str], i: int) -> Number | None:
    if words[i + 1 : i + 2] and words[i + 1] in _ORDINAL:
        return None
    text = words[i].replace(",", "").replace("−", "-")
    value, step, after = float(text), 10.0 ** -len(text.partition(".")[2]), i + 1
    if after < len(words) and words[after] in _scales():
        scale = _scales()[words[after]]
        value, step, after = value * scale, step * scale if step < 1 else 1.0, after + 1
    if words[i - 1 : i] == ["minus"]:
        value = -value
    return Number(value, after, step)


def _in_words(words: Sequence[str], i: int) -> Number | None:
    values, scales = _values(), _scales()
    if words[i] not in values and words[i] not in scales:
        return None
    total, current, start = 0.0, 0.0, i
    while i < len(words):
        word = words[i]
        if word in values:
            if i > start and not _continues(words, i, values[word], current):
                break
            current += values[word]
        elif word in scales:
            current = (current or 1.0) * scales[word]
            if scales[word] >= 1000:
                total, current = total + current, 0.0
        elif not (word in ("-", "and") and _joins(words, i)):
            break
        i += 1
    return Number(total + current, i)


def _continues(words: Sequence[str], i: int, value: float, current: float) -> bool:
    """Whether a number word goes on with what went before: twenty five, two hundred (and) five."""
    before = words[i - 1]
    if before in ("-", "and") or before in _scales():
        return True
    return current % 100 >= 20 and current % 10 == 0 and value < 10


def _joins(words: Sequence[str], i: int) -> bool:
    """Whether a hyphen or "and" joins two words of one number."""
    following = _values().get((words[i + 1 : i + 2] or [""])[0])
    if following is None or not following:
        return False
    if words[i] == "-":
        before = _values().get(words[i - 1], 0)
        return bool(before >= 20 and following < 10)
    return words[i - 1] in ("hundred", "thousand")


def _fraction_of(words: Sequence[str], number: Number) -> Number | None:
    """ "two thirds", "1⁄2", "one half"; `None` where the number is no numerator."""
    after = number.after + (words[number.after : number.after + 1] == ["-"])
    name = words[after] if after < len(words) else ""
    parts = _parts().get(name, 0)
    plural = name.endswith("s") and name != "halves"
    if parts and number.value < parts and (plural or number.value == 1 or name == "halves"):
        return Number(number.value / parts, after + 1, 0.01, True)
    if name == "⁄" and after + 1 < len(words) and is_digits(words[after + 1]):
        return Number(number.value / max(1.0, float(words[after + 1])), after + 2, 0.01, True)
    return None


def _fraction(words: Sequence[str], i: int) -> Number | None:
    """ "a third of", "half a year", "half of all cases"; other uses of "third" are ordinals."""
    if words[i] == "half":
        return Number(0.5, i + 1, 0.01, True)
    if words[i] in ("a", "one") and i + 2 < len(words) and words[i + 2] == "of":
        parts = _parts().get(words[i + 1], 0)
        return Number(1 / parts, i + 2, 0.01, True) if parts else None
    return None


def _values() -> dict[str, Any]:
    return word_lists.table("numbers", "values")


def _scales() -> dict[str, Any]:
    return word_lists.table("numbers", "scales")


def _parts() -> dict[str, Any]:
    return word_lists.table("numbers", "fractions")
