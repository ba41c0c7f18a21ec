"""The classifier: images in, probabilities out; and its training on any labelled images."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import fields
from harness.classifiers.distribution import prediction
from harness.classifiers.mobilecoatnet import card, data
from harness.classifiers.mobilecoatnet.weights import (
    BUILTIN,
    Configuration,
    build,
    load,
    locate,
    save,
)
from harness.classifiers.revision import revision_of
from harness.records import HarnessError, Prediction, Sample
from harness.results import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from harness.classifiers.training import Augmentation

IMAGE_SIZE = 128
"""The width and height that images are resized to where nobody says otherwise."""


class MobileCoAtNet:
    """An image classifier: inverted residuals, then relative attention, in three sizes.

    `weights` is a safetensors file that `train` wrote, or `builtin:octa`. Images, grey or colour
    and of any size, are resized to a square of `image_size` pixels, by default that of the
    training; at another size the relative-position biases are interpolated. `module` is the
    network itself, in 32 bits and evaluation mode; `revision` the SHA-256 of the weights file, and
    at another size than that of the training a hash of both. Predictions are computed by its copy
    `exact` in 64 bits, so that neither batches nor threads show in them.
    """

    def __init__(self, weights: str, image_size: int | None = None, batch_size: int = 32) -> None:
        _check_image_size(image_size)
        fields.whole("mobilecoatnet", 1, batch_size=batch_size)
        self.module, self._configuration, read = load(locate(weights))
        self.exact = copy.deepcopy(self.module).double()
        self.classes = self._configuration.classes
        own = self._configuration.image_size
        self.image_size = image_size or own
        other = None if self.image_size == own else self.image_size
        self.revision = revision_of(read, image_size=other)
        self._batch_size = batch_size

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction a sample. Raises `HarnessError` for a sample that is not one image."""
        found: list[Prediction] = []
        for start in range(0, len(samples), self._batch_size):
            batch = samples[start : start + self._batch_size]
            logits = self._logits(data.stacked(batch, self.image_size))
            rows = logits.softmax(dim=1).tolist()
            found += [
                prediction(sample.id, row, self.classes, "mobilecoatnet")
                for sample, row in zip(batch, rows, strict=True)
            ]
        return found

    def inputs(self, images: Tensor) -> Tensor:
        """What the network is given (float32) of pixels, uint8, n x 3 x height x width."""
        from harness.classifiers.training import normalised

        return normalised(images.float() / 255, self._configuration.mean, self._configuration.std)

    def _logits(self, images: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            logits: Tensor = self.exact(self.inputs(images).double())
        return logits

    @classmethod
    def train(
        cls,
        samples: Iterable[Sample],
        *,
        weights: str,
        size: str = "small",
        image_size: int | None = None,
        validation: float = 0.15,
        seed: int = 0,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        label_smoothing: float = 0.1,
        patience: int = 8,
        augmentation: Sequence[Augmentation] = ("brightness", "noise"),
    ) -> str:
        """Trains on labelled images; writes `weights` and its card beside it; says how well.

        `size` is `small`, `base` or `large`. A share `validation` of the clusters (of the samples,
        where they have none) is kept apart to stop early and to measure. The other options are
        those of `training.Recipe`; `flip` and `turn` are to be added to `augmentation` where a
        label does not depend on orientation. Raises `HarnessError` for a sample without label or
        that is not one image, for fewer than two classes, and for a class of one cluster that
        had to be held out.
        """
        from harness.classifiers.training import Recipe, fit, grouped_split, seeded

        if weights.startswith(BUILTIN) or not weights.endswith(".safetensors"):
            raise HarnessError(
                f"mobilecoatnet: training cannot write '{weights}'; name a path that ends in "
                ".safetensors"
            )
        _check_image_size(image_size)
        recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            patience=patience,
            augmentation=tuple(augmentation),
            seed=seed,
        )
        images = data.read_labelled(samples, image_size or IMAGE_SIZE)
        rows, held = grouped_split(images.labels, images.clusters, validation, seed)
        left = {images.labels[row] for row in rows}
        for name in images.classes:
            if name not in left:
                raise HarnessError(
                    f"train: every image of class '{name}' lies in a cluster that is held out, so "
                    "none is left to train on; give it more clusters"
                )
        mean, std = data.channel_statistics(images.images[rows])
        configuration = Configuration(images.classes, size, image_size or IMAGE_SIZE, mean, std)
        with seeded(seed):
            module = build(configuration)
        fitted = fit(module, images.images, images.targets, rows, held, mean, std, recipe)
        revision = save(Path(weights), module, configuration)
        # Measured on the file as it will be used, with its matrices rounded.
        accuracy = cls(weights)._balanced_accuracy(images, held)
        training = card.Training(
            configuration=configuration,
            recipe=recipe,
            fitted=fitted,
            data=images,
            train=len(rows),
            valid=len(held),
            parameters=card.parameter_count(module),
            sha256=revision,
            bytes=Path(weights).stat().st_size,
            accuracy=accuracy,
        )
        Path(weights).with_suffix(".md").write_text(card.markdown(training), encoding="utf-8")
        return (
            f"{weights}: balanced accuracy {card.shown(accuracy)} on {len(held):,} images held out "
            f"of {len(images.labels):,}, best of {fitted.epochs} epochs {fitted.best_epoch}"
        )

    def _balanced_accuracy(self, images: data.LabelledImages, rows: NDArray[np.int64]) -> Estimate:
        """Over these rows, with an interval by cluster."""
        import torch

        from harness.stats import calibration

        told = [
            self.classes[place]
            for part in torch.split(torch.as_tensor(rows), self._batch_size)
            for place in self._logits(images.images[part]).argmax(dim=1).tolist()
        ]
        return calibration.balanced_accuracy(
            [images.labels[row] for row in rows],
            told,
            self.classes,
            [images.clusters[row] for row in rows],
        )


def _check_image_size(image_size: int | None) -> None:
    if image_size is not None:
        fields.whole("mobilecoatnet", 32, image_size=image_size)
