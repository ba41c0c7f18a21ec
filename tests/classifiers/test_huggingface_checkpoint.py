"""What a classification checkpoint says of itself, and one sentence for one that will not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from classification_checkpoints import (
    NAMES,
    TEXTS,
    alone,
    edit,
    make,
    samples,
    softmax,
    table,
)
from safetensors.torch import load_file, save_file

from harness.classifiers.huggingface import HuggingFace
from harness.records import HarnessError

# --- classes ------------------------------------------------------------------------------


def test_classes_follow_the_number_of_the_output_not_the_order_in_the_file(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    edit(copy, id2label={"2": "ulcer", "0": "gastritis", "1": "indigestion"})
    classifier = HuggingFace(str(copy))
    assert classifier.classes == NAMES
    for prediction, text in zip(classifier.predict(samples()), TEXTS, strict=True):
        logits = alone(bert[1], bert[2], text)
        assert prediction.label == NAMES[int(np.argmax(logits))]
        assert list(prediction.probabilities) == list(NAMES)


@pytest.mark.parametrize(
    ("id2label", "classes", "named"),
    [
        ({"0": "a", "2": "c"}, ("a", "LABEL_1", "c"), "names 2; the others are called LABEL_1"),
        ({"1": "b"}, ("LABEL_0", "b", "LABEL_2"), "the others are called LABEL_0, LABEL_2"),
        ({"0": "a"}, ("a", "LABEL_1", "LABEL_2"), "the others are called LABEL_1, LABEL_2"),
        ({}, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (None, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        ({"0": 10, "1": 20, "2": 30}, ("10", "20", "30"), None),
    ],
)
def test_outputs_without_a_name_keep_their_number(
    bert: tuple[Path, Any, Any],
    copy: Path,
    id2label: dict[str, Any] | None,
    classes: tuple[str, ...],
    named: str | None,
) -> None:
    edit(copy, id2label=id2label, label2id=None)
    classifier = HuggingFace(str(copy))
    assert classifier.classes == classes
    assert len(classifier.notes) == (named is not None)
    assert named is None or named in classifier.notes[0]
    expected = [softmax(alone(bert[1], bert[2], text)) for text in TEXTS]
    assert table(classifier.predict(samples())) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("number", ["3", "-1"])
def test_a_name_for_an_output_that_is_not_there_is_refused(copy: Path, number: str) -> None:
    edit(copy, id2label={"0": "a", "1": "b", number: "c"})
    with pytest.raises(HarnessError, match="which names 4 outputs|names an output -1 in id2label"):
        HuggingFace(str(copy))


def test_one_name_for_two_outputs_is_refused(copy: Path) -> None:
    edit(copy, id2label={"0": "a", "1": "b", "2": "a"})
    with pytest.raises(HarnessError, match="the class 'a' is listed twice"):
        HuggingFace(str(copy))


def test_classes_in_another_order_are_matched_by_name(bert: tuple[Path, Any, Any]) -> None:
    given = HuggingFace(str(bert[0]), classes=NAMES[::-1])
    assert given.predict(samples()) == HuggingFace(str(bert[0])).predict(samples())
    with pytest.raises(HarnessError, match="the model's own are gastritis, indigestion, ulcer"):
        HuggingFace(str(bert[0]), classes=["a", "b", "c"])


def test_classes_name_outputs_that_have_only_numbers(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path)
    numbered = HuggingFace(str(folder))
    own = HuggingFace(str(folder), classes=["LABEL_2", "LABEL_0", "LABEL_1"])
    assert own.predict(samples()) == numbered.predict(samples())
    named = HuggingFace(str(folder), classes=NAMES)
    assert named.classes == NAMES
    assert (table(named.predict(samples())) == table(numbered.predict(samples()))).all()
    with pytest.raises(HarnessError, match="has 3 outputs, but 2 classes are given"):
        HuggingFace(str(folder), classes=["a", "b"])


def test_regression_is_no_classification(copy: Path) -> None:
    edit(copy, problem_type="regression")
    with pytest.raises(HarnessError, match="was trained for regression"):
        HuggingFace(str(copy))


# --- checkpoints that will not do ---------------------------------------------------------


def test_a_folder_that_is_not_there_and_files_that_are_missing_are_told(copy: Path) -> None:
    with pytest.raises(HarnessError, match="there is no model folder ./none"):
        HuggingFace("./none")
    (copy / "model.safetensors").rename(copy / "aside")
    with pytest.raises(HarnessError, match=r"the weights file model\.safetensors .* is missing"):
        HuggingFace(str(copy))
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(HarnessError, match=r"are pytorch_model\.bin; only safetensors are read"):
        HuggingFace(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(HarnessError, match=r"has no config\.json"):
        HuggingFace(str(copy))


def test_a_name_that_cannot_be_had_from_the_hub_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="no folder here and cannot be had from the hub"):
        HuggingFace("nobody/no-such-classifier")


def test_damaged_weights_are_one_sentence(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HarnessError, match="cannot be loaded"):
        HuggingFace(str(copy))


def test_a_network_without_a_trained_head_is_refused(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["classifier.weight"], tensors["classifier.bias"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="lack 2 tensors .* classifier.bias among them"):
        HuggingFace(str(copy))
    for architecture in ("BertForMaskedLM", "BertModel", "BertForTokenClassification"):
        edit(copy, architectures=[architecture])
        with pytest.raises(HarnessError, match=f"is a {architecture}, which is no sequence"):
            HuggingFace(str(copy))


def test_code_that_comes_with_a_checkpoint_is_never_run(copy: Path) -> None:
    (copy / "own.py").write_text("raise SystemExit('this ran')\n")
    edit(copy, model_type="own", auto_map={"AutoConfig": "own.Config"})
    with pytest.raises(HarnessError, match="needs code of its own, which is never run"):
        HuggingFace(str(copy))


def test_without_an_architecture_the_model_type_decides(copy: Path) -> None:
    edit(copy, architectures=None)
    assert HuggingFace(str(copy)).classes == NAMES


def test_tensors_that_have_no_place_are_noted(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["second_head.weight"] = torch.zeros(2, 2)
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert "1 tensors of the weights have no place" in HuggingFace(str(copy)).notes[0]
