"""Spaces of centres: a row is what it is nearest to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.rows import rows_of
from harness.explainers.concepts.spaces.linear import check_rows
from harness.explainers.concepts.spaces.space import Fitted

if TYPE_CHECKING:
    from torch import Tensor


class Clusters(Fitted):
    """One for the nearest centre and zero for all others. Strengths are distances, negated; where
    there is a `precision` (width x width), Mahalanobis distances by it."""

    family = "clusters"

    def coefficients(self, rows: Tensor) -> Tensor:
        """Rows x concepts, one 1 a row."""
        import torch

        nearest = self.strengths(rows).argmax(dim=1)
        return torch.nn.functional.one_hot(nearest, len(self.names)).to(rows)

    def strengths(self, rows: Tensor) -> Tensor:
        """Minus the distance to each centre, rows x concepts."""
        import torch

        centres = self.tensor("directions", rows)
        if "precision" in self.arrays:
            root = torch.linalg.cholesky(self.tensor("precision", rows))
            rows, centres = rows @ root, centres @ root
        # By differences, not by products: these lose all digits near a centre.
        exact = "donot_use_mm_for_euclid_dist"
        return -torch.cdist(rows, centres, compute_mode=exact)


def k_means(rows: Any, concepts: int, seed: int = 0, epochs: int = 3, passes: int = 50) -> Clusters:
    """Means of the rows nearest to them.

    scikit-learn's MiniBatchKMeans for `epochs` in an order drawn with `seed`, then passes over all
    rows (Lloyd 1982, "Least squares quantization in PCM") until none changes its centre, at most
    `passes`: exact, whatever the batches.
    """
    import numpy as np
    from sklearn.cluster import MiniBatchKMeans

    given = rows_of(rows)
    check_rows(given, concepts, "k_means")
    fields.whole("k_means", 1, epochs=epochs, passes=passes)
    size = max(4096, 4 * concepts)
    model = MiniBatchKMeans(concepts, random_state=seed, batch_size=size, n_init=3)
    for epoch in range(epochs):
        for batch in given.batches(size, seed=seed + epoch):
            if epoch or len(batch) >= concepts:
                model.partial_fit(batch.astype(np.float64))
    centres = np.array(model.cluster_centers_, dtype=np.float64)
    settings = {"concepts": concepts, "seed": seed, "epochs": epochs, "passes": passes}
    ended = False
    for _ in range(passes):
        before = centres
        centres = _means_of_nearest(given, centres)
        if ended := np.array_equal(before, centres):
            break
    notes = () if ended else (f"k_means: {passes} passes did not settle the centres",)
    arrays = {"directions": centres, "offset": np.zeros(given.width)}
    return Clusters("k_means", arrays, settings, notes=notes)


def _means_of_nearest(rows: Any, centres: Any) -> Any:
    """Each centre's mean of the rows nearest to it; a centre without any stays."""
    import numpy as np

    sums, counts = np.zeros_like(centres), np.zeros(len(centres))
    squares = (centres**2).sum(axis=1)
    for batch in rows.batches():
        exact = batch.astype(np.float64)
        nearest = (squares - 2 * exact @ centres.T).argmin(axis=1)
        counts += np.bincount(nearest, minlength=len(centres))
        np.add.at(sums, nearest, exact)
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
