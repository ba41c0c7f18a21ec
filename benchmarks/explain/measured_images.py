"""Images with evidence, values on them, and our metrics of these, with every draw to be had.

What `against_quantus.py` gives to Quantus and measures itself: OCTA images of 28 x 28 pixels, a
small network with random weights, and our metrics with the sets, noise and weights that they draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from small_cnn import SIDE, drawn

from harness.explainers.explain import blocks, explain
from harness.explainers.metrics.alterations import Noise, OtherTarget, Randomised
from harness.explainers.metrics.correspondence import Infidelity, SensitivityN
from harness.explainers.metrics.evaluate import evaluate
from harness.explainers.metrics.metric import Trial
from harness.octa.generator import generate

BASELINE = -0.5  # no pixel has it, so that values can be had per amount removed
STEP, FEW, PATCH = 28, 196, 7
DRAWS, SUBSET = 30, 200
NEIGHBOURS, RADIUS = 5, 0.02
Floats = NDArray[np.float64]


class RecordedInfidelity(Infidelity):
    """Remembers the sets it draws, by the samples' seeds in the order they are first met."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sets: dict[int, NDArray[np.bool_]] = {}

    def _drawn(self, trial: Trial) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        sizes, removed = super()._drawn(trial)
        self.sets[trial.seed] = removed.reshape(-1, trial.players)
        return sizes, removed


class GivenSensitivityN(SensitivityN):
    """Sensitivity-n on given sets of one n, by the samples' seeds."""

    def __init__(self, sets: Mapping[int, NDArray[np.bool_]]) -> None:
        super().__init__(draws=DRAWS)
        self._sets = sets

    def _drawn(self, trial: Trial) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return np.array([SUBSET]), self._sets[trial.seed][None]


class Ours:
    """The images, and what our metrics say of values on them."""

    def __init__(self, count: int, seed: int) -> None:
        images, masks = zip(*_images(count), strict=True)
        self.network = drawn(seed)
        self.x = torch.tensor(np.stack(images)[:, None])
        self.masks = np.stack(masks)
        with torch.no_grad():
            self.targets = self.network(self.x).argmax(dim=1).numpy()
        self.options = {"unit": "feature", "baseline": BASELINE, "seed": seed}
        self.values = self._attributions(seed)

    def _attributions(self, seed: int) -> dict[str, Floats]:
        found = {}
        for method in ("saliency", "integrated_gradients"):
            several = explain(self.network, self.x, method, **self.options)
            found[method] = np.array([one.values for one in several], dtype=np.float64)
        found["random"] = np.random.default_rng(seed).standard_normal(found["saliency"].shape)
        return found

    def measured(
        self, metrics: Mapping[str, Any], values: Mapping[str, Floats] | None = None, **more: Any
    ) -> dict[str, dict[str, list[Any]]]:
        """Measurements by metric and method, in the order of the images."""
        given = {} if values is None else {"attributions": values}
        evaluation = evaluate(
            self.network, self.x, metrics=metrics, evidence=list(self.masks[:, None]),
            references=(), **(self.options | given | more),
        )  # fmt: skip
        found: dict[str, dict[str, list[Any]]] = {}
        for one in evaluation.measurements:
            found.setdefault(one.metric, {}).setdefault(one.method, []).append(one)
        return found

    def block(self) -> Any:
        """The images as the engine reads them."""
        return next(iter(blocks(self.network, self.x, **self.options)))


def _images(count: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Images from 0 to 1, and where their lesions lie."""
    found, draw = 0, 0
    while found < count:
        one = generate(draw % 4, "fast", draw=draw, size=SIDE)
        draw += 1
        mask = np.logical_or.reduce(
            [one.masks[n] for n in ("dropout", "microaneurysm", "neovascularisation")]
        )
        if 0 < mask.sum() < mask.size / 2:
            found += 1
            image = one.image.astype(np.float32)
            yield (image - image.min()) / np.ptp(image), mask


# --- what Quantus is given ------------------------------------------------------------------


def given_to_quantus(ours: Ours, infidelity: RecordedInfidelity) -> dict[str, Any]:
    """Images, values and our draws."""
    block, shape = ours.block(), ours.x.numpy().shape
    noises = []
    for number in range(NEIGHBOURS):
        with Noise(RADIUS, number).under(block) as noisy:
            model = noisy.engine.model
            noises.append(
                [model.noise(s.reading).numpy().reshape(shape[1:]) for s in noisy.subjects]
            )
    with OtherTarget().under(block) as other:
        others = [int(s.targets.weights[:, 0].argmax()) for s in other.subjects]
    with Randomised(1.0).under(block):
        randomised = {n: w.numpy().copy() for n, w in ours.network.state_dict().items()}
    weights = {name: w.numpy() for name, w in ours.network.state_dict().items()}
    return {
        "images": ours.x.numpy(), "targets": ours.targets, "baseline": BASELINE,
        "evidence": ours.masks, "step": STEP, "few": FEW, "patch": PATCH, "draws": DRAWS,
        "subset": SUBSET, "noises": np.array(noises), "other_targets": np.array(others),
        "infidelity_sets": np.stack(list(infidelity.sets.values())), "planted": planted(shape),
        **{f"weights/{n}": w for n, w in weights.items()},
        **{f"randomised/{n}": w for n, w in randomised.items()},
        **{f"values/{n}": v.reshape(shape) for n, v in ours.values.items()},
    }  # fmt: skip


def planted(shape: Sequence[int]) -> Floats:
    """Values of which as many are equal as the image has a place, the rest 0."""
    found = np.zeros((shape[0], int(np.prod(shape[1:]))))
    for place, row in enumerate(found, 1):
        row[: 7 * place] = -0.3 if place % 2 else 0.3
    return found.reshape(shape)
