"""Probabilities: distributions pass, by name and not by position, and nothing else does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.classifiers.distribution import (
    TOLERANCE,
    check_classes,
    check_distribution,
    prediction,
    same_classes,
)
from harness.records import HarnessError, Prediction

POSITIVE = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8)


@given(POSITIVE, st.floats(-0.9, 0.9), st.randoms(use_true_random=False))
def test_what_nearly_sums_to_one_is_made_to_in_any_order(
    weights: list[float], off: float, random: Any
) -> None:
    scale = (1 + off * TOLERANCE) / math.fsum(weights)
    classes = [f"c{i}" for i in range(len(weights))]
    values = [weight * scale for weight in weights]
    found = check_distribution(values, classes, "here")
    assert list(found) == classes
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-12)
    ratios = [found[name] / value for name, value in zip(classes, values, strict=True)]
    assert max(ratios) == pytest.approx(min(ratios))
    pairs = list(zip(classes, values, strict=True))
    random.shuffle(pairs)
    assert check_distribution(dict(pairs), classes, "here") == found


@given(POSITIVE, st.floats(1.1, 50) | st.floats(-50, -1.1))
def test_what_sums_to_something_else_is_refused(weights: list[float], off: float) -> None:
    scale = (1 + off * TOLERANCE) / math.fsum(weights)
    classes = [f"c{i}" for i in range(len(weights))]
    with pytest.raises(HarnessError, match="here: the probabilities sum to"):
        check_distribution([weight * scale for weight in weights], classes, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, math.nan], "here, class 'b': the probability is nan"),
        ([None, 1.0], "here, class 'a': the probability is empty or NaN"),
        ([1.5, -0.5], "class 'b': the probability -0.5 does not lie between"),
        ([math.inf, 0.0], "class 'a': the probability inf"),
        (["high", 0.0], "'high' is no number"),
        ([True, 0.0], "the probability is True"),
        ([0.2, 0.3, 0.5], "3 probabilities for the 2 classes a, b"),
        ([1.0], "1 probabilities for the 2 classes"),
        ({"a": 0.5, "c": 0.5}, "a probability for 'c', which is none of the classes a, b"),
        ({"a": 1.0}, "no probability for the class 'b'"),
    ],
)
def test_what_is_no_distribution_is_refused(values: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        check_distribution(values, ["a", "b"], "here")


def test_text_and_numpy_numbers_are_numbers() -> None:
    assert check_distribution(["0.25", " 0.75"], ["a", "b"], "x") == {"a": 0.25, "b": 0.75}
    assert check_distribution(np.float32([0.25, 0.75]), ["a", "b"], "x") == {"a": 0.25, "b": 0.75}


def test_the_most_probable_class_is_told_and_of_equals_the_first() -> None:
    told = prediction("s", [0.2, 0.8], ["a", "b"], "here")
    assert told == Prediction("s", "b", {"a": 0.2, "b": 0.8})
    assert prediction("s", {"b": 0.5, "z": 0.5}, ["z", "b"], "here").label == "z"
    with pytest.raises(HarnessError, match="here, sample 's': the probabilities sum to 2"):
        prediction("s", [1.0, 1.0], ["a", "b"], "here")


def test_classes_are_names_and_differ() -> None:
    assert check_classes([0, 1], "x") == ("0", "1")
    wrong: list[tuple[Any, str]] = [(given, "must list") for given in ((), "ab", 5, {"a": 1})]
    for classes, message in (*wrong, (["a", "a"], "'a' is listed")):
        with pytest.raises(HarnessError, match=message):
            check_classes(classes, "x")


def test_a_models_own_order_holds_and_another_set_is_refused() -> None:
    assert same_classes(["b", "a"], ["a", "b"], "x") == ("b", "a")
    assert same_classes(["b", "a"], None, "x") == ("b", "a")
    with pytest.raises(HarnessError, match="given are a, c, but the model's own are b, a"):
        same_classes(["b", "a"], ["a", "c"], "x")
