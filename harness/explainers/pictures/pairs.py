"""Pairs of units as a heat map: each cell is what two units add together."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from harness.drawing.svg import measured, svg, tag, text
from harness.drawing.words import neutral, safe, short
from harness.explainers.pictures.panel import Panel
from harness.explainers.pictures.scale import Scale, amount, mark, under
from harness.explainers.summary import named, named_pair, strongest_pairs
from harness.records import Attribution, Pair

UNITS = 12  # rows of the heat map
SAID = 5  # pairs that are named under it
_CELL = 30.0
_NAME = 40  # characters


def pairs(attribution: Attribution, scale: Scale, width: float) -> Panel:
    """The units of the strongest pairs, at most 12, each with each; the strongest pairs in words.

    A unit's column has its row's number. What is left off is counted.
    """
    ranked = strongest_pairs(attribution, len(attribution.pairs))
    if not ranked:
        return Panel([], 0, Markup(""), ("No pair of units has a value other than 0.",))
    shown = _units(ranked)
    names = {place: short(neutral(named(attribution, place)), _NAME) for place in shown}
    left = max(measured(name, 12) for name in names.values()) + 34
    cell = min(_CELL, (width - left) / max(1, len(shown) - 1))
    values = {(pair.first, pair.second): pair for pair in attribution.pairs}
    parts = [text("what pairs of units add together", 0, 12, "start", "tick name")]
    top = 38.0
    for row, second in enumerate(shown):
        y = top + cell * row
        parts.append(text(f"{row + 1}", 16, y + cell / 2 + 4, "end", "fine"))
        parts.append(text(names[second], 24, y + cell / 2 + 4, "start", "name"))
        if row + 1 < len(shown):
            parts.append(text(f"{row + 1}", left + cell * (row + 0.5), top - 8, "middle", "fine"))
        for column, first in enumerate(shown[:row]):
            pair = values[first, second]
            parts += _cell(attribution, pair, scale, (left + cell * column, y), cell)
    height = top + cell * len(shown) + 6
    inside = {pair for pair in ranked if pair.first in shown and pair.second in shown}
    said = ", ".join(_said(attribution, pair) for pair in ranked[:SAID])
    notes = [f"Strongest pairs: {said}."]
    if len(inside) < len(ranked):
        notes.append(f"Pairs not in the table: {len(ranked) - len(inside):,} weaker ones.")
    return Panel(parts, height, svg(width, height, parts, "pairs", hidden=True), tuple(notes))


def _units(ranked: Sequence[Pair]) -> list[int]:
    """Units of the strongest pairs, as many as fit, in their order."""
    found: set[int] = set()
    for pair in ranked:
        more = found | {pair.first, pair.second}
        if len(more) > UNITS:
            break
        found = more
    return sorted(found)


def _said(attribution: Attribution, pair: Pair) -> str:
    error = "" if pair.standard_error is None else f" ± {amount(pair.standard_error, sign=False)}"
    return neutral(f"{short(named_pair(attribution, pair), 80)} {amount(pair.value)}{error}")


def _cell(
    attribution: Attribution, pair: Pair, scale: Scale, corner: tuple[float, float], size: float
) -> list[Markup]:
    x, y = corner
    level = scale.level(pair.value)
    return [
        tag("rect", tag("title", safe(_said(attribution, pair))), class_=mark(level), x=x, y=y,
            width=size, height=size),
        tag("rect", class_="frame", x=x, y=y, width=size, height=size),
        *under(level, x + 3, x + size - 3, y + size - 4),
    ]  # fmt: skip
