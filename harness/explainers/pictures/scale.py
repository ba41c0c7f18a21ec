"""The signed scale: nine steps from blue (against) over white to orange (for), and its legend.

Blue and orange stay apart under all common forms of colour blindness. Each step also has a line,
broken below zero and solid above, the thicker the farther from zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from harness.drawing.svg import tag, text
from harness.drawing.words import unpadded

_BOUNDS = (0.1, 0.25, 0.5, 0.75)  # shares of the largest value at which a step begins
_SWATCH = 36.0
LEGEND_HEIGHT = 50.0


@dataclass(frozen=True)
class Scale:
    """`limit` is the largest size of a value; `signed` says whether any speaks against."""

    limit: float
    signed: bool

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Scale:
        """The scale that holds these values; `None` and what is no number are left out."""
        seen = [v for v in values if v is not None and math.isfinite(v)]
        return cls(max(map(abs, seen), default=0.0), min(seen, default=0.0) < 0)

    def level(self, value: float | None) -> int:
        """The step of a value, -4 to 4; 0 for what weighs less than a tenth of the limit."""
        if value is None or not math.isfinite(value) or self.limit <= 0:
            return 0
        size = sum(abs(value) >= bound * self.limit for bound in _BOUNDS)
        return size if value > 0 else -size

    def legend(self, y: float = 0.0, over_image: bool = False) -> list[Markup]:
        """The steps with their numbers, drawn from (0, y); `LEGEND_HEIGHT` high.

        With `over_image` the colours are as they look on a grey of middle brightness.
        """
        x = 0.0
        steps = range(-4, 5) if self.signed else range(5)
        at = {step: x + _SWATCH * place for place, step in enumerate(steps)}
        right = x + _SWATCH * len(steps)
        parts = []
        if self.signed:
            parts.append(text("speaks against", x, y + 11, "start", "fine"))
            parts.append(text("speaks for", right, y + 11, "end", "fine"))
        else:
            parts.append(text("weight", x, y + 11, "start", "fine"))
        for step, left in at.items():
            box = {"x": left, "y": y + 16, "width": _SWATCH, "height": 13}
            if over_image:
                parts.append(tag("rect", class_="ground", **box))
            parts.append(tag("rect", class_=("i" if over_image else "") + mark(step), **box))
            parts += under(step, left + 4, left + _SWATCH - 4, y + 26)
        parts.append(tag("rect", class_="frame", x=x, y=y + 16, width=right - x, height=13))
        numbers = {0: _SWATCH / 2, 3: 0.0, 4: _SWATCH} | (
            {-3: _SWATCH, -4: 0.0} if self.signed else {}
        )
        shares = {0: 0.0, 3: _BOUNDS[2], 4: 1.0}
        for step, inside in numbers.items():
            share = shares[abs(step)] * self.limit * (1 if step > 0 else -1)
            anchor = {4: "end", -4: "start"}.get(step, "middle")
            parts.append(text(amount(share), at[step] + inside, y + 43, anchor, "fine"))
        return parts

    @property
    def width(self) -> float:
        """How wide the legend is."""
        return _SWATCH * (9 if self.signed else 5)


def mark(level: int) -> str:
    """The class of a step's colour."""
    return "v0" if level == 0 else f"{'p' if level > 0 else 'n'}{abs(level)}"


def under(level: int, left: float, right: float, y: float) -> list[Markup]:
    """The line under what has this step; none for step 0."""
    if level == 0:
        return []
    sign = "p" if level > 0 else "n"
    return [tag("line", class_=f"over {sign} w{abs(level)}", x1=left, x2=right, y1=y, y2=y)]


def amount(value: float, sign: bool = True) -> str:
    """A number to two significant digits, with its sign and without a zero before its point."""
    if not math.isfinite(value):
        return "no number"
    size = abs(value)
    if size == 0:
        return "0"
    digits = 1 - math.floor(math.log10(size))
    body = f"{size:.{max(0, digits)}f}" if -4 <= math.log10(size) < 5 else f"{size:.1e}"
    before = "−" if value < 0 else "+" if sign else ""
    return before + unpadded(body)
