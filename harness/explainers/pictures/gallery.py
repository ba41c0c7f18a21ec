"""Concepts as cards: label, score, and the inputs that each answers to most.

Of a text the words around the unit are shown with the unit marked, of an image the surroundings of
the patch with the patch outlined.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.drawing.figure import Figure
from harness.drawing.svg import measured, sheet, tag, text, wrapped
from harness.drawing.words import neutral, safe, short
from harness.explainers.pictures.scale import amount
from harness.explainers.pictures.words import lay_out
from harness.images import load_array
from harness.records import HarnessError, Media

AROUND = 60  # characters shown at either side of a text's unit
_CARD = 300.0
_GAP = 14.0
_CROP = 84.0
_LINE = 19.0
_PIXELS = 168  # a crop's longer side in the file: twice its size on the page


@dataclass(frozen=True)
class Excerpt:
    """A unit of a text: characters [start, end); `value` is how strongly the concept answers."""

    text: str
    start: int
    end: int
    value: float | None = None


@dataclass(frozen=True)
class Crop:
    """A patch of an image: `box` is (top, left, height, width) in an array of `shape` (height,
    width), which is stretched over the image; `None` where the box counts the image's own pixels.
    """

    media: Media
    box: tuple[int, int, int, int]
    shape: tuple[int, int] | None = None
    value: float | None = None


@dataclass(frozen=True)
class Concept:
    """A concept as shown. `score` is a number with its name (`("AUC", 0.91)`), `top` its strongest
    inputs, the strongest first."""

    label: str
    top: Sequence[Excerpt | Crop]
    score: tuple[str, float] | None = None


@dataclass(frozen=True)
class _Cut:
    """A crop as PNG, its size on the page, and where the patch lies in it; or why there is none."""

    uri: str = ""
    size: tuple[float, float] = (0.0, 0.0)
    patch: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # left, top, width, height
    note: str = ""


def gallery(
    concepts: Sequence[Concept], title: str = "Concepts", width: float = 640.0, most: int = 6
) -> Figure:
    """The concepts in their order, each with at most `most` inputs."""
    if not concepts:
        raise HarnessError("there is no concept to be drawn")
    cuts = {
        (number, place): _cut_out(item)
        for number, concept in enumerate(concepts)
        for place, item in enumerate(concept.top[:most])
        if isinstance(item, Crop)
    }
    alt = neutral(f"{title}: {len(concepts)}. " + " ".join(_said(c) for c in concepts[:20]))
    across = max(1, int((width + _GAP) / (_CARD + _GAP)))
    size = (width - _GAP * (across - 1)) / across
    cards = [_card(n, concept, cuts, size, most) for n, concept in enumerate(concepts)]
    parts: list[Markup] = [text(title, 0, 17, "start", "heading")]
    y = 30.0
    for first in range(0, len(cards), across):
        row = cards[first : first + across]
        tall = max(height for _, height in row)
        for column, (inner, _) in enumerate(row):
            x = column * (size + _GAP)
            frame = tag("rect", class_="frame", x=0, y=0, width=size, height=tall, rx=4)
            parts.append(tag("g", frame, *inner, transform=f"translate({x:g} {y:g})"))
        y += tall + _GAP
    items = [_item(n, concept, cuts, most) for n, concept in enumerate(concepts)]
    page = tag(
        "div", tag("p", safe(title), class_="heading"), tag("ul", *items, class_="concepts"),
        class_="drawn",
    )  # fmt: skip
    return Figure(neutral(title), alt, sheet(width, y, parts, "gallery", alt), page)


def _said(concept: Concept) -> str:
    score = f" ({_score(concept)})" if concept.score else ""
    texts = [short(i.text[i.start : i.end], 30) for i in concept.top if isinstance(i, Excerpt)]
    crops = sum(isinstance(item, Crop) for item in concept.top)
    top = [f"“{words}”" for words in dict.fromkeys(texts)][:5]
    top += [f"{crops} patches of images"] if crops else []
    return f"{concept.label}{score}: {', '.join(top) or 'no input'}."


def _score(concept: Concept) -> str:
    if concept.score is None:
        return ""
    name, value = concept.score
    return f"{name} {amount(value, sign=False)}"


def excerpt(item: Excerpt, around: int = AROUND) -> tuple[str, str, str]:
    """What stands before the unit, the unit, and what stands behind it, on one line each.

    Neighbours are cut at white space where there is any, and an ellipsis says so.
    """
    before, unit, after = (
        item.text[: item.start], item.text[item.start : item.end], item.text[item.end :]
    )  # fmt: skip
    if len(before) > around:
        kept = before[-around:]
        before = "…" + (kept.partition(" ")[2] or kept)
    if len(after) > around:
        kept = after[:around]
        after = (kept.rpartition(" ")[0] or kept) + "…"
    unit = short(unit, 2 * around)
    flat = [" ".join(f"|{part}|".split())[1:-1] for part in (before, unit, after)]
    return neutral(flat[0]), neutral(flat[1]), neutral(flat[2])


def _cut_out(item: Crop) -> _Cut:
    """The patch with as much again around it, as far as the image goes."""
    import numpy as np
    from PIL import Image

    try:
        array = load_array(item.media)
    except (HarnessError, OSError):
        return _Cut(note=f"image {item.media.sha256[:12]} cannot be read here")
    rows, columns = array.shape[:2]
    tall, wide = item.shape or (rows, columns)
    top, left, height, width = item.box
    y0, y1 = top * rows / tall, (top + height) * rows / tall
    x0, x1 = left * columns / wide, (left + width) * columns / wide
    margin = max(y1 - y0, x1 - x0)
    upper, lower = max(0, int(y0 - margin)), min(rows, int(np.ceil(y1 + margin)))
    first, last = max(0, int(x0 - margin)), min(columns, int(np.ceil(x1 + margin)))
    piece = array[upper:lower, first:last]
    if not piece.size:
        return _Cut(note=f"the patch lies outside of image {item.media.sha256[:12]}")
    scale = _CROP / max(piece.shape[:2])
    across, down = piece.shape[1] * scale, piece.shape[0] * scale
    image = Image.fromarray(piece)
    ratio = _PIXELS / max(image.size)
    image = image.resize((max(1, round(image.width * ratio)), max(1, round(image.height * ratio))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    patch = (
        (x0 - first) * scale, (y0 - upper) * scale, (x1 - x0) * scale, (y1 - y0) * scale,
    )  # fmt: skip
    return _Cut(uri, (across, down), patch)


def _crop_drawn(cut: _Cut, x: float, y: float) -> list[Markup]:
    left, top, width, height = cut.patch
    box = {"x": x + left, "y": y + top, "width": width, "height": height}
    return [
        tag(
            "image", href=cut.uri, x=x, y=y, width=cut.size[0], height=cut.size[1],
            preserveAspectRatio="none",
        ),
        tag("rect", class_="casing", **box),
        tag("rect", class_="outline", **box),
    ]  # fmt: skip


def _card(
    number: int, concept: Concept, cuts: dict[tuple[int, int], _Cut], width: float, most: int
) -> tuple[list[Markup], float]:
    """A card's elements and its height."""
    inner = width - 20
    score = _score(concept)
    room = inner - (measured(score, 11.5) + 10 if score else 0)
    parts = []
    y = 8.0
    for words in wrapped(neutral(concept.label), 14, room):
        y += 16
        parts.append(text(words, 10, y, "start", "heading"))
    if score:
        parts.append(text(score, width - 10, 24, "end", "tick"))
    y += 8
    x = 10.0
    for place, item in enumerate(concept.top[:most]):
        if isinstance(item, Crop):
            cut = cuts[number, place]
            if cut.note:
                parts.append(text(short(cut.note, int(inner / 6)), 10, y + 14, "start", "fine"))
                y += _LINE
                continue
            if x + _CROP > width - 10 + 1:
                x, y = 10.0, y + _CROP + 22
            parts += _crop_drawn(cut, x, y)
            if item.value is not None:
                parts.append(
                    text(amount(item.value, sign=False), x, y + _CROP + 13, "start", "fine")
                )
            x += _CROP + 8
            continue
        lines = _excerpt_drawn(item, 10, y, inner)
        parts += lines[0]
        y += lines[1] + 6
    if x > 10:
        y += _CROP + 18
    return parts, y + 8


def _excerpt_drawn(item: Excerpt, x: float, y: float, width: float) -> tuple[list[Markup], float]:
    """The excerpt on as many lines as it takes, the unit marked on each of its own."""
    pieces = list(enumerate(excerpt(item)))
    parts = []
    lines = lay_out(pieces, width, 12.0)
    for number, runs in enumerate(lines):
        base = y + 14 + _LINE * number
        for run in runs:
            left, right = x + run.left, x + run.right
            if run.unit == 1:
                parts.append(
                    tag("rect", class_="mark", x=left - 1, y=base - 12, width=right - left + 2,
                        height=16)
                )  # fmt: skip
                parts.append(tag("line", class_="over p w3", x1=left, x2=right, y1=base + 3.5,
                                 y2=base + 3.5))  # fmt: skip
            kind = "word small marked" if run.unit == 1 else "word small"
            parts.append(
                tag("text", safe(run.text), class_=kind, x=left, y=base, textLength=right - left,
                    lengthAdjust="spacingAndGlyphs")
            )  # fmt: skip
    return parts, _LINE * len(lines)


def _item(number: int, concept: Concept, cuts: dict[tuple[int, int], _Cut], most: int) -> Markup:
    shown = []
    for place, item in enumerate(concept.top[:most]):
        value = "" if item.value is None else amount(item.value, sign=False)
        if isinstance(item, Excerpt):
            before, unit, after = map(safe, excerpt(item))
            shown.append(
                tag("li", before, tag("mark", unit, title=value), after, class_="excerpt",
                    dir="auto")
            )  # fmt: skip
            continue
        cut = cuts[number, place]
        if cut.note:
            shown.append(tag("li", safe(cut.note), class_="excerpt note"))
            continue
        label = f"patch of image {item.media.sha256[:12]}{', ' + value if value else ''}"
        drawn = tag(
            "svg", *_crop_drawn(cut, 0, 0), class_="drawn", role="img", aria_label=label,
            viewBox=f"0 0 {cut.size[0]:.1f} {cut.size[1]:.1f}", width=cut.size[0],
            height=cut.size[1],
        )  # fmt: skip
        shown.append(tag("li", drawn, tag("span", safe(value), class_="note")))
    score = tag("span", safe(_score(concept)), class_="score") if concept.score else Markup("")
    head = tag("p", score, safe(concept.label), class_="heading")
    return tag("li", head, tag("ol", *shown))
