"""Which bars a suite may set, and what a bar that names nothing is told."""

from __future__ import annotations

import math

import pytest

from harness.records import HarnessError, Metric
from harness.requirements import Bar, bars, levels_of

METRICS = {
    "claims.recall_vs_true": Metric("recall_vs_true"),
    "claims.contradiction_vs_true": Metric("contradiction_vs_true", direction="lower"),
    "similarity.words": Metric("words", range=(0.0, None), direction=None),
    "context.gain": Metric("gain", range=(None, None)),
    "stability.reversed": Metric("reversed", direction="lower", floor="repeats_reversed"),
    "stability.repeats_reversed": Metric("repeats_reversed", direction=None),
}
MODELS = ["qwen", "hosted", "A"]
LEVELS = {"site": ("A", "B"), "device": ("B", "C")}
RECALL = "claims.recall_vs_true"


def read(name: str, value: float = 0.5, arms: tuple[str, ...] = ("predicted",)) -> Bar:
    (found,) = bars({name: value}, METRICS, MODELS, LEVELS, arms)
    return found


def test_a_bar_is_for_all_models_for_one_or_for_one_group() -> None:
    assert read(RECALL) == Bar(RECALL, 0.5)
    assert read(f"{RECALL}@qwen") == Bar(RECALL, 0.5, "qwen")
    assert read(f"{RECALL}@site=B") == Bar(RECALL, 0.5, None, ("site", "B"))
    assert read(f"{RECALL}@C") == Bar(RECALL, 0.5, None, ("device", "C"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claims.recal_vs_true", "did you mean 'claims.recall_vs_true'?"),
        ("recall", "there is no metric 'recall'"),
        (f"{RECALL}@qwem", "did you mean 'qwen'?"),
        (f"{RECALL}@site=b", "did you mean 'site=B'?"),
        (f"{RECALL}@control:gold", "is no model and no level"),
        (f"{RECALL}@", "is no model and no level"),
        (f"{RECALL}@A", "may mean the model A, site=A"),
        (f"{RECALL}@B", "may mean site=B, device=B"),
        ("stability.reversed", "only relative to its floor.*name stability.reversed_above_floor"),
        ("stability.reversed@qwen", "only relative to its floor"),
        ("stability.repeats_reversed", "has no better direction"),
        ("stability.repeats_reversed_above_floor", "there is no metric"),
        (f"{RECALL}_above_floor", "there is no metric"),
        ("similarity.words", "length in words|words .* has no better direction"),
    ],
)
def test_a_bar_that_names_nothing_or_cannot_be_reached_is_refused(name: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said.replace("?", r"\?")) as refused:
        read(name)
    assert str(refused.value).startswith("require: ")


@pytest.mark.parametrize("value", [80, -0.1, math.nan, math.inf])
def test_a_bar_outside_the_metric_s_range_is_refused(value: float) -> None:
    with pytest.raises(HarnessError, match="has the range 0 to 1, and its bar is"):
        read(RECALL, value)


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_the_ends_of_a_range_are_bars_and_an_open_range_has_any(value: float) -> None:
    assert read(RECALL, value).value == value
    assert read("context.gain", -3 * value).value == -3 * value


def test_what_lies_above_a_floor_may_have_a_bar_on_either_side_of_nothing() -> None:
    name = "stability.reversed_above_floor"
    for value in (-0.2, 0.0, 0.1):
        assert read(f"{name}@site=A", value) == Bar(name, value, None, ("site", "A"))
    with pytest.raises(HarnessError, match="has the range -1 to 1"):
        read(name, 1.1)


def test_bars_are_about_an_arm_that_the_suite_must_ask() -> None:
    with pytest.raises(HarnessError, match="asks gold, wrong alone"):
        read(RECALL, arms=("gold", "wrong"))
    assert read(RECALL, arms=("none",)).metric == RECALL


def test_levels_are_what_the_samples_metadata_says_as_text() -> None:
    metadata = [{"site": "B", "dose": 2}, {"site": "A"}, {"site": None, "dose": 10}]
    assert levels_of(["site", "dose", "age"], metadata) == {
        "site": ("A", "B"), "dose": ("10", "2"), "age": (),
    }  # fmt: skip
