"""Which features of a reading are the known reason for the label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.explainers.models.reading import ArrayPart, Reading, TextPart
from harness.images import load_array
from harness.records import Evidence, HarnessError, Media, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A pixel is evidence where a resized mask is above this share of its height: one that the mask
# merely brushes is not, one of a lesion smaller than a pixel of the network is.
_SHARE = 0.1


def located(
    sample: Sample, reading: Reading, model: Any, more: Any = None
) -> dict[str, NDArray[np.bool_]]:
    """Evidence by name, one bool a feature, and under "" all of it together.

    Masks, spans and segments are located; other kinds say nothing of where. A mask goes the way of
    the image itself (resized and cropped), where the model says what that is. `more` is evidence
    that stands in no record: a mask of the array's shape, or spans of characters.
    """
    import numpy as np

    found: dict[str, NDArray[np.bool_]] = {}
    given = list(sample.evidence)
    if more is not None:
        given.append(_given(more))
    for item in given:
        parts = [_of_part(item, part, sample, model) for part in reading.parts]
        if all(part is None for part in parts):
            continue
        filled = [
            np.zeros(part.features, dtype=bool) if mine is None else mine
            for part, mine in zip(reading.parts, parts, strict=True)
        ]
        mine = np.concatenate(filled)
        if not mine.any():  # the mask of a lesion that the sample does not have
            continue
        found[item.name] = found[item.name] | mine if item.name in found else mine
    if found:
        found[""] = np.logical_or.reduce(list(found.values()))
    return found


def counted(reading: Reading) -> NDArray[np.bool_]:
    """The features that count: all but white space, which a span of evidence may or may not hold
    at its ends."""
    import numpy as np

    found = [
        np.array([bool(part.text[a:b].strip()) for a, b in part.spans], dtype=bool)
        if isinstance(part, TextPart)
        else np.ones(part.features, dtype=bool)
        for part in reading.parts
    ]
    return np.concatenate(found)


def _given(more: Any) -> Evidence:
    import numpy as np

    if hasattr(more, "detach"):
        more = more.detach().cpu().numpy()
    if isinstance(more, np.ndarray):
        return Evidence("array", "evidence", more)
    try:
        return Evidence("spans", "evidence", tuple((int(a), int(b)) for a, b in more))
    except (TypeError, ValueError) as error:
        raise HarnessError(
            "evidence is a mask of the input's shape, or pairs of first and last character"
        ) from error


def _of_part(
    item: Evidence, part: TextPart | ArrayPart, sample: Sample, model: Any
) -> NDArray[np.bool_] | None:
    """One bool a feature of the part; `None` where this evidence is of another kind of input."""
    if isinstance(part, TextPart):
        return _of_text(item, part) if item.kind == "spans" else None
    if item.kind == "array":
        return _of_array(item.value, part, sample)
    if item.kind == "mask" and isinstance(item.value, Media) and part.array.ndim == 3:
        return _of_picture(item.value, part, sample, model)
    if item.kind == "segments" and part.array.ndim == 2:
        return _of_time(item, part, sample)
    return None


def _of_text(item: Evidence, part: TextPart) -> NDArray[np.bool_]:
    import numpy as np

    inside = np.zeros(len(part.text) + 1, dtype=bool)
    for start, end in item.value:
        inside[start:end] = True
    return np.array([start >= 0 and bool(inside[start:end].any()) for start, end in part.spans])


def _of_array(mask: NDArray[Any], part: ArrayPart, sample: Sample) -> NDArray[np.bool_]:
    import numpy as np

    places = part.array.shape[:-1]
    mask = np.asarray(mask)
    # An axis of one place or channel may be there or not.
    if [side for side in mask.shape if side != 1] == [side for side in places if side != 1]:
        mask = mask.reshape(places)
    if mask.shape != places:
        raise HarnessError(
            f"the evidence of sample '{sample.id}' has the shape {mask.shape}, its input {places}"
        )
    found: NDArray[np.bool_] = (mask > 0).reshape(-1)
    return found


def _of_picture(mask: Media, part: ArrayPart, sample: Sample, model: Any) -> NDArray[np.bool_]:
    import dataclasses

    import numpy as np
    from PIL import Image

    from harness.images import png_medium
    from harness.records import Part

    height, width = part.array.shape[:2]
    pixels = load_array(mask)
    pixels = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    white = Image.fromarray(np.where(pixels > 0, 255, 0).astype(np.uint8))
    if not hasattr(model, "prepare"):
        small = np.asarray(white.resize((width, height), Image.Resampling.BOX))
        inside: NDArray[np.bool_] = (small > _SHARE * 255).reshape(-1)
        return inside
    medium = png_medium(white.convert("RGB"))
    drawn = model.prepare(dataclasses.replace(sample, input=(Part(media=medium),)))
    heights = drawn.mean(axis=2)
    low, high = heights.min(), heights.max()
    if low == high:
        return np.full(height * width, bool(pixels.all()))
    found: NDArray[np.bool_] = (heights > low + _SHARE * (high - low)).reshape(-1)
    return found


def _of_time(item: Evidence, part: ArrayPart, sample: Sample) -> NDArray[np.bool_] | None:
    """Seconds as steps, where the sample says how many of these are in a second."""
    import numpy as np

    rate = sample.metadata.get("sampling_rate")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return None
    steps = np.arange(part.features) / rate
    found = np.zeros(part.features, dtype=bool)
    for start, end in item.value:
        found |= (steps >= start) & (steps < end)
    return found


def names_of(trials: Any) -> Iterator[str]:
    """The names of evidence in trials, in the order they are first met, without the one for all."""
    seen: set[str] = {""}
    for trial in trials:
        for name in trial.evidence:
            if name not in seen:
                seen.add(name)
                yield name
