"""Noisy gradients: closed forms, the moments of copies made by hand, and batches that do not show."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from descents_for_tests import CNN, MLP, descend, drawn, same, slope_of, state, tensors, values

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.layers import LayerGradientXActivation, NeuronGradient
from harness.explainers.attributions.noise import GradientShap, SmoothGrad, SquareGrad, VarGrad
from harness.explainers.inside import Inside
from harness.explainers.models.choose import model_of
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, samples

NOISY = [SmoothGrad, SquareGrad, VarGrad]


def copies(method: Any, model: Any, **options: Any) -> torch.Tensor:
    """The noisy points that a method asks for."""
    _, slope, _ = slope_of(model, model.samples[0], **options)
    ask = next(SmoothGrad(method.settings["samples"], method.settings["sigma"]).descend(slope))
    return torch.stack([ask.point(i) for i in range(ask.count)])


def test_on_a_linear_model_noise_changes_nothing() -> None:
    torch.manual_seed(1)
    net = torch.nn.Linear(4, 3).double()
    model = tensors(net, drawn(1, 4))
    weights = net.weight.detach().numpy()
    found = [values(kind(), model, model.samples[0])[..., 0] for kind in NOISY]
    np.testing.assert_allclose(found[0], weights, atol=1e-12)
    np.testing.assert_allclose(found[1], weights**2, atol=1e-12)
    np.testing.assert_allclose(found[2], 0, atol=1e-12)


def test_on_a_quadratic_the_variance_is_that_of_the_noise() -> None:
    class Squares(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([(x**2).sum(dim=1) / 2, x.sum(dim=1)], dim=1)

    x = drawn(1, 6)
    model = tensors(Squares(), x)
    found = values(VarGrad(samples=4000, sigma=0.2), model, model.samples[0])
    spread = 0.2 * float(x.max() - x.min())  # the gradient is x itself
    assert np.sqrt(found[0]) == pytest.approx(spread, rel=0.06)
    assert found[1] == pytest.approx(0)


@pytest.mark.parametrize("of", ["gradient", "input_x_gradient", "integrated_gradients"])
def test_each_is_a_moment_of_captums_values_at_the_copies(of: str) -> None:
    net = MLP(torch.nn.Tanh)
    model = tensors(net, drawn(1, 4))
    points = copies(SmoothGrad(9), model)[..., 0]
    peers: dict[str, Any] = {
        "gradient": lambda t: Saliency(net).attribute(points.clone(), target=t, abs=False),
        "input_x_gradient": lambda t: InputXGradient(net).attribute(points.clone(), target=t),
        "integrated_gradients": lambda t: IntegratedGradients(net).attribute(
            points.clone(), target=t, n_steps=6
        ),
    }
    wanted = torch.stack([peers[of](t).detach() for t in range(3)])
    settings = {"samples": 9, "of": of, "steps": 6}
    found = [values(kind(**settings), model, model.samples[0])[..., 0] for kind in NOISY]
    np.testing.assert_allclose(found[0], wanted.mean(dim=1), atol=1e-9)
    np.testing.assert_allclose(found[1], (wanted**2).mean(dim=1), atol=1e-9)
    np.testing.assert_allclose(found[2], wanted.var(dim=1, correction=0), atol=1e-9)


@pytest.mark.parametrize(
    "of",
    [
        "saliency", "deep_lift", "guided_backprop", "lrp",
        {"kind": "integrated_gradients", "steps": 4, "nodes": "midpoint", "incomplete": True},
        {"kind": "neuron_gradient", "layer": "2", "neuron": 3},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", NOISY)
def test_over_any_method_it_is_captums_noise_tunnel_on_the_same_copies(
    of: Any, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = MLP(bias=False)
    model = tensors(net, drawn(1, 4))
    points = copies(SmoothGrad(10, 0.1), model)[..., 0]
    name = of if isinstance(of, str) else of["kind"]
    peers: dict[str, Any] = {
        "saliency": lambda: attr.Saliency(net),
        "deep_lift": lambda: attr.DeepLift(net),
        "guided_backprop": lambda: attr.GuidedBackprop(net),
        "lrp": lambda: attr.LRP(net),
        "integrated_gradients": lambda: attr.IntegratedGradients(net),
        "neuron_gradient": lambda: attr.NeuronGradient(net, net[2]),
    }
    moment = {SmoothGrad: "smoothgrad", SquareGrad: "smoothgrad_sq", VarGrad: "vargrad"}[kind]
    found = values(kind(10, 0.1, of), model, model.samples[0])[..., 0]
    monkeypatch.setattr(torch, "normal", lambda *_, **__: points - drawn(1, 4))
    for target in range(3):
        given: dict[str, Any] = {"target": target}
        if name == "neuron_gradient":
            given = {"neuron_selector": 3}
        if name == "integrated_gradients":
            given |= {"n_steps": 4, "method": "riemann_middle"}
        peer = attr.NoiseTunnel(peers[name]())
        wanted = peer.attribute(drawn(1, 4), nt_type=moment, nt_samples=10, **given)[0].detach()
        np.testing.assert_allclose(found[target], wanted, atol=1e-9)


@pytest.mark.parametrize(
    "of",
    ["gradient_shap", "integrated_gradients", "smooth_grad", "grad_cam", "layer"],
)
def test_of_may_be_a_name_a_mapping_or_an_explainer(of: str) -> None:
    net, x = CNN(), drawn(1, 3, 8, 8)
    model = tensors(net, x, channels="first")
    given = {
        "gradient_shap": {"kind": "gradient_shap", "samples": 3},
        "integrated_gradients": {"kind": "integrated_gradients"},
        "smooth_grad": SmoothGrad(2),
        "grad_cam": {"kind": "grad_cam", "layer": "first"},
        "layer": NeuronGradient("first", [0, 1, 1]),
    }[of]
    method = SmoothGrad(3, of=given)
    found = descend(method, model, model.samples)[0][0].values
    assert found.shape[:2] == (3, 64)
    assert float(found.abs().max()) > 0
    alone = descend(method, model, model.samples, tokens=1)[0][0].values
    torch.testing.assert_close(found, alone, atol=1e-12, rtol=1e-9)
    before = state(net)
    descend(method, model, model.samples)
    assert same(before, state(net))
    json.dumps(method.settings)


def test_a_method_that_checks_its_completeness_is_checked_at_each_copy() -> None:
    """Adaptive integrated gradients need the value at the copy: with it they settle, and differ
    little from many fixed steps."""
    model = tensors(MLP(torch.nn.Tanh), drawn(1, 4))
    settled, _, _ = descend(
        SmoothGrad(4, of={"kind": "integrated_gradients"}), model, model.samples
    )
    fixed = values(SmoothGrad(4, of="integrated_gradients", steps=200), model, model.samples[0])
    assert settled[0].notes == ()
    np.testing.assert_allclose(settled[0].values, fixed, atol=0.02 * np.abs(fixed).max())


def test_settings_of_the_three_first_methods_are_what_they_were() -> None:
    assert SmoothGrad(of="gradient").settings == {
        "samples": 25, "sigma": 0.15, "of": "gradient", "steps": 20,
    }  # fmt: skip
    assert VarGrad(3, of="deep_lift").settings["of"]["kind"] == "deep_lift"
    assert SmoothGrad(of="deep_lift").reduce == "sum"
    assert SmoothGrad(of="saliency").reduce == "l2"


def test_noise_over_a_layer_of_a_text_model_is_the_mean_over_its_copies(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path)
    texts = samples()[:1]
    model = model_of(HuggingFace(str(folder), dtype="float64"), texts)
    layer = LayerGradientXActivation("bert.encoder.layer.0")
    reading, slope, weights = slope_of(model, texts[0])
    ask = next(SmoothGrad(3, 0.1).descend(slope))
    with model.evaluating():
        each = [
            layer.attribute(
                Inside(model, reading, dataclasses.replace(slope, x=ask.point(i)), weights, "logit")
            ).values
            for i in range(3)
        ]
    of = {"kind": "layer_gradient_x_activation", "layer": "bert.encoder.layer.0"}
    found = values(SmoothGrad(3, 0.1, of), model, texts[0])
    np.testing.assert_allclose(found, sum(each) / 3, atol=1e-12)
    assert not np.allclose(found, each[0])


def test_noise_is_as_wide_as_said_and_another_for_each_copy_and_seed() -> None:
    x = drawn(1, 4)
    model = tensors(MLP(), x)
    points = copies(SmoothGrad(samples=4000), model)
    spread = 0.15 * float(x.max() - x.min())
    assert float((points - x[0, :, None]).std()) == pytest.approx(spread, rel=0.03)
    assert len(torch.unique(points, dim=0)) == 4000
    assert not torch.equal(points, copies(SmoothGrad(samples=4000), model, seed=1))


@pytest.mark.parametrize(
    "method", [SmoothGrad(5), VarGrad(5, of="integrated_gradients", steps=3), GradientShap(5)]
)
def test_batches_do_not_change_values_and_a_seed_repeats_them(method: Any, tmp_path: Path) -> None:
    folder, _, _ = make("gpt2", tmp_path)
    texts = samples()[:3]
    model = model_of(HuggingFace(str(folder), dtype="float64"), texts)
    together, _, _ = descend(method, model, texts)
    for found, sample in zip(together, texts, strict=True):
        alone = values(method, model, sample, tokens=1)
        scale = float(np.abs(alone).max())
        np.testing.assert_allclose(found.values.numpy(), alone, atol=1e-9 * scale)
        assert not np.allclose(alone, values(method, model, sample, seed=1))


def test_rows_are_samples_times_steps() -> None:
    model = tensors(MLP(), drawn(1, 4))
    for method, wanted in [
        (SmoothGrad(7), 7),
        (SquareGrad(4, of="integrated_gradients", steps=5), 20),
        (GradientShap(6), 6),
    ]:
        assert descend(method, model, model.samples)[1] == [wanted]


def test_gradient_shap_of_a_linear_model_is_exact() -> None:
    torch.manual_seed(1)
    net, x = torch.nn.Linear(4, 3).double(), drawn(1, 4)
    model = tensors(net, x)
    (found,), _, _ = descend(GradientShap(3), model, model.samples)
    np.testing.assert_allclose(found.values[..., 0], net.weight.detach() * x[0], atol=1e-12)
    assert found.complete


def test_gradient_shap_comes_to_integrated_gradients_and_to_completeness() -> None:
    net = MLP(torch.nn.Tanh)
    x = drawn(1, 4)
    model = tensors(net, x)
    found = values(GradientShap(2000), model, model.samples[0])[..., 0]
    for target in range(3):
        wanted = IntegratedGradients(net).attribute(x, target=target, n_steps=100)[0]
        np.testing.assert_allclose(found[target], wanted.detach(), atol=1e-4)
    change = (net(x) - net(0 * x))[0].detach()
    np.testing.assert_allclose(found.sum(axis=1), change, atol=1e-4)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(HarnessError, match="'smooth_grad': sigma is a number above 0"):
        SmoothGrad(sigma=0)
    with pytest.raises(HarnessError, match="'var_grad': of is one of gradient.* not 'lime'"):
        VarGrad(of="lime")
    with pytest.raises(HarnessError, match="no explainer 'saliencies'; did you mean 'saliency'"):
        SmoothGrad(of="saliencies")
    with pytest.raises(HarnessError, match="of has no 'kind'"):
        SmoothGrad(of={"layer": "0"})
    with pytest.raises(HarnessError, match="'neuron_gradient' needs the field 'neuron'"):
        SmoothGrad(of={"kind": "neuron_gradient", "layer": "0"})
    with pytest.raises(HarnessError, match="steps are for of integrated_gradients"):
        SmoothGrad(of="saliency", steps=5)
    with pytest.raises(HarnessError, match="samples is a whole number"):
        GradientShap(samples=0)
