"""What of the rows, and of the output, is left when a space's concepts stand for the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.rows import rows_of
from harness.explainers.concepts.spaces.space import Space

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Reconstruction:
    """`mse`: mean square of what a number of a row is missed by. `r2`: share of the rows' variance
    around their mean that is told, 1 at best, below 0 where the mean row would be better."""

    mse: float
    r2: float


@dataclass(frozen=True)
class OutputKept:
    """What the model says when the layer's rows are replaced by their reconstruction.

    `agreement`: share of samples whose largest output stays the same, in [0, 1]. `recovered`: 1
    less the squared change of the targets' values over that when every concept is removed, 1 at
    best.
    `change`: mean absolute change of the targets' values, in units of the output.
    """

    agreement: float
    recovered: float
    change: float


def reconstruction(space: Space, rows: Any) -> Reconstruction:
    """Over all rows, batch by batch."""
    import numpy as np

    given = rows_of(rows)
    mean = sum(batch.astype(np.float64).sum(axis=0) for batch in given.batches()) / len(given)
    missed = total = 0.0
    for batch in given.batches():
        exact = batch.astype(np.float64)
        missed += float(((exact - space.decode(space.encode(exact))) ** 2).sum())
        total += float(((exact - mean) ** 2).sum())
    return Reconstruction(
        missed / (len(given) * given.width), 1 - missed / total if total > 0 else float(missed == 0)
    )


def output_kept(asked: Asked, space: Space) -> OutputKept:
    """The rows of each sample's units replaced by their reconstruction, all at once."""
    import numpy as np
    import torch

    def told(_: int, rows: Tensor) -> Tensor:
        concepts = space.encode(rows.double().cpu().numpy())
        return torch.from_numpy(space.decode(concepts)).to(rows)

    def removed(_: int, rows: Tensor) -> Tensor:
        return torch.from_numpy(space.offset).to(rows).expand_as(rows)

    before = asked.values(asked.outputs)
    outputs = asked.layer.outputs(asked.readings, told)
    after = asked.values(outputs)
    empty = asked.values(asked.layer.outputs(asked.readings, removed))
    pairs = list(zip(asked.outputs, outputs, strict=True))
    lost = sum(float(((a - b) ** 2).sum()) for a, b in zip(before, after, strict=True))
    most = sum(float(((a - b) ** 2).sum()) for a, b in zip(before, empty, strict=True))
    return OutputKept(
        agreement=float(np.mean([one.argmax() == two.argmax() for one, two in pairs])),
        recovered=1 - lost / most if most > 0 else float(lost == 0),
        change=float(np.mean(np.abs(np.concatenate(before) - np.concatenate(after)))),
    )
