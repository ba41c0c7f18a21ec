"""What an attribution says in words: the units that weigh most, as a prompt or a reader is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.explainers.division import label_map
from harness.records import Attribution, Pair, Segmentation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Middles = NDArray[np.float64]

_SAID = 0.01  # what weighs a hundredth of the strongest unit, or less, is no evidence to speak of
_ROUNDING = 1e-6  # of the outputs: below it is what single precision leaves
_MISSED = 0.01  # integrated gradients' own tolerance: what is missed by more is marked
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


def summary(attribution: Attribution, top: int = 3) -> str:
    """The `top` units that speak for the target, strongest first, and the strongest against it.

    Pairs of units count as units do. It names no class and no number: units of text are quoted,
    parts of an image are said by where they lie. What several units are called (a word that stands
    twice, patches of one region) is said once: for the target where their values sum to more than
    zero, against it where to less.
    """
    middles = {map_.part: _middles(map_) for map_ in attribution.segmentation}
    seen = [
        (v, _named(attribution, place, middles))
        for place, v in enumerate(attribution.values)
        if v is not None
    ]
    seen += [(pair.value, named_pair(attribution, pair)) for pair in attribution.pairs]
    rounding = _ROUNDING * max(abs(attribution.full or 0.0), abs(attribution.empty or 0.0))
    least = max(rounding, _SAID * max((abs(value) for value, _ in seen), default=0.0))
    ranked = sorted((one for one in seen if abs(one[0]) > least), key=lambda one: -one[0])
    sums: dict[str, float] = {}
    for value, name in seen:
        sums[name] = sums.get(name, 0.0) + value
    positive = dict.fromkeys(name for value, name in ranked if value > 0)
    negative = dict.fromkeys(name for value, name in reversed(ranked) if value < 0)
    for_it = [name for name in positive if sums[name] > least][:top]
    against = [name for name in negative if sums[name] < -least][:1]
    if not for_it:
        return "nothing in particular" + (f" (against it: {against[0]})" if against else "")
    said = for_it[0] if len(for_it) == 1 else f"{', '.join(for_it[:-1])} and {for_it[-1]}"
    return said + (f" (against it: {against[0]})" if against else "")


def incomplete(attribution: Attribution) -> str:
    """What is to stand beside values that miss what they must sum to by more than 1 %; empty for
    all others."""
    missed = attribution.completeness_error
    if missed is None or missed <= _MISSED:
        return ""
    return f"incomplete: values miss what they must sum to by {100 * missed:.2g} %"


def strongest_pairs(attribution: Attribution, top: int) -> list[Pair]:
    """The `top` pairs of largest size, the largest first, without those of value 0."""
    rounding = _ROUNDING * max(abs(attribution.full or 0.0), abs(attribution.empty or 0.0))
    ranked = sorted(attribution.pairs, key=lambda pair: -abs(pair.value))
    return [pair for pair in ranked[:top] if abs(pair.value) > rounding]


def named_pair(attribution: Attribution, pair: Pair) -> str:
    """What a pair is called, in the order of its units."""
    return f"{named(attribution, pair.first)} with {named(attribution, pair.second)}"


def named(attribution: Attribution, place: int) -> str:
    """What a unit is called: its text in quotes, or where it lies."""
    part = attribution.units[place].part
    mine = (map_ for map_ in attribution.segmentation if map_.part == part)
    return _named(attribution, place, {map_.part: _middles(map_) for map_ in mine})


def _named(attribution: Attribution, place: int, middles: Mapping[int, Middles]) -> str:
    unit = attribution.units[place]
    if unit.text.strip():
        return f"“{' '.join(unit.text.split())}”" if unit.start is not None else unit.text
    if unit.box is not None:
        return f"the {_region(*middles[unit.part][:, place])}"
    if unit.start is not None and unit.end is not None:
        return f"steps {unit.start} to {unit.end}"
    return f"unit {place}"


def _middles(map_: Segmentation) -> Middles:
    """The middle of each unit of an image as shares of its height and width: 2 x units."""
    import numpy as np

    labels = label_map(map_)
    sides = labels.shape[-2:]
    owner = labels.reshape(-1) + 1  # pixels of no unit have -1
    counts = np.maximum(np.bincount(owner), 1)
    flat = [np.broadcast_to(axis, labels.shape).reshape(-1) for axis in np.indices(sides)]
    sums = np.stack([np.bincount(owner, weights=axis) for axis in flat])
    found: Middles = sums[:, 1:] / counts[1:] / np.array(sides)[:, None]
    return found


def _region(down: float, across: float) -> str:
    """Which ninth of the image a middle lies in."""
    row, column = _ROWS[min(2, int(3 * down))], _COLUMNS[min(2, int(3 * across))]
    if (row, column) == ("middle", "centre"):
        return "centre"
    return f"{row} {column}"
