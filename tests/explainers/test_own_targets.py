"""Functions of the outputs and neurons as targets: closed forms, and Captum's numbers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from classification_checkpoints import make, samples
from descents_for_tests import CNN, MLP, drawn, same, state
from games_for_tests import brute_force_shapley

import harness
from harness import plugins
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.explanation import Explanation
from harness.explainers.targets import Neuron, source_hash
from harness.records import HarnessError

UNGUIDED = {"saliency", "deep_lift", "leave_one_out"}


def values(explanation: Explanation) -> np.ndarray[Any, Any]:
    (attribution,) = explanation
    return np.array(attribution.values, dtype=float)


def plain(method: str) -> Any:
    """A method with its sign."""
    options = {"absolute": False} if method == "saliency" else {}
    return plugins.create("explainers", method, **options)


def margin(logits: Any) -> Any:
    return logits[0] - 0.5 * (logits[1] + logits[2])


def is_second(logits: Any) -> bool:
    return bool(logits[1] > 0.1)


def test_a_linear_function_of_the_outputs_is_explained_as_the_weights_say() -> None:
    net, x = MLP(), drawn(1, 4)
    classes = [values(harness.explain(net, x, "exact_shapley", target=c)) for c in range(3)]
    found = values(harness.explain(net, x, "exact_shapley", target=margin))
    np.testing.assert_allclose(found, classes[0] - 0.5 * (classes[1] + classes[2]), atol=1e-12)


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_a_contrast_as_a_function_is_the_contrast(output: str) -> None:
    net, x = MLP(torch.nn.Tanh), drawn(1, 4)
    # The softmax behind the network is no module that DeepLift has a rule for.
    by_rules = ("deep_lift_shap",) if output == "logit" else ()
    for method in ("exact_shapley", "integrated_gradients", "saliency", *by_rules):
        (own,) = harness.explain(net, x, method, target=lambda o: o[2] - o[0], output=output)
        (pair,) = harness.explain(net, x, method, target=(2, 0), output=output)
        np.testing.assert_allclose(own.values, pair.values, atol=1e-9)
        assert own.output == pair.output == output
        assert (own.full, own.empty) == pytest.approx((pair.full, pair.empty))


def test_a_step_has_the_shapley_values_of_its_own_game() -> None:
    net, x = MLP(), drawn(1, 4)

    def worth(kept: np.ndarray) -> np.ndarray:
        rows = torch.as_tensor(kept) * x
        return (net(rows)[:, 1] > 0.1).double().numpy()[:, None]

    found = values(harness.explain(net, x, "exact_shapley", target=is_second))
    np.testing.assert_allclose(found, brute_force_shapley(worth, 4)[:, 0], atol=1e-12)
    assert np.abs(found).max() > 0


def test_a_function_without_a_gradient_is_refused_by_gradient_methods() -> None:
    net, x = MLP(), drawn(1, 4)
    for function in (is_second, lambda o: o[1] > 0, lambda o: float(o[1])):
        with pytest.raises(HarnessError, match="has no gradient: a step has none"):
            harness.explain(net, x, "saliency", target=function)


def test_a_function_that_says_no_number_or_fails_is_named() -> None:
    net, x = MLP(), drawn(1, 4)
    with pytest.raises(HarnessError, match="'<lambda>' says 3 numbers of one input"):
        harness.explain(net, x, "exact_shapley", target=lambda o: o)
    with pytest.raises(HarnessError, match="target 'margin' failed: IndexError"):
        harness.explain(torch.nn.Linear(4, 2).double(), x, "exact_shapley", target=margin)


def test_the_function_is_given_each_classifiers_outputs_on_the_named_scale() -> None:
    seen = []

    def entropy(row: Any) -> float:
        seen.append(row.numpy())
        return float(-(row * row.log()).sum())

    def judge(texts: list[str]) -> list[list[float]]:
        return [[0.9, 0.1] if "scan" in text else [0.5, 0.5] for text in texts]

    (found,) = harness.explain(judge, "the scan", "exact_shapley", target=entropy)
    assert found.unit == "word"
    assert found.target == "entropy"
    assert found.values[0] == pytest.approx(0)
    assert found.values[1] == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1) - np.log(2))
    assert np.allclose(np.sum(seen, axis=1), 1)


def test_the_source_of_a_function_is_part_of_the_record() -> None:
    net, x = MLP(), drawn(1, 4)
    (one,) = harness.explain(net, x, "exact_shapley", target=margin)
    (other,) = harness.explain(net, x, "exact_shapley", target=is_second)
    assert one.settings["target"] == source_hash(margin)
    assert other.settings["target"] != one.settings["target"]
    spaces: list[dict[str, Any]] = [{}, {}]
    for space, text in zip(spaces, ("f = lambda o: o[0]", "f = lambda o: o[0] + 1"), strict=True):
        exec(text, space)
    assert source_hash(spaces[0]["f"]) != source_hash(spaces[1]["f"])
    assert len(source_hash(functools.partial(max, 1))) == 64


def test_metrics_measure_what_a_function_is_explained_by() -> None:
    net, x = MLP(), drawn(3, 4)
    found = harness.evaluate(
        net,
        x,
        ["exact_shapley"],
        metrics=["deletion", "completeness", "random_logit"],
        target=margin,
    )
    why = {(m.metric, m.why) for m in found.measurements if m.value is None}
    assert why == {("random_logit", "there is no other class")}


@pytest.mark.parametrize(("layer", "neuron"), [("0", 3), ("3", 5), ("4", (1,))])
def test_the_methods_of_a_neuron_are_captums(layer: str, neuron: Any) -> None:
    net, x = MLP(), drawn(1, 4)
    part, place = net.get_submodule(layer), neuron if isinstance(neuron, int) else tuple(neuron)
    zero = torch.zeros_like(x)
    target = Neuron(layer, neuron)
    asked = {
        "saliency": attr.NeuronGradient(net, part).attribute(x.clone().requires_grad_(), place),
        "guided_backprop": attr.NeuronGuidedBackprop(net, part).attribute(x, place),
        "deconvolution": attr.NeuronDeconvolution(net, part).attribute(x, place),
        "deep_lift": attr.NeuronDeepLift(net, part).attribute(x, place, zero),
        "leave_one_out": attr.NeuronFeatureAblation(net, part).attribute(x, place, zero),
    }
    peer = attr.NeuronIntegratedGradients(net, part)
    if layer == "0":  # before any ReLU there is nothing to guide, and ours refuses
        asked = {method: wanted for method, wanted in asked.items() if method in UNGUIDED}
    methods = {method: plain(method) for method in asked}
    before = state(net)
    for found in harness.explain(net, x, methods, target=target, reduce="sum"):
        wanted = asked[found.method][0].detach()
        np.testing.assert_allclose(found.values, wanted, atol=1e-9, err_msg=found.method)
    assert same(before, state(net))
    steps = {"steps": 40, "nodes": "gauss_legendre"}
    (found,) = harness.explain(net, x, "integrated_gradients", target=target, settings=steps)
    wanted = peer.attribute(x, place, zero, n_steps=40, method="gausslegendre")
    np.testing.assert_allclose(found.values, wanted[0].detach(), atol=1e-9)
    assert found.target == f"{layer}[{place if isinstance(place, int) else place[0]}]"
    assert found.output == "activation"


def test_a_neuron_of_a_grid_of_channels_is_captums() -> None:
    net, x = CNN(), drawn(1, 3, 8, 8)
    place = (2, 4, 5)
    for channels in ("first", None):
        (found,) = harness.explain(
            net, x, plain("saliency"), target=Neuron("act1", place), reduce="sum", unit="feature",
            channels=channels,
        )  # fmt: skip
        wanted = attr.NeuronGradient(net, net.act1).attribute(x.clone().requires_grad_(), place)[0]
        wanted = wanted.sum(dim=0) if channels else wanted
        np.testing.assert_allclose(found.values, wanted.flatten().detach(), atol=1e-12)


def test_a_neuron_of_a_text_model_has_shapley_values_of_words(tmp_path: Path) -> None:
    folder, network, tokenizer = make("bert", tmp_path)
    layer = "bert.encoder.layer.0.output.dense"
    sample = samples()[0]
    classifier = HuggingFace(str(folder))
    before = state(classifier.module)
    (found,) = harness.explain(classifier, [sample], "kernel_shap", target=Neuron(layer, (0, 7)))
    assert same(before, state(classifier.module))
    said = []
    hook = network.get_submodule(layer).register_forward_hook(lambda _, __, out: said.append(out))
    with torch.no_grad():
        network(**tokenizer(sample.text, return_tensors="pt"))
    hook.remove()
    assert found.full == pytest.approx(float(said[0][0, 0, 7]), abs=1e-5)
    assert found.completeness_error == pytest.approx(0, abs=1e-4)
    assert found.unit == "word"


def test_neurons_that_there_are_not_are_refused() -> None:
    net, x = MLP(), drawn(1, 4)
    for neuron, message in [
        (Neuron("0", 16), "has 16 neurons, and none at 16"),
        (Neuron("0", (1, 2)), "has 16 neurons, and none at 1, 2"),
        (Neuron("9", 1), "has no module '9'"),
    ]:
        with pytest.raises(HarnessError, match=message):
            harness.explain(net, x, "saliency", target=neuron)
    with pytest.raises(HarnessError, match="place"):
        Neuron("0", -1)
    with pytest.raises(HarnessError, match=r"0\[1\] is inside a network, and .* is a function"):
        harness.explain(lambda texts: [[0.5, 0.5]] * len(texts), "a", target=Neuron("0", 1))
