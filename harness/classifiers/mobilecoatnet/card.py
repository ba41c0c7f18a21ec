"""The model card: what the weights are, how they were made, what they score, what they are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from harness.classifiers.mobilecoatnet.data import LabelledImages
from harness.classifiers.mobilecoatnet.weights import Configuration, build
from harness.classifiers.training import Fitted, Recipe
from harness.results import Estimate

if TYPE_CHECKING:
    import torch

ORIGIN = (
    "The network is a design of this project, inspired by the literature on hybrids of "
    "MobileNetV2's inverted residuals (Sandler et al. 2018) and CoAtNet's relative attention (Dai "
    "et al. 2021). It reproduces no published model, and no figure of any paper is claimed for it: "
    "every number below was measured on these weights."
)


@dataclass(frozen=True)
class Training:
    """All that a card tells of how weights were made; `train` and `valid` count samples."""

    configuration: Configuration
    recipe: Recipe
    fitted: Fitted
    data: LabelledImages
    train: int
    valid: int
    parameters: int
    sha256: str
    bytes: int
    accuracy: Estimate


def parameter_count(module: torch.nn.Module) -> int:
    """How many numbers training sets; running statistics are not among them."""
    return sum(parameter.numel() for parameter in module.parameters())


def size_counts(configuration: Configuration) -> dict[str, int]:
    """The parameters of each size for these classes and this image size, counted."""
    import torch

    from harness.classifiers.mobilecoatnet.model import SIZES

    with torch.device("meta"):  # to be counted, numbers need no memory
        return {name: parameter_count(build(replace(configuration, size=name))) for name in SIZES}


def markdown(made: Training) -> str:
    """The card of a training."""
    configuration, recipe, fitted, data = made.configuration, made.recipe, made.fitted, made.data
    counts = Counter(data.labels)
    options = asdict(recipe)
    options["augmentation"] = ", ".join(recipe.augmentation) or "none"
    rows = {
        "size": configuration.size,
        "parameters, counted": f"{made.parameters:,}",
        "image size": f"{configuration.image_size} x {configuration.image_size} pixels",
        "classes": ", ".join(configuration.classes),
        "file": f"{made.bytes:,} bytes, matrices in 16-bit floating point",
        "SHA-256": made.sha256,
        "images": f"{len(data.labels):,} ({made.train:,} to train on, {made.valid:,} held out)",
        "images a class": ", ".join(f"{name} {counts[name]:,}" for name in data.classes),
        "clusters": f"{len(set(data.clusters)):,}; none lies on both sides",
        "SHA-256 of pixels and labels": data.sha256,
        **{name.replace("_", " "): f"{value}" for name, value in options.items()},
        "epochs run": f"{fitted.epochs} ({fitted.steps:,} steps), best {fitted.best_epoch}",
        "time": f"{fitted.seconds:,.0f} s",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "safetensors")),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    sizes = ", ".join(f"{name} {n:,}" for name, n in size_counts(configuration).items())
    losses = ", ".join(f"{loss:.3f}" for loss in fitted.losses)
    return (
        f"# MobileCoAtNet, {configuration.size}\n\n{ORIGIN}\n\n| | |\n| --- | --- |\n{table}\n\n"
        f"Balanced accuracy on the held-out images: {shown(made.accuracy)}. They decided when "
        "training ended, so this is a little optimistic; measure on images of your own.\n\n"
        f"Validation loss by epoch: {losses}.\n\n"
        f"Parameters of the three sizes for these classes and this image size: {sizes}.\n\n"
        "This is no medical device. What the network says of images that differ from those above "
        "is not known.\n"
    )


def shown(estimate: Estimate) -> str:
    """An estimate in words: value, 95 % interval and how it was made."""
    if estimate.value is None:
        return f"not measured ({estimate.method})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} ({estimate.method})"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] ({estimate.method})"
