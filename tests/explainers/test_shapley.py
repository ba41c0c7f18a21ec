import math

import numpy as np
import pytest
from games_for_tests import (
    additive,
    all_sets,
    ask,
    brute_force_owen,
    brute_force_shapley,
    conjunction,
    majority,
    play,
    random_game,
    trace,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.explainers.attributions.shapley import ExactShapley, OwenValues, PermutationShap
from harness.explainers.games import Perturbation
from harness.records import HarnessError

SAMPLED = [PermutationShap(), OwenValues()]
GROUPS = [
    (0,) * 7,
    (0, 0, 1, 1, 1, 2, 2),
    (2, 0, 1, 0, 2, 2, 1),
    tuple(range(7)),
    (5, 5, 5, 5, 5, 5, 9),
]


@pytest.mark.parametrize("method", [ExactShapley(), *SAMPLED])
def test_the_methods_are_perturbation_methods(method):
    assert isinstance(method, Perturbation)


@pytest.mark.parametrize("players", [1, 2, 3, 5, 8, 10])
@pytest.mark.parametrize("method", [ExactShapley(), *SAMPLED])
def test_with_all_sets_the_values_are_the_brute_force_shapley_values(method, players):
    game = random_game(players, seed=players, targets=3)
    played, asked = play(method, game, players, 2**players)
    np.testing.assert_allclose(played.values, brute_force_shapley(game, players), atol=1e-12)
    assert asked == 2**players
    assert played.complete


def test_the_oracles_by_sets_and_by_orders_agree():
    game = random_game(6, seed=2)
    np.testing.assert_allclose(
        brute_force_shapley(game, 6), brute_force_owen(game, (0,) * 6), atol=1e-12
    )


def test_the_members_of_a_conjunction_share_alike_and_a_majority_is_shared_by_all():
    values = play(ExactShapley(), conjunction([0, 2, 4, 6]), 8)[0].values[:, 0]
    np.testing.assert_allclose(values, [0.25, 0] * 4, atol=1e-12)
    np.testing.assert_allclose(play(ExactShapley(), majority, 8)[0].values, 1 / 8, atol=1e-12)


def test_exact_values_of_fourteen_players_are_had_and_of_fifteen_refused():
    effects = np.arange(14.0)
    np.testing.assert_allclose(
        play(ExactShapley(), additive(effects), 14)[0].values[:, 0], effects, atol=1e-9
    )
    for refused in (ExactShapley().budget, ExactShapley().least):
        with pytest.raises(HarnessError, match="kernel_shap"):
            refused(15)
    with pytest.raises(HarnessError, match="16 evaluations, not 15"):
        play(ExactShapley(), additive(np.ones(4)), 4, 15)


@pytest.mark.parametrize("method", [ExactShapley(), *SAMPLED])
def test_no_player_has_no_value_and_one_player_has_the_whole_difference(method):
    assert play(method, lambda sets: np.ones((len(sets), 2)), 0)[0].values.shape == (0, 2)
    played, asked = play(method, additive(np.array([[3.0, -2.0]]), 7), 1)
    np.testing.assert_allclose(played.values, [[3, -2]])
    assert asked == 2


@settings(max_examples=60, deadline=None)
@given(
    players=st.integers(2, 40),
    extra=st.integers(0, 200),
    seed=st.integers(0, 99),
    parts=st.integers(1, 5),
)
def test_additive_games_are_exact_within_every_budget_and_values_sum_up(
    players, extra, seed, parts
):
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(players, 2))
    groups = rng.integers(0, parts, players)
    for method in SAMPLED:
        budget = min(method.least(players) + extra, 2**players)
        played, asked = play(method, additive(effects, 1.5), players, budget, seed, groups)
        assert asked <= budget
        np.testing.assert_allclose(played.values, effects, atol=1e-9)
        curved, _ = play(
            method, lambda sets: np.tanh(sets @ effects), players, budget, seed, groups
        )
        np.testing.assert_allclose(curved.values.sum(0), np.tanh(effects.sum(0)), atol=1e-9)


@pytest.mark.parametrize("groups", GROUPS)
def test_enumerated_owen_values_are_those_of_all_admissible_orders(groups):
    game = random_game(7, seed=4, targets=2)
    played, asked = play(OwenValues(), game, 7, 128, groups=groups)
    np.testing.assert_allclose(played.values, brute_force_owen(game, groups), atol=1e-12)
    assert played.standard_errors is None
    # Unions of groups with at most one group in parts, counted by going through all sets.
    partly = [
        sum(len({s[i] for i in range(7) if groups[i] == g}) > 1 for g in set(groups))
        for s in all_sets(7)
    ]
    assert asked == sum(parts <= 1 for parts in partly)


def test_owen_values_of_ten_players_are_those_of_all_admissible_orders():
    groups = (0, 0, 0, 1, 1, 2, 2, 2, 3, 3)
    game = random_game(10, seed=5)
    values = play(OwenValues(), game, 10, 1024, groups=groups)[0].values
    np.testing.assert_allclose(values, brute_force_owen(game, groups), atol=1e-12)


def test_the_owen_values_of_a_group_sum_to_its_shapley_value_among_groups():
    groups = np.array([0, 0, 1, 1, 1, 2, 3, 3])
    game = random_game(8, seed=1)
    quotient = brute_force_shapley(lambda sets: game(sets[:, groups]), 4)
    values = play(OwenValues(), game, 8, 256, groups=groups)[0].values
    sums = [values[groups == group].sum() for group in range(4)]
    np.testing.assert_allclose(sums, quotient[:, 0], atol=1e-12)


def test_sampled_orders_never_interrupt_a_group():
    groups = np.repeat(np.arange(8), 5)
    _, asked = trace(OwenValues(), additive(np.ones(40)), 40, 300, groups=groups)
    for one in asked:
        kept = np.bincount(groups, one, 8)
        assert ((kept > 0) & (kept < 5)).sum() <= 1


def test_a_group_for_each_unit_is_demanded():
    with pytest.raises(HarnessError, match="4 units have 3 groups"):
        play(OwenValues(), additive(np.ones(4)), 4, groups=(0, 1, 2))


@pytest.mark.parametrize(
    ("method", "groups", "orders", "widest"),
    [(PermutationShap(), (), 40, 1.2), (OwenValues(), (0, 0, 0, 1, 1, 1, 2, 2, 2), 8, 1.8)],
)
def test_sampled_values_are_right_on_average_and_their_errors_are_of_the_stated_size(
    method, groups, orders, widest
):
    game = random_game(9, seed=8)
    truth = brute_force_owen(game, groups) if groups else brute_force_shapley(game, 9)
    budget = 2 + 8 * orders
    runs = [play(method, game, 9, budget, seed, groups)[0] for seed in range(400)]
    values = np.array([run.values for run in runs])
    spread = values.std(0, ddof=1)
    assert np.abs((values.mean(0) - truth) / (spread / math.sqrt(400))).max() < 4
    claimed = np.sqrt(np.mean([run.standard_errors**2 for run in runs], axis=0))
    assert (claimed > 0.8 * spread).all()
    # Few pairs: Student's t makes up for what is not known of the spread.
    assert np.sqrt((claimed**2).mean() / (spread**2).mean()) < widest


@pytest.mark.parametrize(
    ("game", "players", "budget"),
    [
        (majority, 8, 100),
        (majority, 12, 400),
        (conjunction([0, 1, 2, 3]), 8, 100),
        (conjunction([0, 1, 2, 3]), 12, 100),
        (lambda sets: sets[:, :5].any(1) * 1.0, 12, 100),
        (lambda sets: (sets * np.linspace(0.1, 1, 12)).max(1), 12, 100),
        (lambda sets: sets @ np.arange(12.0) + sets[:, :2].all(1), 12, 70),
        (random_game(12, seed=4), 12, 400),
    ],
    ids=["majority 8", "majority 12", "and 8", "and 12", "or", "maximum", "nearly additive", "any"],
)
def test_intervals_of_196_standard_errors_cover_the_values(game, players, budget):
    truth = brute_force_shapley(game, players)
    runs = [play(PermutationShap(), game, players, budget, seed)[0] for seed in range(60)]
    reached = [abs(run.values - truth) <= 1.96 * run.standard_errors + 1e-12 for run in runs]
    assert np.mean(reached) >= 0.93
    assert all((run.standard_errors > 0)[abs(run.values - truth) > 1e-9].all() for run in runs)


def test_intervals_narrow_with_the_root_of_the_budget():
    few, many = (
        np.mean([play(PermutationShap(), majority, 12, b, s)[0].standard_errors for s in range(40)])
        for b in (2 + 11 * 20, 2 + 11 * 180)
    )
    assert 2.5 < few / many < 4


def test_few_pairs_of_orders_have_no_standard_errors_and_say_so():
    for pairs in (1, 2):
        played, asked = play(PermutationShap(), additive(np.ones(50)), 50, 2 + 98 * pairs)
        assert played.standard_errors is None
        assert "no estimate" in played.notes[0]
        assert asked == 2 + 98 * pairs
    more = play(PermutationShap(), additive(np.ones(50)), 50, 2 + 98 * 3)[0]
    np.testing.assert_allclose(more.standard_errors, 0, atol=1e-12)
    assert more.notes == ()


@pytest.mark.parametrize("method", SAMPLED)
def test_targets_together_are_as_alone_and_seeds_repeat(method):
    game = random_game(9, seed=3, targets=3)
    together = play(method, game, 9, 60, 5)[0]
    for target in range(3):
        alone = play(method, lambda sets, t=target: ask(game, sets)[:, t], 9, 60, 5)[0]
        np.testing.assert_allclose(alone.values[:, 0], together.values[:, target], atol=1e-12)
    np.testing.assert_array_equal(together.values, play(method, game, 9, 60, 5)[0].values)
    assert trace(method, game, 9, 60, 5)[1] != trace(method, game, 9, 60, 6)[1]


def test_the_axioms_hold_where_sets_are_enumerated():
    one, two = random_game(6, 1), random_game(6, 2)
    values = lambda f: play(ExactShapley(), f, 6)[0].values  # noqa: E731
    np.testing.assert_allclose(
        values(lambda s: 2 * one(s) - 3 * two(s)), 2 * values(one) - 3 * values(two), atol=1e-12
    )
    # Player 5 does nothing, players 0 and 1 do the same.
    game = lambda s: one(np.c_[s[:, :2].sum(1) > 0, s[:, :2].all(1), s[:, 2:5], s[:, :1] < 0])  # noqa: E731
    found = values(game)
    np.testing.assert_allclose(found[5], 0, atol=1e-12)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
