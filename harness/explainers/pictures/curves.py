"""Deletion and insertion curves: the output as units are removed, or given back, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.drawing.figure import Figure, of_drawing
from harness.drawing.svg import (
    axes,
    clipped,
    line,
    measured,
    nice_ticks,
    notes,
    sheet,
    tag,
    text,
    wrapped,
)
from harness.drawing.words import neutral, safe, short
from harness.explainers.pictures.scale import amount
from harness.records import HarnessError

_STYLES = 6  # colours that stay apart under colour blindness, each with dashes of its own
_HEIGHT = 260.0
_LABEL = 15.0  # from one label to the next


@dataclass(frozen=True)
class Curve:
    """A method's mean output by the share of units removed or given back.

    `shares` rise from 0 to 1. `low` and `high` are the ends of the interval at each share, empty
    where there is none. A `reference` (a random order, say) is drawn grey and dashed, apart from
    the methods.
    """

    name: str
    shares: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    reference: bool = False

    def __post_init__(self) -> None:
        """Raises `HarnessError` where there is not one value, and one interval, a share."""
        count = len(self.shares)
        sizes = {len(self.values), *(len(ends) for ends in (self.low, self.high) if ends)}
        if count < 2 or sizes != {count} or bool(self.low) != bool(self.high):
            raise HarnessError(
                f"curve '{self.name}' needs two or more shares, and a value for each (and both "
                "ends of an interval, or none)"
            )

    @property
    def area(self) -> float:
        """The mean height of the curve, by trapezoids, over the shares that it spans."""
        pairs = list(zip(self.shares, self.values, strict=True))
        total = sum((b - a) * (u + v) / 2 for (a, u), (b, v) in itertools.pairwise(pairs))
        return total / (self.shares[-1] - self.shares[0])


def deletion_and_insertion(
    deletion: Sequence[Curve], insertion: Sequence[Curve], output: str = "output",
    width: float = 640.0,
) -> Figure:  # fmt: skip
    """Both kinds of curves, one above the other, on one scale of `output`.

    The steeper a deletion curve falls, the better its method; the steeper an insertion curve rises.
    """
    groups = [
        ("Deletion: the strongest units removed first; lower is better", "share removed", deletion),
        ("Insertion: the strongest units given back first; higher is better", "share given back",
         insertion),
    ]  # fmt: skip
    drawn = [group for group in groups if group[2]]
    if not drawn:
        raise HarnessError("there is no curve to be drawn")
    every = [curve for _, _, curves in drawn for curve in curves]
    ticks = _ticks(every)
    styles = _styles(every)
    parts: list[Markup] = []
    y = 0.0
    for name, x_name, curves in drawn:
        for words in wrapped(name, 14, width):
            y += 17
            parts.append(text(words, 0, y, "start", "heading"))
        panel = _panel(curves, styles, ticks, x_name, output, width)
        parts.append(tag("g", *panel, transform=f"translate(0 {y + 12:g})"))
        y += 12 + _HEIGHT + 60
    said = [
        f"{name.partition(':')[0]}: mean {output} "
        + ", ".join(f"{c.name} {amount(c.area, sign=False)}" for c in curves)
        for name, _, curves in drawn
    ]
    small, y = notes("Mean heights. " + "; ".join(said) + ".", y - 15, width)
    parts += small
    alt = neutral(f"Deletion and insertion curves. {'. '.join(said)}.")
    title = neutral("Deletion and insertion curves")
    return of_drawing(title, alt, sheet(width, y + 4, parts, "curves", alt))


def _styles(curves: Sequence[Curve]) -> dict[str, str]:
    """A class for each method, the same in both panels."""
    names = dict.fromkeys(curve.name for curve in curves if not curve.reference)
    return {name: f"c{place % _STYLES}" for place, name in enumerate(names)}


def _ticks(curves: Sequence[Curve]) -> list[float]:
    ends = [v for c in curves for values in (c.values, c.low, c.high) for v in values]
    low, high = min(ends), max(ends)
    ticks = nice_ticks(low, high)
    return clipped(ticks, (0.0, 1.0)) if low >= 0 and high <= 1 else ticks


def _panel(
    curves: Sequence[Curve], styles: dict[str, str], ticks: list[float], x_name: str, y_name: str,
    width: float,
) -> list[Markup]:  # fmt: skip
    names = {c.name: short(neutral(c.name), 24) for c in curves}
    room = max(measured(name, 13.0) for name in names.values()) + 30
    left, right = 52.0, width - min(room, 0.42 * width)

    def x(share: float) -> float:
        return left + (right - left) * share

    def y(value: float) -> float:
        return _HEIGHT * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = axes(x, y, [0, 0.25, 0.5, 0.75, 1], ticks, x_name, y_name)
    ordered = sorted(curves, key=lambda c: not c.reference)
    for curve in ordered:
        if curve.low:
            upper = [(x(s), y(v)) for s, v in zip(curve.shares, curve.high, strict=True)]
            lower = [(x(s), y(v)) for s, v in zip(curve.shares, curve.low, strict=True)]
            style = "reference" if curve.reference else styles[curve.name]
            band = _points(upper + lower[::-1])
            parts.append(tag("polygon", class_=f"band {style}", points=band))
    for curve in ordered:
        style = "reference" if curve.reference else styles[curve.name]
        points = [(x(s), y(v)) for s, v in zip(curve.shares, curve.values, strict=True)]
        said = tag("title", safe(f"{curve.name}: mean {amount(curve.area, sign=False)}"))
        parts.append(tag("polyline", said, class_=f"curve {style}", points=_points(points)))
    return parts + _labels(ordered, styles, names, x, y)


def _labels(
    curves: Sequence[Curve], styles: dict[str, str], names: dict[str, str],
    x: Callable[[float], float], y: Callable[[float], float],
) -> list[Markup]:  # fmt: skip
    """A name beside the end of each curve, moved up or down so that none covers another."""
    ends = sorted(((y(curve.values[-1]), curve) for curve in curves), key=lambda end: end[0])
    places = spread([end for end, _ in ends], _LABEL, _HEIGHT)
    right = x(1.0)
    parts = []
    for (end, curve), place in zip(ends, places, strict=True):
        style = "reference" if curve.reference else styles[curve.name]
        parts.append(line((x(curve.shares[-1]), end, right + 8, place), "leader"))
        parts.append(line((right + 8, place, right + 24, place), f"curve {style}"))
        kind = "tick" if curve.reference else "tick name"
        parts.append(text(names[curve.name], right + 28, place + 4, "start", kind))
    return parts


def spread(places: Sequence[float], gap: float, limit: float) -> list[float]:
    """Rising places moved as little as keeps them `gap` apart and, where there is room, within
    [0, limit]."""
    groups: list[tuple[float, int]] = []  # the middle of each group, and how many it holds
    for place in places:
        groups.append((place, 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - a >= gap * (m + n) / 2:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    found = []
    for middle, count in groups:
        found += [middle + gap * (i - (count - 1) / 2) for i in range(count)]
    below = limit + gap
    for i in range(len(found) - 1, -1, -1):
        below = found[i] = min(found[i], below - gap)
    above = -gap
    for i in range(len(found)):
        above = found[i] = max(found[i], above + gap)
    return found


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
