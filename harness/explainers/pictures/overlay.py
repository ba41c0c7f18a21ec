"""Values over the image that was classified, its strongest parts outlined and numbered.

The image is shown in grey, so that every colour on it is a value. A solid outline speaks for the
target, a broken one against it. A label map has the size of the array that the classifier was
given; it is laid over what of the image that array shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.drawing.svg import tag, text
from harness.drawing.words import short
from harness.explainers.division import label_map
from harness.explainers.pictures.outlines import outlines
from harness.explainers.pictures.painting import Seen, coloured, inside, painted, stretched
from harness.explainers.pictures.panel import Panel, strongest
from harness.explainers.pictures.scale import Scale, amount
from harness.explainers.summary import named
from harness.images import load_array
from harness.records import Attribution, HarnessError, Media, Segmentation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OUTLINED = 5
_ROW = 17.0
_LARGEST = 480.0


def overlay(
    attribution: Attribution, segmentation: Segmentation, medium: Media | None, scale: Scale,
    width: float,
) -> Panel:  # fmt: skip
    """The units of a label map of height x width over `medium`, or alone where there is none."""
    import numpy as np

    notes = []
    grey = None
    try:
        grey = None if medium is None else _grey(load_array(medium))
    except (HarnessError, OSError):
        notes.append("The image cannot be read here, so its parts are shown alone.")
    labels = over_image(label_map(segmentation), segmentation.extent)
    levels = np.array([scale.level(v) for v in attribution.values] + [0])
    places = [i for i, unit in enumerate(attribution.units) if unit.part == segmentation.part]
    shown = set(np.unique(labels).tolist())  # a part may lie on a border around the image alone
    placed = [place for place in places if place in shown]
    top = [i for i in strongest(attribution, placed, _OUTLINED) if levels[i]]
    seen = Seen(labels, levels, grey, top, _size(labels, grey, width))
    notes += _said(attribution, seen, places)
    across, down = seen.size
    parts = [] if grey is None else [_image(_encoded(grey, across, down), across, down, "")]
    parts.append(_image(_heat(seen), across, down, "pixels"))
    parts.append(tag("rect", class_="frame", x=0, y=0, width=across, height=down))
    parts += _outlined(seen)
    for number, place in enumerate(top):
        y = down + 18 + _ROW * number
        value = attribution.values[place] or 0.0
        name = short(named(attribution, place), int(width / 9))
        parts.append(text(f"{number + 1}", 0, y, "start", "number"))
        parts.append(text(name, 18, y, "start", "tick"))
        parts.append(text(amount(value), min(width, max(across, 200)), y, "end", "number"))
    height = down + 8 + _ROW * len(top)
    return Panel(parts, height, None, tuple(notes), partial(painted, attribution, seen, scale))


def over_image(
    labels: NDArray[np.int64], extent: tuple[float, float, float, float] | None
) -> NDArray[np.int64]:
    """A label map of the whole image, -1 where the classifier was shown nothing of it."""
    import numpy as np

    if extent is None:
        return labels
    top, left, bottom, right = extent
    rows = max(1, round(labels.shape[0] / (bottom - top)))
    columns = max(1, round(labels.shape[1] / (right - left)))
    whole = np.full((rows, columns), -1, dtype=np.int64)
    y = np.arange(labels.shape[0]) + round(top * rows)
    x = np.arange(labels.shape[1]) + round(left * columns)
    inner_y, inner_x = (y >= 0) & (y < rows), (x >= 0) & (x < columns)
    whole[np.ix_(y[inner_y], x[inner_x])] = labels[np.ix_(inner_y, inner_x)]
    return whole


def _said(attribution: Attribution, seen: Seen, places: Sequence[int]) -> list[str]:
    notes = []
    left = len(places) - len(seen.top)
    if seen.top and left > 0:
        notes.append(f"Outlined: the {len(seen.top)} strongest of {len(places):,} parts.")
    unseen = sum(attribution.values[place] is None for place in places)
    if unseen:
        notes.append(
            f"Without colour: not seen by the classifier ({unseen:,} of {len(places):,} parts)."
        )
    return notes


def _size(
    labels: NDArray[np.int64], grey: NDArray[np.uint8] | None, width: float
) -> tuple[float, float]:
    rows, columns = labels.shape if grey is None else grey.shape
    scale = min(width, _LARGEST) / max(rows, columns)
    return max(1.0, columns * scale), max(1.0, rows * scale)


def _grey(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness by ITU-R BT.601, neither black nor white, so that colours on it can be told."""
    import numpy as np

    found: NDArray[np.uint8] = np.rint(30 + 0.8 * (array @ np.array([0.299, 0.587, 0.114]))).astype(
        np.uint8
    )
    return found


def _encoded(grey: NDArray[np.uint8], across: float, down: float) -> str:
    """The image as a data URI of at most its size on the page times 1.5: PNG or JPEG."""
    from PIL import Image

    image = Image.fromarray(grey)
    image.thumbnail((max(1, round(1.5 * across)), max(1, round(1.5 * down))))
    buffer = io.BytesIO()
    # A JPEG would blur the few pixels of a small image, and a large one is several times smaller.
    kind = "PNG" if max(image.size) <= 128 else "JPEG"
    image.save(buffer, kind, quality=75)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _heat(seen: Seen) -> str:
    from PIL import Image

    pixels = coloured(seen, stretched(seen.labels, 512, 512, enlarge=False))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _image(uri: str, across: float, down: float, class_: str) -> Markup:
    return tag(
        "image", class_=class_, href=uri, x=0, y=0, width=across, height=down,
        preserveAspectRatio="none",
    )  # fmt: skip


def _outlined(seen: Seen) -> list[Markup]:
    """Outlines on a white casing, then the numbers above all of them."""
    height, width = seen.labels.shape
    x, y = seen.size[0] / width, seen.size[1] / height
    parts, numbers = [], []
    for number, place in enumerate(seen.top):
        region = seen.labels == place
        path = " ".join(
            "M" + "L".join(f"{x * a:.1f} {y * b:.1f}" for a, b in loop) + "Z"
            for loop in outlines(region)
        )
        sign = "p" if seen.levels[place] > 0 else "n"
        parts.append(tag("path", class_="casing", d=path))
        parts.append(tag("path", class_=f"outline {sign}", d=path))
        row, column = inside(region)
        numbers.append(
            text(f"{number + 1}", x * (column + 0.5), y * (row + 0.5) + 5, "middle", "place")
        )
    return parts + numbers
