"""RISE: expectations over all sets, and closed forms, as oracles."""

from __future__ import annotations

import numpy as np
import pytest

from harness.explainers.attributions.rise import Rise
from harness.records import HarnessError
from tests.explainers.games_for_tests import (
    additive,
    all_sets,
    ask,
    conjunction,
    play,
    random_game,
    trace,
)


def expectation(f, players: int, keep: float) -> np.ndarray:
    """E[f(S) | i in S] from its definition, over all sets."""
    sets = all_sets(players)
    chance = np.prod(np.where(sets, keep, 1 - keep), axis=1)
    values = ask(f, sets)
    return np.stack(
        [chance[sets[:, i]] @ values[sets[:, i]] / chance[sets[:, i]].sum() for i in range(players)]
    )


@pytest.mark.parametrize("keep", [0.5, 0.2, 0.8])
def test_the_expectation_is_exact_when_all_sets_fit_into_the_budget(keep: float) -> None:
    f = random_game(6, seed=1, targets=2)
    found, asked = play(Rise(keep), f, 6)
    np.testing.assert_allclose(found.values, expectation(f, 6, keep), atol=1e-12)
    assert asked == 64
    assert found.standard_errors is None


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_additive_games_have_their_closed_form(keep: float) -> None:
    effects = np.random.default_rng(0).normal(size=6)
    found, _ = play(Rise(keep), additive(effects, 7.0), 6)
    expected = 7 + keep * effects.sum() + (1 - keep) * effects
    np.testing.assert_allclose(found.values[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("keep", [0.5, 0.3, 0.85])
def test_the_mean_over_seeds_is_the_expectation_and_errors_are_of_the_right_size(
    keep: float,
) -> None:
    players = 9
    f = random_game(players, seed=3)
    truth = expectation(f, players, keep)
    found = [play(Rise(keep), f, players, budget=100, seed=seed)[0] for seed in range(300)]
    off = np.array([one.values for one in found]) - truth
    told = np.array([one.standard_errors for one in found])
    spread = np.sqrt((off**2).mean())
    assert np.abs(off.mean(axis=0)).max() < 4 * spread / np.sqrt(300)
    assert 0.9 < np.sqrt((told**2).mean()) / spread < 1.1
    assert 0.92 < (np.abs(off) <= 2 * told).mean() < 0.98


def test_sets_come_in_different_complementary_pairs_that_keep_each_unit_equally_often() -> None:
    for players in (7, 12, 80):
        budget = Rise().budget(players)
        _, asked = trace(Rise(), additive(np.ones(players)), players)
        assert len(asked) == budget
        assert {tuple(not kept for kept in one) for one in asked} == asked
        assert (np.array(list(asked)).sum(axis=0) == budget // 2).all()


def test_any_other_chance_also_keeps_each_unit_equally_often() -> None:
    _, asked = trace(Rise(keep=0.3), additive(np.ones(40)), 40, budget=200)
    assert len(asked) == 200
    assert (np.array(list(asked)).sum(axis=0) == 60).all()


def test_a_unit_that_matters_stands_out() -> None:
    found, _ = play(Rise(), conjunction([4]), 30)
    assert found.values.argmax() == 4
    assert found.values[4, 0] == 1


@pytest.mark.parametrize("keep", [0.5, 0.01])
@pytest.mark.parametrize("players", [0, 1, 2, 3, 5])
def test_the_least_budget_gives_finite_values(keep: float, players: int) -> None:
    method = Rise(keep)
    f = random_game(players, seed=0, targets=2)
    found, asked = play(method, f, players, budget=method.least(players))
    assert found.values.shape == (players, 2)
    assert np.isfinite(found.values).all()
    assert found.standard_errors is None or np.isfinite(found.standard_errors).all()
    assert asked <= method.least(players) <= method.budget(players) <= 2**players


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_one_seed_gives_one_result_and_another_seed_another(keep: float) -> None:
    f = random_game(12, seed=0)
    first, again, other = (play(Rise(keep), f, 12, seed=seed)[0].values for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


@pytest.mark.parametrize("keep", [0, 1, -0.5, "half", True, float("nan")])
def test_a_chance_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(HarnessError, match="keep is a probability"):
        Rise(keep)
