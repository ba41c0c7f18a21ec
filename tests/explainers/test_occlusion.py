"""Occlusion and leave-one-out: Captum and closed forms as oracles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.explainers.attributions.occlusion import LeaveOneOut, Occlusion
from harness.records import HarnessError
from tests.explainers.games_for_tests import additive, conjunction, play, random_game


def captum_values(f: Callable, players: int, window: int, stride: int) -> np.ndarray:
    """Captum's occlusion of an input of ones by zeros, on the same function."""
    import torch
    from captum.attr import Occlusion as Captum

    def forward(kept: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(f(kept.numpy() > 0.5)[:, 0])

    ones = torch.ones(1, players, dtype=torch.float64)
    return Captum(forward).attribute(ones, (window,), strides=(stride,), baselines=0)[0].numpy()


@pytest.mark.parametrize(
    ("players", "window", "stride"),
    [(7, 1, 1), (7, 3, 1), (8, 3, 2), (9, 4, 3), (9, 3, 3), (10, 4, 4), (5, 5, 2)],
)
def test_values_equal_captums_for_windows_and_strides(
    players: int, window: int, stride: int
) -> None:
    f = random_game(players, seed=window)
    found, asked = play(Occlusion(window, stride), f, players)
    expected = captum_values(f, players, window, stride)
    np.testing.assert_allclose(found.values[:, 0], expected, atol=1e-12)
    assert asked == Occlusion(window, stride).budget(players)


def test_leave_one_out_equals_captums_feature_ablation_on_all_targets() -> None:
    import torch
    from captum.attr import FeatureAblation

    f = random_game(6, seed=0, targets=3)
    found, asked = play(LeaveOneOut(), f, 6)

    def forward(kept: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(f(kept.numpy() > 0.5))

    ones = torch.ones(1, 6, dtype=torch.float64)
    for target in range(3):
        expected = FeatureAblation(forward).attribute(ones, target=target)[0].numpy()
        np.testing.assert_allclose(found.values[:, target], expected, atol=1e-12)
    assert asked == 7


def test_additive_effects_are_found_exactly_and_averaged_over_windows() -> None:
    effects = np.array([1.0, -2.0, 4.0, 0.5])
    np.testing.assert_allclose(
        play(LeaveOneOut(), additive(effects, 3.0), 4)[0].values[:, 0], effects, atol=1e-12
    )
    by_two = play(Occlusion(window=2), additive(effects, 3.0), 4)[0].values[:, 0]
    np.testing.assert_allclose(by_two, [-1.0, 0.5, 3.25, 4.5], atol=1e-12)


def test_each_member_of_a_conjunction_has_the_whole_drop_and_others_none() -> None:
    found, _ = play(LeaveOneOut(), conjunction([0, 2]), 4)
    np.testing.assert_array_equal(found.values[:, 0], [1, 0, 1, 0])
    assert found.standard_errors is None
    assert not found.complete


@pytest.mark.parametrize("method", [LeaveOneOut(), Occlusion(), Occlusion(3, 2)])
def test_no_player_has_no_value_and_a_single_one_the_whole_difference(method: Occlusion) -> None:
    assert play(method, additive(np.ones((0, 2))), 0)[0].values.shape == (0, 2)
    np.testing.assert_array_equal(play(method, additive(np.array([2.0])), 1)[0].values, [[2.0]])


def test_a_window_wider_than_the_sample_removes_all_of_it() -> None:
    found, asked = play(Occlusion(window=10, stride=5), additive(np.array([1.0, 2.0, 3.0])), 3)
    np.testing.assert_array_equal(found.values, [[6.0]] * 3)
    assert asked == 2


@pytest.mark.parametrize("players", range(6))
@pytest.mark.parametrize("method", [LeaveOneOut(), Occlusion(2, 1), Occlusion(3, 3)])
def test_the_budget_is_what_is_asked_for_and_no_more_than_there_are_sets(
    method: Occlusion, players: int
) -> None:
    _, asked = play(method, additive(np.ones(players)), players)
    assert asked == method.budget(players) == method.least(players) <= 2**players


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"window": 2, "stride": 3}, "make stride at most 2"),
        ({"window": 0}, "window is a whole number of at least 1"),
        ({"stride": 1.5, "window": 2}, "stride is a whole number"),
    ],
)
def test_windows_that_leave_units_out_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(HarnessError, match=told):
        Occlusion(**settings)
