"""Samples become tensors of pixels, for training and for prediction alike."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.classifiers.inputs import image_of
from harness.images import load_array
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """What is trained on: `images` uint8, n x 3 x size x size; `targets` places in `classes`."""

    images: Tensor
    targets: Tensor
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    clusters: tuple[Hashable, ...]

    @property
    def sha256(self) -> str:
        """The hash of pixels and labels, in their order."""
        hashed = hashlib.sha256("\n".join(self.labels).encode())
        hashed.update(self.images.numpy().tobytes())
        return hashed.hexdigest()


def read_labelled(samples: Iterable[Sample], size: int) -> LabelledImages:
    """All samples at this size, one image in memory at a time; a sample without cluster is its own.

    The classes are the labels in alphabetical order. Raises `HarnessError` for a sample without
    label or that is not one image, and for fewer than two classes.
    """
    import torch

    images: list[Tensor] = []
    labels: list[str] = []
    clusters: list[Hashable] = []
    for index, sample in enumerate(samples):
        if sample.label is None:
            raise HarnessError(
                f"train: sample '{sample.id}' has no label; give it one or leave it out"
            )
        images.append(pixels(sample, size))
        labels.append(sample.label)
        clusters.append(("sample", index) if sample.cluster is None else sample.cluster)
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise HarnessError(
            f"train: {len(labels)} samples of {len(classes)} class; a classifier needs two or more"
        )
    targets = torch.tensor([classes.index(label) for label in labels])
    return LabelledImages(torch.stack(images), targets, classes, tuple(labels), tuple(clusters))


def pixels(sample: Sample, size: int) -> Tensor:
    """A sample's one image, uint8, 3 x size x size.

    Smaller by area averaging, as generated images are made smaller, so an image given at another
    size differs little; larger by bilinear interpolation. Raises `HarnessError` for a sample that
    is not one image.
    """
    import numpy as np
    import torch
    from PIL import Image

    array = load_array(image_of(sample, "mobilecoatnet"))
    if array.shape[:2] != (size, size):
        shrinks = min(array.shape[:2]) >= size
        filter_ = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        array = np.array(Image.fromarray(array).resize((size, size), filter_))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def stacked(samples: Sequence[Sample], size: int) -> Tensor:
    """The images of several samples, uint8, n x 3 x size x size."""
    import torch

    return torch.stack([pixels(sample, size) for sample in samples])


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (at least 1 / 255) a channel, of values in [0, 1].

    `images` is uint8, n x 3 x height x width.
    """
    import torch

    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([images[:, c].flatten().bincount(minlength=256) for c in range(3)])
    shares = counts.double() / counts.sum(dim=1, keepdim=True)
    mean = shares @ levels
    std = ((shares @ levels**2) - mean**2).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
