"""A background set as removal: the interventional expectation by brute force and in closed form."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch
from descents_for_tests import drawn

import harness
from harness.explainers.units.images import Patch
from harness.explainers.units.slots import Slots
from harness.identity import attribution_key
from harness.records import HarnessError


def shapley(worth: Any, players: int) -> np.ndarray:
    """By its definition, over all sets."""
    found = np.zeros(players)
    for player in range(players):
        others = [one for one in range(players) if one != player]
        for size in range(players):
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            for kept in combinations(others, size):
                found[player] += share * (worth({*kept, player}) - worth(set(kept)))
    return found


class Counted:
    """A function that counts the rows it is asked, and holds them."""

    def __init__(self, function: Any) -> None:
        self.function, self.seen = function, []

    def __call__(self, rows: Any) -> Any:
        self.seen += [tuple(np.asarray(row).ravel().tolist()) for row in rows]
        return self.function(rows)


def linear(rows: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    return rows @ weights.T


def curved(rows: torch.Tensor) -> torch.Tensor:
    return torch.stack([rows[:, 0] * rows[:, 1] + rows[:, 2].sin(), rows.prod(dim=1)], dim=1)


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shap"])
def test_a_linear_model_has_its_closed_form(method: str) -> None:
    x, rows = drawn(2, 4), drawn(7, 4, seed=9)
    found = harness.explain(linear, x, method, background=rows, target=0)
    weights = np.array([1.0, -2.0, 3.0, 0.5])
    for number in range(2):
        wanted = weights * (x[number] - rows.mean(dim=0)).numpy()
        np.testing.assert_allclose(found[number].values, wanted, atol=1e-9)
        assert found[number].empty == pytest.approx(float(linear(rows)[:, 0].mean()))
        assert found[number].completeness_error < 1e-9


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_outputs_are_averaged_on_their_own_scale(output: str) -> None:
    x, rows = drawn(1, 4), drawn(5, 4, seed=2)
    scales = {
        "logit": lambda logits: logits,
        "probability": lambda logits: logits.softmax(-1),
        "log_probability": lambda logits: logits.log_softmax(-1),
    }

    def worth(kept: set[int]) -> float:
        filled = rows.clone()
        filled[:, sorted(kept)] = x[:, sorted(kept)]
        return float(scales[output](curved(filled))[:, 1].mean())

    (found,) = harness.explain(curved, x, "exact_shapley", background=rows, target=1, output=output)
    np.testing.assert_allclose(found.values, shapley(worth, 4), atol=1e-9)
    assert (found.output, found.removal) == (output, "background")


def test_no_input_is_evaluated_twice_and_each_row_counts_in_the_budget() -> None:
    rows = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]], dtype=torch.float64)
    asked = Counted(curved)
    x = drawn(1, 4)
    both = ["exact_shapley", "leave_one_out"]
    found = harness.explain(asked, x, both, background=rows, classes=["a", "b"])
    assert len(asked.seen) == len(set(asked.seen))
    exact = next(one for one in found if one.method == "exact_shapley")
    assert exact.evaluations == 16 * 3
    with pytest.raises(HarnessError, match="3 background rows; it needs 48"):
        harness.explain(curved, x, "exact_shapley", background=rows, budget=47)
    harness.explain(curved, x, "exact_shapley", background=rows, budget=48)


def test_one_row_is_a_baseline() -> None:
    x, row = drawn(1, 4), drawn(1, 4, seed=5)
    (one,) = harness.explain(curved, x, "exact_shapley", background=row)
    (other,) = harness.explain(curved, x, "exact_shapley", baseline=row[0])
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)


def test_the_key_holds_the_rows_hash() -> None:
    x, rows = drawn(1, 4), drawn(3, 4, seed=5)
    changed = rows.clone()
    changed[1, 2] += 1e-9
    keys = {
        attribution_key(harness.explain(linear, x, "exact_shapley", background=one)[0])
        for one in (rows, changed, rows[:2], rows.clone())
    }
    assert len(keys) == 3


def test_several_inputs_and_frames_are_filled() -> None:
    import pandas as pd

    a, b = drawn(1, 2), drawn(1, 2, seed=4)
    rows = drawn(6, 2, seed=7), drawn(6, 2, seed=8)

    def both(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return torch.cat([one.sum(dim=1, keepdim=True), two.sum(dim=1, keepdim=True)], dim=1)

    (found,) = harness.explain(both, (a, b), "exact_shapley", background=rows, target=1)
    wanted = [0, 0, *(b[0] - rows[1].mean(dim=0)).tolist()]
    np.testing.assert_allclose(found.values, wanted, atol=1e-9)

    def half(frame: Any) -> Any:
        share = frame["x"].to_numpy() / 10
        return np.stack([share, 1 - share], axis=1)

    table = pd.DataFrame({"x": [4.0], "y": [1.0]})
    background = pd.DataFrame({"x": [1.0, 2.0], "y": [5.0, 6.0]})
    (found,) = harness.explain(half, table, "exact_shapley", background=background, target=0)
    np.testing.assert_allclose(found.values, [0.25, 0], atol=1e-9)


def test_removed_patches_are_those_of_other_pictures() -> None:
    draw = np.random.default_rng(3)
    pictures = [draw.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(4)]

    def bright(images: Any) -> Any:
        share = np.array([image[:4, :4].mean() for image in images]) / 255
        return np.stack([share, 1 - share], axis=1)

    (found,) = harness.explain(
        bright, pictures[:1], "exact_shapley", Patch(4), background=pictures[1:], target=0
    )
    wanted = [image[:4, :4].mean() / 255 for image in pictures]
    np.testing.assert_allclose(found.values, [wanted[0] - np.mean(wanted[1:]), 0, 0, 0], atol=1e-9)
    with pytest.raises(HarnessError, match="background row 0 is 4 x 8 x 3"):
        harness.explain(
            bright, pictures[:1], "exact_shapley", Patch(4), background=[pictures[1][:4]]
        )


def test_slots_are_filled_from_other_texts() -> None:
    people = [("Ann", "low"), ("Bo", "very well"), ("Cleo", "fine")]
    slots = Slots("{} feels {} today.", people)

    def length(texts: Any) -> Any:
        assert all(text.endswith(" today.") and " feels " in text for text in texts)
        share = np.array([len(text) for text in texts]) / 100
        return np.stack([share, 1 - share], axis=1)

    (found,) = harness.explain(
        length, slots.texts[:1], "exact_shapley", slots, background=slots.texts[1:], target=0
    )
    np.testing.assert_allclose(found.values, [(3 - 3) / 100, (3 - 6.5) / 100], atol=1e-9)
    with pytest.raises(HarnessError, match="unit slots"):
        harness.explain(length, slots.texts[:1], "exact_shapley", background=slots.texts[1:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"removal": "background"}, "needs 'background'"),
        ({"removal": "delete", "background": torch.zeros(2, 4)}, "a removal of its own"),
        ({"baseline": 0, "background": torch.zeros(2, 4)}, "a removal of its own"),
        ({"background": torch.zeros(2, 3)}, "background row 0 is 3 x 1, where the sample is 4 x 1"),
        ({"background": torch.zeros(4)}, "one row each"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        harness.explain(linear, drawn(1, 4), "exact_shapley", **options)


def test_gradient_methods_are_refused() -> None:
    net = torch.nn.Linear(4, 2).double()
    with pytest.raises(HarnessError, match="over a background set has none"):
        harness.explain(net, drawn(1, 4), "saliency", background=drawn(2, 4))


@pytest.mark.parametrize("metric", ["deletion", "insertion", "infidelity", "sensitivity_n"])
def test_metrics_remove_by_the_background_too(metric: str) -> None:
    x, row = drawn(1, 4), drawn(1, 4, seed=5)

    def measured(**removal: Any) -> list[float]:
        found = harness.evaluate(
            curved, x, "exact_shapley", metrics=[metric], target=0, classes=["a", "b"], **removal
        )
        return [one.value for one in found.measurements if one.method == "exact_shapley"]

    alone = measured(background=row)
    assert alone == pytest.approx(measured(baseline=row[0]), abs=1e-9)
    assert measured(background=torch.cat([row, drawn(2, 4, seed=6)])) != pytest.approx(alone)
