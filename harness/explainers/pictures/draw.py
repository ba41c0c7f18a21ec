"""The picture of an attribution: the view that fits each part of the input, title and legend."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from harness import plugins
from harness.drawing.figure import Figure
from harness.drawing.svg import notes, sheet, svg, tag, text, wrapped
from harness.drawing.words import neutral, safe, short
from harness.explainers.pictures import bars
from harness.explainers.pictures.overlay import overlay
from harness.explainers.pictures.pairs import pairs
from harness.explainers.pictures.panel import Panel
from harness.explainers.pictures.scale import LEGEND_HEIGHT, Scale, amount
from harness.explainers.pictures.words import words
from harness.explainers.summary import incomplete, summary
from harness.records import Attribution, Media, Sample

WIDTH = 640.0
_GAP = 14.0


def draw(
    attribution: Attribution, sample: Sample | None = None, width: float = WIDTH,
    headed: bool = True,
) -> Figure:  # fmt: skip
    """The picture of an attribution, `width` pixels wide, with its title unless not `headed`.

    Texts are marked. Parts of an image are shown over it, where `sample` holds it. What a
    registered view has a `draw_attribution` for is drawn by it, segments of time are bars along
    time, and all else is ranked bars. Pairs of units follow as a heat map.
    """
    scale = Scale.of([*attribution.values, *(pair.value for pair in attribution.pairs)])
    title = neutral(
        f"{attribution.method} of {_plural(attribution.unit)}: why {attribution.target}"
    )
    alt = neutral(
        f"{title}, sample {attribution.sample}. What weighs most: {summary(attribution, 5)}."
    )
    panels = [
        _panel(attribution, part, sample, scale, width)
        for part in sorted({unit.part for unit in attribution.units})
    ]
    paints = [panel.paint for panel in panels if panel.paint and len(panels) == 1]
    if attribution.pairs:
        panels.append(pairs(attribution, scale, width))
    said = [note for panel in panels for note in panel.notes]
    about = " ".join([_about(attribution), *said, *map(_sentence, attribution.notes)])
    painted = None
    if paints:
        paint = paints[0]

        def painted() -> bytes:
            return paint(title, alt, about)

    head = title if headed else ""
    drawing = _drawing(head, alt, about, panels, scale, width)
    page = _page(head, alt, about, panels, scale) or tag("div", drawing, class_="drawn")
    return Figure(title, alt, drawing, page, painted)


def _panel(
    attribution: Attribution, part: int, sample: Sample | None, scale: Scale, width: float
) -> Panel:
    places = [i for i, unit in enumerate(attribution.units) if unit.part == part]
    units = [attribution.units[place] for place in places]
    maps = [s for s in attribution.segmentation if s.part == part]
    medium = sample.input[part].media if sample and part < len(sample.input) else None
    if medium is not None and not medium.mime.startswith("image/"):
        viewed = _viewed(attribution, medium, width)
        if viewed is not None:
            return viewed
    in_order = all(unit.start is not None for unit in units)
    if not maps and in_order and any(unit.text for unit in units):
        return words(attribution, places, scale, width)
    if maps and len(maps[0].shape) == 2 and all(unit.box is not None for unit in units):
        shown = medium if medium is not None and medium.mime.startswith("image/") else None
        return overlay(attribution, maps[0], shown, scale, width)
    if in_order:
        return bars.along(attribution, places, scale, width)
    return bars.ranked(attribution, places, scale, width)


def _viewed(attribution: Attribution, medium: Media, width: float) -> Panel | None:
    """What the view of the medium draws of an attribution; `None` where it draws none.

    A view that fails costs its own drawing and a sentence that says so, never the picture.
    """
    for name in sorted(plugins.registered("views")):
        try:
            view = plugins.create("views", name)
            if not hasattr(view, "draw_attribution") or not medium.mime.startswith(view.mimes):
                continue
            drawn = view.draw_attribution(medium, medium.read(), attribution)
            if not drawn.uri.startswith("data:image/"):
                raise ValueError("its picture is no data URI of an image")
        except Exception as error:  # a view is code of anyone's
            return Panel([], 0, None, (f"View '{name}' failed: {short(str(error), 200)}.",))
        across = min(width, float(drawn.width))
        down = drawn.height * across / max(1, drawn.width)
        picture = tag(
            "image", tag("title", safe(drawn.alt)), href=drawn.uri, x=0, y=0, width=across,
            height=down,
        )  # fmt: skip
        return Panel([picture], down, None, (drawn.alt,) if drawn.alt else ())
    return None


def _drawing(
    title: str, alt: str, about: str, panels: list[Panel], scale: Scale, width: float
) -> Markup:
    y = 0.0
    parts: list[Markup] = []
    for line in wrapped(title, 14, width):
        y += 17
        parts.append(text(line, 0, y, "start", "heading"))
    y += _GAP - 4 if title else 0
    for panel in panels:
        parts.append(tag("g", *panel.parts, transform=f"translate(0 {y:g})"))
        y += panel.height + _GAP
    if scale.limit > 0:
        parts += scale.legend(y, any(panel.paint for panel in panels))
        y += LEGEND_HEIGHT + 4
    small, y = notes(about, y, width)
    parts += small
    height = y + 8
    return sheet(width, height, parts, "attribution", alt)


def _page(title: str, alt: str, about: str, panels: list[Panel], scale: Scale) -> Markup | None:
    """As HTML, where every panel is better so."""
    pages = [panel.page for panel in panels if panel.page is not None]
    if not panels or len(pages) < len(panels):
        return None
    legend = (
        [svg(scale.width, LEGEND_HEIGHT, scale.legend(), "legend-scale", hidden=True)]
        if scale.limit > 0
        else []
    )
    head = [tag("p", safe(title), class_="heading")] if title else []
    return tag(
        "div", *head, *pages, *legend,
        tag("p", safe(about), class_="note"), class_="drawn", role="group", aria_label=alt,
    )  # fmt: skip


def _about(attribution: Attribution) -> str:
    """What the numbers are, in a sentence or two."""
    said = f"{attribution.output.replace('_', '-').capitalize()} of {attribution.target}"
    if attribution.full is not None and attribution.empty is not None:
        said += (
            f": {amount(attribution.full, sign=False)} with all units, "
            f"{amount(attribution.empty, sign=False)} with none (removal {attribution.removal})"
        )
    said += f"; {attribution.evaluations:,} evaluations."
    if missed := incomplete(attribution):
        said += f" {_sentence(missed)}"
    elif attribution.completeness_error is not None:
        said += f" Completeness error {_share(attribution.completeness_error)}."
    if attribution.held:
        held = ", ".join(f"{amount(value)} ({name})" for name, value in attribution.held.items())
        said += f" No unit has {held}."
    return neutral(said)


def _share(value: float) -> str:
    return "below 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"


def _sentence(note: str) -> str:
    whole = note[:1].upper() + note[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def _plural(unit: str) -> str:
    names: Mapping[str, str] = {"time_segment": "time segments", "patch": "patches"}
    return " and ".join(names.get(name, f"{name}s") for name in unit.split("+"))
