"""Captum's kernel SHAP and LIME on a game given by its values: the same removal, sets and law as
ours, and Captum's own drawing and fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
from captum.attr import KernelShap, Lime

from harness.explainers.attributions.lime import Lime as OurLime

Value = Callable[[np.ndarray], np.ndarray]


def kernel_shap(value: Value, players: int, rows: int, seed: int) -> np.ndarray:
    """Captum's values from so many rows, the empty and the full set among them."""
    _seed(seed)
    explainer = KernelShap(lambda kept: torch.from_numpy(value(kept.numpy() > 0.5)))
    return _values(explainer, players, rows)


def lime(value: Value, players: int, rows: int, seed: int, ours: OurLime) -> np.ndarray:
    """Captum's values with the law, kernel and penalty of ours; the full set is its first row."""
    _seed(seed)
    rng = np.random.default_rng(seed)
    chances = ours.probability(np.arange(players), players)

    def perturb(_: Any, **__: Any) -> Iterator[torch.Tensor]:
        yield torch.ones(1, players, dtype=torch.long)
        while True:
            size = rng.choice(players, p=chances)
            yield torch.from_numpy((rng.permutation(players) < size)[None].astype(np.int64))

    def similarity(_: Any, __: Any, kept: torch.Tensor, **___: Any) -> torch.Tensor:
        return torch.from_numpy(ours.weight(kept.sum(1).numpy(), players))

    explainer = Lime(
        lambda kept: torch.from_numpy(value(kept.numpy() > 0.5)),
        SkLearnRidge(alpha=ours.penalty) if ours.penalty else SkLearnLinearRegression(),
        similarity,
        perturb,
    )
    return _values(explainer, players, rows)


def _values(explainer: Any, players: int, rows: int) -> np.ndarray:
    found = explainer.attribute(
        torch.ones(1, players), torch.zeros(1, players), n_samples=rows, perturbations_per_eval=rows
    )
    return np.asarray(found[0], np.float64)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
