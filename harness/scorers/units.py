"""Units of measurement: dimension, factor to the base unit, and how exactly people convert them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from harness.scorers import word_lists

_PER = frozenset(("per", "a", "an", "each", "every", "/"))
_SCALES = {
    "c": (1.0, 0.0), "celsius": (1.0, 0.0), "centigrade": (1.0, 0.0),
    "f": (5 / 9, -160 / 9), "fahrenheit": (5 / 9, -160 / 9),
    "k": (1.0, -273.15), "kelvin": (1.0, -273.15),
}  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """A unit that ends before token `after`: base = factor x value + offset.

    `rounded` is the largest share by which a converted value may differ although people call it
    the same (2.2 pounds are 1 kg), 0 where conversion is exact (1,000 mg are 1 g).
    """

    dimension: str
    factor: float
    after: int
    name: str
    rounded: float = 0.0
    offset: float = 0.0


@cache
def _known() -> dict[str, tuple[str, float, float]]:
    return {
        name: (dimension, float(unit["factor"]), float(unit.get("rounded", 0)))
        for dimension, listed in word_lists.load("units").items()
        for unit in listed
        for name in unit["names"].replace("µ", "μ").split()
    }


def is_unit(word: str) -> bool:
    """Whether a word is the name of a unit."""
    return word in _known() or word in _SCALES


def read_unit(words: Sequence[str], i: int) -> Unit | None:
    """The unit that starts at token i, "per" included; `None` where none does."""
    unit = temperature(words, i) or _single(words, i)
    if unit is None:
        return None
    period = per(words, unit.after)
    if period is None or unit.dimension in ("temperature", "share"):
        return unit
    return Unit(
        f"{unit.dimension}/{period.dimension}",
        unit.factor / period.factor,
        period.after,
        f"{unit.name}/{period.name}",
        max(unit.rounded, period.rounded),
    )


def per(words: Sequence[str], i: int) -> Unit | None:
    """What follows as a divisor: "per day", "a day", "every day", "/dl", "daily"."""
    if i >= len(words):
        return None
    hours = word_lists.table("numbers", "rates").get(words[i])
    if hours:
        return Unit("time", float(hours), i + 1, words[i], 0.081 if hours == 730.5 else 0.0)
    if words[i] == "in" and words[i + 1 : i + 2] == ["a"]:
        i += 1
    return _single(words, i + 1) if words[i] in _PER else None


def temperature(words: Sequence[str], i: int) -> Unit | None:
    """A temperature's scale, with or without "degrees"."""
    if i >= len(words):
        return None
    if words[i] in ("°c", "°f"):
        return _scale(words[i][1], i + 1)
    if words[i] in ("°", "degree", "degrees"):
        following = (words[i + 1 : i + 2] or [""])[0]
        return _scale(following, i + 2) if following in _SCALES else None
    return _scale(words[i], i + 1) if words[i] in _SCALES else None


def _scale(name: str, after: int) -> Unit:
    factor, offset = _SCALES[name]
    return Unit("temperature", factor, after, name[0], 1.0, offset)


def _single(words: Sequence[str], i: int) -> Unit | None:
    if words[i : i + 1] == ["-"]:
        i += 1
    if words[i : i + 2] == ["per", "cent"]:
        return Unit("share", 1.0, i + 2, "%")
    found = _known().get(words[i]) if i < len(words) else None
    if found is None:
        return None
    dimension, factor, rounded = found
    return Unit(dimension, factor, i + 1, f"{dimension}{factor:g}", rounded)
