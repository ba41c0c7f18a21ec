"""Numbers in a text with what they count or measure.

"2 to 3 days", "48-72 h" and "two or three days" are one quantity: an interval in a base unit. A
number belongs to its noun: "14 vertices" says nothing of edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.scorers import word_lists
from harness.scorers.negation import CONDITIONAL
from harness.scorers.numbers import Number, is_digits, read_number, tokens
from harness.scorers.quantity import Quantity
from harness.scorers.units import Unit, is_unit, per, read_unit, temperature
from harness.sentences import STOP_WORDS, stem

_AROUND = 4  # words of content on either side that say what a number is about
_BREAKS = frozenset([",", ";", ":", ".", "and", "but", "while", "whereas", "or"])
_CLAUSE = 30  # words that a clause of condition may have before its number
_YEARS = (1500, 2100)
_DATED = frozenset(
    ["in", "since", "of", "from", "until", "by", "year", "before", "after", "during", "around"]
)
# In front of a noun these are no kind of it.
_QUALIFIERS = frozenset(("different", "main", "such", "other", "certain", "various", "further"))
# Words around a number that say nothing of what it is about.
_LINKS = frozenset(
    (
        "than", "least", "minimum", "maximum", "age", "aged", "degrees", "exactly", "exceed",
        "below", "above", "equal", "year", "years",
    )
)  # fmt: skip


def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers of a text in order; ordinals, names ("B12") and "one" as a pronoun are none."""
    words = tokens(text)
    found: list[tuple[int, int, Quantity]] = []
    i = 0
    while i < len(words):
        read = _rate(words, i) or _numbered(words, i)
        if read is None:
            i += 1
            continue
        after, own = read
        found += [(i, after, quantity) for quantity in own]
        i = max(after, i + 1)
    taken = frozenset(k for start, after, _ in found for k in range(start, after))
    return tuple(
        replace(_placed(words, start, after, q, taken), conditional=_conditional(words, start))
        for start, after, q in found
    )


def _conditional(words: list[str], start: int) -> bool:
    """Whether a clause of condition holds the number: the last mark before it begins one."""
    for k in range(start - 1, max(-1, start - _CLAUSE), -1):
        if words[k] in CONDITIONAL:
            return True
        if words[k] in (",", ";", ".", "but"):
            return False
    return False


def _rate(words: list[str], i: int) -> tuple[int, list[Quantity]] | None:
    """How often: "every 8 hours", "twice daily", "weekly", "bid"."""
    word = words[i]
    times = word_lists.table("numbers", "multiples").get(word)
    if times:
        if words[i + 1 : i + 2] in (["every"], ["each"]):
            every = _every(words, i + 1)
            return (every[0], [_frequency(times, every[1])]) if every else None
        period = per(words, i + 1)
        return (period.after, [_frequency(times, period)]) if period else None
    daily = word_lists.table("numbers", "prescriptions").get(word)
    if daily:
        return i + 1, [_frequency(daily, Unit("time", 24.0, i + 1, "day"))]
    if word in ("every", "each"):
        every = _every(words, i)
        return (every[0], [_frequency(1.0, every[1])]) if every else None
    period = per(words, i) if word in word_lists.table("numbers", "rates") else None
    if period is None or _no_rate(words, i + 1):
        return None
    return period.after, [_frequency(1.0, period)]


def _every(words: list[str], i: int) -> tuple[int, Unit] | None:
    """The period of "every 8 hours", "every other day", "every day", and where it ends."""
    after, many = i + 1, 1.0
    if words[after : after + 1] in (["other"], ["second"]):
        after, many = after + 1, 2.0
    elif (number := read_number(words, after)) is not None:
        after, many = number.after, number.value
    unit = read_unit(words, after)
    if unit is None or unit.dimension != "time":
        return None
    return unit.after, replace(unit, factor=many * unit.factor)


def _no_rate(words: list[str], i: int) -> bool:
    return i < len(words) and words[i] in word_lists.words("numbers", "no_rate")


def _frequency(times: float, period: Unit) -> Quantity:
    value = times / max(period.factor, 1e-12)
    return Quantity(
        value, value, "rate", (stem("times"),), raw=(times, times), name=period.name,
        step=0.0, rounded=period.rounded,
    )  # fmt: skip


def _numbered(words: list[str], i: int) -> tuple[int, list[Quantity]] | None:
    number = read_number(words, i)
    if number is None:
        return None
    before = words[i - 1] if i else ""
    if before in word_lists.words("numbers", "names"):
        return number.after, [_label("name", before, number)]
    if before in word_lists.words("numbers", "degrees"):
        return number.after, [_label("degree", before, number)]
    share = _share(words, number)
    if share is not None:
        return share
    second = _second(words, i, number)
    after = second.after if second else number.after
    return _with_unit(words, i, number, second, after)


def _label(kind: str, noun: str, number: Number) -> Quantity:
    return Quantity(number.value, number.value, kind, (stem(noun),), raw=(number.value,) * 2)


def _share(words: list[str], number: Number) -> tuple[int, list[Quantity]] | None:
    """ "1 in 5", "9 out of 10", "9 of 10", "two thirds", "5 per 1,000"."""
    i = number.after
    if number.fraction:
        unit = read_unit(words, i + (words[i : i + 1] in (["a"], ["an"])))
        if unit is None:
            return i, [_percent(number.value, "fraction")]
        return None
    link = 2 if words[i : i + 2] == ["out", "of"] else 1 if words[i : i + 1] in (
        ["in"], ["of"], ["per"]) else 0  # fmt: skip
    whole = read_number(words, i + link) if link else None
    if whole is None or not whole.value >= number.value > 0 or whole.value == 1:
        return None
    after = read_unit(words, whole.after)
    if after is not None:
        return None
    return whole.after, [_percent(number.value / whole.value, f"of {whole.value:g}")]


def _percent(part: float, name: str) -> Quantity:
    value = 100 * part
    return Quantity(value, value, "share", raw=(value, value), name=name, step=0.0, rounded=0.03)


def _second(words: list[str], i: int, number: Number) -> Number | None:
    """The other end of a range: "2-3", "two or three", "from 5 to 7", "between 5 and 7"."""
    k = number.after
    unit = temperature(words, k) or read_unit(words, k)
    if unit is not None and words[unit.after : unit.after + 1] in (["to"], ["-"], ["–"], ["and"]):
        k = unit.after  # "37 °C to 39 °C"
    if k >= len(words) or words[k] not in ("-", "–", "—", "to", "or", "and", "/"):
        return None
    second = read_number(words, k + 1)
    if second is None or (words[k] == "and" and words[i - 1 : i] != ["between"]):
        return None
    if words[k] == "or" and second.value <= number.value:
        return None
    if words[k] == "/" and unit is not None:
        return None
    return second


def _with_unit(
    words: list[str], i: int, first: Number, second: Number | None, after: int
) -> tuple[int, list[Quantity]] | None:
    unit = _half_of(words, first) if first.fraction else read_unit(words, after)
    link = words[second.after - 2] if second else ""
    if unit is not None:
        return _measured(words, i, first, second, unit, link)
    values = (first.value, (second or first).value)
    age = _age_before(words, i)
    if age:
        year = Unit("time", 8766.0, after, "year")
        return _measured(words, i, first, second, year, link)
    if words[i] == "one" and not _counts_one(words, i):
        return None
    nouns, end = _nouns(words, _behind_bound(words, after))
    bare = Quantity(
        min(values), max(values), "count" if nouns else "", nouns, raw=values,
        name="" if nouns else "bare", step=(second or first).step,
    )  # fmt: skip
    if _is_year(words, i, first, nouns):
        return after, [replace(bare, unit="year", nouns=())]
    period = per(words, end) if nouns else None
    if period is not None:
        rate = _frequency(1.0, period)
        bare = replace(
            bare, low=bare.low * rate.low, high=bare.high * rate.low, unit="rate",
            name=period.name, rounded=period.rounded, step=0.0,
        )  # fmt: skip
        end = period.after
    bounded, end = _bounded(words, i, end if period else after, bare)
    return end, _ends(words, i, bounded, link, values)


def _behind_bound(words: list[str], after: int) -> int:
    """Where the noun of "30 or more layers" is looked for."""
    sides = word_lists.words("numbers", "or_more") | word_lists.words("numbers", "or_less")
    following = words[after : after + 2]
    return after + 2 if following[:1] == ["or"] and sides.intersection(following[1:]) else after


def _half_of(words: list[str], number: Number) -> Unit | None:
    i = number.after
    return read_unit(words, i + (words[i : i + 1] in (["a"], ["an"])))


def _counts_one(words: list[str], i: int) -> bool:
    return words[i - 1 : i] in (["only"], ["exactly"], ["just"])


def _is_year(words: list[str], i: int, number: Number, nouns: tuple[str, ...]) -> bool:
    whole = is_digits(words[i]) and number.value == int(number.value) and "," not in words[i]
    if not whole or not _YEARS[0] <= number.value < _YEARS[1]:
        return False
    return not nouns or words[i - 1 : i] in ([word] for word in _DATED)


def _measured(
    words: list[str], i: int, first: Number, second: Number | None, unit: Unit, link: str
) -> tuple[int, list[Quantity]]:
    raw = (first.value, (second or first).value)
    offset = 0.0 if words[i - 1 : i] == ["by"] else unit.offset  # "rises by 2 °F" is a difference
    low, high = sorted(unit.factor * value + offset for value in raw)
    dimension, after = unit.dimension, unit.after
    if dimension == "temperature" and words[i - 1 : i] == ["by"]:
        dimension = "difference"
    if dimension == "time" and (_age_before(words, i) or _age_after(words, after)):
        dimension, after = "age", _age_after(words, after) or after
    step = abs(unit.factor) * min(first.step, (second or first).step)
    found = Quantity(low, high, dimension, raw=raw, name=unit.name, step=step, rounded=unit.rounded)
    found, after = _bounded(words, i, after, found)
    if link == "/":
        ends = [unit.factor * value for value in raw]
        return after, [
            replace(found, low=value, high=value, unit=f"{dimension}:{place}")
            for place, value in zip(("first", "second"), ends, strict=True)
        ]
    converted = tuple(unit.factor * value + offset for value in raw)
    return after, _ends(words, i, found, link, (converted[0], converted[1]))


def _ends(
    words: list[str], i: int, found: Quantity, link: str, values: tuple[float, float]
) -> list[Quantity]:
    """A range, or where something changes "from 5 to 9", its start and its end."""
    changes = word_lists.words("numbers", "changes").intersection(words[max(0, i - 3) : i])
    if link != "to" or not changes or words[i - 1 : i] != ["from"]:
        return [found]
    scale = found.high / max(values) if found.unit == "rate" and max(values) else 1.0
    return [
        replace(found, low=value * scale, high=value * scale, unit=f"{found.unit}:{place}")
        for place, value in zip(("start", "end"), values, strict=True)
    ]


def _age_before(words: list[str], i: int) -> bool:
    """ "aged 8", "at age 50", "the age of 40", "ages 5 to 7"."""
    near = words[max(0, i - 4) : i]
    while near and near[-1] in ("of", "over", "under", "between", "from", "about", "at", "least"):
        near.pop()
    return bool(near) and near[-1] in ("age", "aged", "ages")


def _age_after(words: list[str], i: int) -> int:
    """Where "old", "of age" or "older" ends after years; 0 where they are no age."""
    if words[i : i + 2] in (["of", "age"], ["-", "old"]):
        return i + 2
    if words[i : i + 1] == ["old"]:
        return i + 1
    return 0


def _nouns(words: list[str], i: int) -> tuple[tuple[str, ...], int]:
    """The stems of what a number counts, and where the phrase ends: "three small meals"."""
    persons = word_lists.words("numbers", "persons")
    ends = word_lists.words("numbers", "no_noun")
    i += words[i : i + 1] == ["-"]
    found: list[str] = []
    while i < len(words) and len(found) < 3:
        word = words[i]
        if word in persons:
            return (*found, "person"), i + 1
        if word in _QUALIFIERS and not found:
            i += 1
            continue
        if not word[0].isalpha() or word in STOP_WORDS or word in ends or len(word) < 2:
            break
        if read_number(words, i) is not None:
            break
        found.append(stem(word))
        i += 1
    return tuple(found), i


def _bounded(words: list[str], i: int, after: int, found: Quantity) -> tuple[Quantity, int]:
    """Bounds before ("at least") and after the number ("or more"), and whether it is rough."""
    before = tuple(words[max(0, i - 4) : i])
    rough = bool(before) and before[-1] in word_lists.words("numbers", "roughly")
    if rough:
        found, before = replace(found, rough=True), before[:-1]
    key = _bound_before(before) or _bound_before(_without_age(before))
    if key in ("above", "under") and _denied(words, i):
        key = "up_to" if key == "above" else "from_below"
    if key:
        return (found if _lasts_over(before, found) else _bound(found, key)), after
    following = words[after : after + 2]
    if following[:1] == ["+"]:
        return _bound(found, "from_below"), after + 1
    if following[:1] in (["or"], ["and"]) and len(following) == 2:
        for side, key in (("or_more", "from_below"), ("or_less", "up_to")):
            if following[1] in word_lists.words("numbers", side):
                return _bound(found, key), after + 2
    return found, after


def _bound_before(before: tuple[str, ...]) -> str:
    """Which list of bounds holds the phrase that ends here; empty for none."""
    for key in ("from_below", "above", "up_to", "under"):
        if any(before[-len(p) :] == p for p in word_lists.phrases("numbers", key)):
            return key
    return ""


def _denied(words: list[str], i: int) -> bool:
    """Whether a bound is turned round: "should not be used for more than 48 hours"."""
    near = words[max(0, i - 8) : i]
    return any(word in ("not", "never", "cannot") or word.endswith("n't") for word in near)


def _without_age(before: tuple[str, ...]) -> tuple[str, ...]:
    while before and before[-1] in ("the", "age", "of", "aged", "ages"):
        before = before[:-1]
    return before


def _lasts_over(before: tuple[str, ...], found: Quantity) -> bool:
    """Whether "over" means during: "over one to four weeks", but "for over four weeks"."""
    if before[-1:] != ("over",) or found.unit != "time":
        return False
    return before[-2:-1] not in (("for",), ("of",), ("lasts",), ("takes",), ("just",), ("well",))


def _bound(found: Quantity, key: str) -> Quantity:
    if key in ("from_below", "above"):
        return replace(found, high=math.inf, open_low=key == "above")
    low = -math.inf if found.unit == "temperature" else min(0.0, found.low)
    return replace(found, low=low, open_high=key == "under")


def _placed(
    words: list[str], start: int, after: int, found: Quantity, taken: frozenset[int]
) -> Quantity:
    """The quantity with the stems around it, as far as the next number or the phrase's end."""
    before = _content(words, range(start - 1, -1, -1), taken)
    behind = _content(words, range(after, len(words)), taken)
    owner = behind[:2] if words[after : after + 1] == ["of"] else ()
    if found.unit in ("", "year"):
        owner = before[:2]  # "glucose of 126", "licensed in 1993"
    nouns = found.nouns
    return replace(found, owner=frozenset(owner), around=frozenset((*before, *behind, *nouns)))


def _content(words: list[str], places: Sequence[int], taken: frozenset[int]) -> tuple[str, ...]:
    found: list[str] = []
    for k in places:
        word = words[k]
        if word in _BREAKS or k in taken or len(found) == _AROUND:
            break
        if (
            word[0].isalpha()
            and word not in STOP_WORDS
            and not is_unit(word)
            and word not in _LINKS
        ):
            found.append(stem(word))
    return tuple(found)
