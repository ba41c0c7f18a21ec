"""Whether a set of concepts is enough to predict what the model predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.rows import rows_of
from harness.explainers.concepts.spaces.space import Fitted
from harness.explainers.models.model import transformed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def completeness(
    asked: Asked,
    space: Fitted,
    rows: Any,
    labels: Sequence[str] | None = None,
    concepts: Sequence[int] | None = None,
    learned: Asked | None = None,
    steps: int = 100,
) -> float:
    """(a - r) / (f - r): `a` the accuracy when the layer's rows are made of the concepts alone, `f`
    that of the model, `r` that of guessing among the classes. 1 where concepts are enough, 0 where
    they are worth no more than a guess; it can be a little above 1 and below 0.

    Rows are made of `concepts` (places; all unless given) by the affine map that tells `rows` best
    in squares; where other samples are given as `learned`, it is then fitted for `steps` to what
    the model predicts of these (Adam, cross-entropy through the rest of the network). The
    definition asks for the best map of all, so either is a lower bound. Without `labels`, one a
    sample, the model's own predictions are to be met.

    Yeh et al. 2020, "On completeness-aware concept-based explanations in deep neural networks",
    definition 3.1. Raises `HarnessError` as `asked` does.
    """
    import numpy as np
    import torch

    given = rows_of(rows)
    chosen = np.arange(len(space.names)) if concepts is None else np.asarray(concepts, dtype=int)
    inner = np.zeros((len(chosen) + 1, len(chosen) + 1))
    products = np.zeros((len(chosen) + 1, given.width))
    for batch in given.batches():
        told = _with_one(space.strength(batch)[:, chosen])
        inner += told.T @ told
        products += told.T @ batch.astype(np.float64)
    back = np.linalg.lstsq(inner, products, rcond=1e-10)[0].astype(np.float64)
    if learned is not None:
        fields.whole("completeness", 1, steps=steps)
        back = _improved(back, learned, space, chosen, steps)

    def made(_: int, own: Tensor) -> Tensor:
        told = _with_one(space.strength(own.double().cpu().numpy())[:, chosen])
        return torch.from_numpy(told @ back).to(own)

    columns = [list(asked.layer.model.columns(reading)) for reading in asked.readings]
    before = [names[row.argmax()] for names, row in zip(columns, asked.outputs, strict=True)]
    outputs = asked.layer.outputs(asked.readings, made)
    after = [names[row.argmax()] for names, row in zip(columns, outputs, strict=True)]
    wanted = before if labels is None else list(labels)
    guess = 1 / len(columns[0])
    accuracy, full = (np.mean(np.equal(said, wanted)) for said in (after, before))
    return float((accuracy - guess) / (full - guess)) if full != guess else 0.0


def _improved(
    back: NDArray[np.float64], asked: Asked, space: Fitted, chosen: Any, steps: int
) -> NDArray[np.float64]:
    """The map after `steps` over all samples, with which their predictions are likeliest."""
    import torch

    told = [
        torch.from_numpy(_with_one(space.strength(rows.double().numpy())[:, chosen]))
        for _, rows in asked.layer.rows(asked.readings)
    ]
    wanted = torch.tensor([int(row.argmax()) for row in asked.outputs])
    # Steps in units of what the map is on average, so that they fit any layer.
    size = max(1e-12, float(abs(back).mean()))
    found = (torch.from_numpy(back) / size).requires_grad_(True)
    optimiser = torch.optim.Adam([found], lr=0.1)
    scale = asked.layer.model.scale
    for _ in range(steps):
        optimiser.zero_grad()
        for batch, outputs in asked.layer.differentiable(
            asked.readings, lambda place, _: told[place] @ (size * found)
        ):
            logs = transformed(outputs, scale, "log_probability", torch)
            own = logs[torch.arange(len(batch)), wanted[batch].to(logs.device)]
            torch.autograd.backward(-own.sum() / len(asked.readings), inputs=[found])
        optimiser.step()
    improved: NDArray[np.float64] = (size * found).detach().numpy()
    return improved


def _with_one(concepts: Any) -> Any:
    import numpy as np

    return np.concatenate([concepts, np.ones((len(concepts), 1))], axis=1)
