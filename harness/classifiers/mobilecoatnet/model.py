"""The network, in the order of its forward pass: convolutions first, then attention.

A convolutional stem, two stages of MobileNetV2 inverted residuals with squeeze-and-excitation, two
stages of relative attention as in CoAtNet, and a linear head. Every stage halves the resolution.

Sources: inverted residuals are Sandler et al. 2018, "MobileNetV2", section 3; squeeze-and-
excitation is Hu et al. 2018; convolution before relative attention and the downsampling block are
Dai et al. 2021, "CoAtNet", sections 2.1 and A.1. The combination and its sizes are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4
"""Hidden channels per channel, in inverted residuals and in feed-forward parts."""

SQUEEZE = 4
"""Squeeze-and-excitation reduces its block's input channels by this factor."""

HEAD_DIMENSION = 32


@dataclass(frozen=True)
class Size:
    """Blocks and channels of the stem, of two convolutional and of two attention stages."""

    depths: tuple[int, int, int, int, int]
    widths: tuple[int, int, int, int, int]


SIZES: Mapping[str, Size] = {
    "small": Size((1, 2, 2, 2, 1), (16, 32, 64, 128, 256)),
    "base": Size((1, 2, 3, 3, 1), (32, 48, 96, 192, 384)),
    "large": Size((2, 2, 3, 5, 2), (32, 48, 96, 192, 384)),
}


class MobileCoAtNetModule(nn.Module):
    """Logits, batch x classes, of images, batch x 3 x height x width, of any height and width.

    `image_size` is the size the relative-position tables are made for; they are interpolated for
    images of another size, which therefore need no other weights.
    """

    def __init__(self, size: Size, classes: int, image_size: int) -> None:
        super().__init__()
        channels, grids = size.widths, [-(-image_size // 2**stage) for stage in range(1, 6)]
        self.stem = _stem(size.depths[0], channels[0])
        self.stage1 = _convolutions(size.depths[1], channels[0], channels[1])
        self.stage2 = _convolutions(size.depths[2], channels[1], channels[2])
        self.stage3 = _transformers(size.depths[3], channels[2], channels[3], grids[3])
        self.stage4 = _transformers(size.depths[4], channels[3], channels[4], grids[4])
        self.norm = nn.LayerNorm(channels[4])
        self.head = nn.Linear(channels[4], classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)  # 1/2
        x = self.stage1(x)  # 1/4
        x = self.stage2(x)  # 1/8
        x = self.stage3(x)  # 1/16
        x = self.stage4(x)  # 1/32
        logits: Tensor = self.head(self.norm(x.mean(dim=(2, 3))))
        return logits


def _stem(depth: int, channels: int) -> nn.Sequential:
    """Plain 3 x 3 convolutions, the first of which halves the resolution."""
    layers: list[nn.Module] = []
    for index in range(depth):
        before, stride = (3, 2) if index == 0 else (channels, 1)
        layers += [
            nn.Conv2d(before, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
        ]
    return nn.Sequential(*layers)


def _convolutions(depth: int, before: int, channels: int) -> nn.Sequential:
    """Inverted residuals, the first of which halves the resolution and sets the channels."""
    first = InvertedResidual(before, channels, downsample=True)
    others = (InvertedResidual(channels, channels, downsample=False) for _ in range(depth - 1))
    return nn.Sequential(first, *others)


def _transformers(depth: int, before: int, channels: int, grid: int) -> nn.Sequential:
    """Transformer blocks on a grid, to which the first of them halves the resolution."""
    first = Transformer(before, channels, grid, downsample=True)
    others = (Transformer(channels, channels, grid, downsample=False) for _ in range(depth - 1))
    return nn.Sequential(first, *others)


class InvertedResidual(nn.Module):
    """Widen by 1 x 1, filter each channel by 3 x 3, reweigh channels, narrow by 1 x 1 linearly.

    The shortcut joins the narrow ends; where resolution or channels change there is none.
    """

    def __init__(self, before: int, channels: int, downsample: bool) -> None:
        super().__init__()
        hidden = EXPANSION * before
        self.expand = nn.Sequential(
            nn.Conv2d(before, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.SiLU()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, 2 if downsample else 1, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.SiLU(),
        )
        self.excite = SqueezeExcitation(hidden, before // SQUEEZE)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.shortcut = not downsample and before == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


class SqueezeExcitation(nn.Module):
    """Weighs each channel, in (0, 1), by what all channels hold on average over the image."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.restore = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.restore(functional.silu(self.reduce(pooled))))


class Transformer(nn.Module):
    """Relative attention and a feed-forward part, each after its norm and beside a shortcut.

    Downsampling is max pooling before attention; the shortcut is pooled and projected likewise.
    """

    def __init__(self, before: int, channels: int, grid: int, downsample: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(before)
        self.attention = RelativeAttention(before, channels, grid)
        self.project = nn.Conv2d(before, channels, 1) if downsample else None
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, EXPANSION * channels),
            nn.GELU(),
            nn.Linear(EXPANSION * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = _on_channels(self.norm1, x)
        if self.project is None:
            x = x + self.attention(y)
        else:
            x = self.project(_halved(x)) + self.attention(_halved(y))
        return x + _on_channels(lambda z: self.feed_forward(self.norm2(z)), x)


class RelativeAttention(nn.Module):
    """Attention over all places of a grid, its logits biased by where one place lies from another.

    `table` holds the bias, heads x (2 grid - 1) x (2 grid - 1), indexed by the row and column of
    the key less those of the query; the middle is the place itself.
    """

    def __init__(self, before: int, channels: int, grid: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_DIMENSION
        self.queries_keys_values = nn.Linear(before, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.table = nn.Parameter(torch.zeros(self.heads, 2 * grid - 1, 2 * grid - 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        joined = self.queries_keys_values(x.flatten(2).transpose(1, 2))
        split = joined.view(batch, height * width, 3, self.heads, HEAD_DIMENSION)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.bias(height, width)[None]
        )
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y.transpose(1, 2).reshape(batch, -1, height, width)

    def bias(self, height: int, width: int) -> Tensor:
        """The bias, heads x places x places, of a grid of this height and width."""
        table = resized_table(self.table, height, width)
        rows, columns = (torch.arange(n, device=table.device) for n in (height, width))
        down = rows[None, :] - rows[:, None] + height - 1  # query row x key row
        right = columns[None, :] - columns[:, None] + width - 1
        biased = table[:, down[:, None, :, None], right[None, :, None, :]]
        return biased.reshape(self.heads, height * width, height * width)


def resized_table(table: Tensor, height: int, width: int) -> Tensor:
    """A bias table, heads x (2 height - 1) x (2 width - 1), for another grid.

    Bilinear between the table's own entries, so that an offset of the same share of the image has
    the same bias and the middle stays the middle; the table itself where the grid is its own.
    """
    shape = (2 * height - 1, 2 * width - 1)
    if table.shape[1:] == shape:
        return table
    if 1 in shape:  # a grid one place wide knows the offset 0 alone; corners would be taken instead
        middle_row, middle_column = (n // 2 for n in table.shape[1:])
        if shape[0] == 1:
            table = table[:, middle_row : middle_row + 1]
        if shape[1] == 1:
            table = table[:, :, middle_column : middle_column + 1]
    return functional.interpolate(table[None], shape, mode="bilinear", align_corners=True)[0]


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 2, 1)


def _on_channels(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer that works on the last axis, applied to the channels of an image."""
    y: Tensor = layer(x.permute(0, 2, 3, 1))
    return y.permute(0, 3, 1, 2)


def _initialise(module: nn.Module) -> None:
    """Truncated normal for linear layers as in vision transformers, He for convolutions."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, RelativeAttention):
        nn.init.trunc_normal_(module.table, std=0.02)
