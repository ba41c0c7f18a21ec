"""Layers on the way from nothing to the sample: Captum's numbers, closed forms, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from descents_for_tests import MLP, drawn, inspect, same, slope_of, state, tensors

from harness.explainers.attributions.integrated_gradients import IntegratedGradients
from harness.explainers.attributions.layer_paths import (
    InternalInfluence,
    LayerConductance,
    LayerGradientShap,
    NeuronConductance,
)
from harness.explainers.inside import Inside
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import samples
from descents_for_tests import values as descended
from test_layers import bert

LAYER = "bert.encoder.layer.0"


class Rows(torch.nn.Module):
    """Four places of one number each: a layer that says three numbers of each, then one of all."""

    def __init__(self, activation: type[torch.nn.Module]) -> None:
        torch.manual_seed(8)
        super().__init__()
        self.wide = torch.nn.Linear(1, 3)
        self.act = activation()
        self.head = torch.nn.Linear(12, 2)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.wide(x[..., None])).flatten(1))


@pytest.mark.parametrize(
    ("ours", "peer"),
    [(LayerConductance, attr.LayerConductance), (InternalInfluence, attr.InternalInfluence)],
)
def test_layers_of_a_text_model_have_captums_values(ours: Any, peer: Any, tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    before = state(model.module)
    found = inspect(ours(LAYER, 20), model, sample).values
    assert same(before, state(model.module))
    reading, slope, weights = slope_of(model, sample)
    with model.evaluating():
        network = Inside(model, reading, slope, weights, "logit").network()
        for target in range(3):
            wanted = peer(network, model.module.get_submodule(LAYER)).attribute(
                slope.x[None], slope.empty[None], target=target, n_steps=20
            )
            wanted = wanted[0] if isinstance(wanted, tuple) else wanted
            np.testing.assert_allclose(found[target], wanted[0].detach(), atol=1e-9)


@pytest.mark.parametrize("method", [LayerConductance("act", 200), LayerGradientShap("wide", 400)])
def test_what_passes_through_a_layer_sums_to_the_change(method: Any) -> None:
    model = tensors(Rows(torch.nn.Tanh), drawn(1, 4))
    _, slope, _ = slope_of(model, model.samples[0])
    found = inspect(method, model, model.samples[0])
    change = slope.full_value - slope.empty_value
    allowed = 1e-4 if isinstance(method, LayerConductance) else 0.05
    np.testing.assert_allclose(found.values.flatten(1).sum(dim=1), change, atol=allowed)


def test_behind_the_last_activation_a_layer_has_its_weights_times_its_change() -> None:
    net, x = Rows(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    with torch.no_grad():
        change = net.act(net.wide(x[..., None])) - net.act(net.wide(torch.zeros_like(x)[..., None]))
        weights = net.head.weight.reshape(2, 4, 3)
    # Captum adds up conductance over the steps between its nodes.
    for method, allowed in ((LayerGradientShap("act", 3), 1e-12), (LayerConductance("act"), 1e-3)):
        found = inspect(method, model, model.samples[0]).values
        np.testing.assert_allclose(found, (weights * change).detach(), atol=allowed)
    found = inspect(InternalInfluence("act", 5), model, model.samples[0]).values
    np.testing.assert_allclose(found, weights.detach(), atol=1e-12)


def test_gradient_shap_of_a_layer_is_what_captums_tends_to() -> None:
    net, x = Rows(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    torch.manual_seed(1)
    np.random.seed(1)
    peer = attr.LayerGradientShap(net, net.wide)
    wanted = peer.attribute(x, torch.zeros_like(x), n_samples=4000, stdevs=0.0, target=1)[0]
    found = inspect(LayerGradientShap("wide", 200), model, model.samples[0])
    np.testing.assert_allclose(
        found.values[1], wanted.detach(), atol=0.02 * float(wanted.abs().max())
    )
    again = inspect(LayerGradientShap("wide", 200), model, model.samples[0])
    other = inspect(LayerGradientShap("wide", 200), model, model.samples[0], seed=1)
    assert torch.equal(found.values, again.values)
    assert not torch.equal(found.values, other.values)


@pytest.mark.parametrize(("layer", "neuron"), [("1", 3), ("3", (7,))])
def test_the_conductance_of_a_neuron_is_captums(layer: str, neuron: Any) -> None:
    net, x = MLP(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    found = inspect(NeuronConductance(layer, neuron, 30), model, model.samples[0]).values
    place = neuron if isinstance(neuron, int) else tuple(neuron)
    peer = attr.NeuronConductance(net, net.get_submodule(layer))
    for target in range(3):
        wanted = peer.attribute(
            x, place, torch.zeros_like(x), target=target, n_steps=30, method="gausslegendre"
        )
        np.testing.assert_allclose(found[target, :, 0], wanted[0].detach(), atol=1e-9)


def test_the_conductances_of_all_neurons_are_integrated_gradients() -> None:
    model = tensors(MLP(torch.nn.Tanh), drawn(1, 4))
    total = sum(
        inspect(NeuronConductance("1", n, 60), model, model.samples[0]).values for n in range(16)
    )
    wanted = descended(IntegratedGradients(60, "gauss_legendre"), model, model.samples[0])
    np.testing.assert_allclose(total, wanted, atol=1e-9)


def test_layers_and_neurons_that_there_are_not_are_refused(tmp_path: Path) -> None:
    model, sample = bert(tmp_path), samples()[0]
    for method in (LayerConductance, InternalInfluence, LayerGradientShap):
        with pytest.raises(HarnessError, match="not one row for each of the"):
            inspect(method("bert.pooler"), model, sample)
        with pytest.raises(HarnessError, match="has no module 'neck'"):
            inspect(method("neck"), model, sample)
    mlp = tensors(MLP(), drawn(1, 4))
    with pytest.raises(HarnessError, match="has 16 neurons, and none at 16"):
        inspect(NeuronConductance("0", 16), mlp, mlp.samples[0])
    for build in (lambda: LayerConductance("0", 0), lambda: NeuronConductance("0", -1)):
        with pytest.raises(HarnessError):
            build()
