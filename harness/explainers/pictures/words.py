"""Text with its units marked: what speaks for the target, against it, and what was not seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.drawing.svg import measured, tag
from harness.drawing.words import neutral, safe
from harness.explainers.pictures.panel import Panel
from harness.explainers.pictures.scale import Scale, amount, mark, under
from harness.records import Attribution

SIZE = 14.0
_LINE = 27.0
_PIECE = re.compile(r"\n|[^\S\n]+|\S+")
CHARACTERS = 20_000


@dataclass(frozen=True)
class Run:
    """A piece of one unit on one line: where it begins and ends, in pixels."""

    unit: int
    text: str
    left: float
    right: float


def words(attribution: Attribution, places: Sequence[int], scale: Scale, width: float) -> Panel:
    """The text of these units, in their order; lines are broken between words.

    At most 20,000 characters are drawn, and what is left off is said.
    """
    texts = _texts(attribution, places)
    shown, left = _within(texts, CHARACTERS)
    notes = []
    unseen = sum(attribution.values[place] is None for place in places)
    if unseen:
        share = f"({unseen:,} of {len(places):,} units)"
        notes.append(f"Grey and struck out: not seen by the classifier {share}.")
    if left:
        notes.append(f"Not shown: the last {left:,} of {len(places):,} units.")
    lines = lay_out(shown, width)
    parts: list[Markup] = []
    rightward = _rightward(shown)
    for number, line in enumerate(lines):
        base = 18 + _LINE * number
        for run in line:
            run_left = width - run.right if rightward else run.left
            parts += _drawn(attribution, scale, run, run_left, base)
    page = tag("p", *_spans(attribution, shown, scale), class_="text", dir="auto")
    return Panel(parts, _LINE * len(lines) + 4, page, tuple(notes))


def _texts(attribution: Attribution, places: Sequence[int]) -> list[tuple[int, str]]:
    """The units' texts, with ... in the place of what lies between two units and is in none."""
    found: list[tuple[int, str]] = []
    end = None
    for place in places:
        unit = attribution.units[place]
        if end is not None and end != unit.start:
            found[-1] = (found[-1][0], found[-1][1] + " … ")
        found.append((place, neutral(unit.text)))
        end = unit.end
    return found


def lay_out(texts: Sequence[tuple[int, str]], width: float, size: float = SIZE) -> list[list[Run]]:
    """Lines of runs. A line ends at white space, at a line feed, or where one word is wider.

    `texts` are pieces with the number of their unit; `size` is that of the letters, in pixels.
    """
    lines: list[list[Run]] = [[]]
    at = 0.0
    for word in _words(texts):
        space = word[0][1].isspace()
        if space and word[0][1] == "\n":
            lines.append([])
            at = 0.0
            continue
        whole = sum(measured(piece, size) for _, piece in word)
        if space:
            if at > 0:
                _append(lines[-1], word[0][0], " ", at, size)
                at += measured(" ", size)
            continue
        if at > 0 and at + whole > width:
            lines.append([])
            at = 0.0
        for unit, piece in word:
            for part in _broken(piece, width if whole > width else None, size):
                wide = measured(part, size)
                if at > 0 and at + wide > width:
                    lines.append([])
                    at = 0.0
                _append(lines[-1], unit, part, at, size)
                at += wide
    return [_trimmed(line, size) for line in lines]


def _words(texts: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Pieces of units, those of one word together: a word may be several units."""
    found: list[list[tuple[int, str]]] = []
    for unit, text in texts:
        for piece in _PIECE.findall(text):
            joins = found and not piece.isspace() and not found[-1][-1][1].isspace()
            if joins:
                found[-1].append((unit, piece))
            else:
                found.append([(unit, piece)])
    return found


def _broken(piece: str, width: float | None, size: float) -> list[str]:
    """A piece in parts of at most `width`, or whole."""
    if width is None:
        return [piece]
    parts, at = [""], 0.0
    for char in piece:
        wide = measured(char, size)
        if at + wide > width and parts[-1]:
            parts.append("")
            at = 0.0
        parts[-1] += char
        at += wide
    return parts


def _append(line: list[Run], unit: int, text: str, at: float, size: float) -> None:
    right = at + measured(text, size)
    if line and line[-1].unit == unit:
        line[-1] = Run(unit, line[-1].text + text, line[-1].left, right)
    else:
        line.append(Run(unit, text, at, right))


def _trimmed(line: list[Run], size: float) -> list[Run]:
    """Runs without the white space at their ends, which no line is drawn under."""
    found = []
    for run in line:
        bare = run.text.strip(" ")
        if bare:
            before = len(run.text) - len(run.text.lstrip(" "))
            left = run.left + before * measured(" ", size)
            found.append(Run(run.unit, bare, left, left + measured(bare, size)))
    return found


def _drawn(
    attribution: Attribution, scale: Scale, run: Run, left: float, base: float
) -> list[Markup]:
    value = attribution.values[run.unit]
    level = scale.level(value)
    right = left + (run.right - run.left)
    parts = []
    kind = "word"
    if value is None:
        kind = "word unseen"
    elif level:
        kind = "word marked"
        parts.append(
            tag(
                "rect", tag("title", safe(f"{run.text}: {amount(value)}")), class_=mark(level),
                x=left - 1, y=base - 14, width=right - left + 2, height=21,
            )
        )  # fmt: skip
    parts.append(
        tag(
            "text", safe(run.text), class_=kind, x=left, y=base, textLength=right - left,
            lengthAdjust="spacingAndGlyphs",
        )
    )  # fmt: skip
    if value is None:
        parts.append(tag("line", class_="strike", x1=left, x2=right, y1=base - 4, y2=base - 4))
    return parts + under(level, left, right, base + 5)


def _spans(
    attribution: Attribution, texts: Sequence[tuple[int, str]], scale: Scale
) -> list[Markup]:
    """The text as HTML; what weighs nothing is plain, and white space is never marked."""
    found = []
    for place, text in texts:
        value = attribution.values[place]
        level = scale.level(value)
        bare = text.strip()
        if not bare or (level == 0 and value is not None):
            found.append(safe(text))
            continue
        before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
        kind = "unseen" if value is None else f"{mark(level)[0]} {mark(level)}"
        said = "not seen by the classifier" if value is None else amount(value)
        found += [safe(before), tag("span", safe(bare), class_=kind, title=said), safe(after)]
    return found


def _within(texts: list[tuple[int, str]], limit: int) -> tuple[list[tuple[int, str]], int]:
    """The first units that together have at most `limit` characters, and how many are left off."""
    total = 0
    for number, (place, text) in enumerate(texts):
        total += len(text)
        if total > limit:
            if number == 0:
                return [(place, text[: limit - 1] + "…")], len(texts) - 1
            return texts[:number], len(texts) - number
    return texts, 0


def _rightward(texts: Sequence[tuple[int, str]]) -> bool:
    """Whether the text is written from right to left: its first letter with a direction says so."""
    for _, text in texts:
        for char in text:
            direction = unicodedata.bidirectional(char)
            if direction in ("L", "R", "AL"):
                return direction != "L"
    return False
