"""A classifier's revision holds every option that changes what it predicts, and no other."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable as AnyCallable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_checkpoints import make

from harness import plugins
from harness.classifiers.functions import Callable
from harness.classifiers.huggingface import HuggingFace
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.classifiers.recorded import Recorded
from harness.classifiers.sklearn import Sklearn, train

# By classifier: the options that change what it predicts, and those that do not, with why.
CHANGES: dict[str, set[str]] = {
    "mobilecoatnet": {"weights", "image_size"},
    "huggingface": {"model", "revision", "classes", "max_length", "dtype", "multi_label"},
    "sklearn": {"path"},
    "recorded": {"path", "sample", "label", "probabilities", "classes"},
    "callable": {"function", "module", "preprocess", "classes", "revision"},
}
SAME: dict[str, dict[str, str]] = {
    "mobilecoatnet": {"batch_size": "computed in 64 bits"},
    "huggingface": {
        "batch_tokens": "nothing is padded",
        "device": "where it is computed, not what",
    },
    "sklearn": {
        "classes": "a check of the pipeline's own",
        "trusted": "which types may be read",
    },
    "recorded": {},
    "callable": {"batch_size": "predictions are pure", "beside": "where the file is looked for"},
}


@pytest.mark.parametrize("name", sorted(plugins.registered("classifiers")))
def test_every_option_of_every_classifier_is_accounted_for(name: str) -> None:
    options = set(inspect.signature(plugins.load("classifiers", name)).parameters)
    assert options == CHANGES[name] | set(SAME[name])


def test_the_size_of_images_is_part_of_the_revision() -> None:
    own = MobileCoAtNet("builtin:octa")
    size = own.image_size
    revisions = {
        MobileCoAtNet("builtin:octa", image_size=n).revision for n in (size, size - 36, size + 32)
    }
    assert len(revisions) == 3
    assert own.revision in revisions
    assert MobileCoAtNet("builtin:octa", batch_size=4).revision == own.revision


TABLE = "sample,id,label,guess,p_a,p_b,q_a,q_b\n1,2,a,b,0.7,0.3,0.2,0.8\n2,1,b,a,0.1,0.9,0.6,0.4\n"


def test_every_column_of_a_table_that_is_read_is_part_of_the_revision(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    options: list[dict[str, Any]] = [
        {},
        {"sample": "id"},
        {"label": "guess"},
        {"label": None},
        {"probabilities": {}},
        {"probabilities": {"a": "q_a", "b": "q_b"}},
        {"probabilities": {"a": "p_b", "b": "p_a"}},
        {"classes": ["b", "a"]},
    ]
    revisions = [Recorded(str(tmp_path / "t.csv"), **one).revision for one in options]
    assert len(set(revisions)) == len(options)
    same: list[dict[str, Any]] = [
        {"sample": "sample", "label": "label"},
        {"probabilities": {"a": "p_a", "b": "p_b"}},
        {"classes": ["a", "b"]},
    ]
    assert {Recorded(str(tmp_path / "t.csv"), **one).revision for one in same} == {revisions[0]}


def test_options_of_a_pipeline_that_only_check_it_leave_the_revision(tmp_path: Path) -> None:
    path = str(train(["a cough", "a toe", "cough", "toe"], list("ababa"[:4]), tmp_path / "t.skops"))
    own = Sklearn(path).revision
    assert Sklearn(path, classes=["b", "a"]).revision == own
    assert Sklearn(path, trusted=["builtins.int"]).revision == own


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose outputs have no names of their own."""
    return make("bert", tmp_path_factory.mktemp("revision"), num_labels=3)[0]


def test_every_option_of_a_checkpoint_that_changes_predictions_is_part_of_the_revision(
    checkpoint: Path,
) -> None:
    own = HuggingFace(str(checkpoint))
    names = [f"class {number}" for number in range(len(own.classes))]
    options: list[dict[str, Any]] = [
        {},
        {"classes": names},
        {"classes": names[::-1]},
        {"max_length": 5},
        {"max_length": 6},
        {"dtype": "float64"},
        {"dtype": "bfloat16"},
        {"multi_label": True},
    ]
    revisions = [HuggingFace(str(checkpoint), **one).revision for one in options]
    assert len(set(revisions)) == len(options)
    assert revisions[0] == own.revision
    reader: Any = own.reader
    same: list[dict[str, Any]] = [
        {"batch_tokens": 8}, {"dtype": "float32"}, {"classes": own.classes},
        {"max_length": reader.limit}, {"device": "cpu"},
    ]  # fmt: skip
    assert {HuggingFace(str(checkpoint), **one).revision for one in same} == {own.revision}


def shares(texts: list[str], share: float = 0.5) -> list[list[float]]:
    return [[share, 1 - share] for _ in texts]


class Scorer:
    """An object with a method and values of its own."""

    def __init__(self, share: Any) -> None:
        self.share = share

    def predict(self, texts: list[str]) -> list[list[float]]:
        return shares(texts, float(np.mean(self.share)))

    __call__ = predict


def closing(share: float) -> AnyCallable[[list[str]], list[list[float]]]:
    def inner(texts: list[str]) -> list[list[float]]:
        return shares(texts, share)

    return inner


def test_classes_and_a_stated_revision_are_part_of_a_functions_revision() -> None:
    def revision(classes: list[str], **options: Any) -> str:
        return Callable(function=shares, classes=classes, **options).revision

    assert len({
        revision(["a", "b"]), revision(["b", "a"]), revision(["a", "b"], revision="v1"),
        revision(["b", "a"], revision="v1"), revision(["a", "b"], revision="v2"),
    }) == 5  # fmt: skip
    assert revision(["a", "b"], batch_size=1) == revision(["a", "b"])


@pytest.mark.parametrize(
    "made",
    [
        lambda share: functools.partial(shares, share=share),
        lambda share: Scorer(share).predict,
        Scorer,
        lambda share: Scorer(np.array([share, share])),
        lambda share: Scorer({"nested": [share]}).predict,
        closing,
        lambda share: functools.partial(closing(share)),
    ],
)
def test_values_that_are_bound_to_a_function_are_part_of_its_revision(made: Any) -> None:
    def revision(share: float) -> str:
        return Callable(function=made(share), classes=["a", "b"]).revision

    assert revision(0.25) == revision(0.25)
    assert revision(0.25) != revision(0.75)
