"""Value zeroing: how much a transformer's layers mix each token into what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.attention import (
    attending,
    on_features,
    positions_read,
    refuse_windows,
)
from harness.explainers.attributions.modules import first_tensor, left_alone, network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

_WHAT = "value zeroing"
_IMPLEMENTATION = "harness_value_zeroing"


class ValueZeroing:
    """How much of the position that the classifier reads comes from each token, by what changes
    when the token's value is nothing.

    In each layer, the value vectors of one token at a time are set to zero in all heads; how far
    another token's output of the layer then turns (one less the cosine) is how much of the one is
    mixed into the other, as shares of all tokens. Residual stream, normalisation and feed-forward
    part count, so layers are multiplied as they are. As by `attention_rollout`, the rows of the
    positions that are read are taken, values are shares that belong to no unit where a token is
    special, a patch's share is spread evenly over its pixels, and all is the same for every target.
    One pass through each layer a token.

    Source: Mohebbi, Zuidema, Chrupała and Alishahi 2023, "Quantifying Context Mixing in
    Transformers", with its rollout without a further identity. Raises `HarnessError` for what is no
    transformer whose layers attend from and to the same tokens by the attention interface of
    transformers.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features."""
        import torch

        module = network_of(inside, _WHAT)
        _register()
        wanted = {"use_cache": False}
        with (
            attending(inside, _IMPLEMENTATION, wanted, _WHAT),
            left_alone(module),
            _work(inside) as work,
        ):
            points = inside.slope.x.detach()[None].requires_grad_(True)
            with torch.no_grad():
                inside.model.forward([inside.reading], points)
            calls = [_Call(block) for block in _blocks(inside, module, work)]
            for call in calls:
                call.listen()
            values = inside.model.forward([inside.reading], points)
            last = calls[-1].said
            rows = positions_read(last, values, inside, _WHAT)
            share = rows.double() / rows.sum()
            at_once = max(1, inside.model.tokens // len(share))
            with torch.no_grad():
                for call in reversed(calls):
                    share = share @ _mixing(call, work, at_once)
        spread = on_features(share, inside, _WHAT)
        return Descended(
            spread.repeat(inside.weights.shape[1], 1),
            notes=("value zeroing is the same for every target",),
        )


@dataclass(eq=False)
class _Work:
    """What the attention function is told, and what it tells: for each row of a batch the token
    whose value is nothing; modules that attended, each with its numbers of queries and values."""

    inside: Inside
    zeroed: Tensor | None = None
    seen: list[tuple[Any, int, int]] = field(default_factory=list)


_WORK: ContextVar[_Work | None] = ContextVar("value zeroing", default=None)


@contextmanager
def _work(inside: Inside) -> Iterator[_Work]:
    token = _WORK.set(_Work(inside))
    try:
        found = _WORK.get()
        assert found is not None
        yield found
    finally:
        _WORK.reset(token)


def _register() -> None:
    """Makes the attention below, with the masks of sdpa, known to transformers by its own name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_IMPLEMENTATION, _attend)
    AttentionMaskInterface.register(_IMPLEMENTATION, sdpa_mask)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> Any:
    """Attention (rows x heads x tokens x width) without the values of the tokens zeroed."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    work = _WORK.get()
    if work is not None:
        work.seen.append((module, query.shape[2], value.shape[2]))
        if work.zeroed is not None:
            value = value.clone()
            value[torch.arange(len(value)), :, work.zeroed] = 0
        else:
            refuse_windows(work.inside, [len(query)], _WHAT)
    return sdpa_attention_forward(module, query, key, value, mask, **options)


@dataclass(eq=False)
class _Call:
    """A layer, and how it was called on the sample."""

    block: Any
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    said: Any = None

    def listen(self) -> None:
        """Keeps the next call and what it says."""

        def called(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            self.args, self.options = args, dict(options)

        def answered(_: Any, __: Any, output: Any) -> None:
            if self.said is None:
                self.said = first_tensor(output)

        self.block.register_forward_pre_hook(called, with_kwargs=True)
        self.block.register_forward_hook(answered)

    def again(self, rows: int) -> Tensor:
        """What the layer says of so many copies of the sample: rows x tokens x width."""
        given, options = list(self.args), dict(self.options)
        if given:
            given[0] = given[0].expand(rows, -1, -1)
        else:
            options["hidden_states"] = options["hidden_states"].expand(rows, -1, -1)
        found: Tensor = first_tensor(self.block.forward(*given, **options))
        return found


def _blocks(inside: Inside, module: Any, work: _Work) -> list[Any]:
    """The layers that attended, in their order. Raises `HarnessError` where one is no member of a
    list of layers, or attends to other tokens than it attends from."""
    import torch

    names = {id(part): name for name, part in module.named_modules()}
    found: dict[int, Any] = {}
    for part, queries, values in work.seen:
        path = names.get(id(part), "").split(".")
        inner = (end for end in range(len(path), 0, -1) if _listed(module, path[:end], torch))
        end = next(inner, None)
        if end is None or queries != values:
            raise HarnessError(
                f"{_WHAT} does not support {inside.model.name}: its layers do not attend from and "
                "to the same tokens"
            )
        block = module.get_submodule(".".join(path[:end]))
        found[id(block)] = block
    if not found:
        raise HarnessError(
            f"{_WHAT} does not support {inside.model.name}: its attention is not that of the "
            "interface of transformers"
        )
    return list(found.values())


def _listed(module: Any, path: list[str], torch: Any) -> bool:
    return isinstance(module.get_submodule(".".join(path[:-1])), torch.nn.ModuleList)


def _mixing(call: _Call, work: _Work, at_once: int) -> Tensor:
    """Tokens x tokens: shares of each token (column) in what the layer says at each (row)."""
    import torch

    before = call.said.detach()[0].double()
    tokens, columns = len(before), []
    for start in range(0, tokens, at_once):
        work.zeroed = torch.arange(start, min(start + at_once, tokens))
        after = call.again(len(work.zeroed)).double()
        columns.append(1 - torch.nn.functional.cosine_similarity(after, before, dim=-1))
    work.zeroed = None
    turned = torch.cat(columns).T.clamp(min=0)
    total = turned.sum(dim=1, keepdim=True)
    # What no value turns stays what it is.
    still = torch.eye(tokens, dtype=turned.dtype, device=turned.device)
    return torch.where(total > 0, turned / total, still)
