"""The residual stream of a transformer, and what the rest of the network makes of it.

The rest is the network itself with its layers left out: what stands in the stream behind a layer
takes the last layer's place, so that final norm, pooler, head and the choice of the position that
is read are the model's own, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.modules import first_tensor, left_alone
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.images import HuggingFacePixels
from harness.explainers.models.model import Model
from harness.explainers.models.reading import Reading, Removal
from harness.explainers.models.text import TokenModel
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    from torch import Tensor

Lensed = LanguageModel | TokenModel | HuggingFacePixels
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, eq=False)
class Stream:
    """One sample's way through a transformer.

    `residuals` are what stands before the first layer and behind each (1 x tokens x width);
    `layers` are called `embeddings` and by the names of the modules; `final` is what the model says
    (positions x columns), on its own scale.
    """

    reading: Reading
    layers: tuple[str, ...]
    residuals: tuple[Tensor, ...]
    final: Tensor
    _blocks: tuple[Any, ...]
    _last: Any  # what the last layer said, whole
    _model: Lensed

    def said(self, residual: Tensor) -> Tensor:
        """What the rest of the network says (positions x columns) of a residual."""
        with self._skipped(residual):
            return logits(self._model, self.reading)

    @contextmanager
    def _skipped(self, residual: Tensor) -> Iterator[None]:
        """Within the block every layer hands on what it is given, and the last says `residual`."""
        given: Any = residual.to(self.residuals[-1].device)
        if isinstance(self._last, (tuple, list)):
            given = type(self._last)([given, *self._last[1:]])
        with left_alone(self._model.module):
            for block in self._blocks[:-1]:
                block.forward = _handed_on(isinstance(self._last, (tuple, list)))
            self._blocks[-1].forward = lambda *_, **__: given
            yield


def lens_inputs(classifier: Any, samples: Any) -> tuple[Lensed, list[Sample]]:
    """The model that a lens looks into, and samples of whatever was given. Raises `HarnessError`
    for a model that no lens is for."""
    asked, items = chosen_inputs(classifier, samples, {})
    model = asked if isinstance(asked, Model) else model_of(asked, items)
    if not isinstance(model, Lensed):
        raise HarnessError(
            f"a lens is for language models and for classifiers of transformers, and {model.name} "
            "is none"
        )
    return model, items


def read(model: Lensed, sample: Sample) -> Reading:
    """A sample as the model reads it; nothing of it will be removed."""
    removal = (
        Removal("baseline", 0.0) if isinstance(model, HuggingFacePixels) else Removal("delete")
    )
    reading: Reading = model.read(sample, removal)
    return reading


def logits(model: Lensed, reading: Any) -> Tensor:
    """What the model says, positions x columns, with gradients where they are wanted: the tokens of
    an answer over the vocabulary, or the one position that a classifier reads over the classes."""
    if isinstance(model, LanguageModel):
        return model.scores(reading)
    return model.forward([reading], model.point(reading)[None])


def stream(model: Lensed, reading: Reading) -> Stream:
    """The residual stream of one sample; to be called while the model is evaluated.

    Raises `HarnessError` for a network whose layers are not found, or do not stand one behind
    another between one stream and one head.
    """
    import torch

    found = _stack(model)
    where = f"a lens does not support {model.name}"
    seen: list[tuple[int, Tensor | None, Any]] = []

    def note(place: int) -> Callable[..., None]:
        def hook(_: Any, given: Any, named: Any, output: Any) -> None:
            before = first_tensor(given)
            before = named.get("hidden_states") if before is None else before
            seen.append((place, before, output))

        return hook

    with left_alone(model.module), torch.no_grad():
        for place, (_, block) in enumerate(found):
            block.register_forward_hook(note(place), with_kwargs=True)
        final = logits(model, reading).detach()
    if [place for place, _, _ in seen] != list(range(len(found))):
        raise HarnessError(f"{where}: its layers are not each used once, one behind another")
    residuals = [seen[0][1], *(first_tensor(output) for _, _, output in seen)]
    shapes = {None if one is None else tuple(one.shape) for one in residuals}
    chained = all(
        before is not None
        and residual is not None
        and torch.equal(before.to(residual.device), residual)
        for (_, before, _), residual in zip(seen, residuals, strict=False)
    )
    if not chained or len(shapes) != 1 or any(s is None or len(s) != 3 for s in shapes):
        raise HarnessError(f"{where}: its layers do not hand on one stream of tokens")
    whole = Stream(
        reading,
        (EMBEDDINGS, *(name for name, _ in found)),
        tuple(residual.detach().clone() for residual in residuals if residual is not None),
        final,
        tuple(block for _, block in found),
        seen[-1][2],
        model,
    )
    with torch.no_grad():
        again = whole.said(whole.residuals[-1])
    if not torch.allclose(again, final, rtol=1e-4, atol=1e-4 * float(final.abs().max())):
        raise HarnessError(f"{where}: its head reads more than what the last layer says")
    return whole


def _stack(model: Lensed) -> list[tuple[str, Any]]:
    """The layers by name: the one list of as many modules as the configuration says."""
    import torch

    module = model.module
    config: Any = getattr(module, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    count = getattr(config, "num_hidden_layers", None)
    stacks = [
        [(f"{name}.{place}", block) for place, block in enumerate(part)]
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.ModuleList) and len(part) == count
    ]
    if len(stacks) != 1:
        raise HarnessError(
            f"a lens does not support {model.name}: it has {len(stacks)} stacks of as many layers "
            "as its configuration says, and must have one"
        )
    return stacks[0]


def _handed_on(in_tuple: bool) -> Callable[..., Any]:
    def forward(*given: Any, **named: Any) -> Any:
        hidden = given[0] if given else named["hidden_states"]
        return (hidden,) if in_tuple else hidden

    return forward
