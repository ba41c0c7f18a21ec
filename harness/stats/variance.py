"""How much of a score's variance lies between samples, between variants, and between repeats."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.stats.intervals import Floats, encode


@dataclass(frozen=True)
class VarianceComponents:
    """Variances, in squared units of the score; none is below 0.

    `interaction` is that variants change samples differently. Where no cell was repeated,
    `repeat` is `None` and `interaction` holds both.
    """

    sample: float
    variant: float
    interaction: float
    repeat: float | None

    @property
    def shares(self) -> dict[str, float]:
        """Each component as a share of their sum; empty where nothing varies."""
        parts = {
            "sample": self.sample,
            "variant": self.variant,
            "interaction": self.interaction,
            "repeat": self.repeat or 0.0,
        }
        total = sum(parts.values())
        return {name: part / total for name, part in parts.items()} if total > 0 else {}


def variance_components(
    values: ArrayLike,
    sample: Sequence[Hashable],
    variant: Sequence[Hashable],
    repeat: Sequence[Hashable],
) -> VarianceComponents:
    """Method of moments on pairs of values, so cells may be missing or repeated unevenly.

    All four have length n. Half the mean squared difference of two values estimates the sum of
    the components in which the two differ; four kinds of pairs (sharing sample and variant,
    either, neither) give the four components. Negative estimates are set to 0. Raises
    `HarnessError` with fewer than two samples or variants, for a (sample, variant, repeat) that
    occurs twice, and where some kind of pair does not occur.
    """
    y = np.asarray(values, dtype=float)
    if not np.isfinite(y).all():
        raise HarnessError("values hold NaN or infinity; leave out what could not be scored")
    rows, row_labels = encode(sample, len(y))
    columns, column_labels = encode(variant, len(y))
    repeats, _ = encode(repeat, len(y))
    if len(row_labels) < 2 or len(column_labels) < 2:
        raise HarnessError("variance components need at least two samples and two variants")
    if len(set(zip(rows.tolist(), columns.tolist(), repeats.tolist(), strict=True))) < len(y):
        raise HarnessError("a (sample, variant, repeat) occurs twice; give each value its own")
    y = y - y.mean()
    everything = _pairs(y, np.zeros(len(y), dtype=np.intp))
    same_cell = _pairs(y, rows * len(column_labels) + columns)
    same_sample, same_variant = _pairs(y, rows) - same_cell, _pairs(y, columns) - same_cell
    neither = everything - same_sample - same_variant - same_cell
    if min(same_sample[1], same_variant[1], neither[1]) < 1:
        raise HarnessError(
            "variance components need samples that share variants and variants that share samples"
        )
    full = neither[0] / neither[1]
    between_samples = max(0.0, full - same_sample[0] / same_sample[1])
    between_variants = max(0.0, full - same_variant[0] / same_variant[1])
    rest = max(0.0, same_sample[0] / same_sample[1] + same_variant[0] / same_variant[1] - full)
    within = same_cell[0] / same_cell[1] if same_cell[1] >= 1 else None
    interaction = rest if within is None else max(0.0, rest - within)
    return VarianceComponents(
        float(between_samples),
        float(between_variants),
        float(interaction),
        None if within is None else float(within),
    )


def _pairs(y: Floats, codes: NDArray[np.intp]) -> Floats:
    """Half the sum of squared differences over pairs within groups, and the number of pairs."""
    size = np.bincount(codes)
    total = np.bincount(codes, weights=y)
    square = np.bincount(codes, weights=y**2)
    return np.array([np.sum(size * square - total**2) / 2, np.sum(size * (size - 1)) / 2])
