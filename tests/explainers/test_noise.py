"""Noisy gradients: closed forms, the moments of copies made by hand, and batches that do not show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from descents_for_tests import MLP, descend, drawn, slope_of, tensors, values

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.noise import GradientShap, SmoothGrad, SquareGrad, VarGrad
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
    with pytest.raises(HarnessError, match="'var_grad': of is one of gradient"):
        VarGrad(of="lime")
    with pytest.raises(HarnessError, match="samples is a whole number"):
        GradientShap(samples=0)
