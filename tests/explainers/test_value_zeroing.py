"""Value zeroing: one layer by hand, every kind of network by its own value projections."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from descents_for_tests import MLP, drawn, inspect, same, state, tensors

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.value_zeroing import ValueZeroing
from harness.explainers.models.choose import model_of
from harness.explainers.models.reading import Removal
from harness.records import HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import make, pictures, samples
from scipy.special import erf, softmax
from test_generation import model_of as language_model
from test_generation import sample as prompt
from test_layers import vit

VALUES = {
    "bert": ("bert.encoder.layer", "attention.self.value"),
    "distilbert": ("distilbert.transformer.layer", "attention.v_lin"),
    "roberta": ("roberta.encoder.layer", "attention.self.value"),
    "gpt2": ("transformer.h", "attn.c_attn"),
    "llama": ("model.layers", "self_attn.v_proj"),
    "vit": ("vit.layers", "attention.v_proj"),
}


def shares(turned: np.ndarray) -> np.ndarray:
    found: np.ndarray = turned / turned.sum(axis=1, keepdims=True)
    return found


def cosine_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    found: np.ndarray = 1 - (one * other).sum(axis=-1) / norms
    return found


def layer_of_bert(
    weights: dict[str, np.ndarray], x: np.ndarray, heads: int, gone: int | None
) -> np.ndarray:
    """One encoder layer of BERT in NumPy, with the value of token `gone` set to nothing."""

    def linear(name: str, given: np.ndarray) -> np.ndarray:
        return given @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normal(name: str, given: np.ndarray) -> np.ndarray:
        centred = given - given.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    query, key, value = (
        linear(f"attention.self.{name}", x) for name in ("query", "key", "value")
    )  # fmt: skip
    if gone is not None:
        value[gone] = 0
    width = x.shape[1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        weight = softmax(query[:, part] @ key[:, part].T / np.sqrt(width), axis=1)
        mixed.append(weight @ value[:, part])
    attended = normal(
        "attention.output.LayerNorm", x + linear("attention.output.dense", np.concatenate(mixed, 1))
    )
    wide = linear("intermediate.dense", attended)
    wide = wide * 0.5 * (1 + erf(wide / np.sqrt(2)))
    return normal("output.LayerNorm", attended + linear("output.dense", wide))


def test_one_layer_is_what_it_is_by_hand(tmp_path: Path) -> None:
    classifier = HuggingFace(str(make("bert", tmp_path)[0]), dtype="float64")
    network = classifier.module
    network.bert.encoder.layer = network.bert.encoder.layer[:1]
    model, sample = model_of(classifier, samples()), samples()[0]
    found = inspect(ValueZeroing(), model, sample).values
    layer = network.bert.encoder.layer[0]
    entered: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, __: entered.append(given[0]))
    ids = classifier.reader.tokenizer(sample.text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        network(input_ids=ids)
    hook.remove()
    x = entered[0][0].numpy()
    weights = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    heads = network.config.num_attention_heads
    before = layer_of_bert(weights, x, heads, None)
    turned = np.stack(
        [cosine_distance(layer_of_bert(weights, x, heads, j), before) for j in range(len(x))],
        axis=1,
    )
    np.testing.assert_allclose(found[0], shares(turned)[0], atol=1e-9)
    assert found.shape == (3, len(x))
    assert float(found[0].sum()) == pytest.approx(1)


def by_projection(network: Any, kind: str, given: dict[str, Any], position: int) -> np.ndarray:
    """Layers' shares multiplied, with values set to nothing where each network makes them, in whole
    passes of the network, one token at a time."""
    stack, projection = VALUES[kind]
    blocks = network.get_submodule(stack)
    said: dict[int, np.ndarray] = {}

    def keep(number: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            found = output[0] if isinstance(output, tuple) else output
            said[number] = found[0].double().numpy()

        return hook

    def zero(token: int) -> Any:
        def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            width = output.shape[-1]
            output[:, token, width * 2 // 3 if kind == "gpt2" else 0 :] = 0
            return output

        return hook

    total = None
    for number, block in enumerate(blocks):
        handle = block.register_forward_hook(keep(number))
        with torch.no_grad():
            network(**given)
            before = said[number]
            columns = []
            for token in range(len(before)):
                inner = block.get_submodule(projection).register_forward_hook(zero(token))
                network(**given)
                inner.remove()
                columns.append(cosine_distance(said[number], before))
        handle.remove()
        mixing = shares(np.stack(columns, axis=1).clip(min=0))
        total = mixing if total is None else mixing @ total
    assert total is not None
    row: np.ndarray = total[position]
    return row


@pytest.mark.parametrize(
    ("kind", "position"),
    [("bert", 0), ("distilbert", 0), ("roberta", 0), ("gpt2", -1), ("llama", -1)],
)
def test_layers_are_multiplied_for_the_position_that_is_read(
    kind: str, position: int, tmp_path: Path
) -> None:
    folder, network, tokenizer = make(kind, tmp_path)
    model = model_of(HuggingFace(str(folder), dtype="float64"), samples())
    sample = samples()[0]
    found = inspect(ValueZeroing(), model, sample)
    ids = tokenizer(sample.text, return_tensors="pt")["input_ids"]
    wanted = by_projection(network.double(), kind, {"input_ids": ids}, position)
    np.testing.assert_allclose(found.values[0], wanted, atol=1e-9)
    assert torch.equal(found.values[0], found.values[2])
    assert not found.complete


def test_few_tokens_at_once_find_the_same(tmp_path: Path) -> None:
    classifier = HuggingFace(str(make("bert", tmp_path)[0]), dtype="float64")
    model, sample = model_of(classifier, samples()), samples()[0]
    whole = inspect(ValueZeroing(), model, sample).values
    model.tokens = 1
    np.testing.assert_allclose(inspect(ValueZeroing(), model, sample).values, whole, atol=1e-12)


def test_patches_of_an_image_are_tokens(tmp_path: Path) -> None:
    model, image = vit(tmp_path), pictures()[0]
    found = inspect(ValueZeroing(), model, image).values[0].reshape(4, 8, 4, 8).sum(dim=(1, 3))
    point = model.point(model.read(image, Removal()))
    pixels = point.reshape(1, 32, 32, 3).permute(0, 3, 1, 2)
    wanted = by_projection(model.module, "vit", {"pixel_values": pixels}, 0)
    np.testing.assert_allclose(found.flatten(), wanted[1:], atol=1e-9)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_prompts_of_language_models_are_explained(kind: str) -> None:
    model = language_model(kind)
    before = state(model.module)
    (found,) = harness.explain(model, [prompt()], ValueZeroing(), "word")
    assert same(before, state(model.module))
    values = np.array(found.values)
    assert (values >= 0).all()
    assert 0 < values.sum() <= 1 + 1e-9


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_model_is_left_as_it_was(kind: str, tmp_path: Path) -> None:
    model = model_of(HuggingFace(str(make(kind, tmp_path)[0])), samples())
    before = state(model.module)
    inspect(ValueZeroing(), model, samples()[0])
    assert same(before, state(model.module))


def test_what_is_no_transformer_is_refused() -> None:
    import transformers

    model = tensors(MLP(), drawn(1, 4))
    with pytest.raises(HarnessError, match="value zeroing is for transformers"):
        inspect(ValueZeroing(), model, model.samples[0])
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2
    )
    net = transformers.ResNetForImageClassification(config)
    model = tensors(net, drawn(1, 3, 16, 16).float(), channels="first")
    with pytest.raises(HarnessError, match="value zeroing does not support"):
        inspect(ValueZeroing(), model, model.samples[0])
