"""Lenses: each layer's values against norm and head applied by hand, and the last layer exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import TEXTS, make, make_vit, pictures, samples
from descents_for_tests import same, state
from test_generation import ANSWER, PROMPT, network

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.lenses.lens import logit_lens, tuned_lens
from harness.explainers.lenses.readings import LensReadings
from harness.explainers.lenses.stream import Lensed, lens_inputs, read, stream
from harness.explainers.lenses.tuned import TunedLens, train_tuned_lens, untrained
from harness.explainers.models.generation import LanguageModel
from harness.records import HarnessError

CLASSIFIERS = ["bert", "distilbert", "roberta", "gpt2", "llama", "vit"]
EVERY = [*CLASSIFIERS, "gpt2-lm", "llama-lm"]
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
# What follows on the stream behind the last layer, by hand: positions x columns.
HEADS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "bert": lambda net, h: net.classifier(net.bert.pooler(h)),
    "distilbert": lambda net, h: net.classifier(net.pre_classifier(h[:, 0]).relu()),
    "roberta": lambda net, h: net.classifier(h),
    "gpt2": lambda net, h: net.score(net.transformer.ln_f(h))[:, -1],
    "llama": lambda net, h: net.score(net.model.norm(h))[:, -1],
    "vit": lambda net, h: net.classifier(net.vit.layernorm(h)[:, 0]),
    "gpt2-lm": lambda net, h: net.lm_head(net.transformer.ln_f(h))[0],
    "llama-lm": lambda net, h: net.lm_head(net.model.norm(h))[0],
}


def classifier_of(kind: str, folder: Path, **options: Any) -> HuggingFace:
    if kind == "vit":
        make_vit(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    else:
        make(kind, folder, **options)
    return HuggingFace(str(folder), dtype="float64")


def subject(kind: str, folder: Path) -> tuple[Any, Any]:
    """A classifier or language model, and a few samples of it."""
    if kind.endswith("-lm"):
        model = LanguageModel(*network(kind.removesuffix("-lm")), answers=[ANSWER])
        return model, [PROMPT]
    return classifier_of(kind, folder), (pictures() if kind == "vit" else samples())[:2]


def streams(classifier: Any, given: Any) -> tuple[Lensed, Any]:
    model, items = lens_inputs(classifier, given)
    with torch.no_grad(), model.evaluating():
        return model, stream(model, read(model, items[0]))


@pytest.mark.parametrize("kind", EVERY)
def test_a_layer_says_what_its_hidden_state_says_through_norm_and_head(
    kind: str, tmp_path: Path
) -> None:
    classifier, given = subject(kind, tmp_path)
    model, seen = streams(classifier, given)
    reading: Any = seen.reading
    if kind == "vit":
        pixels = torch.from_numpy(reading.parts[0].array).permute(2, 0, 1)[None].double()
        inputs = {"pixel_values": pixels}
    else:
        ids = [*reading.ids, *(reading.answer[:-1] if kind.endswith("-lm") else [])]
        inputs = {"input_ids": torch.tensor([ids])}
    with torch.no_grad():
        output = model.module(**inputs, output_hidden_states=True)
    (first, *_) = logit_lens(classifier, given)
    for depth, hidden in enumerate(output.hidden_states[:-1]):  # the last may be normed already
        torch.testing.assert_close(seen.residuals[depth], hidden, atol=1e-6, rtol=1e-6)
        with torch.no_grad():
            wanted = HEADS[kind](model.module, hidden)[-len(first.positions) :]
        names = list(model.columns(reading))
        chosen = list(reading.answer) if kind.endswith("-lm") else [names.index(first.targets[0])]
        for place, column in enumerate(chosen):
            row = wanted[place].double()
            # Norms of Llama are computed in 32 bits, whatever the weights are.
            close = 1e-4 if kind.startswith("llama") else 1e-9
            assert first.logits[depth][place] == pytest.approx(float(row[column]), abs=close)
            likely = float(row.log_softmax(-1)[column])
            assert first.log_probabilities[depth][place] == pytest.approx(likely, abs=close)
            order = row.argsort(descending=True).tolist()
            assert order[first.ranks[depth][place] - 1] == column
            assert first.top[depth][place][0][1] == pytest.approx(
                float(row.log_softmax(-1).max()), abs=close
            )


@pytest.mark.parametrize("kind", EVERY)
def test_the_last_layer_says_exactly_what_the_model_says(kind: str, tmp_path: Path) -> None:
    classifier, given = subject(kind, tmp_path)
    model, items = lens_inputs(classifier, given)
    for found, sample in zip(logit_lens(classifier, given), items, strict=True):
        reading: Any = read(model, sample)
        every = np.ones(len(reading.fixed), dtype=bool)
        (said,) = model.outputs([reading.left(every)])
        if kind.endswith("-lm"):
            np.testing.assert_allclose(found.log_probabilities[-1], said, atol=1e-12)
        else:
            (target,) = found.targets
            assert found.logits[-1] == (said[list(model.columns(reading)).index(target)],)
            assert found.logits[-1][0] == said.max()
            assert found.ranks[-1] == (1,)
        assert max(found.divergences[-1]) == 0
        assert max(found.divergences[0]) > 0
        assert len(found.layers) == 3
        assert found.layers[0] == "embeddings"
        assert found.classifier == model.revision


@pytest.mark.parametrize("kind", ["bert", "vit", "llama", "gpt2-lm"])
def test_a_tuned_lens_that_changes_nothing_is_the_logit_lens(kind: str, tmp_path: Path) -> None:
    classifier, given = subject(kind, tmp_path)
    model, seen = streams(classifier, given)
    lens = untrained(model, seen.reading)
    assert len(lens.layers) == len(seen.layers) - 1
    with torch.no_grad(), model.evaluating():
        for depth, residual in enumerate(seen.residuals):
            moved = lens.translated(depth, residual)
            assert torch.equal(moved, residual)
            assert torch.equal(seen.said(moved), seen.said(residual))
    with pytest.raises(HarnessError, match="is not trained; train it with train_tuned_lens"):
        tuned_lens(lens, classifier, given)
    with pytest.raises(HarnessError, match="is not trained"):
        tuned_lens(None, classifier, given)


def mean_divergences(found: LensReadings) -> np.ndarray[Any, Any]:
    """By layer, over samples and positions."""
    return np.array([np.mean(one.divergences, axis=1) for one in found]).mean(axis=0)


def phrases(count: int, seed: int) -> list[str]:
    words = sorted({word for text in TEXTS for word in text.split()})
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(words, draw.integers(3, 8))) for _ in range(count)]


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_training_brings_the_layers_of_a_classifier_nearer_on_samples_not_trained_on(
    kind: str, tmp_path: Path
) -> None:
    classifier = classifier_of(kind, tmp_path)
    lens = train_tuned_lens(classifier, phrases(60, 1), epochs=6, learning_rate=3e-3)
    held_out = phrases(20, 2)
    before = mean_divergences(logit_lens(classifier, held_out))
    after = mean_divergences(tuned_lens(lens, classifier, held_out))
    assert (after[:-1] < before[:-1]).all(), (before, after)
    assert after[-1] == 0
    assert all(last < first for first, last in lens.losses)


def test_training_brings_the_layers_of_a_language_model_nearer(shared_data: Path) -> None:
    folder = shared_data / "stories260k"
    if not folder.is_dir():
        pytest.skip(f"there is no stories260k in {shared_data}")
    model = LanguageModel(str(folder), max_new_tokens=16)
    told = ["Once upon a time", "Lily liked", "One day a dog", "The sun", "Tom and his mom"]
    lens = train_tuned_lens(model, told, epochs=8, batch=2, learning_rate=3e-3)
    before = mean_divergences(logit_lens(model, ["A little cat", "There was a big tree"]))
    after = mean_divergences(tuned_lens(lens, model, ["A little cat", "There was a big tree"]))
    assert (after[:-1] < before[:-1]).all(), (before, after)


@pytest.mark.parametrize("kind", ["distilbert", "vit", "llama-lm"])
def test_the_network_is_left_as_it_was(kind: str, tmp_path: Path) -> None:
    classifier, given = subject(kind, tmp_path)
    model, _ = lens_inputs(classifier, given)
    model.module.train()
    before = state(model.module)
    lens = train_tuned_lens(classifier, given, epochs=2)
    tuned_lens(lens, classifier, given)
    logit_lens(classifier, given)
    assert same(before, state(model.module))
    model.module.config.num_hidden_layers = 3
    with pytest.raises(HarnessError, match="it has 0 stacks of as many layers"):
        logit_lens(classifier, given)
    model.module.config.num_hidden_layers = 2
    assert same(before, state(model.module))


def test_a_lens_is_trained_the_same_again_and_kept_in_files(tmp_path: Path) -> None:
    classifier = classifier_of("bert", tmp_path / "model")
    lens = train_tuned_lens(classifier, TEXTS, epochs=3, seed=4)
    again = train_tuned_lens(classifier, TEXTS, epochs=3, seed=4)
    other = train_tuned_lens(classifier, TEXTS, epochs=3, seed=5)
    assert torch.equal(lens.weights, again.weights)
    assert not torch.equal(lens.weights, other.weights)
    lens.save(tmp_path / "lens.safetensors")
    loaded = TunedLens.load(tmp_path / "lens.safetensors")
    found = tuned_lens(loaded, classifier, TEXTS[:2])
    assert found == tuned_lens(lens, classifier, TEXTS[:2])
    assert (found[0].lens, found[0].seed, found[0].settings["epochs"]) == ("tuned", 4, 3)
    assert json.loads((tmp_path / "lens.safetensors.json").read_text())["layers"][0] == "embeddings"
    with pytest.raises(HarnessError, match="trained for another model"):
        tuned_lens(loaded, classifier_of("roberta", tmp_path / "other"), TEXTS[:2])
    (tmp_path / "lens.safetensors.json").write_text("[]")
    with pytest.raises(HarnessError, match="is no card of a tuned lens"):
        TunedLens.load(tmp_path / "lens.safetensors")
    with pytest.raises(HarnessError, match="a tuned lens is two files"):
        TunedLens.load(tmp_path / "nothing.safetensors")


def test_readings_are_a_table_and_a_file(tmp_path: Path) -> None:
    classifier = classifier_of("bert", tmp_path / "model")
    found = logit_lens(classifier, TEXTS[:3], target="all", top=2)
    assert len(found) == 3 * 3
    frame = found.frame
    assert len(frame) == 9 * 3
    assert set(frame["target"]) == set(classifier.classes)
    last = frame[frame["layer"] == "bert.encoder.layer.1"]
    shares = np.exp(last["log_probability"]).groupby(last["sample"]).sum()
    np.testing.assert_allclose(shares, 1)
    assert {len(top) for one in found for layer in one.top for top in layer} == {2}
    found.save(tmp_path / "lens.json")
    assert LensReadings.load(tmp_path / "lens.json") == found
    assert found[1:2][0] == found[1]


@pytest.mark.parametrize("single", [False, True])
def test_classes_that_are_independent_diverge_as_so_many_coins(
    single: bool, tmp_path: Path
) -> None:
    make("bert", tmp_path, num_labels=1 if single else 3)
    options: dict[str, Any] = {"classes": ["no", "yes"]} if single else {"multi_label": True}
    classifier = HuggingFace(str(tmp_path), dtype="float64", **options)
    _, seen = streams(classifier, TEXTS[:1])
    (found, *_) = logit_lens(classifier, TEXTS[:1])
    coins = torch.distributions.Bernoulli
    with torch.no_grad():
        for depth, residual in enumerate(seen.residuals):
            one = classifier.module.classifier(classifier.module.bert.pooler(residual))
            last = classifier.module.classifier(classifier.module.bert.pooler(seen.residuals[-1]))
            wanted = torch.distributions.kl_divergence(coins(logits=last), coins(logits=one)).sum()
            assert found.divergences[depth][0] == pytest.approx(float(wanted), abs=1e-12)


def test_what_no_lens_is_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="for language models and for classifiers of transform"):
        logit_lens(lambda texts: [[0.5, 0.5] for _ in texts], TEXTS[:1])
    classifier = classifier_of("bert", tmp_path)
    with pytest.raises(HarnessError, match="single classes"):
        logit_lens(classifier, TEXTS[:1], target=(0, 1))  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="there is no class 'nothing'"):
        logit_lens(classifier, TEXTS[:1], target="nothing")
    layers = classifier.module.bert.encoder.layer
    hook = layers[1].register_forward_pre_hook(lambda _, given: (2 * given[0], *given[1:]))
    with pytest.raises(HarnessError, match="do not hand on one stream"):
        logit_lens(classifier, TEXTS[:1])
    hook.remove()
    kept: list[torch.Tensor] = []
    layers[0].register_forward_hook(lambda _, __, output: kept.append(output))
    classifier.module.bert.pooler.register_forward_pre_hook(lambda _, given: (given[0] + kept[-1],))
    with pytest.raises(HarnessError, match="its head reads more than what the last layer says"):
        logit_lens(classifier, TEXTS[:1])
    model = LanguageModel(*network("gpt2"), answers=[ANSWER])
    with pytest.raises(HarnessError, match="reads the tokens of its answer; leave target out"):
        logit_lens(model, [PROMPT], target=0)
