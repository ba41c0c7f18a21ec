"""What kernel SHAP and LIME share: designs of sets, and a surrogate between them."""

from __future__ import annotations

import numpy as np
import pytest
from games_for_tests import all_sets, ask, random_game

from harness.explainers.attributions import kriging
from harness.explainers.attributions.lime import Lime, _fit
from harness.explainers.attributions.regression import balance, draw_beside, draw_mirrored
from harness.explainers.games import Game

COUNTS = np.array([1, 5, 10, 12, 20, 12, 9, 8, 0])  # of sizes 0 to 8 of nine players


def design(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sets before and after they are balanced, and mirrors."""
    rng = np.random.default_rng(seed)
    sets, mirrors = draw_mirrored(9, COUNTS, rng)
    ones = np.ones(len(sets))
    return sets, balance(sets, ones, ones > 0, rng, mirrors), mirrors


@pytest.mark.parametrize("seed", range(5))
def test_balanced_sets_are_different_and_have_the_sizes_and_complements_they_had(seed: int) -> None:
    before, after, mirrors = design(seed)
    np.testing.assert_array_equal(after.sum(1), np.repeat(np.arange(9), COUNTS))
    for sets in (before, after):
        assert len(np.unique(sets, axis=0)) == len(sets)
        paired = np.flatnonzero(mirrors >= 0)
        assert len(paired) == 2 * (0 + 8 + 9 + 12)  # sizes 1 and 8, 2 and 7, and so on
        np.testing.assert_array_equal(sets[paired], ~sets[mirrors[paired]])


@pytest.mark.parametrize("seed", range(5))
def test_sets_drawn_beside_given_ones_are_different_and_balancing_leaves_the_given(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    given = draw_mirrored(9, np.array([1, 9, 3, 20, 0, 0, 84, 2, 1, 1]), rng)[0]
    sets, is_given = draw_beside(given, COUNTS, rng)
    np.testing.assert_array_equal(sets.sum(1), np.repeat(np.arange(9), COUNTS))
    # Of each size the lesser of what is given and what is wanted.
    expected = [1, 5, 3, 12, 0, 0, 9, 2, 0]
    np.testing.assert_array_equal(
        np.bincount(sets[is_given].sum(1), minlength=9), np.array(expected)
    )
    known = set(map(tuple, given.tolist()))
    assert [tuple(one) in known for one in sets[is_given].tolist()] == [True] * sum(expected)
    ones, alone = np.ones(len(sets)), np.full(len(sets), -1)
    after = balance(sets, ones, ~is_given, rng, alone, exchanged=False)
    np.testing.assert_array_equal(after[is_given], sets[is_given])
    np.testing.assert_array_equal(after.sum(1), sets.sum(1))
    assert (after != sets).any()
    for found in (sets, after):
        assert len(np.unique(found, axis=0)) == len(found)


def test_players_and_pairs_are_there_more_evenly_after_balancing() -> None:
    def unevenness(sets: np.ndarray) -> tuple[float, float]:
        signs = np.where(sets, 1.0, -1.0)
        pairs = (signs.T @ signs / len(signs))[np.triu_indices(9, 1)]
        return float(signs.mean(0).var()), float(pairs.var())

    found = np.array([[unevenness(sets) for sets in design(seed)[:2]] for seed in range(20)])
    before, after = found.mean(0)
    assert (after < before / 2).all()


def test_every_player_is_as_often_in_a_row_as_any_other() -> None:
    rng = np.random.default_rng(0)
    first = np.repeat([[True] * 3 + [False] * 5], 400, axis=0)
    drawn = [
        balance(row[None], np.ones(1), np.ones(1, bool), rng, np.array([-1]))[0] for row in first
    ]
    np.testing.assert_allclose(np.mean(drawn, axis=0), 3 / 8, atol=0.1)  # four standard errors


def test_the_mean_kernel_is_the_mean_over_all_sets_of_a_size() -> None:
    players = 6
    sets = all_sets(players)
    signs = np.where(sets, 1.0, -1.0)
    kernel = np.exp(kriging.RATE * (signs @ signs.T / players - 1))
    inside, outside = kriging.shared(players)
    for row, kept in enumerate(sets):
        for size in range(players + 1):
            of_size = sets[sets.sum(1) == size]
            means = (of_size * kernel[row, sets.sum(1) == size, None]).mean(0)
            expected = np.where(kept, inside[kept.sum(), size], outside[kept.sum(), size])
            np.testing.assert_allclose(means, expected, atol=1e-12)


@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_lime_between_sets_is_the_ridge_fit_to_the_posterior_mean_on_all_sets(
    penalty: float,
) -> None:
    players = 6
    method = Lime(penalty=penalty)
    rows = method._rows(Game(players, 26, 2))
    values = ask(random_game(players, 1, 2), rows.sets)
    found = _fit(rows, values, penalty)

    sets = all_sets(players)
    place = {row.tobytes(): at for at, row in enumerate(sets)}
    seen = [place[row.tobytes()] for row in rows.sets]
    prior = kriging.covariance(sets)
    # A flat prior as the limit of a wide one.
    linear = np.concatenate([sets, np.ones((len(sets), 1))], axis=1)
    wide = prior + 1e7 * linear @ linear.T
    gain = wide[:, seen] @ np.linalg.inv(wide[np.ix_(seen, seen)])
    sizes = sets.sum(1)
    weights = rows.masses[sizes] / np.bincount(sizes)[sizes]
    centred = sets - np.average(sets, axis=0, weights=weights)
    gram = centred.T @ (weights[:, None] * centred) + penalty * np.eye(players)
    fit = np.linalg.solve(gram, centred.T * weights)
    np.testing.assert_allclose(found.values, fit @ gain @ values, atol=1e-5)

    posterior = prior - prior[:, seen] @ np.linalg.solve(prior[np.ix_(seen, seen)], prior[seen])
    left = linear - prior[:, seen] @ np.linalg.solve(prior[np.ix_(seen, seen)], linear[seen])
    precision = linear[seen].T @ np.linalg.solve(prior[np.ix_(seen, seen)], linear[seen])
    posterior += left @ np.linalg.solve(precision, left.T)
    spread = np.einsum("ps,st,pt->p", fit, posterior, fit)
    ratios = found.standard_errors**2 / spread[:, None]
    np.testing.assert_allclose(ratios, ratios[:1].repeat(players, 0), rtol=1e-6)
