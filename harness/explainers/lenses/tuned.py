"""The tuned lens: an affine translator for each layer, trained to say what the last layer says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.lenses.divergence import divergence, scale_of
from harness.explainers.lenses.stream import Lensed, lens_inputs, read, stream
from harness.explainers.models.networks import differentiating, refuse_quantised
from harness.identity import digest
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "tuned lens 1"
_WHERE = "train_tuned_lens"


@dataclass(frozen=True, eq=False)
class TunedLens:
    """Translators of the residual stream behind each layer but the last: h becomes h + D h + b.

    `weights` (layers x width x width) are D and `biases` (layers x width) b; both are zero before
    training, when the lens is the logit lens. `layers` are the names of the layers, `embeddings`
    first and the last one, which needs no translator, left out. `classifier` is the hash of the
    model, `losses` the mean divergence on the training samples in nats, for each layer that of the
    first and that of the last round; `settings` are those of the training.
    """

    weights: Tensor
    biases: Tensor
    layers: tuple[str, ...]
    classifier: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[tuple[float, float], ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it was trained at all."""
        return bool(self.losses)

    def translated(self, depth: int, residual: Tensor) -> Tensor:
        """What the residual behind layer `depth` (... x width) is for the head."""
        if depth == len(self.layers):
            return residual
        weight = self.weights[depth].to(residual.device)
        moved = residual.to(weight.dtype)
        return (moved + moved @ weight.T + self.biases[depth].to(moved)).to(residual.dtype)

    def check(self, model: Any) -> None:
        """Raises `HarnessError` where the lens is for another model."""
        if model.revision != self.classifier:
            raise HarnessError(
                f"the tuned lens was trained for another model than this {model.name}; train one "
                "for it with train_tuned_lens"
            )

    def save(self, path: str | Path) -> None:
        """Writes `path` (safetensors: weights and biases) and beside it `path`.json (the rest)."""
        from safetensors.torch import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights.contiguous(), "biases": self.biases.contiguous()}, path)
        card = {
            "format": _FORMAT,
            "layers": self.layers,
            "classifier": self.classifier,
            "seed": self.seed,
            "settings": self.settings,
            "losses": self.losses,
        }
        _card(path).write_text(json.dumps(card, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TunedLens:
        """Reads what `save` wrote. Raises `HarnessError` where one of the two files is missing, or
        is something else."""
        from safetensors.torch import load_file

        path = Path(path)
        for file in (path, _card(path)):
            if not file.is_file():
                raise HarnessError(f"there is no file {file}; a tuned lens is two files")
        card = json.loads(_card(path).read_text(encoding="utf-8"))
        if not isinstance(card, dict) or card.get("format") != _FORMAT:
            raise HarnessError(f"{_card(path)} is no card of a tuned lens")
        tensors = load_file(path)
        return cls(
            tensors["weights"],
            tensors["biases"],
            tuple(card["layers"]),
            card["classifier"],
            card["seed"],
            card["settings"],
            tuple((first, last) for first, last in card["losses"]),
        )


def train_tuned_lens(
    classifier: Any,
    samples: Any,
    *,
    epochs: int = 50,
    learning_rate: float = 1e-3,
    batch: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TunedLens:
    """Trains a translator for each layer, so that what the head says of it comes near to what the
    model says: the smallest mean Kullback-Leibler divergence of the one from the other, at the
    positions that the head reads.

    - `classifier`, `samples`: as for `logit_lens`; samples that are not those to be looked at
    - `epochs`: how often each sample is seen; `batch`: samples a step of Adam with `learning_rate`;
      `seed`: of the order of samples
    - `progress`: is told how many samples are done, and of how many

    The model is left as it was. Costs a pass a sample and epoch, and for each layer one forward and
    backward through the head alone.

    Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned
    Lens", section 3, with Adam in place of momentum and weight decay. Raises `HarnessError` as
    `logit_lens` does.
    """
    import numpy as np
    import torch

    fields.whole(_WHERE, 1, epochs=epochs, batch=batch)
    fields.whole(_WHERE, 0, seed=seed)
    number = isinstance(learning_rate, int | float) and not isinstance(learning_rate, bool)
    if not number or not 0 < learning_rate < float("inf"):
        raise HarnessError(f"{_WHERE}: learning_rate is a number above 0, not {learning_rate!r}")
    model, items = lens_inputs(classifier, samples)
    refuse_quantised(model.module, model.name)
    readings = [read(model, sample) for sample in items]
    settings = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch": batch,
        "samples": len(items),
        "inputs": digest([reading.input for reading in readings]),
    }
    lens = untrained(model, readings[0], seed, settings)
    parameters = [lens.weights.requires_grad_(True), lens.biases.requires_grad_(True)]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    order = np.random.default_rng(seed)
    losses: list[Any] = []
    for epoch in range(epochs):
        total: Any = torch.zeros(len(lens.layers), dtype=torch.float64)
        shuffled = order.permutation(len(readings)).tolist()
        for start in range(0, len(shuffled), batch):
            several = shuffled[start : start + batch]
            optimiser.zero_grad()
            for place in several:
                total += _descended(model, readings[place], lens, 1 / len(several))
            optimiser.step()
            if progress is not None:
                progress(epoch * len(readings) + start + len(several), epochs * len(readings))
        losses.append((total / len(readings)).tolist())
    return TunedLens(
        lens.weights.detach(),
        lens.biases.detach(),
        lens.layers,
        lens.classifier,
        seed,
        settings,
        tuple(zip(losses[0], losses[-1], strict=True)),
    )


def untrained(
    model: Lensed, reading: Any, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> TunedLens:
    """A lens whose translators change nothing."""
    import torch

    with differentiating(model.module):
        seen = stream(model, reading)
    last = seen.residuals[-1]
    width, layers = last.shape[-1], seen.layers[:-1]
    dtype = torch.promote_types(last.dtype, torch.float32)
    made: dict[str, Any] = {"dtype": dtype, "device": last.device}
    return TunedLens(
        torch.zeros(len(layers), width, width, **made),
        torch.zeros(len(layers), width, **made),
        layers,
        model.revision,
        seed,
        settings or {},
    )


def _descended(model: Lensed, reading: Any, lens: TunedLens, share: float) -> Tensor:
    """The divergence at each layer on one sample; its gradients are added to the translators'."""
    import torch

    scale = scale_of(model)
    found = []
    with differentiating(model.module):
        seen = stream(model, reading)
        final = seen.final.double()
        for depth, residual in enumerate(seen.residuals[:-1]):
            said = seen.said(lens.translated(depth, residual)).double()
            loss = divergence(final, said, scale).mean()
            (loss * share).backward()  # type: ignore[no-untyped-call]
            found.append(loss.detach().cpu())
    return torch.stack(found)


def _card(path: Path) -> Path:
    return path.with_name(path.name + ".json")
