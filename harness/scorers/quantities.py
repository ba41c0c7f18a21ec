"""Numbers in a text with what they count or measure, so that two texts can be held against another.

"2 to 3 days", "48-72 h" and "two or three days" are one quantity: an interval in a base unit. A
number belongs to its noun: "14 vertices" says nothing of edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.scorers import word_lists
from harness.scorers.negation import CONDITIONAL
from harness.scorers.numbers import Number, is_digits, read_number, tokens
from harness.scorers.units import Unit, is_unit, per, read_unit, temperature
from harness.sentences import STOP_WORDS, stem

_ROUGH = 0.1  # share by which "about 40" may be off
_AROUND = 4  # words of content on either side that say what a number is about
_EXACT = 1e-9
_BREAKS = frozenset(", ; : . and but while whereas or".split())
_YEARS = (1500, 2100)
_AS_WRITTEN = ({"", "temperature"}, {"", "angle"}, {"temperature", "angle"}, {"", "age"})
_DATED = frozenset("in since of from until by year before after during around".split())


@dataclass(frozen=True)
class Quantity:
    """An interval [low, high] in the base unit of `unit`, and what it is said of.

    `unit` is a dimension ("time", "mass/time"), "count", "age", "rate", "year", "share", or empty
    for a bare number; `nouns` are the stems of what is counted, `owner` those after "of", `around`
    those on either side. `raw` is the interval as written, `name` the unit as written; `step` and
    `rounded` say how far a conversion may round.
    """

    low: float
    high: float
    unit: str
    nouns: tuple[str, ...] = ()
    owner: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()
    open_low: bool = False
    open_high: bool = False
    raw: tuple[float, float] = (0.0, 0.0)
    name: str = ""
    step: float = 0.0
    rounded: float = 0.0
    rough: bool = False
    conditional: bool = False

    def meets(self, other: Quantity) -> bool:
        """Whether both can be true: the intervals overlap."""
        slack = _slack(self, other)
        return _reaches(self, other, slack) and _reaches(other, self, slack)

    def states(self, other: Quantity) -> bool:
        """Whether whoever says this has said the other: its interval lies within the other's."""
        slack = _slack(self, other)
        low = self.low > other.low or (
            self.low >= other.low - slack and (not other.open_low or self.open_low)
        )
        high = self.high < other.high or (
            self.high <= other.high + slack and (not other.open_high or self.open_high)
        )
        return low and high


def _reaches(a: Quantity, b: Quantity, slack: float) -> bool:
    """Whether a begins before b ends; open ends that touch do not meet."""
    if abs(a.low - b.high) <= _EXACT * max(1e-9, abs(a.low)):
        return not (a.open_low or b.open_high)
    return a.low <= b.high + slack


def _slack(a: Quantity, b: Quantity) -> float:
    """How far two equal quantities may lie apart: nothing, but for rounding after a conversion."""
    sizes = [abs(x) for q in (a, b) for x in (q.low, q.high) if math.isfinite(x)]
    size = max(sizes, default=0.0)
    slack = _EXACT * max(size, _EXACT)
    if a.rough or b.rough:
        slack = max(slack, _ROUGH * size)
    if a.name == b.name:
        return slack
    steps = [q.step for q in (a, b) if q.rounded or _has_decimals(q)]
    inexact = max(a.rounded, b.rounded)
    if inexact:
        steps = [a.step, b.step]
    half = max(steps, default=0.0) / 2
    if inexact and a.unit != "temperature":
        half = min(half, inexact * size)
    return max(slack, half * (1 + _EXACT))


def _has_decimals(quantity: Quantity) -> bool:
    return any(math.isfinite(x) and x != int(x) for x in quantity.raw)


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
    for k in range(start - 1, -1, -1):
        if words[k] in CONDITIONAL:
            return True
        if words[k] in (",", ";", ".", "but"):
            return False
    return False


def disagree(premise: Sequence[Quantity], hypothesis: Sequence[Quantity]) -> bool:
    """Whether the premise has numbers of what a hypothesis' number is about, and none meets it.

    A number without counterpart is no disagreement: the premise is merely silent. So is a number
    under a condition ("if it lasts longer"). Of several rates of one thing one must be met.
    """
    said = [q for q in premise if not q.conditional]
    apart = []
    for wanted in hypothesis:
        if wanted.conditional or wanted.unit == "name":
            continue
        same = _comparable(said, wanted)
        if not same:
            continue
        near = same if wanted.unit in ("", "count") else _comparable(said, wanted, strict=False)
        met = any(one.meets(other) for one, other in near)
        if met and wanted.unit == "rate":
            return False
        apart.append(not met)
    return any(apart)


def unstated(premise: Sequence[Quantity], hypothesis: Sequence[Quantity]) -> bool:
    """Whether a number of the hypothesis is in no number of the premise: it is silent or vaguer."""
    missing = [wanted for wanted in hypothesis if not _stated(premise, wanted)]
    rates = [wanted for wanted in hypothesis if wanted.unit == "rate"]
    if any(wanted not in missing for wanted in rates):  # "twice a day, at the same time every day"
        missing = [wanted for wanted in missing if wanted.unit != "rate"]
    return bool(missing)


def _stated(premise: Sequence[Quantity], wanted: Quantity) -> bool:
    pairs = _comparable(premise, wanted) if wanted.unit in ("", "year") else []
    return any(
        one.states(other) for one, other in pairs or _comparable(premise, wanted, strict=False)
    )


def _comparable(
    premise: Sequence[Quantity], wanted: Quantity, strict: bool = True
) -> list[tuple[Quantity, Quantity]]:
    """Numbers of the premise about the same as `wanted`, each beside it in one unit.

    Not `strict`, a number is about the same unless it is seen to be about another thing.
    """
    pairs = [pair for q in premise if (pair := _aligned(q, wanted)) is not None]
    return [pair for pair in pairs if _same_matter(*pair, strict)]


def _aligned(a: Quantity, b: Quantity) -> tuple[Quantity, Quantity] | None:
    """Both in one unit, or `None` where their units have nothing to do with each other."""
    if a.unit == b.unit:
        return a, b
    units = {a.unit, b.unit}
    if units == {"mass/volume", "substance/volume"}:
        return _as_amounts(a, b)
    if units == {"share", ""}:  # an accuracy of .92 is one of 92 %
        return _as_shares(a, b)
    if units == {"count", ""}:
        if not ({*a.nouns} & b.around or {*b.nouns} & a.around):
            return None
        return replace(a, unit="", nouns=()), replace(b, unit="", nouns=())
    if units in _AS_WRITTEN:
        return _as_written(a), _as_written(b)
    return None


def _as_written(quantity: Quantity) -> Quantity:
    """The number without its unit, where the other text leaves the unit out ("men over 50")."""
    ends = sorted(quantity.raw)
    low = ends[0] if math.isfinite(quantity.low) and quantity.low else quantity.low
    high = ends[1] if math.isfinite(quantity.high) else quantity.high
    return replace(quantity, low=low, high=high, unit="", name="", owner=frozenset())


def _as_amounts(a: Quantity, b: Quantity) -> tuple[Quantity, Quantity] | None:
    masses = {stem(name): mass for name, mass in word_lists.table("numbers", "molar_masses").items()}
    known = [masses[root] for root in sorted((a.around | b.around) & masses.keys())]
    if not known:
        return None
    scaled = [
        replace(q, low=q.low / known[0], high=q.high / known[0], step=q.step / known[0])
        if q.unit == "mass/volume"
        else q
        for q in (a, b)
    ]
    return replace(scaled[0], rounded=0.1), replace(scaled[1], rounded=0.1)


def _as_shares(a: Quantity, b: Quantity) -> tuple[Quantity, Quantity] | None:
    bare = a if not a.unit else b
    if not (0 <= bare.low and bare.high <= 1 and _has_decimals(bare)):
        return None
    share = replace(
        bare, low=100 * bare.low, high=100 * bare.high, step=100 * bare.step, unit="share"
    )
    return (share, b) if bare is a else (a, share)


def _same_matter(a: Quantity, b: Quantity, strict: bool) -> bool:
    if a.unit in ("count", "rate") or (a.nouns and b.nouns):
        return _same_nouns(a.nouns, b.nouns)
    if a.owner and b.owner and not a.owner & b.owner:
        return not strict and not a.unit
    if not strict:
        return True
    if a.around and b.around:
        return bool(a.around & b.around)
    return bool(a.unit and a.unit != "year")


def _same_nouns(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether both count one thing: a noun in common, and no other kind of it ("oxygen atoms")."""
    shared = [root for root in a if root in b]
    if not shared:
        return not a and not b
    left, right = a[: a.index(shared[0])], b[: b.index(shared[0])]
    return not (left and right)


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
    found = Quantity(
        low, high, dimension, raw=raw, name=unit.name, step=step, rounded=unit.rounded
    )
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
    return replace(
        found, owner=frozenset(owner), around=frozenset((*before, *behind, *nouns))
    )


def _content(words: list[str], places: Sequence[int], taken: frozenset[int]) -> tuple[str, ...]:
    found: list[str] = []
    for k in places:
        word = words[k]
        if word in _BREAKS or k in taken or len(found) == _AROUND:
            break
        if word[0].isalpha() and word not in STOP_WORDS and not is_unit(word) and word not in _LINKS:
            found.append(stem(word))
    return tuple(found)


_QUALIFIERS = frozenset(("different", "main", "such", "other", "certain", "various", "further"))
_LINKS = frozenset(
    "than least minimum maximum age aged degrees exactly exceed below above equal year years".split()
)
