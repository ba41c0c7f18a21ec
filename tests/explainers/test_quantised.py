"""Networks that are quantised, or lie on more than one device: asked as they are, or refused."""

from __future__ import annotations

import copy
import inspect as inspect_module
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import TEXTS, make, samples
from descents_for_tests import MLP, drawn, inspect, tensors
from test_generation import ANSWER, DELETE, network, sample

import harness
from harness import plugins
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.layers import LayerGradientXActivation
from harness.explainers.explain import make_methods
from harness.explainers.games import Perturbation
from harness.explainers.lenses.lens import logit_lens
from harness.explainers.lenses.tuned import train_tuned_lens
from harness.explainers.metrics.candidates import ANYWHERE, candidates
from harness.explainers.models import tensors as models_of_tensors
from harness.explainers.models.generation import LanguageModel
from harness.records import HarnessError

METHODS = sorted(plugins.registered("explainers"))
NEEDED = {"layer": "bert.encoder.layer.0", "neuron": [1, 2]}


def settings_of(name: str) -> dict[str, Any]:
    """What a method asks for and has no default."""
    taken = inspect_module.signature(plugins.load("explainers", name)).parameters
    return {field: NEEDED[field] for field, p in taken.items() if p.default is p.empty}


def quantised(module: torch.nn.Module) -> Any:
    return torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> HuggingFace:
    folder = tmp_path_factory.mktemp("bert")
    make("bert", folder)
    found = HuggingFace(str(folder))
    found.module = quantised(found.module)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_quantised_network_is_perturbed_and_gradients_of_it_are_refused(
    classifier: HuggingFace, name: str
) -> None:
    (method,) = make_methods(name, settings_of(name)).values()
    if isinstance(method, Perturbation):
        (found,) = harness.explain(classifier, TEXTS[:1], method)
        assert np.abs(np.array(found.values, dtype=float)).max() > 0
        return
    with pytest.raises(
        HarnessError, match="has quantised layers, .* use a perturbation"
    ) as refused:
        harness.explain(classifier, TEXTS[:1], method)
    assert "\n" not in str(refused.value)


def test_what_is_said_of_a_quantised_network_is_what_it_says_itself() -> None:
    net = quantised(MLP(torch.nn.Tanh).float())
    x = drawn(3, 4).float()
    for row, found in zip(x, harness.explain(net, x, "leave_one_out", target=1), strict=True):
        without = row * (1 - torch.eye(4))
        with torch.no_grad():
            wanted = net(row[None])[0, 1] - torch.stack([net(one[None])[0, 1] for one in without])
        # Each call has a scale of its own for all its rows, which quantises them differently.
        np.testing.assert_allclose(found.values, wanted, atol=0.05)


def test_what_needs_no_gradients_works_on_a_quantised_network_and_no_lens_is_trained_on_it(
    classifier: HuggingFace,
) -> None:
    assert set(candidates(classifier, samples(TEXTS[:1]))) == set(ANYWHERE)
    (found,) = logit_lens(classifier, TEXTS[:1])
    assert found.ranks[-1] == (1,)
    assert found.divergences[-1] == (0,)
    with pytest.raises(HarnessError, match="has quantised layers"):
        train_tuned_lens(classifier, TEXTS[:1])


def test_a_step_without_a_derivative_is_refused_also_where_gradients_go_on_beside_it() -> None:
    (layer,) = quantised(torch.nn.Sequential(torch.nn.Linear(4, 4)))
    packed = layer._packed_params._packed_params

    class Beside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x + torch.ops.quantized.linear_dynamic(x, packed)

    net = Beside()
    x = torch.randn(1, 4)
    with pytest.raises(HarnessError, match="has a step without a derivative"):
        harness.explain(net, x, "saliency")
    model = tensors(net, x)
    with pytest.raises(HarnessError, match="has a step without a derivative"):
        inspect(LayerGradientXActivation("first"), model, model.samples[0])

    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach()

    with pytest.raises(HarnessError, match="has no gradients by its features"):
        harness.explain(Nothing(), x, "integrated_gradients")


def test_inputs_go_to_the_device_of_the_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it shows with one device: weights that are first in the module, and are not used,
    lie where nothing can be computed."""
    nowhere = torch.nn.Parameter(torch.zeros(1, device="meta"))
    net, tokenizer = network("gpt2")
    model = LanguageModel(net, tokenizer, answers={"s": ANSWER})
    plain = harness.explain(model, [sample()], "input_x_gradient", baseline=5)
    reading = model.read(sample(), DELETE)
    wanted = model.outputs([reading.left(np.ones(len(reading.ids), dtype=bool))])

    elsewhere = copy.deepcopy(net)
    first = torch.nn.Module()
    first.register_parameter("unused", nowhere)
    elsewhere._modules = {"unused": first, **elsewhere._modules}
    assert next(elsewhere.parameters()).device.type == "meta"
    monkeypatch.setattr("harness.explainers.models.generation.fingerprint", lambda _: b"")
    moved = LanguageModel(elsewhere, tokenizer, answers={"s": ANSWER})
    left = reading.left(np.ones(len(reading.ids), dtype=bool))
    np.testing.assert_allclose(moved.outputs([left]), wanted, atol=1e-12)
    found = harness.explain(moved, [sample()], "input_x_gradient", baseline=5)
    assert found[0].values == plain[0].values

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = first
            self.table = torch.nn.Embedding(9, 3)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids).sum(dim=1)

    monkeypatch.setattr(models_of_tensors, "fingerprint", lambda _: b"")
    ids = torch.tensor([[1, 2, 3]])
    (seen,) = harness.explain(Classifier(), ids, "input_x_gradient", embedding="table", target=0)
    assert seen.full == pytest.approx(sum(filter(None, seen.values)))
