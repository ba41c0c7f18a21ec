"""A finished picture: as SVG and HTML that stand alone, as part of a page, or as a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markupsafe import Markup

from harness.drawing.svg import tag
from harness.drawing.words import neutral, safe
from harness.records import HarnessError


@dataclass(frozen=True)
class Figure:
    """A picture with its title and with `alt`, what it shows in words.

    `drawing` is an `<svg>` element and `page` the same for a page of text (the drawing itself where
    that is no better); both take their looks from `style_sheet()`. `paint` makes the
    bytes of a PNG file, for pictures that can be had as one.
    """

    title: str
    alt: str
    drawing: Markup
    page: Markup
    paint: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def svg(self) -> str:
        """An SVG file: nothing is loaded, and colours are written out for programs other than
        browsers."""
        named = str(self.drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        start, _, rest = named.partition(">")
        said = tag("title", safe(self.title)) + tag("desc", safe(self.alt))
        style = re.sub(r"var\(--[\w-]+, ([^()]*)\)", r"\1", style_sheet("svg"))
        return f"{start}>{said}<style>{style}</style>{rest}\n"

    @property
    def html(self) -> str:
        """HTML that brings its style sheet along, for notebooks."""
        return f"<style>{style_sheet()}</style>{self.page}"

    def _repr_html_(self) -> str:
        return self.html

    def save(self, path: str | Path) -> Path:
        """Writes the picture as what the name ends in: `.svg`, `.html` or `.png`.

        Raises `HarnessError` for another ending, for a PNG of what is drawn as SVG alone, and where
        the file cannot be written.
        """
        path = Path(path)
        content = self._bytes(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise HarnessError(f"{path} cannot be written: {error.strerror}") from error
        return path

    def _bytes(self, path: Path) -> bytes:
        kind = path.suffix.lower()
        if kind == ".svg":
            return self.svg.encode()
        if kind == ".html":
            head = f'<meta charset="utf-8"><title>{safe(self.title)}</title>'
            page = f"<body>{self.html}</body>"
            return f'<!DOCTYPE html><html lang="en"><head>{head}</head>{page}</html>\n'.encode()
        if kind != ".png":
            raise HarnessError(f"{path.name}: pictures are saved as .svg, .html or .png")
        if self.paint is None:
            raise HarnessError(
                f"{path.name}: only pictures over an image can be had as PNG; save this one as "
                ".svg, which a browser or Inkscape turns into PNG"
            )
        return self.paint()


def of_drawing(title: str, alt: str, drawing: Markup) -> Figure:
    """A figure that is its drawing on a page, too."""
    return Figure(neutral(title), neutral(alt), drawing, tag("div", drawing, class_="drawn"))


def together(figures: Sequence[Figure]) -> str:
    """HTML of several figures, which share one style sheet."""
    return f"<style>{style_sheet()}</style>" + "".join(figure.page for figure in figures)


@cache
def style_sheet(element: str = "") -> str:
    """The style sheet of drawings; with `element` its rules for drawings of that element alone."""
    text = Path(__file__).with_name("drawing.css").read_text(encoding="utf-8")
    if not element:
        return text
    return "\n".join(rule for rule in text.splitlines() if rule.startswith(f"{element}.drawn"))
