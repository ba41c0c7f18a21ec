"""Networks that attend within windows: refused by methods that multiply attention over layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from descents_for_tests import drawn, inspect, tensors

from harness.explainers.attributions.attention import AttentionRollout
from harness.explainers.attributions.value_zeroing import ValueZeroing
from harness.records import HarnessError

hf: Any = transformers


def swin(kind: str = "Swin", patch: int = 4, depths: tuple[int, ...] = (1, 1)) -> Any:
    """A random Swin of 32 x 32 pixels, with windows of 4 x 4 patches."""
    torch.manual_seed(1)
    config = getattr(hf, f"{kind}Config")(
        image_size=32, patch_size=patch, embed_dim=16, depths=list(depths),
        num_heads=[2] * len(depths), window_size=4, num_labels=3,
    )  # fmt: skip
    return getattr(hf, f"{kind}ForImageClassification")(config).eval()


def of_images(net: Any) -> Any:
    return tensors(net, drawn(1, 3, 32, 32).float(), channels="first")


@pytest.mark.parametrize("method", [AttentionRollout(), ValueZeroing()])
@pytest.mark.parametrize("depths", [(1, 1), (2,), (1, 2)])
def test_swin_is_refused_by_what_it_does(method: Any, depths: tuple[int, ...]) -> None:
    model = of_images(swin(depths=depths))
    with pytest.raises(HarnessError, match="SwinForImage.* attend within windows"):
        inspect(method, model, model.samples[0])


def test_rollout_of_swin_v2_is_refused_too() -> None:
    model = of_images(swin("Swinv2"))
    with pytest.raises(HarnessError, match="attend within windows"):
        inspect(AttentionRollout(), model, model.samples[0])


def test_a_single_window_is_attention_among_all_tokens() -> None:
    net = swin(patch=8, depths=(2,))
    model = of_images(net)
    found = inspect(AttentionRollout(), model, model.samples[0]).values[0].reshape(4, 8, 4, 8)
    net.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = net(drawn(1, 3, 32, 32).float(), output_attentions=True).attentions
    share = np.full(16, 1 / 16)
    for attention in reversed(attentions):
        share = share @ (attention[0].double().mean(dim=0).numpy() + np.eye(16)) / 2
    np.testing.assert_allclose(found.sum(dim=(1, 3)).flatten(), share, atol=1e-7)


def test_longformer_is_refused() -> None:
    torch.manual_seed(1)
    config = hf.LongformerConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, attention_window=4, num_labels=3,
    )  # fmt: skip
    net = hf.LongformerForSequenceClassification(config).eval()
    ids = torch.tensor([[0, 7, 8, 9, 10, 11, 12, 2]])
    model = tensors(net, ids, embedding="longformer.embeddings.word_embeddings")
    with pytest.raises(HarnessError, match="attend within windows"):
        inspect(AttentionRollout(), model, model.samples[0])
    with pytest.raises(HarnessError, match="not that of the interface of transformers"):
        inspect(ValueZeroing(), model, model.samples[0])
