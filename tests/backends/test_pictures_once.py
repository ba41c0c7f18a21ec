"""Pictures that come again are processed once, with results that are equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature

from harness.backends.pictures_once import Kept, ProcessedOnce, features_once


class Encoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_image_features(self, pixel_values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        self.asked += 1
        return pixel_values * scale


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, pixels: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.encoder.get_image_features(pixel_values=pixels, scale=scale) + 1


def test_a_picture_is_encoded_once_while_it_lasts_and_the_network_is_left_as_it_was() -> None:
    network, kept = Network(), Kept()
    first, second = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    with features_once(network, kept):
        for _ in range(3):
            assert torch.equal(network(first), first + 1)
        assert network.encoder.asked == 1
        network(second)
        network(first, 2.0)  # other options, other features
        network(first.double())
        assert network.encoder.asked == 4
    network(first)
    assert network.encoder.asked == 5
    assert "get_image_features" not in vars(network.encoder)
    with features_once(network, kept):
        network(first)
    assert network.encoder.asked == 5  # what is kept outlives the block
    kept.clear()
    with features_once(network, kept):
        network(first)
    assert network.encoder.asked == 6


def test_a_network_that_fails_is_left_as_it_was() -> None:
    network = Network()
    try:
        with features_once(network, Kept()):
            raise RuntimeError("no memory")
    except RuntimeError:
        pass
    assert "get_image_features" not in vars(network.encoder)


def test_of_too_many_results_the_oldest_are_dropped() -> None:
    kept, made = Kept(bound=3 * 400), []
    for name in "abcab":
        kept.get(name, lambda name=name: made.append(name) or torch.zeros(100))
    assert made == ["a", "b", "c"]
    kept.get("d", lambda: made.append("d") or torch.zeros(100))
    kept.get("c", lambda: made.append("c again"))
    kept.get("a", lambda: made.append("a again"))
    assert made == ["a", "b", "c", "d", "c again"]


class Processor:
    size = 4

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        self.asked += 1
        pixels = [torch.from_numpy(np.array(image)) for image in images]
        return BatchFeature({"pixels": torch.stack(pixels) * options.get("scale", 1), "rows": [1]})


def test_a_picture_is_processed_once_and_whoever_asked_may_change_what_it_got() -> None:
    inner = Processor()
    once = ProcessedOnce(inner)
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    other = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)[::-1].copy())
    first = once([picture], scale=2)
    first.pop("rows")
    first["pixels"].zero_()
    again = once([picture], scale=2)
    assert again["rows"] == [1]
    assert torch.equal(again["pixels"], inner([picture], scale=2)["pixels"])
    assert inner.asked == 2
    assert not torch.equal(once([other], scale=2)["pixels"], again["pixels"])
    assert not torch.equal(once([picture], scale=3)["pixels"], again["pixels"])
    assert once([picture, other])["pixels"].shape[0] == 2
    assert once.size == 4
