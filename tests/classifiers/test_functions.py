"""Functions and torch modules as classifiers: outputs checked, names first, no traces left."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness import plugins
from harness.classifiers.functions import Callable
from harness.images import media_of
from harness.records import HarnessError, Part, Sample


def texts(*values: str) -> list[Sample]:
    return [Sample(f"s{i}", (Part(value),)) for i, value in enumerate(values)]


def share_of_a(inputs: Sequence[str]) -> list[list[float]]:
    shares = [text.count("a") / len(text) for text in inputs]
    return [[share, 1 - share] for share in shares]


def lengths(inputs: Sequence[str]) -> torch.Tensor:
    return torch.tensor([[float(len(text)), 1.0] for text in inputs])


def linear(outputs: int = 2) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(2, outputs)


def test_it_is_registered_under_its_name() -> None:
    assert plugins.load("classifiers", "callable") is Callable


def test_a_function_gives_probabilities_by_class() -> None:
    found = Callable(function=share_of_a, classes=["a", "rest"]).predict(texts("aab!", "b"))
    assert [p.sample for p in found] == ["s0", "s1"]
    assert [p.label for p in found] == ["a", "rest"]
    assert found[0].probabilities == {"a": 0.5, "rest": 0.5}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=9), st.integers(1, 10))
def test_batching_changes_nothing_and_no_batch_is_too_large(values: list[str], size: int) -> None:
    seen: list[int] = []

    def function(inputs: Sequence[str]) -> list[list[float]]:
        seen.append(len(inputs))
        return share_of_a(inputs)

    found = Callable(function=function, classes=["a", "b"], batch_size=size).predict(texts(*values))
    whole = Callable(function=share_of_a, classes=["a", "b"], batch_size=99).predict(texts(*values))
    assert found == whole
    assert max(seen) <= size
    assert sum(seen) == len(values)


def test_arrays_tensors_and_mappings_are_all_understood() -> None:
    outputs: list[Any] = [
        np.array([[0.25, 0.75]]),
        torch.tensor([[0.25, 0.75]], requires_grad=True),
        [{"b": 0.75, "a": 0.25}],
    ]
    for output in outputs:
        classifier = Callable(function=lambda _, output=output: output, classes=["a", "b"])
        assert classifier.predict(texts("x"))[0].probabilities == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([[0.5, float("nan")]], "sample 's0', class 'b': the probability is nan"),
        ([[2.0, -1.0]], "class 'b': the probability -1 does not lie"),
        ([[3.0, 1.0]], "sum to 4, not 1; normalise them"),
        ([[0.2, 0.3, 0.5]], "3 probabilities for the 2 classes"),
        ([[0.5, 0.5], [0.5, 0.5]], "returned 2 rows for 1 samples"),
        ([0.5], "one row of probabilities a sample, not an array of 1"),
        (["yes"], "must return probabilities"),
        ([{"a": 1.0}], "no probability for the class 'b'"),
    ],
)
def test_outputs_that_are_no_distributions_are_refused(output: Any, message: str) -> None:
    classifier = Callable(function=lambda _: output, classes=["a", "b"])
    with pytest.raises(HarnessError, match=message):
        classifier.predict(texts("x"))


def test_a_failing_function_is_named_with_its_samples_and_cause() -> None:
    classifier = Callable(function=lambda _: 1 / 0, classes=["a", "b"])
    with pytest.raises(HarnessError, match="failed on the samples 's0' to 's1': ZeroDivision"):
        classifier.predict(texts("x", "y"))


def test_a_file_beside_the_suite_is_found_and_is_the_revision(tmp_path: Path) -> None:
    code = "def mine(inputs):\n    return [[1.0, 0.0] for _ in inputs]\n"
    (tmp_path / "own.py").write_text(code)
    options: dict[str, Any] = {"classes": ["a", "b"], "beside": str(tmp_path)}
    first = Callable(function="./own.py:mine", **options)
    assert first.predict(texts("x"))[0].label == "a"
    assert Callable(function="./own.py:mine", **options).revision == first.revision
    (tmp_path / "own.py").write_text(code + "# changed\n")
    assert Callable(function="./own.py:mine", **options).revision != first.revision


def test_a_package_function_is_found_by_name() -> None:
    classifier = Callable(function="operator:length_hint", classes=["a", "b"])
    assert classifier.revision != Callable(function="operator:index", classes=["a", "b"]).revision


def test_images_come_as_arrays_of_pixels() -> None:
    shapes = []

    def function(inputs: Sequence[Any]) -> list[list[float]]:
        shapes.extend((array.shape, array.dtype) for array in inputs)
        return [[float(array.mean()) / 255, 1 - float(array.mean()) / 255] for array in inputs]

    buffer = io.BytesIO()
    Image.new("L", (6, 4), 51).save(buffer, "PNG")
    (media,) = media_of(buffer.getvalue(), "x")
    sample = Sample("s", (Part(media=media),))
    (found,) = Callable(function=function, classes=["light", "dark"]).predict([sample])
    assert shapes == [((4, 6, 3), np.uint8)]
    assert found.probabilities == pytest.approx({"light": 0.2, "dark": 0.8})


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("xyz", min_size=1, max_size=30), min_size=1, max_size=5))
def test_logits_become_torchs_own_softmax(values: list[str]) -> None:
    module = linear(3)
    found = Callable(module=module, preprocess=lengths, classes=["a", "b", "c"])
    expected = torch.softmax(module(lengths(values)).double(), 1).tolist()
    for prediction, row in zip(found.predict(texts(*values)), expected, strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(row, abs=1e-12)


@pytest.mark.parametrize("flat", [False, True])
def test_a_single_logit_is_the_log_odds_of_the_second_class(flat: bool) -> None:
    class Single(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values[:, 0] if flat else values[:, :1]

    classifier = Callable(
        module=Single(), preprocess=lambda _: torch.tensor([[-2.0, 0.0]]), classes=["no", "yes"]
    )
    (found,) = classifier.predict(texts("x"))
    assert found.probabilities["yes"] == pytest.approx(1 / (1 + np.exp(2.0)))
    assert found.label == "no"


def test_huge_logits_do_not_overflow() -> None:
    classifier = Callable(
        module=torch.nn.Identity(),
        preprocess=lambda _: torch.tensor([[1e30, -1e30]]),
        classes=["a", "b"],
    )
    assert classifier.predict(texts("x"))[0].probabilities == {"a": 1.0, "b": 0.0}


def test_a_module_is_left_exactly_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5), linear())
    module.train()
    module[0].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    classifier = Callable(module=module, preprocess=lengths, classes=["a", "b"])
    first = classifier.predict(texts("x", "yyy"))
    assert classifier.predict(texts("x", "yyy")) == first  # no dropout
    assert [part.training for part in module.modules()] == [True, False, True, True]
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert all(value.grad is None for value in module.parameters())


def test_tuples_and_mappings_of_tensors_become_arguments_and_logits_are_unwrapped() -> None:
    class Sum(torch.nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
            return SimpleNamespace(logits=left + right)

    row = torch.tensor([[0.0, 1.0]])
    for prepared in ((row, row), {"right": row, "left": row}):
        classifier = Callable(
            module=Sum(), preprocess=lambda _, prepared=prepared: prepared, classes=["a", "b"]
        )
        assert classifier.predict(texts("x"))[0].probabilities["b"] == pytest.approx(
            1 / (1 + np.exp(-2.0))
        )


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.0, 1.0, 2.0]], "logits of shape 1 x 3 for 2 classes"),
        ([[float("nan"), 1.0]], "NaN or infinite"),
        ([[[0.0, 1.0]]], "logits of shape 1 x 1 x 2"),
    ],
)
def test_wrong_logits_are_refused(logits: Any, message: str) -> None:
    classifier = Callable(
        module=torch.nn.Identity(), preprocess=lambda _: torch.tensor(logits), classes=["a", "b"]
    )
    with pytest.raises(HarnessError, match=message):
        classifier.predict(texts("x"))


def test_one_logit_for_three_classes_is_refused() -> None:
    classifier = Callable(module=linear(1), preprocess=lengths, classes=["a", "b", "c"])
    with pytest.raises(HarnessError, match="one logit a sample for 3 classes"):
        classifier.predict(texts("x"))


def test_id2label_names_the_outputs_whatever_order_is_given() -> None:
    module = torch.nn.Identity()
    module.config = SimpleNamespace(id2label={1: "b", 0: "a"})

    def prepared(_: Any) -> torch.Tensor:
        return torch.tensor([[5.0, 0.0]])

    classifier = Callable(module=module, preprocess=prepared, classes=["b", "a"])
    assert classifier.predict(texts("x"))[0].label == "a"
    with pytest.raises(HarnessError, match="given are b, c, but the model's own are a, b"):
        Callable(module=module, preprocess=prepared, classes=["b", "c"])
    module.config = SimpleNamespace(id2label={0: "LABEL_0", 1: "LABEL_1"})
    classifier = Callable(module=module, preprocess=prepared, classes=["b", "a"])
    assert classifier.predict(texts("x"))[0].label == "b"


def test_the_revision_follows_weights_structure_and_preprocessing() -> None:
    def revision(module: torch.nn.Module, preprocess: Any = lengths) -> str:
        return Callable(module=module, preprocess=preprocess, classes=["a", "b"]).revision

    assert revision(linear()) == revision(linear())
    changed = linear()
    with torch.no_grad():
        changed.weight[0, 0] += 1e-6
    activations = [torch.nn.Sequential(linear(), kind()) for kind in (torch.nn.ReLU, torch.nn.Tanh)]
    half = linear().to(torch.bfloat16)
    revisions = {revision(m) for m in (linear(), changed, half, *activations)}
    revisions.add(revision(linear(), lambda inputs: lengths(inputs)))
    assert len(revisions) == 6


def test_a_module_can_be_made_by_a_named_function(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "def make():\n    return torch.nn.Identity()\n"
        "def prepare(inputs):\n    return torch.tensor([[1.0, 2.0] for _ in inputs])\n"
        "number = 3\n"
    )
    options: dict[str, Any] = {"classes": ["a", "b"], "beside": str(tmp_path)}
    made = Callable(module="./own.py:make", preprocess="./own.py:prepare", **options)
    assert made.predict(texts("x"))[0].label == "b"
    with pytest.raises(HarnessError, match=r"'\./own\.py:number' is no torch"):
        Callable(module="./own.py:number", preprocess="./own.py:prepare", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of 'function' and 'module'"),
        ({"function": share_of_a, "module": torch.nn.Identity()}, "one of 'function'"),
        ({"module": torch.nn.Identity()}, "'module' and 'preprocess' go together"),
        ({"function": share_of_a, "preprocess": lengths}, "go together"),
        ({"function": share_of_a, "batch_size": 0}, "batch_size is a whole number of at least 1"),
        ({"function": share_of_a, "batch_size": "8"}, "batch_size is a whole number of at least 1"),
        ({"function": share_of_a, "classes": []}, "'classes' must list"),
        ({"function": "sklearn"}, r"'sklearn' must read package\.module:name"),
        ({"function": "no_such_package:f"}, "cannot be loaded"),
    ],
)
def test_a_wrong_entry_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        Callable(**{"classes": ["a", "b"], **options})
