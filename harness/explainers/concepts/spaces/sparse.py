"""Sparse codes: many directions, of which each row uses few. What each kind of autoencoder does
with a row; `training.py` fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.explainers.concepts.spaces.space import Fitted

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("vanilla", "top_k", "batch_top_k", "jump_relu", "matching_pursuit")


class SparseSpace(Fitted):
    """Codes of rows, none below zero.

    - `vanilla`: relu(rows @ encoder.T + bias)
    - `top_k`: of these the `k` largest of each row
    - `batch_top_k`, `jump_relu`: of these what is above `threshold`, one for all or one a concept
    - `matching_pursuit`: `k` times, the direction that the rest of the row has most of
    """

    family = "sparse"

    def coefficients(self, rows: Tensor) -> Tensor:
        """Rows x concepts."""
        import torch

        if self.kind == "matching_pursuit":
            directions, offset = self.tensor("directions", rows), self.tensor("offset", rows)
            lengths = directions.norm(dim=1)
            units = directions / lengths.clamp(min=1e-12)[:, None]
            found = pursuit(rows - offset, units, int(self.settings["k"]))
            codes: Tensor = found / lengths.clamp(min=1e-12)
            return codes
        found = torch.relu(rows @ self.tensor("encoder", rows).T + self.tensor("bias", rows))
        if self.kind == "top_k":
            return largest(found, int(self.settings["k"]))
        if self.kind == "vanilla":
            return found
        above: Tensor = found * (found > self.tensor("threshold", rows))
        return above


def largest(found: Tensor, k: int) -> Tensor:
    """The k largest of each row; zero for the others."""
    import torch

    kept = found.topk(min(k, found.shape[1]), dim=1)
    return torch.zeros_like(found).scatter(1, kept.indices, kept.values)


def pursuit(rows: Tensor, units: Tensor, k: int) -> Tensor:
    """Codes by matching pursuit with directions of length 1, steps with gains above zero alone.

    Mallat and Zhang 1993, "Matching pursuits with time-frequency dictionaries", equation 11; as the
    encoder of Costa et al. 2025, "From flat to hierarchical: extracting sparse representations with
    matching pursuit".
    """
    import torch

    found = torch.zeros(len(rows), len(units), dtype=rows.dtype, device=rows.device)
    for _ in range(k):
        gains = rows @ units.T
        gain, place = gains.max(dim=1, keepdim=True)
        gain = gain.clamp(min=0)
        found = found.scatter_add(1, place, gain)
        rows = rows - gain * units[place[:, 0]]
    return found
