"""Attribution at named modules: Captum's numbers, closed forms, and what is refused."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from descents_for_tests import CNN, MLP, drawn, inspect, same, slope_of, state, tensors

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.layers import (
    GradCam,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    NeuronGradient,
    patches,
)
from harness.explainers.inside import Inside
from harness.explainers.models.choose import model_of
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, make_vit, pictures, samples

PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def vit(folder: Path) -> Any:
    make_vit(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model_of(HuggingFace(str(folder), dtype="float64"), pictures())


def bert(folder: Path) -> Any:
    return model_of(HuggingFace(str(make("bert", folder)[0]), dtype="float64"), samples())


def cnn() -> tuple[CNN, torch.Tensor, Any]:
    net, x = CNN(), drawn(1, 3, 8, 8)
    return net, x, tensors(net, x, channels="first")


@pytest.mark.parametrize("layer", ["first", "act2"])
def test_grad_cam_is_captums_enlarged_to_the_pixels(layer: str) -> None:
    net, x, model = cnn()
    found = inspect(GradCam(layer), model, model.samples[0]).values.reshape(3, 8, 8)
    for target in range(3):
        peer = attr.LayerGradCam(net, net.get_submodule(layer))
        seen = peer.attribute(x, target=target, relu_attributions=True).detach()
        wanted = torch.nn.functional.interpolate(seen, (8, 8), mode="bilinear")[0, 0]
        np.testing.assert_allclose(found[target], wanted, atol=1e-12)
    assert float(found.max()) > 0


def test_grad_cam_takes_the_last_grid_of_channels_unless_told() -> None:
    _, _, model = cnn()
    found = inspect(GradCam(), model, model.samples[0])
    assert torch.equal(found.values, inspect(GradCam("act2"), model, model.samples[0]).values)
    assert found.notes == ("Grad-CAM at module 'act2'",)


def test_grad_cam_finds_a_planted_bright_patch() -> None:
    net, x, _ = cnn()
    torch.nn.init.constant_(net.first.weight, 0.1)
    torch.nn.init.constant_(net.second.weight, 0.1)
    torch.nn.init.constant_(net.head.weight, 1.0)
    x = torch.zeros_like(x)
    x[..., 1:3, 5:7] = 1
    model = tensors(net, x, channels="first")
    seen = inspect(GradCam(), model, model.samples[0]).values[0].reshape(8, 8)
    assert float(seen[:4, 4:].sum()) > float(0.6 * seen.sum())


def test_grad_cam_of_a_vit_leaves_the_class_token_out(tmp_path: Path) -> None:
    model = vit(tmp_path)
    names = [name for name, _ in model.module.named_modules()]
    layer = [name for name in names if name.endswith("layernorm_before")][-1]
    found = inspect(GradCam(layer), model, pictures()[0]).values
    reading, slope, weights = slope_of(model, pictures()[0])
    kept: list[torch.Tensor] = []
    hook = model.module.get_submodule(layer).register_forward_hook(
        lambda _, __, out: kept.append(out)
    )
    with model.evaluating():
        value = Inside(model, reading, slope, weights, "logit").network()(
            slope.x[None].requires_grad_(True)
        )[0, 1]
        (gradient,) = torch.autograd.grad(value, kept[0])
    hook.remove()
    acts, slopes = kept[0][0, 1:], gradient[0, 1:]
    seen = (acts * slopes.mean(dim=0)).sum(dim=1).clamp(min=0).reshape(1, 1, 4, 4)
    wanted = torch.nn.functional.interpolate(seen, (32, 32), mode="bilinear")
    np.testing.assert_allclose(found[1].reshape(32, 32), wanted[0, 0].detach(), atol=1e-9)


def test_grad_cam_refuses_what_has_no_grid(tmp_path: Path) -> None:
    model, image = vit(tmp_path / "vit"), pictures()[0]
    with pytest.raises(HarnessError, match="does not end in a grid of channels; name a layer"):
        inspect(GradCam(), model, image)
    with pytest.raises(HarnessError, match="no influence on the target; name an earlier one"):
        inspect(GradCam("vit.layernorm"), model, image)
    with pytest.raises(HarnessError, match="which are no grid"):
        inspect(GradCam("classifier"), model, image)
    with pytest.raises(HarnessError, match="has no module 'neck'; it has "):
        inspect(GradCam("neck"), model, image)
    with pytest.raises(HarnessError, match="is for a single image"):
        inspect(GradCam(), bert(tmp_path / "bert"), samples()[0])


def test_tokens_of_an_image_are_a_grid_with_its_sides_or_none() -> None:
    assert patches(16, 32, 32) == (4, 4, 0)
    assert patches(17, 32, 32) == (4, 4, 1)
    assert patches(9, 32, 64) == (2, 4, 1)
    assert patches(15, 32, 32) is None


@pytest.mark.parametrize(
    "layer", ["bert.embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1.output.dense"]
)
def test_layer_gradient_times_activation_is_captums(layer: str, tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    found = inspect(LayerGradientXActivation(layer), model, sample).values
    reading, slope, weights = slope_of(model, sample)
    with model.evaluating():
        network = Inside(model, reading, slope, weights, "logit").network()
        peer = attr.LayerGradientXActivation(network, model.module.get_submodule(layer))
        for target in range(3):
            wanted = peer.attribute(slope.x[None].requires_grad_(True), target=target)
            wanted = wanted[0] if isinstance(wanted, tuple) else wanted
            np.testing.assert_allclose(found[target], wanted[0].detach(), atol=1e-9)


def test_layer_integrated_gradients_at_the_embeddings_are_complete(tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    _, slope, _ = slope_of(model, sample)
    found = inspect(LayerIntegratedGradients("bert.encoder.layer.0", 200), model, sample).values
    assert len(found[0]) == len(slope.x)
    change = slope.full_value - slope.empty_value
    np.testing.assert_allclose(found.sum(dim=(1, 2)), change, atol=0.01 * slope.range)


def test_a_layer_without_a_row_a_feature_is_refused(tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    for method in (LayerGradientXActivation("bert.pooler"), LayerIntegratedGradients("classifier")):
        with pytest.raises(HarnessError, match="not one row for each of the"):
            inspect(method, model, sample)


@pytest.mark.parametrize(("layer", "neuron"), [("0", 3), ("3", [5]), ("4", 1)])
def test_the_gradient_of_a_neuron_is_captums(layer: str, neuron: Any) -> None:
    net, x = MLP(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    found = inspect(NeuronGradient(layer, neuron), model, model.samples[0]).values[..., 0]
    place = neuron if isinstance(neuron, int) else tuple(neuron)
    wanted = attr.NeuronGradient(net, net.get_submodule(layer)).attribute(
        x.requires_grad_(True), place
    )
    assert found.shape == (3, 4)
    for row in found:
        np.testing.assert_allclose(row, wanted[0].detach(), atol=1e-12)


def test_the_gradient_of_the_first_layers_neuron_is_its_weights() -> None:
    model = tensors(MLP(), drawn(1, 4))
    found = inspect(NeuronGradient("0", 7), model, model.samples[0]).values[0, :, 0]
    np.testing.assert_allclose(found, model.module[0].weight[7].detach(), atol=1e-15)


def test_a_neuron_that_there_is_not_is_refused() -> None:
    model = tensors(MLP(), drawn(1, 4))
    for neuron in (16, [1, 2]):
        with pytest.raises(HarnessError, match="has 16 neurons, and none at"):
            inspect(NeuronGradient("0", neuron), model, model.samples[0])
    with pytest.raises(HarnessError, match="neuron is a whole number of at least 0"):
        NeuronGradient("0", -1)


def test_a_layer_is_seen_as_it_is_before_the_next_one_writes_into_it() -> None:
    net, _, model = cnn()
    wanted = inspect(GradCam("first"), model, model.samples[0]).values
    net.act1.inplace = True
    assert torch.equal(inspect(GradCam("first"), model, model.samples[0]).values, wanted)


@pytest.mark.parametrize("method", [GradCam(), NeuronGradient("first", [0, 1, 1])])
def test_the_network_is_left_as_it_was(method: Any) -> None:
    net, _, model = cnn()
    net.train()
    before = state(net)
    inspect(method, model, model.samples[0])
    assert same(before, state(net))


@pytest.mark.parametrize("kind", [LayerGradientXActivation, LayerIntegratedGradients])
@pytest.mark.parametrize("layer", ["bert.encoder.layer.0", "classifier"])
def test_a_text_network_is_left_as_it_was_also_when_refused(
    kind: Any, layer: str, tmp_path: Path
) -> None:
    model = bert(tmp_path)
    before = state(model.module)
    with contextlib.suppress(HarnessError):
        inspect(kind(layer), model, samples()[0])
    assert same(before, state(model.module))


def test_batches_do_not_change_layer_integrated_gradients(tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    method = LayerIntegratedGradients("bert.encoder.layer.0", 11)
    at_once = inspect(method, model, sample).values
    model.tokens = 45
    np.testing.assert_allclose(inspect(method, model, sample).values, at_once, atol=1e-9)
