import math

import numpy as np
import pytest
from games_for_tests import additive, all_sets, ask, play, random_game, trace
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.attributions.lime import Lime, _Rows, ridge
from harness.explainers.games import Perturbation
from harness.records import HarnessError


def weights(method, sets):
    """Locality weights from the formula, set by set."""
    distances = [1 - math.sqrt(one.mean()) for one in sets]
    return np.array([math.exp(-((d / method.kernel_width) ** 2)) for d in distances])


def test_lime_is_a_perturbation_method_that_needs_two_sets_more_than_players():
    assert isinstance(Lime(), Perturbation)
    assert (Lime().budget(120), Lime().least(120), Lime(penalty=1.0).least(120)) == (480, 122, 3)


def test_the_full_set_weighs_most_and_weights_fall_with_what_is_removed():
    for distance in ("cosine", "euclidean"):
        found = Lime(distance=distance).weight(np.arange(21), 20)
        assert found[-1] == 1
        assert (np.diff(found) > 0).all()
        assert found[0] == pytest.approx(math.exp(-16))  # distance 1, width 1/4
    assert Lime(kernel_width=0.5).weight(np.array([5]), 20)[0] == pytest.approx(math.exp(-1))
    sets = np.array([[True] * 4, [True, False, True, False]])
    np.testing.assert_allclose(Lime().weight(sets.sum(1), 4), weights(Lime(), sets))


@pytest.mark.parametrize(
    ("method", "chances"),
    [(Lime(), [1 / 4] * 4), (Lime(law="bernoulli"), [1 / 15, 4 / 15, 6 / 15, 4 / 15])],
)
def test_the_laws_are_uniform_in_the_number_removed_and_in_sets(method, chances):
    np.testing.assert_allclose(method.probability(np.arange(4), 4), chances)


@pytest.mark.parametrize("law", ["uniform", "bernoulli"])
def test_a_120_word_additive_model_is_recovered_at_the_default_and_the_least_budget(law):
    effects = np.random.default_rng(1).normal(size=120)
    for budget in (None, 122):
        found = play(Lime(law=law), additive(effects, 3.0), 120, budget)[0].values[:, 0]
        assert np.corrcoef(found, effects)[0, 1] > 0.999
        assert np.abs(found - effects).max() < 1e-3 * np.abs(effects).max()


def test_without_a_penalty_one_set_more_than_players_suffices():
    effects = np.random.default_rng(2).normal(size=120)
    found, asked = play(Lime(penalty=0), additive(effects), 120, 121)
    np.testing.assert_allclose(found.values[:, 0], effects, atol=1e-9)
    assert asked == 121


def test_a_budget_below_that_is_regularised_and_says_so():
    effects = np.random.default_rng(2).normal(size=120)
    for penalty in (0, 1.0):
        found, asked = play(Lime(penalty=penalty), additive(effects), 120, 60)
        assert asked <= 60
        assert "regularised" in found.notes[0]
        assert found.standard_errors is None
        assert np.isfinite(found.values).all()


@settings(max_examples=100, deadline=None)
@given(
    players=st.integers(1, 60),
    extra=st.integers(0, 260),
    seed=st.integers(0, 999),
    law=st.sampled_from(["uniform", "bernoulli"]),
)
def test_additive_games_are_recovered_within_every_budget(players, extra, seed, law):
    effects = np.random.default_rng(seed).normal(size=(players, 2))
    budget = min(Lime().least(players) + extra, 2**players)
    played, asked = play(Lime(law=law), additive(effects, 1.5), players, budget, seed)
    assert asked <= budget
    np.testing.assert_allclose(played.values, effects, atol=1e-5)
    assert played.standard_errors is None or np.isfinite(played.standard_errors).all()


@pytest.mark.parametrize("penalty", [0.0, 0.3, 20.0])
def test_the_fit_is_scikit_learns_ridge_and_captums_linear_model_on_the_same_rows(penalty):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    rows = _Rows(rng.random((50, 7)) < 0.6, rng.random(50), np.ones(50), np.ones(8))
    values = rng.normal(size=(50, 2))
    found, influence, residuals = ridge(rows, values, penalty)
    peer = Ridge(alpha=penalty, solver="svd").fit(rows.sets, values, rows.weights)
    np.testing.assert_allclose(found, peer.coef_.T, atol=1e-10)
    centred = values - np.average(values, axis=0, weights=rows.weights)
    np.testing.assert_allclose(centred - rows.centred() @ found, residuals, atol=1e-12)
    np.testing.assert_allclose(influence.T @ centred, found, atol=1e-10)


def enumerated(method, game, players):
    """The fit that the law and the kernel define, on all sets but the full, and the full one."""
    from sklearn.linear_model import Ridge

    sets = all_sets(players)
    sizes = sets[:-1].sum(1)
    each = np.array([1 / math.comb(players, int(k)) for k in sizes])
    row = method.probability(np.arange(players), players)[sizes] * each * len(each)
    return Ridge(alpha=1e-9, solver="svd").fit(
        sets, ask(game, sets), np.append(row, 1.0) * weights(method, sets)
    )


@pytest.mark.parametrize("law", ["uniform", "bernoulli"])
def test_with_all_sets_the_fit_is_that_of_the_law_and_the_kernel(law):
    game = random_game(7, seed=1, targets=2)
    played, asked = play(Lime(law=law), game, 7, 128)
    np.testing.assert_allclose(played.values, enumerated(Lime(law=law), game, 7).coef_.T, atol=1e-5)
    np.testing.assert_array_equal(played.standard_errors, 0)
    assert asked == 128


def test_standard_errors_are_of_the_size_of_the_errors():
    ratios = []
    for game in range(4):
        rng = np.random.default_rng(game)
        first, second = rng.normal(size=(12, 8)) / 3, rng.normal(size=8)
        f = lambda sets, first=first, second=second: np.tanh(sets @ first) @ second  # noqa: E731
        # The full set's weight of 1 stands beside that of all others, so the limit has their number.
        truth = play(Lime(), f, 12, 4096)[0].values
        runs = [play(Lime(), f, 12, 150, seed)[0] for seed in range(30)]
        ratios += [((run.values - truth) / run.standard_errors) ** 2 for run in runs]
    assert 0.3 < np.mean(ratios) < 3


def test_targets_together_are_as_alone_and_seeds_repeat():
    game = random_game(9, seed=3, targets=3)
    together = play(Lime(), game, 9, 100, 5)[0]
    for target in range(3):
        alone = play(Lime(), lambda sets, t=target: ask(game, sets)[:, t], 9, 100, 5)[0]
        np.testing.assert_allclose(alone.values[:, 0], together.values[:, target], atol=1e-12)
    np.testing.assert_array_equal(together.values, play(Lime(), game, 9, 100, 5)[0].values)
    assert trace(Lime(), game, 9, 100, 5)[1] != trace(Lime(), game, 9, 100, 6)[1]


def test_no_player_has_no_value_and_one_player_has_the_whole_difference():
    assert play(Lime(), lambda sets: np.ones((len(sets), 2)), 0)[0].values.shape == (0, 2)
    np.testing.assert_allclose(
        play(Lime(), additive(np.array([[3.0, -2]]), 7), 1)[0].values, [[3, -2]], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kernel_width": 0}, "kernel_width"),
        ({"penalty": -1}, "penalty"),
        ({"distance": "edit"}, "cosine, euclidean"),
        ({"law": "normal"}, "uniform, bernoulli"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong, says):
    with pytest.raises(HarnessError, match=says):
        Lime(**wrong)


def test_a_kernel_that_sees_only_the_full_set_is_refused():
    with pytest.raises(HarnessError, match="kernel_width of 0.001"):
        play(Lime(kernel_width=0.001), additive(np.ones(10)), 10)
    found = play(Lime(kernel_width=0.02), additive(np.arange(10.0)), 10)[0].values[:, 0]
    np.testing.assert_allclose(found, np.arange(10), atol=1e-5)


def asked_by(method, players, budget, seed):
    return trace(method, additive(np.ones(players)), players, budget, seed)[1]


@pytest.mark.parametrize(("players", "budget"), [(12, 64), (30, 120), (67, 268)])
@pytest.mark.parametrize("penalty", [None, 1.0])
def test_half_of_its_sets_are_kernel_shaps_of_the_same_budget_and_seed(players, budget, penalty):
    ours, theirs = (
        asked_by(method, players, budget, 3) for method in (Lime(penalty=penalty), KernelShap())
    )
    assert len(ours) == budget
    assert len(ours & theirs) > 0.45 * budget
    # Of each size as many as both have a use for.
    of_ours, of_theirs = (
        np.bincount([sum(one) for one in asked], minlength=players + 1) for asked in (ours, theirs)
    )
    of_both = np.bincount([sum(one) for one in ours & theirs], minlength=players + 1)
    assert (of_both >= np.minimum(of_ours, of_theirs)).all()
    assert len(ours & asked_by(KernelShap(), players, budget, 4)) < 0.45 * budget


def test_sharing_leaves_the_numbers_of_sets_of_each_size_as_they_are(monkeypatch):
    shared = asked_by(Lime(), 20, 100, 0)
    monkeypatch.setattr(Lime, "_shared", lambda *_: None)
    alone = asked_by(Lime(), 20, 100, 0)
    assert sorted(map(sum, shared)) == sorted(map(sum, alone))
    assert shared != alone


def test_under_the_bernoulli_law_sets_are_its_own():
    ours = asked_by(Lime(law="bernoulli"), 30, 120, 0)
    assert len(ours & asked_by(KernelShap(), 30, 120, 0)) < 10
