"""Every registered explainer on every kind of model: a record that keeps its promises, or one
sentence that refuses; and the model as it was, either way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import TEXTS, make, make_vit, pictures

import harness
from harness import plugins
from harness.classifiers.functions import Callable
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.explanation import Explanation
from harness.explainers.units.images import Patch
from harness.records import HarnessError

NEEDED = {
    "layer_gradient_x_activation": "layer",
    "layer_integrated_gradients": "layer",
    "neuron_gradient": "layer",
    "layer_conductance": "layer",
    "internal_influence": "layer",
    "layer_gradient_shap": "layer",
    "neuron_conductance": "layer",
}
MUST_WORK = {
    "bert": {
        "saliency", "input_x_gradient", "integrated_gradients", "smooth_grad", "square_grad", "var_grad",
        "gradient_shap", "attention_rollout", "layer_gradient_x_activation", "layer_integrated_gradients",
        "neuron_gradient", "value_zeroing", "layer_conductance", "internal_influence", "layer_gradient_shap",
        "neuron_conductance",
    },
    "gpt2": {
        "saliency", "integrated_gradients", "attention_rollout", "value_zeroing", "layer_gradient_x_activation",
    },
    "vit": {"saliency", "integrated_gradients", "smooth_grad", "attention_rollout", "value_zeroing"},
    "relu": {
        "saliency", "integrated_gradients", "guided_backprop", "deconvolution", "deep_lift", "grad_cam",
    },
}  # fmt: skip
PERTURBATIONS = {
    "occlusion", "leave_one_out", "lime", "kernel_shap", "permutation_shap", "exact_shapley",
    "owen_values", "sobol", "rise", "shapley_taylor", "k_sii",
}  # fmt: skip
LAYERS = {
    "bert": ("bert.encoder.layer.0", [3]),
    "gpt2": ("transformer.h.0.mlp", [3]),
    "vit": ("vit.layernorm", [0]),
    "relu": ("0", [0]),
}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any, Any]]:
    """By name: a classifier, its module, and how it is given a sample and divided."""
    found: dict[str, tuple[Any, Any, Any]] = {}
    for kind in ("bert", "gpt2"):
        folder: Path = make(kind, tmp_path_factory.mktemp(kind))[0]
        classifier = HuggingFace(str(folder))
        found[kind] = classifier, classifier.module, ([TEXTS[0]], "word")
    folder = tmp_path_factory.mktemp("vit")
    make_vit(folder)
    from transformers import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    vit = HuggingFace(str(folder))
    found["vit"] = vit, vit.module, ([pictures()[0]], Patch(16))
    torch.manual_seed(0)
    relu = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.AvgPool2d(8), torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    )  # fmt: skip

    def prepared(arrays: list[Any]) -> torch.Tensor:
        return torch.stack([torch.from_numpy(a).permute(2, 0, 1).float() / 255 for a in arrays])

    array = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    network = Callable(module=relu, preprocess=prepared, classes=["a", "b", "c"])
    found["relu"] = network, relu, ([array], Patch(16))
    return found


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit", "relu"])
@pytest.mark.parametrize("method", sorted(plugins.registered("explainers")))
def test_a_method_keeps_its_promises_or_refuses_in_one_sentence(
    subjects: dict[str, tuple[Any, Any, Any]], kind: str, method: str
) -> None:
    classifier, module, (samples, unit) = subjects[kind]
    layer, neuron = LAYERS[kind]
    settings: dict[str, Any] = {"layer": layer} if method in NEEDED else {}
    if method in ("neuron_gradient", "neuron_conductance"):
        settings["neuron"] = neuron * (2 if kind != "relu" else 3)
    state = copy.deepcopy(module.state_dict())
    flags = [
        (part.training, len(part._forward_hooks), len(part._backward_hooks))
        for part in module.modules()
    ]
    grads = [value.requires_grad for value in module.parameters()]
    try:
        found = harness.explain(classifier, samples, method, unit, settings=settings, target="all")
        refusal = ""
    except HarnessError as error:
        found, refusal = Explanation(()), str(error)
    assert not refusal or method not in MUST_WORK[kind] | PERTURBATIONS, refusal
    assert "\n" not in refusal
    for attribution in found:
        assert len(attribution.values) == len(attribution.units)
        assert all(value is not None and np.isfinite(value) for value in attribution.values)
        assert attribution.method == method
        if attribution.completeness_error is not None and method != "gradient_shap":
            assert attribution.completeness_error < 0.05  # of gradient_shap it is the draw's own
    after = module.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert flags == [
        (part.training, len(part._forward_hooks), len(part._backward_hooks))
        for part in module.modules()
    ]
    assert grads == [value.requires_grad for value in module.parameters()]
    assert all(value.grad is None for value in module.parameters())
