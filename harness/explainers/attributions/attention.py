"""Attention rollout: which positions a transformer's attention reaches, layer after layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.layers import patches, picture_size
from harness.explainers.attributions.modules import left_alone, network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.explainers.models.reading import TextPart
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

_WHAT = "attention rollout"


class AttentionRollout:
    """How much of the position that the classifier reads comes from each token, by attention.

    Attention, averaged over heads, is mixed half and half with the identity (for the residual
    stream) and multiplied over layers. The row of the position that is read is taken: the first
    token of BERT- and ViT-like models, the last one of causal models, the mean of the rows where
    several are read. Values are shares, not negative, at most 1 together; those of special tokens
    belong to no unit. For images a patch's share is spread evenly over its pixels. They are the
    same for every target, and no decomposition of the output. One row.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3,
    equation 1. Raises `HarnessError` for models that do not return the attentions of one token
    among all others, as those with attention in windows (Swin, Longformer).
    """

    reduce = "sum"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features."""
        attentions, last, values = _watched(inside)
        refuse_windows(inside, [len(attention) for attention in attentions], _WHAT)
        rows = positions_read(last, values, inside, _WHAT)
        length = attentions[0].shape[-1]
        share = rows.to(attentions[0].dtype) / rows.sum()
        if len(share) != length or any(one.shape[-2:] != (length, length) for one in attentions):
            raise HarnessError(
                f"{_WHAT} does not support {inside.model.name}: its layers do not attend from and "
                "to the same tokens"
            )
        for attention in reversed(attentions):
            share = 0.5 * share @ attention[0].mean(dim=0) + 0.5 * share
        spread = on_features(share, inside, _WHAT)
        return Descended(
            spread.repeat(inside.weights.shape[1], 1),
            notes=("attention rollout is the same for every target",),
        )


def _watched(inside: Inside) -> tuple[list[Tensor], Tensor, Tensor]:
    """Attentions of each layer (1 x heads x tokens x tokens, in 64 bits), what the last layer says
    (1 x tokens x width), and the sum of the classifier's outputs."""
    module = network_of(inside, _WHAT)
    seen: list[Any] = []
    points = inside.slope.x.detach()[None].requires_grad_(True)
    wanted = {"output_attentions": True, "output_hidden_states": True}
    # The fast ways of attention do not keep it.
    with attending(inside, "eager", wanted, _WHAT), left_alone(module):
        module.register_forward_hook(lambda _, __, output: seen.append(output))
        values = inside.model.forward([inside.reading], points)
    attentions, states = (
        list((getattr(seen[-1], name, None) if seen else None) or [])
        for name in ("attentions", "hidden_states")
    )
    usable = attentions and states and all(a is not None and a.ndim == 4 for a in attentions)
    if not usable or states[-1].ndim != 3:
        raise HarnessError(f"{_WHAT} does not support {inside.model.name}: it says no attentions")
    return [one.detach().double() for one in attentions], states[-1], values


@contextmanager
def attending(
    inside: Inside, implementation: str, wanted: Mapping[str, Any], what: str
) -> Iterator[None]:
    """Within the block attention is computed by this implementation of transformers, and the
    network's configuration says what is `wanted`. Raises `HarnessError` for other networks."""
    module = inside.model.module
    config = getattr(module, "config", None)
    if not hasattr(module, "set_attn_implementation") or config is None:
        raise HarnessError(
            f"{what} is for transformers, and {inside.model.name} says no attentions"
        )
    parts = [part.config for part in module.modules() if hasattr(part, "config")]
    configs = list({id(one): one for one in parts}.values())
    before = [(one, dict(vars(one))) for one in configs]
    try:
        module.set_attn_implementation(implementation)
        for name, value in wanted.items():
            setattr(config, name, value)
        yield
    except (ValueError, NotImplementedError) as error:
        raise HarnessError(
            f"{what} does not support {inside.model.name}: {' '.join(str(error).split()):.200}"
        ) from error
    finally:
        for one, kept in before:
            vars(one).clear()
            vars(one).update(kept)


def refuse_windows(inside: Inside, rows: Iterable[int], what: str) -> None:
    """Raises `HarnessError` for attention within windows. `rows` says of each layer how many rows
    it made of the one sample: Swin makes a row of each window, and windows cannot be multiplied
    with one another. Longformer is told by its configuration."""
    config = getattr(inside.model.module, "config", None)
    if any(count != 1 for count in rows) or hasattr(config, "attention_window"):
        raise HarnessError(
            f"{what} does not support {inside.model.name}: its layers attend within windows, not "
            "among all tokens; use a method by gradients, or a perturbation method"
        )


def positions_read(last: Tensor, values: Tensor, inside: Inside, what: str) -> Tensor:
    """Which positions of the last layer the outputs depend on: tokens, true or false."""
    import torch

    # Weights of no pattern, so that gradients of several outputs do not cancel.
    mixed = (values[0] * torch.arange(1, values.shape[1] + 1, device=values.device).sqrt()).sum()
    found = torch.autograd.grad(mixed, last, allow_unused=True)[0] if last.requires_grad else None
    if found is None or not found.any():
        raise HarnessError(
            f"{what} does not support {inside.model.name}: which token it reads cannot be seen"
        )
    return found[0].abs().sum(dim=1) > 0


def on_features(share: Tensor, inside: Inside, what: str) -> Tensor:
    """Shares of tokens as values of features."""
    features = len(inside.slope.x)
    if isinstance(inside.reading.parts[0], TextPart):
        return share[:features]  # behind a prompt stands the answer, which is no feature
    if len(share) == features:
        return share
    rows, columns = picture_size(inside, what)
    found = patches(len(share), rows, columns)
    if found is None or rows % found[0]:
        raise HarnessError(
            f"{what} does not support {inside.model.name}: its {len(share)} tokens are no grid on "
            "the image"
        )
    height, width, before = found
    side = rows // height
    grid = share[before:].reshape(height, width) / side**2
    return grid.repeat_interleave(side, dim=0).repeat_interleave(side, dim=1).flatten()
