"""What a person is shown of a concept: where it is strongest, and in which words.

Rows are read in batches; what is kept is a few places for each concept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.activations import Activations
from harness.explainers.concepts.rows import BATCH
from harness.explainers.concepts.spaces.space import Fitted
from harness.explainers.models.reading import ArrayPart, Reading, TextPart
from harness.records import HarnessError, Media, Part, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MARGIN = 80  # characters of a text shown to either side of a unit
_SMALLEST = 128  # pixels of a side of a patch as it is shown


@dataclass(frozen=True)
class Example:
    """A place where a concept is as strong as `strength`; `row` is its place in the activations."""

    sample: str
    unit: Unit
    strength: float
    row: int


@dataclass(frozen=True)
class Word:
    """A word, how often it stands in the samples, and how strong a concept is in it on average."""

    text: str
    count: int
    strength: float


def top_units(
    space: Fitted, activations: Activations, count: int = 10
) -> list[tuple[Example, ...]]:
    """For each concept the `count` units in which it is strongest, the strongest first; of equals
    the earlier row."""
    import numpy as np

    fields.whole("top_units", 1, count=count)
    held: NDArray[Any] = np.zeros((0, len(space.names)))
    rows: NDArray[np.int64] = np.zeros((0, len(space.names)), dtype=np.int64)
    for start, strengths in _strengths(space, activations):
        places = np.arange(start, start + len(strengths))[:, None].repeat(strengths.shape[1], 1)
        held, rows = np.concatenate([held, strengths]), np.concatenate([rows, places])
        order = np.argsort(-held, axis=0, kind="stable")[:count]
        held, rows = np.take_along_axis(held, order, 0), np.take_along_axis(rows, order, 0)
    return _examples(activations, held, rows)


def top_samples(
    space: Fitted, activations: Activations, count: int = 10
) -> list[tuple[Example, ...]]:
    """As `top_units`, with one unit of each sample at most: its strongest."""
    import numpy as np

    fields.whole("top_samples", 1, count=count)
    owner = activations.sample_places()
    shape = (len(activations.samples), len(space.names))
    held, rows = np.full(shape, -np.inf), np.full(shape, -1, dtype=np.int64)
    for start, strengths in _strengths(space, activations):
        mine = owner[start : start + len(strengths)]
        edges = np.flatnonzero(np.diff(mine, prepend=-1, append=-1))  # rows lie by sample
        for first, last in itertools.pairwise(edges.tolist()):
            place = int(mine[first])
            largest = strengths[first:last].max(axis=0)
            better = largest > held[place]
            held[place] = np.where(better, largest, held[place])
            found = start + first + strengths[first:last].argmax(axis=0)
            rows[place] = np.where(better, found, rows[place])
    there = (rows >= 0).all(axis=1)
    held, rows = held[there], rows[there]
    order = np.lexsort((rows, -held), axis=0)[:count]
    return _examples(
        activations, np.take_along_axis(held, order, 0), np.take_along_axis(rows, order, 0)
    )


def top_words(
    space: Fitted, activations: Activations, count: int = 10, least: int = 2
) -> list[tuple[Word, ...]]:
    """For each concept the `count` words (units' texts without white space around them, in lower
    case) in which it is strongest on average, of those that stand `least` times or more."""
    import numpy as np

    fields.whole("top_words", 1, count=count, least=least)
    known: dict[str, int] = {}
    sums: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for start, strengths in _strengths(space, activations):
        units = activations.units(range(start, start + len(strengths)))
        for (_, unit), row in zip(units, strengths, strict=True):
            text = unit.text.strip().lower()
            if not text:
                continue
            place = known.setdefault(text, len(known))
            if place == len(sums):
                sums.append(np.zeros(len(space.names)))
                counts.append(0)
            sums[place] += row
            counts[place] += 1
    often = [place for place in range(len(counts)) if counts[place] >= least]
    if not often:
        raise HarnessError(f"no unit's text stands {least} times in the samples; lower 'least'")
    texts = list(known)
    means = np.stack([sums[place] / counts[place] for place in often])
    order = np.argsort(-means, axis=0, kind="stable")[:count]
    return [
        tuple(
            Word(texts[often[i]], counts[often[i]], float(means[i, concept]))
            for i in order[:, concept]
        )
        for concept in range(len(space.names))
    ]


def content(example: Example, reading: Reading) -> tuple[Part, ...]:
    """The unit in its surroundings, as a language model can be shown it: the text around it with
    the unit between >> and <<, or the patch with as much again to each side, as a PNG."""
    unit = example.unit
    if unit.part >= len(reading.parts):  # a token of an answer
        return (Part(f">>{unit.text}<<"),)
    part = reading.parts[unit.part]
    if isinstance(part, TextPart):
        return (Part(in_context(part.text, unit)),)
    return (Part(media=_patch(part, unit)),)


def in_context(text: str, unit: Unit) -> str:
    """A text around a unit, which stands between >> and <<."""
    start, end = unit.start or 0, len(text) if unit.end is None else unit.end
    if start == 0 and end == len(text):
        return text
    before, after = text[max(0, start - _MARGIN) : start], text[end : end + _MARGIN]
    core = text[start:end]
    inner = core.strip() or core
    left = core[: core.index(inner)]
    right = core[len(left) + len(inner) :]
    return f"{before}{left}>>{inner}<<{right}{after}"


def _patch(part: ArrayPart, unit: Unit) -> Media:
    """A patch and its neighbourhood, brought to 0 to 255 by the whole array's range."""
    import numpy as np
    from PIL import Image

    from harness.images import png_medium

    array = part.array.astype(np.float64)
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or unit.box is None:
        raise HarnessError("only patches of images in grey or colour can be shown")
    top, left, height, width = unit.box
    low, high = array.min(), array.max()
    rows = slice(max(0, top - height), top + 2 * height)
    columns = slice(max(0, left - width), left + 2 * width)
    seen = (array[rows, columns] - low) / ((high - low) or 1.0)
    pixels = np.round(255 * seen).astype(np.uint8).repeat(3 // array.shape[-1], axis=-1)
    image = Image.fromarray(pixels)
    scale = max(1, -(-_SMALLEST // min(image.size)))
    return png_medium(
        image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    )


def _strengths(
    space: Fitted, activations: Activations
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The first row's place and the strengths, batch by batch."""
    start = 0
    for batch in activations.batches(BATCH):
        yield start, space.strength(batch)
        start += len(batch)


def _examples(
    activations: Activations, held: NDArray[Any], rows: NDArray[np.int64]
) -> list[tuple[Example, ...]]:
    import numpy as np

    wanted: Sequence[int] = np.unique(rows).tolist()
    known = dict(zip(wanted, activations.units(wanted), strict=True))
    return [
        tuple(
            Example(*known[row], strength, row)
            for row, strength in zip(r.tolist(), s.tolist(), strict=True)
        )
        for r, s in zip(rows.T, held.T, strict=True)
    ]
