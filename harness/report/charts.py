"""The report's charts as inline SVG, in the drawing vocabulary of `harness.drawing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from harness.drawing.svg import (
    FONT,
    Box,
    axes,
    clipped,
    line,
    nice_ticks,
    svg,
    tag,
    text_width,
)
from harness.drawing.words import neutral, safe, short
from harness.results import Estimate, number

Kind = Literal["model", "control"]

LABEL_CHARACTERS = 26


@dataclass(frozen=True)
class Point:
    """A model or control in the scatter."""

    name: str
    kind: Kind
    x: Estimate
    y: Estimate


def domain(
    estimates: Sequence[Estimate], limits: tuple[float | None, float | None]
) -> tuple[float, float]:
    """The metric's own range where it is closed, else one that holds all intervals and zero."""
    low, high = limits
    seen = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    if low is None:
        low = min([0.0, *seen])
    if high is None:
        high = max([0.0, *seen])
    return (low, high) if high > low else (low, low + 1.0)


def bar(estimate: Estimate, limits: tuple[float, float], kind: Kind = "model") -> Markup:
    """A small bar from zero to the value with its interval as a whisker.

    Zero is the left end for a range that starts there, and a line inside it for differences.
    """
    width, height = 112.0, 14.0
    low, high = limits
    if estimate.value is None:
        return Markup("")

    def x(value: float) -> float:
        share = (value - low) / (high - low)
        return 1 + (width - 2) * min(1.0, max(0.0, share))

    origin = x(min(max(0.0, low), high))
    value = x(estimate.value)
    parts = [
        tag("line", class_="track", x1=1, x2=width - 1, y1=height / 2, y2=height / 2),
        tag(
            "rect", class_=f"bar {kind}", x=min(origin, value), y=3.5,
            width=max(0.5, abs(value - origin)), height=7,
        ),
    ]  # fmt: skip
    if low < 0:
        parts.append(tag("line", class_="zero", x1=origin, x2=origin, y1=0, y2=height))
    if estimate.low is not None and estimate.high is not None:
        left, right = x(estimate.low), x(estimate.high)
        parts.append(tag("line", class_="whisker", x1=left, x2=right, y1=7, y2=7))
        parts += [tag("line", class_="whisker", x1=at, x2=at, y1=3, y2=11) for at in (left, right)]
    return svg(width, height, parts, class_="minibar", hidden=True)


def stacked(parts: Sequence[tuple[str, int]], total: int, width: float = 180.0) -> Markup:
    """One horizontal bar divided by outcome; what `parts` leave of `total` stays empty."""
    height, at = 14.0, 0.0
    total = max(total, sum(count for _, count in parts), 1)
    drawn = [tag("rect", class_="empty", x=0, y=0, width=width, height=height)]
    for name, count in parts:
        if count <= 0:
            continue
        size = width * count / total
        drawn.append(
            tag(
                "rect", tag("title", safe(f"{name}: {count:,} of {total:,}")),
                class_=f"outcome {name}", x=at, y=0, width=max(size, 1.0), height=height,
            )
        )  # fmt: skip
        at += size
    return svg(width, height, drawn, class_="stack", hidden=True)


def reliability(bins: Sequence[tuple[float, float, int]], size: float = 300.0) -> Markup:
    """Accuracy against mean confidence, one dot a bin, its area by the bin's count."""
    largest = 10.0  # radius of the dot of the fullest bin, which may lie in any corner
    edge = largest + 2  # with its outline
    left, bottom, top = 44.0, 40.0, edge
    width, height = left + size + edge, top + size + bottom

    def x(value: float) -> float:
        return left + size * value

    def y(value: float) -> float:
        return top + size * (1 - value)

    parts = axes(x, y, [0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], "confidence", "accuracy")
    parts.append(tag("line", class_="diagonal", x1=x(0), y1=y(0), x2=x(1), y2=y(1)))
    most = max((count for _, _, count in bins), default=1) or 1
    filled = [entry for entry in bins if entry[2] > 0]
    path = " ".join(f"{x(confidence):.1f},{y(accuracy):.1f}" for confidence, accuracy, _ in filled)
    parts.append(tag("polyline", class_="trace", points=path))
    for confidence, accuracy, count in filled:
        words = f"confidence {number(confidence)}, accuracy {number(accuracy)}, {count:,} samples"
        parts.append(
            tag(
                "circle", tag("title", safe(words)), class_="dot model", cx=x(confidence),
                cy=y(accuracy), r=3 + (largest - 3) * math.sqrt(count / most),
            )
        )  # fmt: skip
    name = f"Reliability diagram with {len(filled)} bins; the table gives the numbers."
    return svg(width, height, parts, class_="reliability", label=name)


def scatter(
    points: Sequence[Point],
    x_name: str,
    y_name: str,
    limits: tuple[tuple[float | None, float | None], tuple[float | None, float | None]],
    size: tuple[float, float] = (820.0, 500.0),
    class_: str = "scatter",
) -> tuple[Markup, tuple[str, ...]]:
    """`y` against `x` with both intervals, and the names that found no room for a label.

    Labels never overlap one another or a marker: each takes the nearest free place around its
    marker, with a thin line to it where that is far. Points without both values are not drawn.
    """
    points = [p for p in points if p.x.value is not None and p.y.value is not None]
    width, height = size
    left, right, top, bottom = 52.0, 16.0, 12.0, 46.0
    x_ticks = clipped(nice_ticks(*_extent([p.x for p in points])), limits[0])
    y_ticks = clipped(nice_ticks(*_extent([p.y for p in points])), limits[1])

    def x(value: float) -> float:
        share = (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        return left + (width - left - right) * share

    def y(value: float) -> float:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return height - bottom - (height - top - bottom) * share

    parts = axes(x, y, x_ticks, y_ticks, x_name, y_name)
    whiskers: list[Box] = []
    for point in points:
        cx, cy = x(point.x.value or 0.0), y(point.y.value or 0.0)
        if point.x.low is not None and point.x.high is not None:
            whiskers.append((x(point.x.low), cy, x(point.x.high), cy))
            parts.append(line(whiskers[-1], f"whisker {point.kind}"))
        if point.y.low is not None and point.y.high is not None:
            whiskers.append((cx, y(point.y.high), cx, y(point.y.low)))
            parts.append(line(whiskers[-1], f"whisker {point.kind}"))
    for point in points:
        title = f"{point.name}: {y_name} {number(point.y.value)}, {x_name} {number(point.x.value)}"
        cx, cy = x(point.x.value or 0.0), y(point.y.value or 0.0)
        parts.append(_marker(cx, cy, point.kind, title))
    frame = (left + 2, top, width - right - 2, height - bottom - 2)
    centres = [(x(p.x.value or 0.0), y(p.y.value or 0.0)) for p in points]
    order = sorted(range(len(points)), key=lambda i: (points[i].kind == "control", i))
    names = [short(neutral(points[i].name), LABEL_CHARACTERS) for i in order]
    placed = place_labels([centres[i] for i in order], names, whiskers, frame)
    without = []
    for i, name, box in zip(order, names, placed, strict=True):
        if box is None:
            without.append(points[i].name)
            continue
        parts.extend(_label(name, points[i].kind, box, centres[i]))
    drawn = f"{len(points)} models and controls, {y_name} against {x_name}, with intervals"
    label = f"{drawn}; the table gives the numbers."
    return svg(width, height, parts, class_=class_, label=label), tuple(without)


def place_labels(
    centres: Sequence[tuple[float, float]],
    names: Sequence[str],
    whiskers: Sequence[Box],
    frame: Box,
) -> list[Box | None]:
    """A box for each name, free of every other box and marker and inside `frame`.

    Greedy in the given order: of all free places on rings around the marker the one nearest and
    least crossed by whiskers is taken; `None` where there is none.
    """
    markers = [(cx - 6, cy - 6, cx + 6, cy + 6) for cx, cy in centres]
    taken: list[Box] = []
    result: list[Box | None] = []
    for (cx, cy), name in zip(centres, names, strict=True):
        wide, tall = text_width(name) + 4, FONT + 4
        best: tuple[float, Box] | None = None
        for ring in (9, 14, 22, 32, 44, 60, 80, 105, 135, 170):
            for step in range(16):
                angle = math.pi * step / 8
                dx, dy = math.cos(angle), math.sin(angle)
                # The box's nearest edge or corner, not its centre, lies on the ring.
                mid_x = cx + dx * ring + (wide / 2) * _sign(dx)
                mid_y = cy + dy * ring + (tall / 2) * _sign(dy)
                box = (mid_x - wide / 2, mid_y - tall / 2, mid_x + wide / 2, mid_y + tall / 2)
                if not _inside(box, frame) or any(_hit(box, other) for other in (*taken, *markers)):
                    continue
                crossed = sum(_hit(box, line) for line in whiskers)
                cost = ring + 14 * crossed + (0 if step == 0 else 1 + (step not in (8, 4, 12)))
                if best is None or cost < best[0]:
                    best = (cost, box)
        result.append(best[1] if best else None)
        if best:
            taken.append(best[1])
    return result


def _sign(value: float) -> int:
    return 0 if abs(value) < 1e-6 else (1 if value > 0 else -1)


def _inside(box: Box, frame: Box) -> bool:
    return (
        box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
    )  # fmt: skip


def _hit(a: Box, b: Box) -> bool:
    return a[0] < b[2] + 1 and b[0] < a[2] + 1 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def _extent(estimates: Sequence[Estimate]) -> tuple[float, float]:
    seen = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    return (min(seen), max(seen)) if seen else (0.0, 1.0)


def _label(name: str, kind: Kind, box: Box, centre: tuple[float, float]) -> list[Markup]:
    parts = []
    near_x = min(max(centre[0], box[0]), box[2])
    near_y = min(max(centre[1], box[1]), box[3])
    if math.hypot(near_x - centre[0], near_y - centre[1]) > 15:
        parts.append(line((centre[0], centre[1], near_x, near_y), "leader"))
    middle = (box[0] + box[2]) / 2
    parts.append(
        tag(
            "text", safe(name), class_=f"label {kind}", x=middle, y=box[3] - 4.5,
            text_anchor="middle",
        )
    )  # fmt: skip
    return parts


def _marker(cx: float, cy: float, kind: Kind, title: str) -> Markup:
    name = tag("title", safe(title))
    if kind == "control":
        corners = ((cx, cy - 5), (cx + 5, cy), (cx, cy + 5), (cx - 5, cy))
        points = " ".join(f"{left:.1f},{top:.1f}" for left, top in corners)
        return tag("polygon", name, class_="dot control", points=points)
    return tag("circle", name, class_=f"dot {kind}", cx=cx, cy=cy, r=5)
