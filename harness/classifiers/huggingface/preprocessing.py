"""Samples become what a network takes: token ids cut to its positions, or normalised pixels.

Nothing is padded: each sample is prepared by itself, and its shape says what can share its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.backends.checkpoint import Checkpoint, said
from harness.classifiers.inputs import image_of, text_of
from harness.images import load_array
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

# What an image weighs against the token budget: a token for each 16 x 16 pixels, as in ViT.
_PATCH = 16 * 16


@dataclass(frozen=True, eq=False)
class Input:
    """One sample as the network takes it, without a batch dimension."""

    place: int
    tokens: int
    tensors: Mapping[str, Tensor]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for inputs that can share a batch."""
        return tuple((name, tuple(value.shape)) for name, value in self.tensors.items())


class Texts:
    """Texts become token ids, cut where the model has no more positions."""

    def __init__(
        self, checkpoint: Checkpoint, network: Any, max_length: int | None, name: str
    ) -> None:
        self._name = name
        self.tokenizer = _tokenizer(checkpoint, name)
        self.limit = _limit(network, self.tokenizer, max_length, name)
        whole = _limit(network, self.tokenizer, None, name)
        self.shortened = None if self.limit == whole else self.limit
        self._cut: dict[str, int] = {}

    @property
    def notes(self) -> list[str]:
        """How many texts were cut, and where."""
        if not self._cut:
            return []
        longest = max(self._cut, key=self._cut.__getitem__)
        texts = "one text" if len(self._cut) == 1 else f"{len(self._cut):,} texts"
        return [
            f"{self._name} reads {self.limit} tokens of a text: the end of {texts} was not read "
            f"(the longest, '{longest}', has {self._cut[longest]:,})"
        ]

    def encode(self, samples: Sequence[Sample]) -> Iterator[Input]:
        """The samples in their order. Raises `HarnessError` for what is not text alone."""
        import torch

        texts = [text_of(sample, self._name) for sample in samples]
        for place, (sample, text) in enumerate(zip(samples, texts, strict=True)):
            encoded = self._encoded(sample.id, text)
            if not encoded["input_ids"]:
                raise HarnessError(
                    f"{self._name}: the text of sample '{sample.id}' is empty; leave it out"
                )
            tensors = {name: torch.tensor(ids) for name, ids in encoded.items()}
            yield Input(place, len(encoded["input_ids"]), tensors)

    def _encoded(self, sample: str, text: str) -> dict[str, list[int]]:
        try:
            encoded = self.tokenizer(text, verbose=False)
            length = len(encoded["input_ids"])
            if self.limit is not None and length > self.limit:
                self._cut[sample] = length
                encoded = self.tokenizer(
                    text, truncation=True, max_length=self.limit, verbose=False
                )
        except Exception as error:  # tokenizers raise on text that is no Unicode, among others
            raise HarnessError(
                f"{self._name}: the text of sample '{sample}' cannot be tokenised: {said(error)}"
            ) from error
        return dict(encoded)


class Images:
    """Images become tensors as the checkpoint's own processor makes them, without torchvision."""

    notes: tuple[str, ...] = ()

    def __init__(self, checkpoint: Checkpoint, config: Any, name: str) -> None:
        from transformers import AutoImageProcessor

        self._name = name
        self._grey = getattr(config, "num_channels", 3) == 1
        self._extents: dict[tuple[int, ...], tuple[float, float, float, float] | None] = {}
        auto: Any = AutoImageProcessor
        try:
            self._processor = auto.from_pretrained(
                checkpoint.folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # no such file, or a processor that needs what is not installed
            raise HarnessError(
                f"the image processor of {name} cannot be loaded, so there is no saying how large "
                f"and how bright its images must be: {said(error)}"
            ) from error

    def encode(self, samples: Sequence[Sample]) -> Iterator[Input]:
        """The samples in their order. Raises `HarnessError` for what is not one image."""
        for place, sample in enumerate(samples):
            array = self._array(sample)
            try:
                # Without the format, an image three pixels high is taken for its channels.
                encoded = self._processor(
                    [array], return_tensors="pt", input_data_format="channels_last"
                )
            except Exception as error:
                raise HarnessError(
                    f"{self._name}: the image of sample '{sample.id}' cannot be prepared: "
                    f"{said(error)}"
                ) from error
            tensors = {name: tensor[0] for name, tensor in encoded.items()}
            height, width = encoded["pixel_values"].shape[-2:]
            yield Input(place, max(1, height * width // _PATCH), tensors)

    def extent(self, sample: Sample) -> tuple[float, float, float, float] | None:
        """What of a sample's image its tensor shows: top, left, bottom, right as shares of it.

        Processors cut edges off and add borders, each by rules of its own. So a brightness that
        rises along the image is sent through, and where it arrives says what became of the image.
        `None` where the tensor shows the image and nothing else, to a hundredth.
        """
        shape = self._array(sample).shape
        if shape not in self._extents:
            self._extents[shape] = self._measured(shape)
        return self._extents[shape]

    def _measured(self, shape: tuple[int, ...]) -> tuple[float, float, float, float] | None:
        import numpy as np

        def sent(levels: NDArray[np.float64]) -> NDArray[np.float64]:
            image = np.broadcast_to(np.rint(255 * levels), shape).astype(np.uint8)
            encoded = self._processor(
                [image], return_tensors="pt", input_data_format="channels_last"
            )
            found: NDArray[np.float64] = encoded["pixel_values"][0].double().mean(dim=0).numpy()
            return found

        black, white = (sent(np.full((1, 1, 1), level)) for level in (0.0, 1.0))
        shown = np.abs(white - black) > 0.5 * np.abs(white - black).max()  # the rest is a border
        ends = []
        for axis in (0, 1):
            along = (np.arange(shape[axis]) + 0.5) / shape[axis]
            ramp = along.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            levels = np.full(black.shape, np.nan)
            levels[shown] = ((sent(ramp) - black)[shown]) / (white - black)[shown]
            places = np.argwhere(shown)[:, axis] + 0.5
            if np.ptp(places) == 0:
                return None
            slope, start = np.polyfit(places, levels[shown], 1)
            ends.append((float(start), float(start + slope * black.shape[axis])))
        (top, bottom), (left, right) = ends
        found = (top, left, bottom, right)
        whole = np.allclose(found, (0, 0, 1, 1), atol=0.01)
        return None if whole else found

    def _array(self, sample: Sample) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image

        array = load_array(image_of(sample, self._name))
        if not self._grey:
            return array
        return np.array(Image.fromarray(array).convert("L"), dtype=np.uint8)[:, :, np.newaxis]


def _tokenizer(checkpoint: Checkpoint, name: str) -> Any:
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    try:
        tokenizer = auto.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # a missing file, a missing package, a format unknown to it
        raise HarnessError(f"the tokenizer of {name} cannot be loaded: {said(error)}") from error
    # Without a vocabulary transformers makes one of special tokens alone and knows no word.
    files = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if tokenizer.is_fast and not any((checkpoint.folder / file).is_file() for file in files):
        raise HarnessError(
            f"{name} has no tokenizer: none of {', '.join(sorted(files))} lies beside its weights"
        )
    return tokenizer


def _limit(network: Any, tokenizer: Any, max_length: int | None, name: str) -> int | None:
    """How many tokens of a text are read, special ones counted; `None` where nothing limits it."""
    special = tokenizer.num_special_tokens_to_add()
    positions = _positions(network)
    if max_length is None:
        known = [n for n in (positions, int(tokenizer.model_max_length)) if n is not None]
        # Tokenizers that know no limit state 10 ** 30.
        return min((n for n in known if n < 10**9), default=None)
    if positions is not None and max_length > positions:
        raise HarnessError(
            f"{name}: max_length is {max_length}, but the model has {positions} positions"
        )
    if max_length <= special:
        raise HarnessError(
            f"{name}: max_length must be more than its {special} special tokens, not {max_length}"
        )
    return max_length


def _positions(network: Any) -> int | None:
    """How many tokens the network can take.

    RoBERTa and its kin begin to count behind the number of their pad token, so the last few of
    `max_position_embeddings` are never reached.
    """
    import torch

    for module_name, part in network.named_modules():
        if module_name.endswith(".position_embeddings") and isinstance(part, torch.nn.Embedding):
            skipped = 0 if part.padding_idx is None else part.padding_idx + 1
            return part.num_embeddings - skipped
    stated = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None
