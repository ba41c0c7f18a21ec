"""The training of an image classifier: split, augmentation, AdamW with a cosine, early stopping.

Any torch module from images to logits can be trained. Everything random comes from the seed, so
the same images, recipe, machine and versions give the same weights.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness import terminal
from harness.records import HarnessError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Augmentation = Literal["flip", "turn", "brightness", "noise"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

GRADIENT_NORM = 1.0
"""Gradients are scaled down to this norm, so that no early batch throws the attention off."""

NORM_IMAGES = 512
"""Training images from which batch norms take their statistics after each epoch."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    The learning rate rises over `warmup` of all steps and falls to zero along a cosine. Training
    ends when the validation loss has not fallen for `patience` epochs, and the weights of the best
    epoch are kept. Each class weighs the same in both losses, however rare it is.

    No augmentation cuts or hides a part of the image. `flip` (left to right) and `turn` (quarter
    turns) keep a label true only where orientation does not matter, so they must be asked for;
    `brightness` (contrast and level) and `noise` are harmless to most labels.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: float = 0.05
    patience: int = 8
    augmentation: tuple[Augmentation, ...] = ("brightness", "noise")
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("epochs", self.epochs, 1, math.inf),
            ("batch_size", self.batch_size, 2, math.inf),
            ("patience", self.patience, 1, math.inf),
            ("learning_rate", self.learning_rate, 1e-12, math.inf),
            ("weight_decay", self.weight_decay, 0, math.inf),
            ("label_smoothing", self.label_smoothing, 0, 0.999),
            ("warmup", self.warmup, 0, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise HarnessError(f"train: {name} must be a number, not {value!r}")
            if not low <= value <= high:
                raise HarnessError(
                    f"train: {name} is {value}, but must be from {low:g} to {high:g}"
                )
        for name in self.augmentation:
            if name not in AUGMENTATIONS:
                raise HarnessError(
                    f"train: there is no augmentation '{name}'; known are "
                    f"{', '.join(AUGMENTATIONS)}"
                )


@dataclass(frozen=True)
class Fitted:
    """What a training did. Losses are of the validation images, one an epoch."""

    losses: tuple[float, ...]
    best_epoch: int
    steps: int
    seconds: float

    @property
    def epochs(self) -> int:
        """How many epochs were run."""
        return len(self.losses)


def grouped_split(
    labels: Sequence[str], clusters: Sequence[Hashable], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to validate on; no cluster lies in both.

    Clusters are drawn at random, from each class of clusters (by its most frequent label) about
    `share` of them, at least one where there are two, so that both sides see each class where that
    is possible. Raises `HarnessError` for a share outside (0, 1) and where all is one cluster.
    """
    if not 0 < share < 1:
        raise HarnessError(f"train: validation is {share}, but must lie between 0 and 1")
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, cluster in enumerate(clusters):
        members[cluster].append(row)
    if len(members) < 2:
        raise HarnessError(
            "train: all samples share one cluster, so none can be kept apart for validation"
        )
    strata: dict[str, list[Hashable]] = defaultdict(list)
    for cluster, rows in members.items():
        strata[Counter(labels[row] for row in rows).most_common(1)[0][0]].append(cluster)
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in sorted(strata):
        names = strata[label]
        count = min(max(round(share * len(names)), 1), len(names) - 1)
        held += [row for at in rng.permutation(len(names))[:count] for row in members[names[at]]]
    if not held:  # every class is one cluster: the smallest is held out
        held = min(members.values(), key=lambda rows: len(rows))
    valid = np.sort(np.array(held, dtype=np.int64))
    return np.setdiff1d(np.arange(len(labels)), valid), valid


def fit(
    module: torch.nn.Module,
    images: Tensor,
    targets: Tensor,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    mean: Sequence[float],
    std: Sequence[float],
    recipe: Recipe,
) -> Fitted:
    """Trains the module in place and leaves it with the best epoch's weights, in evaluation mode.

    `images` is uint8, n x 3 x height x width; `targets` int64 (n,). `mean` and `std`, one a
    channel, are those of values in [0, 1]; the module is given (value - mean) / std. Shows a
    progress bar on a terminal and a line an epoch elsewhere.
    """
    import torch

    started = time.monotonic()
    stream = torch.Generator().manual_seed(recipe.seed)
    weight = _class_weight(targets[train], int(targets.max()) + 1)
    # Convolutions on a CPU are about twice as fast with the channels last.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = math.ceil(len(train) / recipe.batch_size)
    total = recipe.epochs * batches
    optimiser = _adamw(module, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate(step, total, recipe.warmup)
    )
    losses: list[float] = []
    best: dict[str, Tensor] = {}
    with _progress(total) as advance:
        for epoch in range(1, recipe.epochs + 1):
            module.train()
            order = torch.as_tensor(train)[torch.randperm(len(train), generator=stream)]
            for rows in order.tensor_split(batches):  # even ones, for their norms
                batch = augmented(images[rows].float() / 255, recipe.augmentation, stream)
                logits = module(normalised(batch, mean, std))
                loss = _loss(logits, targets[rows], weight, recipe.label_smoothing)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
                optimiser.step()
                schedule.step()
                advance(None)
            _settle_norms(module, images, order[:NORM_IMAGES], mean, std)
            logits = _evaluated(module, images, valid, mean, std)
            held = torch.as_tensor(valid)
            losses.append(_loss(logits, targets[held], weight, recipe.label_smoothing).item())
            if not math.isfinite(losses[-1]):
                raise HarnessError(
                    f"train: the loss is no number after epoch {epoch}; lower learning_rate"
                )
            if losses[-1] == min(losses):
                best = {name: value.clone() for name, value in module.state_dict().items()}
            best_epoch = int(np.argmin(losses)) + 1
            advance(f"epoch {epoch}/{recipe.epochs}  loss {losses[-1]:.3f}  best {best_epoch}")
            if epoch - best_epoch >= recipe.patience:
                break
    module.load_state_dict(best)
    module.eval()
    return Fitted(
        tuple(losses), best_epoch, len(losses) * batches, round(time.monotonic() - started, 1)
    )


def rate(step: int, total: int, warmup: float) -> float:
    """The learning rate's share of its highest: linear up over `warmup`, then a cosine to 0."""
    rise = max(round(warmup * total), 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))


def augmented(images: Tensor, names: Sequence[Augmentation], stream: torch.Generator) -> Tensor:
    """Images, n x 3 x height x width in [0, 1], each changed at random and clipped to [0, 1].

    Contrast varies by 15 % about the image's mean, brightness by 15 %, noise has a standard
    deviation of up to .03. Quarter turns are of square images, half turns of others.
    """
    import torch

    def uniform(low: float, high: float) -> Tensor:
        drawn = torch.rand(len(images), 1, 1, 1, generator=stream)
        return low + (high - low) * drawn

    if "flip" in names:
        images = torch.where(uniform(0, 1) < 0.5, images.flip(3), images)
    if "turn" in names:
        square = images.shape[2] == images.shape[3]
        turns = torch.randint(4 if square else 2, (len(images),), generator=stream)
        turned = [
            torch.rot90(image, int(k) * (1 if square else 2), (1, 2))
            for image, k in zip(images, turns, strict=True)
        ]
        images = torch.stack(turned)
    if "brightness" in names:
        middle = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - middle) * uniform(0.85, 1.15) + middle * uniform(0.85, 1.15)
    if "noise" in names:
        images = images + uniform(0, 0.03) * torch.randn(images.shape, generator=stream)
    return images.clamp(0, 1)


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(value - mean) / std by channel, of images n x 3 x height x width in [0, 1]."""
    shift, scale = (images.new_tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return (images - shift) / scale


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's own stream set for the block, then as it was before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _adamw(module: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and filters alone: norms, shifts and bias tables stay free."""
    import torch

    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    for name, parameter in module.named_parameters():
        (decayed if parameter.ndim > 1 and not name.endswith("table") else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _class_weight(targets: Tensor, classes: int) -> Tensor:
    """Weights inverse to how often a class occurs, 1 on average over samples."""
    counts = targets.bincount(minlength=classes).float()
    return len(targets) / ((counts > 0).sum() * counts.clamp(min=1))


def _loss(logits: Tensor, targets: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """Mean of smoothed cross-entropies, each weighing as its class does.

    Torch's own class weights would also weigh the smoothed labels, and so favour rare classes.
    """
    from torch.nn import functional

    each = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return (weight[targets] * each).sum() / weight[targets].sum()


def _evaluated(
    module: torch.nn.Module,
    images: Tensor,
    rows: NDArray[np.int64],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Logits of these rows as they are, in evaluation mode."""
    import torch

    module.eval()
    with torch.no_grad():
        parts = torch.split(torch.as_tensor(rows), 64)
        return torch.cat([module(normalised(images[p].float() / 255, mean, std)) for p in parts])


def _settle_norms(
    module: torch.nn.Module,
    images: Tensor,
    rows: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Sets the running statistics of batch norms to plain averages over these training images.

    Running averages lag behind the weights, by far after the few steps of a small data set, and
    validation would measure the lag (Wu and Johnson 2021, "Rethinking Batch in BatchNorm", 3).
    """
    import torch

    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which torch reads as the plain average
    module.train()
    with torch.no_grad():
        for part in rows.tensor_split(math.ceil(len(rows) / 64)):
            module(normalised(images[part].float() / 255, mean, std))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str | None], None]]:
    """Yields what is called after each step with `None`, and after each epoch with a line."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=terminal.bare(sys.stderr), highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("train", total=total)

        def advance(line: str | None) -> None:
            if line is None:
                bar.advance(task)
            elif console.is_terminal:
                bar.update(task, description=line)
            else:
                console.print(line)

        yield advance
