"""Captum's attributions and metrics by their plain definitions, one text at a time.

What someone would write who has a network, Captum and the papers: every metric asks the network for
the sets it needs, in batches. It knows nothing of what another method or metric has asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import captum.attr
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from numpy.typing import NDArray
from scipy.stats import kendalltau

NODES = 50
BATCH = 1024  # tokens: on a CPU about a tenth cheaper a token than 4,096
STEPS, SHARES = 20, (0.01, 0.05, 0.1, 0.2, 0.5)
DRAW_SHARES, DRAWS = (0.1, 0.3, 0.5, 0.7, 0.9), 20
Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]


class Loop:
    """One text, the target the class that the network predicts."""

    def __init__(
        self, network: Any, ids: Sequence[int], owner: Any, mask: int, budget: int
    ) -> None:
        """`ids` with a special token at both ends, `owner` the word of each of the others;
        `budget` is of kernel SHAP and LIME."""
        self.network, self.mask = network, mask
        self.ends = ids[0], ids[-1]
        self.ids = torch.tensor(ids[1:-1])[None]
        self.owner = torch.as_tensor(owner[1:-1])[None]
        self.words = int(self.owner.max()) + 1
        self.rows = max(1, BATCH // len(ids))
        self.budget = budget
        self.rng = np.random.default_rng(0)
        both = self._logits(self._ids(np.array([[True] * self.words, [False] * self.words])))
        self.target = int(both[0].argmax())
        self.full, self.empty = both[:, self.target].tolist()
        self.scale = max(abs(self.full - self.empty), 0.01 * float(both.max() - both.min())) or 1.0

    def forward(self, ids: Any) -> Any:
        """Logits of ids without the special tokens, which are put around them."""
        first, last = (torch.full((len(ids), 1), end) for end in self.ends)
        whole = torch.cat([first, ids, last], dim=1)
        return self.network(input_ids=whole, attention_mask=torch.ones_like(whole)).logits

    def _ids(self, sets: Sets) -> Any:
        kept = torch.from_numpy(sets)[:, self.owner[0]]
        return torch.where(kept, self.ids, self.mask)

    def _logits(self, ids: Any) -> Floats:
        with torch.no_grad():
            several = [self.forward(batch) for batch in ids.split(self.rows)]
        found: Floats = torch.cat(several).double().numpy()
        return found

    def outputs(self, sets: Sets) -> Floats:
        """The target's logit with only these words kept, in batches."""
        return self._logits(self._ids(sets))[:, self.target]

    # Attributions ---------------------------------------------------------------------------

    def attribution(self, method: str) -> Floats:
        """One value a word."""
        found: Floats = getattr(self, method)().astype(np.float64)
        return found

    def _perturbing(self, method: Any, **more: Any) -> Floats:
        said = method.attribute(
            self.ids, baselines=self.mask, target=self.target, feature_mask=self.owner,
            perturbations_per_eval=self.rows, **more,
        )  # fmt: skip
        values = np.zeros(self.words)
        values[self.owner[0].numpy()] = said[0].detach().numpy()
        return values

    def kernel_shap(self) -> Floats:
        torch.manual_seed(0)
        return self._perturbing(captum.attr.KernelShap(self.forward), n_samples=self.budget)

    def lime(self) -> Floats:
        torch.manual_seed(0)
        method = captum.attr.Lime(self.forward, SkLearnRidge(alpha=1e-3), _similarity)
        return self._perturbing(method, n_samples=self.budget)

    def leave_one_out(self) -> Floats:
        return self._perturbing(captum.attr.FeatureAblation(self.forward))

    def integrated_gradients(self) -> Floats:
        method = captum.attr.LayerIntegratedGradients(self.forward, self._embeddings())
        return self._summed(
            method.attribute(
                self.ids, torch.full_like(self.ids, self.mask), self.target, n_steps=NODES,
                method="gausslegendre", internal_batch_size=self.rows,
            )
        )  # fmt: skip

    def input_x_gradient(self) -> Floats:
        method = captum.attr.LayerGradientXActivation(self.forward, self._embeddings())
        return self._summed(method.attribute(self.ids, self.target))

    def _embeddings(self) -> Any:
        return self.network.get_input_embeddings()

    def _summed(self, said: Any) -> Floats:
        tokens = said[0, 1:-1].sum(dim=-1).detach().double().numpy()
        return np.bincount(self.owner[0].numpy(), tokens, self.words)

    # Metrics --------------------------------------------------------------------------------

    def metric(self, name: str, values: Floats) -> float:
        """By its definition."""
        found: Callable[[Floats], float] = getattr(self, name)
        return float(found(values))

    def _top(self, values: Floats, counts: Any) -> Sets:
        ranks = np.empty(self.words, dtype=int)
        ranks[np.argsort(-values, kind="stable")] = np.arange(self.words)
        top: Sets = ranks[None] < np.asarray(counts)[:, None]
        return top

    def _counts(self) -> Any:
        steps = min(STEPS, self.words)
        return np.round(np.arange(steps + 1) * self.words / steps).astype(int)

    def _area(self, sets: Sets) -> float:
        heights = (self.outputs(sets) - self.empty) / self.scale
        return float(np.trapezoid(heights, self._counts() / self.words))

    def deletion(self, values: Floats) -> float:
        return self._area(~self._top(values, self._counts()))

    def insertion(self, values: Floats) -> float:
        return self._area(self._top(values, self._counts()))

    def _rationales(self, values: Floats) -> Sets:
        return self._top(values, np.ceil(np.array(SHARES) * self.words - 1e-9).astype(int))

    def comprehensiveness(self, values: Floats) -> float:
        return float((self.full - self.outputs(~self._rationales(values))).mean() / self.scale)

    def sufficiency(self, values: Floats) -> float:
        return float((self.full - self.outputs(self._rationales(values))).mean() / self.scale)

    def _drawn(self) -> list[Sets]:
        sizes = np.round(np.array(DRAW_SHARES) * self.words).astype(int).clip(1, self.words - 1)
        found = []
        for size in np.unique(sizes):
            order = self.rng.random((DRAWS, self.words)).argsort(axis=1)
            found.append(order < size)
        return found

    def infidelity(self, values: Floats) -> float:
        removed = np.concatenate(self._drawn())
        falls, said = self.full - self.outputs(~removed), removed @ values
        factor = said @ falls / (said @ said) if said.any() else 0.0
        return float(((factor * said - falls) ** 2).mean() / (falls**2).mean())

    def sensitivity_n(self, values: Floats) -> float:
        drawn = self._drawn()
        falls = self.full - self.outputs(~np.concatenate(drawn))
        each = zip(drawn, np.split(falls, len(drawn)), strict=True)
        return float(np.mean([np.corrcoef(sets @ values, fall)[0, 1] for sets, fall in each]))

    def tau_loo(self, values: Floats) -> float:
        falls = self.full - self.outputs(~np.eye(self.words, dtype=bool))
        return float(kendalltau(values, falls).statistic)

    def monotonicity(self, values: Floats) -> float:
        added = self._top(-values, self._counts())  # smallest first
        moved, said = np.diff(self.outputs(added)), np.diff(added @ values)
        return float((np.sign(said) * moved >= -1e-6 * max(abs(self.full), self.scale)).mean())


def _similarity(_original: Any, _perturbed: Any, kept: Any, **_: Any) -> Any:
    """The weight of our LIME: cosine distance to all words, width 0.25."""
    distance = 1 - torch.sqrt(kept.float().mean())
    return torch.exp(-((distance / 0.25) ** 2))
