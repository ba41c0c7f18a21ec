"""Any sequence- or image-classification checkpoint of transformers, from a folder or the hub.

The configuration decides what is classified and how the classes are called. Only inputs of one
shape share a batch, so nothing is ever padded: neither the padding side nor a missing pad token
can change an answer, and a batch says what each of its inputs alone would be told.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.backends.checkpoint import Checkpoint, find, said
from harness.classifiers.distribution import (
    check_classes,
    check_distribution,
    prediction,
    same_classes,
    top_label,
)
from harness.classifiers.functions import _evaluating
from harness.images import load_array
from harness.records import HarnessError, Prediction, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_DTYPES = ("float64", "float32", "bfloat16", "float16")
# What an image weighs against the token budget: a token for each 16 x 16 pixels, as in ViT.
_PATCH = 16 * 16


class HuggingFace:
    """A classifier of texts or of images, run by transformers on this machine.

    - `model`: a folder, or a name on the hub; weights must be safetensors
    - `revision`: branch, tag or commit of a hub model
    - `classes`: the names of the classes. Where the checkpoint has names of its own, these are
      matched by name, in any order; where its outputs are only called LABEL_0, LABEL_1, ..., they
      are given these names in the order of the outputs
    - `batch_tokens`: most tokens in a batch; an image counts one for each 16 x 16 pixels
    - `max_length`: most tokens that are read of a text, special ones counted; as many as the
      tokenizer allows and the model has positions for unless given
    - `device`: `cpu`, `cuda`, `cuda:1`, ...
    - `dtype`: `float64`, `float32`, `bfloat16` or `float16`; float32 on a CPU, else the
      checkpoint's own. With float64 not even rounding shows in what batch a sample was
    - `multi_label`: the outputs are independent of each other (a sigmoid each). A prediction is
      then of the kind `array`, a probability a class, and its label is the most probable

    A single output is the log-odds of the second of two `classes`, which must be given. The
    attribute `classes` holds the names in the order of the outputs (of an output without a name in
    `id2label`, LABEL_ and its number), `revision` the SHA-256 over weights, configuration and
    tokenizer or image processor, and `module` the network in evaluation mode. Images are resized
    and normalised as the checkpoint's own `preprocessor_config.json` says, by Pillow.

    Raises `HarnessError` for a checkpoint that cannot be had or read, that needs code of its own,
    whose weights do not fill its architecture, that is no classifier, or that was trained for
    regression; for one with several labels at once unless `multi_label` is set; and for a field
    that cannot be right.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        classes: Sequence[str] | None = None,
        batch_tokens: int = 4096,
        max_length: int | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        multi_label: bool = False,
    ) -> None:
        self._name = f"classifier '{model}'"
        for field, value in (("batch_tokens", batch_tokens), ("max_length", max_length)):
            if value is not None and (type(value) is not int or value < 1):
                raise HarnessError(
                    f"{self._name}: {field} is a whole number of at least 1, not {value!r}"
                )
        if dtype is not None and dtype not in _DTYPES:
            raise HarnessError(f"{self._name}: dtype is one of {', '.join(_DTYPES)}, not {dtype!r}")
        checkpoint = find(model, revision)
        self.revision = checkpoint.revision
        self._device = _device(device, self._name)
        self._batch_tokens, self._multi_label = batch_tokens, multi_label
        config = _config(checkpoint, self._name)
        _check_problem(config, multi_label, self._name)
        reads = _reads(config, self._name)
        if reads == "image" and max_length is not None:
            raise HarnessError(f"{self._name} reads images, which have no max_length")
        own = "float32" if self._device.type == "cpu" else config.dtype or "float32"
        with _quiet():
            self.module, names, self._notes = _network(
                checkpoint, config, reads, dtype or own, self._name
            )
            self._reader: _Texts | _Images = (
                _Texts(checkpoint, self.module, max_length, self._name)
                if reads == "text"
                else _Images(checkpoint, config, self._name)
            )
        self.module.to(self._device)
        self._single = len(names) == 1
        if self._single and multi_label:
            raise HarnessError(f"{self._name} has a single output; leave multi_label out")
        self.classes = _classes(names, classes, self._name)
        self._accepts = set(inspect.signature(self.module.forward).parameters)

    @property
    def notes(self) -> list[str]:
        """What a reader of the predictions should know, a sentence each: texts that were cut so
        far, outputs without a name, weights that were left unused."""
        return [*self._notes, *self._reader.notes]

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction a sample. Raises `HarnessError` for what the model does not read."""
        rows: dict[int, list[float]] = {}
        waiting: dict[tuple[Any, ...], list[_Input]] = {}
        for encoded in self._reader.encode(samples):
            batch = waiting.setdefault(encoded.shape, [])
            batch.append(encoded)
            if (len(batch) + 1) * encoded.tokens > self._batch_tokens:
                rows |= self._rows(waiting.pop(encoded.shape), samples)
        for batch in waiting.values():
            rows |= self._rows(batch, samples)
        return [self._prediction(sample, rows[place]) for place, sample in enumerate(samples)]

    def _prediction(self, sample: Sample, row: list[float]) -> Prediction:
        where = f"{self._name}, sample '{sample.id}'"
        if not self._multi_label:
            return prediction(sample.id, check_distribution(row, self.classes, where))
        if any(value != value for value in row):
            raise HarnessError(f"{where}: the probability is nan")
        top = top_label(dict(zip(self.classes, row, strict=True)))
        return Prediction(sample.id, top, kind="array", output=row)

    def _rows(self, batch: list[_Input], samples: Sequence[Sample]) -> dict[int, list[float]]:
        """Probabilities in the order of `classes`, by the place of the sample."""
        import torch

        try:
            logits = self._logits(batch)
        except Exception as error:  # an id without an embedding, an image too small, memory
            first, last = samples[batch[0].place].id, samples[batch[-1].place].id
            raise HarnessError(
                f"{self._name} failed on the samples '{first}' to '{last}': "
                f"{type(error).__name__}: {said(error)}"
            ) from error
        outputs = 1 if self._single else len(self.classes)
        if tuple(logits.shape) != (len(batch), outputs):
            shape = " x ".join(map(str, logits.shape))
            raise HarnessError(
                f"{self._name} returned logits of shape {shape} for {len(batch)} samples and "
                f"{outputs} outputs"
            )
        if self._single:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        shares = logits.sigmoid() if self._multi_label else logits.softmax(dim=1)
        return {e.place: row for e, row in zip(batch, shares.cpu().tolist(), strict=True)}

    def _logits(self, batch: list[_Input]) -> Tensor:
        """What the network says of inputs of one shape, float32 or better, n x outputs."""
        import torch

        given = {}
        for name in self._accepts & set(batch[0].tensors):
            stacked = torch.stack([encoded.tensors[name] for encoded in batch]).to(self._device)
            given[name] = stacked.to(self.module.dtype) if stacked.is_floating_point() else stacked
        with _evaluating(self.module), torch.no_grad():
            logits: Tensor = self.module(**given).logits
        return logits if logits.dtype == torch.float64 else logits.float()


# --- inputs -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Input:
    """One sample as the network takes it, without a batch dimension."""

    place: int
    tokens: int
    tensors: Mapping[str, Tensor]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for inputs that can share a batch."""
        return tuple((name, tuple(value.shape)) for name, value in self.tensors.items())


class _Texts:
    """Texts become token ids, cut where the model has no more positions."""

    def __init__(
        self, checkpoint: Checkpoint, network: Any, max_length: int | None, name: str
    ) -> None:
        self._name = name
        self._tokenizer = _tokenizer(checkpoint, name)
        self._limit = _limit(network, self._tokenizer, max_length, name)
        self._cut: dict[str, int] = {}

    @property
    def notes(self) -> list[str]:
        """How many texts were cut, and where."""
        if not self._cut:
            return []
        longest = max(self._cut, key=self._cut.__getitem__)
        texts = "one text" if len(self._cut) == 1 else f"{len(self._cut):,} texts"
        return [
            f"{self._name} reads {self._limit} tokens of a text: the end of {texts} was not read "
            f"(the longest, '{longest}', has {self._cut[longest]:,})"
        ]

    def encode(self, samples: Sequence[Sample]) -> Iterator[_Input]:
        """The samples in their order. Raises `HarnessError` for what is not text alone."""
        import torch

        for sample in samples:
            if sample.media or not sample.input:
                raise HarnessError(f"{self._name} classifies texts, and '{sample.id}' is none")
        for place, sample in enumerate(samples):
            encoded = self._encoded(sample)
            if not encoded["input_ids"]:
                raise HarnessError(
                    f"{self._name}: the text of sample '{sample.id}' is empty; leave it out"
                )
            tensors = {name: torch.tensor(ids) for name, ids in encoded.items()}
            yield _Input(place, len(encoded["input_ids"]), tensors)

    def _encoded(self, sample: Sample) -> dict[str, list[int]]:
        try:
            encoded = self._tokenizer(sample.text, verbose=False)
            length = len(encoded["input_ids"])
            if self._limit is not None and length > self._limit:
                self._cut[sample.id] = length
                encoded = self._tokenizer(
                    sample.text, truncation=True, max_length=self._limit, verbose=False
                )
        except Exception as error:  # tokenizers raise on text that is no Unicode, among others
            raise HarnessError(
                f"{self._name}: the text of sample '{sample.id}' cannot be tokenised: {said(error)}"
            ) from error
        return dict(encoded)


class _Images:
    """Images become tensors as the checkpoint's own processor makes them, without torchvision."""

    notes: tuple[str, ...] = ()

    def __init__(self, checkpoint: Checkpoint, config: Any, name: str) -> None:
        from transformers import AutoImageProcessor

        self._name = name
        self._grey = getattr(config, "num_channels", 3) == 1
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

    def encode(self, samples: Sequence[Sample]) -> Iterator[_Input]:
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
            yield _Input(place, max(1, height * width // _PATCH), tensors)

    def _array(self, sample: Sample) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image

        media = sample.media
        if len(sample.input) != 1 or not media or not media[0].mime.startswith("image/"):
            raise HarnessError(
                f"{self._name} classifies images, and '{sample.id}' is not one image"
            )
        array = load_array(media[0])
        if not self._grey:
            return array
        return np.array(Image.fromarray(array).convert("L"), dtype=np.uint8)[:, :, np.newaxis]


# --- checkpoint ---------------------------------------------------------------------------


def _config(checkpoint: Checkpoint, name: str) -> Any:
    """The configuration, whose `id2label` has whole numbers for keys, in any order."""
    from transformers import AutoConfig

    try:
        with _quiet():
            # Asked for code of the checkpoint's own, transformers would wait for an answer.
            config = AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise HarnessError(f"{name} needs code of its own, which is never run here") from error
        raise HarnessError(f"the configuration of {name} cannot be read: {said(error)}") from error
    first = min(config.id2label, default=0)
    if first < 0:
        raise HarnessError(f"the configuration of {name} names an output {first} in id2label")
    return config


def _check_problem(config: Any, multi_label: bool, name: str) -> None:
    if config.problem_type == "regression":
        raise HarnessError(f"{name} was trained for regression: it says a number and no class")
    if config.problem_type == "multi_label_classification" and not (
        multi_label or len(config.id2label) == 1
    ):
        raise HarnessError(
            f"{name} was trained to give several labels at once, so its outputs are no "
            "distribution; set multi_label: true to have each by itself"
        )


def _reads(config: Any, name: str) -> Literal["text", "image"]:
    """What a checkpoint classifies, by its architecture; without one, by its model type."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as IMAGE_TYPES,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as TEXT_TYPES,
    )

    architecture = (config.architectures or [""])[0]
    text = "ForSequenceClassification" in architecture
    image = "ForImageClassification" in architecture
    if not architecture:
        text, image = config.model_type in TEXT_TYPES, config.model_type in IMAGE_TYPES
    if text == image:
        raise HarnessError(
            f"{name} is a {architecture or config.model_type}, which is no sequence or image "
            "classifier; name a checkpoint that was trained to classify"
        )
    return "text" if text else "image"


def _network(
    checkpoint: Checkpoint, config: Any, reads: str, dtype: Any, name: str
) -> tuple[Any, tuple[str, ...], list[str]]:
    """The network in evaluation mode, the names of its outputs, and what is to be noted.

    `id2label` may leave outputs without a name, between its names or behind them: the weights
    tell how many outputs there are.
    """
    named = dict(config.id2label)
    outputs = max(named, default=0) + 1
    network, loading = _loaded(checkpoint, config, reads, dtype, outputs, name)
    found = {
        there[0]
        for _, there, here in loading["mismatched_keys"]
        if there and here and here[0] == outputs and there[1:] == here[1:]
    }
    if len(found) == 1 and outputs < min(found):
        outputs = found.pop()
        network, loading = _loaded(checkpoint, config, reads, dtype, outputs, name)
    if loading["mismatched_keys"]:
        key, there, here = min(loading["mismatched_keys"], key=str)
        raise HarnessError(
            f"the weights of {name} do not fit its configuration, which names {outputs} outputs: "
            f"{key} has the shape {_shape(there)} instead of {_shape(here)}"
        )
    lacking, unused = sorted(loading["missing_keys"]), sorted(loading["unexpected_keys"])
    if lacking:
        raise HarnessError(
            f"the weights of {name} lack {len(lacking)} tensors of its architecture, {lacking[0]} "
            "among them; the predictions would be noise"
        )
    notes = []
    nameless = [f"LABEL_{number}" for number in range(outputs) if number not in named]
    if nameless and any(named[number] != f"LABEL_{number}" for number in named):
        notes.append(
            f"{name} has {outputs} outputs, of which its id2label names {len(named)}; the others "
            f"are called {', '.join(nameless)}"
        )
    if unused:
        notes.append(
            f"{name}: {len(unused)} tensors of the weights have no place in its architecture, "
            f"{unused[0]} among them"
        )
    if reads == "text" and config.get_text_config().pad_token_id is None:
        # GPT-like classifiers answer from the last token that is no padding and refuse a batch
        # without such a token. No batch here is padded, so none of its ids may count as padding.
        network.config.get_text_config().pad_token_id = -1
    names = tuple(str(named.get(number, f"LABEL_{number}")) for number in range(outputs))
    return network.eval(), names, notes


def _loaded(
    checkpoint: Checkpoint, config: Any, reads: str, dtype: Any, outputs: int, name: str
) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    auto: Any = (
        AutoModelForSequenceClassification if reads == "text" else AutoModelForImageClassification
    )
    config.id2label = {number: f"LABEL_{number}" for number in range(outputs)}
    try:
        return auto.from_pretrained(  # type: ignore[no-any-return]
            checkpoint.folder,
            config=config,
            dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # these are looked at by the caller
            output_loading_info=True,
        )
    except Exception as error:  # a cut-off file, an unknown architecture, a missing package
        raise HarnessError(f"{name} cannot be loaded: {said(error)}") from error


def _classes(own: tuple[str, ...], given: Sequence[str] | None, name: str) -> tuple[str, ...]:
    """The names of the classes in the order of the outputs; of a single output, no and yes."""
    if len(own) == 1:
        if given is None or len(given) != 2:
            raise HarnessError(
                f"{name} has a single output; if it is the log-odds of the second of two classes, "
                "name both as 'classes'"
            )
        return check_classes(given, name)
    generic = own == tuple(f"LABEL_{number}" for number in range(len(own)))
    if given is None or not generic or set(given) == set(own):
        return same_classes(own, given, name)
    if len(given) != len(own):
        raise HarnessError(f"{name} has {len(own)} outputs, but {len(given)} classes are given")
    return check_classes(given, name)


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


def _device(device: str, name: str) -> Any:
    import torch

    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise HarnessError(
            f"{name}: the device '{device}' cannot be used: {said(error)}"
        ) from error
    return picked


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no reports of transformers for the block; what matters is raised or noted."""
    from transformers.utils import logging

    hidden: Any = logging
    verbosity, bars = hidden.get_verbosity(), hidden.is_progress_bar_enabled()
    hidden.set_verbosity(hidden.CRITICAL)
    hidden.disable_progress_bar()
    try:
        yield
    finally:
        hidden.set_verbosity(verbosity)
        if bars:
            hidden.enable_progress_bar()
