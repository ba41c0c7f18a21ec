"""Methods by metrics: values with intervals, shaded from worse to better within each metric.

References (a random attribution, everything) stand in rows of their own below, and what was not
shown to be better than random is hatched and struck through, so that no colour praises it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

from harness.drawing.figure import Figure
from harness.drawing.svg import line, measured, notes, sheet, tag, text, wrapped
from harness.drawing.words import neutral, safe, short
from harness.explainers.pictures.bars import hatched
from harness.explainers.pictures.scale import amount
from harness.records import HarnessError

_ROW = 40.0
_LEAST = 82.0  # pixels that a column needs


@dataclass(frozen=True)
class Column:
    """A metric, and whether `higher` or `lower` values are better."""

    name: str
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True)
class Entry:
    """A method's value by one metric with its interval; `None` where it was not measured.

    `beats_random` says whether it was shown to be better than a random attribution, `None` where
    that was not tested.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    beats_random: bool | None = None


@dataclass(frozen=True)
class Row:
    """A method, or a reference, with its entries by the metric's name."""

    name: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    reference: bool = False


def heat_map(
    rows: Sequence[Row], columns: Sequence[Column], title: str = "Methods by metrics",
    width: float | None = None,
) -> Figure:  # fmt: skip
    """The table of methods and references. It is as wide as its columns need, unless `width` says
    otherwise; a page shows it as a table of HTML."""
    if not rows or not columns:
        raise HarnessError("a heat map needs a method and a metric")
    ordered = [r for r in rows if not r.reference] + [r for r in rows if r.reference]
    shades = {column.name: _shades(ordered, column) for column in columns}
    alt = neutral(f"{title}. {_best(ordered, columns)}")
    drawing = _drawing(ordered, columns, shades, title, alt, width)
    page = _table(ordered, columns, shades, title)
    return Figure(neutral(title), alt, drawing, page)


def _shades(rows: Sequence[Row], column: Column) -> dict[str, int]:
    """A shade from 0 (worst) to 6 (best) for each row that has a value and is to have a colour.

    References take part in the range and have no colour themselves.
    """
    values = {
        row.name: entry.value
        for row in rows
        if (entry := row.entries.get(column.name)) is not None and entry.value is not None
    }
    if not values:
        return {}
    low, high = min(values.values()), max(values.values())
    found = {}
    for row in rows:
        entry = row.entries.get(column.name)
        if row.reference or entry is None or entry.value is None or entry.beats_random is False:
            continue
        share = (entry.value - low) / (high - low) if high > low else 0.5
        share = 1 - share if column.better == "lower" else share
        found[row.name] = min(6, int(7 * share))
    return found


def _best(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """The best method of each metric in words, those no better than random left out."""
    said = []
    for column in columns:
        fair = [
            (entry.value, row.name)
            for row in rows
            if not row.reference
            and (entry := row.entries.get(column.name)) is not None
            and entry.value is not None
            and entry.beats_random is not False
        ]
        if fair:
            value, name = (min if column.better == "lower" else max)(fair)
            said.append(f"{column.name}: best {name} {amount(value, sign=False)}")
        else:
            said.append(f"{column.name}: no method better than random")
    return "; ".join(said) + "."


def _drawing(
    rows: Sequence[Row], columns: Sequence[Column], shades: Mapping[str, Mapping[str, int]],
    title: str, alt: str, width: float | None,
) -> Markup:  # fmt: skip
    names = {row.name: short(neutral(row.name), 28) for row in rows}
    left = min(190.0, max(measured(name, 12.6) for name in names.values()) + 14)
    needs = max([_LEAST, *(max(measured(w, 12.6) for w in _head(c)) + 10 for c in columns)])
    across = width if width is not None else left + min(needs, 130) * len(columns)
    size = (across - left) / len(columns)
    parts: list[Markup] = []
    y = 0.0
    for words in wrapped(title, 14, across):
        y += 17
        parts.append(text(words, 0, y, "start", "heading"))
    heads = [
        [*(part for w in _head(c) for part in wrapped(w, 12.6, size - 6)), _direction(c)]
        for c in columns
    ]
    y += 8 + 15 * max(map(len, heads))
    for number, head in enumerate(heads):
        for place, words in enumerate(reversed(head)):
            kind = "fine" if place == 0 else "tick name"
            middle = left + size * (number + 0.5)
            parts.append(text(words, middle, y - 15 * place - 4, "middle", kind))
    references = False
    for row in rows:
        if row.reference and not references:
            references = True
            y += 10
            parts.append(line((0, y - 5, across, y - 5), "axis"))
        parts.append(
            text(names[row.name], 0, y + 24, "start", "tick" if row.reference else "tick name")
        )
        for number, column in enumerate(columns):
            entry = row.entries.get(column.name, Entry(None))
            box = (left + size * number + 1, y + 1, left + size * (number + 1) - 1, y + _ROW - 1)
            parts += _cell(entry, shades[column.name].get(row.name), box)
        y += _ROW
    y += 6
    small, y = notes(_LEGEND, y, across)
    parts += small
    return sheet(across, y + 4, parts, "heat-map", alt)


_LEGEND = (
    "Darker is better within a column; each cell has the mean and its interval. Hatched and struck "
    "through: not shown to be better than a random attribution. Below the line: references."
)


def _head(column: Column) -> list[str]:
    """A metric's name, which may be broken after its signs."""
    return neutral(column.name).replace("_", " ").split()


def _direction(column: Column) -> str:
    return "↑ higher" if column.better == "higher" else "↓ lower"


def _cell(entry: Entry, shade: int | None, box: tuple[float, float, float, float]) -> list[Markup]:
    left, top, right, bottom = box
    middle = (left + right) / 2
    light = " light" if shade is not None and shade >= 5 else ""
    parts = []
    if shade is not None:
        parts.append(
            tag("rect", class_=f"h{shade}", x=left, y=top, width=right - left, height=bottom - top)
        )
    failed = entry.beats_random is False and entry.value is not None
    if failed:
        parts.append(hatched(box, 6))
        parts.append(
            tag("rect", class_="paper", x=middle - 24, y=top + 3, width=48, height=15, rx=2)
        )
    said = "–" if entry.value is None else amount(entry.value, sign=False)
    parts.append(text(said, middle, top + 15, "middle", f"cell{light}"))
    if failed:
        half = measured(said, 12.6) / 2 + 2
        parts.append(line((middle - half, top + 11, middle + half, top + 11), "struck"))
    interval = _interval(entry)
    if interval:
        if failed:
            parts.append(
                tag("rect", class_="paper", x=middle - 36, y=top + 20, width=72, height=14, rx=2)
            )
        parts.append(text(interval, middle, top + 31, "middle", f"cell interval{light}"))
    return parts


def _interval(entry: Entry) -> str:
    if entry.value is None or entry.low is None or entry.high is None:
        return ""
    return f"[{amount(entry.low, sign=False)}, {amount(entry.high, sign=False)}]"


def _table(
    rows: Sequence[Row], columns: Sequence[Column], shades: Mapping[str, Mapping[str, int]],
    title: str,
) -> Markup:  # fmt: skip
    heads = [
        tag("th", *_broken(column.name), Markup("<br>"), tag("span", safe(_direction(column)),
            class_="note"), scope="col")
        for column in columns
    ]  # fmt: skip
    body = []
    for row in rows:
        cells = []
        for column in columns:
            entry = row.entries.get(column.name, Entry(None))
            shade = shades[column.name].get(row.name)
            failed = entry.beats_random is False and entry.value is not None
            kind = "failed" if failed else "" if shade is None else f"t{shade}"
            value = safe("–" if entry.value is None else amount(entry.value, sign=False))
            struck = tag("s", value, title="not shown to be better than random")
            interval = tag("span", safe(_interval(entry)), class_="interval")
            cells.append(tag("td", struck if failed else tag("b", value), interval, class_=kind))
        kind = "reference" if row.reference else "method"
        body.append(tag("tr", tag("th", safe(row.name), scope="row"), *cells, class_=kind))
    caption = tag("caption", safe(title), class_="heading")
    empty = tag("th", safe("method"), scope="col")
    table = tag(
        "table", caption, tag("thead", tag("tr", empty, *heads)), tag("tbody", *body),
        class_="heat-map",
    )  # fmt: skip
    note = tag("p", safe(_LEGEND), class_="note")
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)
    return tag("div", scroll, note, class_="drawn")


def _broken(name: str) -> list[Markup]:
    """A name with places for a line's end after its underscores."""
    pieces = neutral(name).split("_")
    return [
        safe(piece) + (Markup("_<wbr>") if i < len(pieces) - 1 else Markup(""))
        for i, piece in enumerate(pieces)
    ]
