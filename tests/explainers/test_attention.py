"""Attention rollout: the formula by hand, which position is read, and models left as they were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from descents_for_tests import MLP, drawn, inspect, same, state, tensors

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.attention import AttentionRollout
from harness.explainers.models.choose import model_of
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, pictures, samples
from test_layers import vit


def by_hand(network: Any, given: dict[str, torch.Tensor], position: int) -> np.ndarray:
    """Abnar and Zuidema's product, from the first layer up."""
    network.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = network(**given, output_attentions=True).attentions
    total = np.eye(attentions[0].shape[-1])
    for attention in attentions:
        mixed = 0.5 * attention[0].double().mean(dim=0).numpy() + 0.5 * np.eye(len(total))
        total = mixed @ total
    row: np.ndarray = total[position]
    return row


@pytest.mark.parametrize(
    ("kind", "position"),
    [("bert", 0), ("distilbert", 0), ("roberta", 0), ("gpt2", -1), ("llama", -1)],
)
def test_it_is_the_product_for_the_position_that_is_read(
    kind: str, position: int, tmp_path: Path
) -> None:
    folder, network, tokenizer = make(kind, tmp_path)
    model = model_of(HuggingFace(str(folder), dtype="float64"), samples())
    for sample in samples()[:3]:
        found = inspect(AttentionRollout(), model, sample)
        ids = tokenizer(sample.text, return_tensors="pt")["input_ids"]
        wanted = by_hand(network.double(), {"input_ids": ids}, position)
        assert found.values.shape == (3, ids.shape[1])
        np.testing.assert_allclose(found.values[0], wanted, atol=1e-9)
        assert torch.equal(found.values[0], found.values[2])
        assert float(found.values[0].sum()) == pytest.approx(1)
        assert not found.complete


def test_a_patchs_share_is_spread_over_its_pixels(tmp_path: Path) -> None:
    model, image = vit(tmp_path), pictures()[0]
    found = inspect(AttentionRollout(), model, image).values[0].reshape(4, 8, 4, 8)
    pixels = model.point(model.read(image, _mask())).reshape(1, 32, 32, 3).permute(0, 3, 1, 2)
    wanted = by_hand(model.module, {"pixel_values": pixels}, 0)
    np.testing.assert_allclose(found.sum(dim=(1, 3)).flatten(), wanted[1:], atol=1e-9)
    assert float(found.std(dim=(1, 3)).max()) < 1e-15


def _mask() -> Any:
    from harness.explainers.models.reading import Removal

    return Removal("mask")


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_model_and_its_way_of_attention_are_left_as_they_were(
    kind: str, tmp_path: Path
) -> None:
    folder, _, _ = make(kind, tmp_path)
    model = model_of(HuggingFace(str(folder)), samples())
    before = state(model.module)
    assert model.module.config._attn_implementation == "sdpa"
    inspect(AttentionRollout(), model, samples()[0])
    assert same(before, state(model.module))


def test_they_are_left_as_they_were_after_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = make("bert", tmp_path)
    model = model_of(HuggingFace(str(folder)), samples())
    before = state(model.module)
    real, calls = model.forward, []

    def fails(*given: Any) -> Any:
        calls.append(model.module.config._attn_implementation)
        real(*given)
        raise KeyError("no more")

    monkeypatch.setattr(model, "forward", fails)
    with pytest.raises(KeyError):
        inspect(AttentionRollout(), model, samples()[0])
    assert calls == ["eager"]
    assert same(before, state(model.module))


def test_models_that_say_no_attentions_are_refused() -> None:
    model = tensors(MLP(), drawn(1, 4))
    with pytest.raises(HarnessError, match="attention rollout is for transformers"):
        inspect(AttentionRollout(), model, model.samples[0])


def test_a_transformers_network_without_attention_is_refused() -> None:
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2
    )
    net = transformers.ResNetForImageClassification(config)
    model = tensors(net, drawn(1, 3, 16, 16).float(), channels="first")
    with pytest.raises(HarnessError, match="attention rollout"):
        inspect(AttentionRollout(), model, model.samples[0])
