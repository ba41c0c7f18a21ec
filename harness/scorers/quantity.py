"""Quantities held against each other: whether two can both be true, and whether one says another.

Numbers are equal exactly, or after a conversion within its rounding. A number belongs to its noun.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.scorers import word_lists
from harness.sentences import stem

_ROUGH = 0.1  # share by which "about 40" may be off
_EXACT = 1e-9
# Units of which one text may leave out the name: "men over 50", "a fever of 38".
_AS_WRITTEN = ({"", "temperature"}, {"", "angle"}, {"temperature", "angle"}, {"", "age"})


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


def disagree(premise: Sequence[Quantity], hypothesis: Sequence[Quantity]) -> bool:
    """Whether the premise has numbers of what a hypothesis' number is about, and none meets it.

    A number without counterpart is no disagreement: the premise is merely silent. So is a number
    under a condition ("if it lasts longer"). Of several rates of one thing one must be met.
    """
    if not premise or not hypothesis:
        return False
    said = [q for q in premise if not q.conditional]
    met_rates: list[bool] = []
    met_others: list[bool] = []
    for wanted in hypothesis:
        if wanted.conditional or wanted.unit == "name":
            continue
        same = _comparable(said, wanted)
        if not same:
            continue
        near = same if wanted.unit in ("", "count") else _comparable(said, wanted, strict=False)
        met = any(one.meets(other) for one, other in near)
        (met_rates if wanted.unit == "rate" else met_others).append(met)
    return not all(met_others) or (bool(met_rates) and not any(met_rates))


def unstated(premise: Sequence[Quantity], hypothesis: Sequence[Quantity]) -> bool:
    """Whether a number of the hypothesis is in no number of the premise: it is silent or vaguer."""
    if not hypothesis:
        return False
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
    masses = {
        stem(name): mass for name, mass in word_lists.table("numbers", "molar_masses").items()
    }
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
    if not (bare.low >= 0 and bare.high <= 1 and _has_decimals(bare)):
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
