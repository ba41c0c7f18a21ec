"""The report's charts as inline SVG.

Colours and fonts come from classes in `report.css`; there is no style attribute and no script,
because the page's content security policy allows neither. All text goes through one escaping
function, so a model's name is as harmless here as in the templates.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from harness.report.text import neutral, safe, short
from harness.results import Estimate, number, unpadded

Kind = Literal["model", "control"]
Box = tuple[float, float, float, float]  # left, top, right, bottom

FONT = 12.0
LABEL_CHARACTERS = 26


@dataclass(frozen=True)
class Point:
    """A model or control in the scatter."""

    name: str
    kind: Kind
    x: Estimate
    y: Estimate


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that enclose [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


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
        _tag("line", class_="track", x1=1, x2=width - 1, y1=height / 2, y2=height / 2),
        _tag(
            "rect", class_=f"bar {kind}", x=min(origin, value), y=3.5,
            width=max(0.5, abs(value - origin)), height=7,
        ),
    ]  # fmt: skip
    if low < 0:
        parts.append(_tag("line", class_="zero", x1=origin, x2=origin, y1=0, y2=height))
    if estimate.low is not None and estimate.high is not None:
        left, right = x(estimate.low), x(estimate.high)
        parts.append(_tag("line", class_="whisker", x1=left, x2=right, y1=7, y2=7))
        parts += [_tag("line", class_="whisker", x1=at, x2=at, y1=3, y2=11) for at in (left, right)]
    return _svg(width, height, parts, class_="minibar", hidden=True)


def stacked(parts: Sequence[tuple[str, int]], total: int, width: float = 180.0) -> Markup:
    """One horizontal bar divided by outcome; what `parts` leave of `total` stays empty."""
    height, at = 14.0, 0.0
    total = max(total, sum(count for _, count in parts), 1)
    drawn = [_tag("rect", class_="empty", x=0, y=0, width=width, height=height)]
    for name, count in parts:
        if count <= 0:
            continue
        size = width * count / total
        drawn.append(
            _tag(
                "rect", _tag("title", safe(f"{name}: {count:,} of {total:,}")),
                class_=f"outcome {name}", x=at, y=0, width=max(size, 1.0), height=height,
            )
        )  # fmt: skip
        at += size
    return _svg(width, height, drawn, class_="stack", hidden=True)


def reliability(bins: Sequence[tuple[float, float, int]], size: float = 300.0) -> Markup:
    """Accuracy against mean confidence, one dot a bin, its area by the bin's count."""
    left, bottom, top = 44.0, 40.0, 10.0
    width, height = left + size + 12, top + size + bottom

    def x(value: float) -> float:
        return left + size * value

    def y(value: float) -> float:
        return top + size * (1 - value)

    parts = _axes(x, y, [0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], "confidence", "accuracy")
    parts.append(_tag("line", class_="diagonal", x1=x(0), y1=y(0), x2=x(1), y2=y(1)))
    most = max((count for _, _, count in bins), default=1) or 1
    filled = [entry for entry in bins if entry[2] > 0]
    path = " ".join(f"{x(confidence):.1f},{y(accuracy):.1f}" for confidence, accuracy, _ in filled)
    parts.append(_tag("polyline", class_="trace", points=path))
    for confidence, accuracy, count in filled:
        words = f"confidence {number(confidence)}, accuracy {number(accuracy)}, {count:,} samples"
        parts.append(
            _tag(
                "circle", _tag("title", safe(words)), class_="dot model", cx=x(confidence),
                cy=y(accuracy), r=3 + 7 * math.sqrt(count / most),
            )
        )  # fmt: skip
    name = f"Reliability diagram with {len(filled)} bins; the table gives the numbers."
    return _svg(width, height, parts, class_="reliability", label=name)


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
    x_ticks = _clipped(nice_ticks(*_extent([p.x for p in points])), limits[0])
    y_ticks = _clipped(nice_ticks(*_extent([p.y for p in points])), limits[1])

    def x(value: float) -> float:
        share = (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        return left + (width - left - right) * share

    def y(value: float) -> float:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return height - bottom - (height - top - bottom) * share

    parts = _axes(x, y, x_ticks, y_ticks, x_name, y_name)
    whiskers: list[Box] = []
    for point in points:
        cx, cy = x(point.x.value or 0.0), y(point.y.value or 0.0)
        if point.x.low is not None and point.x.high is not None:
            whiskers.append((x(point.x.low), cy, x(point.x.high), cy))
            parts.append(_line(whiskers[-1], f"whisker {point.kind}"))
        if point.y.low is not None and point.y.high is not None:
            whiskers.append((cx, y(point.y.high), cx, y(point.y.low)))
            parts.append(_line(whiskers[-1], f"whisker {point.kind}"))
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
    svg = _svg(width, height, parts, class_=class_, label=f"{drawn}; the table gives the numbers.")
    return svg, tuple(without)


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


def text_width(text: str) -> float:
    """A generous estimate of the width of `text` in pixels at the label's size."""
    em = {"W": 1.1, "F": 1.1}
    return FONT * sum(em.get(unicodedata.east_asian_width(char), 0.6) for char in text)


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


def _clipped(ticks: list[float], limits: tuple[float | None, float | None]) -> list[float]:
    """Ticks inside the metric's range, as nothing can lie beyond it; at least two remain."""
    low, high = limits
    kept = [
        t for t in ticks
        if (low is None or t >= low - 1e-9) and (high is None or t <= high + 1e-9)
    ]  # fmt: skip
    return kept if len(kept) > 1 else ticks


def _label(name: str, kind: Kind, box: Box, centre: tuple[float, float]) -> list[Markup]:
    parts = []
    near_x = min(max(centre[0], box[0]), box[2])
    near_y = min(max(centre[1], box[1]), box[3])
    if math.hypot(near_x - centre[0], near_y - centre[1]) > 15:
        parts.append(_line((centre[0], centre[1], near_x, near_y), "leader"))
    middle = (box[0] + box[2]) / 2
    parts.append(
        _tag(
            "text", safe(name), class_=f"label {kind}", x=middle, y=box[3] - 4.5,
            text_anchor="middle",
        )
    )  # fmt: skip
    return parts


def _marker(cx: float, cy: float, kind: Kind, title: str) -> Markup:
    name = _tag("title", safe(title))
    if kind == "control":
        corners = ((cx, cy - 5), (cx + 5, cy), (cx, cy + 5), (cx - 5, cy))
        points = " ".join(f"{left:.1f},{top:.1f}" for left, top in corners)
        return _tag("polygon", name, class_="dot control", points=points)
    return _tag("circle", name, class_=f"dot {kind}", cx=cx, cy=cy, r=5)


def _axes(
    x: Callable[[float], float],
    y: Callable[[float], float],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_name: str,
    y_name: str,
) -> list[Markup]:
    left, right = x(x_ticks[0]), x(x_ticks[-1])
    bottom, top = y(y_ticks[0]), y(y_ticks[-1])
    parts = []
    for tick in x_ticks:
        parts.append(_line((x(tick), top, x(tick), bottom), "grid"))
        parts.append(_text(_tick(tick), x(tick), bottom + 16, "middle"))
    for tick in y_ticks:
        parts.append(_line((left, y(tick), right, y(tick)), "grid"))
        parts.append(_text(_tick(tick), left - 7, y(tick) + 4, "end"))
    parts.append(_line((left, bottom, right, bottom), "axis"))
    parts.append(_line((left, top, left, bottom), "axis"))
    parts.append(_text(short(x_name, 60), (left + right) / 2, bottom + 36, "middle", "name"))
    middle = (top + bottom) / 2
    parts.append(
        _tag(
            "text", safe(short(y_name, 50)), class_="tick name", x=13, y=middle,
            text_anchor="middle", transform=f"rotate(-90 13 {middle:.1f})",
        )
    )  # fmt: skip
    return parts


def _tick(value: float) -> str:
    return unpadded(f"{value:g}")


def _text(text: str, x: float, y: float, anchor: str, extra: str = "") -> Markup:
    return _tag("text", safe(text), class_=f"tick {extra}".strip(), x=x, y=y, text_anchor=anchor)


def _line(box: Box, class_: str) -> Markup:
    return _tag("line", class_=class_, x1=box[0], y1=box[1], x2=box[2], y2=box[3])


def _svg(
    width: float, height: float, parts: Sequence[Markup], class_: str,
    label: str = "", hidden: bool = False,
) -> Markup:  # fmt: skip
    access: Mapping[str, str] = (
        {"aria_hidden": "true"} if hidden else {"role": "img", "aria_label": label}
    )
    return _tag(
        "svg", *parts, class_=class_, viewBox=f"0 0 {width:g} {height:g}", width=width,
        height=height, **access,
    )  # fmt: skip


def _tag(name: str, *children: Markup, **attributes: str | float) -> Markup:
    """An element; attribute names lose a trailing underscore and take hyphens for the others."""
    written = []
    for key, value in attributes.items():
        text = f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        written.append(f' {key.rstrip("_").replace("_", "-")}="{safe(text)}"')
    inner = "".join(children)
    return Markup(f"<{name}{''.join(written)}>{inner}</{name}>")
