"""Data without some units of an attribution: samples to be read anew, and rows of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.explainers.division import label_map
from harness.explainers.models.inputs import InputModel
from harness.explainers.models.reading import ArrayPart, Removal
from harness.explainers.pictures.overlay import over_image
from harness.images import png_medium
from harness.records import Attribution, HarnessError, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def sample_without(
    sample: Sample, attribution: Attribution, places: Sequence[int], removal: str, baseline: Any
) -> Sample:
    """The sample without the units at these places, whatever classifier reads it next.

    `removal` and `baseline` are those of `harness.explain` for inputs as such: removed words become
    a word that no vocabulary holds, pixels blurred ones, unless said otherwise.
    """
    import numpy as np

    reader = InputModel("the sample", _unasked, (), "value", "")
    reading = reader.read(sample, Removal.of(removal, baseline))
    kept = [
        _kept(part, place, attribution, places).reshape(-1)
        for place, part in enumerate(reading.parts)
    ]
    left = reading.left(np.concatenate(kept))
    contents = left if isinstance(left, tuple) else (left,)
    parts = tuple(
        Part(content) if isinstance(content, str) else Part(media=png_medium(_image(content)))
        for content in contents
    )
    if len(parts) != len(sample.input):
        raise HarnessError(f"sample '{sample.id}' has parts that cannot be written again")
    return replace(sample, input=parts)


def rows_without(
    rows: Tensor, removed: Sequence[tuple[Attribution, Sequence[int]]], filler: Tensor
) -> Tensor:
    """Rows of a tensor with the places of removed units as in `filler` (one row)."""
    import numpy as np
    import torch

    found = rows.clone()
    for row, (attribution, places) in zip(found, removed, strict=True):
        gone = torch.from_numpy(np.isin(label_map(attribution.segmentation[0]), list(places)))
        if gone.shape == row.shape[1:] != row.shape:
            gone = gone[None]
        elif gone.shape == row.shape[:-1] != row.shape:
            gone = gone[..., None]
        row.copy_(torch.where(gone, filler, row))
    return found


def _kept(
    part: Any, place: int, attribution: Attribution, places: Sequence[int]
) -> NDArray[np.bool_]:
    """The features of one part that stay."""
    import numpy as np

    if not isinstance(part, ArrayPart):
        kept = np.ones(part.features, dtype=bool)
        for unit in (attribution.units[number] for number in places):
            if unit.part == place and unit.start is not None:
                kept[unit.start : unit.end] = False
        return kept
    kept = np.ones(part.array.shape[:-1], dtype=bool)
    for segmentation in attribution.segmentation:
        if segmentation.part == place:
            whole = over_image(label_map(segmentation), segmentation.extent)
            rows, columns = (
                np.arange(n) * m // n for n, m in zip(kept.shape, whole.shape, strict=True)
            )
            kept &= ~np.isin(whole[np.ix_(rows, columns)], list(places))
    return kept


def _image(array: NDArray[Any]) -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.clip(np.round(array), 0, 255).astype(np.uint8)).convert("RGB")


def _unasked(contents: Sequence[Any]) -> NDArray[np.float64]:
    raise NotImplementedError("it reads, and is asked nothing")
