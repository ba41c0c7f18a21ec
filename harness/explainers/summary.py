"""What an attribution says in words: the units that weigh most, as a prompt or a reader is told."""

from __future__ import annotations

from collections.abc import Sequence

from harness.explainers.division import label_map
from harness.records import Attribution, Unit

_SAID = 0.01  # what weighs a hundredth of the strongest unit, or less, is no evidence to speak of
_ROUNDING = 1e-6  # of the outputs: below it is what single precision leaves
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


def summary(attribution: Attribution, top: int = 3) -> str:
    """The `top` units that speak for the target, strongest first, and the strongest against it.

    It names no class and no number: units of text are quoted, parts of an image are said by where
    they lie. One unit that fills a place twice is said once.
    """
    seen = [(v, place) for place, v in enumerate(attribution.values) if v is not None]
    rounding = _ROUNDING * max(abs(attribution.full or 0.0), abs(attribution.empty or 0.0))
    least = max(rounding, _SAID * max((abs(value) for value, _ in seen), default=0.0))
    ranked = sorted(
        ((value, place) for value, place in seen if abs(value) > least),
        key=lambda item: (-item[0], item[1]),
    )
    for_it = _names(attribution, [place for value, place in ranked if value > 0], top)
    against = _names(attribution, [place for value, place in reversed(ranked) if value < 0], 1)
    if not for_it:
        return "nothing in particular" + (f" (against it: {against[0]})" if against else "")
    said = for_it[0] if len(for_it) == 1 else f"{', '.join(for_it[:-1])} and {for_it[-1]}"
    return said + (f" (against it: {against[0]})" if against else "")


def _names(attribution: Attribution, places: Sequence[int], most: int) -> list[str]:
    names: dict[str, None] = {}
    for place in places:
        if len(names) == most:
            break
        names[named(attribution, place)] = None
    return list(names)


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
