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

from harness.octa.geometry import SECTORS
from harness.octa.language_models.architecture import DEVIATION, MEAN, WIDTH
from harness.octa.language_models.images import CELLS, COVERED, FINE, Images
from harness.octa.pathology import LESIONS

Log = Callable[[str], None]
PLACES = len(LESIONS) * len(SECTORS)
PRESENT_WEIGHT = 4.0
"""How much a cell with a lesion weighs; one in a hundred has one. Chosen on training images."""


@dataclass(frozen=True)
class Schedule:
    """Length and pace of a phase: AdamW, linear warm-up, cosine decay to nothing."""

    steps: int
    batch: int
    rate: float
    warmup: float = 0.05
    weight_decay: float = 0.05

    def factor(self, step: int) -> float:
        """The share of the learning rate at this step, in [0, 1]."""
        begin = max(1, int(self.warmup * self.steps))
        if step < begin:
            return (step + 1) / begin
        done = (step - begin) / max(1, self.steps - begin)
        return float(0.5 * (1.0 + np.cos(np.pi * done)))


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


def train_vision(model: Any, images: Images, schedule: Schedule, seed: int, log: Log) -> Any:
    """Trains the model's vision encoder and connector in place. Each image is drawn in one of
    its eight turns, a little brighter or darker.

    Returns the head that places lesions (64 tokens to 24 logits each), to judge the eye alone.
    """
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fine = nn.Linear(WIDTH, len(COVERED))
    coarse = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, PLACES))
    parameters = [
        *model.model.vision_model.parameters(),
        *model.model.connector.parameters(),
        *fine.parameters(),
        *coarse.parameters(),
    ]
    optimiser = torch.optim.AdamW(
        parameters, lr=schedule.rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98)
    )
    order: list[int] = []
    model.train()
    running = np.zeros(2)
    for step in range(schedule.steps):
        if len(order) < schedule.batch:
            order.extend(rng.permutation(len(images)).tolist())
        chosen, order = order[: schedule.batch], order[schedule.batch :]
        turned = [
            images.turned(index, int(rng.integers(4)), bool(rng.integers(2))) for index in chosen
        ]
        pictures = brightened(pixel_values(np.stack([one[0] for one in turned])), rng)
        places = torch.from_numpy(np.stack([one[1] for one in turned])).reshape(
            len(chosen), CELLS * CELLS, PLACES
        )
        cover = torch.from_numpy(np.stack([one[2] for one in turned])).reshape(
            len(chosen), FINE * FINE, len(COVERED)
        )
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * schedule.factor(step)
        with torch.autocast("cpu", torch.bfloat16):
            patches, tokens = see(model, pictures)
            covered, placed = fine(patches), coarse(tokens)
        in_patches = cross_entropy(covered.float(), cover)
        weight = 1.0 + (PRESENT_WEIGHT - 1.0) * places
        in_cells = cross_entropy(placed.float(), places, weight)
        (in_patches + 10.0 * in_cells).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        running += (in_patches.item(), in_cells.item())
        if (step + 1) % 100 == 0:
            log(
                f"vision {step + 1}/{schedule.steps} patches {running[0] / 100:.4f} "
                f"cells {running[1] / 100:.5f}"
            )
            running[:] = 0
    return coarse


def brightened(pictures: Any, rng: np.random.Generator) -> Any:
    """Pictures with contrast and brightness changed by a few percent, as between devices."""
    import torch

    contrast = torch.from_numpy(rng.uniform(0.9, 1.1, (len(pictures), 1, 1, 1))).float()
    brightness = torch.from_numpy(rng.normal(0.0, 0.05, (len(pictures), 1, 1, 1))).float()
    return pictures * contrast + brightness
