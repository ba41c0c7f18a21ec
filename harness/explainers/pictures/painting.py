"""The picture over an image as a PNG file, and the colours that it shares with the drawing."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.drawing.svg import wrapped
from harness.drawing.words import short
from harness.explainers.pictures.outlines import outlines
from harness.explainers.pictures.scale import Scale, amount
from harness.explainers.summary import named
from harness.records import Attribution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

FOR, AGAINST = (240, 120, 10), (40, 120, 220)
OPACITY = (0.0, 0.22, 0.4, 0.55, 0.7)  # by step of the scale


@dataclass(frozen=True, eq=False)
class Seen:
    """What is drawn: label map, step of each unit, image (height x width, grey), outlined units."""

    labels: NDArray[np.int64]
    levels: NDArray[np.int64]
    grey: NDArray[np.uint8] | None
    top: list[int]
    size: tuple[float, float]  # width and height in pixels, as drawn


def coloured(seen: Seen, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Red, green, blue and opacity of each place of a label map."""
    import numpy as np

    table = np.zeros((9, 4))
    for level in range(-4, 5):
        colour = FOR if level > 0 else AGAINST
        table[level + 4] = (*colour, 255 * OPACITY[abs(level)])
    found: NDArray[np.uint8] = np.rint(table[seen.levels[labels] + 4]).astype(np.uint8)
    return found


def stretched(
    labels: NDArray[np.int64], rows: int, columns: int, enlarge: bool = True
) -> NDArray[np.int64]:
    """A label map at another size, each place with the label at its middle."""
    import numpy as np

    height, width = labels.shape
    if not enlarge:
        rows, columns = min(rows, height), min(columns, width)
    row = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    column = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    found: NDArray[np.int64] = labels[row][:, column]
    return found


def inside(region: NDArray[np.bool_]) -> tuple[int, int]:
    """The place of a region that is farthest from its edge, of several the one nearest to its
    middle."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() - 1e-9)
    middle = np.argwhere(region).mean(axis=0)
    nearest = np.argmin((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def painted(
    attribution: Attribution, seen: Seen, scale: Scale, title: str, alt: str, about: str
) -> bytes:
    """The same as PNG at twice the size, the words of the picture also in the file."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

    across, down = (round(2 * side) for side in seen.size)
    grey = np.full((1, 1), 235, np.uint8) if seen.grey is None else seen.grey
    ground = Image.fromarray(grey).resize((across, down), Image.Resampling.BICUBIC)
    heat = Image.fromarray(coloured(seen, stretched(seen.labels, down, across)))
    picture = Image.alpha_composite(ground.convert("RGBA"), heat).convert("RGB")
    width = max(across, 560)
    lines = wrapped(_plain(about), 21, width)
    height = down + 190 + 34 * len(seen.top) + 26 * len(lines)
    page = Image.new("RGB", (width + 40, height), "white")
    page.paste(picture, (20, 70))
    draw = ImageDraw.Draw(page)
    font, bold = ImageFont.load_default(22), ImageFont.load_default(26)
    draw.text((20, 20), _fitting(title, bold, width), "#1a1e23", bold)
    _trace(draw, seen, (20, 70), bold)
    for number, place in enumerate(seen.top):
        y = 84 + down + 34 * number
        name = short(named(attribution, place), 60)
        draw.text((20, y), f"{number + 1}   {_plain(name)}", "#1a1e23", font)
        value = _plain(amount(attribution.values[place] or 0.0))
        draw.text((20 + width, y), value, "#1a1e23", font, anchor="ra")
    _bar(draw, scale, (20, 100 + down + 34 * len(seen.top)), font)
    for number, line in enumerate(lines):
        at = (20, 176 + down + 34 * len(seen.top) + 26 * number)
        draw.text(at, line, "#57606a", ImageFont.load_default(20))
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Title", title)
    words.add_itxt("Description", f"{alt} {about}")
    buffer = io.BytesIO()
    page.save(buffer, "PNG", pnginfo=words)
    return buffer.getvalue()


def _trace(draw: ImageDraw, seen: Seen, corner: tuple[int, int], font: Font) -> None:
    """Outlines, broken ones in dashes, and numbers."""
    height, width = seen.labels.shape
    x, y = 2 * seen.size[0] / width, 2 * seen.size[1] / height
    for place in seen.top:
        for loop in outlines(seen.labels == place):
            points = [(corner[0] + x * a, corner[1] + y * b) for a, b in loop]
            points.append(points[0])
            draw.line(points, "white", 9)
            if seen.levels[place] > 0:
                draw.line(points, "#111417", 4)
            else:
                for piece in _dashes(points, 12.0, 8.0):
                    draw.line(piece, "#111417", 4)
    for number, place in enumerate(seen.top):
        row, column = inside(seen.labels == place)
        at = (corner[0] + x * (column + 0.5), corner[1] + y * (row + 0.5))
        draw.text(
            at, f"{number + 1}", "#111417", font, anchor="mm", stroke_width=4, stroke_fill="white",
        )  # fmt: skip


def _dashes(
    points: Sequence[tuple[float, float]], on: float, off: float
) -> list[list[tuple[float, float]]]:
    """A path cut into dashes, which go around its corners."""
    pieces: list[list[tuple[float, float]]] = [[points[0]]]
    drawing, left = True, on
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if drawing:
                pieces[-1].append(at)
            else:
                pieces.append([at])
            drawing = not drawing
            left = on if drawing else off
        left -= length - done
        if drawing:
            pieces[-1].append((x1, y1))
    return [piece for piece in pieces if len(piece) > 1]


def _bar(draw: ImageDraw, scale: Scale, corner: tuple[int, int], font: Font) -> None:
    """The colour bar with its numbers."""
    steps = range(-4, 5) if scale.signed else range(5)
    x, y = corner
    for place, step in enumerate(steps):
        colour = FOR if step > 0 else AGAINST
        share = OPACITY[abs(step)]
        mixed = tuple(round((1 - share) * 150 + share * part) for part in colour)
        box = (x + 56 * place, y, x + 56 * (place + 1), y + 26)
        draw.rectangle(box, mixed, "#57606a")
        sign = "+" if step > 0 else "-" if step < 0 else "0"
        draw.text(
            ((box[0] + box[2]) / 2, y + 13), sign, "#111417", font, anchor="mm",
            stroke_width=2, stroke_fill="white",
        )  # fmt: skip
    right = x + 56 * len(steps)
    low = f"speaks against {amount(-scale.limit)}" if scale.signed else "0"
    high = f"{amount(scale.limit)} speaks for" if scale.signed else amount(scale.limit)
    for at, words, anchor in ((x, low, "la"), (right, high, "ra")):
        draw.text((at, y + 34), _plain(words), "#1a1e23", font, anchor=anchor)


def _plain(words: str) -> str:
    """What Pillow's own font has signs for."""
    return words.replace("−", "-").replace("“", '"').replace("”", '"').replace("…", "...")


def _fitting(words: str, font: Font, width: int) -> str:
    words = _plain(words)
    while len(words) > 4 and font.getlength(words) > width:
        words = words[:-5] + "..."
    return words
