"""Gradients at the sample: closed forms, finite differences, and several samples at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from descents_for_tests import CNN, MLP, descend, drawn, same, slope_of, state, tensors, values

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.saliency import InputXGradient, Saliency
from harness.explainers.models.choose import model_of
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, samples

KINDS = ["bert", "distilbert", "roberta", "gpt2", "llama"]


def linear() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(4, 3).double()


def test_the_gradient_of_a_linear_model_is_its_weights() -> None:
    net = linear()
    model = tensors(net, drawn(1, 4))
    found = values(Saliency(absolute=False), model, model.samples[0])
    np.testing.assert_allclose(found[..., 0], net.weight.detach().numpy(), atol=1e-15)
    found = values(Saliency(), model, model.samples[0])
    np.testing.assert_allclose(found[..., 0], net.weight.detach().abs().numpy(), atol=1e-15)


def test_input_times_gradient_of_a_linear_model_sums_to_the_output_without_its_bias() -> None:
    net, x = linear(), drawn(1, 4)
    model = tensors(net, x)
    found = values(InputXGradient(), model, model.samples[0])
    wanted = (net(x) - net.bias)[0].detach().numpy()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), wanted, atol=1e-12)


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_gradients_are_those_of_finite_differences(output: str) -> None:
    net, x = MLP(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    found = values(Saliency(absolute=False), model, model.samples[0], output=output)[..., 0]
    scale = {"logit": lambda z: z, "probability": lambda z: z.softmax(-1)}
    outputs = scale.get(output, lambda z: z.log_softmax(-1))
    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    slopes = (outputs(net(x + step)) - outputs(net(x - step))) / 2e-5
    np.testing.assert_allclose(found, slopes.detach().numpy().T, atol=1e-8)


def test_a_contrast_has_the_difference_of_the_gradients() -> None:
    model = tensors(MLP(), drawn(1, 4))
    method = Saliency(absolute=False)
    every = values(method, model, model.samples[0])
    pair = values(method, model, model.samples[0], weights=np.array([[1.0], [0.0], [-1.0]]))
    np.testing.assert_allclose(pair[0], every[0] - every[2], atol=1e-12)


def test_image_values_have_a_row_a_pixel_and_a_column_a_channel() -> None:
    net, x = CNN(), drawn(1, 3, 8, 8)
    model = tensors(net, x, channels="first")
    found = values(Saliency(absolute=False), model, model.samples[0])
    x.requires_grad_(True)
    (wanted,) = torch.autograd.grad(net(x)[0, 1], x)
    np.testing.assert_allclose(found[1].reshape(8, 8, 3), wanted[0].permute(1, 2, 0), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("float64", 1e-9)])
def test_several_texts_at_once_have_the_values_of_each_alone(
    kind: str, dtype: str, near: float, tmp_path: Path
) -> None:
    folder, _, _ = make(kind, tmp_path)
    model = model_of(HuggingFace(str(folder), dtype=dtype), samples())
    method = Saliency(absolute=False)
    together, rows, _ = descend(method, model, samples())
    assert rows == [1] * len(samples())
    scale = max(float(found.values.abs().max()) for found in together)
    for found, sample in zip(together, samples(), strict=True):
        alone = values(method, model, sample, tokens=1)
        np.testing.assert_allclose(found.values.numpy(), alone, atol=near * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_plain_network_by_its_embeddings(
    kind: str, tmp_path: Path
) -> None:
    folder, network, tokenizer = make(kind, tmp_path)
    network.double()
    model = model_of(HuggingFace(str(folder), dtype="float64"), samples())
    kept: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[-1]

    network.get_input_embeddings().register_forward_hook(keep)
    for sample in samples()[:3]:
        found = values(Saliency(absolute=False), model, sample)
        ids = tokenizer(sample.text, return_tensors="pt")["input_ids"]
        logits = network(input_ids=ids).logits[0]
        for target, logit in enumerate(logits):
            (wanted,) = torch.autograd.grad(logit, kept[-1], retain_graph=True)
            np.testing.assert_allclose(found[target], wanted[0], rtol=1e-7, atol=1e-9)


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path)
    model = model_of(HuggingFace(str(folder)), samples())
    model.module.train()
    before = state(model.module)
    values(Saliency(), model, samples()[0])
    assert same(before, state(model.module))


def test_a_gradient_that_is_not_a_number_is_refused() -> None:
    class Root(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.abs().sqrt()

    model = tensors(Root(), torch.zeros(1, 3, dtype=torch.float64))
    _, slope, _ = slope_of(model, model.samples[0])
    assert float(slope.range) == 0
    with pytest.raises(HarnessError, match="NaN or infinite"):
        values(Saliency(), model, model.samples[0])


def test_a_setting_that_is_no_switch_is_refused() -> None:
    with pytest.raises(HarnessError, match="absolute is true or false"):
        Saliency(absolute="yes")  # type: ignore[arg-type]
