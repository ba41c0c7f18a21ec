"""The first phase of training: the eye alone learns where lesions are.

Two heads, dropped afterwards, read the vision tokens: one says how much of each patch FAZ and
lesions cover, the other, on the tokens that the language model will see, which lesion with its
centre in which sector lies in each cell. Text alone teaches a small model to see far more slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.language_models.architecture import DEVIATION, MEAN, WIDTH
from harness.language_models.images import COVERED, Images
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LESIONS

Log = Callable[[str], None]
PLACES = len(LESIONS) * len(SECTORS)
PRESENT_WEIGHT = 4.0
CELLS_WEIGHT = 10.0
"""How much a cell with a lesion weighs (one in a hundred has one), and how much the cells' loss
beside the patches': chosen so that the two losses start alike."""
HEALTHY_SHARE = 0.25
"""How often a healthy image is shown, relative to one with lesions."""


@dataclass(frozen=True)
class Schedule:
    """Length and pace of a phase: AdamW, a short warm-up, a constant rate, then a linear decay.

    Until it decays the pace does not depend on the length, so a training of half the steps begins
    exactly as the whole one does.
    """

    steps: int
    batch: int
    rate: float
    warmup: int = 40
    decay: float = 0.3
    weight_decay: float = 0.05

    @property
    def decay_start(self) -> int:
        """The step at which the rate begins to fall."""
        return self.steps - int(self.decay * self.steps)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        rising = min(1.0, (step + 1) / self.warmup)
        falling = min(1.0, (self.steps - step) / (self.steps - self.decay_start + 1))
        return self.rate * min(rising, falling)


def pixel_values(pixels: np.ndarray[Any, Any]) -> Any:
    """Normalised pictures, float32 (n, 3, 128, 128), exactly as the processor makes them."""
    import torch

    grey = (torch.from_numpy(pixels).float() / 255.0 - MEAN) / DEVIATION
    return grey[:, None].expand(-1, 3, -1, -1)


def see(model: Any, pictures: Any) -> tuple[Any, Any]:
    """Patch features (n, 256, 128), and the 64 tokens (n, 64, 128) that the language model sees."""
    import torch

    inner = model.model
    side = pictures.shape[-1] // inner.config.vision_config.patch_size
    mask = torch.ones(len(pictures), side, side, dtype=torch.bool)
    patches = inner.vision_model(pixel_values=pictures, patch_attention_mask=mask).last_hidden_state
    return patches, inner.connector(patches)


class EyeTraining:
    """The training of a model's vision encoder and connector, in place, as far as it has come.

    `run` goes on to a step. A copy (`copy.deepcopy`) goes on by itself, which is how the model with
    half the steps shares the beginning of the whole one.
    """

    def __init__(self, model: Any, schedule: Schedule, seed: int) -> None:
        import torch
        from torch import nn

        torch.manual_seed(seed)
        self.model = model
        self.patch_head = nn.Linear(WIDTH, len(COVERED))
        self.place_head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, PLACES))
        self.step = 0
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []
        self._optimiser = torch.optim.AdamW(
            self._parameters(),
            lr=schedule.rate,
            weight_decay=schedule.weight_decay,
            betas=(0.9, 0.98),
        )

    def run(self, images: Images, schedule: Schedule, end: int, log: Log) -> None:
        """Trains until `end` steps have been made. Each image is shown in one of its eight turns,
        a little brighter or darker; healthy ones, which show the eye little, at a lower rate."""
        import torch

        parameters = self._parameters()
        self.model.train()
        running, begun = np.zeros(2), self.step
        while self.step < end:
            losses = self._losses(images, schedule.batch)
            (losses[0] + CELLS_WEIGHT * losses[1]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for group in self._optimiser.param_groups:
                group["lr"] = schedule.rate_at(self.step)
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
            running += [loss.item() for loss in losses]
            self.step += 1
            if self.step % 50 == 0 or self.step == end:
                patches, cells = running / (self.step - begun)
                log(f"eye {self.step}/{schedule.steps}: patches {patches:.4f} cells {cells:.5f}")
                running, begun = np.zeros(2), self.step

    def _losses(self, images: Images, batch: int) -> tuple[Any, Any]:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

        shown = [self._shown(images, index) for index in self._next(images, batch)]
        pictures = brightened(pixel_values(np.stack([one[0] for one in shown])), self._rng)
        places = torch.from_numpy(np.stack([one[1] for one in shown])).reshape(batch, -1, PLACES)
        cover = torch.from_numpy(np.stack([one[2] for one in shown])).reshape(
            batch, -1, len(COVERED)
        )
        with torch.autocast("cpu", torch.bfloat16):
            patches, tokens = see(self.model, pictures)
            covered, placed = self.patch_head(patches), self.place_head(tokens)
        weight = 1.0 + (PRESENT_WEIGHT - 1.0) * places
        return (
            cross_entropy(covered.float(), cover),
            cross_entropy(placed.float(), places, weight),
        )

    def _shown(self, images: Images, index: int) -> tuple[Any, ...]:
        return images.turned(index, int(self._rng.integers(4)), bool(self._rng.integers(2)))

    def _next(self, images: Images, count: int) -> list[int]:
        while len(self._order) < count:
            kept = self._rng.random(len(images)) < HEALTHY_SHARE
            order = self._rng.permutation(len(images))
            self._order += [
                int(i) for i in order if kept[i] or images.findings[i].stage != "healthy"
            ]
        taken, self._order = self._order[:count], self._order[count:]
        return taken

    def _parameters(self) -> list[Any]:
        inner = self.model.model
        parts = (inner.vision_model, inner.connector, self.patch_head, self.place_head)
        return [parameter for part in parts for parameter in part.parameters()]


def brightened(pictures: Any, rng: np.random.Generator) -> Any:
    """Pictures with contrast and brightness changed by a few percent, as between devices."""
    import torch

    contrast = torch.from_numpy(rng.uniform(0.9, 1.1, (len(pictures), 1, 1, 1))).float()
    brightness = torch.from_numpy(rng.normal(0.0, 0.05, (len(pictures), 1, 1, 1))).float()
    return pictures * contrast + brightness
