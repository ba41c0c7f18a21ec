"""Sobol indices: brute force over all sets and closed forms as oracles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.explainers.attributions.sobol import Sobol
from harness.records import HarnessError
from tests.explainers.games_for_tests import additive, all_sets, ask, conjunction, play, random_game


def brute_force(f: Callable, players: int, order: str) -> np.ndarray:
    """Indices as conditional variances over all sets (Saltelli 2010, equations 1 and 2)."""
    values = ask(f, all_sets(players)).reshape(*[2] * players, -1)
    every = tuple(range(players))
    variance = values.var(axis=every)
    shares = []
    for i in range(players):
        others = tuple(j for j in every if j != i)
        if order == "first":
            shares.append(values.mean(axis=others).var(axis=0) / variance)
        else:
            shares.append(values.var(axis=i).mean(axis=tuple(range(players - 1))) / variance)
    return np.array(shares)


def interacting(players: int, seed: int) -> Callable:
    """Main effects and interactions of two to four units, of random strength."""
    rng = np.random.default_rng(seed)
    mains = rng.normal(size=players)
    terms = [rng.choice(players, rng.integers(2, 5), replace=False) for _ in range(3 * players)]
    strengths = 0.5 * rng.normal(size=len(terms))

    def f(sets: np.ndarray) -> np.ndarray:
        signs = np.where(sets, 1.0, -1.0)
        products = np.stack([signs[:, term].prod(axis=1) for term in terms], axis=1)
        return signs @ mains + products @ strengths

    return f


@pytest.mark.parametrize("order", ["total", "first"])
@pytest.mark.parametrize("players", [1, 2, 5, 6])
def test_values_are_exact_when_all_sets_fit_into_the_budget(order: str, players: int) -> None:
    f = random_game(players, seed=players, targets=3)
    found, asked = play(Sobol(order), f, players)
    np.testing.assert_allclose(found.values, brute_force(f, players, order), atol=1e-12)
    assert asked == 2**players
    assert found.standard_errors is None


@pytest.mark.parametrize("order", ["total", "first"])
@pytest.mark.parametrize("players", [7, 12, 120])
def test_additive_games_are_exact_at_the_least_budget(order: str, players: int) -> None:
    effects = np.random.default_rng(0).normal(size=(players, 2))
    method = Sobol(order)
    found, _ = play(method, additive(effects, 5.0), players, budget=method.least(players))
    shares = effects**2 / (effects**2).sum(axis=0)
    np.testing.assert_allclose(found.values, shares, atol=1e-9)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-9)


def test_first_order_is_free_of_interactions_of_two() -> None:
    rng = np.random.default_rng(0)
    mains, pairs = rng.normal(size=10), np.triu(rng.normal(size=(10, 10)), 1)

    def f(sets: np.ndarray) -> np.ndarray:
        signs = np.where(sets, 1.0, -1.0)
        return signs @ mains + np.einsum("bi,ij,bj->b", signs, pairs, signs)

    found, _ = play(Sobol("first"), f, 10)
    ratios = found.values[:, 0] / mains**2  # one variance, so one ratio
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


@pytest.mark.parametrize("order", ["total", "first"])
def test_errors_of_random_games_are_of_the_size_that_is_told(order: str) -> None:
    off, told = [], []
    for seed in range(60):
        f = interacting(10, seed)
        truth = brute_force(f, 10, order)
        for again in range(4):
            found, _ = play(Sobol(order), f, 10, seed=again)
            off.append(found.values - truth)
            told.append(found.standard_errors)
    errors, sizes = np.array(off), np.array(told)
    assert 0.85 < np.sqrt((sizes**2).mean() / (errors**2).mean()) < 1.2
    t = 3.18  # the 97.5 % quantile of Student's t with three degrees of freedom: four pairs
    assert 0.88 < (np.abs(errors) <= t * sizes).mean() < 0.99
    assert np.abs(errors.mean()) < 0.02


@pytest.mark.parametrize("order", ["total", "first"])
def test_errors_shrink_as_the_budget_grows(order: str) -> None:
    f = interacting(12, 0)
    truth = brute_force(f, 12, order)

    def error(budget: int) -> float:
        found = [play(Sobol(order), f, 12, budget, seed)[0].values for seed in range(20)]
        return float(np.sqrt(((np.array(found) - truth) ** 2).mean()))

    assert error(8 * 17 * 8) < 0.5 * error(8 * 17)  # eight times the rows: a factor of .35


@pytest.mark.parametrize("players", [4, 8, 9])
def test_few_units_are_enumerated_by_default(players: int) -> None:
    """All of four units of a conjunction count alike, which four pairs of rows rarely see."""
    f = conjunction([0, 1, 2, 3])
    found, asked = play(Sobol(), f, players, Sobol().budget(players))
    assert asked == 2**players
    np.testing.assert_allclose(found.values, brute_force(f, players, "total"), atol=1e-12)


def test_more_units_never_have_fewer_evaluations_by_default() -> None:
    budgets = [Sobol().budget(players) for players in range(1, 200)]
    assert budgets == sorted(budgets)
    # A third of what enumeration costs, at least, while that is affordable.
    assert all(3 * Sobol().budget(players) >= 2**players for players in range(1, 11))


def test_a_unit_without_influence_has_no_share_and_equal_units_equal_ones() -> None:
    found, _ = play(Sobol(), conjunction([0, 1]), 12)
    np.testing.assert_array_equal(found.values[2:], 0)
    exact, _ = play(Sobol(), conjunction([0, 1]), 6)
    np.testing.assert_allclose(exact.values[:, 0], [2 / 3, 2 / 3, 0, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize("order", ["total", "first"])
@pytest.mark.parametrize("players", [4, 15])
def test_a_constant_output_has_zeros_and_a_note(order: str, players: int) -> None:
    def f(sets: np.ndarray) -> np.ndarray:
        return np.stack([np.full(len(sets), 0.1), sets @ np.ones(players)], axis=1)

    found, _ = play(Sobol(order), f, players)
    np.testing.assert_array_equal(found.values[:, 0], 0)
    np.testing.assert_allclose(found.values[:, 1], 1 / players, atol=1e-9)
    (note,) = found.notes
    sets = Sobol(order).budget(players)
    assert f"the same in all {sets} sets for 1 of 2 targets" in note


@pytest.mark.parametrize("order", ["total", "first"])
@pytest.mark.parametrize("players", range(9))
def test_shares_stay_within_bounds_at_any_budget(order: str, players: int) -> None:
    method = Sobol(order)
    for budget in {method.least(players), method.budget(players), 2**players}:
        found, asked = play(method, random_game(players, 0, 2), players, budget)
        assert found.values.shape == (players, 2)
        assert ((found.values >= 0) & (found.values <= 1)).all()
        assert asked <= budget <= 2**players
        if players and order == "first":
            assert (found.values.sum(axis=0) <= 1 + 1e-9).all()
        elif players:
            assert (found.values.sum(axis=0) >= 1 - 1e-9).all()


def test_no_set_of_a_large_sample_is_asked_for_twice() -> None:
    _, asked = play(Sobol(), additive(np.ones(80)), 80)
    assert asked == Sobol().budget(80) == 8 * 81 + 32


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    f = random_game(10, seed=0)
    first, again, other = (play(Sobol(), f, 10, seed=seed)[0].values for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(HarnessError, match="order is one of total, first"):
        Sobol("second")
