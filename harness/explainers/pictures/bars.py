"""Units as bars: along time, or ranked by name. What has no better picture has this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from harness.drawing.svg import line, measured, nice_ticks, tag, text, tick_text
from harness.drawing.words import neutral, safe
from harness.explainers.pictures.panel import Panel, strongest
from harness.explainers.pictures.scale import Scale, amount, mark, under
from harness.explainers.summary import named
from harness.records import Attribution

MOST = 30
SEGMENTS = 600
_ROW = 20.0
_HEIGHT = 150.0


def ranked(attribution: Attribution, places: Sequence[int], scale: Scale, width: float) -> Panel:
    """The strongest 30 units, the strongest first, with their standard errors as whiskers.

    What is left off is counted, with the sum of its values, so that nothing large can hide.
    """
    shown = strongest(attribution, places, MOST)
    if not shown:
        return Panel([text("no unit has a value other than 0", 0, 14)], 20)
    names = {place: _cut(named(attribution, place), width * 0.42) for place in shown}
    left = max(measured(name, 12) for name in names.values()) + 12
    right = width - 62
    ticks = _ticks(attribution, shown)

    def x(value: float) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return left + (right - left) * share

    bottom = 4 + _ROW * len(shown)
    parts = [line((x(tick), 4, x(tick), bottom), "grid") for tick in ticks]
    parts += [text(tick_text(tick), x(tick), bottom + 14, "middle") for tick in ticks]
    for number, place in enumerate(shown):
        y = 4 + _ROW * number
        value = attribution.values[place] or 0.0
        parts.append(text(names[place], left - 8, y + 14, "end", "name"))
        parts += _bar(attribution, scale, place, (x(0.0), x(value)), (y + 4, y + 16))
        error = _error(attribution, place)
        if error:
            parts += _whisker(x(value - error), x(value + error), y + 10)
        parts.append(text(amount(value), width, y + 14, "end", "number"))
    parts.append(line((x(0.0), 2, x(0.0), bottom + 2), "zero"))
    return Panel(parts, bottom + 22, None, _left_off(attribution, places, shown))


def along(attribution: Attribution, places: Sequence[int], scale: Scale, width: float) -> Panel:
    """Segments in their order: each a bar from its first to its last step."""
    units = attribution.units
    shown = strongest(attribution, places, SEGMENTS) if len(places) > SEGMENTS else places
    spans = {p: (units[p].start or 0, units[p].end or 0) for p in shown}
    first = min(start for start, _ in spans.values())
    last = max(end for _, end in spans.values())
    ticks = _ticks(attribution, places)
    left, right, top = 48.0, width - 8, 8.0

    def x(step: float) -> float:
        return left + (right - left) * (step - first) / max(1, last - first)

    def y(value: float) -> float:
        return top + _HEIGHT * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = []
    for tick in ticks:
        parts.append(line((left, y(tick), right, y(tick)), "grid"))
        parts.append(text(tick_text(tick), left - 6, y(tick) + 4, "end"))
    for place, (start, end) in spans.items():
        value = attribution.values[place]
        if value is None or not math.isfinite(value):
            parts.append(_not_seen(x(start), x(end), top))
            continue
        ends = sorted((y(0.0), y(value)))
        title = f"{named(attribution, place)}: {amount(value)}"
        parts += _standing(_step(scale, value), (x(start), ends[0], x(end), ends[1]), title)
        error = _error(attribution, place)
        if error and x(end) - x(start) > 5:
            middle = (x(start) + x(end)) / 2
            parts.append(line((middle, y(value - error), middle, y(value + error)), "whisker"))
    parts.append(line((left, y(0.0), right, y(0.0)), "zero"))
    bottom = top + _HEIGHT
    steps = [
        step for step in nice_ticks(first, last, max(2, int(width / 110))) if first <= step <= last
    ]
    parts += [text(f"{step:g}", x(step), bottom + 16, "middle") for step in steps]
    parts.append(text("step", (left + right) / 2, bottom + 32, "middle", "tick name"))
    unseen = sum(attribution.values[place] is None for place in places)
    share = f"({unseen:,} of {len(places):,} segments)"
    notes = (f"Hatched: not seen by the classifier {share}.",) if unseen else ()
    if len(shown) < len(places):
        notes = (f"Shown: the {len(shown):,} strongest of {len(places):,} segments.",)
    return Panel(parts, bottom + 38, None, notes)


def _ticks(attribution: Attribution, places: Sequence[int]) -> list[float]:
    """Round numbers around zero, the values, and their whiskers."""
    ends = [0.0]
    for place in places:
        value = attribution.values[place]
        if value is not None and math.isfinite(value):
            error = _error(attribution, place)
            ends += [value - error, value + error]
    return nice_ticks(min(ends), max(ends), 4)


def _error(attribution: Attribution, place: int) -> float:
    errors = attribution.standard_errors
    return (errors[place] or 0.0) if errors is not None else 0.0


def _bar(
    attribution: Attribution, scale: Scale, place: int, ends: tuple[float, float],
    rows: tuple[float, float],
) -> list[Markup]:  # fmt: skip
    left, right = sorted(ends)
    value = attribution.values[place] or 0.0
    level = _step(scale, value)
    said = tag("title", safe(f"{named(attribution, place)}: {amount(value)}"))
    size = max(0.5, right - left)
    return [
        tag("rect", said, class_=mark(level), x=left, y=rows[0], width=size,
            height=rows[1] - rows[0]),
        *under(level, left, left + size, rows[1]),
    ]  # fmt: skip


def _standing(level: int, box: tuple[float, float, float, float], title: str) -> list[Markup]:
    """A bar from zero, and at its end the line that tells its sign."""
    left, top, right, bottom = box
    across = max(0.5, right - left - 0.5)
    said = tag("title", safe(title))
    return [
        tag("rect", said, class_=mark(level), x=left, y=top, width=across,
            height=max(0.5, bottom - top)),
        *under(level, left, left + across, top if level > 0 else bottom),
    ]  # fmt: skip


def _step(scale: Scale, value: float) -> int:
    """The step of a bar: also what weighs little has the colour of its sign."""
    return scale.level(value) or (1 if value > 0 else -1)


def _whisker(left: float, right: float, y: float) -> list[Markup]:
    parts = [line((left, y, right, y), "whisker")]
    return parts + [line((at, y - 3, at, y + 3), "whisker") for at in (left, right)]


def _not_seen(left: float, right: float, top: float) -> Markup:
    """A stretch without a value, hatched."""
    return hatched((left, top, right, top + _HEIGHT))


def hatched(box: tuple[float, float, float, float], step: float = 7.0) -> Markup:
    """Diagonals within a box, as lines: patterns are known by ids, which meet on a page."""
    left, top, right, bottom = box
    tall = bottom - top
    lines = []
    at = left - tall
    while at < right:
        start, end = max(left, at), min(right, at + tall)
        if end > start:
            lines.append(
                f"M{start:.1f} {bottom - (start - at):.1f}L{end:.1f} {bottom - (end - at):.1f}"
            )
        at += step
    return tag("path", class_="hatch", d=" ".join(lines))


def _left_off(
    attribution: Attribution, places: Sequence[int], shown: Sequence[int]
) -> tuple[str, ...]:
    values = attribution.values
    rest = [values[p] for p in places if p not in set(shown)]
    unseen = sum(value is None for value in rest)
    counted = [value for value in rest if value is not None]
    notes = []
    if counted and sum(map(abs, counted)) > 0:
        notes.append(
            f"Not shown: {len(counted):,} weaker of {len(places):,} units; their values sum to "
            f"{amount(sum(counted))}."
        )
    elif counted:
        notes.append(f"Not shown: {len(counted):,} of {len(places):,} units, of value 0.")
    if unseen:
        notes.append(f"Not seen by the classifier: {unseen:,} of {len(places):,} units.")
    return tuple(notes)


def _cut(name: str, width: float, measure: Callable[[str, float], float] = measured) -> str:
    """A name that is no wider than this."""
    name = neutral(" ".join(name.split()))
    while len(name) > 2 and measure(name, 12) > width:
        name = name[:-2] + "…"
    return name
