"""Numbers in a text with their units, so that two texts can be seen to disagree about one.

"2 to 3 days", "48-72 h" and "two or three days" are one quantity: an interval in a base unit.
"""

# Word lists are read more easily as text.
# ruff: noqa: SIM905

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.sentences import STOP_WORDS, stem

_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SMALL = {
    word: float(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10.0 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_SPELLED = "|".join((*_SMALL, *_TENS, *_SCALES, "once", "twice", "dozen"))
_TOKEN = re.compile(rf"(?:{_DIGITS})|%|[°µμ]?[a-z]+(?:'[a-z]+)?|[-–—/<>≤≥]", re.IGNORECASE)
_NUMBER = re.compile(_DIGITS)
_SPELLED_WORD = re.compile(rf"(?:{_SPELLED})\Z")

# Base units: hour, milligram, millilitre, millimetre, percent. A month is a twelfth of a year.
_UNITS: dict[str, tuple[str, float]] = {
    name: (base, factor)
    for base, factor, names in (
        ("hour", 1 / 3600, "second seconds sec secs"),
        ("hour", 1 / 60, "minute minutes min mins"),
        ("hour", 1, "hour hours hr hrs h"),
        ("hour", 24, "day days"),
        ("hour", 168, "week weeks wk wks"),
        ("hour", 730.5, "month months mo mos"),
        ("hour", 8766, "year years yr yrs"),
        ("mg", 1e-3, "mcg µg μg microgram micrograms"),
        ("mg", 1, "mg milligram milligrams"),
        ("mg", 1e3, "g gram grams"),
        ("mg", 1e6, "kg kilogram kilograms kilo kilos"),
        ("mg", 453592, "lb lbs pound pounds"),
        ("ml", 1, "ml milliliter milliliters millilitre millilitres cc"),
        ("ml", 1e3, "l liter liters litre litres"),
        ("mm", 1, "mm millimeter millimeters millimetre millimetres"),
        ("mm", 10, "cm centimeter centimeters centimetre centimetres"),
        ("mm", 1e3, "m meter meters metre metres"),
        ("mm", 25.4, "inch inches"),
        ("%", 1, "% percent"),
        ("degree", 1, "°c °f degree degrees"),
        ("time", 1, "time times"),
        ("mmhg", 1, "mmhg"),
    )
    for name in names.split()
}
_LOWER = {"over", "above", "exceeding", ">", "≥"}  # at least, more than: the number is a floor
_UPPER = {"under", "below", "within", "<", "≤"}
_TOLERANCE = 0.03  # a month is 30 days or a twelfth of a year, 2.2 lb are 1 kg


@dataclass(frozen=True)
class Quantity:
    """An interval [low, high] in the base unit `unit`; a bare count has its noun's stem."""

    low: float
    high: float
    unit: str

    def meets(self, other: Quantity) -> bool:
        """Whether both can be true: same unit and overlapping intervals."""
        slack = _TOLERANCE * max(abs(self.low), abs(other.low))
        return self.low <= other.high + slack and other.low <= self.high + slack


def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers of a text in order; "one" counts only before a unit, ordinals never."""
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    found: list[Quantity] = []
    i = 0
    while i < len(tokens):
        read = _value(tokens, i)
        if read is None:
            i += 1
            continue
        value, after = read
        low = high = value
        if after + 1 < len(tokens) and tokens[after] in ("-", "–", "—", "to", "or", "and"):
            second = _value(tokens, after + 1)
            between = tokens[after] != "and" or tokens[max(0, i - 1)] == "between"
            if second is not None and between and second[0] > value:
                high, after = second
        if tokens[after : after + 1] in (["in"], ["of"]) and not _unit(tokens, after)[1]:
            second = _value(tokens, after + 1)
            if second is not None and second[0] >= value > 0:  # "1 in 5" is 20 %
                share = 100 * value / second[0]
                found.append(Quantity(share, share, "%"))
                i = second[1]
                continue
        unit, factor = _unit(tokens, after)
        if not (tokens[i] == "one" and not factor):
            low, high = _bounds(tokens[max(0, i - 2) : i], low, high)
            scale = factor or 1.0
            found.append(Quantity(low * scale, high * scale, unit))
        i = max(after, i + 1)
    return tuple(found)


def disagree(premise: Sequence[Quantity], hypothesis: Sequence[Quantity]) -> bool:
    """Whether the premise has numbers of a hypothesis number's unit, and none that meets it.

    A number without counterpart is no disagreement: the premise is merely silent.
    """
    for wanted in hypothesis:
        same = [q for q in premise if q.unit == wanted.unit]
        if same and not any(q.meets(wanted) for q in same):
            return True
    return False


def _value(tokens: list[str], i: int) -> tuple[float, int] | None:
    """A number that starts at token i, and the place after it."""
    if i >= len(tokens):
        return None
    token = tokens[i]
    if _NUMBER.fullmatch(token):
        number, i = float(token.replace(",", "")), i + 1
        if i < len(tokens) and tokens[i] in _SCALES:
            number, i = number * _SCALES[tokens[i]], i + 1
        return number, i
    if not _SPELLED_WORD.match(token):
        return None
    if token in ("once", "twice"):
        return (1.0 if token == "once" else 2.0), i + 1
    total = 0.0
    while i < len(tokens):
        token = tokens[i]
        if token in _SMALL:
            total += _SMALL[token]
        elif token in _TENS:
            total += _TENS[token]
            if tokens[i + 1 : i + 2] == ["-"] and _SMALL.get((tokens[i + 2 : i + 3] or [""])[0], 0):
                i += 1
        elif token in _SCALES:
            total = (total or 1.0) * _SCALES[token]
        elif token == "dozen":
            total = (total or 1.0) * 12
        else:
            break
        i += 1
        if token in _SMALL and not (i < len(tokens) and tokens[i] in (*_SCALES, "dozen")):
            break
    return total, i


def _unit(tokens: list[str], i: int) -> tuple[str, float]:
    """Base unit and factor at token i; a count's noun has factor 0."""
    if i > 0 and tokens[i - 1] in ("once", "twice"):
        return "time", 1.0
    while i < len(tokens) and tokens[i] in ("-", "–", "—", "more", "or", "to", "per", "cent"):
        if tokens[i : i + 2] == ["per", "cent"]:
            return "%", 1.0
        i += 1
    if i >= len(tokens):
        return "", 0.0
    if tokens[i] in _UNITS:
        return _UNITS[tokens[i]]
    for token in tokens[i : i + 3]:  # "three small meals": the noun ends the phrase
        if not token[0].isalpha() or token in STOP_WORDS:
            break
    return (
        (stem(tokens[i]), 0.0)
        if tokens[i][0].isalpha() and tokens[i] not in STOP_WORDS
        else ("", 0.0)
    )


def _bounds(before: list[str], low: float, high: float) -> tuple[float, float]:
    phrase = " ".join(before)
    last = before[-1] if before else ""
    if (
        phrase in ("at least", "more than", "greater than", "longer than", "older than")
        or last in _LOWER
    ):
        return low, math.inf
    if phrase in ("up to", "at most", "less than", "fewer than", "younger than") or last in _UPPER:
        return 0.0, high
    return low, high
