"""Metrics for which a method explains again: robustness, randomisation, input invariance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from captum.metrics import sensitivity_max
from descents_for_tests import CNN, MLP, drawn, same, state
from trials_for_tests import trial_of

import harness
from harness.explainers.explain import blocks
from harness.explainers.metrics.alterations import Noise, OtherTarget, Randomised, Shift
from harness.explainers.metrics.metric import Repeated
from harness.explainers.metrics.randomisation import ParameterRandomisation, RandomLogit
from harness.explainers.metrics.robustness import LocalLipschitz, MaxSensitivity, SeedStability
from harness.explainers.metrics.similarity import spearman


def block_of(module: torch.nn.Module, x: torch.Tensor, **options: Any) -> Any:
    return next(iter(blocks(module, x, "feature", **options)))


def by_method(evaluation: Any, metric: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in evaluation.measurements:
        if one.metric == metric:
            found.setdefault(one.method, []).append(one.value)
    return found


def test_max_sensitivity_of_saliency_is_captums_on_the_same_neighbours() -> None:
    network, x = MLP().double(), drawn(3, 4).double()
    radius, copies = 0.1, 6
    found = by_method(
        harness.evaluate(
            network, x, "saliency", reduce="sum", target=1,
            metrics="max_sensitivity",
            metric_settings={"max_sensitivity": {"radius": radius, "copies": copies}},
        ),
        "max_sensitivity",
    )["saliency"]  # fmt: skip
    block = block_of(network, x, target=1)
    for row in range(3):
        noises = []
        for number in range(copies):
            with Noise(radius, number).under(block) as moved:
                model: Any = moved.engine.model
                noises.append(model.noise(moved.subjects[row].reading).reshape(-1))
        assert max(float(one.abs().max()) for one in noises) <= radius * float(
            x[row].max() - x[row].min()
        )
        theirs = sensitivity_max(
            Saliency(network).attribute, x[[row]],
            perturb_func=lambda x, _radius, noises=noises: (torch.stack(noises) + x,),
            n_perturb_samples=copies, target=1, abs=True,
        )  # fmt: skip
        assert found[row] == pytest.approx(float(theirs), rel=1e-6)


def test_the_lipschitz_ratio_of_input_x_gradient_is_one_on_a_linear_network() -> None:
    network = torch.nn.Linear(5, 2, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(1.0)
    found = harness.evaluate(
        network, drawn(4, 5).double(), ["input_x_gradient", "saliency"],
        metrics=["local_lipschitz", "max_sensitivity"], target=0,
    )  # fmt: skip
    # values are the features themselves, so both change alike; the gradient never changes
    for method, expected in (("input_x_gradient", 1.0), ("saliency", 0.0)):
        assert by_method(found, "local_lipschitz")[method] == pytest.approx([expected] * 4)
    assert by_method(found, "max_sensitivity")["saliency"] == [0.0] * 4
    assert min(by_method(found, "max_sensitivity")["random"]) > 0.5


def test_a_perturbation_method_sees_the_moved_input() -> None:
    network, x = MLP().double(), drawn(2, 4).double()
    block = block_of(network, x, target=0)
    alteration = Noise(0.3, 1)
    with alteration.under(block) as moved:
        model: Any = moved.engine.model
        noise = torch.stack([model.noise(s.reading).reshape(-1) for s in moved.subjects])
        methods = {"exact_shapley": harness.plugins.create("explainers", "exact_shapley")}
        found = moved.explained(methods)
        expected = harness.explain(network, x + noise, "exact_shapley", target=0)
        for number, one in enumerate(expected):
            assert found["exact_shapley", number][0].values == pytest.approx(one.values, abs=1e-12)
            assert alteration.moved(moved, moved.subjects[number]) == pytest.approx(
                float(noise[number].norm() / x[number].norm())
            )


def test_random_weights_are_gone_after_the_test_and_the_network_is_as_before() -> None:
    network, x = CNN(), drawn(2, 3, 12, 12)
    network.train()
    before = state(network)
    block = block_of(network, x, target=0)
    with Randomised(1.0).under(block) as altered:
        inside = state(network)
        assert not same(before, inside)
        for name, (weight, *_) in ((n, b) for n, b in before.items() if torch.is_tensor(b[0])):
            if "running" not in name:
                assert torch.equal(weight.flatten().sort()[0], inside[name][0].flatten().sort()[0])
        assert altered.subjects[0].full != block.subjects[0].full
    assert same(before, state(network))
    with pytest.raises(RuntimeError), Randomised(0.5).under(block):
        raise RuntimeError
    assert same(before, state(network))


def test_a_share_of_the_network_is_that_which_ends_it() -> None:
    network, x = MLP(), drawn(1, 4)
    block = block_of(network, x, target=0)
    names = [name for name, _ in network.named_parameters()]
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    with Randomised(1 / 3).under(block):
        changed = [n for n, v in network.named_parameters() if not torch.equal(v, before[n])]
    assert changed
    assert set(changed) <= set(names[-2:])


def test_sanity_checks_tell_methods_that_look_at_the_network_from_those_that_do_not() -> None:
    torch.manual_seed(2)
    network, x = MLP().double(), drawn(30, 4).double()
    found = harness.evaluate(
        network, x, ["integrated_gradients", "kernel_shap"],
        metrics=["parameter_randomisation", "random_logit"],
        metric_settings={"parameter_randomisation": {"stages": 2}},
    )  # fmt: skip
    for metric in ("parameter_randomisation", "random_logit"):
        means = {method: np.mean(values) for method, values in by_method(found, metric).items()}
        assert means["everything"] == 1.0  # the same whatever the weights and the class
        assert means["integrated_gradients"] < 0.8
        assert means["kernel_shap"] < 0.8


def test_the_other_target_is_never_the_same_one_and_costs_nothing() -> None:
    network, x = MLP(), drawn(40, 4)
    block = block_of(network, x)
    paid = block.engine.count.rows
    with OtherTarget().under(block) as other:
        for before, after in zip(block.subjects, other.subjects, strict=True):
            assert before.targets.weights.argmax() != after.targets.weights.argmax()
            assert after.full[0] == pytest.approx(
                float(after.outputs[0, after.targets.weights[:, 0].argmax()])
            )
        assert len({int(s.targets.weights.argmax()) for s in other.subjects}) > 1
    assert block.engine.count.rows == paid


@pytest.mark.parametrize(
    ("method", "invariant"),
    [
        ("saliency", True),
        ("integrated_gradients", True),
        ("kernel_shap", True),
        ("input_x_gradient", False),
    ],
)
def test_a_shift_that_the_network_undoes_changes_only_what_looks_at_the_numbers(
    method: str, invariant: bool
) -> None:
    network, x = MLP().double(), drawn(2, 4).double()
    found = harness.evaluate(network, x, method, metrics="input_invariance", target=1)
    changes = by_method(found, "input_invariance")[method]
    if invariant:
        assert changes == pytest.approx([0.0, 0.0], abs=1e-9)
    else:
        block = block_of(network, x, target=1)
        slopes = torch.autograd.functional.jacobian(lambda p: network(p)[:, 1].sum(), x)
        for row, change in enumerate(changes):
            constant = float(x[row].max() - x[row].min())
            expected = (slopes[row] * constant).norm() / (slopes[row] * x[row]).norm()
            assert change == pytest.approx(float(expected))
        with Shift(1.0).under(block) as shifted:
            assert shifted.subjects[0].full == pytest.approx(block.subjects[0].full)


def test_stability_over_seeds_is_the_mean_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 9))
    metric = SeedStability(seeds=2)
    found = metric.compare(trial_of(a), [Repeated(b), Repeated(c)]).value
    assert found == pytest.approx((spearman(a, b) + spearman(a, c) + spearman(b, c)) / 3)


def test_seeds_change_methods_that_draw_and_no_others() -> None:
    network, x = torch.nn.Sequential(torch.nn.Linear(12, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double(), drawn(2, 12)  # fmt: skip
    found = by_method(
        harness.evaluate(
            network, x, ["rise", "leave_one_out", "integrated_gradients"],
            metrics="seed_stability",
        ),
        "seed_stability",
    )  # fmt: skip
    assert found["leave_one_out"] == found["integrated_gradients"] == [1.0, 1.0]
    assert max(found["rise"]) < 0.999
    assert max(np.abs(found["random"])) < 0.9


def test_metrics_of_repetition_need_two_units_and_values() -> None:
    single, zero = trial_of([1.0]), trial_of([0.0, 0.0])
    again = [Repeated(np.array([1.0]))]
    for metric in (ParameterRandomisation(), RandomLogit(), SeedStability(1)):
        assert metric.compare(single, again).value is None
    for metric in (MaxSensitivity(copies=1), LocalLipschitz(copies=1)):
        assert metric.compare(zero, [Repeated(np.ones(2), 0.1)]).value is None


def test_texts_are_moved_in_their_embeddings_and_left_alone(bert: Path) -> None:
    from harness.classifiers.huggingface import HuggingFace

    classifier = HuggingFace(str(bert))
    before = state(classifier.module)
    found = harness.evaluate(
        classifier, ["the patient has pain after meals", "no fever and no cough today"],
        ["integrated_gradients", "leave_one_out"],
        metrics=["max_sensitivity", "parameter_randomisation", "random_logit", "input_invariance"],
        settings={"integrated_gradients": {"steps": 8, "incomplete": True}, "leave_one_out": {}},
    )  # fmt: skip
    assert same(before, state(classifier.module))
    assert all(one.value is not None for one in found.measurements), found.frame
    for method in ("integrated_gradients", "leave_one_out"):
        assert 0 < max(by_method(found, "max_sensitivity")[method]) < 1.0
        assert max(by_method(found, "input_invariance")[method]) < 1e-3


def test_what_cannot_be_moved_or_drawn_anew_says_so() -> None:
    found = harness.evaluate(
        lambda texts: [[0.3 + 0.1 * ("a" in t), 0.7 - 0.1 * ("a" in t)] for t in texts],
        ["a b c"], "leave_one_out",
        metrics=["max_sensitivity", "parameter_randomisation", "input_invariance"],
    )  # fmt: skip
    assert all(one.value is None and one.why for one in found.measurements)
    deleted = harness.evaluate(
        MLP(), drawn(1, 4), "leave_one_out", target=(0, 1), metrics="random_logit"
    )
    assert "no single class" in deleted.measurements[0].why
