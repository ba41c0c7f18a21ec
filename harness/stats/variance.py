"""What makes scores differ: the samples, the wording of the question, or chance between repeats."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records import HarnessError
from harness.results import Estimate
from harness.stats import intervals
from harness.stats.arrays import Floats, encode

PARTS = ("sample", "variant", "interaction", "repeat")


def variance_shares(
    values: ArrayLike,
    sample: Sequence[Hashable],
    variant: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    cluster_name: str = "sample",
) -> Mapping[str, Estimate]:
    """The share of the scores' variance that each of `PARTS` explains, with its interval.

    All arguments have length n; a (sample, variant) that stands more than once was repeated, and a
    sample lies in one cluster. `interaction` is that wordings change samples differently; without
    any repeat it holds chance too, and `repeat` is left out. Cells may be missing or repeated
    unevenly: half the mean squared difference of two values estimates the sum of the components in
    which the two differ, and four kinds of pairs (sharing sample and variant, either, neither) give
    the four components; negative estimates are set to 0 (method of moments; Searle, Casella and
    McCulloch 1992, chapter 5). Empty with fewer than two samples or variants, and where some kind
    of pair does not occur.
    """
    y = np.asarray(values, dtype=float)
    if not np.isfinite(y).all():
        raise HarnessError("values hold NaN or infinity; leave out what could not be scored")
    rows, row_labels = encode(sample, len(y))
    columns, column_labels = encode(variant, len(y))
    if len(row_labels) < 2 or len(column_labels) < 2:
        return {}
    y = y - y.mean()
    pairs = _Pairs(y, rows, columns)
    names = PARTS if pairs.repeated else PARTS[:3]
    if not pairs.of_every_kind:
        return {}
    return {
        name: intervals.of_statistic(
            lambda weights, place=place: pairs.shares(weights)[:, place],  # type: ignore[misc]
            clusters,
            seed=seed,
            cluster_name=cluster_name,
            bounds=(0.0, 1.0),
        )
        for place, name in enumerate(names)
    }


class _Pairs:
    """Half squared differences over pairs of values, and numbers of pairs, by kind of pair.

    Weights say how often a cluster was drawn. Copies of one sample are no evidence of how samples
    differ, so pairs between copies count for nothing.
    """

    def __init__(self, y: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        self.y = y
        self.first = np.unique(rows, return_index=True)[1]
        cells, code = np.unique(rows * (columns.max() + 1) + columns, return_inverse=True)
        owner = cells // (columns.max() + 1)
        size = np.bincount(code).astype(float)
        self.in_cell = np.array([np.bincount(owner, part) for part in (*_within(y, code), size**2)])
        self.in_row = np.array(_within(y, rows))
        self.row_size = np.bincount(rows).astype(float)
        self.member = np.eye(columns.max() + 1)[columns]

    @property
    def repeated(self) -> bool:
        """Whether any sample was asked twice in the same way."""
        return bool(self.in_cell[1].sum() >= 1)

    @property
    def of_every_kind(self) -> bool:
        """Whether variants share samples, samples share variants, and some pair shares neither."""
        _, counts = self.by_kind(np.ones((1, len(self.y))))
        return bool(min(counts[1:, 0]) >= 1)

    def by_kind(self, weights: Floats) -> tuple[Floats, Floats]:
        """Sums and numbers (4, draws) of pairs that share both, sample, variant, and neither."""
        drawn = weights[:, self.first]
        both = drawn @ self.in_cell[:2].T
        sample = drawn @ (self.in_row - self.in_cell[:2]).T
        sums, square = weights @ self.y, weights @ self.y**2
        total = weights.sum(axis=1)
        of_all = (total * square - sums**2) / 2 - drawn**2 @ self.in_row[0]
        count_all = (total**2 - drawn**2 @ self.row_size**2) / 2
        w, wy, wyy = (
            weights @ (self.member * part[:, None])
            for part in (np.ones_like(self.y), self.y, self.y**2)
        )
        of_variant = np.sum(w * wyy - wy**2, axis=1) / 2 - drawn**2 @ self.in_cell[0]
        count_variant = (np.sum(w**2, axis=1) - drawn**2 @ self.in_cell[2]) / 2
        return (
            np.array([both[:, 0], sample[:, 0], of_variant, of_all - of_variant]),
            np.array([both[:, 1], sample[:, 1], count_variant, count_all - count_variant]),
        )

    def shares(self, weights: Floats) -> Floats:
        """Shares (draws, 4) of the components, NaN where nothing varies or a kind is missing."""
        sums, counts = self.by_kind(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            same_cell, same_sample, same_variant, neither = sums / np.where(
                counts > 0, counts, np.nan
            )
        within = same_cell if self.repeated else np.zeros_like(neither)
        parts = np.maximum(
            0.0,
            [
                neither - same_sample,
                neither - same_variant,
                same_sample + same_variant - neither - within,
                within,
            ],
        )
        total = parts.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(total > 1e-12, parts / total, np.nan).T, dtype=float)


def _within(y: Floats, codes: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Half the sum of squared differences over pairs within each group, and numbers of pairs."""
    size = np.bincount(codes).astype(float)
    total, square = np.bincount(codes, weights=y), np.bincount(codes, weights=y**2)
    return (size * square - total**2) / 2, size * (size - 1) / 2
