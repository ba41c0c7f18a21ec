import itertools

import numpy as np
import pytest
from games_for_tests import (
    additive,
    ask,
    brute_force_shapley,
    conjunction,
    majority,
    play,
    random_game,
    trace,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.games import Perturbation


def test_kernel_shap_is_a_perturbation_method():
    assert isinstance(KernelShap(), Perturbation)
    assert KernelShap().budget(10) == 100
    assert [KernelShap().least(players) for players in (0, 1, 2, 30)] == [1, 2, 4, 32]


@pytest.mark.parametrize("players", range(1, 11))
def test_with_all_sets_the_values_are_the_brute_force_shapley_values(players):
    game = random_game(players, seed=players, targets=3)
    played, asked = play(KernelShap(), game, players, 2**players)
    np.testing.assert_allclose(played.values, brute_force_shapley(game, players), atol=1e-12)
    assert asked == 2**players
    if players > 1:
        np.testing.assert_array_equal(played.standard_errors, 0)


def test_no_player_has_no_value_and_one_player_has_the_whole_difference():
    assert play(KernelShap(), lambda sets: np.ones((len(sets), 2)), 0)[0].values.shape == (0, 2)
    np.testing.assert_allclose(
        play(KernelShap(), additive(np.array([[3.0, -2]]), 7), 1)[0].values, [[3, -2]]
    )


@settings(max_examples=150, deadline=None)
@given(players=st.integers(2, 60), extra=st.integers(0, 260), seed=st.integers(0, 999))
def test_additive_games_are_exact_within_every_budget_and_values_sum_up(players, extra, seed):
    effects = np.random.default_rng(seed).normal(size=(players, 2))
    budget = min(KernelShap().least(players) + extra, 2**players)
    played, asked = play(KernelShap(), additive(effects, 1.5), players, budget, seed)
    assert asked <= budget
    np.testing.assert_allclose(played.values, effects, atol=1e-9)
    curved, _ = play(KernelShap(), lambda sets: np.tanh(sets @ effects), players, budget, seed)
    np.testing.assert_allclose(curved.values.sum(0), np.tanh(effects.sum(0)), atol=1e-9)
    assert curved.standard_errors is None or np.isfinite(curved.standard_errors).all()


def test_games_of_pairwise_interactions_are_exact_at_the_default_budget():
    players = 30
    rng = np.random.default_rng(0)
    pairs, effects = np.triu(rng.normal(size=(players, players)), 1), rng.normal(size=players)
    values = play(
        KernelShap(), lambda sets: ((sets @ pairs) * sets).sum(1) + sets @ effects, players
    )[0].values
    np.testing.assert_allclose(values[:, 0], effects + (pairs + pairs.T).sum(1) / 2, atol=1e-9)


def test_a_120_word_additive_model_is_recovered_at_the_default_budget_and_at_121_sets_and_one():
    effects = np.random.default_rng(1).normal(size=120)
    for budget in (None, 122):
        np.testing.assert_allclose(
            play(KernelShap(), additive(effects), 120, budget)[0].values[:, 0], effects, atol=1e-9
        )


def test_a_conjunction_at_100_sets_spreads_at_most_half_as_much_as_captums():
    import torch
    from captum.attr import KernelShap as CaptumKernelShap

    members = [0, 2, 4, 6]
    peer = CaptumKernelShap(lambda row: row[:, members].prod(1))
    theirs = []
    for seed in range(25):
        torch.manual_seed(seed)
        np.random.seed(seed)
        theirs.append(peer.attribute(torch.ones(1, 8), torch.zeros(1, 8), n_samples=100)[0].numpy())
    ours = [
        play(KernelShap(), conjunction(members), 8, 100, seed)[0].values[:, 0] for seed in range(25)
    ]
    assert np.std(ours, axis=0).mean() <= np.std(theirs, axis=0).mean() / 2
    np.testing.assert_allclose(np.mean(ours, axis=0), [0.25, 0] * 4, atol=0.03)


def test_a_majority_of_eight_sums_to_one():
    assert play(KernelShap(), majority, 8, 100)[0].values.sum() == pytest.approx(1, abs=1e-9)


def network(players, seed):
    """A small network on the sets, with effects of all orders."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(players, 8)) / players**0.5, rng.normal(size=8)
    shift = rng.normal(size=8)
    return lambda sets: np.tanh(2 * (sets - 0.5) @ first * 2 + shift) @ second


def test_standard_errors_are_of_the_size_of_the_errors():
    ratios = []
    for game, budget in itertools.product(range(5), (48, 100, 200)):
        truth = brute_force_shapley(network(12, game), 12)
        for seed in range(20):
            played = play(KernelShap(), network(12, game), 12, budget, seed)[0]
            ratios.append(((played.values - truth) / played.standard_errors) ** 2)
    assert 0.3 < np.mean(ratios) < 3


@pytest.mark.parametrize("budget", [48, 200])
def test_values_are_right_on_average(budget):
    truth = brute_force_shapley(network(10, 3), 10)
    runs = np.array(
        [play(KernelShap(), network(10, 3), 10, budget, seed)[0].values for seed in range(200)]
    )
    assert np.abs(runs.mean(0) - truth).max() < 0.1 * np.abs(truth).max()


def test_a_game_of_a_weighted_sum_is_closer_than_captums_at_half_its_sets():
    import torch
    from captum.attr import KernelShap as CaptumKernelShap

    effects = np.linspace(0.1, 0.9, 12)
    truth = brute_force_shapley(lambda sets: 1 / (1 + np.exp(3 - sets @ effects)), 12)[:, 0]
    peer = CaptumKernelShap(lambda row: torch.sigmoid(row.double() @ torch.tensor(effects) - 3))
    ours, theirs = [], []
    for seed in range(10):
        torch.manual_seed(seed)
        np.random.seed(seed)
        found = peer.attribute(torch.ones(1, 12), torch.zeros(1, 12), n_samples=192)[0].numpy()
        theirs.append(np.linalg.norm(found - truth))
        mine = play(KernelShap(), lambda sets: 1 / (1 + np.exp(3 - sets @ effects)), 12, 96, seed)[
            0
        ]
        ours.append(np.linalg.norm(mine.values[:, 0] - truth))
    assert np.mean(ours) < np.mean(theirs)


def test_a_budget_without_spare_sets_has_no_standard_errors_and_says_so():
    played = play(KernelShap(), additive(np.ones(40)), 40, 60)[0]
    assert played.standard_errors is None
    assert "too small" in played.notes[0]


def test_targets_together_are_as_alone_and_seeds_repeat():
    game = random_game(9, seed=3, targets=3)
    together = play(KernelShap(), game, 9, 100, 5)[0]
    for target in range(3):
        alone = play(KernelShap(), lambda sets, t=target: ask(game, sets)[:, t], 9, 100, 5)[0]
        np.testing.assert_allclose(alone.values[:, 0], together.values[:, target], atol=1e-9)
    np.testing.assert_array_equal(together.values, play(KernelShap(), game, 9, 100, 5)[0].values)
    assert trace(KernelShap(), game, 9, 100, 5)[1] != trace(KernelShap(), game, 9, 100, 6)[1]


def test_the_axioms_hold_where_sets_are_enumerated():
    one, two = random_game(6, 1), random_game(6, 2)
    values = lambda f: play(KernelShap(), f, 6)[0].values  # noqa: E731
    np.testing.assert_allclose(
        values(lambda s: 2 * one(s) - 3 * two(s)), 2 * values(one) - 3 * values(two), atol=1e-12
    )
    # Player 5 does nothing, players 0 and 1 do the same.
    found = values(
        lambda s: one(np.c_[s[:, :2].sum(1) > 0, s[:, :2].all(1), s[:, 2:5], s[:, :1] < 0])
    )
    np.testing.assert_allclose(found[5], 0, atol=1e-12)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
