"""Elements of SVG, and what charts share: ticks, axes, and how wide a text will be.

Colours and fonts come from classes in `drawing.css`; there is no style attribute and no script,
because the report's content security policy allows neither. All text goes through one escaping
function, so a model's name is as harmless here as in the templates.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from harness.drawing.words import safe, short, unpadded

Box = tuple[float, float, float, float]  # left, top, right, bottom

FONT = 12.0
MARGIN = 8.0

# Advance widths of Helvetica for U+0020 to U+007E in thousandths of an em (Adobe's font metrics of
# the 14 standard fonts); Arial and Liberation Sans are made to the same widths.
_HELVETICA = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that enclose [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def clipped(ticks: list[float], limits: tuple[float | None, float | None]) -> list[float]:
    """Ticks inside the metric's range, as nothing can lie beyond it; at least two remain."""
    low, high = limits
    kept = [
        t for t in ticks
        if (low is None or t >= low - 1e-9) and (high is None or t <= high + 1e-9)
    ]  # fmt: skip
    return kept if len(kept) > 1 else ticks


def text_width(text: str) -> float:
    """A generous estimate of the width of `text` in pixels at the label's size."""
    em = {"W": 1.1, "F": 1.1}
    return FONT * sum(em.get(unicodedata.east_asian_width(char), 0.6) for char in text)


def measured(text: str, size: float) -> float:
    """The width of `text` in pixels when set in Helvetica; of other scripts an estimate."""
    return size * sum(map(_em, text))


def _em(char: str) -> float:
    if " " <= char <= "~":
        return _HELVETICA[ord(char) - 32] / 1000
    if unicodedata.combining(char):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(char) in "WF" else 0.6


def axes(
    x: Callable[[float], float],
    y: Callable[[float], float],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_name: str,
    y_name: str,
    middle: float = 13.0,
) -> list[Markup]:
    """Grid, ticks and names of two axes; `middle` is where the name of `y` stands."""
    left, right = x(x_ticks[0]), x(x_ticks[-1])
    bottom, top = y(y_ticks[0]), y(y_ticks[-1])
    parts = []
    for tick in x_ticks:
        parts.append(line((x(tick), top, x(tick), bottom), "grid"))
        parts.append(text(tick_text(tick), x(tick), bottom + 16, "middle"))
    for tick in y_ticks:
        parts.append(line((left, y(tick), right, y(tick)), "grid"))
        parts.append(text(tick_text(tick), left - 7, y(tick) + 4, "end"))
    parts.append(line((left, bottom, right, bottom), "axis"))
    parts.append(line((left, top, left, bottom), "axis"))
    name = short(x_name, 60)
    parts.append(text(name, (left + right) / 2, bottom + 36, "middle", "tick name"))
    height = (top + bottom) / 2
    parts.append(
        tag(
            "text", safe(short(y_name, 50)), class_="tick name", x=middle, y=height,
            text_anchor="middle", transform=f"rotate(-90 {middle:g} {height:.1f})",
        )
    )  # fmt: skip
    return parts


def tick_text(value: float) -> str:
    """A tick's number."""
    return unpadded(f"{value:g}")


def text(words: str, x: float, y: float, anchor: str = "start", class_: str = "tick") -> Markup:
    """A line of text from its baseline."""
    return tag("text", safe(words), class_=class_, x=x, y=y, text_anchor=anchor)


def line(box: Box, class_: str) -> Markup:
    """A straight line from the first to the second corner of `box`."""
    return tag("line", class_=class_, x1=box[0], y1=box[1], x2=box[2], y2=box[3])


def svg(
    width: float, height: float, parts: Sequence[Markup], class_: str = "",
    label: str = "", hidden: bool = False,
) -> Markup:  # fmt: skip
    """A drawing of class `drawn`; it is said to a reader by `label`, or hidden from one."""
    access: Mapping[str, str] = (
        {"aria_hidden": "true"} if hidden else {"role": "img", "aria_label": label}
    )
    return tag(
        "svg", *parts, class_=f"drawn {class_}".strip(), viewBox=f"0 0 {width:g} {height:g}",
        width=width, height=height, **access,
    )  # fmt: skip


def sheet(width: float, height: float, parts: Sequence[Markup], class_: str, label: str) -> Markup:
    """A drawing on paper of its own, with a margin so that nothing is cut at its edge.

    Its letters are Helvetica's or as wide, because its lines are broken by their widths.
    """
    across, down = width + 2 * MARGIN, height + 2 * MARGIN
    paper = tag("rect", class_="paper", x=0, y=0, width=across, height=down)
    inner = tag("g", *parts, transform=f"translate({MARGIN:g} {MARGIN:g})")
    return svg(across, down, [paper, inner], f"sheet {class_}", label)


def tag(name: str, *children: Markup, **attributes: str | float) -> Markup:
    """An element; attribute names lose a trailing underscore and take hyphens for the others."""
    written = []
    for key, value in attributes.items():
        said = f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        written.append(f' {key.rstrip("_").replace("_", "-")}="{safe(said)}"')
    inner = "".join(children)
    return Markup(f"<{name}{''.join(written)}>{inner}</{name}>")


def notes(words: str, y: float, width: float) -> tuple[list[Markup], float]:
    """Small print from below `y`, and where it ends. Each line is held to its measured width, so
    that another font does not run over the edge."""
    parts = []
    for words_ in wrapped(words, 11, width):
        y += 15
        parts.append(
            tag(
                "text", safe(words_), class_="fine", x=0, y=y, textLength=measured(words_, 11),
                lengthAdjust="spacingAndGlyphs",
            )
        )  # fmt: skip
    return parts, y


def wrapped(words: str, size: float, width: float) -> list[str]:
    """`words` on lines of at most `width` pixels in Helvetica; what has no spaces is broken."""
    lines: list[str] = []
    line_ = ""
    for word in words.split():
        longer = f"{line_} {word}" if line_ else word
        if measured(longer, size) <= width:
            line_ = longer
            continue
        if line_:
            lines.append(line_)
        while measured(word, size) > width and len(word) > 1:
            fits = next(
                n for n in range(len(word), 0, -1) if n == 1 or measured(word[:n], size) <= width
            )
            lines.append(word[:fits])
            word = word[fits:]
        line_ = word
    return [*lines, line_] if line_ else lines
