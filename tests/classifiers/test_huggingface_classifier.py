"""Checkpoints of transformers: each answer is what the network alone, unpadded, would say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import (
    NAMES,
    TEXTS,
    alone,
    byte_pairs,
    edit,
    hf,
    make,
    samples,
    softmax,
    table,
)
from safetensors.torch import load_file, save_file
from small_suite import changed, write

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.inputs import prepare
from harness.plan import make_plan
from harness.records import HarnessError
from harness.store import Store
from harness.suite import load

# --- batches ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {}),
        ("distilbert", {}),
        ("roberta", {}),
        ("gpt2", {}),
        ("gpt2", {"pad_token_id": 0}),
        ("llama", {}),
        ("bert", {"num_labels": 2}),
    ],
)
def test_a_batch_says_what_each_text_alone_is_told(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    folder, network, tokenizer = make(kind, tmp_path, **options)
    expected = np.array([softmax(alone(network, tokenizer, text)) for text in TEXTS])
    assert (
        np.ptp(expected, axis=0).max() > 0.2
    )  # a network that told all the same would show nothing
    for budget in (1, 30, 4096):
        # Each text twice, so that there are batches of several whatever the lengths are.
        found = HuggingFace(str(folder), batch_tokens=budget).predict(samples(TEXTS * 2))
        assert table(found) == pytest.approx(np.tile(expected, (2, 1)), abs=1e-5)
    assert [prediction.sample for prediction in found] == [f"s{i}" for i in range(2 * len(TEXTS))]
    backwards = HuggingFace(str(folder)).predict(samples(TEXTS[::-1]))
    assert table(backwards[::-1]) == pytest.approx(expected, abs=1e-5)


def test_texts_share_batches_within_the_budget_and_are_never_padded(
    bert: tuple[Path, Any, Any],
) -> None:
    folder, _, tokenizer = bert
    classifier = HuggingFace(str(folder), batch_tokens=40)
    shapes: list[tuple[int, int]] = []
    masks: list[bool] = []

    def note(_: Any, __: Any, given: Any) -> None:
        shapes.append(tuple(given["input_ids"].shape))
        masks.append(bool(given["attention_mask"].all()))

    classifier.module.register_forward_pre_hook(note, with_kwargs=True)
    texts = TEXTS * 5
    classifier.predict(samples(texts))
    assert all(masks)
    assert all(rows * length <= 40 or rows == 1 for rows, length in shapes)
    assert sum(rows * length for rows, length in shapes) == sum(
        len(tokenizer(text)["input_ids"]) for text in texts
    )
    assert len(shapes) < len(texts) / 2


def test_no_samples_are_no_predictions(bert: tuple[Path, Any, Any]) -> None:
    assert HuggingFace(str(bert[0])).predict([]) == []


def test_a_single_output_is_the_log_odds_of_the_second_class(tmp_path: Path) -> None:
    folder, network, tokenizer = make("bert", tmp_path, num_labels=1)
    with pytest.raises(HarnessError, match="a single output; if it is the log-odds"):
        HuggingFace(str(folder))
    found = HuggingFace(str(folder), classes=["healthy", "ill"]).predict(samples())
    for prediction, text in zip(found, TEXTS, strict=True):
        (logit,) = alone(network, tokenizer, text)
        assert prediction.probabilities["ill"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
        assert prediction.label == ("ill" if logit > 0 else "healthy")
    with pytest.raises(HarnessError, match="leave multi_label out"):
        HuggingFace(str(folder), classes=["healthy", "ill"], multi_label=True)


def test_several_labels_at_once_are_told_only_when_asked_for(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    edit(copy, problem_type="multi_label_classification")
    with pytest.raises(HarnessError, match="set multi_label: true"):
        HuggingFace(str(copy))
    found = HuggingFace(str(copy), multi_label=True).predict(samples())
    for prediction, text in zip(found, TEXTS, strict=True):
        logits = np.array(alone(bert[1], bert[2], text))
        shares = dict(zip(NAMES, 1 / (1 + np.exp(-logits)), strict=True))
        assert prediction.output == pytest.approx(shares, abs=1e-5)
        assert (prediction.kind, prediction.probabilities) == ("array", {})
        assert prediction.label == NAMES[int(logits.argmax())]


# --- state --------------------------------------------------------------------------------


def test_predicting_changes_nothing(bert: tuple[Path, Any, Any]) -> None:
    classifier = HuggingFace(str(bert[0]))
    first = classifier.predict(samples())
    classifier.module.train()
    classifier.module.bert.encoder.eval()
    flags = [part.training for part in classifier.module.modules()]
    weights = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())
    assert classifier.predict(samples()) == first  # without the dropout of training
    assert [part.training for part in classifier.module.modules()] == flags
    assert torch.is_grad_enabled()
    assert all(value.grad is None for value in classifier.module.parameters())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == numpy_state
    now = classifier.module.state_dict()
    assert all(torch.equal(now[name], value) for name, value in weights.items())


def test_loading_draws_no_random_numbers_and_says_nothing(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state()
    HuggingFace(str(copy)).predict(samples([" ".join(TEXTS * 20)]))
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_the_revision_is_that_of_weights_configuration_and_tokenizer(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    revision = HuggingFace(str(bert[0])).revision
    assert HuggingFace(str(copy)).revision == revision
    (copy / "README.md").write_text("A card.")
    assert HuggingFace(str(copy)).revision == revision
    seen = {revision}
    edit(copy, "tokenizer_config.json", model_max_length=99)
    seen.add(HuggingFace(str(copy)).revision)
    edit(copy, id2label={"0": "a", "1": "b", "2": "c"})
    seen.add(HuggingFace(str(copy)).revision)
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] += 1e-3
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    seen.add(HuggingFace(str(copy)).revision)
    assert len(seen) == 4


def test_doubled_numbers_leave_no_rounding_of_batches(bert: tuple[Path, Any, Any]) -> None:
    together, single = (
        HuggingFace(str(bert[0]), dtype="float64", batch_tokens=budget).predict(samples())
        for budget in (4096, 1)
    )
    exact = [softmax(alone(bert[1].double(), bert[2], text)) for text in TEXTS]
    bert[1].float()
    assert table(together) == pytest.approx(np.array(exact), abs=1e-12)
    assert table(single) == pytest.approx(np.array(exact), abs=1e-12)


def test_halved_numbers_say_nearly_the_same(bert: tuple[Path, Any, Any]) -> None:
    exact = table(HuggingFace(str(bert[0])).predict(samples()))
    rounded = HuggingFace(str(bert[0]), dtype="bfloat16")
    assert rounded.module.dtype == torch.bfloat16
    found = table(rounded.predict(samples()))
    assert (found != exact).any()
    assert found == pytest.approx(exact, abs=0.15)


# --- what cannot be right -----------------------------------------------------------------


def test_a_tokenizer_of_another_model_is_one_sentence(copy: Path) -> None:
    byte_pairs(hf.GPT2Tokenizer, ["<|endoftext|>"]).save_pretrained(copy)
    with pytest.raises(HarnessError, match="failed on the samples 's0' to .*: IndexError"):
        HuggingFace(str(copy)).predict(samples())


def test_logits_that_are_no_numbers_are_told(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"][1] = float("nan")
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    for multi_label in (False, True):
        with pytest.raises(HarnessError, match=r"sample 's0'.*the probability is nan"):
            HuggingFace(str(copy), multi_label=multi_label).predict(samples())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens is a whole number of at least 1, not 0"),
        ({"max_length": True}, "max_length is a whole number of at least 1, not True"),
        ({"dtype": "int8"}, "dtype is one of float64, float32, bfloat16, float16, not 'int8'"),
        ({"device": "abacus"}, "the device 'abacus' cannot be used"),
        ({"classes": "gastritis"}, "must list the names"),
    ],
)
def test_fields_that_cannot_be_right_are_refused(
    bert: tuple[Path, Any, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        HuggingFace(str(bert[0]), **options)


# --- in a suite ---------------------------------------------------------------------------


def test_a_suite_runs_with_a_checkpoint_and_maps_its_labels(tmp_path: Path) -> None:
    _, network, tokenizer = make("bert", tmp_path / "checkpoint", num_labels=2)
    kind = "harness.classifiers.huggingface:HuggingFace"
    suite = write(
        tmp_path,
        changed(
            classifier={"kind": kind, "model": "./checkpoint"},
            label_map={"LABEL_0": "gastritis", "LABEL_1": "indigestion"},
            arms=["predicted"],
        ),
    )
    result = harness.run(suite, out=tmp_path / "out")
    assert result.not_run == 0
    notes = {
        "s1": "Burning after painkillers.",
        "s2": "Red lining at endoscopy.",
        "s3": "Full after rich meals.",
        "s4": "Burps in the evening.",
    }
    with Store.read(tmp_path / "out") as store:
        predictions = store.predictions("classifier")
    assert set(predictions) == set(notes)
    for sample, text in notes.items():
        shares = softmax(alone(network, tokenizer, text))
        found = predictions[sample]
        assert found.probabilities["indigestion"] == pytest.approx(shares[1], abs=1e-5)
        assert found.label == ("gastritis", "indigestion")[int(shares.argmax())]


def test_a_suite_with_a_checkpoint_that_is_not_there_sends_nothing(tmp_path: Path) -> None:
    kind = "harness.classifiers.huggingface:HuggingFace"
    suite = write(tmp_path, changed(classifier={"kind": kind, "model": "./none"}))
    with pytest.raises(HarnessError, match="there is no model folder .*none"):
        harness.run(suite, out=tmp_path / "out")
    assert not (tmp_path / "out" / "run.sqlite").exists()


def test_a_label_map_reaches_the_outputs_of_several_labels_at_once(tmp_path: Path) -> None:
    several = {"num_labels": 2, "problem_type": "multi_label_classification"}
    _, network, tokenizer = make("bert", tmp_path / "checkpoint", **several)
    kind = "harness.classifiers.huggingface:HuggingFace"
    path = write(
        tmp_path,
        changed(
            classifier={"kind": kind, "model": "./checkpoint", "multi_label": True},
            label_map={"LABEL_0": "gastritis", "LABEL_1": "indigestion"},
            arms=["predicted"],
        ),
    )
    suite = load(str(path))
    inputs = prepare(suite)
    for sample in inputs.samples:
        found = inputs.predictions[sample.id]
        logits = alone(network, tokenizer, sample.text)
        shares = [1 / (1 + math.exp(-logit)) for logit in logits]
        expected = dict(zip(("gastritis", "indigestion"), shares, strict=True))
        assert found.output == pytest.approx(expected, abs=1e-5)
        assert found.label == max(expected, key=expected.__getitem__)
    told = {(planned.cell.sample, planned.told) for planned in make_plan(suite, inputs).cells}
    assert told == {(sample, found.label) for sample, found in inputs.predictions.items()}
