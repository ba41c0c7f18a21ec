"""What concepts do for the output and inputs for concepts: closed forms and networks run by hand."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import make, samples
from descents_for_tests import CNN, drawn, same, state, tensors
from test_generation import model_of as language_model
from test_generation import sample as prompt_sample

from harness import serial
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.shapley import ExactShapley
from harness.explainers.concepts.activations import collect
from harness.explainers.concepts.as_target import ConceptModel
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.importance import ConceptImportance, importance, overall
from harness.explainers.concepts.layer import Layer
from harness.explainers.concepts.spaces.fit import fit
from harness.explainers.explain import explain
from harness.explainers.models.choose import model_of
from harness.records import HarnessError

LAYER = "bert.encoder.layer.1"


class Head(torch.nn.Module):
    """A layer of five numbers and a linear head on it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = torch.nn.Linear(4, 5)
        self.head = torch.nn.Linear(5, 3)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x))


def linear_case(kind: str = "pca", **settings: Any) -> tuple[Head, Any, Any, np.ndarray]:
    net, x = Head(), drawn(7, 4)
    rows = net.layer(x).detach().numpy()
    return net, Asked.of(net, x, "layer", "pooled", target=1), fit(kind, rows, **settings), rows


METHODS = ["gradient_x_concept", "ablation", "kernel_shap", "exact_shapley"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("kind", "settings"),
    [("pca", {"concepts": 3}), ("semi_nmf", {"concepts": 3}), ("k_means", {"concepts": 3})],
)
def test_behind_a_linear_head_every_method_gives_concept_times_its_effect(
    method: str, kind: str, settings: Any
) -> None:
    net, asked, space, rows = linear_case(kind, **settings)
    effects = space.directions @ net.head.weight[1].detach().numpy()
    wanted = space.encode(rows) * effects
    for place, one in enumerate(importance(asked, space, method)):
        np.testing.assert_allclose(one.values, wanted[place], atol=1e-8)
        assert (one.target, one.output, one.concepts) == ("1", "logit", space.names)


def test_sobol_indices_behind_a_linear_head_are_shares_of_squares() -> None:
    net, asked, space, rows = linear_case(concepts=3)
    effects = space.encode(rows) * (space.directions @ net.head.weight[1].detach().numpy())
    for place, one in enumerate(importance(asked, space, "sobol")):
        np.testing.assert_allclose(
            one.values, effects[place] ** 2 / (effects[place] ** 2).sum(), atol=1e-8
        )


def by_hand(net: CNN, said: torch.Tensor, space: Any, kept: np.ndarray, target: int) -> float:
    rows = said.permute(1, 2, 0).reshape(-1, 5).numpy()
    codes = space.encode(rows)
    changed = rows - codes[:, ~kept] @ space.directions[~kept]
    with torch.no_grad():
        return float(net.head(torch.from_numpy(changed).mean(dim=0))[target].tanh())


class Bent(CNN):
    """A network whose output is not linear in its last grid."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.act2(self.second(self.act1(self.first(images))))
        return self.head(x.mean(dim=(2, 3))).tanh()


def test_shapley_values_and_ablation_are_those_of_networks_run_by_hand() -> None:
    net, x = Bent(), 2 * drawn(4, 3, 8, 8)
    model = tensors(net, x, channels="first")
    said = net.act2(net.second(net.act1(net.first(x)))).detach()
    space = fit("nmf", said.permute(0, 2, 3, 1).reshape(-1, 5).numpy(), concepts=3)
    asked = Asked.of(model, model.samples, "act2", "patch", target=2)
    shapley = importance(asked, space, ExactShapley())
    ablation = importance(asked, space, "ablation")
    for place in range(4):
        value = {
            kept: by_hand(net, said[place], space, np.array(kept), 2)
            for kept in itertools.product([False, True], repeat=3)
        }
        assert shapley[place].full == pytest.approx(value[True, True, True])
        assert shapley[place].empty == pytest.approx(value[False, False, False])
        for concept in range(3):
            without = [True] * 3
            without[concept] = False
            drop = value[True, True, True] - value[tuple(without)]
            assert ablation[place].values[concept] == pytest.approx(drop, abs=1e-9)
            total = 0.0
            for order in itertools.permutations(range(3)):
                before = order[: order.index(concept)]
                sets = [
                    tuple(i in before or i in extra for i in range(3)) for extra in ((), (concept,))
                ]
                total += value[sets[1]] - value[sets[0]]
            assert shapley[place].values[concept] == pytest.approx(total / 6, abs=1e-9)


def test_gradient_times_concept_is_the_derivative_of_scaling_a_concept() -> None:
    net, x = Bent(), 2 * drawn(3, 3, 8, 8)
    model = tensors(net, x, channels="first")
    said = net.act2(net.second(net.act1(net.first(x)))).detach()
    rows = said.permute(0, 2, 3, 1).reshape(3, 16, 5).numpy()
    space = fit("nmf", rows.reshape(-1, 5), concepts=3)
    asked = Asked.of(model, model.samples, "act2", "patch", target=0)
    for place, one in enumerate(importance(asked, space)):
        codes = space.encode(rows[place])
        for concept in range(3):
            share = codes[:, [concept]] @ space.directions[[concept]]
            with torch.no_grad():
                ends = [
                    float(net.head(torch.from_numpy(rows[place] + s * share).mean(dim=0))[0].tanh())
                    for s in (1e-5, -1e-5)
                ]
            assert one.values[concept] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8)


def test_texts_are_changed_in_all_their_tokens(tmp_path: Path) -> None:
    folder, net, tokenizer = make("bert", tmp_path / "bert")
    classifier = HuggingFace(str(folder), dtype="float64")
    net.double()
    few = samples()[:4]
    acts = collect(classifier, few, LAYER, "token", tmp_path / "a", dtype="float64")
    space = fit("pca", acts, concepts=3)
    asked = Asked.of(classifier, few, LAYER, "token", target=1)
    found = importance(asked, space, "ablation")

    def without(concept: int) -> Any:
        def hook(_: Any, __: Any, out: Any) -> Any:
            said = out[0] if isinstance(out, tuple) else out
            rows = said[0, 1:-1].numpy()
            share = space.encode(rows)[:, [concept]] @ space.directions[[concept]]
            changed = said.clone()
            changed[0, 1:-1] -= torch.from_numpy(share)
            return (changed, *out[1:]) if isinstance(out, tuple) else changed

        return hook

    for sample, one in zip(few, found, strict=True):
        given = tokenizer(sample.text, return_tensors="pt")
        with torch.no_grad():
            full = float(net(**given).logits[0, 1])
            for concept in range(3):
                handle = net.get_submodule(LAYER).register_forward_hook(without(concept))
                after = float(net(**given).logits[0, 1])
                handle.remove()
                assert one.values[concept] == pytest.approx(full - after, abs=1e-8)
    gradients = importance(asked, space)
    assert np.isfinite([one.values for one in gradients]).all()


def test_a_language_models_concepts_count_for_its_answer(tmp_path: Path) -> None:
    model = language_model("gpt2")
    acts = collect(model, [prompt_sample()], "transformer.h.0", "token", tmp_path / "a")
    space = fit("pca", acts, concepts=2)
    asked = Asked.of(model, [prompt_sample()], "transformer.h.0", "token")
    (ablation,) = importance(asked, space, "ablation")
    (gradient,) = importance(asked, space)
    assert (ablation.target, ablation.output) == ("answer", "log_probability")
    assert ablation.full == gradient.full
    assert all(value != 0 for value in (*ablation.values, *gradient.values))


def test_every_target_of_a_sample_has_its_own() -> None:
    net, x = Head(), drawn(3, 4)
    asked = Asked.of(net, x, "layer", "pooled", target="all")
    rows = net.layer(x).detach().numpy()
    space = fit("neurons", rows)
    for method in ("gradient_x_concept", "ablation"):
        found = importance(asked, space, method)
        assert [(one.sample, one.target) for one in found] == [
            (str(i), str(t)) for i in range(3) for t in range(3)
        ]
        for one in found:
            weights = net.head.weight[int(one.target)].detach().numpy()
            np.testing.assert_allclose(one.values, rows[int(one.sample)] * weights, atol=1e-9)


def test_what_a_sample_has_none_of_is_not_asked_for() -> None:
    _, asked, space, rows = linear_case("k_means", concepts=4)
    for one, codes in zip(importance(asked, space, "ablation"), space.encode(rows), strict=True):
        assert one.evaluations == 2
        assert all(v == 0 for v, c in zip(one.values, codes, strict=True) if c == 0)


def test_progress_is_told_to_the_end() -> None:
    _, asked, space, _ = linear_case(concepts=3)
    told: list[tuple[int, int]] = []
    importance(asked, space, "ablation", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (7 * 4, 7 * 4)  # without each concept, and without all


def test_overall_is_the_mean_of_values_and_of_their_sizes() -> None:
    _, asked, space, _ = linear_case(concepts=2)
    found = importance(asked, space)
    values = np.array([one.values for one in found])
    for place, (mean, size) in enumerate(overall(found).values()):
        assert mean == pytest.approx(values[:, place].mean())
        assert size == pytest.approx(np.abs(values[:, place]).mean())


def test_what_cannot_be_told_is_refused() -> None:
    _, asked, space, _ = linear_case(concepts=3)
    with pytest.raises(
        HarnessError, match="budget of 3 evaluations is too small for the 3 concepts"
    ):
        importance(asked, space, "kernel_shap", budget=3)
    with pytest.raises(HarnessError, match="use gradient_x_concept or a perturbation method"):
        importance(asked, space, "saliency")
    asked = Asked.of(Aside(), drawn(2, 4), "aside", "pooled", target=0)
    with pytest.raises(HarnessError, match="no target depends on"):
        importance(asked, fit("neurons", np.ones((3, 2))))


class Aside(torch.nn.Module):
    """A layer that is used, and that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.aside, self.head = torch.nn.Linear(4, 2).double(), torch.nn.Linear(4, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.aside(x)
        return self.head(x)


def test_the_network_is_left_as_it_was() -> None:
    net, x = CNN(), drawn(3, 3, 8, 8)
    net.train()
    model = tensors(net, x, channels="first")
    before = state(net)
    asked = Asked.of(model, model.samples, "act2", "patch", target=0)
    space = fit("neurons", np.ones((4, 5)))
    for method in ("gradient_x_concept", "ablation"):
        importance(asked, space, method)
    concepts = ConceptModel(model, model.samples, "act2", "patch", space)
    for method in ("saliency", "leave_one_out"):
        explain(concepts, model.samples, method, "patch", settings={})
    assert same(before, state(net))


# --- from the input to a concept ------------------------------------------------------------


def test_a_concept_as_the_target_is_what_the_layer_says() -> None:
    net, x = CNN(), drawn(4, 3, 8, 8)
    model = tensors(net, x, channels="first")
    rows = (
        net.act2(net.second(net.act1(net.first(x)))).detach().permute(0, 2, 3, 1).reshape(4, 16, 5)
    )
    space = fit("pca", rows.reshape(-1, 5).numpy(), concepts=2)
    strengths = space.encode(rows.reshape(-1, 5).numpy()).reshape(4, 16, 2)
    for pooling, wanted in (("max", strengths.max(axis=1)), ("mean", strengths.mean(axis=1))):
        concepts = ConceptModel(model, model.samples, "act2", "patch", space, pooling)
        found = explain(concepts, model.samples, "leave_one_out", "patch", target="all")
        full = np.array([one.full for one in found]).reshape(4, 2)
        np.testing.assert_allclose(full, wanted, atol=1e-9)
        assert {one.target for one in found} == set(space.names)
        assert {one.output for one in found} == {"activation"}


def test_gradients_of_a_concept_are_those_of_the_network() -> None:
    net, x = CNN(torch.nn.Tanh), drawn(2, 3, 8, 8)
    model = tensors(net, x, channels="first")
    space = fit("neurons", np.ones((3, 5)))
    concepts = ConceptModel(model, model.samples, "act2", "patch", space, "mean")
    found = explain(concepts, model.samples, "input_x_gradient", "feature", target="neuron 3")
    given = x.clone().requires_grad_(True)
    said = net.act2(net.second(net.act1(net.first(given))))[:, 3].mean(dim=(1, 2)).sum()
    (gradient,) = torch.autograd.grad(said, given)
    wanted = (gradient * x).sum(dim=1).reshape(2, -1)
    for place, one in enumerate(found):
        np.testing.assert_allclose(one.values, wanted[place], atol=1e-9)


@pytest.mark.parametrize("removal", ["mask", "delete"])
def test_the_word_that_makes_a_concept_strong_is_found(removal: str, tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path / "bert")
    classifier = HuggingFace(str(folder), dtype="float64")
    text = [sample for sample in samples() if len(sample.text.split()) > 4]
    # Word embeddings: a concept that is one token's own direction.
    layer = "bert.embeddings.word_embeddings"
    acts = collect(classifier, text, layer, "word", tmp_path / "a", dtype="float64")
    known = {"pain": [unit.text.strip() == "pain" for _, unit in acts.units()]}
    space = fit("linear_probe", acts, known=known)
    concepts = ConceptModel(classifier, text, layer, "word", space)
    for one in explain(concepts, text, "leave_one_out", "word", target="pain", removal=removal):
        words = [unit.text.strip() for unit in one.units]
        if "pain" in words:
            values = [v for v in one.values if v is not None]
            assert words[int(np.argmax(values))] == "pain"
            assert max(values) > 3 * sorted(values)[-2]


def test_a_concept_of_a_text_can_be_explained_by_gradients(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path / "bert")
    classifier = HuggingFace(str(folder), dtype="float64")
    few = samples()[:3]
    acts = collect(classifier, few, LAYER, "pooled", tmp_path / "a", dtype="float64")
    space = fit("pca", acts, concepts=2)
    concepts = ConceptModel(classifier, few, LAYER, "pooled", space)
    found = explain(concepts, few, "integrated_gradients", "token", target=0)
    assert all(one.completeness_error < 0.02 for one in found)


def test_a_concept_of_embeddings_has_the_gradients_of_a_mean(tmp_path: Path) -> None:
    classifier = HuggingFace(str(make("bert", tmp_path / "bert")[0]), dtype="float64")
    few, layer = samples()[:3], "bert.embeddings.word_embeddings"
    space = fit("random", np.random.default_rng(0).normal(size=(9, 32)), concepts=1)
    concepts = ConceptModel(classifier, few, layer, "pooled", space)
    found = explain(concepts, few, "saliency", "token", settings={}, reduce="l2")
    for one in found:
        # Of a mean over n tokens along a unit vector, at each of them.
        values = [value for value in one.values if value is not None]
        np.testing.assert_allclose(values, 1 / len(values), atol=1e-9)


KINDS = {
    "bert": "bert.encoder.layer.0",
    "bert embeddings": "bert.embeddings.word_embeddings",
    "distilbert": "distilbert.transformer.layer.0",
    "roberta": "roberta.encoder.layer.0",
    "gpt2": "transformer.h.0",
    "llama": "model.layers.0",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", ["token", "word"])
def test_gradients_are_the_changes_of_text_models_when_rows_change(
    kind: str, at: str, tmp_path: Path
) -> None:
    classifier = HuggingFace(str(make(kind.split()[0], tmp_path / "m")[0]), dtype="float64")
    few = samples()[:3]
    space = fit("random", np.random.default_rng(0).normal(size=(9, 32)), concepts=2)
    asked = Asked.of(classifier, few, KINDS[kind], at, target=1)
    found = importance(asked, space)
    # Norms of Llama are computed in 32 bits, whatever the weights are.
    step, close = (1e-2, 2e-2) if kind == "llama" else (1e-5, 1e-4)
    for concept in range(2):

        def scaled(sign: float, concept: int = concept) -> Any:
            def change(_: int, rows: torch.Tensor) -> torch.Tensor:
                share = space.encode(rows.numpy())[:, [concept]] @ space.directions[[concept]]
                return rows + sign * step * torch.from_numpy(share)

            return asked.layer.outputs(asked.readings, change)

        for place, (up, down) in enumerate(zip(scaled(1), scaled(-1), strict=True)):
            assert found[place].values[concept] == pytest.approx(
                (up[1] - down[1]) / (2 * step), rel=close, abs=close
            )


def test_changing_nothing_changes_nothing(tmp_path: Path) -> None:
    folder, _, _ = make("gpt2", tmp_path / "gpt2")
    model: Any = model_of(HuggingFace(str(folder), dtype="float64", batch_tokens=40), samples())
    for at in ("token", "word", "pooled"):
        layer = Layer(model, "transformer.h.1", at)
        readings = layer.read(samples())
        plain = layer.outputs(readings)
        same_again = layer.outputs(readings, lambda _, rows: rows)
        np.testing.assert_allclose(same_again, plain, atol=1e-12)


def test_a_concept_of_a_language_model_is_explained_by_the_words_of_its_prompt(
    tmp_path: Path,
) -> None:
    model = language_model("gpt2")
    acts = collect(model, [prompt_sample()], "transformer.h.0", "token", tmp_path / "a")
    space = fit("pca", acts, concepts=2)
    concepts = ConceptModel(model, [prompt_sample()], "transformer.h.0", "token", space, "mean")
    (one,) = explain(concepts, [prompt_sample()], "exact_shapley", "word", target="pca 1")
    assert one.completeness_error < 1e-9
    assert one.full == pytest.approx(
        space.encode(np.concatenate(list(acts)))[:, 1].mean(), abs=1e-4
    )
    (gradient,) = explain(concepts, [prompt_sample()], "input_x_gradient", "word", target="pca 1")
    assert any(value for value in gradient.values)


def test_half_precision_changes_little(tmp_path: Path) -> None:
    folder = make("bert", tmp_path / "bert")[0]
    found = []
    for dtype in ("bfloat16", "float64"):
        classifier = HuggingFace(str(folder), dtype=dtype)
        space = fit("random", np.random.default_rng(0).normal(size=(9, 32)), concepts=2)
        layer = "bert.encoder.layer.0"
        asked = Asked.of(classifier, samples()[:3], layer, "word", target=1)
        found.append([one.values for one in importance(asked, space, "ablation")])
    size = np.abs(found[1]).max()
    assert size > 0.01
    np.testing.assert_allclose(found[0], found[1], atol=0.15 * size)


def test_spaces_and_what_was_found_go_to_another_process() -> None:
    _, asked, space, rows = linear_case(concepts=2)
    again = pickle.loads(pickle.dumps(space))
    assert np.array_equal(again.encode(rows), space.encode(rows))
    found = importance(asked, space)
    assert pickle.loads(pickle.dumps(found)) == found
    assert serial.loads(ConceptImportance, serial.dumps(found[0])) == found[0]
