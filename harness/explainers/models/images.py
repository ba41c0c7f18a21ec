"""Image classifiers, on the pixels as the network is given them: resized and normalised."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.classifiers.huggingface.preprocessing import Images
from harness.classifiers.networks import evaluating
from harness.explainers.models.model import Scale
from harness.explainers.models.networks import differentiating
from harness.explainers.models.reading import ArrayPart, Removal, Size
from harness.identity import digest
from harness.images import classifier_input, png_medium
from harness.records import HarnessError, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from harness.classifiers.huggingface import HuggingFace
    from harness.classifiers.mobilecoatnet import MobileCoAtNet

Extent = tuple[float, float, float, float]

# The blur that stands for a removed patch: 10 pixels at 224, as in Fong & Vedaldi 2017
# (Interpretable explanations of black boxes by meaningful perturbation, section 4).
_BLUR = 10 / 224
# What an image weighs against the token budget: a token for each 16 x 16 pixels, as in ViT.
_PATCH = 16 * 16


@dataclass(frozen=True, eq=False)
class PixelReading:
    """An image as height x width x channels, and what removed pixels become."""

    sample: str
    input: str
    parts: tuple[ArrayPart]
    fixed: NDArray[np.bool_]
    filler: NDArray[Any]
    notes: tuple[str, ...] = ()

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """Images of one size share a batch."""
        return [Size(self.parts[0].array.shape, max(1, kept.shape[1] // _PATCH))] * len(kept)

    def left(self, kept: NDArray[np.bool_]) -> NDArray[Any]:
        """Pixels, height x width x channels."""
        import numpy as np

        array = self.parts[0].array
        return np.where(kept.reshape(array.shape[:-1])[..., np.newaxis], array, self.filler)


class PixelModel:
    """A network of images. `prepare` gives a sample's pixels, `network` the logits of a batch
    (n x channels x height x width); `module` is what has weights and modes."""

    scale: Scale = "softmax"

    def __init__(
        self, name: str, module: Any, columns: Sequence[str], revision: str, tokens: int
    ) -> None:
        self.name, self.module, self._classes = name, module, columns
        self.revision, self.tokens = revision, tokens

    def prepare(self, sample: Sample) -> NDArray[Any]:
        """The sample's pixels as the network takes them, height x width x channels."""
        raise NotImplementedError

    def extent(self, sample: Sample) -> Extent | None:  # noqa: ARG002  the image itself
        """What of the sample's image its pixels show, as in `harness.records.Segmentation`."""
        return None

    def network(self, images: Tensor) -> Tensor:
        """Logits of n x channels x height x width pixels."""
        raise NotImplementedError

    def read(self, sample: Sample, removal: Removal) -> PixelReading:
        """The pixels of an image; a baseline counts as the picture does, from 0 to 255, and is
        prepared as it is. Raises `HarnessError` where pixels would have to be deleted, and for a
        baseline that is no picture of its size."""
        import numpy as np

        array = self.prepare(sample)
        fixed = np.zeros(array.shape[0] * array.shape[1], dtype=bool)
        if removal.kind == "baseline":
            shape = classifier_input(sample).shape
            picture = own_picture(shape, removal.baseline, f"sample '{sample.id}'")
            filler = self.prepare(_painted(sample, picture))
        else:
            filler = fill(array, removal, f"sample '{sample.id}'")
        part = ArrayPart(array, extent=self.extent(sample))
        return PixelReading(sample.id, digest(sample.input), (part,), fixed, filler)

    def columns(self, reading: PixelReading) -> Sequence[str]:  # noqa: ARG002  the same for all
        """The classes."""
        return self._classes

    def outputs(self, left: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Logits, rows x classes."""
        import numpy as np
        import torch

        images = torch.from_numpy(np.stack(left)).permute(0, 3, 1, 2)
        with evaluating(self.module):
            found: NDArray[np.float64] = self.network(images).double().cpu().numpy()
        return found

    # --- gradients ------------------------------------------------------------------------

    def point(self, reading: PixelReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The pixels, pixels x channels."""
        import torch

        array = reading.parts[0].array if kept is None else reading.left(kept)
        return torch.from_numpy(array.reshape(-1, array.shape[-1]))

    def forward(self, readings: Sequence[PixelReading], points: Tensor) -> Tensor:
        """Logits of points x pixels x channels."""
        height, width, channels = readings[0].parts[0].array.shape
        shaped = points.reshape(len(points), height, width, channels)
        return self.network(shaped.permute(0, 3, 1, 2))

    def shape(self, reading: PixelReading) -> tuple[tuple[int, ...], int]:
        """Readings of one shape share a batch of gradients; and what one of them costs."""
        array = reading.parts[0].array
        return array.shape, max(1, len(reading.fixed) // _PATCH)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode, with gradients of inputs alone."""
        return differentiating(self.module)


class HuggingFacePixels(PixelModel):
    """An image classifier of transformers."""

    def __init__(self, classifier: HuggingFace) -> None:
        name = f"classifier '{type(classifier.module).__name__}'"
        super().__init__(
            name, classifier.module, classifier.classes, classifier.revision,
            classifier.batch_tokens,
        )  # fmt: skip
        self._classifier = classifier
        self.scale = "sigmoid" if classifier.multi_label or classifier.single else "softmax"

    def prepare(self, sample: Sample) -> NDArray[Any]:
        import numpy as np

        (encoded,) = self._classifier.reader.encode([sample])
        others = sorted(set(encoded.tensors) - {"pixel_values"})
        if others:
            raise HarnessError(
                f"{self.name} also takes {', '.join(others)}, which cannot be changed along with "
                "the pixels"
            )
        pixels = encoded.tensors["pixel_values"].permute(1, 2, 0)
        array: NDArray[Any] = np.ascontiguousarray(pixels.numpy())
        return array

    def extent(self, sample: Sample) -> Extent | None:
        reader = self._classifier.reader
        return reader.extent(sample) if isinstance(reader, Images) else None

    def network(self, images: Tensor) -> Tensor:
        import torch

        logits = self._classifier.logits({"pixel_values": images})
        return torch.cat([-logits, logits], dim=1) if self._classifier.single else logits


class MobileCoAtNetPixels(PixelModel):
    """The project's own image classifier, in 64 bits as it predicts."""

    def __init__(self, classifier: MobileCoAtNet) -> None:
        tokens = 32 * max(1, classifier.image_size**2 // _PATCH)
        super().__init__(
            "classifier 'mobilecoatnet'", classifier.exact, classifier.classes,
            classifier.revision, tokens,
        )  # fmt: skip
        self._classifier = classifier

    def prepare(self, sample: Sample) -> NDArray[Any]:
        from harness.classifiers.mobilecoatnet.data import stacked

        images = stacked([sample], self._classifier.image_size)
        array: NDArray[Any] = (
            self._classifier.inputs(images)[0].double().permute(1, 2, 0).contiguous().numpy()
        )
        return array

    def network(self, images: Tensor) -> Tensor:
        logits: Tensor = self.module(images)
        return logits


def own_picture(shape: tuple[int, ...], baseline: Any, where: str) -> NDArray[np.uint8]:
    """The picture that a baseline is: uint8, of the sample's `shape`, height x width x 3.

    A number, one number a channel, or an array of the picture's size, from 0 to 255; rounded, as
    pictures hold whole numbers. Raises `HarnessError` for anything else.
    """
    import numpy as np

    try:
        given = np.asarray(
            baseline.detach().cpu() if hasattr(baseline, "detach") else baseline, dtype=np.float64
        )
        levels = np.broadcast_to(given, shape)
    except (TypeError, ValueError) as error:
        raise HarnessError(
            f"{where}: the baseline must be a number, one number a channel, or an array of "
            f"{' x '.join(map(str, shape))}, from 0 to 255 as in the picture"
        ) from error
    if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 255):
        raise HarnessError(
            f"{where}: a baseline counts from 0 to 255 as the picture does, and this one goes "
            f"from {levels.min():.4g} to {levels.max():.4g}"
        )
    return np.round(levels).astype(np.uint8)


def _painted(sample: Sample, picture: NDArray[np.uint8]) -> Sample:
    from PIL import Image

    return replace(sample, input=(Part(media=png_medium(Image.fromarray(picture))),))


def fill(array: NDArray[Any], removal: Removal, where: str) -> NDArray[Any]:
    """What removed pixels become: an array like `array` (height x width x channels).

    A baseline is in the array's own units. Raises `HarnessError` for a baseline of another shape,
    and where pixels would be deleted.
    """
    import numpy as np

    if removal.kind == "delete":
        raise HarnessError(
            f"{where} is an image, of which nothing can be deleted; use removal mask or a baseline"
        )
    if removal.kind == "mask":
        from scipy.ndimage import gaussian_filter

        sigma = _BLUR * max(array.shape[:2])
        blurred = gaussian_filter(array.astype(np.float64), (sigma, sigma, 0), mode="nearest")
        found: NDArray[Any] = blurred.astype(array.dtype)
        return found
    try:
        given = np.asarray(removal.baseline, dtype=np.float64)
        return np.broadcast_to(given, array.shape).astype(array.dtype)
    except (TypeError, ValueError) as error:
        raise HarnessError(
            f"{where}: the baseline must be a number, one number a channel, or an array of "
            f"{' x '.join(map(str, array.shape))}, as the classifier is given it"
        ) from error
