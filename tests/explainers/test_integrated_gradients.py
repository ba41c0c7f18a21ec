"""Integrated gradients: closed forms, completeness, Captum's numbers, and how many rows it takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as OfCaptum
from descents_for_tests import MLP, descend, drawn, slope_of, tensors, values

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.integrated_gradients import IntegratedGradients
from harness.explainers.gradients import Answer, Ask
from harness.explainers.models.choose import model_of
from harness.explainers.models.reading import Removal
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, samples

BASE = Removal("baseline", [0.5, -1.0, 0.25, 2.0])


class Powers(torch.nn.Module):
    """Sums of powers of the entries, whose integrated gradients from 0 are the powers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x**power).sum(dim=1) for power in (2, 5, 7)], dim=1)


def change(slope: object) -> np.ndarray:
    return slope.full_value - slope.empty_value  # type: ignore[attr-defined, no-any-return]


def test_of_a_linear_model_they_are_weights_times_the_difference() -> None:
    torch.manual_seed(2)
    net, x = torch.nn.Linear(4, 3).double(), drawn(1, 4)
    model = tensors(net, x)
    (found,), (rows,), _ = descend(IntegratedGradients(), model, model.samples, removal=BASE)
    wanted = net.weight.detach() * (x[0] - torch.tensor(BASE.baseline))
    np.testing.assert_allclose(found.values[..., 0], wanted, atol=1e-12)
    assert rows == 15
    assert found.complete


@pytest.mark.parametrize(
    "settings", [{}, {"steps": 8}, {"steps": 9}, {"steps": 4, "nodes": "gauss_legendre"}]
)
def test_of_powers_they_are_the_powers(settings: dict) -> None:
    x = drawn(1, 4)
    model = tensors(Powers(), x)
    found = values(IntegratedGradients(**settings, incomplete=True), model, model.samples[0])[
        ..., 0
    ]
    np.testing.assert_allclose(found, np.stack([x[0] ** p for p in (2, 5, 7)]), atol=1e-12)


@pytest.mark.parametrize(
    ("nodes", "captum"), [("midpoint", "riemann_middle"), ("gauss_legendre", "gausslegendre")]
)
@pytest.mark.parametrize("steps", [2, 7, 20])
def test_with_as_many_steps_they_are_captums(nodes: str, captum: str, steps: int) -> None:
    net, x = MLP(torch.nn.Tanh), drawn(1, 4)
    model = tensors(net, x)
    found = values(
        IntegratedGradients(steps, nodes, incomplete=True), model, model.samples[0], removal=BASE
    )
    base = torch.tensor([BASE.baseline], dtype=torch.float64)
    for target in range(3):
        wanted = OfCaptum(net).attribute(x, base, target=target, n_steps=steps, method=captum)
        np.testing.assert_allclose(found[target, :, 0], wanted[0].detach(), atol=1e-9)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_their_sum_is_within_a_hundredth_of_the_change_or_a_note_says_so(
    kind: str, tmp_path: Path
) -> None:
    folder, _, _ = make(kind, tmp_path)
    texts = samples()[:4]
    model = model_of(HuggingFace(str(folder), dtype="float64"), texts)
    found, rows, slopes = descend(IntegratedGradients(), model, texts)
    exact, _, _ = descend(IntegratedGradients(steps=300, nodes="gauss_legendre"), model, texts)
    for one, count, slope, near in zip(found, rows, slopes, exact, strict=True):
        allowed = 0.01 * np.maximum(abs(change(slope)), 0.01 * slope.range)
        assert (abs(one.values.sum(dim=(1, 2)).numpy() - change(slope)) <= allowed).all()
        assert not one.notes
        assert count <= 1000
        assert (one.values - near.values).norm() < 0.01 * near.values.norm()


def test_no_point_is_asked_for_twice() -> None:
    model = tensors(MLP(), drawn(1, 4))
    _, slope, _ = slope_of(model, model.samples[0])
    descent = IntegratedGradients(tolerance=1e-9, incomplete=True).descend(slope)
    places: list[bytes] = []
    ask: Ask | None = next(descent)
    while ask is not None:
        places += [ask.point(i).numpy().tobytes() for i in range(ask.count)]
        sums = torch.ones(len(ask.weights), 3, 4, 1, dtype=torch.float64)
        try:
            ask = descent.send(Answer(sums, None, np.zeros((ask.count, 3))))
        except StopIteration:
            ask = None
    assert len(places) == len(set(places)) > 500


def test_a_tolerance_that_is_missed_is_said_and_the_steps_stay_below_the_most() -> None:
    model = tensors(MLP(), drawn(1, 4))
    method = IntegratedGradients(tolerance=1e-9, most=50, incomplete=True)
    (found,), (rows,), _ = descend(method, model, model.samples)
    assert rows <= 50
    assert found.complete
    (note,) = found.notes
    assert f"{rows} steps did not bring" in note


def test_a_sum_that_is_right_by_chance_ends_nothing() -> None:
    class Wave(torch.nn.Module):
        """Two waves along the path that cancel in any sum, each unseen by few nodes."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.sin(60 * x[:, 0]) - torch.sin(60 * x[:, 1]), x[:, 0]], dim=1)

    model = tensors(Wave(), torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    (found,), (rows,), _ = descend(IntegratedGradients(), model, model.samples)
    assert rows > 15
    wanted = [[np.sin(60), -np.sin(60)], [1, 0]]
    np.testing.assert_allclose(found.values[..., 0], wanted, atol=0.01)


def test_more_steps_come_nearer_to_completeness() -> None:
    model = tensors(MLP(torch.nn.Tanh), 12 * drawn(1, 4))
    missed, counts = [], []
    for tolerance in (0.1, 1e-4, 1e-8):
        (found,), (rows,), (slope,) = descend(
            IntegratedGradients(tolerance=tolerance, incomplete=True), model, model.samples
        )
        missed.append(np.abs(found.values.sum(dim=(1, 2)).numpy() - change(slope)).max())
        counts.append(rows)
    assert missed[2] < 1e-7
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("float64", 1e-9)])
def test_several_texts_at_once_have_the_values_of_each_alone(
    dtype: str, near: float, tmp_path: Path
) -> None:
    folder, _, _ = make("llama", tmp_path)
    texts = samples()[:4]
    model = model_of(HuggingFace(str(folder), dtype=dtype), texts)
    method = IntegratedGradients(steps=16, incomplete=True)
    together, _, _ = descend(method, model, texts)
    for found, sample in zip(together, texts, strict=True):
        alone = values(method, model, sample, tokens=30)
        scale = float(np.abs(alone).max())
        np.testing.assert_allclose(found.values.numpy(), alone, atol=near * scale)


def test_special_tokens_have_no_value(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path)
    model = model_of(HuggingFace(str(folder)), samples())
    found = values(IntegratedGradients(steps=8, incomplete=True), model, samples()[0])
    assert np.abs(found[:, [0, -1]]).max() == 0
    assert (np.abs(found[:, 1:-1]).sum(axis=-1) > 0).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nodes": "simpson"}, "nodes is one of nested, midpoint, gauss_legendre"),
        ({"nodes": "midpoint"}, "say how many steps"),
        ({"steps": 0}, "steps is a whole number of at least 2"),
        ({"most": 3}, "most is a whole number of at least 15"),
        ({"tolerance": 0}, "tolerance is a number between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        IntegratedGradients(**settings)
