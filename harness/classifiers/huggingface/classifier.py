"""Any sequence- or image-classification checkpoint of transformers, from a folder or the hub.

The configuration decides what is classified and how the classes are called. Only inputs of one
shape share a batch, so nothing is ever padded: neither the padding side nor a missing pad token
can change an answer, and a batch says what each of its inputs alone would be told.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.backends.checkpoint import find, move, pick_device, quiet, said
from harness.classifiers.distribution import check_classes, prediction, top_label
from harness.classifiers.huggingface.checkpoint import (
    load_network,
    name_classes,
    read_config,
    reads_what,
)
from harness.classifiers.huggingface.preprocessing import Images, Input, Texts
from harness.classifiers.networks import evaluating
from harness.classifiers.revision import revision_of
from harness.records import HarnessError, Prediction, Sample

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = ("float64", "float32", "bfloat16", "float16")


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
      then of the kind `array`, its output a probability by class, its label the most probable class

    A single output is the log-odds of the second of two `classes`, which must be given. The
    attribute `classes` holds the names in the order of the outputs (of an output without a name in
    `id2label`, LABEL_ and its number), `revision` the SHA-256 over weights, configuration and
    tokenizer or image processor, joined by names, length, type of numbers and `multi_label` where
    they are not the checkpoint's own in float32, and `module` the network in evaluation mode.
    Images are resized and normalised as the checkpoint's own `preprocessor_config.json` says, by
    Pillow.

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
        fields.whole(self._name, 1, batch_tokens=batch_tokens)
        if max_length is not None:
            fields.whole(self._name, 1, max_length=max_length)
        if dtype is not None:
            fields.one_of(self._name, _DTYPES, dtype=dtype)
        fields.switches(self._name, multi_label=multi_label)
        checkpoint = find(model, revision)
        self.device = pick_device(self._name, device)
        self.batch_tokens, self.multi_label = batch_tokens, multi_label
        config = read_config(checkpoint, multi_label, self._name)
        reads = reads_what(config, self._name)
        if reads == "image" and max_length is not None:
            raise HarnessError(f"{self._name} reads images, which have no max_length")
        own = "float32" if self.device.type == "cpu" else config.dtype or "float32"
        with quiet():
            self.module, names, self._notes = load_network(
                checkpoint, config, reads, dtype or own, self._name
            )
            self.reader: Texts | Images = (
                Texts(checkpoint, self.module, max_length, self._name)
                if reads == "text"
                else Images(checkpoint, config, self._name)
            )
        move(self.module, self.device, self._name)
        self.single = len(names) == 1
        if self.single and multi_label:
            raise HarnessError(f"{self._name} has a single output; leave multi_label out")
        self.classes = name_classes(names, classes, self._name)
        computed = str(self.module.dtype).removeprefix("torch.")
        self.revision = revision_of(
            checkpoint.revision,
            classes=None if self.classes == check_classes(names, "") else list(self.classes),
            max_length=self.reader.shortened if isinstance(self.reader, Texts) else None,
            dtype=None if computed == "float32" else computed,
            multi_label=multi_label or None,
        )
        self._accepts = set(inspect.signature(self.module.forward).parameters)

    @property
    def notes(self) -> list[str]:
        """What a reader of the predictions should know, a sentence each: texts that were cut so
        far, outputs without a name, weights that were left unused."""
        return [*self._notes, *self.reader.notes]

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction a sample. Raises `HarnessError` for what the model does not read."""
        rows: dict[int, list[float]] = {}
        waiting: dict[tuple[Any, ...], list[Input]] = {}
        for encoded in self.reader.encode(samples):
            batch = waiting.setdefault(encoded.shape, [])
            batch.append(encoded)
            if (len(batch) + 1) * encoded.tokens > self.batch_tokens:
                rows |= self._rows(waiting.pop(encoded.shape), samples)
        for batch in waiting.values():
            rows |= self._rows(batch, samples)
        return [self._prediction(sample, rows[place]) for place, sample in enumerate(samples)]

    def _prediction(self, sample: Sample, row: list[float]) -> Prediction:
        if not self.multi_label:
            return prediction(sample.id, row, self.classes, self._name)
        if any(math.isnan(value) for value in row):
            raise HarnessError(f"{self._name}, sample '{sample.id}': the probability is nan")
        by_class = dict(zip(self.classes, row, strict=True))
        return Prediction(sample.id, top_label(by_class), kind="array", output=by_class)

    def _rows(self, batch: list[Input], samples: Sequence[Sample]) -> dict[int, list[float]]:
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
        outputs = 1 if self.single else len(self.classes)
        if tuple(logits.shape) != (len(batch), outputs):
            shape = " x ".join(map(str, logits.shape))
            raise HarnessError(
                f"{self._name} returned logits of shape {shape} for {len(batch)} samples and "
                f"{outputs} outputs"
            )
        if self.single:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        shares = logits.sigmoid() if self.multi_label else logits.softmax(dim=1)
        return {e.place: row for e, row in zip(batch, shares.cpu().tolist(), strict=True)}

    def _logits(self, batch: list[Input]) -> Tensor:
        """What the network says of inputs of one shape, float32 or better, n x outputs."""
        import torch

        given = {
            name: torch.stack([encoded.tensors[name] for encoded in batch])
            for name in batch[0].tensors
        }
        with evaluating(self.module):
            logits = self.logits(given)
        return logits if logits.dtype == torch.float64 else logits.float()

    def logits(self, given: Mapping[str, Tensor]) -> Tensor:
        """The network's own outputs, n x outputs, for tensors by name with n rows each; those that
        it does not take are left out. Mode and gradients are the caller's."""
        taken = {}
        for name in sorted(self._accepts & set(given)):
            tensor = given[name].to(self.device)
            taken[name] = tensor.to(self.module.dtype) if tensor.is_floating_point() else tensor
        found: Tensor = self.module(**taken).logits
        return found
