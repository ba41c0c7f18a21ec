"""Activations on disk, against what hooks on plain forward passes see."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import make, make_vit, pictures, samples, wordpiece
from descents_for_tests import CNN, MLP, drawn, same, state, tensors
from test_generation import ANSWER, PROMPT, network, prompt_ids
from test_generation import model_of as language_model
from test_generation import sample as prompt_sample

from harness.classifiers.huggingface import HuggingFace
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.classifiers.mobilecoatnet.data import stacked
from harness.explainers.concepts.activations import Activations, collect
from harness.explainers.concepts.rows import InMemory, moments, some
from harness.explainers.models.choose import model_of
from harness.records import HarnessError, Part, Sample, Unit

PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
LAYER = "bert.encoder.layer.1"


@pytest.fixture
def bert(tmp_path: Path) -> tuple[HuggingFace, Any, Any]:
    folder, net, tokenizer = make("bert", tmp_path / "bert")
    return HuggingFace(str(folder), dtype="float64"), net.double(), tokenizer


def hooked(net: Any, layer: str, **given: Any) -> torch.Tensor:
    """What a module says in a plain forward pass."""
    seen: list[torch.Tensor] = []

    def hook(_: Any, __: Any, out: Any) -> None:
        seen.append((out[0] if isinstance(out, tuple) else out).clone())

    handle = net.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        net(**given)
    handle.remove()
    return seen[0]


def everything(found: Activations) -> np.ndarray:
    return np.concatenate(list(found))


def test_rows_of_tokens_are_those_of_plain_passes_without_special_tokens(
    bert: Any, tmp_path: Path
) -> None:
    classifier, net, tokenizer = bert
    found = collect(classifier, samples(), LAYER, "token", tmp_path / "a", dtype="float64")
    wanted, texts = [], []
    for sample in samples():
        given = tokenizer(sample.text, return_tensors="pt")
        wanted.append(hooked(net, LAYER, **given)[0, 1:-1])
        texts.append(sample.text)
    np.testing.assert_allclose(everything(found), torch.cat(wanted), atol=1e-9)
    units = found.units()
    for sample, text in zip(samples(), texts, strict=True):
        mine = [unit for name, unit in units if name == sample.id]
        assert "".join(unit.text for unit in mine) == text
        assert all(text[unit.start : unit.end] == unit.text for unit in mine)
    assert found.width == 32
    assert found.layer == LAYER


KINDS = {
    "distilbert": "distilbert.transformer.layer.1",
    "roberta": "roberta.encoder.layer.1",
    "gpt2": "transformer.h.1",
    "llama": "model.layers.1",
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_text_models_give_a_row_a_token_as_plain_passes_do(kind: str, tmp_path: Path) -> None:
    folder, net, tokenizer = make(kind, tmp_path / kind)
    classifier = HuggingFace(str(folder), dtype="float64")
    found = collect(classifier, samples(), KINDS[kind], "token", tmp_path / "a", dtype="float64")
    wanted = []
    for sample in samples():
        given = tokenizer(sample.text, return_tensors="pt", return_special_tokens_mask=True)
        special = given.pop("special_tokens_mask")[0].bool()
        wanted.append(hooked(net.double(), KINDS[kind], **given)[0][~special])
    np.testing.assert_allclose(everything(found), torch.cat(wanted), atol=1e-5)


def test_the_built_in_image_classifier_has_a_row_a_cell(tmp_path: Path) -> None:
    classifier = MobileCoAtNet("builtin:octa")
    found = collect(classifier, pictures()[:2], "stage3", "patch", tmp_path / "a", dtype="float64")
    images = classifier.inputs(stacked(pictures()[:2], classifier.image_size)).double()
    wanted = hooked(Named(classifier.exact), "inner.stage3", x=images)
    assert wanted.shape[2:] == (8, 8)
    np.testing.assert_allclose(
        everything(found), wanted.flatten(2).transpose(1, 2).flatten(0, 1), atol=1e-9
    )
    assert found.units([9])[0][1].box == (16, 16, 16, 16)


class Named(torch.nn.Module):
    """A module whose input has a name."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_a_words_row_is_the_mean_of_its_tokens(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    words = collect(classifier, samples(), LAYER, "word", tmp_path / "w", dtype="float64")
    tokens = collect(classifier, samples(), LAYER, "token", tmp_path / "t", dtype="float64")
    by_token, rows = tokens.units(), everything(tokens)
    checked = 0
    for (name, unit), row in zip(words.units(), everything(words), strict=True):
        mine = [
            i
            for i, (other, token) in enumerate(by_token)
            if other == name and unit.start <= token.start < unit.end
        ]
        np.testing.assert_allclose(row, rows[mine].mean(axis=0), atol=1e-12)
        checked += len(mine) > 1
    assert checked, "no word of several tokens was seen"
    assert [u.text for n, u in words.units() if n == "s3"] == ["red ", "lining"]


def test_a_sentences_row_is_the_mean_of_its_tokens(bert: Any, tmp_path: Path) -> None:
    classifier, net, tokenizer = bert
    text = Sample("two", (Part("No pain. Full scan in the evening."),))
    found = collect(classifier, [text], LAYER, "sentence", tmp_path / "s", dtype="float64")
    assert [unit.text for _, unit in found.units()] == ["No pain. ", "Full scan in the evening."]
    encoded = tokenizer(text.text, return_tensors="pt", return_offsets_mapping=True)
    starts = encoded.pop("offset_mapping")[0, 1:-1, 0]
    rows = hooked(net, LAYER, **encoded)[0, 1:-1]
    np.testing.assert_allclose(everything(found)[0], rows[starts < 9].mean(0), atol=1e-9)
    np.testing.assert_allclose(everything(found)[1], rows[starts >= 9].mean(0), atol=1e-9)


def test_the_classification_token_is_the_first_and_pooled_is_the_mean_of_the_others(
    bert: Any, tmp_path: Path
) -> None:
    classifier, net, tokenizer = bert
    first = collect(classifier, samples(), LAYER, "cls", tmp_path / "c", dtype="float64")
    mean = collect(classifier, samples(), LAYER, "pooled", tmp_path / "p", dtype="float64")
    own = collect(classifier, samples(), "bert.pooler", "pooled", tmp_path / "o", dtype="float64")
    for place, sample in enumerate(samples()):
        given = tokenizer(sample.text, return_tensors="pt")
        rows = hooked(net, LAYER, **given)[0]
        np.testing.assert_allclose(everything(first)[place], rows[0], atol=1e-9)
        np.testing.assert_allclose(everything(mean)[place], rows[1:-1].mean(0), atol=1e-9)
        pooler = hooked(net, "bert.pooler", **given)[0]
        np.testing.assert_allclose(everything(own)[place], pooler, atol=1e-9)
        assert first.units([place])[0] == (sample.id, Unit(sample.text, 0, len(sample.text)))


def test_a_grids_cells_are_patches_with_their_boxes(tmp_path: Path) -> None:
    net, x = CNN(), drawn(5, 3, 8, 8)
    model = tensors(net, x, channels="first")
    found = collect(model, model.samples, "act2", "patch", tmp_path / "a", dtype="float64")
    wanted = net.act2(net.second(net.act1(net.first(x)))).detach()
    assert len(found) == 5 * 16
    for row, (name, unit) in zip(everything(found), found.units(), strict=True):
        top, left, height, width = unit.box
        assert (height, width) == (2, 2)
        np.testing.assert_allclose(row, wanted[int(name), :, top // 2, left // 2], atol=1e-12)


def test_boxes_tile_an_image_that_the_grid_does_not_divide(tmp_path: Path) -> None:
    net, x = CNN(), drawn(1, 3, 7, 9)
    model = tensors(net, x, channels="first")
    found = collect(model, model.samples, "act2", "patch", tmp_path / "a")
    seen = np.zeros((7, 9), dtype=int)
    for _, unit in found.units():
        top, left, height, width = unit.box
        seen[top : top + height, left : left + width] += 1
    assert (seen == 1).all()


def test_tokens_of_a_vit_are_patches_behind_the_class_token(tmp_path: Path) -> None:
    make_vit(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    classifier = HuggingFace(str(tmp_path / "vit"), dtype="float64")
    name = next(n for n, _ in classifier.module.named_modules() if n.endswith("layernorm_before"))
    found = collect(classifier, pictures(), name, "patch", tmp_path / "a", dtype="float64")
    first = collect(classifier, pictures(), name, "cls", tmp_path / "c", dtype="float64")
    model: Any = model_of(classifier, pictures())
    pixels = torch.from_numpy(np.stack([model.prepare(s) for s in pictures()])).permute(0, 3, 1, 2)
    wanted = hooked(classifier.module, name, pixel_values=pixels)
    np.testing.assert_allclose(everything(found), wanted[:, 1:].flatten(0, 1), atol=1e-9)
    np.testing.assert_allclose(everything(first), wanted[:, 0], atol=1e-9)
    assert found.units([5])[0][1] == Unit(box=(8, 8, 8, 8))
    assert first.units([1])[0][1] == Unit(box=(0, 0, 32, 32))


@pytest.mark.parametrize("kind", ["gpt2", "llama_bos", "llama_chat"])
def test_a_language_models_prompt_and_answer_have_a_row_a_token(kind: str, tmp_path: Path) -> None:
    model = language_model(kind)
    layer = "transformer.h.1" if kind == "gpt2" else "model.layers.1"
    found = collect(model, [prompt_sample()], layer, "token", tmp_path / "a", dtype="float64")
    net, tokenizer = network(kind)
    prompt = prompt_ids(kind, tokenizer, PROMPT)
    answer = list(tokenizer(ANSWER, add_special_tokens=False)["input_ids"])
    rows = hooked(net, layer, input_ids=torch.tensor([prompt + answer[:-1]]))[0]
    units = [unit for _, unit in found.units()]
    own = [unit for unit in units if unit.part == 0]
    assert "".join(unit.text for unit in own) == PROMPT
    assert len(units) - len(own) == len(answer) - 1
    np.testing.assert_allclose(everything(found)[len(own) :], rows[len(prompt) :], atol=1e-5)
    start = prompt.index(prompt_ids("gpt2", tokenizer, PROMPT)[0])
    np.testing.assert_allclose(
        everything(found)[: len(own)], rows[start : start + len(own)], atol=1e-5
    )


def test_shards_batches_and_single_rows_are_the_same_rows(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    one = collect(classifier, samples(), LAYER, "token", tmp_path / "one")
    many = collect(classifier, samples(), LAYER, "token", tmp_path / "many", shard_rows=7)
    rows = everything(one)
    assert len(list(many)) == -(-len(rows) // 7)
    assert np.array_equal(everything(many), rows)
    assert many.units() == one.units()
    sizes = [len(batch) for batch in many.batches(10)]
    assert sizes[:-1] == [10] * (len(sizes) - 1)
    assert np.array_equal(np.concatenate(list(many.batches(10))), rows)
    chosen = [20, 3, 8, 3]
    assert np.array_equal(many.take(chosen), rows[chosen])
    assert [many.units([row])[0] for row in chosen] == many.units(chosen)
    names = [many.samples[place] for place in many.sample_places()]
    assert names == [name for name, _ in many.units()]


def test_a_seed_shuffles_all_rows_and_always_in_the_same_way(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    found = collect(classifier, samples(), LAYER, "token", tmp_path / "a", shard_rows=7)
    first, again, other = (np.concatenate(list(found.batches(10, seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    order = np.lexsort(first.T)
    plain = everything(found)
    assert np.array_equal(first[order], plain[np.lexsort(plain.T)])


def test_the_same_call_writes_the_same_bytes_and_opens_again(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    one = collect(classifier, samples(), LAYER, "word", tmp_path / "a", shard_rows=7)
    two = collect(classifier, samples(), LAYER, "word", tmp_path / "b", shard_rows=7)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    again = Activations(tmp_path / "a")
    assert np.array_equal(everything(again), everything(one))
    assert again.key == two.key
    assert (again.at, again.revision) == ("word", classifier.revision)


def test_batches_do_not_change_the_rows(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    one = collect(classifier, samples(), LAYER, "token", tmp_path / "a", dtype="float64")
    two = collect(
        classifier, samples(), LAYER, "token", tmp_path / "b", dtype="float64", batch_tokens=1
    )
    np.testing.assert_allclose(everything(one), everything(two), atol=1e-9)


def test_the_model_is_left_as_it_was_also_when_refused(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    classifier.module.train()
    before = state(classifier.module)
    collect(classifier, samples(), LAYER, "token", tmp_path / "a")
    with contextlib.suppress(HarnessError):
        collect(classifier, samples(), "bert.pooler", "token", tmp_path / "b")
    assert same(before, state(classifier.module))


def test_what_is_written_into_afterwards_is_seen_as_it_was_said(tmp_path: Path) -> None:
    net, x = CNN(), drawn(2, 3, 8, 8)
    model = tensors(net, x, channels="first")
    before = collect(model, model.samples, "first", "patch", tmp_path / "a")
    net.act1.inplace = True
    after = collect(model, model.samples, "first", "patch", tmp_path / "b")
    assert np.array_equal(everything(before), everything(after))


def test_columns_of_a_table_are_pooled(tmp_path: Path) -> None:
    net, x = MLP(), drawn(6, 4)
    found = collect(net, x, "2", "pooled", tmp_path / "a", dtype="float64")
    np.testing.assert_allclose(everything(found), net[2](net[1](net[0](x))).detach(), atol=1e-12)


def test_what_cannot_be_collected_is_refused(bert: Any, tmp_path: Path) -> None:
    classifier, _, _ = bert
    with pytest.raises(HarnessError, match="has no module 'neck'; it has "):
        collect(classifier, samples(), "neck", "token", tmp_path / "a")
    with pytest.raises(HarnessError, match="not one row for each of its"):
        collect(classifier, samples(), "bert.pooler", "token", tmp_path / "a")
    with pytest.raises(HarnessError, match="is no single image"):
        collect(classifier, samples(), LAYER, "patch", tmp_path / "a")
    with pytest.raises(HarnessError, match="taken at token, word"):
        collect(classifier, samples(), LAYER, "letter", tmp_path / "a")
    with pytest.raises(HarnessError, match="is a function"):
        collect(lambda texts: [[0.5, 0.5]] * len(texts), ["a b"], LAYER, "token", tmp_path / "a")
    with pytest.raises(HarnessError, match="no finished activations"):
        Activations(tmp_path / "a")
    collect(classifier, samples(), LAYER, "token", tmp_path / "a")
    with pytest.raises(HarnessError, match="holds activations already"):
        collect(classifier, samples(), LAYER, "token", tmp_path / "a")


def test_a_module_that_is_used_twice_is_refused(tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 4).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(self.inner(x))

    with pytest.raises(HarnessError, match="modules that are used once"):
        collect(Twice(), drawn(3, 4), "inner", "pooled", tmp_path / "a")


def test_moments_are_exact_far_from_zero() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 5)) + 1e6
    mean, covariance = moments(InMemory(rows))
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True), rtol=1e-6)


def test_some_rows_are_drawn_once_each_in_their_order() -> None:
    rows = np.arange(30.0).reshape(30, 1)
    drawn_rows = some(InMemory(rows), 10, seed=3)[:, 0]
    assert len(set(drawn_rows)) == 10
    assert (np.diff(drawn_rows) > 0).all()
    assert np.array_equal(drawn_rows, some(InMemory(rows), 10, seed=3)[:, 0])
    assert len(some(InMemory(rows), 100, seed=3)) == 30


def test_the_tokenizer_of_the_tests_splits_words() -> None:
    assert len(wordpiece()("vomits", add_special_tokens=False)["input_ids"]) > 1
