"""What an attribution says in words: the units that weigh most, as a prompt or a reader is told."""

from __future__ import annotations

from harness.explainers.division import label_map
from harness.records import Attribution, Pair, Unit

_SAID = 0.01  # what weighs a hundredth of the strongest unit, or less, is no evidence to speak of
_ROUNDING = 1e-6  # of the outputs: below it is what single precision leaves
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


def summary(attribution: Attribution, top: int = 3) -> str:
    """The `top` units that speak for the target, strongest first, and the strongest against it.

    Pairs of units count as units do. It names no class and no number: units of text are quoted,
    parts of an image are said by where they lie. One unit that fills a place twice is said once.
    """
    seen = [
        (v, named(attribution, place))
        for place, v in enumerate(attribution.values)
        if v is not None
    ]
    seen += [(pair.value, named_pair(attribution, pair)) for pair in attribution.pairs]
    rounding = _ROUNDING * max(abs(attribution.full or 0.0), abs(attribution.empty or 0.0))
    least = max(rounding, _SAID * max((abs(value) for value, _ in seen), default=0.0))
    ranked = sorted((one for one in seen if abs(one[0]) > least), key=lambda one: -one[0])
    for_it = list(dict.fromkeys(name for value, name in ranked if value > 0))[:top]
    against = [name for value, name in reversed(ranked) if value < 0][:1]
    if not for_it:
        return "nothing in particular" + (f" (against it: {against[0]})" if against else "")
    said = for_it[0] if len(for_it) == 1 else f"{', '.join(for_it[:-1])} and {for_it[-1]}"
    return said + (f" (against it: {against[0]})" if against else "")


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
    unit = attribution.units[place]
    if unit.text.strip():
        return f"“{' '.join(unit.text.split())}”" if unit.start is not None else unit.text
    if unit.box is not None:
        return f"the {_region(attribution, place, unit)}"
    if unit.start is not None and unit.end is not None:
        return f"steps {unit.start} to {unit.end}"
    return f"unit {place}"


def _region(attribution: Attribution, place: int, unit: Unit) -> str:
    """Which ninth of the image a unit's middle lies in."""
    import numpy as np

    map_ = next(s for s in attribution.segmentation if s.part == unit.part)
    rows, columns = np.nonzero(label_map(map_) == place)[-2:]
    height, width = map_.shape[-2:]
    row = _ROWS[min(2, int(3 * rows.mean() / height))]
    column = _COLUMNS[min(2, int(3 * columns.mean() / width))]
    if (row, column) == ("middle", "centre"):
        return "centre"
    return f"{row} {column}"
