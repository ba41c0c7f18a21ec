"""Fused functions of torch, spelt out in steps for which AttnLRP has rules: values are the same but
for rounding. Norms keep their scale as a constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *__: Any,
) -> Tensor:  # fmt: skip
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dim=dims, keepdim=True)
    with torch.no_grad():
        scale = (centred.detach().pow(2).mean(dim=dims, keepdim=True) + eps).rsqrt()
    return _affine(centred * scale, weight, bias)


def _rms_norm(
    x: Tensor, shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    with torch.no_grad():
        scale = (x.detach().pow(2).mean(dim=dims, keepdim=True) + eps).rsqrt()
    return _affine(x * scale, weight, None)


def _group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    *_: Any,
) -> Tensor:  # fmt: skip
    grouped = x.reshape(len(x), groups, -1)
    normed = _layer_norm(grouped, grouped.shape[-1:], eps=eps).reshape(x.shape)
    return _affine(normed, _by_channel(weight, x), _by_channel(bias, x))


def _batch_norm(
    x: Tensor, mean: Any, variance: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    del momentum
    if training or mean is None:
        return functional.batch_norm(x, None, None, weight, bias, True)
    scale = (variance + eps).rsqrt()
    scaled = (x - _by_channel(mean, x)) * _by_channel(scale, x)
    return _affine(scaled, _by_channel(weight, x), _by_channel(bias, x))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention, spelt out."""
    del dropout_p  # networks are explained as they are evaluated
    if enable_gqa:
        key, value = (
            one.repeat_interleave(query.shape[-3] // one.shape[-3], dim=-3) for one in (key, value)
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * scale
    if is_causal:
        shape = query.shape[-2], key.shape[-2]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, dim=-1), value)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    value, gate = x.chunk(2, dim)
    return value * torch.sigmoid(gate)


def _affine(x: Tensor, weight: Any, bias: Any) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _by_channel(values: Any, x: Tensor) -> Any:
    return None if values is None else values.reshape(1, -1, *[1] * (x.ndim - 2))


SPELT_OUT: dict[str, Callable[..., Tensor]] = {
    "batch_norm": _batch_norm, "glu": _glu, "group_norm": _group_norm, "layer_norm": _layer_norm,
    "rms_norm": _rms_norm, "scaled_dot_product_attention": _attention,
}  # fmt: skip
