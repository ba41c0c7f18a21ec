"""Games that are sums of few threshold terms are recognised, others are left to the regression."""

from __future__ import annotations

import numpy as np
import pytest
from games_for_tests import (
    Function,
    brute_force_shapley,
    conjunction,
    majority,
    play,
    random_game,
)

from harness.explainers.attributions import kernel_shap
from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.attributions.shapley_design import design_of
from harness.explainers.attributions.structure import shapley_of_structure

EXACT = {
    "and of 4": conjunction([0, 3, 5, 6]),
    "and of 7": conjunction(range(7)),
    "or of 5": lambda sets: 0.2 + 0.7 * sets[:, 2:7].any(1),
    "nor of 3": lambda sets: 1.0 - sets[:, :3].any(1),
    "majority": majority,
    "two of five": lambda sets: (sets[:, 4:9].sum(1) >= 2) * -3.0,
    "unanimity of all": lambda sets: sets.all(1) * 1.0,
    "veto and sum": lambda sets: 1.0 * sets[:, 3] + sets[:, 4] - 3.0 * sets[:, [0, 11]].all(1),
    "exclusive or": lambda sets: (sets[:, 1] ^ sets[:, 8]) * 1.0,
    "product of sums": lambda sets: sets[:, :3].sum(1) * (1.0 + sets[:, 3]),
    "cardinality squared": lambda sets: sets.sum(1) ** 2 / 144,
}


@pytest.mark.parametrize("name", EXACT)
def test_a_sum_of_few_terms_has_exact_values_from_a_sixteenth_of_all_sets(name: str) -> None:
    game: Function = EXACT[name]
    truth = brute_force_shapley(game, 12)
    for seed in range(3):
        played, asked = play(KernelShap(), game, 12, 256, seed)
        assert asked <= 256
        np.testing.assert_allclose(played.values, truth, atol=1e-9)


@pytest.mark.parametrize(
    "game",
    [
        random_game(12, seed=1),
        lambda sets: np.tanh(sets @ np.linspace(-1, 1.5, 12)),
        lambda sets: (sets @ np.linspace(0.1, 1, 12) > 3.3) * 1.0,
    ],
    ids=["no order", "network", "weighted vote"],
)
def test_other_games_are_as_by_regression(game: Function) -> None:
    with_search = play(KernelShap(), game, 12, 128)[0]
    without = play(KernelShap(structure=False), game, 12, 128)[0]
    np.testing.assert_array_equal(with_search.values, without.values)
    np.testing.assert_array_equal(with_search.standard_errors, without.standard_errors)


def test_errors_stay_those_of_the_regression_as_other_sets_may_differ() -> None:
    found = play(KernelShap(), majority, 12, 128)[0]
    regression = play(KernelShap(structure=False), majority, 12, 128)[0]
    np.testing.assert_array_equal(found.standard_errors, regression.standard_errors)
    assert (found.standard_errors > 0).all()


def test_what_the_sets_cannot_tell_apart_is_no_structure() -> None:
    sets = design_of(12, 64, 0).asked()
    # The last player is there whenever the first is: which of the two it is cannot be seen.
    sets = sets[~sets[:, 0] | sets[:, 11]]
    sets = sets[sets[:, 0] | ~sets[:, 11]]
    assert shapley_of_structure(sets, sets[:, 0] * 1.0) is None


def test_targets_are_recognised_each_by_itself() -> None:
    network = lambda sets: np.tanh(sets @ np.linspace(-1, 1.5, 12))  # noqa: E731  as in a table
    both = lambda sets: np.stack([majority(sets), network(sets)], axis=1)  # noqa: E731
    found = play(KernelShap(), both, 12, 128)[0].values
    np.testing.assert_allclose(found[:, 0], 1 / 12, atol=1e-9)
    np.testing.assert_allclose(found[:, 1:], play(KernelShap(), network, 12, 128)[0].values)


def test_large_problems_are_left_to_the_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_shap, "MOST_WORK", 128 * 12 - 1)
    found = play(KernelShap(), majority, 12, 128)[0].values
    np.testing.assert_array_equal(
        found, play(KernelShap(structure=False), majority, 12, 128)[0].values
    )
